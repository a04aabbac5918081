"""Matrix products and fully connected layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Call, apply
from ..spec import Spec
from ..tensor import Operand, Tensor
from .axes import broadcast_shapes
from .op import Array, Case, Op, S, define, function
from .operands import pair, unbroadcast
from .reduce import sum as sum_over
from .shape import reshape
from .terms import Place, Products, Terms, broadcast_place, grid, taken
from .window import need_one_type

__all__ = ["linear", "matmul"]


class MatMul(Op):
    """Matrix product over the last two axes, each operand transposed first if asked; the axes before broadcast."""

    name = "matmul"
    onnx = "MatMul"

    def infer(self, a: Spec, b: Spec, *, transpose_a: bool, transpose_b: bool) -> Spec:
        need_one_type("matmul", a=a, b=b)
        rows, inner_a = reversed(a.shape[-2:]) if transpose_a else a.shape[-2:]
        inner_b, columns = reversed(b.shape[-2:]) if transpose_b else b.shape[-2:]
        if inner_a != inner_b:
            turned = f" (transposed: {transpose_a}, {transpose_b})" if transpose_a or transpose_b else ""
            raise ValueError(
                f"matmul: {a.shape} times {b.shape}{turned} needs equal inner lengths, not {inner_a} and {inner_b}"
            )
        return Spec((*broadcast_shapes(a.shape[:-2], b.shape[:-2]), rows, columns), a.dtype)

    def reference(self, a: Array, b: Array, *, transpose_a: bool, transpose_b: bool) -> Array:
        return np.asarray((a.swapaxes(-1, -2) if transpose_a else a) @ (b.swapaxes(-1, -2) if transpose_b else b))

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        (a, b), (*batch, row, column) = call.inputs, place
        inner = range(a.shape[-2 if call.attributes["transpose_a"] else -1])
        left = (inner, row) if call.attributes["transpose_a"] else (row, inner)
        right = (column, inner) if call.attributes["transpose_b"] else (inner, column)
        at_a, at_b = (broadcast_place(tuple(batch), t.shape[:-2]) for t in (a, b))
        factors = (taken(call, "a", 0, grid(*at_a, *left)), taken(call, "b", 1, grid(*at_b, *right)))
        return Terms("sum", "Σ a · b", (Products("row · column", factors),))

    def saves(self, needs: tuple[bool, ...]) -> tuple[int, ...]:
        return tuple(i for i in (0, 1) if needs[1 - i])  # each one is for the gradient of the other

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b = call.inputs
        ta, tb = call.attributes["transpose_a"], call.attributes["transpose_b"]
        da = db = None
        if call.needs[0]:
            da = _product(b, grad, tb, True) if ta else _product(grad, b, False, not tb)
            da = unbroadcast(da, a.shape)
        if call.needs[1]:
            db = _product(grad, a, True, ta) if tb else _product(a, grad, not ta, False)
            db = unbroadcast(db, b.shape)
        return da, db

    def macs(self, inputs: tuple[Any, ...], outputs: tuple[Spec, ...], **attributes: Any) -> int:
        return outputs[0].size * int(inputs[0].shape[-2 if attributes["transpose_a"] else -1])


class Linear(Op):
    """x · weightᵀ + bias over the last axis."""

    name = "linear"
    weight_input = 1
    onnx = "Gemm"

    def infer(self, x: Spec, weight: Spec, bias: Spec | None) -> Spec:
        need_one_type("linear", input=x, weight=weight, bias=bias)
        if len(weight.shape) != 2 or not x.shape or x.shape[-1] != weight.shape[1]:
            hint = "; flatten(1) turns (N, C, H, W) into (N, C·H·W)" if len(x.shape) == 4 else ""
            raise ValueError(
                f"linear: input {x.shape} and weight {weight.shape} do not fit: weight must be (outputs, inputs), "
                f"and the last axis of the input must be as long as the inputs{hint}"
            )
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ValueError(f"linear: bias has shape {bias.shape}, weight {weight.shape} wants {weight.shape[:1]}")
        return Spec((*x.shape[:-1], weight.shape[0]), x.dtype)

    def reference(self, x: Array, weight: Array, bias: Array | None) -> Array:
        y = x @ weight.T
        return np.asarray(y if bias is None else y + bias)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        inner = range(call.inputs[1].shape[1])
        x = taken(call, "x", 0, grid(*place[:-1], inner))
        products = Products("inputs", (x, taken(call, "weight", 1, grid(place[-1], inner))))
        if call.inputs[2] is None:
            return Terms("sum", "Σ x · weight", (products,))
        return Terms(
            "sum", "Σ x · weight + bias", (products, Products("bias", (taken(call, "bias", 2, [place[-1:]]),)))
        )

    def saves(self, needs: tuple[bool, ...]) -> tuple[int, ...]:
        return tuple(i for i in (0, 1) if needs[1 - i])

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, _ = call.inputs
        g, dx, dw, db = grad, None, None, None
        if grad.ndim != 2:
            g = reshape(grad, (math.prod(grad.shape[:-1]), weight.shape[0]))
        if call.needs[0]:
            dx = _product(g, weight, False, False)
            dx = dx if x.ndim == 2 else reshape(dx, x.shape)
        if call.needs[1]:
            rows = x if x.ndim == 2 else reshape(x, (g.shape[0], x.shape[-1]))
            dw = _product(g, rows, True, False)
        if call.needs[2]:
            db = sum_over(g, 0)
        return dx, dw, db

    def macs(self, inputs: tuple[Any, ...], outputs: tuple[Spec, ...], **attributes: Any) -> int:
        return outputs[0].size * int(inputs[1].shape[1])


MATMUL = define(MatMul)
LINEAR = define(Linear)


def _product(a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool) -> Tensor:
    return apply(MATMUL, a, b, transpose_a=transpose_a, transpose_b=transpose_b)


# Sums of up to some hundred products: rounding grows with the square root of their number.
@function(
    Case(S(2, 3), S(3, 4)),
    Case(S(1, 1), S(1, 1)),
    Case(S(17, 33), S(33, 16)),
    Case(S(33, 65), S(65, 31)),
    Case(S(15, 300), S(300, 9)),
    Case(S(1, 64), S(64, 100)),
    Case(S(5), S(5)),
    Case(S(5), S(5, 3)),
    Case(S(4, 5), S(5)),
    Case(S(5), S(2, 5, 3)),
    Case(S(2, 4, 5), S(5)),
    Case(S(3, 4, 5), S(5, 2)),
    Case(S(3, 4, 5), S(3, 5, 6)),
    Case(S(2, 3, 4, 5), S(2, 3, 5, 6)),
    Case(S(2, 1, 4, 5), S(3, 5, 6)),
    Case(S(4, 5), S(2, 3, 5, 2)),
    Case(S(0, 5), S(5, 3)),
    Case(S(3, 0), S(0, 4)),
    torch="matmul",
    rtol=5e-6,
)
def matmul(a: Operand, b: Operand) -> Tensor:
    """Matrix product: (..., n, k) times (..., k, m) gives (..., n, m); the axes before the last two broadcast.

    With one axis, `a` is a row and `b` is a column, and that axis is gone from the result. Raises ValueError where the
    inner lengths differ.

    >>> import coolnn as cool
    >>> cool.ops.matmul(cool.tensor([[1.0, 2.0]]), cool.tensor([[3.0], [4.0]])).tolist()
    [[11.0]]
    """
    a, b = pair(a, b)
    if not a.ndim or not b.ndim:
        raise ValueError(f"matmul: {a.shape} times {b.shape}: both need at least one axis; multiply by a number with *")
    row, column = a.ndim == 1, b.ndim == 1
    if row:
        a = reshape(a, (1, a.shape[0]))
    if column:
        b = reshape(b, (b.shape[0], 1))
    if a.ndim > 2 and b.ndim == 2:
        # One product with a tall matrix instead of many: its gradient for b needs no sum over them afterwards.
        y = _product(reshape(a, (math.prod(a.shape[:-1]), a.shape[-1])), b, False, False)
        y = reshape(y, (*a.shape[:-1], b.shape[1]))
    else:
        y = _product(a, b, False, False)
    if row or column:
        shape = y.shape[:-1] if column else (*y.shape[:-2], y.shape[-1])
        y = reshape(y, shape[:-1] if row and column else shape)
    return y


@function(
    Case(S(4, 5), S(3, 5), S(3)),
    Case(S(2, 400), S(120, 400), S(120)),
    Case(S(17, 33), S(31, 33)),
    Case(S(1, 1), S(1, 1), S(1)),
    Case(S(64), S(10, 64), S(10)),
    Case(S(2, 7, 8), S(5, 8), S(5)),
    Case(S(2, 3, 4, 8), S(5, 8), S(5)),
    Case(S(0, 8), S(5, 8), S(5)),
    torch="nn.functional.linear",
    rtol=5e-6,
)
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A fully connected layer, x · weightᵀ + bias. x (..., I), weight (O, I), bias (O) -> (..., O).

    Raises ValueError where lengths do not fit.

    >>> import coolnn as cool
    >>> cool.ops.linear(cool.tensor([[1.0, 2.0]]), cool.tensor([[3.0, 4.0]]), cool.tensor([0.5])).tolist()
    [[11.5]]
    """
    return apply(LINEAR, x, weight, bias)
