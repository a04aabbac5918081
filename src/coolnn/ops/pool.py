"""Max, average and adaptive pooling."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Call, apply, apply_all
from ..spec import Shape, Spec, int32
from ..tensor import Tensor
from .op import Array, Case, Op, S, define, function
from .reduce import amax, mean
from .terms import Place, Products, Terms, constant, copied, grid, moved, separable, taken
from .window import Pair, Sides, four_sides, need_pictures, pair, span, tap, window_count

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "global_avg_pool2d",
    "global_max_pool2d",
    "max_pool2d",
    "max_pool2d_with_indices",
]


# --- windows ---------------------------------------------------------------------------------------------------------


def pooled_length(
    length: int, kernel: int, stride: int, before: int, after: int, dilation: int, ceil_mode: bool
) -> int:
    """How many windows there are; with `ceil_mode` also one that begins inside and ends outside the padded picture."""
    if not ceil_mode:
        return window_count(length, kernel, stride, before + after, dilation)
    count = window_count(length, kernel, stride, before + after + stride - 1, dilation)
    return count - 1 if (count - 1) * stride >= length + before else count


def _windows(name: str, x: Shape, kernel: Pair, stride: Pair, padding: Sides, dilation: Pair, ceil_mode: bool) -> Pair:
    """The output size; raises ValueError where no window fits or one would lie in the padding alone."""
    if len(x) != 4:
        return (0, 0)  # the shape rule says what is wrong
    reach = (span(kernel[0], dilation[0]), span(kernel[1], dilation[1]))
    if max(padding[0], padding[2]) >= reach[0] or max(padding[1], padding[3]) >= reach[1]:
        raise ValueError(
            f"{name}: padding {padding} (top, left, bottom, right) must be smaller than the window of "
            f"{reach[0]}×{reach[1]} pixels, else some windows hold nothing"
        )
    h = pooled_length(x[2], kernel[0], stride[0], padding[0], padding[2], dilation[0], ceil_mode)
    w = pooled_length(x[3], kernel[1], stride[1], padding[1], padding[3], dilation[1], ceil_mode)
    if h < 1 or w < 1:
        raise ValueError(
            f"{name}: a window of {reach[0]}×{reach[1]} pixels does not fit an input of shape {x} with padding "
            f"{padding} (top, left, bottom, right); use a smaller window, more padding or a larger picture"
        )
    return h, w


def _bin(i: int, length: int, count: int) -> tuple[int, int]:
    """Start and stop of the i-th of `count` nearly equal parts of an axis (they overlap unless `count` divides it)."""
    return i * length // count, -(-(i + 1) * length // count)


@functools.lru_cache(maxsize=512)
def _bin_averages(length: int, count: int) -> Array:
    """(count, length) matrix that averages an axis in `count` parts."""
    matrix = np.zeros((count, length))
    for i in range(count):
        start, stop = _bin(i, length, count)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


@functools.lru_cache(maxsize=512)
def _window_averages(
    length: int, count: int, kernel: int, stride: int, before: int, after: int, include_pad: bool
) -> Array:
    """(count, length) matrix that averages an axis in windows; padding within `after` may count as zeros."""
    matrix = np.zeros((count, length))
    for i in range(count):
        start = i * stride - before
        stop = min(start + kernel, length + after)
        inside = range(max(start, 0), min(stop, length))
        divisor = stop - start if include_pad else len(inside)
        for j in inside:
            matrix[i, j] = 1 / divisor
    return matrix


def _chosen(call: Call, place: Place, output: int, window: Array) -> Terms:
    """The largest number of a window (output 0), or its place in the plane (output 1)."""
    also = taken(call, "candidates", 0, window)
    number = int(call.outputs[1].numpy()[place])
    if output == 1:
        return Terms("function", "place of the largest", also=(also,), slopes=(None,), value=float(number))
    if number < 0:
        nothing = constant("nothing", -np.inf, 1)
        return Terms("choice", "an empty window", (Products("nothing", (nothing,)),))
    row, column = divmod(number, call.inputs[0].shape[3])
    return copied(call, "x, the largest", (*place[:2], row, column), (also,))


# --- max -------------------------------------------------------------------------------------------------------------


class MaxPool2d(Op):
    """The largest value of each window, and where it is: h·W + w in its plane, or -1 if no tap meets the picture."""

    name = "max_pool2d"
    onnx = "MaxPool"
    saves_inputs = ()
    saves_outputs = (1,)
    optional_outputs = (1,)

    def infer(
        self, x: Spec, *, kernel_size: Pair, stride: Pair, padding: Sides, dilation: Pair, output_size: Pair
    ) -> tuple[Spec, Spec]:
        need_pictures("max_pool2d", input=x)
        shape = (*x.shape[:2], *output_size)
        return Spec(shape, x.dtype), Spec(shape, int32)

    def reference(
        self, x: Array, *, kernel_size: Pair, stride: Pair, padding: Sides, dilation: Pair, output_size: Pair
    ) -> tuple[Array, Array]:
        h, w = output_size
        length = [
            (n - 1) * s + span(k, d) for n, s, k, d in zip(output_size, stride, kernel_size, dilation, strict=True)
        ]
        # A plane of places beside each plane of values; what the windows see beyond the picture is nowhere: -1.
        after = [max(length[i] - padding[i] - x.shape[2 + i], 0) for i in (0, 1)]
        around = ((padding[0], after[0]), (padding[1], after[1]))
        values = np.pad(x, ((0, 0), (0, 0), *around), constant_values=-np.inf)
        places = np.pad(np.arange(x.shape[2] * x.shape[3]).reshape(x.shape[2:]), around, constant_values=-1)
        best = np.full((*x.shape[:2], h, w), -np.inf, x.dtype)
        where = np.full(best.shape, -1, int32)
        for i, j in np.ndindex(*kernel_size):
            taps = tap(i * dilation[0], h, stride[0]), tap(j * dilation[1], w, stride[1])
            value, place = values[:, :, taps[0], taps[1]], places[taps]
            better = (place >= 0) & ((where < 0) | (value > best) | np.isnan(value))
            best, where = np.where(better, value, best), np.where(better, place, where)
        return best, where

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        (n, c, h, w), a, (height, width) = place, call.attributes, call.inputs[0].shape[2:]
        tops = [h * a["stride"][0] - a["padding"][0] + i * a["dilation"][0] for i in range(a["kernel_size"][0])]
        lefts = [w * a["stride"][1] - a["padding"][1] + j * a["dilation"][1] for j in range(a["kernel_size"][1])]
        window = grid(n, c, [r for r in tops if 0 <= r < height], [k for k in lefts if 0 <= k < width])
        return _chosen(call, place, output, window)

    def vjp(self, call: Call, grad: Tensor, _: Tensor | None) -> tuple[Tensor]:
        attributes = {key: call.attributes[key] for key in ("kernel_size", "stride", "padding", "dilation")}
        size = call.inputs[0].shape[2:]
        return (apply(MAX_POOL2D_GRAD, grad, call.outputs[1], input_size=size, **attributes),)


class AdaptiveMaxPool2d(Op):
    """The largest value of each of oh × ow nearly equal parts, and where it is."""

    name = "adaptive_max_pool2d"
    saves_inputs = ()
    saves_outputs = (1,)
    optional_outputs = (1,)

    def infer(self, x: Spec, *, output_size: Pair) -> tuple[Spec, Spec]:
        need_pictures("adaptive_max_pool2d", input=x)
        shape = (*x.shape[:2], *output_size)
        return Spec(shape, x.dtype), Spec(shape, int32)

    def reference(self, x: Array, *, output_size: Pair) -> tuple[Array, Array]:
        best = np.empty((*x.shape[:2], *output_size), x.dtype)
        where = np.empty(best.shape, int32)
        height, width = x.shape[2:]
        for i, j in np.ndindex(*output_size):
            (top, bottom), (left, right) = _bin(i, height, output_size[0]), _bin(j, width, output_size[1])
            part = x[:, :, top:bottom, left:right].reshape(*x.shape[:2], (bottom - top) * (right - left))
            place = part.argmax(axis=2)  # the first NaN, if there is one
            best[:, :, i, j] = np.take_along_axis(part, place[:, :, None], 2)[:, :, 0]
            where[:, :, i, j] = (top + place // (right - left)) * width + left + place % (right - left)
        return best, where

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        n, c, *at = place
        bins = [
            range(*_bin(p, length, count))
            for p, length, count in zip(at, call.inputs[0].shape[2:], call.attributes["output_size"], strict=True)
        ]
        return _chosen(call, place, output, grid(n, c, *bins))

    def vjp(self, call: Call, grad: Tensor, _: Tensor | None) -> tuple[Tensor]:
        return (apply(MAX_POOL2D_GRAD, grad, call.outputs[1], input_size=call.inputs[0].shape[2:]),)


class MaxPool2dGrad(Op):
    """Each upstream gradient added at the place that its window's largest value came from.

    The window's attributes, where given, say nothing new: with them a kernel knows which windows can meet a pixel.
    """

    name = "max_pool2d_grad"
    saves_inputs = (1,)

    def infer(self, grad: Spec, indices: Spec, *, input_size: Pair, **window: Any) -> Spec:
        return Spec((*grad.shape[:2], *input_size), grad.dtype)

    def reference(self, grad: Array, indices: Array, *, input_size: Pair, **window: Any) -> Array:
        n, c = grad.shape[:2]
        size = input_size[0] * input_size[1]
        dx = np.zeros((n * c, size + 1), grad.dtype)  # one more place, the last, for index -1: thrown away
        places = indices.reshape(n * c, indices.shape[2] * indices.shape[3])
        np.add.at(dx, (np.arange(n * c)[:, None], places), grad.reshape(places.shape))
        return dx[:, :size].reshape(n, c, *input_size)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        n, c, h, w = place
        indices = call.inputs[1].numpy()[n, c]
        rows, columns = np.nonzero(indices == h * call.attributes["input_size"][1] + w)
        places = np.stack([np.full(len(rows), n), np.full(len(rows), c), rows, columns], axis=1)
        grad = taken(call, "grad", 0, places)
        return Terms("sum", "Σ grad of the windows won", (Products("windows won", (grad,)),))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor, None]:
        return apply(POOL_GATHER, grad, call.inputs[1]), None


class PoolGather(Op):
    """The values at the places that `indices` names in each plane (0 for -1): the transpose of max_pool2d_grad."""

    name = "pool_gather"
    saves_inputs = (1,)

    def infer(self, x: Spec, indices: Spec) -> Spec:
        return Spec(indices.shape, x.dtype)

    def reference(self, x: Array, indices: Array) -> Array:
        n, c, h, w = x.shape
        planes = np.concatenate([x.reshape(n, c, h * w), np.zeros((n, c, 1), x.dtype)], axis=2)
        places = indices.reshape(n, c, indices.shape[2] * indices.shape[3])
        return np.take_along_axis(planes, np.where(places < 0, h * w, places), axis=2).reshape(indices.shape)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return moved(call, place)

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor, None]:
        return apply(MAX_POOL2D_GRAD, grad, call.inputs[1], input_size=call.inputs[0].shape[2:]), None


# --- average: a matrix for the rows and one for the columns ----------------------------------------------------------


class AvgPool2d(Op):
    """The mean of each window."""

    name = "avg_pool2d"
    onnx = "AveragePool"
    saves_inputs = ()

    def infer(self, x: Spec, *, output_size: Pair, **window: Any) -> Spec:
        need_pictures("avg_pool2d", input=x)
        return Spec((*x.shape[:2], *output_size), x.dtype)

    def reference(self, x: Array, **window: Any) -> Array:
        rows, columns = (m.astype(x.dtype) for m in self.matrices(x.shape[2:], **window))
        y: Array = rows @ x @ columns.T
        return y

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        rows, columns = self.matrices(call.inputs[0].shape[2:], **call.attributes)
        return separable(call, place, rows, columns)

    @staticmethod
    def matrices(
        size: Shape, *, kernel_size: Pair, stride: Pair, padding: Sides, output_size: Pair, count_include_pad: bool
    ) -> list[Array]:
        """The matrices (oh, h) and (ow, w) with output = rows · input · columnsᵀ."""
        return [
            _window_averages(
                size[i], output_size[i], kernel_size[i], stride[i], padding[i], padding[i + 2], count_include_pad
            )
            for i in (0, 1)
        ]

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (apply(AVG_POOL2D_GRAD, grad, input_size=call.inputs[0].shape[2:], **call.attributes),)


class AvgPool2dGrad(Op):
    """Each upstream gradient shared out evenly to its window: the transpose of avg_pool2d."""

    name = "avg_pool2d_grad"
    saves_inputs = ()

    def infer(self, grad: Spec, *, input_size: Pair, **window: Any) -> Spec:
        return Spec((*grad.shape[:2], *input_size), grad.dtype)

    def reference(self, grad: Array, *, input_size: Pair, **window: Any) -> Array:
        rows, columns = (m.astype(grad.dtype) for m in AvgPool2d.matrices(input_size, **window))
        dx: Array = rows.T @ grad @ columns
        return dx

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        window = {key: value for key, value in call.attributes.items() if key != "input_size"}
        rows, columns = AvgPool2d.matrices(call.attributes["input_size"], **window)
        return separable(call, place, rows.T, columns.T, "share")

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        window = {key: value for key, value in call.attributes.items() if key != "input_size"}
        return (apply(AVG_POOL2D, grad, **window),)


class AdaptiveAvgPool2d(Op):
    """The means of oh × ow nearly equal parts."""

    name = "adaptive_avg_pool2d"
    saves_inputs = ()

    def infer(self, x: Spec, *, output_size: Pair) -> Spec:
        need_pictures("adaptive_avg_pool2d", input=x)
        return Spec((*x.shape[:2], *output_size), x.dtype)

    def reference(self, x: Array, *, output_size: Pair) -> Array:
        rows, columns = (m.astype(x.dtype) for m in self.matrices(x.shape[2:], output_size))
        y: Array = rows @ x @ columns.T
        return y

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        rows, columns = self.matrices(call.inputs[0].shape[2:], **call.attributes)
        return separable(call, place, rows, columns)

    @staticmethod
    def matrices(size: Shape, output_size: Pair) -> list[Array]:
        """The matrices (oh, h) and (ow, w) with output = rows · input · columnsᵀ."""
        return [_bin_averages(size[i], output_size[i]) for i in (0, 1)]

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (apply(ADAPTIVE_AVG_POOL2D_GRAD, grad, input_size=call.inputs[0].shape[2:]),)


class AdaptiveAvgPool2dGrad(Op):
    """Each upstream gradient shared out evenly to its part: the transpose of adaptive_avg_pool2d."""

    name = "adaptive_avg_pool2d_grad"
    saves_inputs = ()

    def infer(self, grad: Spec, *, input_size: Pair) -> Spec:
        return Spec((*grad.shape[:2], *input_size), grad.dtype)

    def reference(self, grad: Array, *, input_size: Pair) -> Array:
        rows, columns = (m.astype(grad.dtype) for m in AdaptiveAvgPool2d.matrices(input_size, grad.shape[2:]))
        dx: Array = rows.T @ grad @ columns
        return dx

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        rows, columns = AdaptiveAvgPool2d.matrices(call.attributes["input_size"], call.inputs[0].shape[2:])
        return separable(call, place, rows.T, columns.T, "share")

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (apply(ADAPTIVE_AVG_POOL2D, grad, output_size=call.inputs[0].shape[2:]),)


MAX_POOL2D = define(MaxPool2d)
MAX_POOL2D_GRAD = define(MaxPool2dGrad)
POOL_GATHER = define(PoolGather)
ADAPTIVE_MAX_POOL2D = define(AdaptiveMaxPool2d)
AVG_POOL2D = define(AvgPool2d)
AVG_POOL2D_GRAD = define(AvgPool2dGrad)
ADAPTIVE_AVG_POOL2D = define(AdaptiveAvgPool2d)
ADAPTIVE_AVG_POOL2D_GRAD = define(AdaptiveAvgPool2dGrad)


# --- public functions ------------------------------------------------------------------------------------------------


def _distinct(*shape: int) -> Any:
    """A picture without two values so near that a difference quotient could change which one is largest."""
    return S(*shape, kind="distinct")


@function(
    Case(_distinct(2, 3, 8, 8), 2),
    Case(_distinct(1, 17, 7, 9), 3, 2, 1),
    Case(_distinct(1, 1, 1, 1), 1),
    Case(_distinct(1, 33, 5, 5), 2, 1),
    Case(_distinct(1, 16, 3, 3), 3, 2, 1, 1, True),
    Case(_distinct(1, 8, 10, 9), (3, 2), (2, 1), (1, 0), (2, 3)),
    Case(_distinct(1, 2, 6, 7), 2, ceil_mode=True),
    Case(_distinct(1, 5, 11, 5), 5, stride=2, padding=2, ceil_mode=True),
    Case(_distinct(1, 2, 6, 5), 3, 2, (0, 1, 1, 2), torch=False),
    Case(_distinct(0, 3, 4, 4), 2),
    torch="nn.functional.max_pool2d",
)
def max_pool2d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest value of each window; `stride` is the window's size if not given. NaN counts as largest.

    x (N, C, H, W) -> (N, C, H', W') with H' = floor((H + padding - dilation·(kH - 1) - 1) / stride) + 1, or ceil with
    `ceil_mode`. `padding` is one number, (height, width) or (top, left, bottom, right) and never the largest. Raises
    ValueError where no window fits or padding fills one.

    >>> import coolnn as cool
    >>> cool.ops.max_pool2d(cool.tensor([[[[1.0, 2.0], [4.0, 3.0]]]]), 2).tolist()
    [[[[4.0]]]]
    """
    return max_pool2d_with_indices(x, kernel_size, stride, padding, dilation, ceil_mode)[0]


@function(
    Case(_distinct(1, 17, 7, 9), 3, 2, 1),
    Case(_distinct(2, 3, 5, 4), (2, 3), (2, 1), (1, 0), 1, True),
    torch="nn.functional.max_pool2d_with_indices",
)
def max_pool2d_with_indices(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool2d` and where in its plane each value comes from: h·W + w, int32, -1 for a window without pixels.

    >>> import coolnn as cool
    >>> cool.ops.max_pool2d_with_indices(cool.tensor([[[[1.0, 2.0], [4.0, 3.0]]]]), 2)[1].item()
    2
    """
    kernel = pair(kernel_size, "kernel_size")
    steps = kernel if stride is None else pair(stride, "stride")
    sides, spread = four_sides(padding), pair(dilation, "dilation")
    size = _windows("max_pool2d", x.shape, kernel, steps, sides, spread, ceil_mode)
    values, indices = apply_all(
        MAX_POOL2D, x, kernel_size=kernel, stride=steps, padding=sides, dilation=spread, output_size=size
    )
    return values, indices


@function(
    Case(S(2, 3, 8, 8), 2),
    Case(S(1, 17, 7, 9), 3, 2, 1),
    Case(S(1, 1, 1, 1), 1),
    Case(S(1, 16, 5, 5), 3, 1, 1),
    Case(S(1, 33, 7, 6), 3, 2, 1, count_include_pad=False),
    Case(S(1, 5, 6, 7), 2, ceil_mode=True),
    Case(S(1, 2, 8, 8), 3, 2, 1, True),
    Case(S(1, 2, 8, 7), (3, 2), (2, 3), (1, 0), True, False),
    Case(S(1, 2, 6, 5), 3, 2, (0, 1, 1, 2), torch=False),
    Case(S(0, 3, 4, 4), 2),
    torch="nn.functional.avg_pool2d",
)
def avg_pool2d(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window; `stride` is the window's size if not given.

    x (N, C, H, W) -> (N, C, H', W'), sizes as in `max_pool2d`. Padding counts as zeros or, without `count_include_pad`,
    not at all. Raises ValueError where no window fits or padding fills one.

    >>> import coolnn as cool
    >>> cool.ops.avg_pool2d(cool.tensor([[[[1.0, 2.0], [4.0, 3.0]]]]), 2).tolist()
    [[[[2.5]]]]
    """
    kernel = pair(kernel_size, "kernel_size")
    steps = kernel if stride is None else pair(stride, "stride")
    sides = four_sides(padding)
    size = _windows("avg_pool2d", x.shape, kernel, steps, sides, (1, 1), ceil_mode)
    return apply(
        AVG_POOL2D,
        x,
        kernel_size=kernel,
        stride=steps,
        padding=sides,
        output_size=size,
        count_include_pad=bool(count_include_pad),
    )


def _parts(output_size: int | Sequence[int | None] | None, x: Tensor, name: str) -> Pair:
    """(oh, ow) of an adaptive pooling; None keeps the input's size."""
    need_pictures(name, input=x.spec)
    if output_size is None or (not isinstance(output_size, int) and None in output_size):
        given = (None, None) if output_size is None else tuple(output_size)
        output_size = [x.shape[2 + i] if n is None else n for i, n in enumerate(given)]
    size = pair(output_size, "output_size")  # type: ignore[arg-type]  # no None is left
    if min(x.shape[2:]) < 1:
        raise ValueError(f"{name}: input of shape {x.shape} has no pixels to pool")
    return size


_ADAPTIVE_SIZES: tuple[tuple[tuple[int, ...], Any], ...] = (
    ((2, 3, 8, 8), 1),
    ((1, 17, 7, 9), (3, 4)),
    ((1, 16, 5, 3), (5, 1)),
    ((1, 2, 3, 4), (7, 6)),
    ((1, 5, 13, 13), 6),
    ((1, 2, 3, 4), (None, 2)),
    ((0, 2, 4, 4), 2),
)


@function(
    *(Case(S(*shape), size) for shape, size in _ADAPTIVE_SIZES),
    torch="nn.functional.adaptive_avg_pool2d",
)
def adaptive_avg_pool2d(x: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The means of oh × ow nearly equal parts of the picture, of any size. x (N, C, H, W) -> (N, C, oh, ow).

    Part i of an axis goes from floor(i·H / oh) to ceil((i + 1)·H / oh). `output_size` is one number or (oh, ow); None
    keeps a length. Raises ValueError for pictures without pixels.

    >>> import coolnn as cool
    >>> cool.ops.adaptive_avg_pool2d(cool.tensor([[[[1.0, 2.0, 6.0]]]]), 1).tolist()
    [[[[3.0]]]]
    """
    return apply(ADAPTIVE_AVG_POOL2D, x, output_size=_parts(output_size, x, "adaptive_avg_pool2d"))


@function(
    *(Case(_distinct(*shape), size) for shape, size in _ADAPTIVE_SIZES),
    torch="nn.functional.adaptive_max_pool2d",
)
def adaptive_max_pool2d(x: Tensor, output_size: int | Sequence[int | None]) -> Tensor:
    """The largest values of oh × ow nearly equal parts of the picture. x (N, C, H, W) -> (N, C, oh, ow).

    Parts as in `adaptive_avg_pool2d`.

    >>> import coolnn as cool
    >>> cool.ops.adaptive_max_pool2d(cool.tensor([[[[1.0, 2.0, 6.0]]]]), (1, 2)).tolist()
    [[[[2.0, 6.0]]]]
    """
    return apply(ADAPTIVE_MAX_POOL2D, x, output_size=_parts(output_size, x, "adaptive_max_pool2d"))


@function(Case(S(2, 3, 8, 8)), Case(S(1, 17, 1, 5)))
def global_avg_pool2d(x: Tensor) -> Tensor:
    """The mean of each plane. x (N, C, H, W) -> (N, C, 1, 1).

    >>> import coolnn as cool
    >>> cool.ops.global_avg_pool2d(cool.tensor([[[[1.0, 2.0, 6.0]]]])).tolist()
    [[[[3.0]]]]
    """
    need_pictures("global_avg_pool2d", input=x.spec)
    return mean(x, (2, 3), keepdim=True)


@function(Case(_distinct(2, 3, 8, 8)), Case(_distinct(1, 17, 1, 5)))
def global_max_pool2d(x: Tensor) -> Tensor:
    """The largest value of each plane. x (N, C, H, W) -> (N, C, 1, 1).

    >>> import coolnn as cool
    >>> cool.ops.global_max_pool2d(cool.tensor([[[[1.0, 2.0, 6.0]]]])).tolist()
    [[[[6.0]]]]
    """
    need_pictures("global_max_pool2d", input=x.spec)
    return amax(x, (2, 3), keepdim=True)
