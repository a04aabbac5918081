"""Shapes: other ones, other orders, together and apart. What is computed of shapes alone is known while tracing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .... import ops
from ....ops.axes import broadcast_shapes
from ....spec import int64
from ....tensor import Tensor
from .registry import array, axes_of, axis_of, claim, integers


def Shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return array(list(x.shape)[slice(start, end)], int64)


def Size(x: Tensor) -> Tensor:
    return array(x.size, int64)


def Reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    wanted = integers(shape, "the shape of Reshape")
    if not allowzero:
        wanted = [x.shape[i] if n == 0 and i < x.ndim else n for i, n in enumerate(wanted)]
    return ops.reshape(x, wanted)


def Flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    axis = x.ndim if axis == x.ndim else axis_of(axis, x.ndim)
    return ops.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def Squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    if axes is None:
        return ops.squeeze(x)
    dims = axes_of(integers(axes, "the axes of Squeeze"), x.ndim)
    if any(x.shape[d] != 1 for d in dims):
        raise ValueError(f"Squeeze of axes {dims}, which are not all of length 1 in shape {x.shape}")
    return ops.reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in dims))


def Unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    given = integers(axes, "the axes of Unsqueeze")
    dims = axes_of(given, x.ndim + len(given))
    lengths = iter(x.shape)
    return ops.reshape(x, tuple(1 if i in dims else next(lengths) for i in range(x.ndim + len(dims))))


def Transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    return ops.permute(x, tuple(reversed(range(x.ndim))) if perm is None else tuple(perm))


def Expand(x: Tensor, shape: Tensor) -> Tensor:
    wanted = claim(integers(shape, "the shape of Expand"))
    return ops.broadcast_to(x, claim(broadcast_shapes(x.shape, wanted)))


def Tile(x: Tensor, repeats: Tensor, tiles: Tensor | None = None, *, opset: int = 13) -> Tensor:
    counts = integers(repeats, "the repeats of Tile")
    if opset < 6 and tiles is not None:
        axis = integers(tiles, "the axis of Tile")[0]
        counts = [counts[0] if i == axis else 1 for i in range(x.ndim)]
    if len(counts) != x.ndim:
        raise ValueError(f"Tile needs a count for each of the {x.ndim} axes, not {counts}")
    claim([n * c for n, c in zip(x.shape, counts, strict=True)])
    return ops.repeat(x, *counts) if counts else x


def Concat(*xs: Tensor, axis: int = 1) -> Tensor:
    if not xs:
        raise ValueError("Concat needs at least one input")
    return ops.concat(xs, axis_of(axis, xs[0].ndim))


def Split(
    x: Tensor, split: Tensor | None = None, *, axis: int = 0, num_outputs: int | None = None, outputs: int = 1
) -> tuple[Tensor, ...]:
    axis = axis_of(axis, x.ndim)
    if split is not None:
        return ops.split(x, integers(split, "the sizes of Split"), axis)
    count, length = num_outputs or outputs, x.shape[axis]
    size = -(-length // count)
    return ops.split(x, [max(min(size, length - i * size), 0) for i in range(count)], axis)


def Slice(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None) -> Tensor:
    first, last = integers(starts, "the starts of Slice"), integers(ends, "the ends of Slice")
    dims = list(range(len(first))) if axes is None else integers(axes, "the axes of Slice")
    strides = [1] * len(first) if steps is None else integers(steps, "the steps of Slice")
    if not len(first) == len(last) == len(dims) == len(strides) or 0 in strides:
        raise ValueError(f"Slice with starts {first}, ends {last}, axes {dims} and steps {strides}")
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(first, last, dims, strides, strict=True):
        axis = axis_of(axis, x.ndim)
        length = x.shape[axis]
        # As the standard says, which differs from Python where a backward slice ends before the beginning.
        start, end = (n + length if n < 0 else n for n in (start, end))
        if step > 0:
            index[axis] = slice(min(max(start, 0), length), min(max(end, 0), length), step)
        else:
            start, end = min(max(start, 0), length - 1), min(max(end, -1), length - 1)
            index[axis] = slice(start, None if end < 0 else end, step)
    return x[tuple(index)]


def Pad(
    x: Tensor,
    pads: Tensor,
    value: Tensor | None = None,
    axes: Tensor | None = None,
    *,
    mode: str = "constant",
) -> Tensor:
    amounts = integers(pads, "the amounts of Pad")
    dims = list(range(x.ndim)) if axes is None else [axis_of(n, x.ndim) for n in integers(axes, "the axes of Pad")]
    if len(amounts) != 2 * len(dims):
        raise ValueError(f"Pad needs two numbers for each of {len(dims)} axes, not {amounts}")
    before, after = [0] * x.ndim, [0] * x.ndim
    for i, axis in enumerate(dims):
        before[axis], after[axis] = amounts[i], amounts[i + len(dims)]
    claim([max(n + b + a, 0) for n, b, a in zip(x.shape, before, after, strict=True)])
    around = [side for axis in reversed(range(x.ndim)) for side in (before[axis], after[axis])]
    if mode == "constant":
        filling = 0.0 if value is None or not value.size else value.numpy().reshape(-1)[0].item()
        return ops.pad(x, around, value=filling)
    cropped = x
    if min(around, default=0) < 0:
        index = tuple(slice(max(-b, 0), n - max(-a, 0)) for n, b, a in zip(x.shape, before, after, strict=True))
        cropped, around = x[index], [max(side, 0) for side in around]
    return _pad_like(cropped, around, {"edge": "replicate", "wrap": "circular"}.get(mode, mode))


def _pad_like(x: Tensor, around: Sequence[int], mode: str) -> Tensor:
    """Padding by what is there, also by more than there is."""
    for axis in range(x.ndim):
        b, a = around[2 * (x.ndim - 1 - axis)], around[2 * (x.ndim - 1 - axis) + 1]
        if b or a:
            kind = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
            if kind not in ("edge", "wrap", "reflect"):
                raise ValueError(f"Pad has no mode {mode!r}")
            places = np.pad(np.arange(x.shape[axis]), (b, a), mode=kind)  # type: ignore[call-overload]
            x = ops.take(x, places, axis)
    return x


def DepthToSpace(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = x.shape
    depth = c // blocksize**2
    if mode == "DCR":
        parts = x.reshape(n, blocksize, blocksize, depth, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, depth, blocksize, blocksize, h, w).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, depth, h * blocksize, w * blocksize)


def SpaceToDepth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // blocksize, blocksize, w // blocksize, blocksize)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return parts.permute(*order).reshape(n, c * blocksize**2, h // blocksize, w // blocksize)


def CenterCropPad(x: Tensor, shape: Tensor, *, axes: Sequence[int] | None = None) -> Tensor:
    wanted = integers(shape, "the shape of CenterCropPad")
    dims = range(x.ndim) if axes is None else [axis_of(axis, x.ndim) for axis in axes]
    around = [0] * 2 * x.ndim
    for axis, n in zip(dims, wanted, strict=True):
        claim([n])
        extra = n - x.shape[axis]
        before = extra // 2 if extra >= 0 else -(-extra // 2)
        around[2 * (x.ndim - 1 - axis)], around[2 * (x.ndim - 1 - axis) + 1] = before, extra - before
    return ops.pad(x, around)


def Trilu(x: Tensor, k: Tensor | None = None, *, upper: int = 1) -> Tensor:
    shift = 0 if k is None else integers(k, "k of Trilu")[0]
    rows, columns = np.arange(x.shape[-2])[:, None], np.arange(x.shape[-1])[None]
    kept = columns - rows >= shift if upper else columns - rows <= shift
    return ops.cast(ops.where(array(kept), x, 0), x.dtype)
