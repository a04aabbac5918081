"""Functions of two or more numbers, for each element, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .... import ops
from ....autograd import apply
from ....ops.arithmetic import ADD, DIV, MUL, SUB, Pairwise
from ....ops.op import define
from ....ops.operands import pair
from ....tensor import Tensor


class Bits(Pairwise):
    """A function of the bits of two whole numbers."""


BITS = {
    "And": define(Bits("bitwise_and", np.bitwise_and)),
    "Or": define(Bits("bitwise_or", np.bitwise_or)),
    "Xor": define(Bits("bitwise_xor", np.bitwise_xor)),
    "LEFT": define(Bits("shift_left", np.left_shift)),
    "RIGHT": define(Bits("shift_right", np.right_shift)),
}


def _aligned(a: Tensor, b: Tensor, axis: int | None, opset: int) -> tuple[Tensor, Tensor]:
    """Before version 7 the second operand's axes began at `axis` of the first."""
    if opset < 7 and axis is not None and b.ndim:
        b = b.reshape(*b.shape, *[1] * (a.ndim - (axis % a.ndim) - b.ndim))
    return pair(a, b)


def Add(a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0, opset: int = 14) -> Tensor:
    return apply(ADD, *_aligned(a, b, axis, opset))


def Sub(a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0, opset: int = 14) -> Tensor:
    return apply(SUB, *_aligned(a, b, axis, opset))


def Mul(a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0, opset: int = 14) -> Tensor:
    return apply(MUL, *_aligned(a, b, axis, opset))


def Div(a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0, opset: int = 14) -> Tensor:
    a, b = _aligned(a, b, axis, opset)
    return apply(DIV, a, b) if a.dtype.kind == "f" else ops.trunc_div(a, b)


def Pow(a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0, opset: int = 15) -> Tensor:
    dtype = a.dtype
    if (
        not b.is_meta
        and b.size == 1
        and dtype.kind == "f"
        and not b.requires_grad
        and float(b.numpy().reshape(-1)[0]) == 2
    ):
        return ops.square(a) if b.ndim <= a.ndim else ops.square(a).reshape((1,) * (b.ndim - a.ndim) + a.shape)
    a, b = _aligned(a, b, axis, opset)
    return ops.cast(ops.pow(a, b), dtype)


def Mod(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    return ops.fmod(a, b) if fmod else ops.remainder(a, b)


def And(a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0, opset: int = 7) -> Tensor:
    return ops.logical_and(*_aligned(a, b, axis, opset))


def Or(a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0, opset: int = 7) -> Tensor:
    return ops.logical_or(*_aligned(a, b, axis, opset))


def Xor(a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0, opset: int = 7) -> Tensor:
    return ops.logical_xor(*_aligned(a, b, axis, opset))


def Equal(a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0, opset: int = 19) -> Tensor:
    return ops.eq(*_aligned(a, b, axis, opset))


def Greater(a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0, opset: int = 13) -> Tensor:
    return ops.gt(*_aligned(a, b, axis, opset))


def Less(a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0, opset: int = 13) -> Tensor:
    return ops.lt(*_aligned(a, b, axis, opset))


GreaterOrEqual = ops.ge
LessOrEqual = ops.le
Where = ops.where


def BitwiseAnd(a: Tensor, b: Tensor) -> Tensor:
    return apply(BITS["And"], *pair(a, b))


def BitwiseOr(a: Tensor, b: Tensor) -> Tensor:
    return apply(BITS["Or"], *pair(a, b))


def BitwiseXor(a: Tensor, b: Tensor) -> Tensor:
    return apply(BITS["Xor"], *pair(a, b))


def BitShift(a: Tensor, b: Tensor, *, direction: str) -> Tensor:
    return apply(BITS[direction], *pair(a, b))


# --- any number of operands ------------------------------------------------------------------------------------------


def _together(function: Callable[[Tensor, Tensor], Tensor], xs: tuple[Tensor, ...]) -> Tensor:
    result = xs[0]
    for x in xs[1:]:
        result = function(result, x)
    return result


def Max(x: Tensor, *xs: Tensor) -> Tensor:
    return _together(ops.maximum, (x, *xs))


def Min(x: Tensor, *xs: Tensor) -> Tensor:
    return _together(ops.minimum, (x, *xs))


def Sum(x: Tensor, *xs: Tensor) -> Tensor:
    return _together(ops.add, (x, *xs))


def Mean(x: Tensor, *xs: Tensor) -> Tensor:
    return Sum(x, *xs) / (1 + len(xs))
