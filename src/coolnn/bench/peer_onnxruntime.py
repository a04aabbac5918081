"""ONNX Runtime, with the network from our own ONNX file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime

from .. import nn
from .onnx_file import exported
from .peers import Array, Setting

PACKAGE = "onnxruntime"


def inferences(net: nn.Module, images: Array, threads: int, slow: bool) -> list[Setting]:
    """All of its optimizations on, batch norm folded in the file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    with exported(net, images.shape) as path:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    x = np.ascontiguousarray(images)

    def run() -> Array:
        return session.run(None, {name: x})[0]  # type: ignore[no-any-return]

    runs: dict[str, Callable[[], Array]] = {"onnxruntime": run}
    return [Setting(title, each) for title, each in runs.items()]
