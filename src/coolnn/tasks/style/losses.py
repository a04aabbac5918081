"""The terms that a picture is judged by: content, style and smoothness, each relative, so that weights mean the same
for every network, layer and picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import ops
from ...tensor import Tensor, from_numpy

Array = np.ndarray[Any, np.dtype[Any]]

#: Where the style is read (Gatys et al. 2016), and where the content is.
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYERS = ("relu4_2",)


def gram(activation: Tensor, mask: Tensor | None = None) -> Tensor:
    """The Gram matrix of each picture's channels (N, C, C), a mean over its pixels.

    mask: (1, 1, H, W), the square roots of weights that sum to 1, in place of equal ones.
    """
    if mask is not None:
        return ops.gram_matrix(activation * mask)
    return ops.gram_matrix(activation) * (1.0 / (activation.shape[2] * activation.shape[3]))


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """The sum of squared differences, as one number."""
    return (a - b).square().sum()


def style_distance(grams: Tensor, target: Array) -> Tensor:
    """Squared distance of Gram matrices from a target, as a share of the target's square; a mean over pictures."""
    scale = 1.0 / (max(float(np.square(target, dtype=np.float64).sum()), 1e-20) * grams.shape[0])
    return squared_distance(grams, from_numpy(target)) * scale


def roughness(x: Tensor) -> Tensor:
    """Total variation: the mean squared difference of neighbouring pixels (0..255), sideways plus downwards."""
    down = squared_distance(x[:, :, 1:], x[:, :, :-1])
    side = squared_distance(x[:, :, :, 1:], x[:, :, :, :-1])
    return (down + side) * (1.0 / x.size)


def total(terms: Sequence[Tensor]) -> Tensor:
    """The sum of numbers."""
    found = terms[0]
    for term in terms[1:]:
        found = found + term
    return found
