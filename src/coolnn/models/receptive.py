"""Receptive fields: how much of the input each number of an activation can see, worked out along the recorded graph.

From the attributes that all operations with windows have (kernel_size or a weight, stride, dilation), so an operation
that a user registers is followed too (Araujo, Norris & Sim 2019, Distill, doi:10.23915/distill.00021).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..autograd import Call
from ..spec import Shape, Spec
from ..tensor import Tensor

Two = tuple[float, float]


class ReceptiveField(NamedTuple):
    """What one number sees: size in input pixels, and how many input pixels lie between two neighbours (stride).

    `grid`: how many such neighbours there are in each direction; (1, 1) when a number stands for the whole picture.
    The size is the theoretical one; at borders a part of it lies outside of the picture. `origin`: the row and column
    where the field of the first number begins, below 0 where that is padding (of a transposed convolution to within
    a pixel of its input).
    """

    size: Two
    stride: Two
    grid: tuple[int, int]
    origin: Two = (0.0, 0.0)

    def window(self, place: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where the field of the number at (row, column) begins and ends, of rows and of columns; may lie outside."""
        begins = [o + p * s for o, p, s in zip(self.origin, place, self.stride, strict=True)]
        spans = [(math.floor(b), math.ceil(b + n)) for b, n in zip(begins, self.size, strict=True)]
        return spans[0], spans[1]


def start(shape: Shape) -> ReceptiveField:
    """The field of the input itself: each pixel sees itself."""
    height, width = shape[2:] if len(shape) == 4 else (1, 1)
    return ReceptiveField((1.0, 1.0), (1.0, 1.0), (height, width))


def after(call: Call, fields: list[ReceptiveField]) -> ReceptiveField:
    """The field of a call's output from those of its inputs that see the picture: the largest, then the window."""
    field = _united(fields)
    source, result = call.inputs[0].spec, call.outputs[0].spec
    if len(source.shape) == 4:
        field = _through(call, field, source, result)
    elif call.op.name in _MIXING:
        field = _joined(field, (True, True))
    return field._replace(grid=result.shape[2:]) if len(result.shape) == 4 else field


def fields(calls: Iterable[Call], inputs: Iterable[Tensor]) -> dict[int, ReceptiveField]:
    """The field of every tensor of a recorded run that sees one of its inputs, by the tensor's id."""
    known = {id(tensor): start(tensor.shape) for tensor in inputs}
    for call in calls:
        seeing = [known[id(t)] for t in call.inputs if t is not None and id(t) in known]
        if seeing:
            known |= dict.fromkeys(map(id, call.outputs), after(call, seeing))
    return known


def _united(fields: list[ReceptiveField]) -> ReceptiveField:
    """The smallest field that holds all of several, which belong to maps of one size."""
    first = fields[0]
    begin = [min(f.origin[axis] for f in fields) for axis in (0, 1)]
    end = [max(f.origin[axis] + f.size[axis] for f in fields) for axis in (0, 1)]
    stride = [max(f.stride[axis] for f in fields) for axis in (0, 1)]
    grid = [max(f.grid[axis] for f in fields) for axis in (0, 1)]
    return first._replace(
        size=(end[0] - begin[0], end[1] - begin[1]),
        stride=(stride[0], stride[1]),
        grid=(grid[0], grid[1]),
        origin=(begin[0], begin[1]),
    )


_MIXING = ("linear", "matmul")
_REDUCING = ("sum", "mean", "amax", "amin")


def _through(call: Call, field: ReceptiveField, source: Spec, result: Spec) -> ReceptiveField:
    attributes, name = call.attributes, call.op.name
    kernel = _kernel(call)
    if name == "conv2d_input_grad" and kernel is not None:  # a transposed convolution
        return _enlarged(field, kernel, attributes)
    if kernel is not None:
        dilation = attributes.get("dilation", (1, 1))
        taps = tuple(d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        before = attributes.get("padding", (0, 0))[:2]
        return _windowed(field, taps, attributes.get("stride", (1, 1)), (-before[0], -before[1]))
    if "output_size" in attributes and len(result.shape) == 4:
        sizes = list(zip(source.shape[2:], result.shape[2:], strict=True))
        return _windowed(
            field, tuple(_adaptive_window(n, o) - 1 for n, o in sizes), tuple(n / max(o, 1) for n, o in sizes)
        )
    if "scale" in attributes:  # resize
        taps = tuple(1.0 if attributes.get("mode") == "bilinear" and s != 1 else 0.0 for s in attributes["scale"])
        shift = tuple(math.floor((s - 1) / 2) if tap else 0 for s, tap in zip(attributes["scale"], taps, strict=True))
        return _windowed(field, taps, attributes["scale"], shift)
    if "steps" in attributes:
        return _windowed(field, (0, 0), attributes["steps"][2:], attributes["starts"][2:])
    if name == "take" and call.attributes["dim"] in (2, 3) and not call.inputs[1].is_meta:  # mirrored borders, say
        middle = result.shape[call.attributes["dim"]] // 2
        moved = int(call.inputs[1].numpy().reshape(-1)[middle]) - middle
        return _windowed(field, (0, 0), (1, 1), (moved, 0) if call.attributes["dim"] == 2 else (0, moved))
    if name == "pad":
        return _windowed(field, (0, 0), (1, 1), tuple(-n for n in attributes["before"][2:]))
    if name in _REDUCING:
        return _joined(field, (2 in attributes["dims"], 3 in attributes["dims"]))
    return _joined(field, (True, True)) if name in _MIXING else field


def _kernel(call: Call) -> tuple[int, int] | None:
    """Height and width of a call's window, if it has one."""
    if "kernel_size" in call.attributes:
        height, width = call.attributes["kernel_size"]
        return height, width
    weight: Any = call.inputs[1] if len(call.inputs) > 1 else None
    if weight is not None and weight.ndim == 4 and "stride" in call.attributes:
        return weight.shape[2], weight.shape[3]
    return None


def _windowed(
    field: ReceptiveField, more: tuple[float, ...], stride: tuple[float, ...], shift: tuple[float, ...] = (0, 0)
) -> ReceptiveField:
    """Each output sees `more` further inputs; neighbours lie `stride` inputs apart, the first begins at `shift`."""
    size = (field.size[0] + more[0] * field.stride[0], field.size[1] + more[1] * field.stride[1])
    origin = (field.origin[0] + shift[0] * field.stride[0], field.origin[1] + shift[1] * field.stride[1])
    stride = (field.stride[0] * stride[0], field.stride[1] * stride[1])
    return field._replace(size=size, stride=stride, origin=origin)


def _enlarged(field: ReceptiveField, kernel: tuple[int, int], attributes: Mapping[str, Any]) -> ReceptiveField:
    stride, dilation, before = attributes["stride"], attributes["dilation"], attributes["padding"][:2]
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    taps = tuple(math.ceil((n + 1) / s) - 1 for n, s in zip(reach, stride, strict=True))
    shift = tuple((p - n) / s for p, n, s in zip(before, reach, stride, strict=True))
    return _windowed(field, taps, (1 / stride[0], 1 / stride[1]), shift)


def _adaptive_window(length: int, count: int) -> int:
    """The longest of the `count` windows into which adaptive pooling divides an axis."""
    if count == 0:
        return 1
    return max(-(-(i + 1) * length // count) - i * length // count for i in range(count))


def _joined(field: ReceptiveField, axes: tuple[bool, bool]) -> ReceptiveField:
    """All positions along the given axes come together in one number."""
    rows, columns = field.grid
    more = ((rows - 1) * axes[0], (columns - 1) * axes[1])
    return _windowed(field, more, (1, 1))._replace(grid=(1 if axes[0] else rows, 1 if axes[1] else columns))
