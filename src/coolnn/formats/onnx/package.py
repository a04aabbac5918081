"""The package `onnx`, which knows the format: imported where it is needed, asked for by name where it is missing."""

from __future__ import annotations

from typing import Any


def onnx_package() -> Any:
    """The package `onnx` with the parts that are used here; raises ImportError with the remedy where it is missing."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.inliner
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError as error:
        raise ImportError("reading and writing ONNX needs the package onnx: pip install coolnn[onnx]") from error
    return onnx
