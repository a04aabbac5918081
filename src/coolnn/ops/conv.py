"""Convolution, its gradients, and transposed convolution.

What deep learning calls convolution is cross-correlation: the filter is laid on the picture as it is, not flipped. The
three operations here are the derivatives of one another, so that derivatives of any order are made of these three.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Call, apply
from ..spec import Shape, Spec
from ..tensor import Tensor
from .arithmetic import add
from .op import Array, Case, Op, S, define, function
from .pad import pad
from .reduce import sum as sum_over
from .shape import flip, reshape
from .terms import Place, Products, Terms, grid, taken
from .window import Pair, Sides, four_sides, need_pictures, pair, same_padding, span, tap, window_count

__all__ = ["conv2d", "conv_transpose2d", "true_conv2d"]


# --- shapes ----------------------------------------------------------------------------------------------------------


def output_size(size: Shape, kernel: Shape, stride: Pair, padding: Sides, dilation: Pair) -> Pair:
    """Height and width of a convolution's output; raises ValueError where the filter is larger than the picture."""
    top, left, bottom, right = padding
    h = window_count(size[0], kernel[0], stride[0], top + bottom, dilation[0])
    w = window_count(size[1], kernel[1], stride[1], left + right, dilation[1])
    if h < 1 or w < 1:
        reach = (span(kernel[0], dilation[0]), span(kernel[1], dilation[1]))
        padded = (size[0] + top + bottom, size[1] + left + right)
        raise ValueError(
            f"conv2d: a filter that reaches over {reach[0]}×{reach[1]} pixels does not fit a picture of "
            f"{padded[0]}×{padded[1]} (padding included); use more padding, a smaller filter or a larger picture"
        )
    return h, w


def transposed_size(size: Shape, kernel: Shape, stride: Pair, padding: Pair, dilation: Pair, extra: Pair) -> Pair:
    """Height and width of a transposed convolution's output: the inverse of `output_size`."""
    h, w = ((size[i] - 1) * stride[i] - 2 * padding[i] + span(kernel[i], dilation[i]) + extra[i] for i in (0, 1))
    return h, w


def check_channels(name: str, channels: int, weight: Shape, groups: int) -> None:
    """Raises ValueError, with the remedy, where an input's channels and a filter's do not fit."""
    if groups < 1 or weight[0] % groups:
        raise ValueError(f"{name}: groups={groups} must divide the {weight[0]} output channels of weight {weight}")
    if channels != weight[1] * groups:
        wanted = f"weight {weight} with groups={groups} wants {weight[1] * groups}"
        remedy = (
            f"; did you mean groups={channels // weight[1]}?"
            if weight[1] and channels % weight[1] == 0 and channels and weight[0] % (channels // weight[1]) == 0
            else ""
        )
        raise ValueError(f"{name}: input has {channels} channels, {wanted}{remedy}")


def _windows_over(pixel: int, kernel: int, count: int, stride: int, dilation: int) -> list[tuple[int, int]]:
    """(window, tap) for each window along an axis that has a tap on a pixel of the padded picture."""
    found = []
    for tap_number in range(kernel):
        window, rest = divmod(pixel - tap_number * dilation, stride)
        if rest == 0 and 0 <= window < count:
            found.append((window, tap_number))
    return found


# --- the three operations --------------------------------------------------------------------------------------------


class Conv2d(Op):
    """y[n, o, h, w] = bias[o] + sum over c, i, j of x[n, c, h·stride + i·dilation, w·...] · weight[o, c, i, j]."""

    name = "conv2d"
    weight_input = 1
    onnx = "Conv"
    saves_inputs = (0, 1)

    def infer(
        self, x: Spec, weight: Spec, bias: Spec | None, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
    ) -> Spec:
        need_pictures("conv2d", input=x, weight=weight)
        check_channels("conv2d", x.shape[1], weight.shape, groups)
        if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != x.dtype):
            raise ValueError(f"conv2d: bias is {bias}, weight {weight.shape} wants {Spec(weight.shape[:1], x.dtype)}")
        h, w = output_size(x.shape[2:], weight.shape[2:], stride, padding, dilation)
        return Spec((x.shape[0], weight.shape[0], h, w), x.dtype)

    def reference(
        self,
        x: Array,
        weight: Array,
        bias: Array | None,
        *,
        stride: Pair,
        padding: Sides,
        dilation: Pair,
        groups: int,
    ) -> Array:
        top, left, bottom, right = padding
        padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        n, c, o = x.shape[0], x.shape[1], weight.shape[0]
        h, w = output_size(x.shape[2:], weight.shape[2:], stride, padding, dilation)
        y = np.zeros((n, groups, o // groups, h * w), x.dtype)
        for i, j in np.ndindex(*weight.shape[2:]):
            seen = padded[:, :, tap(i * dilation[0], h, stride[0]), tap(j * dilation[1], w, stride[1])]
            filters = weight[:, :, i, j].reshape(groups, o // groups, c // groups)
            y += filters @ seen.reshape(n, groups, c // groups, h * w)
        y = y.reshape(n, o, h, w)
        return y if bias is None else y + bias[:, None, None]

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        (n, o, h, w), a = place, call.attributes
        x, weight, bias = call.inputs
        channels, kh, kw = weight.shape[1:]
        first = o // (weight.shape[0] // a["groups"]) * channels
        taps = grid(range(channels), range(kh), range(kw))
        rows = h * a["stride"][0] + taps[:, 1] * a["dilation"][0] - a["padding"][0]
        columns = w * a["stride"][1] + taps[:, 2] * a["dilation"][1] - a["padding"][1]
        seen = np.stack([np.full(len(taps), n), first + taps[:, 0], rows, columns], axis=1)
        outside = (rows < 0) | (rows >= x.shape[2]) | (columns < 0) | (columns >= x.shape[3])
        seen[outside] = -1
        filters = np.column_stack([np.full(len(taps), o), taps])
        products = Products("window", (taken(call, "x", 0, seen), taken(call, "weight", 1, filters)))
        groups = (products,) if bias is None else (products, Products("bias", (taken(call, "bias", 2, [(o,)]),)))
        return Terms("sum", "Σ x · weight" + (" + bias" if bias is not None else ""), groups)

    def saves(self, needs: tuple[bool, ...]) -> tuple[int, ...]:
        return tuple(i for i in (0, 1) if needs[1 - i])  # each one is for the gradient of the other

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, _ = call.inputs
        return (
            apply(CONV2D_INPUT_GRAD, grad, weight, input_size=x.shape[2:], **call.attributes)
            if call.needs[0]
            else None,
            apply(CONV2D_WEIGHT_GRAD, x, grad, kernel_size=weight.shape[2:], **call.attributes)
            if call.needs[1]
            else None,
            sum_over(grad, (0, 2, 3)) if call.needs[2] else None,
        )

    def macs(self, inputs: tuple[Any, ...], outputs: tuple[Spec, ...], **attributes: Any) -> int:
        return outputs[0].size * int(np.prod(inputs[1].shape[1:]))


class Conv2dInputGrad(Op):
    """The gradient of conv2d for its input: every output pixel sends its filter, weighted, back to where it looked."""

    name = "conv2d_input_grad"
    weight_input = 1
    onnx = "ConvTranspose"

    def infer(
        self,
        grad: Spec,
        weight: Spec,
        *,
        input_size: Pair,
        stride: Pair,
        padding: Sides,
        dilation: Pair,
        groups: int,
    ) -> Spec:
        need_pictures("conv2d_input_grad", grad=grad, weight=weight)
        channels = weight.shape[1] * groups
        check_channels("conv2d_input_grad", channels, weight.shape, groups)
        size = output_size(input_size, weight.shape[2:], stride, padding, dilation)
        if grad.shape[1:] != (weight.shape[0], *size):
            raise ValueError(
                f"conv2d_input_grad: grad has shape {grad.shape}, weight {weight.shape} on an input of {input_size} "
                f"gives {(grad.shape[0], weight.shape[0], *size)}"
            )
        return Spec((grad.shape[0], channels, *input_size), grad.dtype)

    def reference(
        self,
        grad: Array,
        weight: Array,
        *,
        input_size: Pair,
        stride: Pair,
        padding: Sides,
        dilation: Pair,
        groups: int,
    ) -> Array:
        top, left, bottom, right = padding
        n, o, h, w = grad.shape
        c = weight.shape[1] * groups
        dx = np.zeros((n, c, input_size[0] + top + bottom, input_size[1] + left + right), grad.dtype)
        sent = grad.reshape(n, groups, o // groups, h * w)
        for i, j in np.ndindex(*weight.shape[2:]):
            filters = weight[:, :, i, j].reshape(groups, o // groups, c // groups)
            received = (filters.swapaxes(1, 2) @ sent).reshape(n, c, h, w)
            dx[:, :, tap(i * dilation[0], h, stride[0]), tap(j * dilation[1], w, stride[1])] += received
        return dx[:, :, top : top + input_size[0], left : left + input_size[1]]

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        (n, c, h, w), a = place, call.attributes
        grad, weight = call.inputs
        outputs, channels = weight.shape[0] // a["groups"], weight.shape[1]
        first = c // channels * outputs  # of the filters that see this channel
        # The windows that this pixel lies in: those whose distance from it is a whole number of strides.
        rows = _windows_over(h + a["padding"][0], weight.shape[2], grad.shape[2], a["stride"][0], a["dilation"][0])
        columns = _windows_over(w + a["padding"][1], weight.shape[3], grad.shape[3], a["stride"][1], a["dilation"][1])
        pairs = grid(range(first, first + outputs), range(len(rows)), range(len(columns)))
        down = np.asarray(rows, np.int64).reshape(-1, 2)[pairs[:, 1]]
        across = np.asarray(columns, np.int64).reshape(-1, 2)[pairs[:, 2]]
        sent = np.stack([np.full(len(pairs), n), pairs[:, 0], down[:, 0], across[:, 0]], axis=1)
        filters = np.stack([pairs[:, 0], np.full(len(pairs), c % channels), down[:, 1], across[:, 1]], axis=1)
        factors = (taken(call, "grad", 0, sent), taken(call, "weight", 1, filters))
        return Terms("sum", "Σ grad · weight", (Products("windows that see the pixel", factors),))

    def saves(self, needs: tuple[bool, ...]) -> tuple[int, ...]:
        return tuple(i for i in (0, 1) if needs[1 - i])

    def vjp(self, call: Call, dx: Tensor) -> tuple[Tensor | None, ...]:
        grad, weight = call.inputs
        rest = {key: value for key, value in call.attributes.items() if key != "input_size"}
        return (
            apply(CONV2D, dx, weight, None, **rest) if call.needs[0] else None,
            apply(CONV2D_WEIGHT_GRAD, dx, grad, kernel_size=weight.shape[2:], **rest) if call.needs[1] else None,
        )

    def macs(self, inputs: tuple[Any, ...], outputs: tuple[Spec, ...], **attributes: Any) -> int:
        return int(inputs[0].size) * int(np.prod(inputs[1].shape[1:]))


class Conv2dWeightGrad(Op):
    """The gradient of conv2d for its filters: the cross-correlation of the input with the upstream gradient."""

    name = "conv2d_weight_grad"

    def infer(
        self,
        x: Spec,
        grad: Spec,
        *,
        kernel_size: Pair,
        stride: Pair,
        padding: Sides,
        dilation: Pair,
        groups: int,
    ) -> Spec:
        need_pictures("conv2d_weight_grad", input=x, grad=grad)
        size = output_size(x.shape[2:], kernel_size, stride, padding, dilation)
        if (grad.shape[0], *grad.shape[2:]) != (x.shape[0], *size) or x.shape[1] % groups or grad.shape[1] % groups:
            raise ValueError(
                f"conv2d_weight_grad: grad {grad.shape} does not belong to input {x.shape}: {kernel_size[0]}×"
                f"{kernel_size[1]} filters with groups={groups} give {(x.shape[0], 'channels', *size)}"
            )
        return Spec((grad.shape[1], x.shape[1] // groups, *kernel_size), x.dtype)

    def reference(
        self,
        x: Array,
        grad: Array,
        *,
        kernel_size: Pair,
        stride: Pair,
        padding: Sides,
        dilation: Pair,
        groups: int,
    ) -> Array:
        top, left, bottom, right = padding
        padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        (n, c), (o, h, w) = x.shape[:2], grad.shape[1:]
        dw = np.zeros((o, c // groups, *kernel_size), x.dtype)
        upstream = grad.reshape(n, groups, o // groups, h * w)
        for i, j in np.ndindex(*kernel_size):
            seen = padded[:, :, tap(i * dilation[0], h, stride[0]), tap(j * dilation[1], w, stride[1])]
            products = upstream @ seen.reshape(n, groups, c // groups, h * w).swapaxes(2, 3)
            dw[:, :, i, j] = products.sum(axis=0).reshape(o, c // groups)
        return dw

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        (o, c, i, j), a = place, call.attributes
        x, grad = call.inputs
        first = o // (grad.shape[1] // a["groups"]) * (x.shape[1] // a["groups"])
        positions = grid(range(x.shape[0]), range(grad.shape[2]), range(grad.shape[3]))
        rows = positions[:, 1] * a["stride"][0] + i * a["dilation"][0] - a["padding"][0]
        columns = positions[:, 2] * a["stride"][1] + j * a["dilation"][1] - a["padding"][1]
        seen = np.stack([positions[:, 0], np.full(len(positions), first + c), rows, columns], axis=1)
        seen[(rows < 0) | (rows >= x.shape[2]) | (columns < 0) | (columns >= x.shape[3])] = -1
        upstream = np.stack([positions[:, 0], np.full(len(positions), o), positions[:, 1], positions[:, 2]], axis=1)
        factors = (taken(call, "x", 0, seen), taken(call, "grad", 1, upstream))
        return Terms("sum", "Σ x · grad", (Products("positions of the filter", factors),))

    def saves(self, needs: tuple[bool, ...]) -> tuple[int, ...]:
        return tuple(i for i in (0, 1) if needs[1 - i])

    def vjp(self, call: Call, dw: Tensor) -> tuple[Tensor | None, ...]:
        x, grad = call.inputs
        rest = {key: value for key, value in call.attributes.items() if key != "kernel_size"}
        return (
            apply(CONV2D_INPUT_GRAD, grad, dw, input_size=x.shape[2:], **rest) if call.needs[0] else None,
            apply(CONV2D, x, dw, None, **rest) if call.needs[1] else None,
        )

    def macs(self, inputs: tuple[Any, ...], outputs: tuple[Spec, ...], **attributes: Any) -> int:
        return int(inputs[1].size) * int(np.prod(outputs[0].shape[1:]))


CONV2D = define(Conv2d)
CONV2D_INPUT_GRAD = define(Conv2dInputGrad)
CONV2D_WEIGHT_GRAD = define(Conv2dWeightGrad)


# --- public functions ------------------------------------------------------------------------------------------------


def _sides(padding: str | int | Sequence[int], x: Shape, weight: Shape, stride: Pair, dilation: Pair) -> Sides:
    """Padding as the operations want it, from any form that users may give."""
    if not isinstance(padding, str):
        return four_sides(padding)
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":
        if len(x) != 4 or len(weight) != 4:
            return (0, 0, 0, 0)  # the shape rule says what is wrong
        top, bottom = same_padding(x[2], weight[2], stride[0], dilation[0])
        left, right = same_padding(x[3], weight[3], stride[1], dilation[1])
        return (top, left, bottom, right)
    raise ValueError(f'padding must be "valid", "same", one number, two or four, not "{padding}"')


# Channel counts on both sides of every vector length and tile; pictures down to one pixel; all attributes.
_CASES = (
    Case(S(2, 3, 8, 9), S(4, 3, 3, 3), S(4)),
    Case(S(1, 1, 1, 1), S(1, 1, 1, 1), S(1)),
    Case(S(1, 1, 5, 5), S(1, 1, 3, 3)),
    Case(S(0, 3, 5, 5), S(2, 3, 3, 3), S(2), padding=1),
    Case(S(1, 1, 12, 12), S(6, 1, 5, 5), S(6), padding=2),
    Case(S(2, 6, 7, 7), S(16, 6, 5, 5), S(16)),
    Case(S(2, 2, 6, 5), S(3, 2, 1, 1), S(3)),
    Case(S(1, 17, 3, 4), S(33, 17, 1, 1)),
    Case(S(2, 8, 5, 5), S(5, 8, 1, 1), S(5), stride=2),
    Case(S(1, 16, 1, 1), S(17, 16, 3, 3), S(17), padding=1),
    Case(S(1, 16, 8, 8), S(16, 16, 3, 3), S(16), padding=1),
    Case(S(2, 16, 7, 9), S(32, 16, 3, 3), padding=1),
    Case(S(1, 32, 5, 6), S(16, 32, 3, 3), S(16)),
    Case(S(1, 33, 6, 13), S(17, 33, 3, 3), S(17), padding=1),
    Case(S(1, 17, 4, 4), S(16, 17, 3, 3), S(16), padding=(2, 0)),
    Case(S(1, 5, 9, 2), S(8, 5, 3, 1), S(8), padding=(1, 0)),
    Case(S(1, 3, 2, 9), S(2, 3, 1, 4), padding=(0, 2)),
    Case(S(1, 3, 9, 8), S(8, 3, 3, 3), S(8), stride=2, padding=1),
    Case(S(1, 3, 15, 13), S(16, 3, 7, 7), stride=2, padding=3),
    Case(S(1, 16, 9, 9), S(32, 16, 3, 3), S(32), stride=2, padding=1),
    Case(S(1, 3, 23, 23), S(4, 3, 11, 11), S(4), stride=4, padding=2),
    Case(S(2, 2, 7, 8), S(3, 2, 2, 2), S(3), stride=(2, 3)),
    Case(S(1, 2, 9, 10), S(3, 2, 3, 3), S(3), dilation=2),
    Case(S(1, 4, 9, 9), S(4, 4, 3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 3)),
    Case(S(1, 16, 7, 7), S(16, 16, 3, 3), padding=2, dilation=2),
    Case(S(1, 4, 6, 6), S(6, 2, 3, 3), S(6), padding=1, groups=2),
    Case(S(1, 32, 5, 5), S(32, 16, 3, 3), S(32), padding=1, groups=2),
    Case(S(2, 3, 5, 6), S(3, 1, 3, 3), S(3), padding=1, groups=3),
    Case(S(1, 17, 6, 5), S(17, 1, 3, 3), S(17), stride=2, padding=1, groups=17),
    Case(S(1, 32, 7, 7), S(32, 1, 5, 5), padding=2, groups=32),
    Case(S(1, 4, 5, 5), S(8, 1, 3, 3), S(8), padding=1, groups=4),
    Case(S(1, 8, 6, 6), S(8, 1, 3, 3), padding=2, dilation=2, groups=8),
    Case(S(2, 2, 5, 5), S(3, 2, 3, 3), S(3), padding="same"),
    Case(S(1, 2, 5, 6), S(3, 2, 4, 2), S(3), padding="same", torch=False),  # PyTorch's order of the odd pixel agrees
    Case(S(1, 2, 7, 6), S(3, 2, 3, 3), stride=2, padding="same", torch=False),
    Case(S(1, 2, 5, 5), S(3, 2, 3, 3), padding="valid"),
    Case(S(1, 3, 5, 6), S(2, 3, 3, 3), S(2), padding=(1, 0, 2, 3), torch=False),
    Case(S(1, 16, 6, 5), S(16, 16, 3, 3), padding=(0, 1, 1, 2), torch=False),
    Case(S(1, 2, 2, 2), S(2, 2, 3, 3), padding=4),
)


# Winograd's algorithm (3×3 filters, many channels) adds numbers larger than the result: its errors, measured at 1e-5
# of the result's rms for 512 channels, set this bound; direct sums of a few hundred products stay below 1e-6.
@function(*_CASES, torch="nn.functional.conv2d", rtol=5e-5)
def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Slides filters over pictures; each output is the sum of products of a filter with what is below it.

    x (N, C, H, W), weight (O, C/groups, kH, kW), bias (O) -> (N, O, H', W') with
    H' = floor((H + padding - dilation·(kH - 1) - 1) / stride) + 1. `padding` is "valid" (none), "same"
    (H' = ceil(H / stride), an odd pixel goes to the bottom and right), one number, (height, width) or
    (top, left, bottom, right). The filter is not flipped: mathematically this is cross-correlation; `true_conv2d`
    flips. Raises ValueError where channels or sizes do not fit.

    >>> import coolnn as cool
    >>> x = cool.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> edge = cool.tensor([[[[-1.0, 1.0]]]])
    >>> cool.ops.conv2d(x, edge).tolist()
    [[[[1.0, 1.0]]]]
    """
    steps, spread = pair(stride, "stride"), pair(dilation, "dilation")
    sides = _sides(padding, x.shape, weight.shape, steps, spread)
    return apply(CONV2D, x, weight, bias, stride=steps, padding=sides, dilation=spread, groups=groups)


@function(
    Case(S(2, 2, 5, 6), S(3, 2, 3, 3), S(3)),
    Case(S(1, 1, 6, 6), S(1, 1, 2, 4), padding="same"),
    Case(S(1, 4, 7, 7), S(4, 2, 3, 3), S(4), stride=2, padding=1, groups=2),
    rtol=5e-5,
)
def true_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution as mathematics defines it: `conv2d` with the filter turned by 180 degrees. Arguments as in `conv2d`.

    With * for this convolution, without padding ("valid"), and ⋆ for cross-correlation (`conv2d`):
    y = x ⋆ w = x * flip(w). Its gradients, for an upstream gradient g of y = x ⋆ w that is first dilated by the stride
    (stride - 1 zeros between its pixels): dw = x ⋆ g, the cross-correlation of the input with g; dx = g * w, the full
    convolution of g with the filter (g padded by kH - 1 and kW - 1 on all sides). Pixels that no window reaches are
    left out of the first and get 0 in the second.

    >>> import coolnn as cool
    >>> x = cool.tensor([[[[0.0, 1.0, 0.0]]]])
    >>> w = cool.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> cool.ops.true_conv2d(x, w, padding=(0, 1)).tolist()  # an impulse gives the filter as it is
    [[[[1.0, 2.0, 3.0]]]]
    """
    return conv2d(x, flip(weight, (2, 3)), bias, stride, padding, dilation, groups)


@function(
    Case(S(2, 3, 4, 5), S(3, 2, 3, 3), S(2)),
    Case(S(1, 1, 1, 1), S(1, 1, 2, 2)),
    Case(S(1, 4, 3, 4), S(4, 3, 2, 2), S(3), stride=2),
    Case(S(1, 16, 4, 5), S(16, 17, 3, 3), S(17), padding=1),
    Case(S(1, 8, 5, 4), S(8, 5, 3, 3), S(5), stride=2, padding=1, output_padding=1),
    Case(S(1, 2, 3, 4), S(2, 3, 4, 4), stride=2, padding=1),
    Case(S(1, 4, 4, 4), S(4, 2, 3, 3), S(4), stride=2, padding=1, groups=2),
    Case(S(2, 3, 4, 3), S(3, 1, 3, 3), stride=(1, 2), padding=(0, 1), groups=3),
    Case(S(1, 2, 4, 4), S(2, 3, 3, 3), S(3), dilation=2, padding=1),
    Case(S(1, 2, 4, 4), S(2, 3, 2, 3), S(3), dilation=3, padding=(2, 0), output_padding=(1, 2)),
    Case(S(0, 2, 4, 4), S(2, 3, 3, 3), S(3)),
    torch="nn.functional.conv_transpose2d",
    rtol=5e-5,
)
def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """The transpose of `conv2d` as a linear map: each input pixel spreads a filter, weighted, over the output.

    x (N, C, H, W), weight (C, O/groups, kH, kW), bias (O) -> (N, O, H', W') with
    H' = (H - 1)·stride - 2·padding + dilation·(kH - 1) + output_padding + 1. It is what `conv2d` with the same weight
    has as gradient for its input. Raises ValueError where channels do not fit or output_padding is not smaller than
    stride or dilation.

    >>> import coolnn as cool
    >>> x = cool.tensor([[[[1.0, 2.0]]]])
    >>> cool.ops.conv_transpose2d(x, cool.ones(1, 1, 1, 2), stride=2).tolist()
    [[[[1.0, 1.0, 2.0, 2.0]]]]
    """
    need_pictures("conv_transpose2d", input=x.spec, weight=weight.spec)
    if x.shape[1] != weight.shape[0]:
        raise ValueError(
            f"conv_transpose2d: input has {x.shape[1]} channels, weight {weight.shape} wants {weight.shape[0]} "
            "(its axes are: input channels, output channels / groups, height, width)"
        )
    steps, spread = pair(stride, "stride"), pair(dilation, "dilation")
    cut, extra = pair(padding, "padding", least=0), pair(output_padding, "output_padding", least=0)
    for i in (0, 1):
        if extra[i] >= max(steps[i], spread[i]):
            raise ValueError(
                f"conv_transpose2d: output_padding={output_padding} must be smaller than stride={stride} or "
                f"dilation={dilation}"
            )
    # Rows beyond a whole stride are not the remainder of any convolution: they come from cutting less at the end, and
    # from zeros where nothing is left to cut.
    whole = [e if e >= s else 0 for e, s in zip(extra, steps, strict=True)]
    end = [max(c - e, 0) for c, e in zip(cut, whole, strict=True)]
    zeros = [max(e - c, 0) for c, e in zip(cut, whole, strict=True)]
    h, w = transposed_size(x.shape[2:], weight.shape[2:], steps, cut, spread, extra)
    size = (h - zeros[0], w - zeros[1])
    if size[0] < 1 or size[1] < 1:
        raise ValueError(
            f"conv_transpose2d: padding={padding} cuts away all that input {x.shape} and weight {weight.shape} give"
        )
    sides = (cut[0], cut[1], end[0], end[1])
    y = apply(
        CONV2D_INPUT_GRAD, x, weight, input_size=size, stride=steps, padding=sides, dilation=spread, groups=groups
    )
    if zeros[0] or zeros[1]:
        y = pad(y, (0, zeros[1], 0, zeros[0]))
    return y if bias is None else add(y, reshape(bias, (1, -1, 1, 1)))
