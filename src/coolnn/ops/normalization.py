"""Batch, instance, group, layer and local response norm."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Call, apply, apply_all, apply_into, is_grad_enabled, no_grad
from ..spec import Shape, Spec
from ..tensor import Tensor
from .arithmetic import add, div, mul, pow, sub
from .axes import as_shape
from .elementwise import neg, reciprocal, rsqrt, square
from .op import Array, Case, Op, S, define, function
from .pool import avg_pool2d
from .reduce import mean
from .reduce import sum as sum_over
from .shape import PIXELS_TO_ROWS, ROWS_TO_PIXELS, reshape
from .terms import Factor, Place, Products, Terms, constant, grid, normalized_slopes, taken
from .update import EMA_STEP
from .window import need_one_type

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "layer_norm2d", "local_response_norm"]


def _per_channel(rank: int, channels: int) -> Shape:
    """The shape in which one number for each channel broadcasts over (N, C, ...)."""
    return (1, channels, *[1] * (rank - 2))


def _all_but_channels(rank: int) -> Shape:
    return (0, *range(2, rank))


def _check(name: str, x: Spec, weight: Spec | None, bias: Spec | None) -> None:
    if len(x.shape) < 2:
        raise ValueError(f"{name}: input must be (N, C) or (N, C, ...), not shape {x.shape}")
    need_one_type(name, input=x, weight=weight, bias=bias)
    for role, spec in (("weight", weight), ("bias", bias)):
        if spec is not None and spec.shape != x.shape[1:2]:
            raise ValueError(f"{name}: {role} has shape {spec.shape}, input {x.shape} wants {x.shape[1:2]}")


def _scaled(y: Array, weight: Array | None, bias: Array | None) -> Array:
    """y · weight + bias along the second axis."""
    shape = _per_channel(y.ndim, y.shape[1])
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def _normalized(x: Array, axes: Shape, eps: float) -> tuple[Array, Array, Array]:
    """(x - mean) / sqrt(variance + eps) over axes, with the mean and the (biased) variance, both with axes kept."""
    average = x.mean(axis=axes, keepdims=True)
    variance = ((x - average) ** 2).mean(axis=axes, keepdims=True)
    return (x - average) / np.sqrt(variance + eps), average, variance


def _slope(g: Any, xhat: Any, rstd: Any, average: Any) -> Any:
    """The chain rule of normalizing: what is left of g without its mean and its part along the normalized x.

    The same for arrays and tensors; `average` takes means over the normalized axes and keeps the axes.
    """
    return (g - average(g) - xhat * average(g * xhat)) * rstd


def _gradients(
    grad: Array, x: Array, weight: Array | None, average: Array, rstd: Array, view: Shape, axes: Shape
) -> tuple[Array, Array, Array]:
    """Gradients for x, weight and bias, where x in the shape `view` was normalized over `axes` of that."""
    xhat = (x.reshape(view) - average) * rstd
    g = _scaled(grad, weight, None).reshape(view)
    dx = _slope(g, xhat, rstd, lambda v: v.mean(axis=axes, keepdims=True)).reshape(x.shape)
    others = _all_but_channels(x.ndim)
    return dx, (grad * xhat.reshape(x.shape)).sum(axis=others), grad.sum(axis=others)


def _recorded_gradients(call: Call, grad: Tensor, view: Shape, axes: Shape) -> tuple[Tensor | None, ...]:
    """`_gradients` in steps that have chain rules of their own, for gradients that are themselves differentiated."""
    x, weight, _ = call.inputs
    seen = reshape(x, view)
    centred = sub(seen, mean(seen, axes, keepdim=True))
    rstd = rsqrt(add(mean(square(centred), axes, keepdim=True), call.attributes["eps"]))
    xhat = mul(centred, rstd)
    g = grad if weight is None else mul(grad, reshape(weight, _per_channel(x.ndim, x.shape[1])))
    dx = _slope(reshape(g, view), xhat, rstd, lambda v: mean(v, axes, keepdim=True))
    others = _all_but_channels(x.ndim)
    return (
        reshape(dx, x.shape),
        sum_over(mul(grad, reshape(xhat, x.shape)), others) if call.needs[1] else None,
        sum_over(grad, others) if call.needs[2] else None,
    )


def _wanted(call: Call, gradients: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    return tuple([g if needed else None for g, needed in zip(gradients, call.needs, strict=True)])


# --- terms -----------------------------------------------------------------------------------------------------------


def _statistic_terms(call: Call, group: Array, output: int, eps: float | None) -> Terms:
    """Mean (output 1) and variance (output 2; 1 / sqrt(variance + eps) if eps is given) of a group of numbers."""
    x = taken(call, "x", 0, group)
    count = constant("1 / count", 1 / max(len(group), 1), len(group))
    if output == 1:
        return Terms("sum", "Σ x / count", (Products("x", (x, count)),))
    centred = constant("x - mean", x.values - x.values.mean())
    products = Products("squared distances", (centred, centred, count))
    then = None if eps is None else ("1 / √(variance + eps)", lambda variance: float(1 / np.sqrt(variance + eps)))
    return Terms("sum", "Σ (x - mean)² / count", (products,), also=(x,), then=then)


def _normalized_terms(call: Call, place: Place, key: Place, rstd: Factor, group: Array) -> Terms:
    """(x - mean) / std · weight + bias, where output 1 of the call has the mean at `key`."""
    factors = [taken(call, "x", 0, [place]), rstd]
    shift = [taken(call, "mean", 1, [key], made=True), constant("sign", -1.0, 1), rstd]
    if call.inputs[1] is not None:
        weight = taken(call, "weight", 1, [place[1:2]])
        factors.append(weight)
        shift.append(weight)
    groups = [Products("x", tuple(factors)), Products("mean", tuple(shift))]
    if call.inputs[2] is not None:
        groups.append(Products("bias", (taken(call, "bias", 2, [place[1:2]]),)))
    return Terms("sum", "(x - mean) / std · weight + bias", tuple(groups), also=(taken(call, "x", 0, group),))


def _gradient_terms(
    call: Call, place: Place, output: int, view: Shape, axes: Shape, average: Array, rstd: Array
) -> Terms:
    """Terms of a normalization's gradients for input (output 0), weight (1) and bias (2); inputs: grad, x, weight."""
    if output == 0:
        weight = call.inputs[2]
        return normalized_slopes(call, place, view, axes, average, rstd, None if weight is None else weight.numpy())
    x = call.inputs[1]
    places = grid(*[place[0] if axis == 1 else range(n) for axis, n in enumerate(x.shape)])
    grad = taken(call, "grad", 0, places)
    if output == 2:
        return Terms("sum", "Σ grad", (Products("grad", (grad,)),))
    xhat = ((x.numpy().astype(np.float64).reshape(view) - average) * rstd).reshape(x.shape)[tuple(places.T)]
    also = (taken(call, "x", 1, places),)
    return Terms("sum", "Σ grad · normalized x", (Products("grad", (grad, constant("normalized x", xhat))),), also=also)


# --- batch norm ------------------------------------------------------------------------------------------------------


class BatchNorm(Op):
    """Each channel normalized over the batch and all pixels; also its mean and its biased variance."""

    name = "batch_norm"
    onnx = "BatchNormalization"
    saves_inputs = (0, 1)
    saves_outputs = (1, 2)

    def infer(self, x: Spec, weight: Spec | None, bias: Spec | None, *, eps: float) -> tuple[Spec, ...]:
        _check("batch_norm", x, weight, bias)
        statistic = Spec(x.shape[1:2], x.dtype)
        return x, statistic, statistic

    def reference(self, x: Array, weight: Array | None, bias: Array | None, *, eps: float) -> tuple[Array, ...]:
        y, average, variance = _normalized(x, _all_but_channels(x.ndim), eps)
        return _scaled(y, weight, bias), average.reshape(-1), variance.reshape(-1)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        channel = place[1] if output == 0 else place[0]
        group = grid(*[channel if axis == 1 else range(n) for axis, n in enumerate(call.inputs[0].shape)])
        if output:
            return _statistic_terms(call, group, output, None)
        variance = float(call.outputs[2].numpy()[channel])
        rstd = constant("1 / √(variance + eps)", 1 / np.sqrt(variance + call.attributes["eps"]), 1)
        return _normalized_terms(call, place, (channel,), rstd, group)

    def vjp(self, call: Call, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        x, weight, _ = call.inputs
        if is_grad_enabled():
            return _recorded_gradients(call, grad, x.shape, _all_but_channels(x.ndim))
        return _wanted(call, apply_all(BATCH_NORM_GRAD, grad, x, weight, *call.outputs[1:], **call.attributes))


class BatchNormGrad(Op):
    """The gradients of batch_norm for input, weight and bias."""

    name = "batch_norm_grad"

    def infer(
        self, grad: Spec, x: Spec, weight: Spec | None, average: Spec, variance: Spec, *, eps: float
    ) -> tuple[Spec, ...]:
        return x, average, average

    def reference(
        self, grad: Array, x: Array, weight: Array | None, average: Array, variance: Array, *, eps: float
    ) -> tuple[Array, ...]:
        shape = _per_channel(x.ndim, x.shape[1])
        rstd = (1 / np.sqrt(variance + eps)).reshape(shape)
        return _gradients(grad, x, weight, average.reshape(shape), rstd, x.shape, _all_but_channels(x.ndim))

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        x = call.inputs[1]
        shape = _per_channel(x.ndim, x.shape[1])
        average, variance = (t.numpy().astype(np.float64).reshape(shape) for t in call.inputs[3:])
        rstd = 1 / np.sqrt(variance + call.attributes["eps"])
        return _gradient_terms(call, place, output, x.shape, _all_but_channels(x.ndim), average, rstd)


class ChannelAffine(Op):
    """x · scale + shift, one number of each for a channel: batch norm with known statistics."""

    name = "channel_affine"

    def infer(self, x: Spec, scale: Spec, shift: Spec) -> Spec:
        _check("batch_norm", x, scale, shift)
        return x

    def reference(self, x: Array, scale: Array, shift: Array) -> Array:
        return _scaled(x, scale, shift)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        channel = [place[1:2]]
        product = (taken(call, "x", 0, [place]), taken(call, "scale", 1, channel))
        shift = Products("shift", (taken(call, "shift", 2, channel),))
        return Terms("sum", "x · scale + shift", (Products("product", product), shift))

    def saves(self, needs: tuple[bool, ...]) -> tuple[int, ...]:
        return tuple(i for i in (0, 1) if needs[1 - i])

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, _ = call.inputs
        others = _all_but_channels(x.ndim)
        return (
            mul(grad, reshape(scale, _per_channel(x.ndim, x.shape[1]))) if call.needs[0] else None,
            sum_over(mul(grad, x), others) if call.needs[1] else None,
            sum_over(grad, others) if call.needs[2] else None,
        )


# --- group norm ------------------------------------------------------------------------------------------------------


def _groups(x: Shape, num_groups: int) -> Shape:
    """(N, groups, all of a group)."""
    return (x[0], num_groups, math.prod(x[1:]) // num_groups)


class GroupNorm(Op):
    """The channels of each picture normalized in groups; also each group's mean and 1 / sqrt(variance + eps)."""

    name = "group_norm"
    onnx = "GroupNormalization"
    saves_inputs = (0, 1)
    saves_outputs = (1, 2)

    def infer(
        self, x: Spec, weight: Spec | None, bias: Spec | None, *, num_groups: int, eps: float
    ) -> tuple[Spec, ...]:
        _check("group_norm", x, weight, bias)
        if num_groups < 1 or x.shape[1] % num_groups:
            raise ValueError(f"group_norm: num_groups={num_groups} must divide the {x.shape[1]} channels of {x.shape}")
        statistic = Spec((x.shape[0], num_groups), x.dtype)
        return x, statistic, statistic

    def reference(
        self, x: Array, weight: Array | None, bias: Array | None, *, num_groups: int, eps: float
    ) -> tuple[Array, ...]:
        y, average, variance = _normalized(x.reshape(_groups(x.shape, num_groups)), (2,), eps)
        return _scaled(y.reshape(x.shape), weight, bias), average[:, :, 0], 1 / np.sqrt(variance[:, :, 0] + eps)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        shape, groups = call.inputs[0].shape, call.attributes["num_groups"]
        size = shape[1] // groups
        key = place if output else (place[0], place[1] // size)
        group = grid(key[0], range(key[1] * size, (key[1] + 1) * size), *map(range, shape[2:]))
        if output:
            return _statistic_terms(call, group, output, call.attributes["eps"])
        return _normalized_terms(call, place, key, taken(call, "1 / std", 2, [key], made=True), group)

    def vjp(self, call: Call, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        x, weight, _ = call.inputs
        num_groups = call.attributes["num_groups"]
        if is_grad_enabled():
            return _recorded_gradients(call, grad, _groups(x.shape, num_groups), (2,))
        return _wanted(call, apply_all(GROUP_NORM_GRAD, grad, x, weight, *call.outputs[1:], num_groups=num_groups))


class GroupNormGrad(Op):
    """The gradients of group_norm for input, weight and bias."""

    name = "group_norm_grad"

    def infer(
        self, grad: Spec, x: Spec, weight: Spec | None, average: Spec, rstd: Spec, *, num_groups: int
    ) -> tuple[Spec, ...]:
        statistic = Spec(x.shape[1:2], x.dtype)
        return x, statistic, statistic

    def reference(
        self, grad: Array, x: Array, weight: Array | None, average: Array, rstd: Array, *, num_groups: int
    ) -> tuple[Array, ...]:
        view = _groups(x.shape, num_groups)
        return _gradients(grad, x, weight, average[:, :, None], rstd[:, :, None], view, (2,))

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        view = _groups(call.inputs[1].shape, call.attributes["num_groups"])
        average, rstd = (t.numpy().astype(np.float64)[:, :, None] for t in call.inputs[3:])
        return _gradient_terms(call, place, output, view, (2,), average, rstd)


# --- layer norm ------------------------------------------------------------------------------------------------------


class LayerNorm(Op):
    """Each row of (rows, features) normalized; also each row's mean and 1 / sqrt(variance + eps)."""

    name = "layer_norm"
    onnx = "LayerNormalization"
    saves_inputs = (0, 1)
    saves_outputs = (1, 2)

    def infer(self, x: Spec, weight: Spec | None, bias: Spec | None, *, eps: float) -> tuple[Spec, ...]:
        _check("layer_norm", x, weight, bias)
        statistic = Spec(x.shape[:1], x.dtype)
        return x, statistic, statistic

    def reference(self, x: Array, weight: Array | None, bias: Array | None, *, eps: float) -> tuple[Array, ...]:
        y, average, variance = _normalized(x, (1,), eps)
        return _scaled(y, weight, bias), average[:, 0], 1 / np.sqrt(variance[:, 0] + eps)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        group = grid(place[0], range(call.inputs[0].shape[1]))
        if output:
            return _statistic_terms(call, group, output, call.attributes["eps"])
        return _normalized_terms(call, place, place[:1], taken(call, "1 / std", 2, [place[:1]], made=True), group)

    def vjp(self, call: Call, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        x, weight, _ = call.inputs
        if is_grad_enabled():
            return _recorded_gradients(call, grad, x.shape, (1,))
        return _wanted(call, apply_all(LAYER_NORM_GRAD, grad, x, weight, *call.outputs[1:]))


class LayerNormGrad(Op):
    """The gradients of layer_norm for input, weight and bias."""

    name = "layer_norm_grad"

    def infer(self, grad: Spec, x: Spec, weight: Spec | None, average: Spec, rstd: Spec) -> tuple[Spec, ...]:
        parameter = Spec(x.shape[1:], x.dtype)
        return x, parameter, parameter

    def reference(self, grad: Array, x: Array, weight: Array | None, average: Array, rstd: Array) -> tuple[Array, ...]:
        return _gradients(grad, x, weight, average[:, None], rstd[:, None], x.shape, (1,))

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        average, rstd = (t.numpy().astype(np.float64)[:, None] for t in call.inputs[3:])
        return _gradient_terms(call, place, output, call.inputs[1].shape, (1,), average, rstd)


BATCH_NORM = define(BatchNorm)
BATCH_NORM_GRAD = define(BatchNormGrad)
CHANNEL_AFFINE = define(ChannelAffine)
GROUP_NORM = define(GroupNorm)
GROUP_NORM_GRAD = define(GroupNormGrad)
LAYER_NORM = define(LayerNorm)
LAYER_NORM_GRAD = define(LayerNormGrad)


# --- public functions ------------------------------------------------------------------------------------------------


def _update(running: Tensor | None, value: Tensor, momentum: float) -> None:
    """running := (1 - momentum) · running + momentum · value, in place."""
    if running is not None and not running.is_meta:
        apply_into(EMA_STEP, (running, value, _decay(1 - momentum, running.dtype)), (running,))


@functools.lru_cache(maxsize=64)
def _decay(decay: float, dtype: np.dtype[Any]) -> Tensor:
    return Tensor.from_array(np.array([decay], dtype))


def _check_running(name: str, x: Tensor, **running: Tensor | None) -> None:
    for role, statistic in running.items():
        if statistic is not None and statistic.shape != x.shape[1:2]:
            raise ValueError(f"{name}: {role} has shape {statistic.shape}, input {x.shape} wants {x.shape[1:2]}")


def _spread(*shape: int) -> Any:
    """Positive numbers, as variances are."""
    return S(*shape, kind="uniform", low=0.5, high=2.0)


_STATISTICS = (1, 2)


# Normalizing divides by the spread of the numbers, so errors of the mean weigh as much as those of single numbers do.
@function(
    Case(S(4, 3, 5, 6), S(3), _spread(3), S(3), S(3), True, fixed=_STATISTICS),
    Case(S(2, 17, 3, 4), S(17), _spread(17), S(17), S(17), True, 0.3, 1e-3, fixed=_STATISTICS),
    Case(S(8, 33), S(33), _spread(33), S(33), S(33), True, fixed=_STATISTICS),
    Case(S(2, 16, 7, 7), None, None, S(16), S(16), True),
    Case(S(3, 5, 4), S(5), _spread(5), None, None, True, fixed=_STATISTICS),
    Case(S(4, 3, 5, 6), S(3), _spread(3), S(3), S(3), fixed=_STATISTICS),
    Case(S(2, 17, 3, 4), S(17), _spread(17), S(17), S(17), False, 0.1, 1e-3, fixed=_STATISTICS),
    Case(S(2, 8, 3, 1), S(8), _spread(8), fixed=_STATISTICS),
    Case(S(4, 5), S(5), _spread(5), S(5), S(5), fixed=_STATISTICS),
    Case(S(0, 3, 2, 2), S(3), _spread(3), S(3), S(3), fixed=_STATISTICS),
    torch="nn.functional.batch_norm",
    rtol=5e-6,
)
def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalizes each channel, then scales and shifts it. x (N, C) or (N, C, ...), all others (C) -> shape of x.

    With `training` by the mean and variance of this batch, which also move the running statistics, in place, by
    `momentum` (the variance as that of a sample: divided by n - 1); otherwise by the running statistics. Raises
    ValueError where there is only one number for a channel in training, or no running statistics otherwise. Ioffe and
    Szegedy 2015, Batch Normalization.

    >>> import coolnn as cool
    >>> x = cool.tensor([[1.0], [3.0]])
    >>> [round(v, 3) for v in cool.ops.batch_norm(x, None, None, training=True).flatten().tolist()]
    [-1.0, 1.0]
    """
    _check_running("batch_norm", x, running_mean=running_mean, running_var=running_var)
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError(
                "batch_norm: without training it needs running_mean and running_var; or pass training=True"
            )
        scale = rsqrt(add(running_var, eps))
        if weight is not None:
            scale = mul(weight, scale)
        shift = mul(running_mean, scale)
        return apply(CHANNEL_AFFINE, x, scale, neg(shift) if bias is None else sub(bias, shift))
    count = x.size // x.shape[1] if x.ndim > 1 and x.shape[1] else 0
    if count < 2 and x.ndim > 1:
        raise ValueError(
            f"batch_norm: training needs more than one number for each channel, input has shape {x.shape}; "
            "use a larger batch or eval()"
        )
    y, average, variance = apply_all(BATCH_NORM, x, weight, bias, eps=float(eps))
    if running_mean is not None or running_var is not None:
        with no_grad():
            _update(running_mean, average, momentum)
            _update(running_var, mul(variance, count / (count - 1)), momentum)
    return y


@function(
    Case(S(4, 3, 5, 6)),
    Case(S(2, 17, 3, 4), weight=S(17), bias=S(17)),
    Case(S(3, 5, 4, 2), S(5), _spread(5), S(5), S(5), momentum=0.3, fixed=_STATISTICS),
    Case(S(3, 5, 4, 2), S(5), _spread(5), S(5), S(5), use_input_stats=False, fixed=_STATISTICS),
    Case(S(2, 3, 7), weight=S(3), bias=S(3), eps=1e-3),
    torch="nn.functional.instance_norm",
    rtol=1e-5,
)
def instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalizes each channel of each picture, then scales and shifts. x (N, C, ...), all others (C) -> shape of x.

    Running statistics, where given, move in place by `momentum`; without `use_input_stats` they are what is used.
    Raises ValueError where a channel has only one number. Ulyanov et al. 2016, Instance Normalization.

    >>> import coolnn as cool
    >>> x = cool.tensor([[[1.0, 3.0]]])
    >>> [round(v, 3) for v in cool.ops.instance_norm(x).flatten().tolist()]
    [-1.0, 1.0]
    """
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    _check_running("instance_norm", x, running_mean=running_mean, running_var=running_var)
    count = math.prod(x.shape[2:])
    if x.ndim < 3 or count < 2:
        raise ValueError(f"instance_norm: each channel needs more than one number, input has shape {x.shape}")
    y, average, rstd = apply_all(GROUP_NORM, x, weight, bias, num_groups=x.shape[1], eps=float(eps))
    if running_mean is not None or running_var is not None:
        with no_grad():
            _update(running_mean, mean(average, 0), momentum)
            variance = mean(sub(reciprocal(square(rstd)), eps), 0)
            _update(running_var, mul(variance, count / (count - 1)), momentum)
    return y


@function(
    Case(S(2, 6, 5, 4), 3, S(6), S(6)),
    Case(S(2, 6, 5, 4), 1),
    Case(S(1, 32, 3, 3), 8, S(32), S(32)),
    Case(S(3, 34, 2, 2), 2, S(34), S(34), 1e-3),
    Case(S(3, 6, 7), 2, S(6)),
    Case(S(3, 12), 3, S(12), S(12)),
    Case(S(0, 6, 2, 2), 3, S(6), S(6)),
    torch="nn.functional.group_norm",
    rtol=1e-5,
)
def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalizes groups of channels of each picture, then scales and shifts channels. x (N, C, ...) -> shape of x.

    weight and bias (C). Raises ValueError where `num_groups` does not divide C. Wu and He 2018, Group Normalization.

    >>> import coolnn as cool
    >>> x = cool.tensor([[1.0, 3.0, 5.0, 5.0]])
    >>> [round(v, 3) for v in cool.ops.group_norm(x, 2).flatten().tolist()]
    [-1.0, 1.0, 0.0, 0.0]
    """
    return apply_all(GROUP_NORM, x, weight, bias, num_groups=num_groups, eps=float(eps))[0]


@function(
    Case(S(5, 7), (7,), S(7), S(7)),
    Case(S(5, 7), 7, torch=False),
    Case(S(3, 33), (33,)),
    Case(S(2, 3, 16), (16,), S(16), S(16), 1e-3),
    Case(S(2, 3, 4, 5), (3, 4, 5), S(3, 4, 5), S(3, 4, 5)),
    Case(S(2, 3, 4, 5), (5,), S(5)),
    Case(S(6), (6,), S(6), S(6)),
    Case(S(0, 4), (4,), S(4), S(4)),
    torch="nn.functional.layer_norm",
    rtol=1e-5,
)
def layer_norm(
    x: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalizes over the last axes, those of `normalized_shape`, then scales and shifts. x (..., *shape) -> same.

    weight and bias have `normalized_shape`. Raises ValueError where x does not end in it. Ba et al. 2016, Layer
    Normalization.

    >>> import coolnn as cool
    >>> x = cool.tensor([[1.0, 3.0]])
    >>> [round(v, 3) for v in cool.ops.layer_norm(x, 2).flatten().tolist()]
    [-1.0, 1.0]
    """
    shape = as_shape(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(f"layer_norm: input of shape {x.shape} does not end in normalized_shape={shape}")
    for role, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and parameter.shape != shape:
            raise ValueError(f"layer_norm: {role} has shape {parameter.shape}, not normalized_shape={shape}")
    features = math.prod(shape)
    rows = math.prod(x.shape[: -len(shape)])
    y = apply_all(
        LAYER_NORM,
        reshape(x, (rows, features)),
        None if weight is None else reshape(weight, (features,)),
        None if bias is None else reshape(bias, (features,)),
        eps=float(eps),
    )[0]
    return reshape(y, x.shape)


@function(
    Case(S(2, 7, 4, 5), S(7), S(7)),
    Case(S(2, 33, 3, 1), S(33), S(33), 1e-3),
    Case(S(3, 16, 1, 1)),
    Case(S(0, 4, 2, 2), S(4), S(4)),
    rtol=1e-5,
)
def layer_norm2d(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Normalizes the channels of each pixel, then scales and shifts them. x (N, C, H, W) -> the same; weight, bias (C).

    Layer norm (Ba et al. 2016) as ConvNeXt has it. Raises ValueError for other shapes.

    >>> import coolnn as cool
    >>> x = cool.tensor([[[[1.0]], [[3.0]]]])
    >>> [round(v, 3) for v in cool.ops.layer_norm2d(x).flatten().tolist()]
    [-1.0, 1.0]
    """
    if x.ndim != 4:
        raise ValueError(f"layer_norm2d: takes pictures (N, C, H, W), not shape {x.shape}")
    rows = apply(PIXELS_TO_ROWS, x)
    return apply(ROWS_TO_PIXELS, layer_norm(rows, x.shape[1], weight, bias, eps), shape=x.shape)


@function(
    Case(S(2, 7, 4, 5), 5),
    Case(S(2, 6, 3, 3), 4, 0.1, 0.5, 2.0),
    Case(S(2, 5, 6), 3),
    torch="nn.functional.local_response_norm",
    rtol=5e-6,
)
def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divides by (k + alpha · mean square of `size` neighbouring channels) to the power beta. x (N, C, ...) -> same.

    Krizhevsky et al. 2012, ImageNet Classification with Deep Convolutional Neural Networks.

    >>> import coolnn as cool
    >>> cool.ops.local_response_norm(cool.ones(1, 1, 1, 1), 1, alpha=3.0, beta=0.5).item()
    0.5
    """
    if x.ndim < 3:
        raise ValueError(f"local_response_norm: input must be (N, C, ...), not shape {x.shape}")
    column = (x.shape[0], 1, x.shape[1], math.prod(x.shape[2:]))
    squares = reshape(square(x), column)
    means = avg_pool2d(squares, (size, 1), 1, (size // 2, 0, (size - 1) // 2, 0))
    return div(x, pow(add(mul(reshape(means, x.shape), alpha), k), beta))
