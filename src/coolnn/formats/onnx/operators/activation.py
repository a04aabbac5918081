"""Activation functions."""

from __future__ import annotations

import math

import numpy as np

from .... import ops
from ....tensor import Tensor
from .registry import array, axis_of

Relu = ops.relu
Sigmoid = ops.sigmoid


def LeakyRelu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return ops.leaky_relu(x, alpha)


def PRelu(x: Tensor, slope: Tensor, *, opset: int = 16) -> Tensor:
    if opset < 7 and slope.ndim == 1 and x.ndim > 2 and slope.size > 1:
        slope = slope.reshape(-1, *[1] * (x.ndim - 2))
    return ops.where(x < 0, x * slope, x)


def Elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    # The exponential of what is positive is not looked at and could overflow.
    return ops.where(x > 0, x, (ops.exp(ops.minimum(x, 0.0)) - 1.0) * alpha)


def Selu(x: Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Tensor:
    return Elu(x, alpha=alpha) * gamma


def Celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return ops.where(x > 0, x, (ops.exp(ops.minimum(x, 0.0) / alpha) - 1.0) * alpha)


def Gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    return ops.gelu(x, approximate)


def HardSigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return ops.clip(x * alpha + beta, 0.0, 1.0)


def HardSwish(x: Tensor) -> Tensor:
    return ops.hardswish(x)


def Mish(x: Tensor) -> Tensor:
    return x * ops.tanh(ops.softplus(x))


def Swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return ops.silu(x) if alpha == 1.0 else x * ops.sigmoid(x * alpha)


def Softplus(x: Tensor) -> Tensor:
    return ops.softplus(x)


def Softsign(x: Tensor) -> Tensor:
    return x / (ops.abs(x) + 1.0)


def ThresholdedRelu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return ops.where(x > alpha, x, 0.0)


def Shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    if x.dtype.kind != "f":
        return ops.cast(Shrink(ops.cast(x, "float64"), bias=bias, lambd=lambd), x.dtype)
    return ops.where(x > lambd, x - bias, ops.where(x < -lambd, x + bias, 0.0))


# --- along an axis ---------------------------------------------------------------------------------------------------


def _as_rows(x: Tensor, axis: int) -> Tensor:
    """Before version 13 these took all axes from one on as a row."""
    axis = axis_of(axis, x.ndim)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def Softmax(x: Tensor, *, axis: int | None = None, opset: int = 13) -> Tensor:
    if opset < 13:
        return ops.softmax(_as_rows(x, 1 if axis is None else axis), 1).reshape(x.shape)
    return ops.softmax(x, -1 if axis is None else axis)


def LogSoftmax(x: Tensor, *, axis: int | None = None, opset: int = 13) -> Tensor:
    if opset < 13:
        return ops.log_softmax(_as_rows(x, 1 if axis is None else axis), 1).reshape(x.shape)
    return ops.log_softmax(x, -1 if axis is None else axis)


def Hardmax(x: Tensor, *, axis: int | None = None, opset: int = 13) -> Tensor:
    if opset < 13:
        rows = _as_rows(x, 1 if axis is None else axis)
        return Hardmax(rows, axis=1).reshape(x.shape)
    axis = axis_of(-1 if axis is None else axis, x.ndim)
    places = np.arange(x.shape[axis]).reshape(-1, *[1] * (x.ndim - axis - 1))
    return ops.cast(ops.argmax(x, axis, keepdim=True) == array(places), x.dtype)
