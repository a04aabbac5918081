"""Pictures of files kept in memory, no larger than they are needed."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset, Skipped
from .image import Pixels, resize_image

#: Bytes that all kept pictures of a data set may take.
LIMIT = 2 << 30


class Shrunk(Dataset):
    """Another data set whose pictures are made smaller, where they are larger, and kept, so that each is read once.

    side: length of the shorter side afterwards, in pixels; larger than what the network takes, so that random crops
    have something to choose from. Once `limit` bytes are kept, further pictures are read anew each time.

    >>> import coolnn as cool, numpy as np
    >>> photos = cool.data.ArrayDataset(np.zeros((2, 600, 400, 3), np.uint8), [0, 1])
    >>> cool.data.Shrunk(photos, 80)[0][0].shape
    (120, 80, 3)
    """

    def __init__(self, parent: Dataset, side: int, limit: int = LIMIT) -> None:
        self.parent, self.side, self.limit = parent, side, limit
        self.name, self.classes = parent.name, parent.classes
        self._kept: dict[int, tuple[Pixels, int]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.parent)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        index = self._check_index(index)
        found = self._kept.get(index)
        if found is not None:
            return found
        image, label = self.parent[index]
        height, width = image.shape[:2]
        if min(height, width) > self.side:
            scale = self.side / min(height, width)
            image = resize_image(image, (max(1, round(height * scale)), max(1, round(width * scale))))
        with self._lock:
            if self._bytes + image.nbytes <= self.limit:
                self._bytes += image.nbytes
                self._kept[index] = image, label
        return image, label

    @property
    def labels(self) -> NDArray[np.int64]:
        """As the parent's."""
        return self.parent.labels

    @property
    def keys(self) -> Sequence[str] | None:
        """As the parent's."""
        return self.parent.keys

    @property
    def skipped(self) -> list[Skipped]:
        """As the parent's."""
        return self.parent.skipped

    def describe(self, index: int) -> str:
        """As the parent calls it."""
        return self.parent.describe(index)


def shrunk(dataset: Dataset, size: int) -> Dataset:
    """The data set ready for a network that takes pictures of `size` pixels; what is in memory stays as it is."""
    if len(dataset) == 0 or dataset.gather(np.zeros(1, np.int64)) is not None:
        return dataset
    side = size + size // 4
    dataset.at_least(2 * side)  # what is decoded still has twice the resolution, so that shrinking stays smooth
    return Shrunk(dataset, side)
