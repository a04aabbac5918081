"""Whether an exported file computes what the network does: both on the same random inputs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import autograd, nn
from ...spec import Spec
from ...tensor import Tensor, from_numpy


@dataclass(frozen=True)
class Parity:
    """The largest difference of two runs of a network, over all outputs, and that relative to the largest value."""

    absolute: float
    relative: float
    peer: str

    def __str__(self) -> str:
        return f"max. difference to {self.peer}: {self.absolute:.2g} absolute, {self.relative:.2g} relative"


def parity(net: nn.Module, path: str | os.PathLike[str], specs: Sequence[Spec], seed: int = 0) -> Parity | None:
    """Runs a file with ONNX Runtime and a network on the same random inputs; None where the former is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    rng = np.random.default_rng(seed)
    inputs = [rng.standard_normal(spec.shape).astype(spec.dtype) for spec in specs]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    theirs = session.run(None, dict(zip([i.name for i in session.get_inputs()], inputs, strict=True)))
    return compare(_run(net, inputs), theirs, f"ONNX Runtime {onnxruntime.__version__}")


def compare(ours: Sequence[Any], theirs: Sequence[Any], peer: str) -> Parity:
    """The largest differences between two lists of arrays; raises ValueError where their shapes differ."""
    absolute = relative = 0.0
    for mine, other in zip(ours, theirs, strict=True):
        if mine.shape != other.shape:
            raise ValueError(f"{peer} gave an output of shape {other.shape} in place of {mine.shape}")
        if mine.size:
            difference = float(np.abs(mine.astype(np.float64) - other.astype(np.float64)).max())
            absolute = max(absolute, difference)
            relative = max(relative, difference / max(float(np.abs(mine.astype(np.float64)).max()), 1e-30))
    return Parity(absolute, relative, peer)


def _run(net: nn.Module, inputs: Sequence[Any]) -> list[Any]:
    training = {module: module.training for module in net.modules()}
    net.eval()
    try:
        with autograd.no_grad():
            result = net(*[from_numpy(array) for array in inputs])
    finally:
        for module, mode in training.items():
            module.training = mode
    outputs = [result] if isinstance(result, Tensor) else list(result.values() if isinstance(result, dict) else result)
    return [output.numpy() for output in outputs]
