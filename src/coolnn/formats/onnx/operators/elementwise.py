"""Functions of one number, for each element."""

from __future__ import annotations

import numpy as np

from .... import ops
from ....ops.operands import real
from ....spec import boolean, uint8
from ....tensor import Tensor
from .registry import array, number

Abs = ops.abs
Acos = ops.acos
Acosh = ops.acosh
Asin = ops.asin
Asinh = ops.asinh
Atan = ops.atan
Atanh = ops.atanh
Ceil = ops.ceil
Cos = ops.cos
Cosh = ops.cosh
Erf = ops.erf
Exp = ops.exp
Floor = ops.floor
IsNaN = ops.isnan
Log = ops.log
Neg = ops.neg
Not = ops.logical_not
Reciprocal = ops.reciprocal
Round = ops.round
Sign = ops.sign
Sin = ops.sin
Sinh = ops.sinh
Sqrt = ops.sqrt
Tan = ops.tan
Tanh = ops.tanh


def Identity(x: Tensor) -> Tensor:
    return x


def IsInf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    x = real(x)
    infinite = ops.isinf(x)
    if not detect_negative:
        infinite = ops.logical_and(infinite, x > 0)
    return infinite if detect_positive else ops.logical_and(infinite, x < 0)


def Clip(x: Tensor, min: Tensor | None = None, max: Tensor | None = None) -> Tensor:
    low, high = (None if t is None or not t.size else t for t in (min, max))
    if any(t is not None and t.is_meta for t in (low, high)):
        x = x if low is None else ops.maximum(x, low)
        return x if high is None else ops.minimum(x, high)
    least, most = (None if t is None else number(t, "a limit of Clip") for t in (low, high))
    if least is None and most is None:
        return x
    if least is not None and most is not None:
        least = least if least < most else most  # the upper limit has the last word
    return ops.clip(x, least, most)


def BitwiseNot(x: Tensor) -> Tensor:
    if x.dtype == boolean:
        return ops.logical_not(x)
    return (255 if x.dtype == uint8 else -1) - x


def Dropout(
    x: Tensor,
    ratio: Tensor | None = None,
    training_mode: Tensor | None = None,
    *,
    seed: int = 0,
    is_test: int = 0,
    training: bool = False,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, Tensor]:
    share = 0.5 if ratio is None else number(ratio, "the ratio of Dropout")
    if training and outputs == 1:
        return ops.dropout(x, share, True)
    return (x, array(np.ones(x.shape, bool))) if outputs > 1 else x
