"""Booleans, bits and whole numbers: operations without a gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..autograd import Call, apply
from ..spec import Spec, boolean
from ..tensor import Operand, Tensor
from .arithmetic import Comparison, Pairwise
from .axes import broadcast_shapes
from .op import Array, Case, Op, S, define, function
from .operands import as_tensor, cast, pair, real, unbroadcast
from .terms import Place, Terms, elementwise

__all__ = [
    "fmod",
    "isinf",
    "isnan",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "remainder",
    "trunc_div",
]


class Question(Op):
    """A question about one number, for each element; the answers are booleans."""

    saves_inputs = ()

    def __init__(self, name: str, reference: Callable[[Array], Array], onnx: str) -> None:
        self.name, self.onnx = name, onnx
        self._reference = reference

    def infer(self, x: Spec) -> Spec:
        return Spec(x.shape, boolean)

    def reference(self, x: Array) -> Array:
        return self._reference(x)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return elementwise(call, place, output, f"{self.name}(x)")


class Remainder(Pairwise):
    """What is left of a after whole times b; as a function of a its slope is 1, of b the number of times, negative."""

    saves_inputs = (0, 1)

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = call.inputs
        return (
            unbroadcast(grad, a.shape) if call.needs[0] else None,
            unbroadcast(-grad * apply(WHOLE_TIMES, a, b, down=self.name == "remainder"), b.shape)
            if call.needs[1]
            else None,
        )


class WholeTimes(Op):
    """How many whole times b goes into a: rounded down, or toward zero; its derivative is 0."""

    name = "whole_times"

    def infer(self, a: Spec, b: Spec, down: bool) -> Spec:
        return Spec(broadcast_shapes(a.shape, b.shape), a.dtype)

    def reference(self, a: Array, b: Array, down: bool) -> Array:
        if down or a.dtype.kind in "bu":
            return np.floor_divide(a, b)
        if a.dtype.kind == "f":
            return np.asarray(np.trunc(a / b))
        # In whole numbers, exact beyond 2^53: the quotient rounded down, one up where it is negative and broken.
        quotient = np.floor_divide(a, b)
        return np.asarray(quotient + ((quotient < 0) & (quotient * b != a)))

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return elementwise(call, place, output, "whole times b in a")

    def vjp(self, call: Call, grad: Tensor) -> tuple[None, None]:
        return None, None


AND = define(Comparison("logical_and", np.logical_and, "And"))
OR = define(Comparison("logical_or", np.logical_or, "Or"))
XOR = define(Comparison("logical_xor", np.logical_xor, "Xor"))
NOT = define(Question("logical_not", np.logical_not, "Not"))
IS_NAN = define(Question("isnan", np.isnan, "IsNaN"))
IS_INF = define(Question("isinf", np.isinf, "IsInf"))
REMAINDER = define(Remainder("remainder", np.mod))
FMOD = define(Remainder("fmod", np.fmod))
WHOLE_TIMES = define(WholeTimes)

_BOOLEANS = (
    Case(S(2, 3, 5, 7, kind="boolean"), S(2, 3, 5, 7, kind="boolean"), gradient=False),
    Case(S(3, 1, kind="boolean"), S(4, kind="boolean"), gradient=False),
)
_DIVISIONS = (
    Case(S(2, 3, 5, 7, kind="uniform", low=-5, high=5), S(3, 1, 1, kind="uniform", low=1, high=2), gradient=False),
    Case(S(9, kind="integers", low=-9, high=9), S(9, kind="integers", low=1, high=4), gradient=False),
)


@function(*_BOOLEANS, torch="logical_and")
def logical_and(a: Operand, b: Operand) -> Tensor:
    """Whether a and b both hold, with broadcasting; numbers hold where they are not 0.

    >>> import coolnn as cool
    >>> cool.ops.logical_and(cool.tensor([True, False]), True).tolist()
    [True, False]
    """
    return apply(AND, cast(a, boolean), cast(b, boolean))


@function(*_BOOLEANS, torch="logical_or")
def logical_or(a: Operand, b: Operand) -> Tensor:
    """Whether a or b or both hold, with broadcasting; numbers hold where they are not 0.

    >>> import coolnn as cool
    >>> cool.ops.logical_or(cool.tensor([True, False]), False).tolist()
    [True, False]
    """
    return apply(OR, cast(a, boolean), cast(b, boolean))


@function(*_BOOLEANS, torch="logical_xor")
def logical_xor(a: Operand, b: Operand) -> Tensor:
    """Whether one of a and b holds and the other does not, with broadcasting; numbers hold where they are not 0.

    >>> import coolnn as cool
    >>> cool.ops.logical_xor(cool.tensor([True, False]), True).tolist()
    [False, True]
    """
    return apply(XOR, cast(a, boolean), cast(b, boolean))


@function(Case(S(2, 3, 5, 7, kind="boolean"), gradient=False), torch="logical_not")
def logical_not(x: Operand) -> Tensor:
    """Whether x does not hold, element by element; numbers hold where they are not 0.

    >>> import coolnn as cool
    >>> cool.ops.logical_not(cool.tensor([True, False])).tolist()
    [False, True]
    """
    return apply(NOT, cast(x, boolean))


@function(Case(S(2, 3, 5, 7), gradient=False), torch="isnan")
def isnan(x: Operand) -> Tensor:
    """Whether a number is none, element by element.

    >>> import coolnn as cool
    >>> cool.ops.isnan(cool.tensor([1.0, float("nan")])).tolist()
    [False, True]
    """
    return apply(IS_NAN, real(x))


@function(Case(S(2, 3, 5, 7), gradient=False), torch="isinf")
def isinf(x: Operand) -> Tensor:
    """Whether a number is infinite, element by element.

    >>> import coolnn as cool
    >>> cool.ops.isinf(cool.tensor([1.0, float("-inf")])).tolist()
    [False, True]
    """
    return apply(IS_INF, real(x))


@function(*_DIVISIONS, torch="remainder")
def remainder(a: Operand, b: Operand) -> Tensor:
    """What is left of a after b was taken away floor(a / b) times, with b's sign; with broadcasting.

    >>> import coolnn as cool
    >>> cool.ops.remainder(cool.tensor([-3.0, 3.0]), 2).tolist()
    [1.0, 1.0]
    """
    return apply(REMAINDER, *pair(a, b))


@function(*_DIVISIONS, torch="fmod")
def fmod(a: Operand, b: Operand) -> Tensor:
    """What is left of a after b was taken away trunc(a / b) times, with a's sign; with broadcasting.

    >>> import coolnn as cool
    >>> cool.ops.fmod(cool.tensor([-3.0, 3.0]), 2).tolist()
    [-1.0, 1.0]
    """
    return apply(FMOD, *pair(a, b))


@function(*_DIVISIONS)
def trunc_div(a: Operand, b: Operand) -> Tensor:
    """a / b without its fraction, in the type of both; with broadcasting. Its derivative is 0.

    >>> import coolnn as cool
    >>> cool.ops.trunc_div(cool.tensor([-7, 7]), 2).tolist()
    [-3, 3]
    """
    return apply(WHOLE_TIMES, *pair(as_tensor(a), b), down=False)
