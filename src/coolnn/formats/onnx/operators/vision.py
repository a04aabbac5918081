"""Sampling pictures at places, regions of them, and boxes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .... import ops
from ....autograd import apply
from ....ops.index import TAKE
from ....tensor import Tensor, from_numpy
from .registry import Array, array, claim, integers, number, numbers
from .windows import window_of


class Tap(NamedTuple):
    """The pixel along one axis that each place looks at (a whole number, held as a real one), and its weight."""

    pixel: Tensor
    weight: Tensor | None


def _sampled(x: Tensor, taps: Sequence[Sequence[Tap]], shape: Sequence[int]) -> Tensor:
    """Pixels of x (N, C, ...) weighted and summed over all combinations of taps: (N, C, *shape).

    Pixels that are not there count as 0.
    """
    size, n = x.shape[2:], x.shape[0]
    moved = x.permute(0, *range(2, x.ndim), 1)
    rows = moved.reshape(math.prod(moved.shape[:-1]), x.shape[1])
    total: Tensor | None = None
    for combination in itertools.product(*taps):
        place: Tensor = array(np.arange(n).reshape(n, *[1] * len(shape)))
        weight: Tensor | None = None
        for length, tap in zip(size, combination, strict=True):
            inside = ops.cast(ops.logical_and(tap.pixel >= 0.0, tap.pixel <= length - 1.0), x.dtype)
            part = inside if tap.weight is None else inside * tap.weight
            weight = part if weight is None else weight * part
            # A place that is not a number is outside too; it must not become a whole number by chance.
            pixel = ops.where(ops.isnan(tap.pixel), 0.0, tap.pixel)
            place = place * length + ops.cast(ops.clip(pixel, 0.0, length - 1.0), "int64")
        taken = apply(TAKE, rows, ops.broadcast_to(place, (n, *shape)).reshape(-1), dim=0)
        assert weight is not None
        taken = taken * ops.broadcast_to(weight, (n, *shape)).reshape(-1, 1)
        total = taken if total is None else total + taken
    assert total is not None
    return total.reshape(n, *shape, x.shape[1]).permute(0, len(shape) + 1, *range(1, len(shape) + 1))


# --- grids -----------------------------------------------------------------------------------------------------------


def _reflected(p: Tensor, low: float, high: float) -> Tensor:
    """Positions folded back between two limits as often as it takes."""
    span = high - low
    if span <= 0:
        return p * 0.0
    folded = ops.remainder(p - low, 2 * span)
    return ops.minimum(folded, 2 * span - folded) + low


def _cubic(t: Tensor, a: float = -0.75) -> list[Tensor]:
    """Keys' weights of the four pixels around, for the fraction t beyond the second."""
    weights = []
    for d in (t + 1.0, t, 1.0 - t, 2.0 - t):
        near = ((a + 2) * d - (a + 3)) * d * d + 1.0
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        weights.append(ops.where(d <= 1.0, near, far))
    return weights


def GridSample(
    x: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Tensor:
    kind = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    if kind not in ("linear", "nearest", "cubic") or padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"GridSample has no mode {mode!r} with padding_mode {padding_mode!r}")
    size = x.shape[2:]

    def within(p: Tensor, length: int) -> Tensor:
        """A position brought into the picture, as the padding says."""
        if padding_mode == "reflection":
            p = _reflected(p, 0.0 if align_corners else -0.5, length - (1.0 if align_corners else 0.5))
        return p if padding_mode == "zeros" else ops.clip(p, 0.0, length - 1.0)

    taps: list[list[Tap]] = []
    for axis, length in enumerate(size):
        place = grid[..., len(size) - 1 - axis]
        p = (place + 1.0) * ((length - 1) / 2) if align_corners else ((place + 1.0) * float(length) - 1.0) * 0.5
        if kind == "nearest":
            taps.append([Tap(ops.round(within(p, length)), None)])
        elif kind == "linear":
            p = within(p, length)
            base = ops.floor(p)
            taps.append([Tap(base, 1.0 - (p - base)), Tap(base + 1.0, p - base)])
        else:  # each of the four pixels is brought in on its own
            base = ops.floor(p)
            pixels = [within(base + float(i), length) for i in (-1, 0, 1, 2)]
            taps.append([Tap(*pair) for pair in zip(pixels, _cubic(p - base), strict=True)])
    return _sampled(x, taps, grid.shape[1:-1])


def AffineGrid(theta: Tensor, size: Tensor, *, align_corners: int = 0) -> Tensor:
    lengths = claim(integers(size, "the size of AffineGrid"))[2:]
    axes = []
    for n in lengths:
        ends = (n - 1) / n if n and not align_corners else 1.0
        axes.append(np.linspace(-ends, ends, n) if n > 1 or not align_corners else np.zeros(n))
    planes = np.meshgrid(*axes, indexing="ij")
    points = np.stack([*reversed(planes), np.ones(lengths)], -1).reshape(1, -1, len(lengths) + 1)
    y = ops.matmul(from_numpy(points.astype(theta.dtype)), ops.permute(theta, (0, 2, 1)))
    return y.reshape(theta.shape[0], *lengths, len(lengths))


# --- regions ---------------------------------------------------------------------------------------------------------


def _axis_samples(start: float, size: float, bins: int, ratio: int, length: int) -> tuple[Array, Array, Array]:
    """Along an axis: left pixels, right pixels and the right ones' weights, (bins, samples of a bin)."""
    each = ratio if ratio > 0 else max(math.ceil(size / bins), 1)
    claim([bins, each])
    p = start + (np.arange(bins)[:, None] + (np.arange(each) + 0.5)[None] / each) * (size / bins)
    outside = (p < -1) | (p > length)
    p = np.clip(p, 0, length - 1)
    left = np.floor(p).astype(np.int64)
    right = np.minimum(left + 1, length - 1)
    fraction = np.where(outside, np.nan, p - left)
    return left, right, fraction


def RoiAlign(
    x: Tensor,
    rois: Tensor,
    batch_indices: Tensor,
    *,
    coordinate_transformation_mode: str | None = None,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
    opset: int = 16,
) -> Tensor:
    frame = coordinate_transformation_mode or ("half_pixel" if opset >= 16 else "output_half_pixel")
    half = frame == "half_pixel"
    boxes = numbers(rois, "a region of RoiAlign").astype(np.float64) * spatial_scale - (0.5 if half else 0.0)
    batch = integers(batch_indices, "the picture of a region")
    n, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(n * h * w, c)
    results = []
    for picture, (x1, y1, x2, y2) in zip(batch, boxes, strict=True):
        if not 0 <= picture < n:
            raise IndexError(f"a region of picture {picture} of {n}")
        height, width = y2 - y1, x2 - x1
        if not half:
            height, width = max(height, 1.0), max(width, 1.0)
        down = _axis_samples(y1, height, output_height, sampling_ratio, h)
        across = _axis_samples(x1, width, output_width, sampling_ratio, w)
        results.append(_region(rows, picture * h * w, w, down, across, mode))
    if not results:
        return from_numpy(np.zeros((0, c, output_height, output_width), x.dtype))
    return ops.stack(results).permute(0, 3, 1, 2)


def _region(
    rows: Tensor,
    first: int,
    width: int,
    down: tuple[Array, Array, Array],
    across: tuple[Array, Array, Array],
    mode: str,
) -> Tensor:
    """(bins down, bins across, channels): the mean of samples, or the largest of the four weighted pixels of any."""
    parts = []
    shape = (*down[0].shape, *across[0].shape)
    claim(shape)
    for i, j in itertools.product((0, 1), (0, 1)):
        place = down[i][:, :, None, None] * width + across[j][None, None] + first
        vertical = down[2] if i else 1 - down[2]
        horizontal = across[2] if j else 1 - across[2]
        weight = np.nan_to_num(vertical[:, :, None, None] * horizontal[None, None], nan=0.0)
        taken = ops.take(rows, place.reshape(-1))
        weights = from_numpy(weight.reshape(-1, 1).astype(rows.dtype))
        parts.append((taken * weights).reshape(*shape, rows.shape[1]))
    if mode == "avg":
        return ops.mean(parts[0] + parts[1] + parts[2] + parts[3], (1, 3))
    largest = ops.maximum(ops.maximum(parts[0], parts[1]), ops.maximum(parts[2], parts[3]))
    return ops.amax(largest, (1, 3))


def MaxRoiPool(x: Tensor, rois: Tensor, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0) -> Tensor:
    results = []
    for picture, *box in numbers(rois, "a region of MaxRoiPool"):
        x1, y1, x2, y2 = (math.floor(float(v) * spatial_scale + 0.5) for v in box)
        height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        columns = []
        for i, j in np.ndindex(*pooled_shape):
            top, bottom = (math.floor(i * height / pooled_shape[0]), math.ceil((i + 1) * height / pooled_shape[0]))
            left, right = (math.floor(j * width / pooled_shape[1]), math.ceil((j + 1) * width / pooled_shape[1]))
            part = x[int(picture), :, max(top + y1, 0) : max(bottom + y1, 0), max(left + x1, 0) : max(right + x1, 0)]
            empty = from_numpy(np.zeros(x.shape[1], x.dtype))
            columns.append(ops.amax(part, (1, 2)) if part.size else empty)
        results.append(ops.stack(columns, 1).reshape(x.shape[1], *pooled_shape))
    if not results:
        return from_numpy(np.zeros((0, x.shape[1], *pooled_shape), x.dtype))
    return ops.stack(results)


def DeformConv(
    x: Tensor,
    w: Tensor,
    offset: Tensor,
    b: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Every tap of every window sampled where its offset says; then products with the filters."""
    window = window_of(x.shape[2:], w.shape[2:], strides, pads, dilations, "NOTSET")
    (n, c), (h, wide) = x.shape[:2], window.counts
    taps = math.prod(window.kernel)
    moves = offset.reshape(n * offset_group, taps, 2, h, wide)
    starts = [
        (np.arange(window.kernel[i])[:, None] * window.dilation[i])
        + (np.arange(window.counts[i])[None] * window.stride[i])
        - window.before[i]
        for i in (0, 1)
    ]
    rows = np.repeat(starts[0], window.kernel[1], 0)[:, :, None]  # (taps, h, 1): taps row by row
    columns = np.tile(starts[1], (window.kernel[0], 1))[:, None, :]
    axes = []
    for i, first in enumerate((rows, columns)):
        p = moves[:, :, i] + from_numpy(np.ascontiguousarray(np.broadcast_to(first, (taps, h, wide))).astype(x.dtype))
        base = ops.floor(p)
        axes.append([Tap(base, 1.0 - (p - base)), Tap(base + 1.0, p - base)])
    parts = x.reshape(n * offset_group, c // offset_group, *x.shape[2:])
    seen = _sampled(parts, axes, (taps, h, wide))  # (n · offset groups, channels of one, taps, h, w)
    if mask is not None:
        seen = seen * mask.reshape(n * offset_group, 1, taps, h, wide)
    columns_of = seen.reshape(n, group, c // group * taps, h * wide)
    filters = w.reshape(1, group, w.shape[0] // group, w.shape[1] * taps)
    y = ops.matmul(filters, columns_of).reshape(n, w.shape[0], h, wide)
    return y if b is None else y + b.reshape(-1, 1, 1)


# --- boxes -----------------------------------------------------------------------------------------------------------


def NonMaxSuppression(
    boxes: Tensor,
    scores: Tensor,
    max_output_boxes_per_class: Tensor | None = None,
    iou_threshold: Tensor | None = None,
    score_threshold: Tensor | None = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    most = 0 if max_output_boxes_per_class is None else int(number(max_output_boxes_per_class, "the number of boxes"))
    overlap = 0.0 if iou_threshold is None else float(number(iou_threshold, "the overlap of boxes"))
    least = None if score_threshold is None else float(number(score_threshold, "the least score"))
    corners = numbers(boxes, "the result of NonMaxSuppression")
    if center_point_box:
        x, y, w, h = np.moveaxis(corners, -1, 0)
        corners = np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], -1)
    else:
        low, high = np.minimum(corners[..., :2], corners[..., 2:]), np.maximum(corners[..., :2], corners[..., 2:])
        corners = np.concatenate([low, high], -1)
    given = numbers(scores, "the result of NonMaxSuppression")
    kept: list[tuple[int, int, int]] = []
    for picture, kind in np.ndindex(*given.shape[:2]):
        kept += [
            (picture, kind, box) for box in _suppressed(corners[picture], given[picture, kind], most, overlap, least)
        ]
    return array(np.array(kept, np.int64).reshape(-1, 3))


def _suppressed(boxes: Array, scores: Array, most: int, overlap: float, least: float | None) -> list[int]:
    """Boxes by falling score, without those that overlap a better one by more than the limit."""
    order = np.argsort(-scores, kind="stable")
    if least is not None:
        order = order[scores[order] > least]
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[order, :2]), np.minimum(boxes[best, 2:], boxes[order, 2:])
        common = np.prod(np.maximum(high - low, 0), axis=1)
        union = areas[best] + areas[order] - common
        order = order[~(common > overlap * union)]
    return kept
