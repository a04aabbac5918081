"""What is changed to make a preferred picture: its pixels, or its frequencies, in colours as photographs have them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ... import ops
from ...tensor import Tensor, from_numpy

Array = NDArray[Any]

#: Covariance of red, green and blue (0..1) over the pixels of 128 photographs (COCO's first, each counted alike).
#: Lucid's published one, of ImageNet, has nearly the same axes (Olah, Mordvintsev & Schubert 2017).
COLOUR_COVARIANCE = ((0.0751, 0.0670, 0.0622), (0.0670, 0.0727, 0.0687), (0.0622, 0.0687, 0.0819))


class Parameterisation(Protocol):
    """How numbers become pictures."""

    def start(self, draws: Sequence[np.random.Generator], channels: int, size: tuple[int, int]) -> Array:
        """The numbers to begin with, for as many pictures as there are generators."""
        ...

    def picture(self, numbers: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
        """Pictures (N, C, H, W), RGB or grey, of -0.5..0.5 about a middle grey."""
        ...


@dataclass(frozen=True)
class Pixels:
    """The pixels themselves, to begin with noise of this deviation about a middle grey.

    bounded: a sigmoid keeps them within black and white; without it they may leave the range while they are changed.
    """

    deviation: float = 0.01
    bounded: bool = True

    def start(self, draws: Sequence[np.random.Generator], channels: int, size: tuple[int, int]) -> Array:
        """Noise (N, C, H, W)."""
        noise = [draw.standard_normal((*size, channels), np.float32).transpose(2, 0, 1) for draw in draws]
        return np.stack(noise) * np.float32(self.deviation * (4 if self.bounded else 1))  # the sigmoid's slope is 1/4

    def picture(self, numbers: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
        """The same, bounded if so chosen."""
        return numbers.sigmoid() - 0.5 if self.bounded else numbers


@dataclass(frozen=True)
class Fourier:
    """Amplitudes of frequencies, scaled by 1 / frequency as in photographs, so that no frequency is favoured.

    Olah, Mordvintsev & Schubert 2017 (Feature Visualization, Distill, doi:10.23915/distill.00007). Here the basis is
    the real one, products of cosines and sines along either axis, orthonormal, so that it takes two matrix products.
    decay: the exponent of the frequency; decorrelated: amplitudes along the axes of `COLOUR_COVARIANCE`, scaled by the
    deviation that photographs have along each; deviation: of the amplitudes to begin with.
    """

    decay: float = 1.0
    decorrelated: bool = True
    deviation: float = 0.01

    def start(self, draws: Sequence[np.random.Generator], channels: int, size: tuple[int, int]) -> Array:
        """Amplitudes (N C, H, W)."""
        noise = [draw.standard_normal((channels, *size), np.float32) for draw in draws]
        return np.concatenate(noise) * np.float32(self.deviation)

    def picture(self, numbers: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
        """Amplitudes as pictures, bounded by a sigmoid."""
        rows, columns = (from_numpy(basis(n)) for n in size)
        scaled = numbers * from_numpy(self.scale(size))
        x = ops.matmul(ops.matmul(rows, scaled), columns.transpose(0, 1))
        count = numbers.shape[0] // channels
        if self.decorrelated and channels == 3:
            flat = x.reshape(count, channels, size[0] * size[1])
            x = ops.matmul(from_numpy(colour_axes()), flat)
        return x.reshape(count, channels, *size).sigmoid() - 0.5

    def scale(self, size: tuple[int, int]) -> Array:
        """The factor of each amplitude (H, W): a quarter of 1 / frequency, in cycles a pixel, and of the lowest's."""
        vertical, horizontal = (frequencies(n) for n in size)
        radius = np.maximum(np.hypot(vertical[:, None], horizontal[None, :]), 1 / max(size))
        return np.asarray(0.25 / radius**self.decay * max(size) ** (1 - self.decay), np.float32)


def frequencies(n: int) -> Array:
    """The frequency of each function of `basis`, in cycles a pixel (n,)."""
    return np.asarray((np.arange(n) + 1) // 2 / n)


@functools.lru_cache(maxsize=64)
def basis(n: int) -> Array:
    """The real Fourier basis of n places, orthonormal, a function a column: constant, cosine, sine, cosine, ..."""
    places, k = np.arange(n)[:, None], (np.arange(n) + 1) // 2
    angle = 2 * np.pi * places * k / n
    found = np.where(np.arange(n) % 2 == 1, np.cos(angle), np.sin(angle)) * np.sqrt(2 / n)
    found[:, 0] = np.sqrt(1 / n)
    if n % 2 == 0:
        found[:, -1] = np.cos(np.pi * places[:, 0]) * np.sqrt(1 / n)
    return np.asarray(found, np.float32)


@functools.cache
def colour_axes() -> Array:
    """The axes of the colours of photographs, strongest first, as columns (3, 3) as long as the deviation along each.

    Scaled so that the longest has length 1.
    """
    variances, axes = np.linalg.eigh(np.array(COLOUR_COVARIANCE))
    found = (axes * np.sqrt(variances))[:, ::-1]
    found = found * np.sign(found.sum(0) + 1e-9)  # eigenvectors have no sign of their own
    return np.ascontiguousarray(found / np.linalg.norm(found, axis=0).max(), np.float32)
