"""OpenVINO, with the network from our own ONNX file: in float32, and as it comes."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino

from .. import nn
from .onnx_file import exported
from .peers import ROUNDED, Array, Setting

PACKAGE = "openvino"


def inferences(net: nn.Module, images: Array, threads: int, slow: bool) -> list[Setting]:
    """In float32 like us, and as it comes: in bfloat16 where the processor has it."""
    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})  # the file is gone before the network runs
    with exported(net, images.shape) as path:
        model = core.read_model(path)
    x = np.ascontiguousarray(images)
    common = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}

    def setting(name: str, tolerance: float | None, more: dict[str, Any]) -> Setting:
        compiled = core.compile_model(model, "CPU", {**common, **more})
        request = compiled.create_infer_request()
        output = compiled.output(0)

        def run() -> Array:
            return request.infer({0: x}, share_inputs=True)[output]  # type: ignore[no-any-return]

        return Setting(name, run) if tolerance is None else Setting(name, run, tolerance)

    return [
        setting("openvino f32", None, {"INFERENCE_PRECISION_HINT": "f32"}),
        setting("openvino as it comes", ROUNDED, {}),
    ]
