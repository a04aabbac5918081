"""Windows that slide over pictures, as the standard's attributes describe them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ....ops.pool import pooled_length
from ....ops.window import same_padding, span, window_count
from ....spec import Shape
from .registry import claim


class Window(NamedTuple):
    """A window's size, steps, reach beyond the picture, and how many places it has, along each axis."""

    kernel: Shape
    stride: Shape
    dilation: Shape
    before: Shape
    after: Shape
    counts: Shape

    def flat(self) -> Window:
        """The same for pictures with a height of 1 in front."""
        fillers = (1, 1, 1, 0, 0, 1)
        return Window(*((first, *rest) for first, rest in zip(fillers, self, strict=True)))

    def without_first(self) -> Window:
        """The same for the axes after the first."""
        return Window(*(values[1:] for values in self))


def window_of(
    size: Shape,
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    pads: Sequence[int] | None,
    dilations: Sequence[int] | None,
    auto_pad: str,
    ceil_mode: bool = False,
) -> Window:
    """The window for pictures of this size; raises ValueError where attributes do not fit or no window does."""
    rank = len(size)
    kernel = tuple(int(k) for k in kernel)
    stride, dilation = (tuple(int(v) for v in given or (1,) * rank) for given in (strides, dilations))
    given = tuple(int(p) for p in pads or (0,) * 2 * rank)
    if not len(kernel) == len(stride) == len(dilation) == rank or len(given) != 2 * rank:
        raise ValueError(f"kernel {kernel}, strides {stride}, dilations {dilation} or pads {given} do not fit {size}")
    if min((*kernel, *stride, *dilation), default=1) < 1:
        raise ValueError(f"kernel {kernel}, strides {stride} and dilations {dilation} must be 1 or more")
    before, after = given[:rank], given[rank:]
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        pairs = [same_padding(size[i], kernel[i], stride[i], dilation[i]) for i in range(rank)]
        before, after = tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)
        if auto_pad == "SAME_LOWER":
            before, after = after, before
    elif auto_pad == "VALID":
        before = after = (0,) * rank
    elif auto_pad not in ("NOTSET", ""):
        raise ValueError(f"auto_pad {auto_pad!r} is not known")
    counts = [
        pooled_length(size[i], kernel[i], stride[i], before[i], after[i], dilation[i], True)
        if ceil_mode and auto_pad in ("NOTSET", "")
        else window_count(size[i], kernel[i], stride[i], before[i] + after[i], dilation[i])
        for i in range(rank)
    ]
    if min(counts, default=1) < 1:
        reach = tuple(span(k, d) for k, d in zip(kernel, dilation, strict=True))
        raise ValueError(f"a window of {reach} does not fit a picture of {size} with pads {(*before, *after)}")
    return Window(kernel, stride, dilation, before, after, claim(counts))
