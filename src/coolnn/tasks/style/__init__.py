"""Style transfer: a photograph painted like a picture, by optimisation or by a trained network in one pass.

`transfer` takes any style and minutes; a `Painter` has learned one style and takes a second. `train` teaches it.
"""

from .network import open_style, stylizer, trained_styles
from .onepass import Painter, paint_files
from .optimise import Need, Result, Settings, Transfer, transfer
from .pictures import write
from .training import Recipe, Run, resume, train

__all__ = [
    "Need",
    "Painter",
    "Recipe",
    "Result",
    "Run",
    "Settings",
    "Transfer",
    "open_style",
    "paint_files",
    "resume",
    "stylizer",
    "train",
    "trained_styles",
    "transfer",
    "write",
]
