"""Padding with a value, by reflection, by the edge and around the corner."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from ..autograd import Call, apply
from ..spec import Shape, Spec, int64
from ..tensor import Operand, Tensor, from_numpy
from .index import TAKE
from .op import Array, Case, Op, S, define, function
from .operands import as_tensor
from .shape import cut
from .terms import Place, Products, Terms, constant, copied

__all__ = ["pad"]

#: NumPy's name of each mode.
_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "edge": "edge", "circular": "wrap"}


class Pad(Op):
    """A value around the tensor, `before` and `after` each axis."""

    name = "pad"
    onnx = "Pad"
    saves_inputs = ()

    def infer(self, x: Spec, before: Shape, after: Shape, value: float) -> Spec:
        return Spec(tuple([b + n + a for b, n, a in zip(before, x.shape, after, strict=True)]), x.dtype)

    def reference(self, x: Array, before: Shape, after: Shape, value: float) -> Array:
        return np.pad(x, tuple(zip(before, after, strict=True)), constant_values=value)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        source = tuple([p - b for p, b in zip(place, call.attributes["before"], strict=True)])
        if all(0 <= p < n for p, n in zip(source, call.inputs[0].shape, strict=True)):
            return copied(call, "x", source)
        filled = constant("padding", call.attributes["value"], 1)
        return Terms("choice", "padding", (Products("padding", (filled,)),))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        before, shape = call.attributes["before"], call.inputs[0].shape
        return (cut(grad, [(b, b + n, 1) for b, n in zip(before, shape, strict=True)]),)


PAD = define(Pad)


@functools.lru_cache(maxsize=256)
def _source(length: int, before: int, after: int, mode: str) -> Tensor:
    """For each place of a padded axis the place that it copies."""
    return from_numpy(np.pad(np.arange(length, dtype=int64), (before, after), mode=_MODES[mode]))  # type: ignore[call-overload]


def _check_reach(mode: str, length: int, before: int, after: int) -> None:
    limit = {"reflect": length - 1, "circular": length}.get(mode)
    if length == 0 or (limit is not None and max(before, after) > limit):
        raise ValueError(
            f'pad: mode="{mode}" cannot add {before} and {after} to an axis of length {length}'
            + (f"; it can add {limit} at most" if length and limit is not None else "")
        )


@function(
    Case(S(2, 3, 5, 6), (1, 2)),
    Case(S(2, 3, 5, 6), (1, 0, 2, 3), value=1.5),
    Case(S(1, 17, 3, 3), (1, 1, 1, 1), "constant", 0.0),
    Case(S(4, 3), (0, 1, 2, 0), "constant", float("-inf")),
    Case(S(2, 3, 5, 6), (-1, 2, 1, -3)),
    Case(S(1, 2, 4, 5), (1, 2, 3, 0), mode="reflect"),
    Case(S(1, 2, 4, 5), (1, 6, 3, 0), mode="replicate"),
    Case(S(1, 2, 4, 5), (5, 1, 3, 0), mode="circular"),
    Case(S(1, 2, 4, 5), (1, 2), mode="edge", torch=False),
    Case(S(2, 3, 4), (2, 1), mode="reflect"),
    Case(S(0, 3, 2, 2), (1, 1)),
    torch="nn.functional.pad",
)
def pad(x: Operand, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Adds places around a tensor. `pad` counts from the last axis on: (left, right, top, bottom, ...).

    x (..., H, W) -> (..., top + H + bottom, left + W + right). `mode` is "constant" (with `value`, 0 if not given;
    negative counts crop), "reflect" (mirrored, the edge not repeated), "replicate" or "edge" (the edge repeated), or
    "circular" (from the other end). Raises ValueError where there are more counts than axes or nothing to copy from.

    >>> import coolnn as cool
    >>> x = cool.tensor([1.0, 2.0, 3.0])
    >>> cool.ops.pad(x, (1, 2)).tolist()
    [0.0, 1.0, 2.0, 3.0, 0.0, 0.0]
    >>> cool.ops.pad(x, (2, 0), mode="reflect").tolist()
    [3.0, 2.0, 1.0, 2.0, 3.0]
    """
    x = as_tensor(x)
    rank = x.ndim
    if len(pad) % 2 or len(pad) > 2 * rank:
        raise ValueError(f"pad: {tuple(pad)} must be pairs (before, after), for at most the {rank} axes of {x.shape}")
    if mode not in _MODES:
        raise ValueError(f'pad: mode must be one of {", ".join(_MODES)}, not "{mode}"')
    counts = [int(n) for n in pad] + [0] * (2 * rank - len(pad))
    before, after = tuple(counts[-2::-2]), tuple(counts[::-2])  # the other way round: the first axis first
    if mode == "constant":
        return _constant(x, before, after, 0.0 if value is None else float(value))
    if value is not None and value != 0:
        raise ValueError(f'pad: value={value} has no meaning with mode="{mode}"')
    for axis, (b, a) in enumerate(zip(before, after, strict=True)):
        if b < 0 or a < 0:
            raise ValueError(f'pad: mode="{mode}" needs counts of 0 or more, not {tuple(pad)}; crop by slicing')
        if b or a:
            _check_reach(mode, x.shape[axis], b, a)
            x = apply(TAKE, x, _source(x.shape[axis], b, a, mode), dim=axis)
    return x


def _constant(x: Tensor, before: Shape, after: Shape, value: float) -> Tensor:
    """Pads with a value; negative counts crop first."""
    if min(before + after, default=0) < 0:
        bounds = [(max(-b, 0), n - max(-a, 0), 1) for b, n, a in zip(before, x.shape, after, strict=True)]
        if any(stop < start for start, stop, _ in bounds):
            raise ValueError(f"pad: negative counts crop more than there is of shape {x.shape}")
        x = cut(x, bounds)
        before, after = tuple(max(b, 0) for b in before), tuple(max(a, 0) for a in after)
    return apply(PAD, x, before=before, after=after, value=value) if any(before) or any(after) else x
