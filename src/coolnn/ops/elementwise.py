"""Functions of one number, for each element."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..autograd import Call, apply
from ..spec import Spec
from ..tensor import Operand, Tensor, from_numpy
from .op import Array, Case, Op, S, define, function
from .operands import as_tensor, real
from .terms import Place, Terms, elementwise, passed

__all__ = [
    "abs",
    "ceil",
    "clip",
    "cos",
    "erf",
    "exp",
    "floor",
    "log",
    "neg",
    "reciprocal",
    "round",
    "rsqrt",
    "sign",
    "sin",
    "sqrt",
    "square",
]

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

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return elementwise(call, place, output, f"{self.name}(x)")

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
CEIL = define(Unary("ceil", np.ceil, _nothing, "", "Ceil"))
ROUND = define(Unary("round", np.rint, _nothing, "", "Round"))
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


@function(*_ANY, torch="ceil")
def ceil(x: Operand) -> Tensor:
    """The smallest whole number that is not below x, element by element; its derivative is 0.

    >>> import coolnn as cool
    >>> cool.ops.ceil(cool.tensor([1.5, -1.5])).tolist()
    [2.0, -1.0]
    """
    return apply(CEIL, as_tensor(x))


@function(*_ANY, torch="round")
def round(x: Operand) -> Tensor:
    """The nearest whole number, of two the even one, element by element; its derivative is 0.

    >>> import coolnn as cool
    >>> cool.ops.round(cool.tensor([1.5, 2.5, -0.6])).tolist()
    [2.0, 2.0, -1.0]
    """
    return apply(ROUND, as_tensor(x))


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


# --- limits ----------------------------------------------------------------------------------------------------------


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

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return elementwise(call, place, output, f"x between {call.attributes['min']} and {call.attributes['max']}")

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

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return passed(call, place, "1 within the limits, else 0")

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor, None]:
        return apply(CLIP_GRAD, grad, call.inputs[1], **call.attributes), None


CLIP = define(Clip)
CLIP_GRAD = define(ClipGrad)


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
