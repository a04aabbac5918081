"""Transforms that turn, shift and shear pictures, or vary their colours."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..spec import DTYPE_CODES
from .draws import Draws
from .errors import DataError
from .image import Pixels
from .transforms import Range, Transform, _bounds

Border = Literal["constant", "edge", "reflect"]


def warp(images: Pixels, matrices: NDArray[np.float64], fill: int = 0, border: Border = "constant") -> Pixels:
    """Pictures (N, H, W, C) whose pixel (x, y) comes, bilinearly, from matrix (2, 3) times (x, y, 1) of the original.

    Coordinates count from the middle of the top left pixel. Outside the original there is `fill` ("constant"), its
    nearest pixel ("edge") or its mirror image about the outermost pixels ("reflect").
    """
    out = np.empty(images.shape, images.dtype)
    if out.size:
        kernel = _kernel(images.dtype, images.shape, border, fill)
        inputs = np.ascontiguousarray(images), np.ascontiguousarray(matrices, np.float64)
        kernel.run_into(tuple(map(_core.Buffer.borrow, inputs)), (_core.Buffer.borrow(out),))
    return out


@functools.lru_cache(maxsize=256)
def _kernel(dtype: np.dtype[Any], shape: tuple[int, ...], border: str, fill: int) -> _core.Kernel:
    n, h, w, c = shape
    pictures = (DTYPE_CODES[dtype], (n, c, h, w))
    matrices = (DTYPE_CODES[np.dtype(np.float64)], (n, 2, 3))
    kernel = _core.prepare("warp", {"border": border, "fill": float(fill)}, (pictures, matrices), (pictures,))
    assert kernel is not None, "pictures are uint8 or float32"
    return kernel


@dataclass(frozen=True)
class Affine(Transform):
    """Turned by up to `degrees`, shifted by up to the share `translate`, scaled and sheared, about the middle.

    degrees and shear (in degrees): a number d means -d to d, else (low, high); scale: (low, high); border: what comes
    in from outside, "constant" (`fill`), "edge" (the nearest pixel) or "reflect" (a mirror image). Bilinear; shape
    unchanged.

    >>> import coolnn as cool, numpy as np
    >>> shift = cool.data.Affine(translate=0.1)
    >>> shift(np.zeros((28, 28), np.uint8)).shape
    (28, 28, 1)
    """

    degrees: Range = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear: Range = 0.0
    fill: int = 0
    border: Border = "constant"

    def __post_init__(self) -> None:
        if self.border not in ("constant", "edge", "reflect"):
            raise DataError(f"border {self.border!r} is not known; choose constant, edge or reflect")
        _bounds(self.degrees, 0, "degrees")
        _bounds(self.shear, 0, "shear")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise DataError(f"scale must be two factors, 0 < low <= high, not {self.scale}")
        if not 0 <= self.translate <= 1:
            raise DataError(f"translate is a share of the side, from 0 to 1, not {self.translate}")

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """(N, H, W, C), same shape out."""
        h, w = images.shape[1:3]
        angle = np.deg2rad(draws.uniform(*_bounds(self.degrees, 0, "degrees")))
        shear = np.tan(np.deg2rad(draws.uniform(*_bounds(self.shear, 0, "shear"))))
        inverse = 1 / draws.uniform(*self.scale)
        dx, dy = draws.uniform(-1, 1) * self.translate * w, draws.uniform(-1, 1) * self.translate * h
        cos, sin = np.cos(angle) * inverse, np.sin(angle) * inverse
        # From the new picture to the old: undo the shift, turn back, undo the shear, all about the middle.
        a, b, c, d = cos - shear * sin, -sin - shear * cos, sin, cos
        cx, cy = (w - 1) / 2, (h - 1) / 2
        matrices = np.empty((len(images), 2, 3))
        matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 0], matrices[:, 1, 1] = a, b, c, d
        matrices[:, 0, 2] = cx - a * (cx + dx) - b * (cy + dy)
        matrices[:, 1, 2] = cy - c * (cx + dx) - d * (cy + dy)
        return warp(images, matrices, self.fill, self.border)


@dataclass(frozen=True)
class Rotation(Transform):
    """Turned about the middle by up to `degrees` either way, or by between (low, high) degrees anticlockwise."""

    degrees: Range = 15.0
    fill: int = 0

    def __post_init__(self) -> None:
        _bounds(self.degrees, 0, "degrees")

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """(N, H, W, C), same shape out."""
        return Affine(degrees=self.degrees, fill=self.fill).apply(images, draws)


@dataclass(frozen=True)
class Translate(Transform):
    """Shifted by up to `pixels` whole pixels each way; what comes in from outside is `fill`."""

    pixels: int = 2
    fill: int = 0

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise DataError(f"a shift must be 0 or more pixels, not {self.pixels}")

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """(N, H, W, C), same shape out."""
        p = self.pixels
        h, w = images.shape[1:3]
        padded = np.pad(images, ((0, 0), (p, p), (p, p), (0, 0)), constant_values=self.fill)
        tops, lefts = draws.integers(0, 2 * p + 1), draws.integers(0, 2 * p + 1)
        out = np.empty_like(images)
        for i, (top, left) in enumerate(zip(tops.tolist(), lefts.tolist(), strict=True)):
            out[i] = padded[i, top : top + h, left : left + w]
        return out


_LUMA = np.array([0.299, 0.587, 0.114])
_TO_YIQ = np.array([_LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


@dataclass(frozen=True)
class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue varied, in this order.

    A number v means factors from 1 - v to 1 + v (hue: turns from -v to v of the colour circle); else (low, high).
    Contrast is about the picture's mean luma; hue turns the colour plane of YIQ. Grey pictures take brightness and
    contrast only.
    """

    brightness: Range = 0.0
    contrast: Range = 0.0
    saturation: Range = 0.0
    hue: Range = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            _bounds(getattr(self, name), 1, name, lowest=0)
        low, high = _bounds(self.hue, 0, "hue")
        if low < -0.5 or high > 0.5:
            raise DataError(f"hue is a part of the colour circle, from -0.5 to 0.5, not {self.hue}")

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """(N, H, W, C), same shape out; an alpha channel stays as it is."""
        brightness = draws.uniform(*_bounds(self.brightness, 1, "brightness", lowest=0))
        contrast = draws.uniform(*_bounds(self.contrast, 1, "contrast", lowest=0))
        saturation = draws.uniform(*_bounds(self.saturation, 1, "saturation", lowest=0))
        angle = draws.uniform(*_bounds(self.hue, 0, "hue")) * (2 * np.pi)
        n, h, w, c = images.shape
        colours = c - 1 if c in (2, 4) else c
        old = images[..., :colours].reshape(n, h * w, colours)
        means = old.mean(axis=1, dtype=np.float64)
        luma = means @ _LUMA if colours == 3 else means[:, 0]
        gain = (brightness * contrast)[:, None, None]
        offset = (luma * brightness * (1 - contrast))[:, None, None]
        if colours == 3:
            # All four are linear in the colours, so they are one matrix a picture; grey keeps its place in it.
            turn = np.zeros((n, 3, 3))
            turn[:, 0, 0] = 1
            turn[:, 1, 1] = turn[:, 2, 2] = saturation * np.cos(angle)
            turn[:, 1, 2], turn[:, 2, 1] = -saturation * np.sin(angle), saturation * np.sin(angle)
            matrix = gain * (_FROM_YIQ @ turn @ _TO_YIQ)
        else:
            matrix = gain
        new = old.astype(np.float32) @ matrix.transpose(0, 2, 1).astype(np.float32) + offset.astype(np.float32)
        if images.dtype == np.uint8:
            new = np.clip(np.rint(new), 0, 255).astype(np.uint8)
        new = new.reshape(n, h, w, colours)
        return cast(Pixels, new if colours == c else np.concatenate([new, images[..., colours:]], axis=-1))
