"""Splits into training, validation and test pictures that stay the same under a seed and as pictures are added."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .cache import shrunk
from .dataset import Concat, Dataset, Subset
from .draws import stable_words
from .errors import DataError


@dataclass(frozen=True)
class Splits:
    """The parts of a data set; `val` and `test` are None where there is no such part.

    >>> import coolnn as cool, numpy as np
    >>> data = cool.data.ArrayDataset(np.zeros((20, 4, 4)), [0, 1] * 10)
    >>> print(cool.data.Splits(data).with_val(0.2))
    arrays: 16 train, 4 val; classes 0, 1
    """

    train: Dataset
    val: Dataset | None = None
    test: Dataset | None = None

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, the same in all parts."""
        return self.train.classes

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.train.name

    def parts(self) -> Iterator[tuple[str, Dataset]]:
        """The parts that there are, with their names."""
        for name in ("train", "val", "test"):
            part = getattr(self, name)
            if part is not None:
                yield name, part

    def __getitem__(self, split: str) -> Dataset:
        """The part called train, val or test; "train+val" joins. Raises DataError if it is not there."""
        found = dict(self.parts())
        wanted = [_SPLIT_NAMES.get(name, name) for name in split.split("+")]
        for name in wanted:
            if name not in found:
                remedy = "; val=0.1 takes a tenth of the training pictures for it" if name == "val" else ""
                raise DataError(f"{self.name} has no part {name!r}, only: {', '.join(found)}{remedy}")
        return found[wanted[0]] if len(wanted) == 1 else Concat([found[name] for name in wanted], self.name)

    def with_val(self, fraction: float, seed: int = 0) -> Splits:
        """The same with a share of the training pictures moved to `val`, if there is no such part yet."""
        if self.val is not None or fraction == 0:
            return self
        train, val = split_dataset(self.train, fraction, seed)
        return Splits(train, val, self.test)

    def with_test(self, fraction: float, seed: int = 0) -> Splits:
        """The same with a share of the training pictures moved to `test`, if there is no such part yet."""
        if self.test is not None or fraction == 0:
            return self
        train, test = split_dataset(self.train, fraction, seed, "test")
        return Splits(train, self.val, test)

    def shrunk(self, size: int) -> Splits:
        """The same with every part ready for a network that takes pictures of `size` pixels: see `Shrunk`."""
        val, test = (None if part is None else shrunk(part, size) for part in (self.val, self.test))
        return Splits(shrunk(self.train, size), val, test)

    def hold_out(self, val: float | None, test: float | None, seed: int = 0) -> Splits:
        """The same with shares of all pictures moved to the parts that are not there yet; None means 0.

        Raises DataError if they would leave nothing to train on.
        """
        val = val or 0.0 if self.val is None else 0.0
        test = test or 0.0 if self.test is None else 0.0
        check_fractions(val, test)
        # `val` is a share of the whole; of what the test pictures leave, that is a larger share.
        return self.with_test(test, seed).with_val(val / (1 - test), seed)

    def __str__(self) -> str:
        sizes = ", ".join(f"{len(part)} {name}" for name, part in self.parts())
        names = list(self.classes)
        shown = ", ".join(names if len(names) <= 10 else [*names[:9], f"... ({len(names)})"])
        return f"{self.name}: {sizes}; classes {shown}"


_SPLIT_NAMES = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}


def check_fractions(*fractions: float) -> None:
    """Raises DataError unless the shares are at least 0 and leave something for training."""
    for fraction in fractions:
        if not 0 <= fraction < 1:
            raise DataError(f"a share of the pictures lies from 0 to below 1, e.g. 0.1, not {fraction}")
    if sum(fractions) >= 1:
        raise DataError(f"shares of {' and '.join(map(str, fractions))} leave nothing to train on")


def split_indices(
    labels: ArrayLike, fraction: float, seed: int = 0, part: str = "val"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divides 0..N-1 into (1 - fraction, fraction) of each class, both ascending.

    Every picture has its own random number, fixed by the seed, the name of the part and its index; those with the
    smallest of their class are taken, at least one of a class with two pictures or more, never all. Raises DataError
    for shares outside [0, 1).

    >>> import coolnn as cool
    >>> train, val = cool.data.split_indices([0] * 90 + [1] * 10, 0.1)
    >>> len(train), len(val), int((val >= 90).sum())
    (90, 10, 1)
    """
    check_fractions(fraction)
    classes = np.asarray(labels)
    words = stable_words(seed, len(classes), part)
    taken = np.zeros(len(classes), np.bool_)
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        count = round(fraction * len(members))
        if fraction > 0 and len(members) >= 2:
            count = min(max(count, 1), len(members) - 1)
        taken[members[np.argsort(words[members], kind="stable")[:count]]] = True
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def path_share(path: str, seed: int = 0, part: str = "val") -> float:
    """A number from [0, 1) fixed by a file's path relative to the data folder, the seed and the name of the part.

    >>> import coolnn as cool
    >>> 0 <= cool.data.path_share("cat/1.png", seed=3) < 1
    True
    """
    digest = hashlib.blake2b(f"{seed}:{part}:{path}".encode("utf-8", "surrogateescape"), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2.0**56


def split_paths(
    paths: Sequence[str], labels: ArrayLike, fraction: float, seed: int = 0, part: str = "val"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As `split_indices` for files: held out are those whose `path_share` lies below the fraction.

    So a file stays where it is as others come and go. Only where a class would have none held out, or none left, the
    file whose share is nearest moves over (of a class with two files or more).
    """
    check_fractions(fraction)
    classes = np.asarray(labels)
    shares = np.array([path_share(path, seed, part) for path in paths], np.float64)
    taken = shares < fraction
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        if fraction > 0 and len(members) >= 2 and not taken[members].any():
            taken[members[np.argmin(shares[members])]] = True
        if taken[members].all():
            taken[members[np.argmax(shares[members])]] = False
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def split_dataset(dataset: Dataset, fraction: float, seed: int = 0, part: str = "val") -> tuple[Subset, Subset]:
    """The data set without a share of its pictures, and that share; each class gives its share.

    Pictures from files are told apart by their paths (`split_paths`), others by their index (`split_indices`).
    """
    keys = dataset.keys
    if keys is None:
        kept, held = split_indices(dataset.labels, fraction, seed, part)
    else:
        kept, held = split_paths(keys, dataset.labels, fraction, seed, part)
    return dataset.subset(kept), dataset.subset(held)
