"""Data sets: pictures with labels, from arrays, parts of others or several others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DataError
from .image import Pixels

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Skipped:
    """A file that could not be read, and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Dataset:
    """Pictures with labels. A data set of one's own needs `classes`, `__len__` and `__getitem__`; `labels` helps speed.

    `dataset[i]` is (picture uint8 (H, W, C), label); `labels` is int64 (N,), known without decoding pictures.

    >>> import coolnn as cool, numpy as np
    >>> class Squares(cool.data.Dataset):
    ...     name, classes = "squares", ["dark", "light"]
    ...     def __len__(self):
    ...         return 10
    ...     def __getitem__(self, i):
    ...         return np.full((8, 8, 1), 200 * (i % 2), np.uint8), i % 2
    >>> Squares().labels.tolist()
    [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    """

    name: str = "data"
    classes: Sequence[str] = ()

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} needs a method __len__ that gives the number of pictures")

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        raise NotImplementedError(f"{type(self).__name__} needs a method __getitem__ that gives (picture, label)")

    def __iter__(self) -> Iterator[tuple[Pixels, int]]:
        return (self[i] for i in range(len(self)))

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """All labels, int64 (N,). Decodes every picture unless the kind of data set knows better."""
        return np.array([self[i][1] for i in range(len(self))], np.int64)

    @property
    def keys(self) -> Sequence[str] | None:
        """What tells the pictures apart for good: paths relative to the data folder; None where only the index does."""
        return None

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(H, W, C) if that is known to be the same for all pictures."""
        return None

    @property
    def skipped(self) -> list[Skipped]:
        """Files found unreadable so far, each once, by path."""
        return []

    def gather(self, indices: Indices) -> Pixels | None:
        """The pictures at `indices` as one fresh array (N, H, W, C), if they are all in memory; else None."""
        return None

    def at_least(self, side: int) -> None:
        """Hears that no more than so many pixels a side are needed, which can make reading files faster."""

    def describe(self, index: int) -> str:
        """What messages call the picture at `index`: its file, if it has one."""
        return f"{self.name}[{index}]"

    def counts(self) -> dict[str, int]:
        """How many pictures each class has."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return {name: int(n) for name, n in zip(self.classes, counts, strict=False)}

    def subset(self, indices: ArrayLike) -> Subset:
        """The pictures at `indices`, in that order."""
        return Subset(self, indices)

    def __repr__(self) -> str:
        shape = f", {'x'.join(map(str, self.image_shape))}" if self.image_shape else ""
        return f"<{type(self).__name__} {self.name}: {len(self)} pictures{shape}, {len(self.classes)} classes>"

    def _check_index(self, index: int) -> int:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"{self.name} has {n} pictures, there is no number {index}")
        return index % n


class ArrayDataset(Dataset):
    """Pictures held in memory.

    images: (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 to 4 channels, uint8 0..255, or floats, which reach the
    network as they are. labels: N whole numbers from 0, or N names; classes: names for the numbers.
    Raises DataError if they do not fit together.

    >>> import coolnn as cool, numpy as np
    >>> data = cool.data.ArrayDataset(np.zeros((4, 28, 28), np.uint8), ["cat", "dog", "cat", "dog"])
    >>> data.classes, data.labels.tolist(), data[0][0].shape
    (['cat', 'dog'], [0, 1, 0, 1], (28, 28, 1))
    """

    def __init__(
        self, images: ArrayLike, labels: ArrayLike, classes: Sequence[str] | None = None, name: str = "arrays"
    ) -> None:
        self.name = name
        self.images = _pictures(np.asarray(images), name)
        self._labels, self.classes = _labels(np.asarray(labels), classes, len(self.images), name)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        index = self._check_index(index)
        return self.images[index], int(self._labels[index])

    @property
    def labels(self) -> NDArray[np.int64]:
        """All labels, int64 (N,)."""
        return self._labels

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(H, W, C) of every picture."""
        _, h, w, c = self.images.shape
        return h, w, c

    def gather(self, indices: Indices) -> Pixels | None:
        """The pictures at `indices`, (N, H, W, C)."""
        return np.take(self.images, indices, axis=0)


def _pictures(images: NDArray[Any], name: str) -> Pixels:
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise DataError(
            f"{name}: pictures must be an array (N, H, W), (N, H, W, C) or (N, C, H, W), not of shape {images.shape}; "
            "reshape rows of pixels first, e.g. X.reshape(-1, 28, 28)"
        )
    if not 1 <= images.shape[3] <= 4 or (images.shape[1] <= 4 < min(images.shape[2:])):
        if not 1 <= images.shape[1] <= 4:
            raise DataError(f"{name}: pictures need 1 to 4 channels in the last or the second axis, not {images.shape}")
        images = images.transpose(0, 2, 3, 1)
    if images.dtype == np.bool_:
        images = images.astype(np.uint8) * np.uint8(255)
    elif images.dtype.kind in "iu" and images.dtype != np.uint8:
        if images.size and not (images.min() >= 0 and images.max() <= 255):
            raise DataError(
                f"{name}: whole-number pixels must lie in 0..255, these in {images.min()}..{images.max()}; "
                "scale them, or give floats, which are used as they are"
            )
        images = images.astype(np.uint8)
    elif images.dtype.kind == "f":
        images = images.astype(np.float32, copy=False)
    elif images.dtype != np.uint8:
        raise DataError(f"{name}: pixels must be numbers, not {images.dtype}")
    return np.ascontiguousarray(images)


def _labels(
    labels: NDArray[Any], classes: Sequence[str] | None, n: int, name: str
) -> tuple[NDArray[np.int64], list[str]]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (n,):
        raise DataError(f"{name}: {n} pictures need {n} labels, an array ({n},), not {labels.shape}")
    if labels.dtype.kind in "UO":
        names = list(classes) if classes is not None else sorted({str(label) for label in labels})
        where = {text: i for i, text in enumerate(names)}
        unknown = sorted({str(label) for label in labels} - set(names))
        if unknown:
            raise DataError(f"{name}: label {unknown[0]!r} is not among the classes {names}")
        return np.array([where[str(label)] for label in labels], np.int64), names
    numbers = labels.astype(np.int64)
    if labels.dtype.kind not in "iub" and not np.array_equal(numbers, labels):
        raise DataError(f"{name}: labels must be whole numbers or names, not {labels.dtype} such as {labels[:3]}")
    low, high = (int(numbers.min()), int(numbers.max())) if n else (0, -1)
    if low < 0:
        raise DataError(f"{name}: labels count from 0, there is {low}")
    if classes is not None and high >= len(classes):
        raise DataError(f"{name}: label {high} needs {high + 1} class names, there are {len(classes)}")
    return numbers, list(classes) if classes is not None else [str(i) for i in range(high + 1)]


class Subset(Dataset):
    """Some pictures of another data set, by index.

    >>> import coolnn as cool, numpy as np
    >>> data = cool.data.ArrayDataset(np.zeros((5, 4, 4)), [0, 1, 2, 3, 4])
    >>> data.subset([4, 0]).labels.tolist()
    [4, 0]
    """

    def __init__(self, parent: Dataset, indices: ArrayLike, name: str | None = None) -> None:
        chosen = np.asarray(indices)
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise DataError(
                f"a subset needs a list of whole numbers or one boolean a picture, not {chosen.dtype} {chosen.shape}"
            )
        self.indices: Indices = chosen.astype(np.int64)
        if chosen.size and not (self.indices.min() >= 0 and self.indices.max() < len(parent)):
            raise DataError(
                f"indices of {parent.name} go from 0 to {len(parent) - 1}, not {chosen.min()} to {chosen.max()}"
            )
        self.parent, self.classes, self.name = parent, parent.classes, name or parent.name

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        return self.parent[int(self.indices[self._check_index(index)])]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """All labels, int64 (N,)."""
        return self.parent.labels[self.indices]

    @property
    def keys(self) -> Sequence[str] | None:
        """The parent's for these pictures."""
        keys = self.parent.keys
        return None if keys is None else [keys[index] for index in self.indices]

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """As the parent's."""
        return self.parent.image_shape

    @property
    def skipped(self) -> list[Skipped]:
        """As the parent's."""
        return self.parent.skipped

    def gather(self, indices: Indices) -> Pixels | None:
        """The pictures at `indices` of this subset."""
        return self.parent.gather(self.indices[indices])

    def at_least(self, side: int) -> None:
        """Tells the parent."""
        self.parent.at_least(side)

    def describe(self, index: int) -> str:
        """As the parent calls it."""
        return self.parent.describe(int(self.indices[index]))


class Concat(Dataset):
    """Several data sets with the same classes, one after the other.

    >>> import coolnn as cool, numpy as np
    >>> data = cool.data.ArrayDataset(np.zeros((5, 4, 4)), [0, 1, 0, 1, 0])
    >>> len(cool.data.Concat([data, data]))
    10
    """

    def __init__(self, parts: Sequence[Dataset], name: str | None = None) -> None:
        if not parts:
            raise DataError("joining data sets needs at least one")
        for part in parts[1:]:
            if list(part.classes) != list(parts[0].classes):
                raise DataError(
                    f"data sets that are joined need the same classes: {parts[0].name} has {list(parts[0].classes)}, "
                    f"{part.name} has {list(part.classes)}"
                )
        self.parts, self.classes = list(parts), parts[0].classes
        self.name = name or "+".join(dict.fromkeys(part.name for part in parts))
        self._starts = np.cumsum([0] + [len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _locate(self, index: int) -> tuple[Dataset, int]:
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.parts[part], index - int(self._starts[part])

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        part, inner = self._locate(self._check_index(index))
        return part[inner]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """All labels, int64 (N,)."""
        return np.concatenate([part.labels for part in self.parts])

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """The shape that all parts share, if they do."""
        shapes = {part.image_shape for part in self.parts}
        return shapes.pop() if len(shapes) == 1 else None

    @property
    def skipped(self) -> list[Skipped]:
        """Those of all parts."""
        return sorted({file for part in self.parts for file in part.skipped}, key=lambda file: file.path)

    def gather(self, indices: Indices) -> Pixels | None:
        """The pictures at `indices`, if all parts hold theirs in memory in one shape."""
        if self.image_shape is None:
            return None
        which = np.searchsorted(self._starts, indices, side="right") - 1
        out: Pixels | None = None
        for number in np.unique(which):
            here = which == number
            found = self.parts[number].gather(indices[here] - self._starts[number])
            if found is None:
                return None
            out = np.empty((len(indices), *found.shape[1:]), found.dtype) if out is None else out
            if out.dtype != found.dtype:
                return None
            out[here] = found
        return out

    def at_least(self, side: int) -> None:
        """Tells all parts."""
        for part in self.parts:
            part.at_least(side)

    def describe(self, index: int) -> str:
        """As the part calls it."""
        part, inner = self._locate(index)
        return part.describe(inner)


class Relabelled(Dataset):
    """Another data set with its labels counted by other classes; raises DataError for a class that is not among them.

    >>> import coolnn as cool, numpy as np
    >>> data = cool.data.ArrayDataset(np.zeros((2, 4, 4)), ["cat", "dog"])
    >>> cool.data.Relabelled(data, ["bird", "dog", "cat"]).labels.tolist()
    [2, 1]
    """

    def __init__(self, parent: Dataset, classes: Sequence[str]) -> None:
        self.parent, self.classes, self.name = parent, list(classes), parent.name
        for name in parent.classes:
            if name not in self.classes:
                raise DataError(f"{parent.name} has a class {name!r} that is not among: {', '.join(self.classes)}")
        self._new = np.array([self.classes.index(name) for name in parent.classes], np.int64)

    def __len__(self) -> int:
        return len(self.parent)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        image, label = self.parent[index]
        return image, int(self._new[label])

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """All labels, int64 (N,), by the new classes."""
        return self._new[self.parent.labels]

    @property
    def keys(self) -> Sequence[str] | None:
        """As the parent's."""
        return self.parent.keys

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """As the parent's."""
        return self.parent.image_shape

    @property
    def skipped(self) -> list[Skipped]:
        """As the parent's."""
        return self.parent.skipped

    def gather(self, indices: Indices) -> Pixels | None:
        """As the parent's."""
        return self.parent.gather(indices)

    def at_least(self, side: int) -> None:
        """Tells the parent."""
        self.parent.at_least(side)

    def describe(self, index: int) -> str:
        """As the parent calls it."""
        return self.parent.describe(index)


def in_memory(dataset: Dataset, limit: float = 1 << 30) -> Dataset:
    """The data set with all pictures decoded, if they have one shape and take at most `limit` bytes; else as it is.

    >>> import coolnn as cool, numpy as np
    >>> data = cool.data.ArrayDataset(np.zeros((5, 4, 4)), [0, 1, 0, 1, 0])
    >>> cool.data.in_memory(data.subset([1, 3])).labels.tolist()
    [1, 1]
    """
    if isinstance(dataset, ArrayDataset) or not len(dataset):
        return dataset
    shape = dataset[0][0].shape
    if int(np.prod(shape)) * len(dataset) > limit:
        return dataset
    gathered = dataset.gather(np.arange(len(dataset)))
    if gathered is None:
        images = []
        for image, _ in dataset:
            if image.shape != shape:
                return dataset
            images.append(image)
        gathered = np.stack(images)
    return ArrayDataset(gathered, dataset.labels, dataset.classes, dataset.name)
