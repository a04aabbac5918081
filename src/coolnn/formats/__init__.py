"""Files that hold networks: reading checks everything, writing is atomic, no code is ever in them."""

from .architecture import ArchitectureError
from .model_file import Model, load, load_weights, save, save_weights
from .tensors import FileFormatError

__all__ = ["ArchitectureError", "FileFormatError", "Model", "load", "load_weights", "save", "save_weights"]
