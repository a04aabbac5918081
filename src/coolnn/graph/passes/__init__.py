"""Passes: changes to a graph that keep what it computes."""

from __future__ import annotations

from collections.abc import Callable

from ..graph import Graph
from .backward import fuse_conv_backward
from .unused import drop_unused

__all__ = ["PASSES", "Pass", "drop_unused", "fuse_conv_backward"]

Pass = Callable[[Graph], Graph]

#: What every graph goes through before it is made ready to run, in this order.
PASSES: tuple[Pass, ...] = (drop_unused, fuse_conv_backward)
