"""Putting rows at places that an index names: the counterpart of taking them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Call, apply
from ..spec import Spec, int64
from ..tensor import Operand, Tensor
from .index import TAKE
from .op import Array, Case, Op, S, define, function
from .operands import as_tensor, cast
from .terms import Place, Terms, elementwise

__all__ = ["put_rows"]

#: How a row that arrives goes together with what is there.
_COMBINE: dict[str, Any] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


class PutRows(Op):
    """x with rows in place of, or combined with, those that an index names; later ones after earlier ones."""

    name = "put_rows"
    saves_inputs = (1,)

    def infer(self, x: Spec, index: Spec, rows: Spec, reduction: str) -> Spec:
        if len(index.shape) != 1 or rows.shape != (*index.shape, *x.shape[1:]):
            raise ValueError(f"put_rows: index {index.shape} and rows {rows.shape} do not fit {x.shape}")
        return x

    def reference(self, x: Array, index: Array, rows: Array, reduction: str) -> Array:
        _check(index, x.shape[0])
        result = x.copy()
        if reduction == "none":
            result[index] = rows
        else:
            _COMBINE[reduction].at(result, index, rows)
        return result

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor | None, ...]:
        index, reduction = call.inputs[1], call.attributes["reduction"]
        if reduction not in ("none", "add"):
            raise NotImplementedError(f"put_rows with reduction={reduction!r} has no chain rule; use 'none' or 'add'")
        taken = apply(TAKE, grad, index, dim=0) if call.needs[2] else None
        if reduction == "add":
            return grad, None, taken
        left = apply(PUT_ROWS, grad, index, taken_zeros(grad, index), reduction="none") if call.needs[0] else None
        if taken is not None:  # of several rows for one place only the last one shows
            taken = taken * apply(LAST_OF_PLACE, index, rank=grad.ndim, dtype=grad.dtype.name)
        return left, None, taken


class LastOfPlace(Op):
    """1 where an index names a place for the last time, else 0, with axes of length 1 up to a rank."""

    name = "last_of_place"

    def infer(self, index: Spec, rank: int, dtype: str) -> Spec:
        return Spec((*index.shape, *[1] * (rank - 1)), np.dtype(dtype))

    def reference(self, index: Array, rank: int, dtype: str) -> Array:
        _, first = np.unique(index[::-1], return_index=True)
        last = np.zeros(index.shape, dtype)
        last[index.size - 1 - first] = 1
        return last.reshape(*index.shape, *[1] * (rank - 1))


class CheckIndex(Op):
    """An index without negative numbers; raises IndexError for places that an axis does not have."""

    name = "check_index"

    def infer(self, index: Spec, length: int) -> Spec:
        return Spec(index.shape, int64)

    def reference(self, index: Array, length: int) -> Array:
        index = index.astype(int64)
        wrapped = np.where(index < 0, index + length, index)
        _check(wrapped, length)
        return wrapped

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return elementwise(call, place, output, "index, from the start")


PUT_ROWS = define(PutRows)
LAST_OF_PLACE = define(LastOfPlace)
CHECK_INDEX = define(CheckIndex)


def _check(index: Array, length: int) -> None:
    outside = (index < 0) | (index >= length)
    if outside.any():
        raise IndexError(f"index {index[outside].flat[0]} is out of range for an axis of length {length}")


def taken_zeros(grad: Tensor, index: Tensor) -> Tensor:
    """Rows of zeros, one for each place of the index."""
    return Tensor.from_array(np.zeros((index.shape[0], *grad.shape[1:]), grad.dtype))


@function(
    Case(S(6, 4), np.array([4, 0]), S(2, 4)),
    Case(S(5), np.array([1, 1, -1]), S(3), "add"),
    Case(S(5, 2), np.array([1, 1, 3]), S(3, 2)),
    Case(S(5, 2), np.array([1, 1]), S(2, 2), "max", gradient=False),
)
def put_rows(x: Operand, index: Operand, rows: Operand, reduction: str = "none") -> Tensor:
    """x with `rows` at the places of its first axis that `index` names; negative ones count from the end.

    x (n, ...), index (m), rows (m, ...) -> shape of x. `reduction` is "none" (the last row for a place stays), "add",
    "mul", "max" or "min" with what is there. Raises IndexError for a place that is not there.

    >>> import coolnn as cool
    >>> cool.ops.put_rows(cool.zeros(3), cool.tensor([2, 0]), cool.tensor([5.0, 7.0])).tolist()
    [7.0, 0.0, 5.0]
    """
    x, index, rows = as_tensor(x), as_tensor(index), as_tensor(rows)
    if reduction != "none" and reduction not in _COMBINE:
        raise ValueError(f"put_rows: reduction must be none, {', '.join(_COMBINE)}, not {reduction!r}")
    places = apply(CHECK_INDEX, cast(index, int64), length=x.shape[0])
    return apply(PUT_ROWS, x, places, cast(rows, x.dtype), reduction=reduction)
