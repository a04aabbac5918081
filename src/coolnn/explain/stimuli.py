"""Gratings and bars, as Hubel and Wiesel moved them over receptive fields: pictures of known orientation and width."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Kind = Literal["grating", "bar"]


def _frequencies() -> tuple[float, ...]:
    """From 40 pixels a cycle to 2.5, each about one and a half times the one before."""
    return tuple(float(f) for f in np.round(np.geomspace(1 / 40, 1 / 2.5, 7), 4))


@dataclass(frozen=True)
class Stimuli:
    """All combinations of orientation, spatial frequency and phase, in this order, the phase fastest.

    orientations: in degrees, of the stripes themselves: 0 is horizontal, 90 upright, counted anticlockwise;
    frequencies: in cycles a pixel; phases: how many steps of a whole cycle the stripes are moved by, across themselves.
    kind: "grating" (a sine) or "bar" (one bright bar, half a cycle wide, that moves over a whole cycle about the
    middle); contrast: 0 to 1. Raises ValueError for values out of range.

    >>> import coolnn as cool
    >>> from coolnn.explain.stimuli import Stimuli
    >>> stimuli = Stimuli(orientations=(0, 90), frequencies=(0.25,), phases=4)
    >>> stimuli.shape, next(stimuli.pictures((8, 8))).shape
    ((2, 1, 4), (8, 8, 8))
    """

    orientations: tuple[float, ...] = tuple(float(a) for a in range(0, 180, 15))
    frequencies: tuple[float, ...] = field(default_factory=_frequencies)
    phases: int = 8
    kind: Kind = "grating"
    contrast: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("grating", "bar"):
            raise ValueError(f"stimuli are gratings or bars, not {self.kind!r}: choose 'grating' or 'bar'")
        if not self.orientations or not all(0 <= angle < 180 for angle in self.orientations):
            raise ValueError(f"orientations are degrees from 0 to below 180, not {self.orientations}")
        if not self.frequencies or not all(0 < f <= 0.5 for f in self.frequencies):
            raise ValueError(f"frequencies are above 0 and up to 0.5 cycles a pixel, not {self.frequencies}")
        if self.phases < 3:
            raise ValueError(f"a wave is known from 3 phases or more, not {self.phases}")
        if not 0 < self.contrast <= 1:
            raise ValueError(f"contrast is above 0 and up to 1, not {self.contrast}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """How many orientations, frequencies and phases there are."""
        return len(self.orientations), len(self.frequencies), self.phases

    def __len__(self) -> int:
        return int(np.prod(self.shape))

    def pictures(self, size: tuple[int, int], batch: int | None = None) -> Iterator[Array]:
        """Grey pictures float32 (batch, H, W) of 0..1, all of them in batches (None: at once)."""
        count = len(self)
        for start in range(0, count, batch or count):
            at = np.arange(start, min(start + (batch or count), count))
            yield self._drawn(size, *np.unravel_index(at, self.shape))

    def _drawn(self, size: tuple[int, int], orientation: Array, frequency: Array, phase: Array) -> Array:
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
        x, y = x - size[1] // 2, y - size[0] // 2
        angle = np.deg2rad(np.array(self.orientations))[orientation][:, None, None]
        # Rows count downwards: along stripes at this angle is (cos, -sin), and so across them is (sin, cos).
        across = x * np.sin(angle) + y * np.cos(angle)
        cycles = across * np.array(self.frequencies)[frequency][:, None, None] - (phase / self.phases)[:, None, None]
        if self.kind == "grating":
            wave = np.cos(2 * np.pi * cycles)
        else:
            # Half a cycle wide, within the cycle about the middle; its edges as wide as a pixel, so that no orientation
            # has sharper ones than another.
            away = np.abs(cycles + np.where((phase / self.phases)[:, None, None] > 0.5, 1.0, 0.0))
            pixels = np.array(self.frequencies)[frequency][:, None, None]
            wave = np.clip((0.25 - away) / pixels + 0.5, 0, 1)
        return np.asarray(0.5 + 0.5 * self.contrast * wave, np.float32)
