"""Resize in all its modes: a matrix for each axis that changes, or, where one pixel is taken, its index."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from .... import ops
from ....autograd import apply
from ....ops.resize import RESIZE2D
from ....tensor import Tensor, from_numpy
from .registry import Array, array, axis_of, claim, integers, numbers


def _positions(length: int, count: int, scale: float, frame: str, roi: tuple[float, float], new_length: float) -> Array:
    """Where each new pixel lies in the picture that was there; `new_length` is `count` before it was rounded down."""
    x = np.arange(count, dtype=np.float64)
    if frame == "half_pixel":
        return np.asarray((x + 0.5) / scale - 0.5)
    if frame == "half_pixel_symmetric":
        # The picture's middle stays in place although its new length was rounded.
        adjustment = count / new_length
        return np.asarray(length / 2 * (1 - adjustment) + (x + 0.5) / scale - 0.5)
    if frame == "pytorch_half_pixel":
        return np.asarray((x + 0.5) / scale - 0.5) if count > 1 else np.zeros(1)
    if frame == "align_corners":
        return np.zeros(count) if new_length <= 1 else x * (length - 1) / (new_length - 1)
    if frame == "asymmetric":
        return np.asarray(x / scale)
    if frame == "tf_half_pixel_for_nn":
        return np.asarray((x + 0.5) / scale)
    if frame == "tf_crop_and_resize":
        start, end = roi
        if count == 1:
            return np.full(1, 0.5 * (start + end) * (length - 1))
        return np.asarray(start * (length - 1) + x * (end - start) * (length - 1) / (count - 1))
    raise ValueError(f"Resize has no coordinate_transformation_mode {frame!r}")


def _nearest(positions: Array, mode: str) -> Array:
    if mode == "round_prefer_floor":
        return np.ceil(positions - 0.5).astype(np.int64)
    if mode == "round_prefer_ceil":
        return np.floor(positions + 0.5).astype(np.int64)
    if mode in ("floor", "ceil"):
        whole = np.floor(positions) if mode == "floor" else np.ceil(positions)
        return np.asarray(whole, np.int64)
    raise ValueError(f"Resize has no nearest_mode {mode!r}")


def _kernel(distance: Array, mode: str, a: float) -> Array:
    """The weight of a pixel by its distance: a triangle, or Keys' cubic."""
    d = np.abs(distance)
    if mode == "linear":
        return np.asarray(np.maximum(1 - d, 0))
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


@functools.lru_cache(maxsize=64)
def _weights(
    length: int,
    count: int,
    scale: float,
    frame: str,
    roi: tuple[float, float],
    new_length: float,
    mode: str,
    a: float,
    exclude_outside: bool,
    antialias: bool,
) -> Array:
    """(count, length) matrix that makes the new pixels of an axis."""
    positions = _positions(length, count, scale, frame, roi, new_length)
    wide = 1 / scale if antialias and scale < 1 else 1.0  # a filter that sees all pixels that fall together
    reach = math.ceil((1 if mode == "linear" else 2) * wide)
    matrix = np.zeros((count, length))
    rows = np.arange(count)
    for offset in range(-reach, reach + 1):
        places = np.floor(positions).astype(np.int64) + offset
        weight = _kernel((positions - places) / wide, mode, a)
        if exclude_outside:
            weight = np.where((places < 0) | (places >= length), 0, weight)
        np.add.at(matrix, (rows, np.clip(places, 0, length - 1)), weight)
    if exclude_outside or wide > 1:
        matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix


def _along(x: Tensor, matrix: Array, axis: int) -> Tensor:
    """A matrix applied to one axis."""
    m = from_numpy(matrix.astype(x.dtype))
    if axis == x.ndim - 1:
        return ops.matmul(x, m.T)
    inner = math.prod(x.shape[axis + 1 :])
    rows = x.reshape(math.prod(x.shape[:axis]), x.shape[axis], inner)
    return ops.matmul(m, rows).reshape(*x.shape[:axis], matrix.shape[0], *x.shape[axis + 1 :])


def Resize(
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str | None = None,
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    opset: int = 19,
) -> Tensor:
    frame = coordinate_transformation_mode or "half_pixel"
    if opset < 11:  # two inputs, and pixels that begin at corners
        scales, roi, frame, nearest_mode = roi, None, "asymmetric", "floor"
    dims = list(range(x.ndim)) if axes is None else [axis_of(axis, x.ndim) for axis in axes]
    if dims and 0 in x.shape:
        raise ValueError(f"Resize of shape {x.shape}, which has no pixels")
    factors, lengths = _targets(x, dims, scales, sizes, keep_aspect_ratio_policy)
    corners = [0.0] * len(dims) + [1.0] * len(dims)
    if frame == "tf_crop_and_resize":
        corners = [float(v) for v in numbers(_need(roi, "roi"), "the region of Resize")]
    kind = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    plain = frame in ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")
    if (
        plain
        and not antialias
        and (fast := _by_kernel(x, dims, factors, lengths, frame, kind, nearest_mode)) is not None
    ):
        return fast
    y = x if x.dtype.kind == "f" or kind == "nearest" else ops.cast(x, "float32")
    for i, axis in enumerate(dims):
        length, count = x.shape[axis], lengths[i]
        region = (corners[i], corners[i + len(dims)])
        place = (length, count, factors[i], frame, region, factors[i] * length)
        if count == length and factors[i] == 1 and frame != "tf_crop_and_resize":
            continue
        if kind == "nearest":
            places = np.clip(_nearest(_positions(*place), nearest_mode), 0, length - 1)
            y = ops.take(y, places, axis)
        elif kind in ("linear", "cubic"):
            y = _along(y, _weights(*place, kind, cubic_coeff_a, bool(exclude_outside), bool(antialias)), axis)
        else:
            raise ValueError(f"Resize has no mode {mode!r}")
        if frame == "tf_crop_and_resize":
            positions = _positions(*place)
            outside = (positions < 0) | (positions > length - 1)
            if outside.any():
                mask = array(outside.reshape(-1, *[1] * (x.ndim - axis - 1)))
                y = ops.where(mask, extrapolation_value, y)
    return ops.cast(y, x.dtype)


def _need(x: Tensor | None, what: str) -> Tensor:
    if x is None:
        raise ValueError(f"Resize needs its input {what!r}")
    return x


def _targets(
    x: Tensor, dims: list[int], scales: Tensor | None, sizes: Tensor | None, policy: str
) -> tuple[list[float], list[int]]:
    """The factor and the new length of each axis."""
    if sizes is not None and sizes.size:
        lengths = integers(sizes, "the sizes of Resize")
        if len(lengths) != len(dims):
            raise ValueError(f"Resize needs a length for each of {len(dims)} axes, not {lengths}")
        factors = [n / x.shape[axis] for n, axis in zip(lengths, dims, strict=True)]
        if policy in ("not_larger", "not_smaller"):
            factor = (min if policy == "not_larger" else max)(factors)
            factors = [factor] * len(dims)
            lengths = [math.floor(factor * x.shape[axis] + 0.5) for axis in dims]
        _claim_changed(x, dims, lengths)
        return factors, lengths
    factors = [float(v) for v in numbers(_need(scales, "scales"), "the scales of Resize").reshape(-1)]
    if len(factors) != len(dims) or min(factors, default=1) <= 0 or not all(map(math.isfinite, factors)):
        raise ValueError(f"Resize needs a factor above 0 for each of {len(dims)} axes, not {factors}")
    lengths = [math.floor(x.shape[axis] * factor) for axis, factor in zip(dims, factors, strict=True)]
    _claim_changed(x, dims, lengths)
    return factors, lengths


def _claim_changed(x: Tensor, dims: list[int], lengths: list[int]) -> None:
    shape = list(x.shape)
    for axis, length in zip(dims, lengths, strict=True):
        shape[axis] = length
    claim(shape)
    # The matrices of the axes are dense.
    claim([max((length * x.shape[axis] for axis, length in zip(dims, lengths, strict=True)), default=0)])


def _by_kernel(
    x: Tensor, dims: list[int], factors: list[float], lengths: list[int], frame: str, kind: str, nearest_mode: str
) -> Tensor | None:
    """The engine's own resizing, where it means the same."""
    changed = [axis for axis, length in zip(dims, lengths, strict=True) if length != x.shape[axis]]
    if x.ndim != 4 or x.dtype.kind != "f" or not changed or not set(changed) <= {2, 3}:
        return None
    size, scale = list(x.shape[2:]), [1.0, 1.0]
    for axis, length, factor in zip(dims, lengths, factors, strict=True):
        if axis in (2, 3):
            size[axis - 2], scale[axis - 2] = length, 1 / factor
        elif factor != 1:
            return None
    if frame == "align_corners":
        if any(abs(f * x.shape[a] - n) > 1e-4 for f, a, n in zip(factors, dims, lengths, strict=True)):
            return None
        scale = [(n - 1) / (m - 1) if m > 1 else 0.0 for n, m in zip(x.shape[2:], size, strict=True)]
    same_nearest = kind == "nearest" and frame == "asymmetric" and nearest_mode == "floor"
    same_linear = kind == "linear" and (
        frame in ("half_pixel", "align_corners") or (frame == "pytorch_half_pixel" and 1 not in size)
    )
    if not (same_nearest or same_linear):
        return None
    mode, corners = "nearest" if same_nearest else "bilinear", frame == "align_corners"
    return apply(RESIZE2D, x, size=tuple(size), mode=mode, align_corners=corners, scale=tuple(scale))


def Upsample(
    x: Tensor,
    scales: Tensor | None = None,
    *,
    mode: str = "nearest",
    width_scale: float | None = None,
    height_scale: float | None = None,
) -> Tensor:
    if scales is None:
        scales = array([1.0, 1.0, height_scale or 1.0, width_scale or 1.0], np.float32)
    return Resize(x, scales, mode=mode, opset=10)
