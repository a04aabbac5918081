"""Weights of other programs: PyTorch's files, safetensors and npz give PyTorch's numbers; nothing is executed."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from weight_files import SIX, WRITERS, samples, state, tensor, unicode, whole, zipped

import coolnn as cool
from coolnn.formats import FileFormatError, load_weights, pickles, read_tensors, renamed

REAL = Path(os.environ.get("COOLNN_DATA", "")) / "weights"


@pytest.fixture(params=WRITERS)
def write(request):
    return WRITERS[request.param]


def test_tensors_are_parts_of_storages_with_strides(write, tmp_path):
    pickled = state(
        whole=tensor("a", (2, 3), 6),
        turned=tensor("a", (3, 2), 6, strides=(1, 3)),
        part=tensor("a", (2,), 6, offset=1, strides=(3,)),
        number=tensor("a", (), 6, offset=5),
        none=tensor("a", (0, 4), 6),
        same=tensor("a", (3, 2), 6, strides=(0, 1)),
    )
    found = read_tensors(write(tmp_path / "w", pickled, a=SIX))
    assert {name: array.tolist() for name, array in found.items()} == {
        "whole": [[0, 1, 2], [3, 4, 5]],
        "turned": [[0, 3], [1, 4], [2, 5]],
        "part": [1, 4],
        "number": 5,
        "none": [],
        "same": [[0, 1], [0, 1], [0, 1]],
    }
    assert found["none"].shape == (0, 4) and not found["whole"].flags.writeable


@pytest.mark.parametrize(
    ("kind", "stored"),
    [("Double", "f8"), ("Half", "f2"), ("Long", "i8"), ("Char", "i1"), ("Bool", "?"), ("ComplexFloat", "c8")],
)
def test_types(write, tmp_path, kind, stored):
    values = np.array([1, 0, 3], stored)
    found = read_tensors(write(tmp_path / "w", state(a=tensor("s", (3,), 3, kind=kind)), s=values))["a"]
    assert found.dtype == values.dtype and found.tolist() == values.tolist() and found.flags.aligned


def test_bfloat16_becomes_float32(write, tmp_path):
    values = np.array([1.5, -2, 0.0078125], "f4")
    halves = (values.view("u4") >> 16).astype("<u2")
    found = read_tensors(write(tmp_path / "w", state(a=tensor("s", (3,), 3, kind="BFloat16")), s=halves))["a"]
    assert found.dtype == np.float32 and found.tolist() == values.tolist()
    header = {"a": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}
    raw = json.dumps(header).encode()
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(raw)) + raw + halves.tobytes())
    assert read_tensors(tmp_path / "x")["a"].tolist() == values.tolist()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (tensor("a", (7,), 6), r"tensor 'w'.*number 6 is beyond the 6"),
        (tensor("a", (2, 3), 6, offset=1), r"tensor 'w'.*number 6 is beyond"),
        (tensor("a", (2**40,), 6), "is beyond the 6"),
        (tensor("a", (2**40,), 6, strides=(0,)), "more numbers than the 6"),
        (tensor("a", (2**31, 2**31), 6, strides=(0, 0)), "more numbers than the 6"),
        (tensor("a", (-1,), 6), "of the shape"),
        (tensor("a", (2,), 6, offset=-1), "of the shape"),
        (tensor("a", (2,), 6, strides=(-1,)), "of the shape"),
        (tensor("a", (2,), 6, strides=(1, 1)), "of the shape"),
        (tensor("a", (1,) * 40, 6), "of the shape"),
        (tensor("a", (6,), 5), "storage 'a'"),
        (tensor("a", (6,), 2**60), "storage 'a'"),
        (tensor("a", (6,), 6, kind="QInt8"), r"QInt8Storage.*save the weights alone"),
        (tensor("b", (6,), 6), "data/b|storage 'a' that none"),
        (tensor("../../etc", (6,), 6), r"data/\.\./\.\./etc|storage 'a' that none"),
    ],
)
def test_tensors_that_do_not_fit_are_named(write, tmp_path, value, says):
    with pytest.raises(FileFormatError, match=says) as raised:
        read_tensors(write(tmp_path / "w.pth", state(w=value), a=SIX))
    assert str(tmp_path / "w.pth") in str(raised.value)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.parametrize(
    ("pickled", "name"),
    [
        (pickle.dumps({"a": Evil()}, 2), "mkdir"),
        (pickle.dumps({"a": Evil()}, 5), "mkdir"),
        (b"cbuiltins\neval\n(X\x01\x00\x00\x001tR.", "builtins.eval"),
        (b"cos\nsystem\n.", "os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
        (b"(i__builtin__\neval\n.", "INST"),
        (b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.", "__globals__"),
    ],
)
def test_code_is_refused_by_name_and_never_run(write, tmp_path, monkeypatch, pickled, name):
    monkeypatch.chdir(tmp_path)
    for path in (write(tmp_path / "w.pth", pickled), tmp_path / "plain.pkl"):
        if path.name == "plain.pkl":
            path.write_bytes(b"\x80\x02" + pickled)
        with pytest.raises(FileFormatError, match=name):
            read_tensors(path)
    assert not (tmp_path / "evil").exists()


def run(*instructions: bytes):
    return pickles.load(io.BytesIO(b"".join(instructions)), {"a.f": lambda *items: items, "a.b": None})


@pytest.mark.parametrize(
    "value",
    [
        None, True, -(2**40), 2**70, 1.5, "é", b"\0\1", (), (1,), (1, (2, [3])), [1, [2]],
        {"a": {1: 2.0}}, {1, 2}, bytearray(b"ab"), ["x"] * 3,
    ],
)  # fmt: skip
def test_plain_data_in_every_protocol(value):
    for protocol in range(6):
        if protocol >= 4 or not isinstance(value, set | bytearray | bytes):
            file = io.BytesIO(pickle.dumps(value, protocol) + b"rest")
            if not isinstance(value, bytearray) or protocol == 5:
                assert pickles.load(file, {}) == value and file.read() == b"rest"


@pytest.mark.parametrize(
    ("instructions", "says"),
    [
        ([b"."], "stack"),
        ([b"("], "early|exhausted"),
        ([b"(t", b"t."], "stack"),
        ([b"](]s."], "sets|stack"),
        ([b"}]K\1s."], "list as a key"),
        ([b"}(K\1u."], "sets 1"),
        ([b"N]a."], "appends"),
        ([b"h\5."], "damaged"),
        ([b"ca\nf\nK\1R."], "nothing to be called"),
        ([b"ca\nb\n)R."], "nothing to be called"),
        ([b"K\1)R."], "nothing to be called"),
        ([b"K\1}b."], "attributes of a int"),
        ([b"K\1Q."], "outside"),
        ([b"\x97."], "NEXT_BUFFER"),
        ([b"\x82\1."], "EXT1"),
        ([b"\xff."], "damaged"),
        ([b"X\xff\xff\xff\x7fabc."], "damaged"),
        ([b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc."], "damaged"),
        ([b"\x8b\x00\x08\x00\x00" + b"\1" * 2048 + b"."], "bits"),
    ],
)
def test_nonsense_is_refused(instructions, says):
    with pytest.raises(pickles.PickleError, match=says):
        run(*instructions)


def test_what_refers_to_itself_a_million_times_costs_nothing(tmp_path):
    laughs = b"\x80\x02)" + b"2\x86" * 60  # a tuple of 2^60 empty ones
    for pickled in (laughs + b".", b"\x80\x02}" + laughs[2:] + b"K\1s."):
        with pytest.raises(FileFormatError):
            read_tensors(zipped(tmp_path / "w", pickled))


def test_endless_pickles_end(monkeypatch):
    monkeypatch.setattr(pickles, "_STEPS", 1000)
    with pytest.raises(pickles.PickleError, match="1,000 instructions"):
        run(b"]" * 5000)


# --- checkpoints ------------------------------------------------------------------------------------------------------


def nested(path: Path, **parts: bytes) -> Path:
    return zipped(path, state(**parts), a=SIX)


INNER = b"}(" + unicode("module.w") + tensor("a", (6,), 6) + unicode("module.b") + tensor("a", (), 6) + b"u"


@pytest.mark.parametrize("name", ["state_dict", "model", "anything"])
def test_weights_are_found_in_checkpoints(tmp_path, name):
    path = nested(
        tmp_path / "w", epoch=whole(3), **{name: INNER}, best=tensor("a", (), 6) if name != "anything" else b"N"
    )
    assert list(read_tensors(path)) == ["w", "b"]
    assert list(read_tensors(path, key=name)) == ["w", "b"]


def test_what_cannot_be_chosen_is_asked_for(tmp_path):
    path = nested(tmp_path / "w", first=INNER, second=INNER)
    with pytest.raises(FileFormatError, match="key=: 'first', 'second'"):
        read_tensors(path)
    assert list(read_tensors(path, "second")) == ["w", "b"]
    with pytest.raises(FileFormatError, match=r"no entry 'third'.*'first', 'second'"):
        read_tensors(path, "third")
    with pytest.raises(FileFormatError, match="one tensor"):
        read_tensors(zipped(tmp_path / "w", b"\x80\x02" + tensor("a", (6,), 6) + b".", a=SIX))
    with pytest.raises(FileFormatError, match="which entry holds"):
        read_tensors(zipped(tmp_path / "w", state(epoch=whole(3))))


def test_pytorch_agrees(tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.randn(6, 5, 4)
    types = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    weights = {name: base.to(getattr(torch, name)) for name in (*types, "complex64", "complex128")}
    weights |= {
        "strided": base.permute(2, 0, 1)[1:, ::2],
        "expanded": torch.ones(1).expand(10, 3),
        "tied": base,
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "channels.last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    checkpoint = {
        "epoch": 3,
        "best": np.float64(2.5),
        "curve": np.arange(6).reshape(2, 3),
        "args": argparse.Namespace(lr=0.1, sizes=[1, 2]),
        "optimizer": torch.optim.AdamW([weights["parameter"]]).state_dict(),
        "others": [{1, 2}, frozenset([3]), defaultdict(list, a=[1]), Counter("ab"), 1 + 2j, b"raw", 2**70],
        "torch": [torch.Size([1, 2]), torch.device("cpu"), torch.float32],
        "state_dict": OrderedDict((f"module.{name}", value) for name, value in weights.items()),
    }
    for new in (True, False):
        if new:
            checkpoint["state_dict"]["module.uint16"] = torch.ones(3, dtype=torch.uint16)
        for protocol in (2, 3, 4, 5):
            path = tmp_path / f"{new}{protocol}.pth"
            torch.save(checkpoint, path, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
            found = read_tensors(path)
            for name, value in checkpoint["state_dict"].items():
                value = value.detach()
                expected = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
                array = found[name.removeprefix("module.")]
                assert array.dtype == expected.dtype and np.array_equal(array, expected), name
        checkpoint["state_dict"].pop("module.uint16", None)
    net = torch.nn.Linear(2, 3)
    torch.save(net, tmp_path / "net.pth")
    with pytest.raises(FileFormatError, match=r"'torch\.nn\.modules\.linear\.Linear'.*torch\.save\("):
        read_tensors(tmp_path / "net.pth")
    torch.save(torch.nn.DataParallel(net).state_dict(), tmp_path / "net.pth")
    assert list(read_tensors(tmp_path / "net.pth")) == ["weight", "bias"]


# --- the other kinds --------------------------------------------------------------------------------------------------


def test_npz(tmp_path):
    arrays = {"a.weight": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.ones((2, 3), "f2")), "c": np.array(1)}
    arrays["d"] = np.arange(3, dtype=">i4")
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "w.npz", **arrays)
        found = read_tensors(tmp_path / "w.npz")
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            assert np.array_equal(found[name], array) and found[name].dtype.isnative and found[name].flags.aligned
    np.savez(tmp_path / "w.npz", a=np.array([Evil()], object))
    with pytest.raises(FileFormatError, match=r"a\.npy.*object.*no number"):
        read_tensors(tmp_path / "w.npz")
    bomb = io.BytesIO()
    np.lib.format.write_array_header_1_0(bomb, {"descr": "<f4", "fortran_order": False, "shape": (2**38,)})
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bomb.getvalue())
    with pytest.raises(FileFormatError, match="0 bytes, not"):
        read_tensors(tmp_path / "w.npz")


def test_what_the_file_is_decides_not_its_name(tmp_path):
    zipped(tmp_path / "w.npz", state(w=tensor("a", (6,), 6)), a=SIX)
    assert read_tensors(tmp_path / "w.npz")["w"].tolist() == SIX.tolist()
    cool.formats.save_weights(cool.nn.Linear(2, 3), tmp_path / "w.pth")
    assert read_tensors(tmp_path / "w.pth")["weight"].shape == (3, 2)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\x89HDF\r\n", "Keras"),
        (b"\x93NUMPY\1\0", "np.savez"),
        (b"\x1f\x8b\x08", "gunzip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x08\x07", "ONNX"),
        (b"hello", "no PyTorch file"),
        (b"PK\x03\x04nothing", "damaged"),
        (b"\xff\xd8\xff\xe0 a photograph", "no PyTorch file"),
    ],
)
def test_other_files_are_told_apart(tmp_path, content, says):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(FileFormatError, match=rf"w\.pth.*{says}"):
        read_tensors(tmp_path / "w.pth")


def test_containers_of_other_things(tmp_path):
    with tarfile.open(tmp_path / "w", "w") as tar:
        tar.addfile(tarfile.TarInfo("storages"))
    with pytest.raises(FileFormatError, match="tar"):
        read_tensors(tmp_path / "w")
    with zipfile.ZipFile(tmp_path / "w", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(FileFormatError, match="neither PyTorch's nor NumPy's"):
        read_tensors(tmp_path / "w")
    zipped(tmp_path / "w", state(w=tensor("a", (6,), 6)), zipfile.ZIP_DEFLATED, a=SIX)
    with pytest.raises(FileFormatError, match="zip -0"):
        read_tensors(tmp_path / "w")
    with zipfile.ZipFile(tmp_path / "w", "w") as archive:
        archive.writestr("m/data.pkl", state())
        archive.writestr("m/constants.pkl", b"")
    with pytest.raises(FileFormatError, match="TorchScript"):
        read_tensors(tmp_path / "w")
    with pytest.raises(FileFormatError, match="folder"):
        read_tensors(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file"):
        read_tensors(tmp_path / "none")


# --- into networks ----------------------------------------------------------------------------------------------------


def test_renaming():
    arrays = {"a.w": 1, "a.b.w": 2, "ab": 3, "c": 4}
    assert renamed(arrays, {"a": "x", "a.b": "y", "c": "z"}) == {"x.w": 1, "y.w": 2, "ab": 3, "z": 4}
    assert renamed(arrays, {"": "net", "c": None}) == {"net.a.w": 1, "net.a.b.w": 2, "net.ab": 3}
    assert renamed(arrays, {"a.b": "", "ab": None}) == {"a.w": 1, "w": 2, "c": 4}
    with pytest.raises(ValueError, match="'d'"):
        renamed(arrays, {"d": "e"})
    with pytest.raises(ValueError, match="two tensors are called 'c'"):
        renamed(arrays, {"ab": "c"})


def test_loading_says_what_does_not_fit(tmp_path):
    net = cool.nn.Linear(2, 3)
    before = net.weight.numpy().copy()
    path = tmp_path / "w.npz"
    for arrays, says in [
        ({"fc.weight": np.ones((3, 2))}, r"none of its names \(fc\.weight\).*\(weight, bias\).*rename="),
        ({"weight": np.ones((4, 2)), "bias": np.ones(4)}, r"w\.npz.*weight \(file \(4, 2\), network \(3, 2\)\)"),
        ({"weight": np.ones((3, 2))}, "missing: bias"),
    ]:
        np.savez(path, **arrays)
        with pytest.raises(FileFormatError, match=says):
            load_weights(net, path)
        assert np.array_equal(net.weight.numpy(), before)
    load_weights(net, path, strict=False)
    assert (net.weight.numpy() == 1).all()
    many = cool.nn.Sequential(*(cool.nn.Linear(1, 1) for _ in range(50)))
    with pytest.raises(ValueError, match="and 92 more"):
        many.load_state_dict({})


@pytest.mark.skipif(not REAL.is_dir(), reason="COOLNN_DATA has no weights")
def test_real_files():
    net = cool.models.create("resnet20")
    load_weights(net, next((REAL / "cifar10-resnet20").glob("*.th")))
    table = {}
    stages = cool.models.vgg.STAGES["D"]
    place = 0
    for block, stage in enumerate(stages, 1):
        for conv in range(1, len(stage) + 1):
            table[f"block{block}_conv{conv}"] = str(place)
            place += 2
        place += 1
    with cool.nn.meta_parameters():
        features = cool.models.create("vgg16").features
    load_weights(features, REAL / "vgg16-imagenet-conv" / "vgg16_conv_oihw_fp16.npz", rename=table)
    assert 0.5 < float(np.abs(features[0].weight.numpy()).max()) < 2


# --- damage -----------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.sampled_from([content for files in samples().values() for content in files]), data=st.data())
def test_damaged_files_give_messages(tmp_path, which, data):
    content = bytearray(which)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["set", "cut", "insert", "repeat"]))
        if kind == "set":
            content[place] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del content[place : place + data.draw(st.integers(1, 40))]
        elif kind == "insert":
            content[place:place] = data.draw(st.binary(max_size=9))
        else:
            content[place:place] = content[place : place + data.draw(st.integers(1, 40))]
        if not content:
            break
    (tmp_path / "damaged").write_bytes(content)
    try:
        found = read_tensors(tmp_path / "damaged")
    except FileFormatError as error:
        assert "damaged" in str(error) and len(str(error)) < 2000
    else:
        assert sum(array.size for array in found.values()) < 1 << 20


INSTRUCTIONS = st.lists(
    st.one_of(
        st.sampled_from([bytes([code]) for code in b"(.0122Naebdls}]tu)RQ\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94"]),
        st.sampled_from([b"K\1", b"X\1\0\0\0a", b"h\0", b"q\0", b"ca\nf\n", b"ca\nb\n", b"I12\n", b"\x8a\1\5"]),
        st.binary(max_size=3),
    ),
    max_size=40,
)


@settings(max_examples=500, deadline=None)
@given(INSTRUCTIONS)
def test_any_instructions_end(instructions):
    with contextlib.suppress(pickles.PickleError):
        run(*instructions, b".")


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "corpus").rglob("*.bin")), ids=lambda path: path.name)
def test_what_fuzzing_found_stays_found(path):
    with contextlib.suppress(FileFormatError):
        assert sum(array.size for array in read_tensors(path).values()) < 1 << 20
