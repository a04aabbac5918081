"""Several operations in one, so that no result is written only to be read again: made by passes over a graph alone.

Each is defined by the operations that it stands for: its reference runs theirs, and its kernel must give the same.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Call
from ..spec import Spec, int32
from .conv import CONV2D
from .linear import LINEAR
from .op import Array, Op, define
from .pool import MAX_POOL2D
from .terms import Place, Products, Terms, taken
from .window import Pair

__all__: list[str] = []


def _finished(y: Array, residual: Array | None, low: float, high: float) -> Array:
    if residual is not None:
        y = y + residual
    return np.asarray(np.minimum(np.maximum(y, y.dtype.type(low)), y.dtype.type(high)))


def _finished_terms(terms: Terms, call: Call, place: Place) -> Terms:
    low, high = call.attributes["low"], call.attributes["high"]
    if call.inputs[3] is not None:
        residual = Products("residual", (taken(call, "residual", 3, [place]),))
        terms = terms._replace(groups=(*terms.groups, residual), formula=f"{terms.formula} + residual")
    return terms._replace(then=(f"brought between {low:g} and {high:g}", lambda total: min(max(total, low), high)))


class LinearFused(Op):
    """clamp(linear(x, weight, bias) + residual, low, high): a ReLU is a clamp to [0, inf)."""

    name = "linear_fused"
    weight_input = 1

    def infer(
        self, x: Spec, weight: Spec, bias: Spec | None, residual: Spec | None, *, low: float, high: float
    ) -> Spec:
        y = LINEAR.infer(x, weight, bias)
        if residual is not None and residual != y:
            raise ValueError(f"linear_fused: residual is {residual}, the result {y}")
        return y

    def reference(
        self, x: Array, weight: Array, bias: Array | None, residual: Array | None, *, low: float, high: float
    ) -> Array:
        return _finished(LINEAR.reference(x, weight, bias), residual, low, high)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        inner = Call(LINEAR, call.inputs[:3], call.outputs, {})
        return _finished_terms(LINEAR.terms(inner, place), call, place)

    def macs(self, inputs: tuple[Any, ...], outputs: tuple[Spec, ...], **attributes: Any) -> int:
        return LINEAR.macs(inputs, outputs)


class Conv2dFused(Op):
    """clamp(conv2d(x, weight, bias) + residual, low, high), then the maximum over pool × pool windows.

    `size_before_pool` is the convolution's height and width; windows that would reach beyond it are left out. With
    `indices` the second output tells where each maximum was, as that of max_pool2d does.
    """

    name = "conv2d_fused"
    weight_input = 1

    def infer(
        self,
        x: Spec,
        weight: Spec,
        bias: Spec | None,
        residual: Spec | None,
        *,
        low: float,
        high: float,
        pool: int,
        size_before_pool: Pair,
        indices: bool = False,
        **conv: Any,
    ) -> Spec | tuple[Spec, Spec]:
        y = CONV2D.infer(x, weight, bias, **conv)
        if residual is not None and residual != y:
            raise ValueError(f"conv2d_fused: residual is {residual}, the convolution's result {y}")
        if y.shape[2:] != size_before_pool:
            raise ValueError(f"conv2d_fused: size_before_pool={size_before_pool}, the convolution gives {y.shape[2:]}")
        pooled = Spec((*y.shape[:2], *(n // pool for n in size_before_pool)), y.dtype)
        return (pooled, Spec(pooled.shape, int32)) if indices else pooled

    def reference(
        self,
        x: Array,
        weight: Array,
        bias: Array | None,
        residual: Array | None,
        *,
        low: float,
        high: float,
        pool: int,
        size_before_pool: Pair,
        indices: bool = False,
        **conv: Any,
    ) -> Array | tuple[Array, Array]:
        y = _finished(CONV2D.reference(x, weight, bias, **conv), residual, low, high)
        if indices:
            sizes: dict[str, Any] = dict(kernel_size=(pool, pool), stride=(pool, pool), dilation=(1, 1))
            pooled_size = (size_before_pool[0] // pool, size_before_pool[1] // pool)
            return MAX_POOL2D.reference(y, padding=(0, 0, 0, 0), output_size=pooled_size, **sizes)
        h, w = (n // pool for n in size_before_pool)
        windows = y[:, :, : h * pool, : w * pool].reshape(*y.shape[:2], h, pool, w, pool)
        return np.asarray(windows.max((3, 5)))

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        (n, c, h, w), pool = place, call.attributes["pool"]
        own = ("low", "high", "pool", "size_before_pool")
        conv = Call(CONV2D, call.inputs[:3], (), {k: v for k, v in call.attributes.items() if k not in own})
        before = [(n, c, h * pool + i, w * pool + j) for i, j in np.ndindex(pool, pool)]
        found = [_finished_terms(CONV2D.terms(conv, at), call, at) for at in before]
        return max(found, key=lambda terms: terms.total)

    def macs(self, inputs: tuple[Any, ...], outputs: tuple[Spec, ...], **attributes: Any) -> int:
        pictures, channels = outputs[0].shape[:2]
        positions: int = math.prod(attributes["size_before_pool"])
        return pictures * channels * positions * int(math.prod(inputs[1].shape[1:]))


LINEAR_FUSED = define(LinearFused)
CONV2D_FUSED = define(Conv2dFused)
