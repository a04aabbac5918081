"""ncnn, with the network written straight from our traced graph."""

from __future__ import annotations

import tempfile
from pathlib import Path

import ncnn
import numpy as np

from .. import nn
from .ncnn_file import convert
from .peers import Array, Setting
from .portable import folded

PACKAGE = "ncnn"


def inferences(net: nn.Module, images: Array, threads: int, slow: bool) -> list[Setting]:
    """In float32, with Winograd and packed layouts, which are on by default."""
    text, weights = convert(folded(net, images.shape))
    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    network.opt.num_threads = threads
    for rounded in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(network.opt, f"use_{rounded}", False)
    with tempfile.TemporaryDirectory(prefix="coolnn-bench-") as folder:
        layers, numbers = Path(folder) / "network.param", Path(folder) / "network.bin"
        layers.write_text(text)
        numbers.write_bytes(weights)
        if network.load_param(str(layers)) or network.load_model(str(numbers)):
            raise NotImplementedError("this network in ncnn: it refuses the file")
    pixels = np.ascontiguousarray(images[0])
    x = ncnn.Mat(pixels).clone()  # the first one only borrows the memory of the array, which must still be there

    def run() -> Array:
        extractor = network.create_extractor()
        extractor.input("data", x)
        status, output = extractor.extract("output")
        if status:
            raise RuntimeError(f"ncnn could not run the network (status {status})")
        return np.array(output)[None]

    return [Setting("ncnn", run)]
