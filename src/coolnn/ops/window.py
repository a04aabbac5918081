"""Arithmetic of windows that slide over pictures, shared by convolution and pooling."""

from __future__ import annotations

from collections.abc import Sequence

from ..spec import Spec, float32, float64

Pair = tuple[int, int]
#: (top, left, bottom, right)
Sides = tuple[int, int, int, int]


def pair(value: int | Sequence[int], name: str, least: int = 1) -> Pair:
    """(h, w) from one number for both or from two; raises ValueError for anything else or numbers below `least`."""
    if type(value) is int:
        result = (value, value)
    elif type(value) is tuple and len(value) == 2:
        result = value
    else:
        numbers = (value, value) if hasattr(value, "__index__") else tuple(value)
        if len(numbers) != 2:
            raise ValueError(f"{name} must be one number or two (height, width), not {value}")
        result = (int(numbers[0]), int(numbers[1]))
    if result[0] < least or result[1] < least:
        raise ValueError(f"{name} must be {least} or more, not {value}")
    return result


def four_sides(padding: int | Sequence[int]) -> Sides:
    """(top, left, bottom, right) from one number for all sides, from (h, w), or from all four."""
    if type(padding) is int and padding >= 0:
        return (padding, padding, padding, padding)
    if not hasattr(padding, "__index__") and len(padding) == 4:
        top, left, bottom, right = (int(p) for p in padding)
        if min(top, left, bottom, right) < 0:
            raise ValueError(f"padding must be 0 or more, not {padding}; crop by slicing the input")
        return (top, left, bottom, right)
    try:
        h, w = pair(padding, "padding", least=0)
    except ValueError:
        raise ValueError(
            f"padding must be 0 or more: one number, (height, width) or (top, left, bottom, right), not {padding}"
        ) from None
    return (h, w, h, w)


def span(kernel: int, dilation: int) -> int:
    """How many pixels a dilated window reaches over, from its first tap to its last."""
    return dilation * (kernel - 1) + 1


def window_count(length: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """How many places a window has along one axis; `padding` is that of both ends together."""
    return (length + padding - span(kernel, dilation)) // stride + 1


def same_padding(length: int, kernel: int, stride: int, dilation: int) -> Pair:
    """The padding (before, after) with which ceil(length / stride) windows fit; an odd pixel goes after."""
    total = max((-(-length // stride) - 1) * stride + span(kernel, dilation) - length, 0)
    return total // 2, total - total // 2


def tap(offset: int, count: int, stride: int) -> slice:
    """The places along a padded axis that one tap, `offset` from its window's start, reads from in all windows."""
    return slice(offset, offset + stride * (count - 1) + 1, stride)


def need_pictures(name: str, **tensors: Spec | None) -> None:
    """Raises unless all these are (N, C, H, W) and of one real type."""
    for role, spec in tensors.items():
        if spec is not None and len(spec.shape) != 4:
            hint = "; add the batch axis with unsqueeze(0)" if len(spec.shape) == 3 else ""
            raise ValueError(f"{name}: {role} must have four axes, not shape {spec.shape}{hint}")
    need_one_type(name, **tensors)


def need_one_type(name: str, **tensors: Spec | None) -> None:
    """Raises unless all these are float32 or all float64."""
    present = [(role, spec.dtype) for role, spec in tensors.items() if spec is not None]
    for role, dtype in present:
        if dtype != float32 and dtype != float64:
            raise TypeError(f"{name}: {role} is {dtype.name}; convert it with .float()")
        if dtype != present[0][1]:
            raise TypeError(
                f"{name}: {present[0][0]} is {present[0][1].name} and {role} is {dtype.name}; "
                "convert one with .float() or .double()"
            )
