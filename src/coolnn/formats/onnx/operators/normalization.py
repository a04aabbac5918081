"""Normalization."""

from __future__ import annotations

import math

import numpy as np

from .... import ops
from ....autograd import apply_all
from ....ops.normalization import BATCH_NORM
from ....tensor import Tensor
from .registry import axes_of, axis_of


def BatchNormalization(
    x: Tensor,
    scale: Tensor,
    b: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: int = 1,
    is_test: int = 0,
    consumed_inputs: tuple[int, ...] = (),
    training_mode: int = 0,
    training: bool = False,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, ...]:
    if not spatial and mean.ndim > 1:  # of version 7: statistics for each place
        return (x - mean) / ops.sqrt(var + epsilon) * scale + b
    if training_mode:
        y, average, variance = apply_all(BATCH_NORM, x, scale, b, eps=float(epsilon))
        running = [old * momentum + new * (1 - momentum) for old, new in ((mean, average), (var, variance))]
        return (y, *running)[:outputs] if outputs > 1 else y
    return ops.batch_norm(x, mean, var, scale, b, training=training, momentum=1 - momentum, eps=epsilon)


def InstanceNormalization(x: Tensor, scale: Tensor, b: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    return ops.group_norm(x, x.shape[1], scale, b, epsilon)


def GroupNormalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    epsilon: float = 1e-5,
    num_groups: int = 1,
    stash_type: int = 1,
    opset: int = 21,
) -> Tensor:
    if opset < 21:  # one number for each group
        each = np.repeat(np.arange(num_groups), x.shape[1] // num_groups)
        scale, bias = ops.take(scale, each), ops.take(bias, each)
    return ops.group_norm(x, num_groups, scale, bias, epsilon)


def LayerNormalization(
    x: Tensor,
    scale: Tensor,
    b: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, ...]:
    axis = axis_of(axis, x.ndim)
    shape = x.shape[axis:]
    plain = scale.shape == shape and (b is None or b.shape == shape)
    y = ops.layer_norm(x, shape, scale if plain else None, b if plain else None, epsilon)
    if not plain:
        y = y * scale if b is None else y * scale + b
    if outputs == 1:
        return y
    dims = tuple(range(axis, x.ndim))
    average = ops.mean(x, dims, keepdim=True)
    variance = ops.mean(ops.square(x - average), dims, keepdim=True)
    return (y, average, ops.rsqrt(variance + epsilon))[:outputs]


def RMSNormalization(x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Tensor:
    dims = tuple(range(axis_of(axis, x.ndim), x.ndim))
    return x * ops.rsqrt(ops.mean(ops.square(x), dims, keepdim=True) + epsilon) * scale


def LpNormalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    length = ops.norm(x, float(p), axis_of(axis, x.ndim), keepdim=True)
    return ops.where(length == 0, 0.0, x / ops.where(length == 0, 1.0, length))


def MeanVarianceNormalization(x: Tensor, *, axes: tuple[int, ...] = (0, 2, 3)) -> Tensor:
    dims = axes_of(axes, x.ndim)
    centred = x - ops.mean(x, dims, keepdim=True)
    return centred / (ops.sqrt(ops.mean(ops.square(centred), dims, keepdim=True)) + 1e-9)


def LRN(x: Tensor, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int = 1) -> Tensor:
    """The standard's window of an even size reaches one channel further up; that of the library, one further down."""
    if size % 2:
        return ops.local_response_norm(x, size, alpha, beta, bias)
    column = (x.shape[0], 1, x.shape[1], math.prod(x.shape[2:]))
    squares = ops.pad(ops.square(x).reshape(column), (0, 0, (size - 1) // 2, size // 2))
    sums = ops.avg_pool2d(squares, (size, 1), 1) * alpha
    return x / ops.pow(sums.reshape(x.shape) + bias, beta)
