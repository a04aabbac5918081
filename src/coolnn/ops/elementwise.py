"""Broadcast arithmetic, comparisons and the functions of one number."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Call, apply
from ..spec import Shape, Spec, boolean, float32, float64, int32, int64, uint8
from ..tensor import Operand, Tensor, from_numpy, tensor
from .axes import broadcast_shapes
from .op import Array, Case, Op, S, define, function

__all__ = [
    "abs",
    "add",
    "cast",
    "clip",
    "cos",
    "div",
    "eq",
    "erf",
    "exp",
    "floor",
    "ge",
    "gt",
    "le",
    "log",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "ne",
    "neg",
    "pow",
    "reciprocal",
    "rsqrt",
    "sign",
    "sin",
    "sqrt",
    "square",
    "sub",
    "where",
]

# --- operands: anything that is or becomes a tensor, brought to one type ----------------------------------------------

# Where two types meet, the result has the one further to the right.
_PROMOTION = {dtype: order for order, dtype in enumerate((boolean, uint8, int32, int64, float32, float64))}
_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2}


def promote(*tensors: Tensor) -> np.dtype[Any]:
    """The type that tensors take together, as in PyTorch: one without axes only counts if its kind is a higher one."""
    dtypes = [t.dtype for t in tensors if t.shape]
    kind = max((_KINDS[d.kind] for d in dtypes), default=-1)
    dtypes += [t.dtype for t in tensors if not t.shape and _KINDS[t.dtype.kind] > kind]
    return max(dtypes, key=_PROMOTION.__getitem__)


@functools.lru_cache(maxsize=1024)
def _cached_scalar(value: float, dtype: np.dtype[Any]) -> Tensor:
    return from_numpy(np.array(value, dtype))


def scalar(value: float, dtype: np.dtype[Any]) -> Tensor:
    """A Python number as a tensor without axes that goes with tensors of `dtype`."""
    if isinstance(value, float):
        if dtype.kind != "f":
            dtype = float32
        if value == 0.0 and math.copysign(1.0, value) < 0.0:  # the cache would take it for +0
            return from_numpy(np.array(value, dtype))
    elif dtype.kind == "b" and not isinstance(value, bool):
        dtype = int64
    elif dtype.kind in "iu" and not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
        raise OverflowError(f"{value} does not fit {dtype.name}, the type of the tensor beside it; use .long() there")
    return _cached_scalar(value, dtype)


def as_tensor(x: Operand) -> Tensor:
    """The operand as a tensor; raises TypeError that names what cannot be one."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, np.ndarray | np.generic | int | float):
        return tensor(x)
    raise TypeError(f"an operand is a tensor, a number or a NumPy array, not {type(x).__name__}: {x!r}")


def pair(a: Operand, b: Operand) -> tuple[Tensor, Tensor]:
    """Two operands as tensors of one type."""
    if isinstance(a, Tensor):
        if not isinstance(b, Tensor):
            b = _beside(b, a)
    elif isinstance(b, Tensor):
        a = _beside(a, b)
    else:
        a, b = as_tensor(a), as_tensor(b)
    if a.spec.dtype == b.spec.dtype:
        return a, b
    dtype = promote(a, b)
    return cast(a, dtype), cast(b, dtype)


def _beside(x: Operand, other: Tensor) -> Tensor:
    """An operand that is not a tensor yet, beside one that is: a number takes its type where it can."""
    if isinstance(x, np.generic):
        x = x.item()
    return scalar(x, other.spec.dtype) if isinstance(x, int | float) else as_tensor(x)


def real(x: Operand) -> Tensor:
    """The operand as a tensor of real numbers; whole numbers become float32."""
    x = as_tensor(x)
    return x if x.spec.dtype.kind == "f" else cast(x, float32)


# --- functions of one number -----------------------------------------------------------------------------------------

UnaryRule = Callable[[Tensor, Tensor], Tensor]


class Unary(Op):
    """A function of one number, for each element.

    `rule(grad, v)` gives the input's gradient; v is the input or the output, as `reads` ("x", "y" or "") says.
    """

    def __init__(
        self, name: str, reference: Callable[[Array], Array], rule: UnaryRule, reads: str = "x", onnx: str | None = None
    ) -> None:
        self.name, self.onnx = name, onnx
        self.saves_inputs, self.saves_outputs = ((0,) if reads == "x" else ()), reads == "y"
        self._reference, self._rule = reference, rule

    def infer(self, x: Spec) -> Spec:
        return x

    def reference(self, x: Array) -> Array:
        return self._reference(x)

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (self._rule(grad, call.outputs[0] if self.saves_outputs else call.inputs[0]),)


def _nothing(grad: Tensor, v: Tensor) -> Tensor:
    """The gradient of a function made of steps."""
    return from_numpy(np.zeros(grad.shape, grad.dtype))


def erf_array(x: Array) -> Array:
    """The error function of a NumPy array."""
    result: Array = np.vectorize(math.erf, otypes=[np.float64])(x)
    return result


NEG = define(Unary("neg", np.negative, lambda g, _: -g, "", "Neg"))
ABS = define(Unary("abs", np.abs, lambda g, x: g * x.sign(), "x", "Abs"))
EXP = define(Unary("exp", np.exp, lambda g, y: g * y, "y", "Exp"))
LOG = define(Unary("log", np.log, lambda g, x: g / x, "x", "Log"))
SQRT = define(Unary("sqrt", np.sqrt, lambda g, y: g / (y * 2.0), "y", "Sqrt"))
RSQRT = define(Unary("rsqrt", lambda x: 1.0 / np.sqrt(x), lambda g, y: g * (y * y * y * -0.5), "y"))
SQUARE = define(Unary("square", np.square, lambda g, x: g * (x * 2.0), "x"))
RECIPROCAL = define(Unary("reciprocal", lambda x: 1.0 / x, lambda g, y: -(g * (y * y)), "y", "Reciprocal"))
SIGN = define(Unary("sign", np.sign, _nothing, "", "Sign"))
FLOOR = define(Unary("floor", np.floor, _nothing, "", "Floor"))
SIN = define(Unary("sin", np.sin, lambda g, x: g * x.cos(), "x", "Sin"))
COS = define(Unary("cos", np.cos, lambda g, x: -(g * x.sin()), "x", "Cos"))
ERF = define(Unary("erf", erf_array, lambda g, x: g * ((-x.square()).exp() * (2.0 / math.sqrt(math.pi))), "x", "Erf"))

_ANY = (Case(S(2, 3, 5, 7)), Case(S(17)), Case(S()), Case(S(0, 4)))
_POSITIVE = tuple(Case(S(*shape, kind="uniform", low=0.1, high=4.0)) for shape in ((2, 3, 5, 7), (17,), (), (0, 4)))


@function(*_ANY, torch="neg")
def neg(x: Operand) -> Tensor:
    """-x, element by element.

    >>> import coolnn as cool
    >>> cool.ops.neg(cool.tensor([1.0, -2.0])).tolist()
    [-1.0, 2.0]
    """
    return apply(NEG, as_tensor(x))


@function(*_ANY, torch="abs")
def abs(x: Operand) -> Tensor:
    """|x|, element by element; the derivative at 0 is 0.

    >>> import coolnn as cool
    >>> cool.ops.abs(cool.tensor([1.0, -2.0])).tolist()
    [1.0, 2.0]
    """
    return apply(ABS, as_tensor(x))


@function(*_ANY, torch="exp")
def exp(x: Operand) -> Tensor:
    """e to the power x, element by element.

    >>> import coolnn as cool
    >>> cool.ops.exp(cool.tensor([0.0])).tolist()
    [1.0]
    """
    return apply(EXP, real(x))


@function(*_POSITIVE, torch="log")
def log(x: Operand) -> Tensor:
    """The natural logarithm, element by element: -inf at 0, nan below.

    >>> import coolnn as cool
    >>> cool.ops.log(cool.tensor([1.0, 0.0])).tolist()
    [0.0, -inf]
    """
    return apply(LOG, real(x))


@function(*_POSITIVE, torch="sqrt")
def sqrt(x: Operand) -> Tensor:
    """The square root, element by element: nan below 0; the derivative at 0 is infinite.

    >>> import coolnn as cool
    >>> cool.ops.sqrt(cool.tensor([9.0])).tolist()
    [3.0]
    """
    return apply(SQRT, real(x))


@function(*_POSITIVE, torch="rsqrt")
def rsqrt(x: Operand) -> Tensor:
    """One over the square root, element by element.

    >>> import coolnn as cool
    >>> cool.ops.rsqrt(cool.tensor([4.0])).tolist()
    [0.5]
    """
    return apply(RSQRT, real(x))


@function(*_ANY, torch="square")
def square(x: Operand) -> Tensor:
    """x times x, element by element.

    >>> import coolnn as cool
    >>> cool.ops.square(cool.tensor([-3.0])).tolist()
    [9.0]
    """
    return apply(SQUARE, as_tensor(x))


@function(*_POSITIVE, torch="reciprocal")
def reciprocal(x: Operand) -> Tensor:
    """1 / x, element by element.

    >>> import coolnn as cool
    >>> cool.ops.reciprocal(cool.tensor([4.0])).tolist()
    [0.25]
    """
    return apply(RECIPROCAL, real(x))


@function(*_ANY, torch="sign")
def sign(x: Operand) -> Tensor:
    """-1, 0 or 1, element by element; its derivative is 0.

    >>> import coolnn as cool
    >>> cool.ops.sign(cool.tensor([-3.0, 0.0, 5.0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    return apply(SIGN, as_tensor(x))


@function(*_ANY, torch="floor")
def floor(x: Operand) -> Tensor:
    """The largest whole number that is not above x, element by element; its derivative is 0.

    >>> import coolnn as cool
    >>> cool.ops.floor(cool.tensor([1.5, -1.5])).tolist()
    [1.0, -2.0]
    """
    return apply(FLOOR, as_tensor(x))


@function(*_ANY, torch="sin")
def sin(x: Operand) -> Tensor:
    """The sine of an angle in radians, element by element.

    >>> import coolnn as cool
    >>> cool.ops.sin(cool.tensor([0.0])).tolist()
    [0.0]
    """
    return apply(SIN, real(x))


@function(*_ANY, torch="cos")
def cos(x: Operand) -> Tensor:
    """The cosine of an angle in radians, element by element.

    >>> import coolnn as cool
    >>> cool.ops.cos(cool.tensor([0.0])).tolist()
    [1.0]
    """
    return apply(COS, real(x))


@function(*_ANY, torch="erf")
def erf(x: Operand) -> Tensor:
    """The error function, 2/sqrt(pi) times the integral of exp(-t²) from 0 to x, element by element.

    >>> import coolnn as cool
    >>> cool.ops.erf(cool.tensor([0.0, 10.0])).tolist()
    [0.0, 1.0]
    """
    return apply(ERF, real(x))


# --- limits and types ------------------------------------------------------------------------------------------------


class Clip(Op):
    """x brought between two limits, either of which may be missing."""

    name = "clip"
    onnx = "Clip"

    def infer(self, x: Spec, min: float | None, max: float | None) -> Spec:
        if min is None and max is None:
            raise ValueError("clip needs min, max or both")
        return x

    def reference(self, x: Array, min: float | None, max: float | None) -> Array:
        return np.clip(x, min, max)

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (apply(CLIP_GRAD, grad, call.inputs[0], **call.attributes),)


class ClipGrad(Op):
    """The upstream gradient where x lies within the limits (or on them), else 0."""

    name = "clip_grad"
    saves_inputs = (1,)

    def infer(self, grad: Spec, x: Spec, min: float | None, max: float | None) -> Spec:
        return grad

    def reference(self, grad: Array, x: Array, min: float | None, max: float | None) -> Array:
        inside = np.ones(x.shape, bool)
        if min is not None:
            inside &= x >= min
        if max is not None:
            inside &= x <= max
        return np.where(inside, grad, 0)

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor, None]:
        return apply(CLIP_GRAD, grad, call.inputs[1], **call.attributes), None


class Cast(Op):
    """The same numbers in another type."""

    name = "cast"
    onnx = "Cast"
    saves_inputs = ()

    def infer(self, x: Spec, dtype: str) -> Spec:
        return Spec(x.shape, np.dtype(dtype))

    def reference(self, x: Array, dtype: str) -> Array:
        return x.astype(dtype)

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (cast(grad, call.inputs[0].dtype),)


CLIP = define(Clip)
CLIP_GRAD = define(ClipGrad)
CAST = define(Cast)


@function(
    Case(S(2, 3, 5, 7), -0.5, 0.75),
    Case(S(17), min=0.1),
    Case(S(4, 5), max=0.0),
    Case(S(0, 4), 0.0, 1.0),
    torch="clip",
)
def clip(x: Operand, min: float | None = None, max: float | None = None) -> Tensor:
    """x brought into the range from `min` to `max`; the gradient passes where x lies within it, limits included.

    Raises ValueError where both limits are missing.

    >>> import coolnn as cool
    >>> cool.ops.clip(cool.tensor([-2.0, 0.5, 2.0]), 0, 1).tolist()
    [0.0, 0.5, 1.0]
    """
    x = as_tensor(x)
    number = float if x.dtype.kind == "f" else (lambda v: v)
    return apply(CLIP, x, min=None if min is None else number(min), max=None if max is None else number(max))


@function(Case(S(2, 3, 5, 7), "float64"), Case(S(9, kind="integers", low=-9, high=9), "float32", gradient=False))
def cast(x: Operand, dtype: Any) -> Tensor:
    """The same numbers as another type; the tensor itself where it has the type already.

    Toward whole numbers the fraction is dropped; a boolean is whether the number is not 0. Raises TypeError for types
    that tensors do not have.

    >>> import coolnn as cool
    >>> cool.ops.cast(cool.tensor([1.9, -1.9]), cool.int64).tolist()
    [1, -1]
    """
    x = as_tensor(x)
    wanted = np.dtype(dtype)
    if wanted == x.spec.dtype:
        return x
    if wanted not in _PROMOTION:
        raise TypeError(f"tensors have no type {wanted}; choose from " + ", ".join(d.name for d in _PROMOTION))
    return apply(CAST, x, dtype=wanted.name)


# --- functions of two numbers ----------------------------------------------------------------------------------------

BinaryRule = Callable[[Tensor, Tensor, Tensor], Tensor]


def unbroadcast(grad: Tensor, shape: Shape) -> Tensor:
    """Sums a gradient over the axes along which an operand of `shape` was repeated."""
    if grad.spec.shape == shape:
        return grad
    extra = grad.ndim - len(shape)
    repeated = [i for i, n in enumerate(grad.shape) if i < extra or (shape[i - extra] == 1 and n != 1)]
    return (grad.sum(tuple(repeated)) if repeated else grad).reshape(shape)


class Binary(Op):
    """A function of two numbers, for each pair of elements, with broadcasting.

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
        self.name, self.onnx = name, onnx
        self._reference = reference
        self._rules = (left[0], right[0])
        self._saves = {
            (a, b): tuple(i for i, letter in enumerate("ab") if letter in left[1] * a + right[1] * b)
            for a in (False, True)
            for b in (False, True)
        }
        self.saves_inputs = self._saves[True, True]

    def saves(self, needs: tuple[bool, ...]) -> tuple[int, ...]:
        return self._saves[needs]  # type: ignore[index]  # two operands

    def infer(self, a: Spec, b: Spec) -> Spec:
        return Spec(broadcast_shapes(a.shape, b.shape), a.dtype)

    def reference(self, a: Array, b: Array) -> Array:
        return self._reference(a, b)

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


class Comparison(Op):
    """A question about two numbers, for each pair of elements, with broadcasting; the answers are booleans."""

    saves_inputs = ()

    def __init__(self, name: str, reference: Callable[[Array, Array], Array], onnx: str | None = None) -> None:
        self.name, self.onnx = name, onnx
        self._reference = reference

    def infer(self, a: Spec, b: Spec) -> Spec:
        return Spec(broadcast_shapes(a.shape, b.shape), boolean)

    def reference(self, a: Array, b: Array) -> Array:
        return self._reference(a, b)


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
