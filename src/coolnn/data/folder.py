"""Data sets of picture files: a folder a class, with or without train, val and test folders above."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset, Skipped
from .errors import DataError, ImageError, MissingDataError
from .image import EXTENSIONS, Pixels, read_image
from .split import Splits

_SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_LAYOUT = "put the pictures of each class in a folder of its own, e.g. {root}/cat/1.jpg and {root}/dog/1.jpg"


class FolderDataset(Dataset):
    """Pictures in a folder a class, in any depth below it; classes by name, files by path, hidden ones ignored.

    channels: 1, 3, 4, or None for grey if a sample of the files is all grey, else RGB. classes: the names to expect
    (and their order); else the folders that are there. min_side: see `read_image`. Every access reads the file; wrap
    it in `Shrunk` to keep pictures in memory.
    A file that cannot be read is listed once in `skipped`, and the next readable picture of its class (by path) is
    given in its place, so the run goes on and every batch stays the same. Raises DataError for no class, one class, an
    empty class or a class without a readable picture, MissingDataError if there is no such folder.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        classes: Sequence[str] | None = None,
        channels: int | None = None,
        min_side: int | None = None,
        name: str | None = None,
    ) -> None:
        self.root = Path(root)
        self.name = name or self.root.resolve().name
        self.classes, self._keys, self._labels = _scan(self.root, classes)
        self.min_side = min_side
        self._skipped: dict[int, Skipped] = {}
        self._lock = threading.Lock()
        self.channels = channels if channels is not None else self._find_channels()

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def labels(self) -> NDArray[np.int64]:
        """All labels, int64 (N,)."""
        return self._labels

    @property
    def keys(self) -> list[str]:
        """Paths relative to the folder, "class/file"."""
        return self._keys

    @property
    def skipped(self) -> list[Skipped]:
        """Files found unreadable so far, each once, by path."""
        with self._lock:
            return [self._skipped[index] for index in sorted(self._skipped)]

    def path(self, index: int) -> Path:
        """The file of the picture at `index`."""
        return self.root / self._keys[index]

    def describe(self, index: int) -> str:
        """The file's path."""
        return str(self.path(index))

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        index = self._check_index(index)
        label = int(self._labels[index])
        for candidate in self._same_class(index):
            image = self._read(candidate)
            if image is not None:
                return image, label
        members = int((self._labels == label).sum())
        raise DataError(
            f"class {self.classes[label]!r} of {self.root} has no readable picture among its {members}; "
            f"the first one: {self._skipped[index]}"
        )

    def at_least(self, side: int) -> None:
        """Lets photographs be decoded at a scale that keeps both sides at least this long: see `read_image`."""
        self.min_side = side

    def check(self) -> list[Skipped]:
        """Reads every file once and returns those that cannot be read."""
        for index in range(len(self)):
            self._read(index)
        return self.skipped

    def _same_class(self, index: int) -> Iterator[int]:
        """`index`, then the others of its class in order of path, round to where it began."""
        yield index
        first, last = np.searchsorted(self._labels, [self._labels[index], self._labels[index] + 1])  # they are sorted
        yield from range(index + 1, int(last))
        yield from range(int(first), index)

    def _read(self, index: int) -> NDArray[np.uint8] | None:
        if index in self._skipped:
            return None
        try:
            return read_image(self.path(index), self.channels, self.min_side)
        except (ImageError, FileNotFoundError) as error:
            reason = error.reason if isinstance(error, ImageError) else "it is gone"
            with self._lock:
                self._skipped.setdefault(index, Skipped(str(self.path(index)), reason))
            return None

    def _find_channels(self) -> int:
        for index in np.unique(np.linspace(0, len(self) - 1, 16).astype(int)):
            try:
                found = read_image(self.path(int(index)), None, 64)
            except (ImageError, FileNotFoundError):
                continue
            if found.shape[2] == 4:
                found = found[:, :, :3]
            if found.shape[2] == 3 and (found != found[:, :, :1]).any():
                return 3
            if found.shape[2] == 3 and self.path(int(index)).suffix.lower() in (".jpg", ".jpeg"):
                return 3  # a colour file that happens to show a grey scene
        return 1


def _visible_folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def picture_files(root: Path) -> list[str]:
    """Paths of the picture files below `root`, relative to it, sorted; hidden files and folders are left out."""
    found: list[str] = []
    seen: set[str] = set()
    for folder, inner, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if not name.startswith((".", "__")))
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:
                found.append(Path(folder, name).relative_to(root).as_posix())
    return sorted(found)


def _scan(root: Path, wanted: Sequence[str] | None) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """Class names, paths relative to the root in order of class, and labels."""
    if not root.exists():
        raise MissingDataError(f"there is no folder {root}; check the path")
    if not root.is_dir():
        raise DataError(f"{root} is a file; give the folder that holds a folder a class")
    folders = {p.name: p for p in _visible_folders(root)}
    layout = _LAYOUT.format(root=root)
    if not folders:
        loose = len(picture_files(root))
        what = f"{loose} pictures but no folders" if loose else "no folders"
        raise DataError(f"{root} holds {what}: {layout}")
    if wanted is None:
        classes = list(folders)
        if len(classes) == 1:
            raise DataError(
                f"{root} has only one class, {classes[0]!r}; telling classes apart needs two or more: {layout}"
            )
    else:
        classes = list(wanted)
        extra = sorted(set(folders) - set(classes))
        if extra:
            raise DataError(f"{folders[extra[0]]} is none of the classes {classes}; rename or remove it")
    keys: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = picture_files(folders[name]) if name in folders else []
        if not files and wanted is None:
            kinds = " ".join(sorted(EXTENSIONS))
            raise DataError(f"class {name!r} is empty: put pictures ({kinds}) into {root / name}, or remove it")
        keys += [f"{name}/{file}" for file in files]
        labels += [label] * len(files)
    if not keys:
        raise DataError(f"{root} holds no pictures of the classes {classes}: {layout}")
    return classes, keys, np.array(labels, np.int64)


def split_folders(root: Path) -> dict[str, Path]:
    """The folders of `root` that are splits by name, if there is a training folder with class folders in it."""
    by_name = {p.name.lower(): p for p in _visible_folders(root)} if root.is_dir() else {}
    found = {split: by_name[alias] for split, names in _SPLIT_FOLDERS.items() for alias in names if alias in by_name}
    return found if "train" in found and _visible_folders(found["train"]) else {}


def load_folder(
    root: str | os.PathLike[str],
    *,
    val: float | None = None,
    test: float | None = None,
    seed: int = 0,
    channels: int | None = None,
    name: str | None = None,
) -> Splits:
    """A folder of pictures in its parts.

    With folders train, val (validation) and test (testing) these are the parts, and only `val` or `test` given and not
    there as a folder is taken from the training pictures. Without them, a tenth each (or `val` and `test`) is held out
    by the hash of path and seed, see `path_share`. Raises DataError as `FolderDataset` does.
    """
    root = Path(root)
    given = split_folders(root)
    name = name or root.resolve().name
    if given:
        training = FolderDataset(given["train"], channels=channels, name=name)
        others = {
            split: FolderDataset(folder, classes=training.classes, channels=training.channels, name=name)
            for split, folder in given.items()
            if split != "train"
        }
        return Splits(training, others.get("val"), others.get("test")).hold_out(val, test, seed)
    whole = Splits(FolderDataset(root, channels=channels, name=name))
    return whole.hold_out(0.1 if val is None else val, 0.1 if test is None else test, seed)
