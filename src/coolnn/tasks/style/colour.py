"""Keeping a photograph's colours (Gatys et al. 2017, arXiv:1611.07865): by luminance alone, or by histograms."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

#: Whose colours the result has: the style's, or the content's in one of two ways.
Colours = Literal["style", "luminance", "histogram"]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601


def luminance(picture: Array) -> Array:
    """The luminance of a picture (..., 3) as float32 (...)."""
    return np.asarray(picture.astype(np.float32) @ _LUMA)


def grey(picture: Array) -> Array:
    """A picture (H, W, 3) without colour, float32."""
    return np.asarray(np.repeat(luminance(picture)[..., None], 3, -1))


def match_luminance(style: Array, content: Array) -> Array:
    """The style without colour, its luminance with the mean and the spread of the content's, float32 (H, W, 3)."""
    ours, wanted = luminance(style), luminance(content)
    scale = float(wanted.std()) / max(float(ours.std()), 1e-3)
    matched = (ours - ours.mean()) * np.float32(scale) + wanted.mean()
    return np.repeat(np.clip(matched, 0, 255)[..., None], 3, -1)


def with_colours_of(picture: Array, content: Array) -> Array:
    """The luminance of a picture with the chroma of another, both (H, W, 3) of 0..255; float32."""
    other = content.astype(np.float32)
    return np.asarray(np.clip(other + (luminance(picture) - luminance(other))[..., None], 0, 255))


def match_histogram(style: Array, content: Array) -> Array:
    """The style with the mean and the covariance of the content's colours, float32 (H, W, 3).

    The linear map is the one that moves colours least (Monge-Kantorovich), so that they are not exchanged.
    """
    ours, wanted = (p.reshape(-1, 3).astype(np.float64) for p in (style, content))
    have, want = (np.cov(p, rowvar=False) + 1e-2 * np.eye(3) for p in (ours, wanted))
    root, inverse = _power(have, 0.5), _power(have, -0.5)
    map = inverse @ _power(root @ want @ root, 0.5) @ inverse
    matched = (ours - ours.mean(0)) @ map + wanted.mean(0)
    return np.asarray(np.clip(matched, 0, 255), np.float32).reshape(style.shape)


def _power(matrix: Array, exponent: float) -> Array:
    """A power of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, 1e-9) ** exponent) @ vectors.T)
