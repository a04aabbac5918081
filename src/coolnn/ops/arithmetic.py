"""Arithmetic and comparisons of two numbers, for each pair of elements, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..autograd import Call, apply
from ..spec import Spec, boolean
from ..tensor import Operand, Tensor
from .axes import broadcast_shapes
from .elementwise import log, square
from .op import Array, Case, Op, S, define, function
from .operands import cast, pair, real, unbroadcast
from .terms import Place, Products, Terms, broadcast_place, constant, copied, elementwise, taken

__all__ = [
    "add",
    "div",
    "eq",
    "ge",
    "gt",
    "le",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "ne",
    "pow",
    "sub",
    "where",
]

_FORMULAS = {"add": "a + b", "sub": "a - b", "div": "a / b", "pow": "a to the power b"}

BinaryRule = Callable[[Tensor, Tensor, Tensor], Tensor]


class Pairwise(Op):
    """A function of two numbers, for each pair of elements, with broadcasting; as it stands one without a gradient."""

    saves_inputs: tuple[int, ...] | None = ()

    def __init__(self, name: str, reference: Callable[[Array, Array], Array], onnx: str | None = None) -> None:
        self.name, self.onnx = name, onnx
        self._reference = reference

    def infer(self, a: Spec, b: Spec) -> Spec:
        return Spec(broadcast_shapes(a.shape, b.shape), a.dtype)

    def reference(self, a: Array, b: Array) -> Array:
        return self._reference(a, b)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return elementwise(call, place, output, f"{self.name}(a, b)")

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        return None, None


class Binary(Pairwise):
    """A function of two numbers with a gradient by each.

    `left` and `right` are (rule, reads): rule(grad, a, b) gives that operand's gradient before it is summed back to the
    operand's shape, and `reads` names the operands whose numbers it looks at.
    """

    def __init__(
        self,
        name: str,
        reference: Callable[[Array, Array], Array],
        left: tuple[BinaryRule, str],
        right: tuple[BinaryRule, str],
        onnx: str,
    ) -> None:
        super().__init__(name, reference, onnx)
        self._rules = (left[0], right[0])
        self._saves = {
            (a, b): tuple(i for i, letter in enumerate("ab") if letter in left[1] * a + right[1] * b)
            for a in (False, True)
            for b in (False, True)
        }
        self.saves_inputs = self._saves[True, True]

    def saves(self, needs: tuple[bool, ...]) -> tuple[int, ...]:
        return self._saves[needs]  # type: ignore[index]  # two operands

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        if self.name not in ("add", "sub", "mul"):
            return elementwise(call, place, output, _FORMULAS.get(self.name, self.name))
        a, b = (taken(call, "ab"[i], i, [broadcast_place(place, t.shape)]) for i, t in enumerate(call.inputs))
        if self.name == "mul":
            return Terms("sum", "a · b", (Products("product", (a, b)),))
        second = (b,) if self.name == "add" else (b, constant("sign", -1.0, 1))
        return Terms("sum", _FORMULAS[self.name], (Products("a", (a,)), Products("b", second)))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = call.inputs
        return (
            unbroadcast(self._rules[0](grad, a, b), a.spec.shape) if call.needs[0] else None,
            unbroadcast(self._rules[1](grad, a, b), b.spec.shape) if call.needs[1] else None,
        )


def _share(grad: Tensor, loser: Tensor) -> Tensor:
    """What one operand of maximum or minimum gets: all where it won, half where both are equal, nothing where it lost.

    `loser` is 1 where the operand lost, 0.5 where the operands are equal.
    """
    return grad * (1.0 - loser)


def _lost(a: Tensor, b: Tensor) -> Tensor:
    """1 where a < b, 0.5 where a = b, else 0."""
    return cast(a < b, a.dtype) + cast(eq(a, b), a.dtype) * 0.5


def _pow_left(grad: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return grad * where(eq(b, 0), 0.0, b * pow(a, b - 1))


def _pow_right(grad: Tensor, a: Tensor, b: Tensor) -> Tensor:
    # At a = 0 the function 0^b is constant for b > 0, while the logarithm is infinite.
    flat = cast(eq(a, 0), a.dtype) * cast(b >= 0, a.dtype)
    return grad * where(flat > 0, 0.0, pow(a, b) * log(a))


ADD = define(Binary("add", np.add, (lambda g, a, b: g, ""), (lambda g, a, b: g, ""), "Add"))
SUB = define(Binary("sub", np.subtract, (lambda g, a, b: g, ""), (lambda g, a, b: -g, ""), "Sub"))
MUL = define(Binary("mul", np.multiply, (lambda g, a, b: g * b, "b"), (lambda g, a, b: g * a, "a"), "Mul"))
DIV = define(
    Binary("div", np.true_divide, (lambda g, a, b: g / b, "b"), (lambda g, a, b: -(g * a) / b.square(), "ab"), "Div")
)
POW = define(Binary("pow", np.power, (_pow_left, "ab"), (_pow_right, "ab"), "Pow"))
MAXIMUM = define(
    Binary(
        "maximum",
        np.maximum,
        (lambda g, a, b: _share(g, _lost(a, b)), "ab"),
        (lambda g, a, b: _share(g, _lost(b, a)), "ab"),
        "Max",
    )
)
MINIMUM = define(
    Binary(
        "minimum",
        np.minimum,
        (lambda g, a, b: _share(g, _lost(b, a)), "ab"),
        (lambda g, a, b: _share(g, _lost(a, b)), "ab"),
        "Min",
    )
)


class Comparison(Pairwise):
    """A question about two numbers; the answers are booleans."""

    def infer(self, a: Spec, b: Spec) -> Spec:
        return Spec(broadcast_shapes(a.shape, b.shape), boolean)


EQ = define(Comparison("eq", np.equal, "Equal"))
NE = define(Comparison("ne", np.not_equal))
LT = define(Comparison("lt", np.less, "Less"))
LE = define(Comparison("le", np.less_equal, "LessOrEqual"))
GT = define(Comparison("gt", np.greater, "Greater"))
GE = define(Comparison("ge", np.greater_equal, "GreaterOrEqual"))


class Where(Op):
    """a where a condition holds, else b."""

    name = "where"
    onnx = "Where"
    saves_inputs = (0,)

    def infer(self, condition: Spec, a: Spec, b: Spec) -> Spec:
        return Spec(broadcast_shapes(condition.shape, a.shape, b.shape), a.dtype)

    def reference(self, condition: Array, a: Array, b: Array) -> Array:
        return np.where(condition, a, b)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        at = [broadcast_place(place, t.shape) for t in call.inputs]
        side = 1 if call.inputs[0].numpy()[at[0]] else 2
        also = tuple(taken(call, name, i, [at[i]]) for i, name in enumerate(("condition", "a", "b")))
        return copied(call, "a, where the condition holds" if side == 1 else "b, where not", at[side], also, side)

    def vjp(self, call: Call, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        condition, a, b = call.inputs
        return (
            None,
            unbroadcast(where(condition, grad, 0.0), a.shape) if call.needs[1] else None,
            unbroadcast(where(condition, 0.0, grad), b.shape) if call.needs[2] else None,
        )


WHERE = define(Where)

_PAIRS = (
    Case(S(2, 3, 5, 7), S(2, 3, 5, 7)),
    Case(S(2, 3, 5, 7), S(3, 1, 1)),
    Case(S(2, 3, 5, 7), S(7)),
    Case(S(4, 1), S(1, 5)),
    Case(S(), S(3, 4)),
    Case(S(0, 4), S(4)),
)
_SUMS = (*_PAIRS, Case(S(9), 2.5))
_DIVISIONS = (
    Case(S(2, 3, 5, 7), S(2, 3, 5, 7, kind="uniform", low=0.5, high=2.0)),
    Case(S(2, 3, 5, 7), S(3, 1, 1, kind="uniform", low=0.5, high=2.0)),
    Case(S(4, 1), S(1, 5, kind="uniform", low=-2.0, high=-0.5)),
    Case(S(9), 2.5),
)
_POWERS = (
    Case(S(3, 4, kind="uniform", low=0.2, high=2.0), S(3, 4)),
    Case(S(2, 3, 5, 7, kind="uniform", low=0.2, high=2.0), S(3, 1, 1)),
    Case(S(9), 2),
    Case(S(9), 3),
    Case(S(9, kind="uniform", low=0.2, high=2.0), 0.5),
)
_QUESTIONS = (
    Case(S(2, 3, 5, 7, kind="integers", low=-2, high=3), S(3, 1, 1, kind="integers", low=-2, high=3), gradient=False),
    Case(S(9), 0.0, gradient=False),
)


@function(*_SUMS, torch="add")
def add(a: Operand, b: Operand) -> Tensor:
    """a + b with broadcasting.

    >>> import coolnn as cool
    >>> cool.ops.add(cool.tensor([1.0, 2.0]), 1).tolist()
    [2.0, 3.0]
    """
    return apply(ADD, *pair(a, b))


@function(*_SUMS, torch="sub")
def sub(a: Operand, b: Operand) -> Tensor:
    """a - b with broadcasting.

    >>> import coolnn as cool
    >>> cool.ops.sub(1, cool.tensor([1.0, 2.0])).tolist()
    [0.0, -1.0]
    """
    return apply(SUB, *pair(a, b))


@function(*_SUMS, torch="mul")
def mul(a: Operand, b: Operand) -> Tensor:
    """a · b, element by element, with broadcasting.

    >>> import coolnn as cool
    >>> cool.ops.mul(cool.tensor([1.0, 2.0]), 3).tolist()
    [3.0, 6.0]
    """
    return apply(MUL, *pair(a, b))


@function(*_DIVISIONS, torch="div")
def div(a: Operand, b: Operand) -> Tensor:
    """a / b with broadcasting; whole numbers give float32.

    >>> import coolnn as cool
    >>> cool.ops.div(cool.tensor([1, 2]), 4).tolist()
    [0.25, 0.5]
    """
    a, b = pair(a, b)
    return apply(DIV, real(a), real(b))


@function(*_POWERS, torch="pow")
def pow(a: Operand, b: Operand) -> Tensor:
    """a to the power b with broadcasting: nan for a negative base with a broken exponent.

    >>> import coolnn as cool
    >>> cool.ops.pow(cool.tensor([2.0, 3.0]), 2).tolist()
    [4.0, 9.0]
    """
    if isinstance(b, int | float) and b == 2 and isinstance(a, Tensor):
        return square(a)
    return apply(POW, *pair(a, b))


@function(*_PAIRS, torch="maximum")
def maximum(a: Operand, b: Operand) -> Tensor:
    """The larger of a and b with broadcasting (nan if one is); where they are equal each gets half the gradient.

    >>> import coolnn as cool
    >>> cool.ops.maximum(cool.tensor([1.0, 5.0]), cool.tensor([3.0, 2.0])).tolist()
    [3.0, 5.0]
    """
    return apply(MAXIMUM, *pair(a, b))


@function(*_PAIRS, torch="minimum")
def minimum(a: Operand, b: Operand) -> Tensor:
    """The smaller of a and b with broadcasting (nan if one is); where they are equal each gets half the gradient.

    >>> import coolnn as cool
    >>> cool.ops.minimum(cool.tensor([1.0, 5.0]), cool.tensor([3.0, 2.0])).tolist()
    [1.0, 2.0]
    """
    return apply(MINIMUM, *pair(a, b))


@function(*_QUESTIONS, torch="eq")
def eq(a: Operand, b: Operand) -> Tensor:
    """Whether a equals b, as booleans, with broadcasting.

    >>> import coolnn as cool
    >>> cool.ops.eq(cool.tensor([1, 2]), 2).tolist()
    [False, True]
    """
    return apply(EQ, *pair(a, b))


@function(*_QUESTIONS, torch="ne")
def ne(a: Operand, b: Operand) -> Tensor:
    """Whether a differs from b, as booleans, with broadcasting.

    >>> import coolnn as cool
    >>> cool.ops.ne(cool.tensor([1, 2]), 2).tolist()
    [True, False]
    """
    return apply(NE, *pair(a, b))


@function(*_QUESTIONS, torch="lt")
def lt(a: Operand, b: Operand) -> Tensor:
    """Whether a < b, as booleans, with broadcasting.

    >>> import coolnn as cool
    >>> cool.ops.lt(cool.tensor([1, 2]), 2).tolist()
    [True, False]
    """
    return apply(LT, *pair(a, b))


@function(*_QUESTIONS, torch="le")
def le(a: Operand, b: Operand) -> Tensor:
    """Whether a <= b, as booleans, with broadcasting.

    >>> import coolnn as cool
    >>> cool.ops.le(cool.tensor([1, 2, 3]), 2).tolist()
    [True, True, False]
    """
    return apply(LE, *pair(a, b))


@function(*_QUESTIONS, torch="gt")
def gt(a: Operand, b: Operand) -> Tensor:
    """Whether a > b, as booleans, with broadcasting.

    >>> import coolnn as cool
    >>> cool.ops.gt(cool.tensor([1, 2, 3]), 2).tolist()
    [False, False, True]
    """
    return apply(GT, *pair(a, b))


@function(*_QUESTIONS, torch="ge")
def ge(a: Operand, b: Operand) -> Tensor:
    """Whether a >= b, as booleans, with broadcasting.

    >>> import coolnn as cool
    >>> cool.ops.ge(cool.tensor([1, 2, 3]), 2).tolist()
    [False, True, True]
    """
    return apply(GE, *pair(a, b))


@function(
    Case(S(2, 3, 5, 7, kind="boolean"), S(2, 3, 5, 7), S(2, 3, 5, 7)),
    Case(S(5, kind="boolean"), S(4, 1), S(4, 5)),
    Case(S(3, 4, kind="boolean"), S(3, 4), 0.0),
    torch="where",
)
def where(condition: Operand, a: Operand, b: Operand) -> Tensor:
    """a where the condition holds, else b, with broadcasting.

    >>> import coolnn as cool
    >>> x = cool.tensor([-1.0, 2.0])
    >>> cool.ops.where(x > 0, x, 0).tolist()
    [0.0, 2.0]
    """
    return apply(WHERE, cast(condition, boolean), *pair(a, b))
