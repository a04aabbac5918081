"""Files that hold networks: reading checks everything, writing is atomic, no code is ever in them."""

import importlib
from types import ModuleType

from .architecture import ArchitectureError
from .model_file import Model, load, save, save_weights
from .pretrained import Description, open_pretrained, weights_for
from .tensors import FileFormatError
from .weights import load_weights, read_tensors, renamed

__all__ = [
    "ArchitectureError",
    "Description",
    "FileFormatError",
    "Model",
    "load",
    "load_weights",
    "open_pretrained",
    "read_tensors",
    "renamed",
    "save",
    "save_weights",
    "weights_for",
]


def __getattr__(name: str) -> ModuleType:
    """`coolnn.formats.onnx`, read when it is first asked for."""
    if name == "onnx":
        return importlib.import_module(".onnx", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
