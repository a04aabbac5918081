"""Reshape, permute, broadcast, slice, concatenate and other movements of numbers."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence

import numpy as np

from ..autograd import Call, apply
from ..spec import Shape, Spec, storage_order
from ..tensor import Operand, Tensor
from .axes import as_shape, broadcast_shapes, fill_shape, one_axis, several_axes
from .op import Array, Case, Op, S, define, function
from .operands import as_tensor, cast, promote
from .terms import Place, Terms, moved

__all__ = [
    "broadcast_to",
    "cat",
    "chunk",
    "concat",
    "expand",
    "flatten",
    "flip",
    "permute",
    "repeat",
    "reshape",
    "slice",
    "split",
    "squeeze",
    "stack",
    "transpose",
    "unsqueeze",
]


def _row_major(shape: Shape) -> bool:
    """Whether the numbers lie in memory in the order of the axes."""
    return len(shape) != 4 or shape[1] == 1 or shape[2] * shape[3] == 1 or 0 in shape


class Reshape(Op):
    """The same numbers, in the order of the axes, in another shape."""

    name = "reshape"
    onnx = "Reshape"
    saves_inputs = ()

    def infer(self, x: Spec, shape: Shape) -> Spec:
        return Spec(shape, x.dtype)

    def reference(self, x: Array, shape: Shape) -> Array:
        return x.reshape(shape)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return moved(call, place)

    def alias(self, x: Spec, shape: Shape) -> bool:
        if _row_major(x.shape) and _row_major(shape):
            return True
        return len(x.shape) == len(shape) and x.shape[:2] == shape[:2]  # only the plane is folded otherwise

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (grad.reshape(call.inputs[0].shape),)


class Permute(Op):
    """The axes in another order."""

    name = "permute"
    onnx = "Transpose"
    saves_inputs = ()

    def infer(self, x: Spec, dims: Shape) -> Spec:
        return Spec(tuple([x.shape[d] for d in dims]), x.dtype)

    def reference(self, x: Array, dims: Shape) -> Array:
        return x.transpose(dims)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return moved(call, place)

    def alias(self, x: Spec, dims: Shape) -> bool:
        # Memory stays as it is if the axes that are longer than 1 follow each other as before.
        order = storage_order(len(dims))
        return [d for d in order if x.shape[d] != 1] == [dims[d] for d in order if x.shape[dims[d]] != 1]

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (permute(grad, tuple(int(d) for d in np.argsort(call.attributes["dims"]))),)


class BroadcastTo(Op):
    """The numbers repeated along axes of length 1 and new axes in front."""

    name = "broadcast_to"
    onnx = "Expand"
    saves_inputs = ()

    def infer(self, x: Spec, shape: Shape) -> Spec:
        if broadcast_shapes(x.shape, shape) != shape:
            raise ValueError(f"shape {x.shape} does not broadcast to {shape}")
        return Spec(shape, x.dtype)

    def reference(self, x: Array, shape: Shape) -> Array:
        return np.broadcast_to(x, shape)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return moved(call, place)

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        shape = call.inputs[0].shape
        extra = grad.ndim - len(shape)
        repeated = [i for i, n in enumerate(grad.shape) if i < extra or (shape[i - extra] == 1 and n != 1)]
        return ((grad.sum(tuple(repeated)) if repeated else grad).reshape(shape),)


class Flip(Op):
    """The numbers in reverse order along axes."""

    name = "flip"
    saves_inputs = ()

    def infer(self, x: Spec, dims: Shape) -> Spec:
        return x

    def reference(self, x: Array, dims: Shape) -> Array:
        return np.flip(x, dims)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return moved(call, place)

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (apply(FLIP, grad, **call.attributes),)


class Concat(Op):
    """Tensors one after another along an axis."""

    name = "concat"
    onnx = "Concat"
    saves_inputs = ()

    def infer(self, *xs: Spec, dim: int) -> Spec:
        shape = xs[0].shape
        for x in xs[1:]:
            if len(x.shape) != len(shape) or (*x.shape[:dim], *x.shape[dim + 1 :]) != (*shape[:dim], *shape[dim + 1 :]):
                raise ValueError(
                    f"concat along axis {dim} needs shapes that agree elsewhere, not "
                    + " and ".join(str(s.shape) for s in xs)
                )
        return Spec((*shape[:dim], sum(x.shape[dim] for x in xs), *shape[dim + 1 :]), xs[0].dtype)

    def reference(self, *xs: Array, dim: int) -> Array:
        return np.concatenate(xs, dim)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return moved(call, place, range(len(call.inputs)))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor | None, ...]:
        dim = call.attributes["dim"]
        return split(grad, [x.shape[dim] for x in call.inputs], dim)


class Slice(Op):
    """From `start` to before `stop` in steps of `step` along each axis."""

    name = "slice"
    onnx = "Slice"
    saves_inputs = ()

    def infer(self, x: Spec, starts: Shape, stops: Shape, steps: Shape) -> Spec:
        return Spec(tuple([len(range(*bounds)) for bounds in zip(starts, stops, steps, strict=True)]), x.dtype)

    def reference(self, x: Array, starts: Shape, stops: Shape, steps: Shape) -> Array:
        return x[tuple(map(builtins.slice, starts, stops, steps))]

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return moved(call, place)

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (apply(SLICE_GRAD, grad, shape=call.inputs[0].shape, **call.attributes),)


class SliceGrad(Op):
    """The upstream gradient at the places that were cut out, 0 elsewhere."""

    name = "slice_grad"
    saves_inputs = ()

    def infer(self, grad: Spec, shape: Shape, starts: Shape, stops: Shape, steps: Shape) -> Spec:
        return Spec(shape, grad.dtype)

    def reference(self, grad: Array, shape: Shape, starts: Shape, stops: Shape, steps: Shape) -> Array:
        full = np.zeros(shape, grad.dtype)
        full[tuple(map(builtins.slice, starts, stops, steps))] = grad
        return full

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return moved(call, place)

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        bounds = {key: value for key, value in call.attributes.items() if key != "shape"}
        return (apply(SLICE, grad, **bounds),)


class PixelsToRows(Op):
    """(N, C, H, W) as (N·H·W, C): the same bytes, because the channels of a pixel lie side by side."""

    name = "pixels_to_rows"
    saves_inputs = ()

    def infer(self, x: Spec) -> Spec:
        n, c, h, w = x.shape
        return Spec((n * h * w, c), x.dtype)

    def reference(self, x: Array) -> Array:
        n, c, h, w = x.shape
        return x.transpose(0, 2, 3, 1).reshape(n * h * w, c)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return moved(call, place)

    def alias(self, x: Spec) -> bool:
        return True

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (apply(ROWS_TO_PIXELS, grad, shape=call.inputs[0].shape),)


class RowsToPixels(Op):
    """(N·H·W, C) as (N, C, H, W), the inverse of pixels_to_rows."""

    name = "rows_to_pixels"
    saves_inputs = ()

    def infer(self, rows: Spec, shape: Shape) -> Spec:
        return Spec(shape, rows.dtype)

    def reference(self, rows: Array, shape: Shape) -> Array:
        n, c, h, w = shape
        return rows.reshape(n, h, w, c).transpose(0, 3, 1, 2)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return moved(call, place)

    def alias(self, rows: Spec, shape: Shape) -> bool:
        return True

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (apply(PIXELS_TO_ROWS, grad),)


RESHAPE = define(Reshape)
PIXELS_TO_ROWS = define(PixelsToRows)
ROWS_TO_PIXELS = define(RowsToPixels)
PERMUTE = define(Permute)
BROADCAST_TO = define(BroadcastTo)
FLIP = define(Flip)
CONCAT = define(Concat)
SLICE = define(Slice)
SLICE_GRAD = define(SliceGrad)


# --- another shape, the same numbers ---------------------------------------------------------------------------------


@function(
    Case(S(2, 3, 5, 7), (6, 35)),
    Case(S(2, 3, 5, 7), (2, 3, 7, 5)),
    Case(S(2, 12), (2, 3, 2, -1)),
    Case(S(4, 1, 3, 3), (4, -1)),
    Case(S(6, 5), (-1,)),
    Case(S(0, 4), (2, 0)),
    torch="reshape",
)
def reshape(x: Operand, shape: int | Sequence[int]) -> Tensor:
    """The same numbers in the order of the axes in another shape; one length may be -1, whatever is left over.

    Memory is shared where the order of the numbers in it agrees. Raises ValueError where the counts differ.

    >>> import coolnn as cool
    >>> cool.ops.reshape(cool.zeros(2, 6), (3, -1)).shape
    (3, 4)
    """
    x = as_tensor(x)
    wanted = fill_shape(as_shape(shape), x.size)
    return x if wanted == x.spec.shape else apply(RESHAPE, x, shape=wanted)


@function(Case(S(2, 3, 5, 7)), Case(S(2, 3, 5, 7), 1), Case(S(2, 3, 5, 7), 1, 2), Case(S()), torch="flatten")
def flatten(x: Operand, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from `start_dim` to `end_dim`, both included, made into one.

    >>> import coolnn as cool
    >>> cool.ops.flatten(cool.zeros(2, 3, 4), 1).shape
    (2, 12)
    """
    x = as_tensor(x)
    if not x.ndim:
        return reshape(x, 1)
    start, end = one_axis(start_dim, x.ndim, "start_dim"), one_axis(end_dim, x.ndim, "end_dim")
    if start > end:
        raise ValueError(f"flatten from axis {start_dim} to {end_dim}: the first comes after the last")
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


@function(Case(S(2, 1, 5, 1)), Case(S(2, 1, 5, 1), 1), Case(S(2, 3), 0), torch="squeeze")
def squeeze(x: Operand, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without the axes `dim` (all, by default) that have length 1; longer ones stay.

    >>> import coolnn as cool
    >>> cool.ops.squeeze(cool.zeros(1, 3, 1)).shape
    (3,)
    """
    x = as_tensor(x)
    dims = several_axes(dim, x.ndim)
    return reshape(x, tuple([n for i, n in enumerate(x.shape) if n != 1 or i not in dims]))


@function(Case(S(2, 3), 0), Case(S(2, 3, 4), -1), Case(S(), 0), torch="unsqueeze")
def unsqueeze(x: Operand, dim: int) -> Tensor:
    """With a new axis of length 1 at place `dim`.

    >>> import coolnn as cool
    >>> cool.ops.unsqueeze(cool.zeros(2, 3), 1).shape
    (2, 1, 3)
    """
    x = as_tensor(x)
    dim = one_axis(dim, x.ndim + 1)
    return reshape(x, (*x.shape[:dim], 1, *x.shape[dim:]))


# --- another order ---------------------------------------------------------------------------------------------------


@function(
    Case(S(2, 3, 5, 7), (0, 2, 3, 1)),
    Case(S(2, 3, 5, 7), (3, 2, 1, 0)),
    Case(S(4, 5, 6), (-1, 0, 1)),
    Case(S(0, 4), (1, 0)),
    torch="permute",
)
def permute(x: Operand, dims: Sequence[int]) -> Tensor:
    """The axes in the order `dims`. Raises ValueError if that does not name each axis once.

    >>> import coolnn as cool
    >>> cool.ops.permute(cool.zeros(2, 3, 4), (2, 0, 1)).shape
    (4, 2, 3)
    """
    x = as_tensor(x)
    order = tuple([one_axis(int(d), x.ndim) for d in dims])
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"permute names each of the {x.ndim} axes once, not {tuple(dims)}")
    return apply(PERMUTE, x, dims=order)


@function(Case(S(2, 3, 5, 7), 1, 3), Case(S(4, 5), 0, 1), Case(S(4, 5, 6), -1, 0), torch="transpose")
def transpose(x: Operand, dim0: int = -2, dim1: int = -1) -> Tensor:
    """Two axes exchanged; the last two by default.

    >>> import coolnn as cool
    >>> cool.ops.transpose(cool.zeros(2, 3, 4), 0, 1).shape
    (3, 2, 4)
    """
    x = as_tensor(x)
    order = list(range(x.ndim))
    first, second = one_axis(dim0, x.ndim, "dim0"), one_axis(dim1, x.ndim, "dim1")
    order[first], order[second] = second, first
    return apply(PERMUTE, x, dims=tuple(order))


@function(Case(S(2, 3, 5, 7), (3,)), Case(S(2, 3, 5, 7), (1, 2)), Case(S(6), (0,)), torch="flip")
def flip(x: Operand, dims: int | Sequence[int]) -> Tensor:
    """The numbers in reverse order along the axes `dims`.

    >>> import coolnn as cool
    >>> cool.ops.flip(cool.tensor([1, 2, 3]), 0).tolist()
    [3, 2, 1]
    """
    x = as_tensor(x)
    if not isinstance(dims, int) and not len(dims):
        return x
    return apply(FLIP, x, dims=several_axes(dims, x.ndim))


# --- more of the same numbers ----------------------------------------------------------------------------------------


@function(Case(S(3, 1, 1), (2, 3, 5, 7)), Case(S(1, 5), (4, 5)), Case(S(), (2, 2)), torch="broadcast_to")
def broadcast_to(x: Operand, shape: Sequence[int]) -> Tensor:
    """The numbers repeated along axes of length 1, and along new axes in front, so that the shape is `shape`.

    Raises ValueError where the shape does not fit.

    >>> import coolnn as cool
    >>> cool.ops.broadcast_to(cool.tensor([1, 2]), (2, 2)).tolist()
    [[1, 2], [1, 2]]
    """
    x = as_tensor(x)
    wanted = as_shape(shape)
    return x if wanted == x.spec.shape else apply(BROADCAST_TO, x, shape=wanted)


@function(Case(S(3, 1, 1), 2, -1, 5, 7), Case(S(1, 5), 4, 5))
def expand(x: Operand, *sizes: int) -> Tensor:
    """`broadcast_to` where -1 keeps the length that an axis has.

    >>> import coolnn as cool
    >>> cool.ops.expand(cool.zeros(3, 1), -1, 4).shape
    (3, 4)
    """
    x = as_tensor(x)
    shape = as_shape(sizes)
    extra = len(shape) - x.ndim
    if extra < 0 or -1 in shape[:extra]:
        raise ValueError(f"expand cannot bring shape {x.shape} to {shape}: -1 stands for an axis that is there")
    return broadcast_to(x, tuple([x.shape[i - extra] if n == -1 else n for i, n in enumerate(shape)]))


@function(Case(S(2, 3), 2, 2), Case(S(2, 3), 2, 1, 3), Case(S(1, 2, 3, 3), 1, 2, 1, 2))
def repeat(x: Operand, *sizes: int) -> Tensor:
    """The tensor laid out as tiles, `sizes[i]` of them along axis i.

    >>> import coolnn as cool
    >>> cool.ops.repeat(cool.tensor([1, 2]), 2).tolist()
    [1, 2, 1, 2]
    """
    x = as_tensor(x)
    counts = as_shape(sizes)
    if len(counts) < x.ndim or min(counts, default=0) < 0:
        raise ValueError(f"repeat needs a count of 0 or more for each of the {x.ndim} axes, not {counts}")
    x = reshape(x, (1,) * (len(counts) - x.ndim) + x.shape)
    for dim, count in enumerate(counts):
        if count == 0:
            x = narrow(x, dim, 0, 0)
        elif count > 1:
            x = concat([x] * count, dim)
    return x


# --- together and apart ----------------------------------------------------------------------------------------------


def concat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one after another along the axis `dim`; their other lengths agree.

    Raises ValueError where they do not, or where there is no tensor.

    >>> import coolnn as cool
    >>> cool.ops.concat([cool.zeros(2, 3), cool.zeros(2, 1)], dim=1).shape
    (2, 4)
    """
    xs = [as_tensor(x) for x in tensors]
    if not xs:
        raise ValueError("concat needs at least one tensor")
    dtype = promote(*xs)
    return apply(CONCAT, *[cast(x, dtype) for x in xs], dim=one_axis(dim, xs[0].ndim))


#: PyTorch's short name.
cat = concat


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors, all of one shape, one after another along a new axis at place `dim`.

    >>> import coolnn as cool
    >>> cool.ops.stack([cool.zeros(3), cool.ones(3)]).shape
    (2, 3)
    """
    xs = [as_tensor(x) for x in tensors]
    if any(x.shape != xs[0].shape for x in xs):
        raise ValueError("stack needs tensors of one shape, not " + " and ".join(str(x.shape) for x in xs))
    return concat([unsqueeze(x, dim) for x in xs], one_axis(dim, xs[0].ndim + 1) if xs else 0)


@function(Case(S(2, 6, 5, 7), (0, 1, 2, 0), (2, 5, 5, 7), (1, 2, 1, 3)), Case(S(9), (-3,), (9,)))
def slice(x: Operand, starts: Sequence[int], stops: Sequence[int], steps: Sequence[int] | None = None) -> Tensor:
    """From `start` to before `stop` in steps of `step` (more than 0) along each axis, as x[start:stop:step, ...].

    Negative numbers count from the end; what lies outside is cut off. Raises ValueError where an axis has no bounds.

    >>> import coolnn as cool
    >>> cool.ops.slice(cool.tensor([1, 2, 3, 4, 5]), (1,), (5,), (2,)).tolist()
    [2, 4]
    """
    x = as_tensor(x)
    strides = (1,) * x.ndim if steps is None else tuple(steps)
    if not len(starts) == len(stops) == len(strides) == x.ndim or min(strides, default=1) < 1:
        raise ValueError(
            f"slice needs starts, stops and steps above 0 for all {x.ndim} axes, not {starts}, {stops}, {steps}"
        )
    given = zip(starts, stops, strides, x.shape, strict=True)
    bounds = [builtins.slice(start, stop, step).indices(length) for start, stop, step, length in given]
    return cut(x, [(start, max(start, stop), step) for start, stop, step in bounds])


def cut(x: Tensor, bounds: Sequence[tuple[int, int, int]]) -> Tensor:
    """`slice` by one (start, stop, step) for each axis, all within it; x itself if that is all of it."""
    if all([b == (0, n, 1) for b, n in zip(bounds, x.shape, strict=True)]):
        return x
    starts, stops, steps = zip(*bounds, strict=True)
    return apply(SLICE, x, starts=starts, stops=stops, steps=steps)


def narrow(x: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`length` places of one axis, from `start` on."""
    return cut(x, [(start, start + length, 1) if i == dim else (0, n, 1) for i, n in enumerate(x.shape)])


def split(x: Operand, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """The tensor cut along an axis into pieces of one size (the last may be smaller) or of the sizes given.

    Raises ValueError where the sizes do not add up to the axis.

    >>> import coolnn as cool
    >>> [piece.shape for piece in cool.ops.split(cool.zeros(5, 2), 2)]
    [(2, 2), (2, 2), (1, 2)]
    """
    x = as_tensor(x)
    dim = one_axis(dim, x.ndim)
    length = x.shape[dim]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 1:
            raise ValueError(f"split into pieces of size {size}: it must be 1 or more")
        sizes = [min(size, length - start) for start in range(0, length, size)] or [0]
    else:
        sizes = list(split_size_or_sections)
        if sum(sizes) != length or min(sizes, default=0) < 0:
            raise ValueError(f"split into {sizes} does not add up to axis {dim}, which has length {length}")
    ends = np.cumsum(sizes).tolist()
    return tuple([narrow(x, dim, end - size, size) for size, end in zip(sizes, ends, strict=True)])


def chunk(x: Operand, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """The tensor cut along an axis into at most `chunks` pieces of equal size (the last may be smaller).

    >>> import coolnn as cool
    >>> [piece.shape for piece in cool.ops.chunk(cool.zeros(5), 2)]
    [(3,), (2,)]
    """
    x = as_tensor(x)
    if chunks < 1:
        raise ValueError(f"chunk into {chunks} pieces: there must be 1 or more")
    return split(x, max(-(-x.shape[one_axis(dim, x.ndim)] // chunks), 1), dim)
