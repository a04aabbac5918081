"""Model files: what goes in comes out, damage is named, nothing is half-written."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest

import coolnn as cool
from coolnn import files
from coolnn.data import Preprocessing
from coolnn.formats import ArchitectureError, FileFormatError, load_weights, save_weights, tensors


@pytest.fixture
def net():
    cool.manual_seed(0)
    return cool.nn.Sequential(
        cool.nn.Conv2d(1, 4, 3, padding="same"),
        cool.nn.BatchNorm2d(4),
        cool.nn.ReLU(),
        cool.nn.Residual(cool.nn.Conv2d(4, 4, 3, padding=1)),
        cool.nn.Flatten(),
        cool.nn.Linear(4 * 36, 3),
    ).eval()


def test_layers_survive(net, tmp_path):
    cool.save(net, tmp_path / "m.safetensors", labels=["a", "b", "c"], metrics={"val_accuracy": 0.5})
    model = cool.load(tmp_path / "m.safetensors")
    x = cool.tensor(np.random.default_rng(0).standard_normal((2, 1, 6, 6)).astype(np.float32))
    assert np.array_equal(model.net(x).numpy(), net(x).numpy())
    assert model.labels == ["a", "b", "c"] and model.metrics == {"val_accuracy": 0.5}
    assert repr(model.net) == repr(net)
    assert not model.net.training


@pytest.mark.parametrize("name", ["lenet5", "small_resnet"])
def test_registered_models_survive(name, tmp_path):
    net = cool.models.create(name, num_classes=7, in_channels=1)
    cool.save(net, tmp_path / "m.safetensors", preprocessing=Preprocessing(size=(28, 28), channels=1))
    model = cool.load(tmp_path / "m.safetensors")
    for key, tensor in net.state_dict().items():
        assert np.array_equal(tensor.numpy(), model.net.state_dict()[key].numpy()), key
    assert model.name == name and model.input_size == (28, 28, 1)


def test_own_class_is_refused_with_a_way_out(tmp_path):
    class Mine(cool.nn.Module):
        def __init__(self):
            self.layer = cool.nn.Linear(2, 2)

    net = Mine()
    with pytest.raises(ArchitectureError, match="save_weights"):
        cool.save(net, tmp_path / "m.safetensors")
    save_weights(net, tmp_path / "w.safetensors")
    other = Mine()
    load_weights(other, tmp_path / "w.safetensors")
    assert np.array_equal(other.layer.weight.numpy(), net.layer.weight.numpy())


def test_changed_network_is_refused(net, tmp_path):
    net[5] = cool.nn.Linear(4 * 36, 9)
    with pytest.raises(ArchitectureError, match="changed after it was made"):
        cool.save(net, tmp_path / "m.safetensors")


def test_damaged_files_are_named(net, tmp_path):
    path = tmp_path / "m.safetensors"
    cool.save(net, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:cut])
        with pytest.raises(FileFormatError, match=r"m\.safetensors"):
            cool.load(path)
    for _ in range(200):  # any byte of the header may be wrong: never a crash, never another kind of error
        spoiled = bytearray(whole)
        spoiled[rng.integers(0, 2000)] = rng.integers(0, 256)
        path.write_bytes(bytes(spoiled))
        try:
            cool.load(path)
        except FileFormatError as error:
            assert "m.safetensors" in str(error)


@pytest.mark.parametrize(
    "architecture",
    [
        None,
        [],
        {},
        {"layer": "Trojan"},
        {"layer": "Module"},
        {"model": "no_such_model"},
        {"model": "lenet5", "options": {"surprise": 1}},
        {"layer": "Linear", "args": [-1, 2]},
        {"layer": "Linear", "args": [10**30, 10**30]},
        {"layer": "Sequential", "args": ["text"]},
        {"layer": "Conv2d", "args": [1, 1, 3], "kwargs": {"stride": 0}},
    ],
)
def test_bad_architectures_are_refused(architecture, tmp_path):
    header = {"kind": "model", "format": 1, "architecture": architecture}
    tensors.write(tmp_path / "m.safetensors", {"w": np.zeros(1, np.float32)}, header)
    with pytest.raises(FileFormatError):
        cool.load(tmp_path / "m.safetensors")


def test_deep_nesting_is_refused(tmp_path):
    architecture = {"layer": "Identity"}
    for _ in range(200):
        architecture = {"layer": "Sequential", "args": [architecture]}
    header = {"kind": "model", "format": 1, "architecture": architecture}
    tensors.write(tmp_path / "m.safetensors", {"w": np.zeros(1, np.float32)}, header)
    with pytest.raises(FileFormatError, match="nested"):
        cool.load(tmp_path / "m.safetensors")


def test_other_kinds_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        cool.load(tmp_path / "nothing")
    (tmp_path / "photo.safetensors").write_bytes(b"\xff\xd8\xff\xe0 not weights")
    with pytest.raises(FileFormatError):
        cool.load(tmp_path / "photo.safetensors")
    tensors.write(tmp_path / "c", {"w": np.zeros(1, np.float32)}, {"kind": "checkpoint"})
    with pytest.raises(FileFormatError, match="a coolnn checkpoint, not a coolnn model"):
        cool.load(tmp_path / "c")


def test_atomic_writes_keep_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    files.write_json(path, {"good": 1})
    with pytest.raises(RuntimeError), files.atomic_writer(path) as file:
        file.write(b"half of it")
        raise RuntimeError("power cut")
    assert json.loads(path.read_text()) == {"good": 1}
    assert os.listdir(tmp_path) == ["results.json"]


def test_full_disk_is_named_and_harmless(tmp_path, monkeypatch):
    path = tmp_path / "model"
    files.write_bytes(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk is full"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model"]
