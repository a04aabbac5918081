"""Whole numbers that stand for real ones, computed with as real numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .... import ops
from ....spec import uint8
from ....tensor import Tensor
from ..reader import held_as
from .convolution import Conv
from .registry import axis_of

_LIMITS = {"UINT8": (0, 255), "INT8": (-128, 127), "UINT16": (0, 65535), "INT16": (-32768, 32767), "INT4": (-8, 7)}
_LIMITS |= {"UINT4": (0, 15), "INT2": (-2, 1), "UINT2": (0, 3), "INT32": (-(2**31), 2**31 - 1)}


_UINT8, _INT8 = 2, 3  # of TensorProto.DataType


def _beside(scale: Tensor, x: Tensor, axis: int, block_size: int = 0) -> Tensor:
    """A scale or zero point of each place of an axis, or block of places, in the shape of what it goes with."""
    if scale.ndim == 0 or scale.size == 1:
        return scale.reshape(())
    axis = axis_of(axis, x.ndim)
    if scale.ndim == 1:
        return scale.reshape(-1, *[1] * (x.ndim - axis - 1))
    if scale.shape == x.shape:
        return scale
    size = block_size or -(-x.shape[axis] // scale.shape[axis])
    return ops.take(scale, np.arange(x.shape[axis]) // size, axis)


def DequantizeLinear(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    y = ops.cast(x, x_scale.dtype)
    if x_zero_point is not None:
        y = y - ops.cast(_beside(x_zero_point, x, axis, block_size), x_scale.dtype)
    return y * _beside(x_scale, x, axis, block_size)


def QuantizeLinear(
    x: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
    types: Sequence[int] = (),
) -> Tensor:
    kind = output_dtype or _kind(y_zero_point, types, 2)
    low, high = _limits(kind)
    y = ops.round(ops.cast(x, "float32") / _beside(y_scale, x, axis, block_size))
    if y_zero_point is not None:
        y = y + ops.cast(_beside(y_zero_point, x, axis, block_size), y.dtype)
    return ops.cast(ops.clip(y, float(low), float(high)), held_as(kind, "the result of QuantizeLinear"))


def _kind(zero_point: Tensor | None, types: Sequence[int], place: int) -> int:
    """The element type of a zero point, which decides that of the result: as the model says, or as it is held."""
    known = types[place] if place < len(types) else 0
    return known or (_UINT8 if zero_point is None or zero_point.dtype == uint8 else _INT8)


def _limits(kind: int) -> tuple[int, int]:
    from ..package import onnx_package

    name = onnx_package().TensorProto.DataType.Name(kind)
    if name not in _LIMITS:
        raise ValueError(f"numbers of type {name.lower()} are not quantised to; use 8 or 16 bits")
    return _LIMITS[name]


def DynamicQuantizeLinear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = ops.minimum(ops.amin(x), 0.0), ops.maximum(ops.amax(x), 0.0)
    scale = (high - low) / 255.0
    divisor = ops.where(scale == 0, 1.0, scale)
    zero = ops.clip(ops.round(-low / divisor), 0.0, 255.0)
    y = ops.clip(ops.round(x / divisor) + zero, 0.0, 255.0)
    return ops.cast(y, "uint8"), scale, ops.cast(zero, "uint8")


def QLinearConv(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor,
    w: Tensor,
    w_scale: Tensor,
    w_zero_point: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    types: Sequence[int] = (),
) -> Tensor:
    real = DequantizeLinear(x, x_scale, x_zero_point)
    filters = DequantizeLinear(w, w_scale, w_zero_point, axis=0)
    bias = None if b is None else ops.cast(b, "float32") * (x_scale * w_scale).reshape(-1)
    y = Conv(
        real,
        filters,
        bias,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    return QuantizeLinear(y, y_scale, y_zero_point, output_dtype=_kind(y_zero_point, types, 7))


def QLinearMatMul(
    a: Tensor,
    a_scale: Tensor,
    a_zero_point: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero_point: Tensor,
    y_scale: Tensor,
    y_zero_point: Tensor,
    *,
    types: Sequence[int] = (),
) -> Tensor:
    left = DequantizeLinear(a, a_scale, a_zero_point, axis=-2)
    right = DequantizeLinear(b, b_scale, b_zero_point, axis=-1)
    y = ops.matmul(left, right)
    return QuantizeLinear(y, y_scale, y_zero_point, output_dtype=_kind(y_zero_point, types, 7))
