"""ONNX: networks out to other programs, and in from them."""

from .exporter import Export, export
from .parity import Parity

__all__ = ["Export", "Parity", "export"]
