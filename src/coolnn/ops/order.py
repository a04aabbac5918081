"""Running sums along an axis, products over axes, and the largest numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..autograd import Call, apply, apply_all
from ..spec import Spec, float64, int64
from ..tensor import Operand, Tensor, from_numpy
from .arithmetic import mul
from .axes import one_axis, several_axes
from .index import GATHER_GRAD
from .op import Array, Case, Op, S, define, function
from .operands import as_tensor
from .reduce import reduced_shape
from .shape import concat, narrow, permute, reshape
from .terms import Place, Products, Terms, copied, grid, taken

__all__ = ["cumsum", "prod", "topk"]


class CumSum(Op):
    """The sum of all numbers up to each place of an axis; without its own if `exclusive`, from the end if `reverse`."""

    name = "cumsum"
    saves_inputs = ()

    def infer(self, x: Spec, dim: int, exclusive: bool, reverse: bool) -> Spec:
        return x

    def reference(self, x: Array, dim: int, exclusive: bool, reverse: bool) -> Array:
        seen = np.flip(x, dim) if reverse else x
        total = np.cumsum(seen, axis=dim, dtype=float64 if x.dtype.kind == "f" else x.dtype)
        if exclusive:
            total = np.roll(total, 1, dim)
            np.moveaxis(total, dim, 0)[:1] = 0
        return np.asarray(np.flip(total, dim) if reverse else total)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        dim, own = call.attributes["dim"], not call.attributes["exclusive"]
        at, length = place[dim], call.inputs[0].shape[dim]
        seen = range(at if own else at + 1, length) if call.attributes["reverse"] else range(at + own)
        x = taken(call, "x", 0, grid(*place[:dim], seen, *place[dim + 1 :]))
        return Terms("sum", "Σ x up to here", (Products("x", (x,)),))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        attributes = {**call.attributes, "reverse": not call.attributes["reverse"]}
        return (apply(CUMSUM, grad, **attributes),)


class TopK(Op):
    """The k largest (or smallest) numbers along an axis, in order, and their places; the first of equal ones first."""

    name = "topk"
    onnx = "TopK"
    saves_inputs = ()
    saves_outputs = (1,)

    def infer(self, x: Spec, k: int, dim: int, largest: bool) -> tuple[Spec, Spec]:
        if not 0 <= k <= x.shape[dim]:
            raise ValueError(f"topk: there are no {k} numbers along axis {dim} of shape {x.shape}")
        shape = (*x.shape[:dim], k, *x.shape[dim + 1 :])
        return Spec(shape, x.dtype), Spec(shape, int64)

    def reference(self, x: Array, k: int, dim: int, largest: bool) -> tuple[Array, Array]:
        # A stable sort keeps equal ones in order; backward for the largest, it must see them backward to do so.
        if largest:
            backward = np.flip(x, dim)
            order = x.shape[dim] - 1 - np.flip(np.argsort(backward, axis=dim, kind="stable"), dim)
        else:
            order = np.argsort(x, axis=dim, kind="stable")
        places = np.take(order, np.arange(k), dim)
        return np.take_along_axis(x, places, dim), places

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        dim, number = call.attributes["dim"], int(call.outputs[1].numpy()[place])
        also = taken(call, "candidates", 0, grid(*place[:dim], range(call.inputs[0].shape[dim]), *place[dim + 1 :]))
        if output == 1:
            return Terms("function", "place of the chosen", also=(also,), slopes=(None,), value=float(number))
        return copied(call, "x, by its rank", (*place[:dim], number, *place[dim + 1 :]), (also,))

    def vjp(self, call: Call, grad: Tensor | None, _: None) -> tuple[Tensor | None]:
        if grad is None:
            return (None,)
        dim = call.attributes["dim"]
        return (apply(GATHER_GRAD, grad, call.outputs[1], dim=dim, size=call.inputs[0].shape[dim]),)


CUMSUM = define(CumSum)
TOPK = define(TopK)


@function(
    Case(S(2, 3, 5, 7), 1),
    Case(S(2, 5), -1, exclusive=True, torch=False),
    Case(S(6), 0, reverse=True, torch=False),
    Case(S(3, 4), 1, exclusive=True, reverse=True, torch=False),
    Case(S(0, 4), 1),
    torch="cumsum",
)
def cumsum(x: Operand, dim: int, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """The sum of all numbers up to each place of an axis: without that place's own if `exclusive`, from the end on if
    `reverse`. Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.ops.cumsum(cool.tensor([1, 2, 3]), 0).tolist()
    [1, 3, 6]
    """
    x = as_tensor(x)
    return apply(CUMSUM, x, dim=one_axis(dim, x.ndim), exclusive=bool(exclusive), reverse=bool(reverse))


@function(
    Case(S(2, 3, 4, 5), (1, 3), torch=False), Case(S(3, 4), 1), Case(S(4), 0, True), Case(S(0, 4), 1), torch="prod"
)
def prod(x: Operand, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """The product over the axes `dim` (all by default); those stay with length 1 if `keepdim`.

    >>> import coolnn as cool
    >>> cool.ops.prod(cool.tensor([[1.0, 2.0], [3.0, 4.0]]), 1).tolist()
    [2.0, 12.0]
    """
    x = as_tensor(x)
    dims = several_axes(dim, x.ndim)
    rest = [axis for axis in range(x.ndim) if axis not in dims]
    count = math.prod(x.shape[axis] for axis in dims)
    rows = reshape(permute(x, (*rest, *dims)), (math.prod(x.shape[axis] for axis in rest), count))
    while count > 1:  # in pairs, so that the chain rule is that of few multiplications
        half = count // 2
        pairs = mul(narrow(rows, 1, 0, half), narrow(rows, 1, half, half))
        rows = concat([pairs, narrow(rows, 1, 2 * half, 1)], 1) if count % 2 else pairs
        count = rows.shape[1]
    if count == 0:
        rows = from_numpy(np.ones((rows.shape[0], 1), x.dtype))
    return reshape(rows, reduced_shape(x.shape, dims, keepdim))


@function(
    Case(S(2, 3, 5, 7, kind="distinct"), 2, 1),
    Case(S(4, 9, kind="distinct"), 9),
    Case(S(6, kind="distinct"), 3, 0, False),
    torch="topk",
)
def topk(x: Operand, k: int, dim: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) numbers along an axis, in order, and their places (int64); of equal ones the first.

    Raises ValueError where there are fewer than k.

    >>> import coolnn as cool
    >>> values, places = cool.ops.topk(cool.tensor([1.0, 5.0, 3.0]), 2)
    >>> values.tolist(), places.tolist()
    ([5.0, 3.0], [1, 2])
    """
    x = as_tensor(x)
    values, places = apply_all(TOPK, x, k=int(k), dim=one_axis(dim, x.ndim), largest=bool(largest))
    return values, places
