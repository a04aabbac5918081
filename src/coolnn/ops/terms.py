"""Terms: an output number of an operation as the sum that it is, or as a choice or function of a few numbers.

Each operation says its terms beside its reference (`Op.terms`); explanations are made of them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..spec import Shape

if TYPE_CHECKING:
    from ..autograd import Call

Array = np.ndarray[Any, np.dtype[Any]]
Place = tuple[int, ...]


class Factor(NamedTuple):
    """One factor of each term of a group: numbers of a tensor of the call, or constants.

    `places` has a row for each term; a row of -1 stands for a place outside of the tensor, where padding is.
    """

    name: str
    values: Array  # (terms,) in float64
    places: Array | None = None  # (terms, axes)
    tensor: int | None = None  # which input of the call, or which output if `made`
    made: bool = False


@dataclass(frozen=True)
class Products:
    """Terms that are products of the same kinds of factors."""

    name: str
    factors: tuple[Factor, ...]

    @property
    def values(self) -> Array:
        """The terms, each the product of its factors, in float64: exact for two factors that were float32."""
        with np.errstate(all="ignore"):
            return np.asarray(math.prod([f.values for f in self.factors[1:]], start=self.factors[0].values))

    def __len__(self) -> int:
        return len(self.factors[0].values)


class Terms(NamedTuple):
    """How an output number comes from others.

    kind "sum": the sum of all terms of all groups. "choice": the same, of one term, that was chosen among `also`.
    "function": a function of the numbers in `also`, whose `slopes` (the derivatives by them) are known or not.
    `value` is the result in float64, where it is not the sum of the terms; `also` names further numbers that take part.
    """

    kind: str
    formula: str
    groups: tuple[Products, ...] = ()
    also: tuple[Factor, ...] = ()
    slopes: tuple[Array | None, ...] = ()  # for each of `also`
    then: tuple[str, Callable[[float], float]] | None = None  # what is done with the sum
    value: float | None = None

    @property
    def total(self) -> float:
        """The result in float64; the sum of the terms is rounded once."""
        if self.value is not None:
            return self.value
        total = exact_sum(np.concatenate([group.values for group in self.groups] or [np.zeros(0)]))
        return self.then[1](total) if self.then else total


def exact_sum(values: Array) -> float:
    """The sum, rounded once, in any order of the numbers."""
    if not np.isfinite(values).all():
        with np.errstate(all="ignore"):
            return float(values.sum())
    return math.fsum(values.tolist())


# --- factors ---------------------------------------------------------------------------------------------------------


def taken(call: Call, name: str, tensor: int, places: Array | Sequence[Place], made: bool = False) -> Factor:
    """The numbers of an input (or output) at places; 0 where a row of `places` is -1, outside."""
    source = (call.outputs if made else call.inputs)[tensor].numpy()
    rows = np.asarray(places, np.int64).reshape(len(places), source.ndim)
    outside: Array = np.asarray((rows < 0).any(axis=1) if source.ndim else np.zeros(len(rows), bool))
    inside = np.where(outside[:, None], 0, rows)
    values = source[tuple(inside.T)] if source.size else np.zeros(len(rows))
    values = np.broadcast_to(values, len(rows)).astype(np.float64)
    return Factor(name, np.where(outside, 0.0, values), rows, tensor, made)


def constant(name: str, values: Any, count: int | None = None) -> Factor:
    """Constants: one for each term, or the same for `count` terms."""
    array = np.asarray(values, np.float64).reshape(-1)
    return Factor(name, np.broadcast_to(array, count).copy() if count is not None else array)


def grid(*axes: Sequence[int] | int) -> Array:
    """All combinations of these numbers, one in a row, the last axis fastest: places of a box."""
    lists = [np.asarray([a] if isinstance(a, int | np.integer) else list(a), np.int64) for a in axes]
    if not lists:
        return np.zeros((1, 0), np.int64)
    return np.stack([m.reshape(-1) for m in np.meshgrid(*lists, indexing="ij")], axis=1)


def broadcast_place(place: Place, shape: Shape) -> Place:
    """The place of an operand of this shape that a broadcast result at `place` comes from."""
    rest = place[len(place) - len(shape) :]
    return tuple([0 if n == 1 else p for p, n in zip(rest, shape, strict=True)])


# --- kinds of operations ---------------------------------------------------------------------------------------------


def copied(call: Call, name: str, place: Place | None, also: tuple[Factor, ...] = (), tensor: int = 0) -> Terms:
    """A number of an input, as it is; or 0, if there is no place."""
    if place is None:
        return Terms("choice", "0: no number of the input comes here", also=also)
    return Terms("choice", name, (Products(name, (taken(call, name, tensor, [place]),)),), also=also)


def moved(call: Call, place: Place, moving: Sequence[int] = (0,), factor: float = 1.0) -> Terms:
    """A number that the operation only moved: found by moving the numbers of places instead."""
    inputs = [None if t is None else t.numpy() for t in call.inputs]
    start = 1
    for i in moving:
        size = inputs[i].size  # type: ignore[union-attr]  # what moves is there
        inputs[i] = np.arange(start, start + size).reshape(call.inputs[i].shape)
        start += size
    result = call.op.reference(*inputs, **call.attributes)
    number = int((result[0] if isinstance(result, tuple) else result)[place])
    for i in moving:
        if 0 < number <= call.inputs[i].size:
            where = tuple(int(p) for p in np.unravel_index(number - 1, call.inputs[i].shape))
            source = taken(call, "x", i, [where])
            factors = (source,) if factor == 1.0 else (source, constant("factor", factor, 1))
            return Terms("choice", "moved, unchanged" if factor == 1.0 else "x · factor", (Products("x", factors),))
        number -= call.inputs[i].size
    return copied(call, "x", None)


def elementwise(call: Call, place: Place, output: int, formula: str, whole: Sequence[int] = ()) -> Terms:
    """A function of one number of each input (broadcast), and of all numbers of the inputs `whole`."""
    from ..tensor import Tensor  # the circle of tensors and operations

    names = argument_names(call.op, len(call.inputs))
    also: list[Factor] = []
    arrays: list[Array | None] = []
    for i, tensor in enumerate(call.inputs):
        if tensor is None:
            arrays.append(None)
            continue
        if i in whole:
            places = grid(*map(range, tensor.shape))
            arrays.append(_precise(tensor.numpy()))
        else:
            at = broadcast_place(place, tensor.shape)
            places = np.asarray([at], np.int64).reshape(1, tensor.ndim)
            arrays.append(_precise(tensor.numpy()[at]).reshape(1))
        also.append(taken(call, names[i], i, places))
    with np.errstate(all="ignore"):
        result = call.op.reference(*arrays, **call.attributes)
    results = result if isinstance(result, tuple) else (result,)
    value = float(np.asarray(results[output], np.float64).reshape(-1)[0])
    tensors = tuple([None if a is None else Tensor.from_array(a) for a in arrays])
    outputs = tuple([Tensor.from_array(_precise(r)) for r in results])
    slopes = slopes_of(call, tensors, outputs, output, (0,))
    kept = [s for s, t in zip(slopes, call.inputs, strict=True) if t is not None]
    return Terms("function", formula, also=tuple(also), slopes=tuple(kept), value=value)


def passed(call: Call, place: Place, name: str) -> Terms:
    """The upstream gradient (input 0) times the slope of a function of one number (input 1), for one element."""
    v = _precise(call.inputs[1].numpy()[place]).reshape(1)
    with np.errstate(all="ignore"):
        slope = float(np.asarray(call.op.reference(np.ones(1), v, **call.attributes))[0])
    factors = (taken(call, "grad", 0, [place]), constant(name, slope, 1))
    return Terms("sum", "grad · slope", (Products("grad", factors),), also=(taken(call, "kept number", 1, [place]),))


def _precise(array: Array) -> Array:
    array = np.asarray(array)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def slopes_of(
    call: Call, inputs: tuple[Any, ...], outputs: tuple[Any, ...], output: int, place: Place
) -> list[Array | None]:
    """The derivatives of one output number by all inputs, from the chain rule; None where there is none."""
    from ..autograd import Call as CallType
    from ..autograd import no_grad
    from ..tensor import Tensor

    none: list[Array | None] = [None] * len(inputs)
    if outputs[output].dtype.kind != "f" or not any(t is not None and t.dtype.kind == "f" for t in inputs):
        return none
    start = np.zeros(outputs[output].shape)
    start[place] = 1
    grads: list[Tensor | None] = [None] * len(outputs)
    grads[output] = Tensor.from_array(start)
    needs = tuple([t is not None and t.dtype.kind == "f" for t in inputs])
    try:
        with no_grad(), np.errstate(all="ignore"):
            found = call.op.vjp(CallType(call.op, inputs, outputs, call.attributes, needs), *grads)
    except (NotImplementedError, AttributeError, TypeError):  # no chain rule, or none for this output
        return none
    if isinstance(found, Tensor):
        found = (found,)
    return [None if g is None or not needed else np.asarray(g.numpy()) for g, needed in zip(found, needs, strict=True)]


def argument_names(op: Any, count: int) -> list[str]:
    """What the inputs of an operation are called in its reference."""
    found: list[str] = []
    for parameter in inspect.signature(op.reference).parameters.values():
        if parameter.kind == parameter.VAR_POSITIONAL:
            found += [f"{parameter.name.removesuffix('s')}{i}" for i in range(len(found), count)]
        else:
            found.append(parameter.name)
    return (found + [f"input {i}" for i in range(len(found), count)])[:count]


def separable(call: Call, place: Place, rows: Array, columns: Array, name: str = "weight") -> Terms:
    """A number of rows · x · columnsᵀ for each plane: a weighted sum of a window of x."""
    n, c, h, w = place
    down, across = np.flatnonzero(rows[h]), np.flatnonzero(columns[w])
    places = grid(n, c, down.tolist(), across.tolist())
    weights = np.outer(rows[h][down], columns[w][across]).reshape(-1)
    x = taken(call, "x", 0, places)
    return Terms("sum", f"Σ x · {name}", (Products("window", (x, constant(name, weights))),))


def box_sum(call: Call, place: Place, dims: Shape, keepdim: bool) -> Array:
    """The places that are reduced to one, for an operation that reduces the axes `dims`."""
    rest = iter(place)
    axes: list[Sequence[int]] = []
    for axis, length in enumerate(call.inputs[0].shape):
        if axis in dims:
            axes.append(range(length))
            if keepdim:
                next(rest)
        else:
            axes.append([next(rest)])
    return grid(*axes)


def normalized_slopes(
    call: Call, place: Place, view: Shape, axes: Shape, average: Array, rstd: Array, weight: Array | None
) -> Terms:
    """Terms of the gradient of a normalization for its input: a sum over all upstream gradients of the same group.

    dx_i = Σ_j grad_j · weight_j / std · (δ_ij - 1/n - x̂_i x̂_j / n). Inputs of the call are (grad, x, weight, ...);
    x in the shape `view` was normalized over `axes`, by `average` and `rstd` in a shape that broadcasts to `view`.
    """
    shape = call.inputs[1].shape
    flat = int(np.ravel_multi_index(place, shape)) if shape else 0
    at = np.unravel_index(flat, view)
    group = grid(*[range(n) if axis in axes else int(p) for axis, (n, p) in enumerate(zip(view, at, strict=True))])
    flats = np.ravel_multi_index(tuple(group.T), view)
    places = np.stack(np.unravel_index(flats, shape), axis=1)
    key = tuple(p if n > 1 else 0 for p, n in zip(at, average.shape, strict=True))
    mean, scale = float(average[key]), float(rstd[key])
    x = call.inputs[1].numpy()
    xhat = (x[tuple(places.T)].astype(np.float64) - mean) * scale
    own = (float(x[place]) - mean) * scale
    inner = (flats == flat) - (1 + own * xhat) / len(flats)
    weights = np.ones(len(flats)) if weight is None else weight.astype(np.float64)[places[:, 1]]
    factors = (taken(call, "grad", 0, places), constant("∂y/∂x", inner * scale * weights))
    return Terms("sum", "Σ grad · ∂y/∂x", (Products("upstream", factors),))
