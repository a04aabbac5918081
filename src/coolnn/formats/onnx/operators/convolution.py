"""Convolutions in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .... import ops
from ....autograd import apply
from ....ops.conv import CONV2D_INPUT_GRAD
from ....ops.window import span
from ....spec import Shape
from ....tensor import Tensor, from_numpy
from .registry import claim
from .windows import Window, window_of


def Conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    _check_kernel(w, kernel_shape)
    window = window_of(x.shape[2:], w.shape[2:], strides, pads, dilations, auto_pad)
    if x.ndim == 4:
        return _conv2d(x, w, b, window, group)
    if x.ndim == 3:
        y = _conv2d(
            x.reshape(*x.shape[:2], 1, x.shape[2]), w.reshape(*w.shape[:2], 1, w.shape[2]), b, window.flat(), group
        )
        return y.reshape(*y.shape[:2], y.shape[3])
    if x.ndim == 5:
        return _conv3d(x, w, b, window, group)
    raise ValueError(f"Conv takes pictures of 1, 2 or 3 dimensions, not an input of shape {x.shape}")


def _check_kernel(w: Tensor, kernel_shape: Sequence[int] | None) -> None:
    if kernel_shape is not None and tuple(kernel_shape) != w.shape[2:]:
        raise ValueError(f"kernel_shape {tuple(kernel_shape)} is not that of the weight {w.shape}")


def _conv2d(x: Tensor, w: Tensor, b: Tensor | None, window: Window, group: int) -> Tensor:
    padding = (window.before[0], window.before[1], window.after[0], window.after[1])
    return ops.conv2d(x, w, b, window.stride, padding, window.dilation, group)


def _conv3d(x: Tensor, w: Tensor, b: Tensor | None, window: Window, group: int) -> Tensor:
    """The sum over the filters' planes of two-dimensional convolutions of all planes that each meets."""
    n, c = x.shape[:2]
    count, padded = window.counts[0], ops.pad(x, (0, 0, 0, 0, window.before[0], window.after[0]))
    plane = window.without_first()
    y: Tensor | None = None
    for k in range(w.shape[2]):
        start = k * window.dilation[0]
        places = np.arange(start, start + count * window.stride[0], window.stride[0])
        seen = ops.take(padded, places, 2).permute(0, 2, 1, 3, 4).reshape(n * count, c, *x.shape[3:])
        filters = w[:, :, k]
        part = _conv2d(seen, filters, b if k == 0 else None, plane, group)
        y = part if y is None else y + part
    if y is None:
        raise ValueError(f"Conv with a filter of shape {w.shape} has nothing to add up")
    return y.reshape(n, count, *y.shape[1:]).permute(0, 2, 1, 3, 4)


def ConvTranspose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    _check_kernel(w, kernel_shape)
    rank = x.ndim - 2
    stride, dilation = tuple(strides or (1,) * rank), tuple(dilations or (1,) * rank)
    extra = tuple(output_padding or (0,) * rank)
    full = [(x.shape[2 + i] - 1) * stride[i] + span(w.shape[2 + i], dilation[i]) + extra[i] for i in range(rank)]
    sides = _transposed_sides(x.shape[2:], full, stride, pads, output_shape, auto_pad)
    size = claim([full[i] - sides[i] - sides[i + rank] for i in range(rank)])
    if rank == 3:
        y = _transposed3d(x, w, size, sides, stride, dilation, group)
    elif rank in (1, 2):
        y = _transposed2d(x, w, size, sides, stride, dilation, group)
    else:
        raise ValueError(f"ConvTranspose takes pictures of 1, 2 or 3 dimensions, not an input of shape {x.shape}")
    return y if b is None else y + b.reshape(-1, *[1] * rank)


def _transposed_sides(
    size: Shape,
    full: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int] | None,
    output_shape: Sequence[int] | None,
    auto_pad: str,
) -> list[int]:
    """What is cut off at the beginning and the end of each axis."""
    rank = len(size)
    if output_shape is None and auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        return list(pads or (0,) * 2 * rank)
    wanted = (
        list(output_shape)[-rank:] if output_shape is not None else [n * s for n, s in zip(size, stride, strict=True)]
    )
    total = [a - b for a, b in zip(full, wanted, strict=True)]
    small = [t // 2 for t in total]
    large = [t - s for t, s in zip(total, small, strict=True)]
    return (
        [*large, *small]
        if auto_pad == "SAME_LOWER" or (output_shape is not None and auto_pad != "SAME_UPPER")
        else [*small, *large]
    )


def _transposed2d(
    x: Tensor,
    w: Tensor,
    size: Sequence[int],
    sides: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> Tensor:
    """In one dimension as in two with a height of 1; negative sides, which add zeros, are added afterwards."""
    flat = x.ndim == 3
    if flat:
        x, w = x.reshape(*x.shape[:2], 1, -1), w.reshape(*w.shape[:2], 1, -1)
        size, stride, dilation = (1, *size), (1, *stride), (1, *dilation)
        sides = (0, sides[0], 0, sides[1])
    cut = [max(s, 0) for s in sides]
    missing = [max(-s, 0) for s in sides]
    inner = (size[0] - missing[0] - missing[2], size[1] - missing[1] - missing[3])
    # Places that no filter reaches, because of output_padding, are zeros behind what the filters make.
    reach = [(x.shape[2 + i] - 1) * stride[i] + span(w.shape[2 + i], dilation[i]) - cut[i] - cut[i + 2] for i in (0, 1)]
    behind = [max(inner[i] - reach[i] - (stride[i] - 1), 0) for i in (0, 1)]
    y = apply(
        CONV2D_INPUT_GRAD,
        x,
        w,
        input_size=(inner[0] - behind[0], inner[1] - behind[1]),
        stride=tuple(stride),
        padding=tuple(cut),
        dilation=tuple(dilation),
        groups=group,
    )
    y = ops.pad(y, (missing[1], missing[3] + behind[1], missing[0], missing[2] + behind[0]))
    return y.reshape(*y.shape[:2], y.shape[3]) if flat else y


def _transposed3d(
    x: Tensor,
    w: Tensor,
    size: Sequence[int],
    sides: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> Tensor:
    """Each plane of a filter, as a transposed convolution in two dimensions, added to the planes that it reaches."""
    n, c, depth = x.shape[:3]
    planes = x.permute(0, 2, 1, 3, 4).reshape(n * depth, c, *x.shape[3:])
    flat = [sides[1], sides[2], sides[4], sides[5]]
    length = size[0] + sides[0] + sides[3]
    total: Tensor | None = None
    for k in range(w.shape[2]):
        part = _transposed2d(planes, w[:, :, k], size[1:], flat, stride[1:], dilation[1:], group)
        part = part.reshape(n, depth, *part.shape[1:]).permute(1, 0, 2, 3, 4)
        places = k * dilation[0] + np.arange(depth) * stride[0]
        base = from_numpy(np.zeros((length, *part.shape[1:]), x.dtype))
        spread = ops.put_rows(base, from_numpy(places), part)
        total = spread if total is None else total + spread
    if total is None:
        raise ValueError(f"ConvTranspose with a filter of shape {w.shape} has nothing to add up")
    return total[sides[0] : length - sides[3]].permute(1, 2, 0, 3, 4)


def ConvInteger(
    x: Tensor,
    w: Tensor,
    x_zero_point: Tensor | None = None,
    w_zero_point: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    # In float32, whose whole numbers are exact up to 2^24: filters of up to 258 taps of 8 bits.
    x, w = (
        ops.cast(t, "float32") if z is None else ops.cast(t, "float32") - _per_filter(z, t)
        for t, z in ((x, x_zero_point), (w, w_zero_point))
    )
    y = Conv(
        x,
        w,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    return ops.cast(ops.round(y), "int32")


def _per_filter(zero_point: Tensor, t: Tensor) -> Tensor:
    z = ops.cast(zero_point, "float32")
    return z.reshape(-1, *[1] * (t.ndim - 1)) if z.ndim and z.size > 1 else z.reshape(())


def Col2Im(
    x: Tensor,
    image_shape: Tensor,
    block_shape: Tensor,
    *,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The sum of blocks at their places: a transposed convolution with filters that have a single 1."""
    image, block = ([int(n) for n in t.numpy()] for t in (image_shape, block_shape))
    rank, area = len(image), int(np.prod(block))
    window = window_of(tuple(image), tuple(block), strides, pads, dilations, "NOTSET")
    n, channels = x.shape[0], x.shape[1] // area
    each = x.reshape(n * channels, area, *window.counts)
    filters = np.eye(area, dtype=x.dtype).reshape(area, 1, *block)
    sides = [*window.before, *window.after]
    full = [(window.counts[i] - 1) * window.stride[i] + span(block[i], window.dilation[i]) for i in range(rank)]
    extra = [image[i] + sides[i] + sides[i + rank] - full[i] for i in range(rank)]
    y = ConvTranspose(
        each,
        from_numpy(filters),
        dilations=window.dilation,
        output_padding=extra,
        pads=sides,
        strides=window.stride,
    )
    return y.reshape(n, channels, *image)
