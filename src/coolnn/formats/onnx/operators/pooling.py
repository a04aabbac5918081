"""Pooling in one, two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .... import ops
from ....autograd import apply, apply_all
from ....ops.pool import AVG_POOL2D, MAX_POOL2D
from ....tensor import Tensor, from_numpy
from .convolution import Conv
from .registry import claim, integers
from .windows import Window, window_of


def _planes(x: Tensor, window: Window) -> tuple[Tensor, Window, int]:
    """Pictures of two dimensions with their window: as they are, or with a height of 1."""
    rank = x.ndim - 2
    if rank not in (1, 2, 3):
        raise ValueError(f"pooling takes pictures of 1, 2 or 3 dimensions, not an input of shape {x.shape}")
    return (x.reshape(*x.shape[:2], 1, x.shape[2]), window.flat(), rank) if rank == 1 else (x, window, rank)


def _each_dimension(x: Tensor, window: Window, pool: str) -> Tensor:
    """Windows in three dimensions are windows in planes, and then along the depth: both pools are separable."""
    n, c, d, h, w = x.shape
    inner = _pool2d(x.reshape(n, c * d, h, w), window.without_first(), pool)
    depth = Window(*((values[0], filler) for values, filler in zip(window, (1, 1, 1, 0, 0, 1), strict=True)))
    columns = inner.reshape(n, c, d, math.prod(inner.shape[2:]))
    outer = _pool2d(columns, depth._replace(counts=(window.counts[0], columns.shape[3])), pool)
    return outer.reshape(n, c, window.counts[0], *inner.shape[2:])


def _pool2d(x: Tensor, window: Window, pool: str) -> Tensor:
    """`pool` is "max", or "average" with or without "padding" counted."""
    sides = (window.before[0], window.before[1], window.after[0], window.after[1])
    shared = {"kernel_size": window.kernel, "stride": window.stride, "padding": sides, "output_size": window.counts}
    if pool == "max":
        return apply(MAX_POOL2D, x, dilation=window.dilation, **shared)
    if max(window.dilation) > 1:
        return _dilated_average(x, window, pool == "average with padding")
    return apply(AVG_POOL2D, x, count_include_pad=pool == "average with padding", **shared)


def _dilated_average(x: Tensor, window: Window, include: bool) -> Tensor:
    """Sums as a convolution of each channel with ones, divided by how many numbers each has."""
    n, c, h, w = x.shape
    # Windows that begin inside and end outside see zeros there that do not count.
    reach = [
        (window.counts[i] - 1) * window.stride[i] + window.dilation[i] * (window.kernel[i] - 1) + 1 for i in (0, 1)
    ]
    beyond = [max(reach[i] - window.before[i] - (h, w)[i], 0) for i in (0, 1)]
    pads = [*window.before, *beyond]
    ones = from_numpy(np.ones((1, 1, *window.kernel), x.dtype))
    there = np.ones((1, 1, h, w), x.dtype)
    if include:
        after = [min(beyond[i], window.after[i]) for i in (0, 1)]
        there = np.pad(
            there, ((0, 0), (0, 0), (window.before[0], after[0]), (window.before[1], after[1])), constant_values=1
        )
        there = np.pad(there, ((0, 0), (0, 0), (0, beyond[0] - after[0]), (0, beyond[1] - after[1])))
        counts = Conv(from_numpy(there), ones, strides=window.stride, dilations=window.dilation)
    else:
        counts = Conv(from_numpy(there), ones, strides=window.stride, dilations=window.dilation, pads=pads)
    sums = Conv(x.reshape(n * c, 1, h, w), ones, strides=window.stride, dilations=window.dilation, pads=pads)
    size = window.counts
    return (sums[:, :, : size[0], : size[1]] / counts[:, :, : size[0], : size[1]]).reshape(n, c, *size)


def _pool(x: Tensor, window: Window, pool: str) -> Tensor:
    planes, window, rank = _planes(x, window)
    if rank == 3:
        return _each_dimension(planes, window, pool)
    y = _pool2d(planes, window, pool)
    return y.reshape(*y.shape[:2], y.shape[3]) if rank == 1 else y


def MaxPool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int] = (),
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, Tensor]:
    if x.dtype.kind != "f":
        y = MaxPool(
            ops.cast(x, "float32"),
            auto_pad=auto_pad,
            ceil_mode=ceil_mode,
            dilations=dilations,
            kernel_shape=kernel_shape,
            pads=pads,
            storage_order=storage_order,
            strides=strides,
            outputs=outputs,
        )
        return ops.cast(y, x.dtype) if isinstance(y, Tensor) else (ops.cast(y[0], x.dtype), y[1])
    window = window_of(x.shape[2:], kernel_shape, strides, pads, dilations, auto_pad, bool(ceil_mode))
    if outputs == 1:
        return _pool(x, window, "max")
    planes, window, rank = _planes(x, window)
    if rank == 3:
        raise ValueError("the places of the largest numbers in three dimensions (the second output) are not supported")
    sides = (window.before[0], window.before[1], window.after[0], window.after[1])
    y, where = apply_all(
        MAX_POOL2D,
        planes,
        kernel_size=window.kernel,
        stride=window.stride,
        padding=sides,
        dilation=window.dilation,
        output_size=window.counts,
    )
    places, (n, c, h, w) = ops.cast(where, "int64"), planes.shape
    if storage_order:
        places = ops.remainder(places, w) * h + ops.trunc_div(places, w)
    first = np.arange(n * c).reshape(n, c, 1, 1) * (h * w)
    shape = (n, c, *window.counts[2 - rank :])
    return y.reshape(shape), (places + first).reshape(shape)


def AveragePool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int] = (),
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    window = window_of(x.shape[2:], kernel_shape, strides, pads, dilations, auto_pad, bool(ceil_mode))
    return _pool(x, window, "average with padding" if count_include_pad else "average")


def LpPool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int] = (),
    p: int = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    window = window_of(x.shape[2:], kernel_shape, strides, pads, dilations, auto_pad, bool(ceil_mode))
    rank, powers = x.ndim - 2, ops.pow(ops.abs(x), float(p))
    # Zeros around, so that every window is full and its sum is its mean times its size.
    reach = [
        (window.counts[i] - 1) * window.stride[i] + window.dilation[i] * (window.kernel[i] - 1) + 1 for i in range(rank)
    ]
    ends = [reach[i] - window.before[i] - x.shape[2 + i] for i in range(rank)]
    around = [side for i in reversed(range(rank)) for side in (window.before[i], ends[i])]
    full = window._replace(before=(0,) * rank, after=(0,) * rank)
    sums = _pool(ops.pad(powers, around), full, "average") * float(math.prod(window.kernel))
    return ops.pow(sums, 1.0 / p)


def GlobalAveragePool(x: Tensor) -> Tensor:
    return ops.mean(x, tuple(range(2, x.ndim)), keepdim=True)


def GlobalMaxPool(x: Tensor) -> Tensor:
    return ops.amax(x, tuple(range(2, x.ndim)), keepdim=True)


def GlobalLpPool(x: Tensor, *, p: int = 2) -> Tensor:
    return ops.norm(x, float(p), tuple(range(2, x.ndim)), keepdim=True)


def MaxUnpool(
    x: Tensor,
    places: Tensor,
    output_shape: Tensor | None = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    rank = x.ndim - 2
    stride, sides = tuple(strides or (1,) * rank), tuple(pads or (0,) * 2 * rank)
    size = [(x.shape[2 + i] - 1) * stride[i] - sides[i] - sides[i + rank] + kernel_shape[i] for i in range(rank)]
    made = claim((*x.shape[:2], *size))
    shape = made if output_shape is None else claim(integers(output_shape, "the shape of MaxUnpool"))
    # The places count in the tensor without the extra room of a wanted shape.
    grid = np.arange(math.prod(shape)).reshape(shape)[tuple(slice(0, n) for n in made)] if shape != made else None
    flat = places.reshape(-1)
    if grid is not None:
        flat = ops.take(from_numpy(np.ascontiguousarray(grid).reshape(-1)), flat)
    zeros = from_numpy(np.zeros(math.prod(shape), x.dtype))
    return ops.put_rows(zeros, flat, x.reshape(-1)).reshape(shape)
