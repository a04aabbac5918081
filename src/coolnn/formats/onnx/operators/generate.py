"""Tensors made of numbers that the model names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .... import ops
from ....spec import float32, int64
from ....tensor import Tensor
from ..reader import held_as
from .registry import Array, array, axis_of, claim, integers, number

#: Of the numbers of 8 bits with a fraction, by element type: what is larger becomes the largest.
_LARGEST = {17: 448.0, 18: 240.0, 19: 57344.0, 20: 57344.0}


def Constant(
    *,
    value: Array | None = None,
    value_float: float | None = None,
    value_floats: tuple[float, ...] | None = None,
    value_int: int | None = None,
    value_ints: tuple[int, ...] | None = None,
) -> Tensor:
    if value is not None:
        return array(value)
    if value_float is not None or value_floats is not None:
        return array(value_floats if value_float is None else value_float, float32)
    if value_int is not None or value_ints is not None:
        return array(value_ints if value_int is None else value_int, int64)
    raise ValueError("a Constant without a number")


def ConstantOfShape(shape: Tensor, *, value: Array | None = None) -> Tensor:
    filling = np.zeros(1, float32) if value is None else value
    if filling.size != 1:
        raise ValueError(f"ConstantOfShape needs one number, not shape {filling.shape}")
    return array(np.full(claim(integers(shape, "the shape of ConstantOfShape")), filling.reshape(-1)[0], filling.dtype))


def Range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, last, step = (
        number(t, f"the {name} of Range") for t, name in ((start, "start"), (limit, "limit"), (delta, "delta"))
    )
    if step == 0:
        raise ValueError("Range with steps of 0 has no end")
    (count,) = claim([max(int(np.ceil((last - first) / step)), 0)])
    return array(np.asarray(first + np.arange(count) * step, start.dtype))


def EyeLike(x: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    if x.ndim != 2:
        raise ValueError(f"EyeLike takes a matrix, not shape {x.shape}")
    return array(np.eye(x.shape[0], x.shape[1], k, dtype=x.dtype if dtype is None else held_as(dtype, "EyeLike")))


def OneHot(indices: Tensor, depth: Tensor, values: Tensor, *, axis: int = -1) -> Tensor:
    count = int(number(depth, "the depth of OneHot"))
    claim([*indices.shape, count])
    axis = axis_of(axis, indices.ndim + 1)
    places = ops.cast(indices, "int64")
    wrapped = ops.where(places < 0, places + count, places)
    classes = np.arange(count).reshape(count, *[1] * (indices.ndim - axis))
    return ops.where(ops.unsqueeze(wrapped, axis) == array(classes), values[1], values[0])


def Cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    dtype = held_as(to, "the result of Cast")
    limit = _LARGEST.get(to)
    return ops.cast(ops.clip(x, -limit, limit) if limit and saturate and x.dtype.kind == "f" else x, dtype)


def CastLike(
    x: Tensor, other: Tensor, *, saturate: int = 1, round_mode: str = "up", types: Sequence[int] = (0, 0)
) -> Tensor:
    return Cast(x, to=types[1], saturate=saturate) if types[1] else ops.cast(x, other.dtype)
