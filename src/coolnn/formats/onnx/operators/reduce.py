"""Reductions, and what goes along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .... import ops
from ....ops.operands import cast, real
from ....tensor import Tensor
from .registry import array, axes_of, axis_of, integers, number


def _over(x: Tensor, axes: Tensor | None, noop: int) -> tuple[int, ...] | None:
    """The axes to reduce; None where there is nothing to do."""
    given = [] if axes is None else integers(axes, "the axes of a reduction")
    if not given:
        return None if noop else tuple(range(x.ndim))
    return axes_of(given, x.ndim)


def _reduced(
    x: Tensor, dims: tuple[int, ...], keepdims: int, start: float | bool | None, reduce: Callable[..., Tensor]
) -> Tensor:
    """A reduction; over no numbers at all it is what it starts from."""
    if 0 in [x.shape[d] for d in dims] and start is not None:
        shape = [1 if i in dims else n for i, n in enumerate(x.shape) if keepdims or i not in dims]
        return array(np.full(shape, start, x.dtype))
    return reduce(x, dims, bool(keepdims)) if dims else reduce(x.reshape(*x.shape, 1), (x.ndim,), False)


def _reduction(
    function: Callable[..., Tensor], before: Callable[[Tensor], Tensor] | None, after: Any, start: Any
) -> Callable[..., Tensor]:
    def run(x: Tensor, axes: Tensor | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
        dims = _over(x, axes, noop_with_empty_axes)
        y = x if before is None else before(x)
        if dims is not None:
            y = _reduced(y, dims, keepdims, start(y) if callable(start) else start, function)
        y = y if after is None else after(y)
        return cast(y, x.dtype)

    return run


def _least(x: Tensor) -> Any:
    return {"f": -np.inf, "b": False}.get(x.dtype.kind, np.iinfo(x.dtype).min if x.dtype.kind in "iu" else None)


def _most(x: Tensor) -> Any:
    return {"f": np.inf, "b": True}.get(x.dtype.kind, np.iinfo(x.dtype).max if x.dtype.kind in "iu" else None)


def _mean(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    if x.dtype.kind == "f":
        return ops.mean(x, dims, keepdim)
    count = 1
    for d in dims:
        count *= x.shape[d]
    return ops.trunc_div(ops.sum(x, dims, keepdim), count)


def _log_sum_exp(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    largest = ops.amax(x, dims, keepdim=True)
    finite = ops.where(ops.isinf(largest), 0.0, largest)
    y = ops.log(ops.sum(ops.exp(x - finite), dims, keepdim=True)) + finite
    return y if keepdim else ops.squeeze(y, dims)


ReduceSum = _reduction(ops.sum, None, None, 0)
ReduceMean = _reduction(_mean, None, None, float("nan"))
ReduceProd = _reduction(ops.prod, None, None, 1)
ReduceMax = _reduction(ops.amax, None, None, _least)
ReduceMin = _reduction(ops.amin, None, None, _most)
ReduceL1 = _reduction(ops.sum, ops.abs, None, 0)
ReduceSumSquare = _reduction(ops.sum, ops.square, None, 0)
ReduceL2 = _reduction(ops.sum, lambda x: ops.square(real(x)), ops.sqrt, 0)
ReduceLogSum = _reduction(ops.sum, real, ops.log, 0)
ReduceLogSumExp = _reduction(_log_sum_exp, real, None, float("-inf"))


def ArgMax(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    return _arg(ops.argmax, x, axis, keepdims, select_last_index)


def ArgMin(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    return _arg(ops.argmin, x, axis, keepdims, select_last_index)


def _arg(function: Callable[..., Tensor], x: Tensor, axis: int, keepdims: int, last: int) -> Tensor:
    axis = axis_of(axis, x.ndim)
    if not last:
        return function(x, axis, bool(keepdims))
    return (x.shape[axis] - 1) - function(ops.flip(x, axis), axis, bool(keepdims))


def CumSum(x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    dim = axis_of(int(number(axis, "the axis of CumSum")), x.ndim)
    return ops.cumsum(x, dim, bool(exclusive), bool(reverse))


def TopK(x: Tensor, k: Tensor, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple[Tensor, Tensor]:
    return ops.topk(x, int(number(k, "k of TopK")), axis_of(axis, x.ndim), bool(largest))
