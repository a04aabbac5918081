"""Passes: changes to a graph that keep what it computes."""

from __future__ import annotations

import functools
from collections.abc import Callable

from ..graph import Graph
from .backward import fuse_conv_backward
from .constants import split_constants
from .fold import fold_batch_norm
from .fuse import fuse_finish
from .unused import drop_unused
from .update import fuse_matmul_update

__all__ = [
    "INFERENCE_PASSES",
    "PASSES",
    "Pass",
    "drop_unused",
    "fold_batch_norm",
    "fuse_conv_backward",
    "fuse_finish",
    "fuse_matmul_update",
    "split_constants",
]

Pass = Callable[[Graph], Graph]

#: What every graph goes through before it is made ready to run, in this order,
PASSES: tuple[Pass, ...] = (drop_unused, fuse_conv_backward, fuse_finish, fuse_matmul_update)
#: and one whose weights are constant.
INFERENCE_PASSES: tuple[Pass, ...] = (
    drop_unused,
    fold_batch_norm,
    functools.partial(fuse_finish, constant_weights=True),
)
