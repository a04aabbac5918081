"""What is known of a tensor before it has any numbers: its shape and its type."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

float32 = np.dtype(np.float32)
float64 = np.dtype(np.float64)
int64 = np.dtype(np.int64)
int32 = np.dtype(np.int32)
uint8 = np.dtype(np.uint8)
boolean = np.dtype(np.bool_)

# The engine's numbers for the types; the order is that of DType in cpp/kernel.h.
DTYPE_CODES: dict[np.dtype[Any], int] = {float32: 0, float64: 1, int64: 2, int32: 3, uint8: 4, boolean: 5}

Shape = tuple[int, ...]


class Spec(NamedTuple):
    """Shape and type of a tensor: (2, 3, 224, 224) and float32, say."""

    shape: Shape
    dtype: np.dtype[Any] = float32

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the elements take."""
        return self.size * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype.name}{list(self.shape)}"


def storage_order(rank: int) -> tuple[int, ...]:
    """The axes from slowest to fastest in memory: channels-last for rank 4, row-major for all others."""
    return (0, 2, 3, 1) if rank == 4 else tuple(range(rank))


def logical_order(rank: int) -> tuple[int, ...]:
    """The inverse of `storage_order`: transposes an array in memory order back to the order that users see."""
    return (0, 3, 1, 2) if rank == 4 else tuple(range(rank))
