"""Files that hold networks: reading checks everything, writing is atomic, no code is ever in them."""

from .architecture import ArchitectureError
from .model_file import Model, load, save, save_weights
from .tensors import FileFormatError
from .weights import load_weights, read_tensors, renamed, weights_for

__all__ = [
    "ArchitectureError",
    "FileFormatError",
    "Model",
    "load",
    "load_weights",
    "read_tensors",
    "renamed",
    "save",
    "save_weights",
    "weights_for",
]
