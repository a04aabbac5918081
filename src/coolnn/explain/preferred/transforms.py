"""What is done to pictures at random in each step: what a unit likes at one place and angle only is noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Transform:
    """Pictures shifted by up to `jitter` pixels each way, scaled and turned, with `padding` of grey around them.

    scale: (least, most) factor; rotation: degrees either way. The network sees pictures that are 2 · padding pixels
    larger on both sides. Raises ValueError for values out of range.
    """

    jitter: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    rotation: float = 0.0
    padding: int = 0

    def __post_init__(self) -> None:
        if self.jitter < 0 or self.rotation < 0 or self.padding < 0:
            raise ValueError(f"jitter, rotation and padding are 0 or more, not {self}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale is two factors, 0 < least <= most, not {self.scale}")

    def seen(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of what the network sees of a picture of this size."""
        return size[0] + 2 * self.padding, size[1] + 2 * self.padding

    def matrices(self, draws: Sequence[np.random.Generator], size: tuple[int, int]) -> Array:
        """A matrix for each picture (N, 2, 3), as `ops.affine_sample` takes them; drawn anew in each step."""
        found = np.empty((len(draws), 2, 3), np.float32)
        for i, draw in enumerate(draws):
            turn, zoom, dx, dy = draw.uniform(-1, 1), draw.uniform(0, 1), draw.uniform(-1, 1), draw.uniform(-1, 1)
            found[i] = self._matrix(turn, self.scale[0] + zoom * (self.scale[1] - self.scale[0]), dx, dy, size)
        return found

    def still(self, count: int, size: tuple[int, int]) -> Array:
        """Matrices that change nothing."""
        return np.broadcast_to(np.asarray(self._matrix(0, 1, 0, 0, size), np.float32), (count, 2, 3)).copy()

    def _matrix(self, turn: float, zoom: float, dx: float, dy: float, size: tuple[int, int]) -> Array:
        angle = np.deg2rad(turn * self.rotation)
        cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
        height, width = size
        seen = self.seen(size)
        # From what the network sees back to the picture: about the middle of both.
        u, v = (seen[1] - 1) / 2 + dx * self.jitter, (seen[0] - 1) / 2 + dy * self.jitter
        x, y = (width - 1) / 2, (height - 1) / 2
        return np.array([[cos, -sin, x - cos * u + sin * v], [sin, cos, y - sin * u - cos * v]])
