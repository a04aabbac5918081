"""Axes and shapes as users give them (negative, single, missing) and as operations want them (complete, sorted)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..spec import Shape


def one_axis(dim: int, rank: int, what: str = "dim") -> int:
    """The axis as a non-negative number; raises IndexError for an axis that is not there."""
    if not -rank <= dim < rank:
        if rank == 0:
            raise IndexError(f"{what} {dim} is out of range: a tensor without axes has none to name")
        raise IndexError(
            f"{what} {dim} is out of range for a tensor with {rank} axes; choose from {-rank} to {rank - 1}"
        )
    return dim + rank if dim < 0 else dim


def several_axes(dim: int | Sequence[int] | None, rank: int) -> Shape:
    """Axes as a sorted tuple without repetition; None and an empty list mean all."""
    if dim is None:
        return tuple(range(rank))
    if isinstance(dim, int):
        return (one_axis(dim, rank),)
    axes = tuple(sorted(one_axis(int(d), rank) for d in dim))
    if len(set(axes)) != len(axes):
        raise ValueError(f"dim names an axis twice: {tuple(dim)} for a tensor with {rank} axes")
    return axes if axes else tuple(range(rank))


def as_shape(sizes: Sequence[int] | Sequence[Sequence[int]] | int) -> Shape:
    """A shape from f(2, 3), f((2, 3)) or f(2)."""
    if isinstance(sizes, int):
        return (sizes,)
    if len(sizes) == 1 and not hasattr(sizes[0], "__index__"):
        sizes = sizes[0]
    return tuple([int(n) for n in sizes])  # type: ignore[arg-type]


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The shape that these broadcast to by NumPy's rule; raises ValueError that names the axis that does not fit."""
    rank = max(map(len, shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for axis, length in enumerate(shape, rank - len(shape)):
            if length == 1 or length == result[axis]:
                continue
            if result[axis] != 1:
                given = " and ".join(str(s) for s in shapes)
                raise ValueError(
                    f"shapes {given} do not broadcast: axis {axis - rank} has lengths {result[axis]} and {length}"
                )
            result[axis] = length
    return tuple(result)


def fill_shape(shape: Shape, size: int) -> Shape:
    """Replaces a -1 in a wanted shape by the length that makes it hold `size` elements."""
    if len(shape) > 8:
        raise ValueError(f"a tensor has at most 8 axes, the shape {shape} has {len(shape)}")
    if any(n < -1 for n in shape) or shape.count(-1) > 1:
        raise ValueError(f"a shape has lengths of 0 or more and at most one -1, not {shape}")
    known = math.prod(n for n in shape if n != -1)
    if -1 in shape:
        if known == 0 or size % known:
            raise ValueError(f"cannot find the -1: {size} elements do not fit shape {shape}")
        return tuple(size // known if n == -1 else n for n in shape)
    if known != size:
        raise ValueError(f"cannot reshape {size} elements to {shape}, which has {known}")
    return shape
