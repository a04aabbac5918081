"""Activation functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Call, apply
from ..spec import Spec
from ..tensor import Operand, Tensor
from .arithmetic import where
from .elementwise import erf_array
from .op import Array, Case, Op, S, define, function
from .operands import as_tensor, cast, real
from .terms import Place, Terms, elementwise, passed

__all__ = ["gelu", "hardswish", "leaky_relu", "relu", "relu6", "sigmoid", "silu", "softplus", "tanh"]


class Activation(Op):
    """A function of one number, for each element, whose gradient is one operation too.

    The chain rule keeps v, the input ("x") or the output ("y") as `reads` says, and gives it to the gradient operation.
    """

    def __init__(
        self, name: str, reference: Callable[..., Array], gradient: ActivationGrad, reads: str, onnx: str | None
    ) -> None:
        self.name, self.onnx = name, onnx
        self.saves_inputs, self.saves_outputs = ((0,) if reads == "x" else ()), reads == "y"
        self._reference, self._gradient = reference, gradient

    def infer(self, x: Spec, **attributes: Any) -> Spec:
        return x

    def reference(self, x: Array, **attributes: Any) -> Array:
        return self._reference(x, **attributes)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return elementwise(call, place, output, f"{self.name}(x)")

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        kept = call.outputs[0] if self.saves_outputs else call.inputs[0]
        return (apply(self._gradient, grad, kept, **call.attributes),)


class ActivationGrad(Op):
    """The upstream gradient times the slope of the activation function, a function of the kept number v.

    `curve` is the derivative of the slope by v, made of operations, for second derivatives; None where it is 0.
    """

    def __init__(self, name: str, slope: Callable[..., Array], curve: Callable[..., Tensor] | None) -> None:
        self.name = name
        self.saves_inputs = (1,) if curve is None else (0, 1)
        self._slope, self._curve = slope, curve

    def infer(self, grad: Spec, v: Spec, **attributes: Any) -> Spec:
        return grad

    def reference(self, grad: Array, v: Array, **attributes: Any) -> Array:
        slope = self._slope(v, **attributes)
        return np.where(slope == 0, 0, grad * slope)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return passed(call, place, f"slope of {self.name.removesuffix('_grad')}")

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        first, v = call.inputs
        by_grad = apply(self, grad, v, **call.attributes) if call.needs[0] else None
        if self._curve is None or not call.needs[1]:
            return by_grad, None
        return by_grad, grad * first * self._curve(v, **call.attributes)


def _activation(
    name: str,
    reference: Callable[..., Array],
    slope: Callable[..., Array],
    curve: Callable[..., Tensor] | None = None,
    reads: str = "x",
    onnx: str | None = None,
) -> Activation:
    return define(Activation(name, reference, define(ActivationGrad(f"{name}_grad", slope, curve)), reads, onnx))


# --- the functions, their slopes and, for second derivatives, the slopes' own derivatives ---------------------------


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))  # never overflows
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small))


def _silu_slope(x: Array) -> Array:
    s = _sigmoid(x)
    return np.asarray(s * (1 + x * (1 - s)))


def _silu_curve(x: Tensor) -> Tensor:
    s = sigmoid(x)
    return s * (1 - s) * (2 + x * (1 - 2 * s))


_ROOT_2_PI = math.sqrt(2 / math.pi)
_CUBE = 0.044715  # of the approximation of gelu by tanh


def _gelu(x: Array, approximate: str) -> Array:
    tanh = approximate == "tanh"
    inner = np.tanh(_ROOT_2_PI * (x + _CUBE * x**3)) if tanh else erf_array(x / math.sqrt(2))
    return np.asarray(0.5 * x * (1 + inner))


def _gelu_slope(x: Array, approximate: str) -> Array:
    if approximate == "tanh":
        t = np.tanh(_ROOT_2_PI * (x + _CUBE * x**3))
        return np.asarray(0.5 * (1 + t) + 0.5 * x * (1 - t * t) * _ROOT_2_PI * (1 + 3 * _CUBE * x * x))
    return np.asarray(0.5 * (1 + erf_array(x / math.sqrt(2))) + 0.5 * x * _ROOT_2_PI * np.exp(-x * x / 2))


def _gelu_curve(x: Tensor, approximate: str) -> Tensor:
    square = x.square()
    if approximate == "tanh":
        t = tanh(_ROOT_2_PI * (x + _CUBE * (x * square)))
        inner = _ROOT_2_PI * (1 + 3 * _CUBE * square)
        return (1 - t.square()) * (inner + x * (3 * _CUBE * _ROOT_2_PI * x - t * inner.square()))
    return 0.5 * _ROOT_2_PI * (square * -0.5).exp() * (2 - square)


def _softplus(x: Array, beta: float, threshold: float) -> Array:
    return np.where(x * beta > threshold, x, np.logaddexp(0, x * beta) / beta)


def _softplus_slope(x: Array, beta: float, threshold: float) -> Array:
    return np.where(x * beta > threshold, 1, _sigmoid(x * beta))


def _softplus_curve(x: Tensor, beta: float, threshold: float) -> Tensor:
    s = sigmoid(x * beta)
    return where(x * beta > threshold, 0.0, beta * s * (1 - s))


RELU = _activation("relu", lambda x: np.maximum(x, 0), lambda y: y > 0, reads="y", onnx="Relu")
LEAKY_RELU = _activation(
    "leaky_relu",
    lambda x, negative_slope: np.where(x > 0, x, negative_slope * x),
    lambda x, negative_slope: np.where(x > 0, 1, negative_slope),
    onnx="LeakyRelu",
)
RELU6 = _activation("relu6", lambda x: np.clip(x, 0, 6), lambda x: (x > 0) & (x < 6))
SIGMOID = _activation("sigmoid", _sigmoid, lambda y: y * (1 - y), lambda y: 1 - 2 * y, "y", "Sigmoid")
TANH = _activation("tanh", np.tanh, lambda y: 1 - y * y, lambda y: -2 * y, "y", "Tanh")
SILU = _activation("silu", lambda x: x * _sigmoid(x), _silu_slope, _silu_curve)
GELU = _activation("gelu", _gelu, _gelu_slope, _gelu_curve, onnx="Gelu")
HARDSWISH = _activation(
    "hardswish",
    lambda x: x * np.clip(x + 3, 0, 6) / 6,
    lambda x: np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5)),
    lambda x: cast(x.abs() < 3, x.dtype) / 3,
    onnx="HardSwish",
)
SOFTPLUS = _activation("softplus", _softplus, _softplus_slope, _softplus_curve, onnx="Softplus")


# --- what users call -------------------------------------------------------------------------------------------------

_CASES = (Case(S(2, 3, 5, 7)), Case(S(33)), Case(S()), Case(S(0, 4)), Case(S(50, kind="uniform", low=-12, high=12)))


@function(*_CASES, torch="nn.functional.relu")
def relu(x: Operand) -> Tensor:
    """Rectified linear unit, max(x, 0); its derivative at 0 is 0. Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.ops.relu(cool.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return apply(RELU, as_tensor(x))


@function(*_CASES, Case(S(2, 3, 4), 0.2), torch="nn.functional.leaky_relu")
def leaky_relu(x: Operand, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else `negative_slope` times x. Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.ops.leaky_relu(cool.tensor([-1.0, 2.0]), 0.5).tolist()
    [-0.5, 2.0]
    """
    return apply(LEAKY_RELU, real(x), negative_slope=float(negative_slope))


@function(*_CASES, torch="nn.functional.relu6")
def relu6(x: Operand) -> Tensor:
    """x brought between 0 and 6 (Krizhevsky, 2010). Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.ops.relu6(cool.tensor([-1.0, 2.0, 9.0])).tolist()
    [0.0, 2.0, 6.0]
    """
    return apply(RELU6, as_tensor(x))


@function(*_CASES, torch="sigmoid")
def sigmoid(x: Operand) -> Tensor:
    """1 / (1 + exp(-x)). Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.ops.sigmoid(cool.tensor([0.0])).tolist()
    [0.5]
    """
    return apply(SIGMOID, real(x))


@function(*_CASES, torch="tanh")
def tanh(x: Operand) -> Tensor:
    """The hyperbolic tangent. Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.ops.tanh(cool.tensor([0.0])).tolist()
    [0.0]
    """
    return apply(TANH, real(x))


@function(*_CASES, torch="nn.functional.silu")
def silu(x: Operand) -> Tensor:
    """x · sigmoid(x), also called swish (Elfwing et al., 2017). Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.ops.silu(cool.tensor([0.0])).tolist()
    [0.0]
    """
    return apply(SILU, real(x))


@function(*_CASES, Case(S(2, 3, 5, 7), approximate="tanh"), torch="nn.functional.gelu")
def gelu(x: Operand, approximate: str = "none") -> Tensor:
    """x times the probability that a standard normal number is below x (Hendrycks and Gimpel, 2016).

    Exact, or with approximate="tanh" by the formula with tanh that older models were trained with. Any shape in, the
    same shape out. Raises ValueError for another approximation.

    >>> import coolnn as cool
    >>> cool.ops.gelu(cool.tensor([0.0])).tolist()
    [0.0]
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu knows approximate='none' and 'tanh', not {approximate!r}")
    return apply(GELU, real(x), approximate=approximate)


@function(*_CASES, torch="nn.functional.hardswish")
def hardswish(x: Operand) -> Tensor:
    """x · relu6(x + 3) / 6, silu made of straight pieces (Howard et al., 2019). Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.ops.hardswish(cool.tensor([0.0, 4.0])).tolist()
    [0.0, 4.0]
    """
    return apply(HARDSWISH, real(x))


@function(*_CASES, Case(S(2, 3, 4), 2.0, 1.0), torch="nn.functional.softplus")
def softplus(x: Operand, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta · x)) / beta, and x itself where beta · x is above `threshold`. Same shape out as in.

    >>> import coolnn as cool
    >>> cool.ops.softplus(cool.tensor([100.0])).tolist()
    [100.0]
    """
    return apply(SOFTPLUS, real(x), beta=float(beta), threshold=float(threshold))
