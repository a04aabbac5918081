"""Receptive fields: the box of places of each input that a number can depend on, carried back through a trace.

Numbers are not needed, only shapes: a trace of tensors without numbers will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd import Call
from ..ops.terms import Place
from ..tensor import Tensor
from .trace import Trace

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Box:
    """The places from `first` to `last`, both included, along each axis."""

    first: Place
    last: Place

    def joined(self, other: Box) -> Box:
        """The smallest box that holds both."""
        return Box(tuple(map(min, self.first, other.first)), tuple(map(max, self.last, other.last)))

    @property
    def shape(self) -> Place:
        """Its lengths."""
        return tuple(b - a + 1 for a, b in zip(self.first, self.last, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """The box as plain data."""
        return {"first": list(self.first), "last": list(self.last)}

    def __str__(self) -> str:
        spans = [str(a) if a == b else f"{a}–{b}" for a, b in zip(self.first, self.last, strict=True)]
        return f"[{', '.join(spans)}]"


#: Operations that only move numbers, possibly in an order that no corner of a box tells.
_MOVING = {
    "reshape", "permute", "broadcast_to", "flip", "concat", "slice", "pixels_to_rows", "rows_to_pixels",
    "take", "gather",
}  # fmt: skip
_CHOOSING = ("max_pool2d", "adaptive_max_pool2d")  # whose terms name all candidates beside the one that was chosen
_WHOLE = ("take", "gather")  # whose second input is an index


def seen_by(trace: Trace, tensor: Tensor, place: Place) -> dict[int, Box]:
    """For each tensor before this number, by its id, the box of places that the number can depend on."""
    boxes = {id(tensor): Box(place, place)}
    made = trace.maker(tensor)
    for step in reversed(trace.steps[: made[0].number + 1] if made else ()):
        if step.call.in_place:
            continue
        for output, result in enumerate(step.call.outputs):
            if id(result) in boxes and result.size:
                for position, box in _behind(_with_numbers(step.call), output, boxes[id(result)]).items():
                    key = id(step.call.inputs[position])
                    boxes[key] = boxes[key].joined(box) if key in boxes else box
    return boxes


class _Blank(Tensor):
    """A tensor without numbers, read as zeros that take no memory: which places a number depends on is in the shapes.

    What chooses by its numbers is asked for all that it could choose.
    """

    __slots__ = ()

    def numpy(self) -> Array:
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)


def _with_numbers(call: Call) -> Call:
    """The call, with zeros where it has tensors without numbers."""
    if not any(t is not None and t.is_meta for t in (*call.inputs, *call.outputs)):
        return call
    inputs = tuple(_Blank(None, t.spec) if t is not None and t.is_meta else t for t in call.inputs)
    outputs = tuple(_Blank(None, t.spec) if t.is_meta else t for t in call.outputs)
    return Call(call.op, inputs, outputs, call.attributes, call.needs, call.in_place)


def _behind(call: Call, output: int, box: Box) -> dict[int, Box]:
    """For each input of a call the box that a box of its output can depend on."""
    if call.op.name in _MOVING:
        return _moved(call, box)
    if call.op.name == "where":
        return {i: _under(t, box) for i, t in enumerate(call.inputs) if t.size}
    found: dict[int, Box] = {}
    for place in _samples(box):
        terms = call.op.terms(call, place, output)
        if terms is None:
            return {i: _all_of(t) for i, t in enumerate(call.inputs) if t is not None and t.size}
        groups = () if call.op.name in _CHOOSING else terms.groups
        for factor in (*(f for group in groups for f in group.factors), *terms.also):
            if factor.tensor is None or factor.places is None or factor.made:
                continue
            inside = factor.places[(factor.places >= 0).all(axis=1)]
            if len(inside):
                part = Box(tuple(inside.min(0).tolist()), tuple(inside.max(0).tolist()))
                known = found.get(factor.tensor)
                found[factor.tensor] = part if known is None else known.joined(part)
    return found


def _samples(box: Box) -> list[Place]:
    """Places near both ends of a box: what they see holds what all between them see (strides up to 4 included)."""
    found: dict[Place, None] = {}
    for step in range(4):
        found[tuple(min(a + step, b) for a, b in zip(box.first, box.last, strict=True))] = None
        found[tuple(max(b - step, a) for a, b in zip(box.first, box.last, strict=True))] = None
    return list(found)


def _under(tensor: Tensor, box: Box) -> Box:
    """The part of an operand that a box of a result depends on which it was broadcast to."""
    axes = len(box.first) - tensor.ndim
    spans = zip(box.first[axes:], box.last[axes:], tensor.shape, strict=True)
    found = [(0, 0) if n == 1 else (a, b) for a, b, n in spans]
    return Box(tuple(a for a, _ in found), tuple(b for _, b in found))


def _all_of(tensor: Tensor) -> Box:
    return Box((0,) * tensor.ndim, tuple(n - 1 for n in tensor.shape))


def _moved(call: Call, box: Box) -> dict[int, Box]:
    """Found by moving the numbers of places instead of what is at them."""
    moving = [0] if call.op.name in _WHOLE else list(range(len(call.inputs)))
    inputs = [t.numpy() for t in call.inputs]
    starts, start = [], 0
    for i in moving:
        inputs[i] = np.arange(start, start + inputs[i].size).reshape(inputs[i].shape)
        starts.append(start)
        start += inputs[i].size
    region = tuple(slice(a, b + 1) for a, b in zip(box.first, box.last, strict=True))
    numbers = np.asarray(call.op.reference(*inputs, **call.attributes))[region].reshape(-1)
    found = {}
    for i, first in zip(moving, starts, strict=True):
        own = numbers[(numbers >= first) & (numbers < first + call.inputs[i].size)] - first
        if len(own):
            places = np.stack(np.unravel_index(own, call.inputs[i].shape), axis=1) if call.inputs[i].ndim else None
            found[i] = (
                Box((), ()) if places is None else Box(tuple(places.min(0).tolist()), tuple(places.max(0).tolist()))
            )
    for i in range(len(call.inputs)):
        if i not in moving:
            found[i] = _all_of(call.inputs[i])
    return found
