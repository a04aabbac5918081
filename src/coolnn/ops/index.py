"""Picking numbers by index: take, gather, and x[...]."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Call, apply
from ..spec import Shape, Spec, int64
from ..tensor import Operand, Tensor, from_numpy
from .axes import broadcast_shapes, one_axis
from .op import Array, Case, Op, S, define, function
from .operands import as_tensor
from .shape import cut, flip, permute, reshape
from .terms import Place, Products, Terms, grid, moved, taken

__all__ = ["gather", "getitem", "index_select", "take"]


class Take(Op):
    """The places of an axis that an index names, in its order."""

    name = "take"
    onnx = "Gather"
    saves_inputs = (1,)

    def infer(self, x: Spec, index: Spec, dim: int) -> Spec:
        return Spec((*x.shape[:dim], index.shape[0], *x.shape[dim + 1 :]), x.dtype)

    def reference(self, x: Array, index: Array, dim: int) -> Array:
        return np.take(x, index, dim)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return moved(call, place)

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor, None]:
        x, index = call.inputs
        dim = call.attributes["dim"]
        return apply(TAKE_GRAD, grad, index, dim=dim, size=x.shape[dim]), None


class TakeGrad(Op):
    """The upstream gradient added up at the places that it was taken from."""

    name = "take_grad"
    saves_inputs = (1,)

    def infer(self, grad: Spec, index: Spec, dim: int, size: int) -> Spec:
        return Spec((*grad.shape[:dim], size, *grad.shape[dim + 1 :]), grad.dtype)

    def reference(self, grad: Array, index: Array, dim: int, size: int) -> Array:
        full = np.zeros((*grad.shape[:dim], size, *grad.shape[dim + 1 :]), grad.dtype)
        np.add.at(np.moveaxis(full, dim, 0), index, np.moveaxis(grad, dim, 0))
        return full

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        dim = call.attributes["dim"]
        from_here = np.flatnonzero(call.inputs[1].numpy() == place[dim])
        places = grid(*place[:dim], from_here.tolist(), *place[dim + 1 :])
        return Terms("sum", "Σ grad of what was taken here", (Products("grad", (taken(call, "grad", 0, places),)),))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor, None]:
        return apply(TAKE, grad, call.inputs[1], dim=call.attributes["dim"]), None


class Gather(Op):
    """y[i, j, ...] = x with index[i, j, ...] in place of i, j, ... along one axis."""

    name = "gather"
    onnx = "GatherElements"
    saves_inputs = (1,)

    def infer(self, x: Spec, index: Spec, dim: int) -> Spec:
        return Spec(index.shape, x.dtype)

    def reference(self, x: Array, index: Array, dim: int) -> Array:
        return np.take_along_axis(x, index, dim)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return moved(call, place)

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor, None]:
        x, index = call.inputs
        dim = call.attributes["dim"]
        return apply(GATHER_GRAD, grad, index, dim=dim, size=x.shape[dim]), None


class GatherGrad(Op):
    """The upstream gradient added up at the places that it was gathered from."""

    name = "gather_grad"
    saves_inputs = (1,)

    def infer(self, grad: Spec, index: Spec, dim: int, size: int) -> Spec:
        return Spec((*grad.shape[:dim], size, *grad.shape[dim + 1 :]), grad.dtype)

    def reference(self, grad: Array, index: Array, dim: int, size: int) -> Array:
        full = np.zeros((*grad.shape[:dim], size, *grad.shape[dim + 1 :]), grad.dtype)
        places: list[Array] = list(np.indices(index.shape, sparse=True))
        places[dim] = index
        np.add.at(full, tuple(places), grad)
        return full

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        dim, index = call.attributes["dim"], call.inputs[1].numpy()
        places = grid(*place[:dim], range(index.shape[dim]), *place[dim + 1 :])
        places = places[(places < index.shape).all(axis=1)]
        places = places[index[tuple(places.T)] == place[dim]]
        return Terms("sum", "Σ grad of what was gathered here", (Products("grad", (taken(call, "grad", 0, places),)),))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor, None]:
        return apply(GATHER, grad, call.inputs[1], dim=call.attributes["dim"]), None


TAKE = define(Take)
TAKE_GRAD = define(TakeGrad)
GATHER = define(Gather)
GATHER_GRAD = define(GatherGrad)


def _checked_index(index: Any, length: int) -> Array:
    """An index as an int64 array without negative numbers; raises TypeError or IndexError for one that is none."""
    array = np.asarray(index)
    if array.size == 0 and not isinstance(index, np.ndarray | Tensor):
        array = array.astype(int64)  # an empty list
    if array.dtype.kind not in "iu":
        raise TypeError(f"an index holds whole numbers, not {array.dtype}")
    array = array.astype(int64)
    outside = (array < -length) | (array >= length)
    if outside.any():
        raise IndexError(f"index {array[outside].flat[0]} is out of range for an axis of length {length}")
    return np.where(array < 0, array + length, array)


@function(
    Case(S(2, 6, 5, 7), np.array([0, 5, 5, 2]), 1),
    Case(S(2, 6, 5, 7), np.array([4, 0]), 2),
    Case(S(6, 3), np.array([[1, -1], [0, 3]])),
    Case(S(6), np.array([], np.int64)),
)
def take(x: Operand, index: Operand | Sequence[int], dim: int = 0) -> Tensor:
    """The places of the axis `dim` that `index` names (negative: from the end); the index's shape replaces the axis.

    Raises IndexError for a place that is not there, TypeError for an index that is not of whole numbers.

    >>> import coolnn as cool
    >>> cool.ops.take(cool.tensor([10, 20, 30]), [2, 0, 2]).tolist()
    [30, 10, 30]
    """
    x = as_tensor(x)
    dim = one_axis(dim, x.ndim)
    places = _checked_index(index, x.shape[dim])
    taken = apply(TAKE, x, from_numpy(places.reshape(-1)), dim=dim)
    return reshape(taken, (*x.shape[:dim], *places.shape, *x.shape[dim + 1 :]))


def index_select(x: Operand, dim: int, index: Operand | Sequence[int]) -> Tensor:
    """`take` in PyTorch's order of arguments.

    >>> import coolnn as cool
    >>> cool.ops.index_select(cool.tensor([10, 20, 30]), 0, [2, 0]).tolist()
    [30, 10]
    """
    return take(x, index, dim)


@function(
    Case(S(3, 5), 1, np.array([[0, 0], [4, 1], [2, 3]])),
    Case(S(2, 3, 4, 5), 3, np.arange(24).reshape(2, 3, 4, 1) % 5),
    Case(S(4, 5), 0, np.array([[3, 1, 1]])),
)
def gather(x: Operand, dim: int, index: Operand | Sequence[Any]) -> Tensor:
    """One number for each place of `index`: y[i, j] = x[i, index[i, j]] for dim=1, and so on for other axes and ranks.

    `index` has as many axes as x and is not longer along the others. Raises IndexError for a place that is not there,
    ValueError where the shapes do not go together.

    >>> import coolnn as cool
    >>> cool.ops.gather(cool.tensor([[1, 2], [3, 4]]), 1, [[1], [0]]).tolist()
    [[2], [3]]
    """
    x = as_tensor(x)
    dim = one_axis(dim, x.ndim)
    places = _checked_index(index, x.shape[dim])
    fits = places.ndim == x.ndim and all(
        m <= n for i, (m, n) in enumerate(zip(places.shape, x.shape, strict=True)) if i != dim
    )
    if not fits:
        raise ValueError(f"gather along axis {dim}: an index of shape {places.shape} does not fit shape {x.shape}")
    window = tuple([n if i == dim else m for i, (m, n) in enumerate(zip(places.shape, x.shape, strict=True))])
    if window != x.shape:
        x = cut(x, [(0, n, 1) for n in window])
    return apply(GATHER, x, from_numpy(places), dim=dim)


# --- x[...] ----------------------------------------------------------------------------------------------------------


def _complete(index: Any, rank: int) -> list[Any]:
    """The index as a list with one entry for each axis (masks stand for several) and for each None."""
    entries = [e.numpy() if isinstance(e, Tensor) else e for e in (index if isinstance(index, tuple) else (index,))]
    entries = [np.asarray(e) if isinstance(e, list) else e for e in entries]
    entries = [
        e.astype(int64) if isinstance(e, np.ndarray) and e.size == 0 and e.dtype.kind == "f" else e for e in entries
    ]
    used = builtins.sum(
        (e.ndim if isinstance(e, np.ndarray) and e.dtype.kind == "b" else 1)
        for e in entries
        if e is not None and e is not Ellipsis
    )
    if used > rank:
        raise IndexError(f"{used} indices for a tensor with {rank} axes")
    gaps = [i for i, e in enumerate(entries) if e is Ellipsis]
    if len(gaps) > 1:
        raise IndexError("an index can have one ... only")
    at = gaps[0] if gaps else len(entries)
    return entries[:at] + [builtins.slice(None)] * (rank - used) + entries[at + 1 :]


def _is_array(entry: Any) -> bool:
    return isinstance(entry, np.ndarray) and not (entry.ndim == 0 and entry.dtype.kind in "iu")


def _whole(entry: Any, length: int, axis: int) -> int:
    try:
        if isinstance(entry, bool | np.bool_):
            raise TypeError
        place = int(entry.__index__())
    except (AttributeError, TypeError):
        raise TypeError(
            f"a tensor is indexed by whole numbers, slices, None, ..., arrays and masks, not {entry!r}"
        ) from None
    if not -length <= place < length:
        raise IndexError(f"index {place} is out of range for axis {axis}, which has length {length}")
    return place % length


def _cut_out(x: Tensor, entries: list[Any]) -> tuple[Tensor, list[Any]]:
    """Applies numbers and slices; says of each axis that is left, or to be inserted, what it is yet to go through.

    That is 0 for the axis of a number (of length 1 now), None for one to insert, a slice for one that is done and an
    array for one to be indexed by it.
    """
    bounds: list[tuple[int, int, int]] = []
    reverse: list[int] = []
    rest: list[Any] = []
    for entry in entries:
        axis = len(bounds)
        if entry is None:
            rest.append(None)
        elif isinstance(entry, builtins.slice):
            start, stop, step = entry.indices(x.shape[axis])
            places = range(start, stop, step)
            if step < 0:
                reverse.append(axis)
                places = places[::-1]
            bounds.append((places.start, max(places.start, places.stop), places.step) if places else (0, 0, 1))
            rest.append(entry)
        elif _is_array(entry):
            parts = _mask_places(entry, x.shape[axis : axis + entry.ndim]) if entry.dtype.kind == "b" else [entry]
            rest += [_checked_index(part, x.shape[axis + i]) for i, part in enumerate(parts)]
            bounds += [(0, x.shape[axis + i], 1) for i in range(len(parts))]
        else:
            place = _whole(entry, x.shape[axis], axis)
            bounds.append((place, place + 1, 1))
            rest.append(0)
    return flip(cut(x, bounds), reverse), rest


def _mask_places(mask: Array, shape: Shape) -> list[Array]:
    if mask.shape != shape:
        raise IndexError(f"a mask of shape {mask.shape} does not fit axes of lengths {shape}")
    if not mask.ndim:
        raise IndexError("a mask needs at least one axis")
    return list(np.nonzero(mask))


def _pick(x: Tensor, arrays: list[tuple[int, Array]], in_front: bool) -> Tensor:
    """Picks by one index array for each of the axes named, together, as NumPy does."""
    axes = [axis for axis, _ in arrays]
    shape = broadcast_shapes(*[array.shape for _, array in arrays])
    lengths = [x.shape[axis] for axis in axes]
    place = np.zeros(shape, np.int64)
    for (_, array), length in zip(arrays, lengths, strict=True):
        place = place * length + array
    at = 0 if in_front else axes[0]
    others = [axis for axis in range(x.ndim) if axis not in axes]
    moved = permute(x, (*others[:at], *axes, *others[at:]))
    joined = reshape(moved, (*moved.shape[:at], math.prod(lengths), *moved.shape[at + len(axes) :]))
    return take(joined, place, at)


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index] as in NumPy: numbers, slices (also backward), None, ..., arrays or tensors of whole numbers, masks.

    The result has its own memory (unless it is all of x). Raises IndexError for places that are not there and
    TypeError for what is not an index.

    >>> import coolnn as cool
    >>> x = cool.tensor([[1, 2, 3], [4, 5, 6]])
    >>> x[1, ::-1].tolist(), x[x > 4].tolist(), x[:, [0, 2]].tolist()
    ([6, 5, 4], [5, 6], [[1, 3], [4, 6]])
    """
    entries = _complete(index, x.ndim)
    part, rest = _cut_out(x, entries)
    lengths = iter(part.shape)
    shape = [1 if entry is None else next(lengths) for entry in rest]
    if not any(isinstance(entry, np.ndarray) for entry in rest):
        return reshape(part, tuple([n for n, entry in zip(shape, rest, strict=True) if not isinstance(entry, int)]))
    chosen = [i for i, entry in enumerate(rest) if isinstance(entry, np.ndarray | int)]  # numbers count as arrays now
    together = chosen[-1] - chosen[0] == len(chosen) - 1
    return _pick(reshape(part, tuple(shape)), [(i, np.asarray(rest[i])) for i in chosen], not together)
