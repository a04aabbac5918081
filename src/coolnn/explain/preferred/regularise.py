"""Yosinski et al.'s four regularisers: what is done to a picture after each step so that it stays a picture."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Regulariser:
    """Decay, blur, and setting pixels to grey whose norm or whose contribution is small.

    Yosinski et al. 2015 (Understanding Neural Networks Through Deep Visualization, arXiv:1506.06579). decay: the share
    of each pixel that is lost a step; blur: deviation in pixels of a Gaussian, used every `blur_every` steps;
    small_norm, small_contribution: the percentage of pixels that become grey, those of the least norm over the colours,
    and those whose product with the gradient is least. Pictures are about grey: 0 is grey. Raises ValueError for values
    out of range.
    """

    decay: float = 0.0
    blur: float = 0.0
    blur_every: int = 4
    small_norm: float = 0.0
    small_contribution: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("decay", 1), ("small_norm", 100), ("small_contribution", 100)):
            if not 0 <= getattr(self, name) < most:
                raise ValueError(f"{name} is from 0 to below {most}, not {getattr(self, name)}")
        if self.blur < 0 or self.blur_every < 1:
            raise ValueError(f"blur is 0 or more and blur_every 1 or more, not {self.blur} and {self.blur_every}")

    def __call__(self, pictures: Array, gradient: Array, step: int) -> Array:
        """Pictures (N, C, H, W) after step number `step` (from 1), whose gradient of the objective this was."""
        x = pictures * np.float32(1 - self.decay)
        if self.blur and step % self.blur_every == 0:
            rows, columns = (_gaussian(n, self.blur) for n in x.shape[2:])
            x = rows @ x @ columns.T
        if self.small_norm:
            x = _without(x, np.linalg.norm(x, axis=1), self.small_norm)
        if self.small_contribution:
            x = _without(x, np.abs((x * gradient).sum(1)), self.small_contribution)
        return np.asarray(x, np.float32)


def _without(x: Array, size: Array, percent: float) -> Array:
    """Pictures with the pixels set to grey whose size (N, H, W) is among the smallest."""
    limit = np.percentile(size.reshape(len(size), -1), percent, axis=1)
    return np.asarray(np.where((size > limit[:, None, None])[:, None], x, 0))


@functools.lru_cache(maxsize=64)
def _gaussian(n: int, deviation: float) -> Array:
    """A matrix (n, n) that blurs; at the ends the pixels that are there share all the weight."""
    apart = np.arange(n)[:, None] - np.arange(n)[None, :]
    weights = np.exp(-0.5 * (apart / deviation) ** 2)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)
