"""The gradients of a convolution as convolutions: formulas of their own, checked against the engine's numbers.

With ⋆ for cross-correlation and * for convolution, y = x ⋆ w and an upstream gradient g that is dilated by the stride:
dw = x ⋆ g, and dx = g * w, the full convolution, which is the cross-correlation of the padded g with w turned by 180°.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..tensor import Tensor
from .trace import Step

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Identity:
    """A formula for the plane of a gradient that a number lies in, and how far the engine's plane is from it."""

    name: str
    statement: str
    error: float  # largest difference
    scale: float  # largest number of the plane


def spread(plane: Array, by: tuple[int, int]) -> Array:
    """The plane with by - 1 zeros between its numbers along each axis: dilated."""
    full = np.zeros(tuple((n - 1) * s + 1 for n, s in zip(plane.shape, by, strict=True)))
    full[:: by[0], :: by[1]] = plane
    return full


def correlate(a: Array, b: Array) -> Array:
    """Cross-correlation a ⋆ b ("valid"): out[i, j] = Σ a[i + p, j + q] · b[p, q]."""
    height, width = a.shape[0] - b.shape[0] + 1, a.shape[1] - b.shape[1] + 1
    out = np.zeros((height, width))
    for (p, q), value in np.ndenumerate(b):
        if value != 0:
            out += value * a[p : p + height, q : q + width]
    return out


def convolve_full(a: Array, b: Array) -> Array:
    """Convolution a * b ("full"): out[i, j] = Σ a[p, q] · b[i - p, j - q]."""
    out = np.zeros((a.shape[0] + b.shape[0] - 1, a.shape[1] + b.shape[1] - 1))
    for (p, q), value in np.ndenumerate(a):
        if value != 0:
            out[p : p + b.shape[0], q : q + b.shape[1]] += value * b
    return out


def identities_of(
    step: Step, position: int, totals: Mapping[int, Tensor], part: Tensor, place: tuple[int, ...]
) -> list[Identity]:
    """The identities for the plane around a number of the gradient of a convolution's input or filter."""
    call = step.call
    upstream = totals.get(id(call.outputs[0]))
    if call.op.name != "conv2d" or position > 1 or upstream is None:
        return []
    x, weight = (t.numpy().astype(np.float64) for t in call.inputs[:2])
    g, a = upstream.numpy().astype(np.float64), call.attributes
    engine = part.numpy()[place[:2]].astype(np.float64)
    found = _filter_identity if position == 1 else _input_identities
    return [
        Identity(name, statement, float(np.abs(plane - engine).max(initial=0)), float(np.abs(engine).max(initial=0)))
        for name, statement, plane in found(x, weight, g, a, place)
    ]


def _said(a: dict[str, Any]) -> str:
    """The geometry in words."""
    words = [f"stride {a['stride'][0]}×{a['stride'][1]}", f"padding {a['padding']} (top, left, bottom, right)"]
    words += [f"dilation {a['dilation'][0]}×{a['dilation'][1]}"] if a["dilation"] != (1, 1) else []
    words += [f"{a['groups']} groups"] if a["groups"] != 1 else []
    return ", ".join(words)


def _filter_identity(
    x: Array, weight: Array, g: Array, a: dict[str, Any], place: tuple[int, ...]
) -> list[tuple[str, str, Array]]:
    o, c = place[:2]
    channel = o // (weight.shape[0] // a["groups"]) * weight.shape[1] + c
    top, left, bottom, right = a["padding"]
    height, width = weight.shape[2:]
    plane = np.zeros((height, width))
    for n in range(x.shape[0]):
        seen = np.pad(x[n, channel], ((top, bottom), (left, right)))
        whole = correlate(seen, spread(g[n, o], a["stride"]))
        # Taps of a dilated filter lie `dilation` apart; what is beyond its last belongs to pixels no window reaches.
        plane += whole[:: a["dilation"][0], :: a["dilation"][1]][:height, :width]
    statement = (
        f"dw[{o}, {c}] = Σ over pictures of x[:, {channel}] ⋆ g[:, {o}], the cross-correlation of the padded input "
        f"with the upstream gradient dilated by the stride ({_said(a)})"
    )
    return [("filter gradient = cross-correlation", statement, plane)]


def _input_identities(
    x: Array, weight: Array, g: Array, a: dict[str, Any], place: tuple[int, ...]
) -> list[tuple[str, str, Array]]:
    n, c = place[:2]
    outputs = weight.shape[0] // a["groups"]
    group, local = divmod(c, weight.shape[1])
    filters = range(group * outputs, (group + 1) * outputs)
    top, left, bottom, right = a["padding"]
    size = (x.shape[2] + top + bottom, x.shape[3] + left + right)
    convolved, correlated = np.zeros(size), np.zeros(size)
    for o in filters:
        sent, taps = spread(g[n, o], a["stride"]), spread(weight[o, local], a["dilation"])
        full = convolve_full(sent, taps)
        convolved[: full.shape[0], : full.shape[1]] += full
        around = ((taps.shape[0] - 1,) * 2, (taps.shape[1] - 1,) * 2)
        turned = correlate(np.pad(sent, around), taps[::-1, ::-1])
        correlated[: turned.shape[0], : turned.shape[1]] += turned
    inside = (slice(top, top + x.shape[2]), slice(left, left + x.shape[3]))
    which = f"{filters[0]}" if len(filters) == 1 else f"{filters[0]} to {filters[-1]}"
    return [
        (
            "input gradient = full convolution",
            f"dx[{n}, {c}] = Σ over filters {which} of g * w, the full convolution of the upstream gradient, dilated "
            f"by the stride, with the filter, without the padding ({_said(a)})",
            convolved[inside],
        ),
        (
            "= cross-correlation with the filter turned by 180°",
            f"dx[{n}, {c}] = Σ over filters {which} of padded g ⋆ w turned by 180°",
            correlated[inside],
        ),
    ]
