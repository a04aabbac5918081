"""Sums, means, extremes and norms over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Call, apply
from ..spec import Shape, Spec, float64, int64
from ..tensor import Operand, Tensor
from .arithmetic import eq, ne, pow, where
from .axes import one_axis, several_axes
from .elementwise import abs, sqrt, square
from .op import Array, Case, Op, S, define, function
from .operands import as_tensor, cast, real
from .terms import Place, Products, Terms, box_sum, copied, taken

__all__ = ["amax", "amin", "argmax", "argmin", "mean", "norm", "std", "sum", "var"]

Dims = int | Sequence[int] | None


def reduced_shape(shape: Shape, dims: Shape, keepdim: bool) -> Shape:
    """The shape after the axes `dims` have become one number each."""
    if keepdim:
        return tuple([1 if i in dims else n for i, n in enumerate(shape)])
    return tuple([n for i, n in enumerate(shape) if i not in dims])


def _spread(y: Tensor, shape: Shape, dims: Shape) -> Tensor:
    """A reduced tensor repeated along the axes it was reduced over."""
    return (y.reshape(reduced_shape(shape, dims, True)) if y.spec.shape else y).broadcast_to(shape)


class Sum(Op):
    """The sum over axes."""

    name = "sum"
    onnx = "ReduceSum"
    saves_inputs = ()

    def infer(self, x: Spec, dims: Shape, keepdim: bool) -> Spec:
        return Spec(reduced_shape(x.shape, dims, keepdim), x.dtype)

    def reference(self, x: Array, dims: Shape, keepdim: bool) -> Array:
        return np.sum(x, axis=dims, keepdims=keepdim, dtype=float64 if x.dtype.kind == "f" else x.dtype)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return Terms("sum", "Σ x", (Products("x", (taken(call, "x", 0, box_sum(call, place, **call.attributes)),)),))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (_spread(grad, call.inputs[0].shape, call.attributes["dims"]),)


class Mean(Op):
    """The mean over axes."""

    name = "mean"
    onnx = "ReduceMean"
    saves_inputs = ()

    def infer(self, x: Spec, dims: Shape, keepdim: bool) -> Spec:
        return Spec(reduced_shape(x.shape, dims, keepdim), x.dtype)

    def reference(self, x: Array, dims: Shape, keepdim: bool) -> Array:
        count = math.prod(x.shape[d] for d in dims)
        return np.asarray(np.sum(x, axis=dims, keepdims=keepdim, dtype=float64) / np.float64(count))  # 0 / 0 is nan

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        x = taken(call, "x", 0, box_sum(call, place, **call.attributes))
        count = len(x.values)

        def divided(total: float) -> float:
            return total / count if count else math.nan

        return Terms("sum", f"Σ x / {count}", (Products("x", (x,)),), then=(f"divided by {count}", divided))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        shape, dims = call.inputs[0].shape, call.attributes["dims"]
        count = math.prod(shape[d] for d in dims)
        return (_spread(grad / max(count, 1), shape, dims),)


class Extreme(Op):
    """The largest or smallest number over axes; equal ones share the gradient equally. nan wins."""

    saves_outputs = True

    def __init__(self, name: str, reference: Any, onnx: str) -> None:
        self.name, self.onnx = name, onnx
        self._reference = reference

    def infer(self, x: Spec, dims: Shape, keepdim: bool) -> Spec:
        if 0 in [x.shape[d] for d in dims]:
            raise ValueError(f"{self.name} over no numbers at all: shape {x.shape}, dim {dims}")
        return Spec(reduced_shape(x.shape, dims, keepdim), x.dtype)

    def reference(self, x: Array, dims: Shape, keepdim: bool) -> Array:
        result: Array = self._reference(x, axis=dims, keepdims=keepdim)
        return result

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        also = taken(call, "candidates", 0, box_sum(call, place, **call.attributes))
        value = call.outputs[0].numpy()[place]
        found = np.flatnonzero((also.values == value) | (np.isnan(also.values) & np.isnan(value)))
        chosen = tuple(int(p) for p in also.places[found[0]]) if len(found) and also.places is not None else None
        return copied(call, f"x, the {'largest' if self.name == 'amax' else 'smallest'}", chosen, (also,))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        x, dims = call.inputs[0], call.attributes["dims"]
        kept = reduced_shape(x.shape, dims, True)
        winners = cast(eq(x, call.outputs[0].reshape(kept)), x.dtype)
        return (winners * (grad.reshape(kept) / winners.sum(dims, keepdim=True)),)


class ArgExtreme(Op):
    """Where along an axis the largest or smallest number is; the first of equal ones. nan wins."""

    saves_inputs = ()

    def __init__(self, name: str, reference: Any, onnx: str) -> None:
        self.name, self.onnx = name, onnx
        self._reference = reference

    def infer(self, x: Spec, dim: int, keepdim: bool) -> Spec:
        if x.shape[dim] == 0:
            raise ValueError(f"{self.name} over no numbers at all: shape {x.shape}, dim {dim}")
        return Spec(reduced_shape(x.shape, (dim,), keepdim), int64)

    def reference(self, x: Array, dim: int, keepdim: bool) -> Array:
        result: Array = self._reference(x, axis=dim, keepdims=keepdim)
        return result

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        dim, keepdim = call.attributes["dim"], call.attributes["keepdim"]
        also = taken(call, "candidates", 0, box_sum(call, place, (dim,), keepdim))
        return Terms(
            "function", self.name, also=(also,), slopes=(None,), value=float(self._reference(also.values, axis=0))
        )


SUM = define(Sum)
MEAN = define(Mean)
AMAX = define(Extreme("amax", np.max, "ReduceMax"))
AMIN = define(Extreme("amin", np.min, "ReduceMin"))
ARGMAX = define(ArgExtreme("argmax", np.argmax, "ArgMax"))
ARGMIN = define(ArgExtreme("argmin", np.argmin, "ArgMin"))

_CASES = (
    Case(S(2, 3, 5, 7)),
    Case(S(2, 3, 5, 7), 1),
    Case(S(2, 3, 5, 7), (0, 2, 3)),
    Case(S(2, 3, 5, 7), (-1, -2), keepdim=True),
    Case(S(6, 5), -1, keepdim=True),
    Case(S(4, 0), 0),
)
_DISTINCT = (
    Case(S(2, 3, 5, 7, kind="distinct")),
    Case(S(2, 3, 5, 7, kind="distinct"), 1),
    Case(S(2, 3, 5, 7, kind="distinct"), (2, 3), keepdim=True),
    Case(S(6, 5, kind="distinct"), 0),
)
_PLACES = (
    Case(S(2, 3, 5, 7, kind="distinct"), gradient=False),
    Case(S(2, 3, 5, 7, kind="distinct"), 1, gradient=False),
    Case(S(6, 5, kind="distinct"), -1, keepdim=True, gradient=False),
)


# Numbers of both signs cancel: the rounding of the parts, 1e-7 of the sum of absolute values, is more of a small total.
@function(*_CASES, torch="sum", rtol=5e-6)
def sum(x: Operand, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The sum over the axes `dim` (all of them by default), which vanish, or stay with length 1 if `keepdim`.

    Whole numbers and booleans give int64. Raises IndexError for an axis that is not there.

    >>> import coolnn as cool
    >>> cool.ops.sum(cool.ones(2, 3), dim=1).tolist()
    [3.0, 3.0]
    """
    x = as_tensor(x)
    if x.spec.dtype.kind != "f":
        x = cast(x, int64)
    return apply(SUM, x, dims=several_axes(dim, x.ndim), keepdim=bool(keepdim))


@function(*_CASES[:-1], torch="mean", rtol=5e-6)
def mean(x: Operand, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The mean over the axes `dim` (all of them by default); nan over no numbers.

    Whole numbers give float32. Raises IndexError for an axis that is not there.

    >>> import coolnn as cool
    >>> float(cool.ops.mean(cool.tensor([1.0, 2.0])))
    1.5
    """
    x = real(x)
    return apply(MEAN, x, dims=several_axes(dim, x.ndim), keepdim=bool(keepdim))


@function(*_DISTINCT, torch="amax")
def amax(x: Operand, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The largest number over the axes `dim` (all by default); nan if there is one. Equal ones share the gradient.

    Raises ValueError over no numbers.

    >>> import coolnn as cool
    >>> cool.ops.amax(cool.tensor([[1.0, 5.0], [7.0, 2.0]]), dim=0).tolist()
    [7.0, 5.0]
    """
    x = as_tensor(x)
    return apply(AMAX, x, dims=several_axes(dim, x.ndim), keepdim=bool(keepdim))


@function(*_DISTINCT, torch="amin")
def amin(x: Operand, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The smallest number over the axes `dim` (all by default); nan if there is one. Equal ones share the gradient.

    Raises ValueError over no numbers.

    >>> import coolnn as cool
    >>> cool.ops.amin(cool.tensor([[1.0, 5.0], [7.0, 2.0]]), dim=1).tolist()
    [1.0, 2.0]
    """
    x = as_tensor(x)
    return apply(AMIN, x, dims=several_axes(dim, x.ndim), keepdim=bool(keepdim))


def _place(op: Op, x: Operand, dim: int | None, keepdim: bool) -> Tensor:
    x = as_tensor(x)
    if dim is not None and x.ndim:
        return apply(op, x, dim=one_axis(dim, x.ndim), keepdim=bool(keepdim))
    place = apply(op, x.reshape(-1), dim=0, keepdim=False)
    return place.reshape((1,) * x.ndim) if keepdim else place


@function(*_PLACES, torch="argmax")
def argmax(x: Operand, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where along the axis `dim` the largest number is, as int64: the first of equal ones, nan before all.

    Without `dim` it is the place in the flattened tensor. Raises ValueError over no numbers.

    >>> import coolnn as cool
    >>> cool.ops.argmax(cool.tensor([[1.0, 5.0], [7.0, 2.0]]), dim=1).tolist()
    [1, 0]
    """
    return _place(ARGMAX, x, dim, keepdim)


@function(*_PLACES, torch="argmin")
def argmin(x: Operand, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where along the axis `dim` the smallest number is, as int64: the first of equal ones, nan before all.

    Without `dim` it is the place in the flattened tensor. Raises ValueError over no numbers.

    >>> import coolnn as cool
    >>> cool.ops.argmin(cool.tensor([[1.0, 5.0], [7.0, 2.0]]), dim=1).tolist()
    [0, 1]
    """
    return _place(ARGMIN, x, dim, keepdim)


_SPREADS = (
    Case(S(2, 3, 5, 7)),
    Case(S(2, 3, 5, 7), (0, 2, 3), correction=0),
    Case(S(6, 5), -1, keepdim=True),
)


@function(*_SPREADS, torch="var", rtol=5e-6)
def var(x: Operand, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """The variance over the axes `dim`: squared distances from the mean, summed and divided by count - `correction`.

    correction=1 estimates the variance of what the numbers were drawn from, correction=0 is that of the numbers.

    >>> import coolnn as cool
    >>> float(cool.ops.var(cool.tensor([1.0, 3.0]), correction=0))
    1.0
    """
    x = real(x)
    dims = several_axes(dim, x.ndim)
    freedom = max(math.prod(x.shape[d] for d in dims) - correction, 0)
    return sum(square(x - mean(x, dims, keepdim=True)), dims, keepdim) / float(freedom)


@function(*_SPREADS, torch="std", rtol=5e-6)
def std(x: Operand, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> Tensor:
    """The standard deviation over the axes `dim`: the square root of `var`.

    >>> import coolnn as cool
    >>> float(cool.ops.std(cool.tensor([1.0, 3.0]), correction=0))
    1.0
    """
    return sqrt(var(x, dim, correction, keepdim))


@function(
    Case(S(2, 3, 5, 7)),
    Case(S(6, 5), 2, 1),
    Case(S(6, 5), 1, 0, keepdim=True),
    Case(S(6, 5, kind="distinct"), float("inf"), 1),
    Case(S(6, 5), 3, (0, 1)),
    torch="linalg.vector_norm",
    rtol=5e-6,
)
def norm(x: Operand, p: float = 2, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The p-norm over the axes `dim` (all by default) taken as one vector: (sum |x|^p)^(1/p).

    p = inf is the largest |x|, -inf the smallest, 0 the number of elements that are not 0. The gradient of the norm of
    zeros is zero.

    >>> import coolnn as cool
    >>> float(cool.ops.norm(cool.tensor([3.0, 4.0])))
    5.0
    """
    x = real(x)
    dims = several_axes(dim, x.ndim)
    if p == 0:
        return cast(sum(ne(x, 0), dims, keepdim), x.dtype)
    if p == 1:
        return sum(abs(x), dims, keepdim)
    if math.isinf(p):
        return (amax if p > 0 else amin)(abs(x), dims, keepdim)
    total = sum(square(x) if p == 2 else pow(abs(x), p), dims, keepdim)
    # The root is steep without bound at 0: there its gradient is cut off before it is taken.
    zero = eq(total, 0)
    safe = where(zero, 1.0, total)
    return where(zero, 0.0, sqrt(safe) if p == 2 else pow(safe, 1.0 / p))
