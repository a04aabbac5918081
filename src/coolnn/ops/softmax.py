"""Softmax and its logarithm."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Call, apply
from ..spec import Spec
from ..tensor import Operand, Tensor
from .axes import one_axis
from .elementwise import exp
from .op import Array, Case, Op, S, define, function
from .operands import real
from .reduce import sum as sum_over
from .terms import Place, Products, Terms, constant, grid, taken

__all__ = ["log_softmax", "softmax"]


def log_softmax_array(x: Array, dim: int) -> Array:
    """Logarithm of softmax: the largest number is subtracted first, so that no exponential overflows."""
    shifted = x - x.max(axis=dim, keepdims=True, initial=-np.inf)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True)))


def _line(call: Call, place: Place) -> Array:
    """The places along the axis of a call."""
    dim = call.attributes["dim"]
    return grid(*place[:dim], range(call.inputs[0].shape[dim]), *place[dim + 1 :])


def log_softmax_terms(call: Call, place: Place, dim: int) -> Terms:
    """x minus the logarithm of the sum of exp(x), for the first input of a call."""
    line = taken(call, "x", 0, grid(*place[:dim], range(call.inputs[0].shape[dim]), *place[dim + 1 :]))
    highest = line.values.max()
    log_sum = highest + np.log(np.exp(line.values - highest).sum())
    groups = (
        Products("x", (taken(call, "x", 0, [place]),)),
        Products("normalizer", (constant("log Σ exp(x)", log_sum, 1), constant("sign", -1.0, 1))),
    )
    return Terms("sum", "x - log Σ exp(x)", groups, also=(line,))


class Softmax(Op):
    """exp(x) divided by its sum along an axis."""

    name = "softmax"
    onnx = "Softmax"
    saves_inputs = ()
    saves_outputs = True

    def infer(self, x: Spec, dim: int) -> Spec:
        return x

    def reference(self, x: Array, dim: int) -> Array:
        powers = np.exp(x - x.max(axis=dim, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis=dim, keepdims=True))

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        line = taken(call, "x", 0, _line(call, place))
        y = np.asarray(self.reference(line.values, 0))
        own = place[call.attributes["dim"]]
        slopes = y[own] * ((np.arange(len(y)) == own) - y)
        return Terms("function", "exp(x) / Σ exp(x)", also=(line,), slopes=(slopes,), value=float(y[own]))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (apply(SOFTMAX_GRAD, grad, call.outputs[0], **call.attributes),)


class SoftmaxGrad(Op):
    """y · (grad - sum(grad · y)), where y is the output of softmax."""

    name = "softmax_grad"

    def infer(self, grad: Spec, y: Spec, dim: int) -> Spec:
        return grad

    def reference(self, grad: Array, y: Array, dim: int) -> Array:
        return np.asarray(y * (grad - (grad * y).sum(axis=dim, keepdims=True)))

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        line = _line(call, place)
        own = (taken(call, "grad", 0, [place]), taken(call, "y", 1, [place]))
        others = (
            taken(call, "grad", 0, line),
            taken(call, "y", 1, line),
            constant("-y here", -own[1].values, len(line)),
        )
        return Terms("sum", "grad · y - y · Σ grad · y", (Products("own", own), Products("all", others)))

    def vjp(self, call: Call, c: Tensor) -> tuple[Tensor | None, ...]:
        grad, y = call.inputs
        dim = call.attributes["dim"]
        return (
            apply(SOFTMAX_GRAD, c, y, dim=dim) if call.needs[0] else None,  # a symmetric matrix: its own transpose
            c * (grad - sum_over(grad * y, dim, keepdim=True)) - grad * sum_over(c * y, dim, keepdim=True)
            if call.needs[1]
            else None,
        )


class LogSoftmax(Op):
    """x minus the logarithm of the sum of exp(x) along an axis."""

    name = "log_softmax"
    onnx = "LogSoftmax"
    saves_inputs = ()
    saves_outputs = True

    def infer(self, x: Spec, dim: int) -> Spec:
        return x

    def reference(self, x: Array, dim: int) -> Array:
        return log_softmax_array(x, dim)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return log_softmax_terms(call, place, call.attributes["dim"])

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (apply(LOG_SOFTMAX_GRAD, grad, call.outputs[0], **call.attributes),)


class LogSoftmaxGrad(Op):
    """grad - exp(y) · sum(grad), where y is the output of log_softmax."""

    name = "log_softmax_grad"

    def infer(self, grad: Spec, y: Spec, dim: int) -> Spec:
        return grad

    def reference(self, grad: Array, y: Array, dim: int) -> Array:
        return np.asarray(grad - np.exp(y) * grad.sum(axis=dim, keepdims=True))

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        line = taken(call, "grad", 0, _line(call, place))
        here = constant("-softmax here", -np.exp(float(call.inputs[1].numpy()[place])), len(line.values))
        own = Products("own", (taken(call, "grad", 0, [place]),))
        return Terms("sum", "grad - softmax · Σ grad", (own, Products("all", (line, here))))

    def vjp(self, call: Call, c: Tensor) -> tuple[Tensor | None, ...]:
        grad, y = call.inputs
        dim = call.attributes["dim"]
        weighted = c * exp(y)
        return (
            c - sum_over(weighted, dim, keepdim=True) if call.needs[0] else None,
            -weighted * sum_over(grad, dim, keepdim=True) if call.needs[1] else None,
        )


SOFTMAX = define(Softmax)
SOFTMAX_GRAD = define(SoftmaxGrad)
LOG_SOFTMAX = define(LogSoftmax)
LOG_SOFTMAX_GRAD = define(LogSoftmaxGrad)

_CASES: tuple[Any, ...] = (
    Case(S(4, 10), -1),
    Case(S(3, 33), 1),
    Case(S(5, 7), 0),
    Case(S(2, 17, 3, 5), 1),
    Case(S(2, 3, 5, 17), 3),
    Case(S(2, 5, 3), 1),
    Case(S(1, 1), 1),
    Case(S(7), 0),
    Case(S(0, 4), 1),
    Case(S(3, 100, kind="uniform", low=-90, high=90), 1),
)


@function(*_CASES, torch="nn.functional.softmax", rtol=2e-6)
def softmax(x: Operand, dim: int = -1) -> Tensor:
    """exp(x) / sum of exp(x) along `dim`: positive numbers that add up to 1. Any shape in, the same shape out.

    Raises IndexError for an axis that is not there.

    >>> import coolnn as cool
    >>> cool.ops.softmax(cool.tensor([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    x = real(x)
    return apply(SOFTMAX, x, dim=one_axis(dim, x.ndim))


@function(*_CASES, torch="nn.functional.log_softmax", rtol=2e-6)
def log_softmax(x: Operand, dim: int = -1) -> Tensor:
    """The logarithm of `softmax`, without the loss of digits of taking it afterwards. Any shape in, the same out.

    Raises IndexError for an axis that is not there.

    >>> import coolnn as cool
    >>> print(f"{cool.ops.log_softmax(cool.zeros(4))[0]:.4f}")
    -1.3863
    """
    x = real(x)
    return apply(LOG_SOFTMAX, x, dim=one_axis(dim, x.ndim))
