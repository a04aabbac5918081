"""Batches of mixed pictures, whose labels are shares of classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

Floats = NDArray[np.float32]


def one_hot(labels: NDArray[np.int64], classes: int) -> Floats:
    """Labels int64 (N,) as shares float32 (N, classes).

    >>> import coolnn as cool, numpy as np
    >>> cool.data.one_hot(np.array([1, 0]), 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    return np.eye(classes, dtype=np.float32)[labels]


@dataclass(frozen=True)
class Mix:
    """Base of Mixup and CutMix: pairs each picture with another of its batch; Beta(alpha, alpha) gives the share."""

    alpha: float = 1.0
    p: float = 1.0

    def __post_init__(self) -> None:
        if self.alpha <= 0:
            raise DataError(f"alpha must be above 0, not {self.alpha}")
        if not 0 <= self.p <= 1:
            raise DataError(f"a probability p lies from 0 to 1, not {self.p}")

    def __call__(
        self, images: Floats, labels: NDArray[np.int64], classes: int, generator: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """images (N, C, H, W) and labels (N,) of `classes` classes in; mixed images and shares (N, classes) out."""
        shares = one_hot(labels, classes)
        if generator.random() >= self.p:
            return images, shares
        share = float(generator.beta(self.alpha, self.alpha))
        partner = generator.permutation(len(images))
        stored = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        mixed, share = self._mix(stored, stored[partner], share, generator)
        labels_mixed = np.float32(share) * shares + np.float32(1 - share) * shares[partner]
        return mixed.transpose(0, 3, 1, 2), labels_mixed

    def _mix(self, a: Floats, b: Floats, share: float, generator: np.random.Generator) -> tuple[Floats, float]:
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {"type": type(self).__name__} | dataclasses.asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Mix:
        """The mix of that JSON form; raises DataError for an unknown type."""
        kinds: dict[str, type[Mix]] = {"Mixup": Mixup, "CutMix": CutMix}
        kind = kinds.get(str(value.get("type")))
        if kind is None:
            raise DataError(f"mix {value.get('type')!r} is not known; choose Mixup or CutMix")
        return kind(**{name: inner for name, inner in value.items() if name != "type"})


@dataclass(frozen=True)
class Mixup(Mix):
    """A weighted mean of two pictures and of their labels (Zhang et al., 2018)."""

    alpha: float = 0.2

    def _mix(self, a: Floats, b: Floats, share: float, generator: np.random.Generator) -> tuple[Floats, float]:
        return np.float32(share) * a + np.float32(1 - share) * b, share


@dataclass(frozen=True)
class CutMix(Mix):
    """A rectangle of one picture in another; labels by area (Yun et al., 2019)."""

    def _mix(self, a: Floats, b: Floats, share: float, generator: np.random.Generator) -> tuple[Floats, float]:
        h, w = a.shape[1:3]
        side = np.sqrt(1 - share)
        y, x = int(generator.integers(h)), int(generator.integers(w))
        top, bottom = max(0, round(y - h * side / 2)), min(h, round(y + h * side / 2))
        left, right = max(0, round(x - w * side / 2)), min(w, round(x + w * side / 2))
        out = a.copy()
        out[:, top:bottom, left:right] = b[:, top:bottom, left:right]
        return out, 1 - (bottom - top) * (right - left) / (h * w)
