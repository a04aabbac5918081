"""Picking and putting by index, and what depends on the numbers themselves."""

from __future__ import annotations

import math

import numpy as np

from .... import ops
from ....autograd import apply
from ....ops.index import TAKE
from ....ops.scatter import CHECK_INDEX, PUT_ROWS
from ....tensor import Tensor
from .registry import array, axis_of, numbers


def _places(index: Tensor, length: int) -> Tensor:
    """Places of an axis from 0 on; raises IndexError, when it runs, for places that are not there."""
    return apply(CHECK_INDEX, index, length=length)


def _take(x: Tensor, places: Tensor, axis: int) -> Tensor:
    taken = apply(TAKE, x, places.reshape(-1), dim=axis)
    return taken.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])


def Gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    axis = axis_of(axis, x.ndim)
    return _take(x, _places(indices, x.shape[axis]), axis)


def _linear(shape: tuple[int, ...], places: Tensor, axis: int) -> Tensor:
    """Places along one axis as places in the flattened tensor; along other axes each is its own."""
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    rest = np.zeros(places.shape, np.int64)
    for i, grid in enumerate(np.indices(places.shape, sparse=True)):
        if i != axis:
            rest = rest + grid * strides[i]
    return places * strides[axis] + array(rest)


def GatherElements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    axis = axis_of(axis, x.ndim)
    places = _linear(x.shape, _places(indices, x.shape[axis]), axis)
    return _take(x.reshape(-1), places, 0)


def _tuples(indices: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Index tuples along the last axis as places in the flattened axes of these lengths."""
    place: Tensor | None = None
    for i, length in enumerate(lengths):
        one = _places(indices[..., i], length)
        place = one if place is None else place * length + one
    return array(np.zeros(indices.shape[:-1], np.int64)) if place is None else place


def GatherND(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    depth = indices.shape[-1]
    batch, lengths, rest = x.shape[:batch_dims], x.shape[batch_dims : batch_dims + depth], x.shape[batch_dims + depth :]
    places = _tuples(indices, lengths)
    if batch:
        first = np.arange(math.prod(batch)).reshape(*batch, *[1] * (places.ndim - batch_dims)) * math.prod(lengths)
        places = places + array(first)
    return _take(x.reshape(math.prod(batch) * math.prod(lengths), *rest), places, 0)


def ScatterElements(x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none") -> Tensor:
    axis = axis_of(axis, x.ndim)
    places = _linear(x.shape, _places(indices, x.shape[axis]), axis)
    flat = apply(PUT_ROWS, x.reshape(-1), places.reshape(-1), updates.reshape(-1), reduction=reduction)
    return flat.reshape(x.shape)


def Scatter(x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0) -> Tensor:
    return ScatterElements(x, indices, updates, axis=axis)


def ScatterND(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    depth = indices.shape[-1]
    lengths, rest = x.shape[:depth], x.shape[depth:]
    places = _tuples(indices, lengths).reshape(-1)
    rows = apply(
        PUT_ROWS,
        x.reshape(math.prod(lengths), math.prod(rest)),
        places,
        updates.reshape(places.size, math.prod(rest)),
        reduction=reduction,
    )
    return rows.reshape(x.shape)


def ReverseSequence(x: Tensor, sequence_lens: Tensor, *, batch_axis: int = 1, time_axis: int = 0) -> Tensor:
    batch, time = axis_of(batch_axis, x.ndim), axis_of(time_axis, x.ndim)
    steps = array(np.arange(x.shape[time]))
    lengths = ops.unsqueeze(ops.cast(sequence_lens, "int64"), 1)
    places = ops.where(steps < lengths, lengths - 1 - steps, steps)  # (batch, time)
    order = (batch, time, *(i for i in range(x.ndim) if i not in (batch, time)))
    moved = x.permute(order)
    rows = moved.reshape(moved.shape[0] * moved.shape[1], *moved.shape[2:])
    taken = _take(rows, places + array(np.arange(x.shape[batch])[:, None] * x.shape[time]), 0)
    return taken.permute(tuple(int(i) for i in np.argsort(order)))


# --- results whose number depends on the numbers ---------------------------------------------------------------------


def NonZero(x: Tensor) -> Tensor:
    return array(np.stack(np.nonzero(np.atleast_1d(numbers(x, "the result of NonZero")))), np.int64)


def Compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    kept = np.flatnonzero(numbers(condition, "the condition of Compress"))
    return ops.take(x.reshape(-1), kept) if axis is None else ops.take(x, kept, axis_of(axis, x.ndim))


def Unique(x: Tensor, *, axis: int | None = None, sorted: int = 1, outputs: int = 1) -> tuple[Tensor, ...]:
    given = numbers(x, "the result of Unique")
    if axis is None:
        given = given.reshape(-1)
    dim = 0 if axis is None else axis_of(axis, x.ndim)
    values, first, inverse, counts = np.unique(given, True, True, True, axis=dim)
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first)
        values, first, counts = np.take(values, order, dim), first[order], counts[order]
        inverse = np.argsort(order)[inverse]
    return tuple([array(values), *(array(v, np.int64) for v in (first, inverse, counts))][:outputs])
