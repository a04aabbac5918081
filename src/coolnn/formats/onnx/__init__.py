"""ONNX: networks out to other programs, and in from them."""

from .exporter import Export, export
from .loader import load
from .module import OnnxModule
from .parity import Parity
from .reader import OnnxError

__all__ = ["Export", "OnnxError", "OnnxModule", "Parity", "export", "load"]
