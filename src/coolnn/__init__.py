"""coolnn, Cool Neural Networks: train, look inside and ship convolutional networks on the computer you have."""

from __future__ import annotations

import importlib
import os
from typing import Any

from . import ops, random
from .autograd import grad, is_grad_enabled, no_grad, record, set_grad_enabled
from .gradcheck import GradcheckError, gradcheck
from .options import get_num_threads, options, set_num_threads
from .random import manual_seed
from .spec import Spec, boolean, float32, float64, int32, int64, uint8
from .tensor import Tensor, from_dlpack, from_numpy, meta, ones, tensor, zeros

__version__ = "0.1.0"

# Loaded when first used, so that `import coolnn` is instant.
_MODULES = ("data", "explain", "formats", "graph", "machine", "models", "nn", "optim", "tasks", "train")
_NAMES = {
    "compile": "graph",
    "compile_gradient": "graph",
    "compile_step": "graph",
    "forecast": "graph.planner",
    "explain_gradient": "explain",
    "load": "formats.model_file",
    "save": "formats.model_file",
    "summary": "models.summary",
    "Trainer": "train",
}

if os.environ.get("COOLNN_VERBOSE", "") not in ("", "0"):
    importlib.import_module(f"{__name__}.verbose").start()


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'coolnn' has no attribute '{name}'")


__all__ = [
    "GradcheckError",
    "Spec",
    "Tensor",
    "boolean",
    "float32",
    "float64",
    "from_dlpack",
    "from_numpy",
    "get_num_threads",
    "grad",
    "gradcheck",
    "int32",
    "int64",
    "is_grad_enabled",
    "manual_seed",
    "meta",
    "no_grad",
    "ones",
    "ops",
    "options",
    "random",
    "record",
    "set_grad_enabled",
    "set_num_threads",
    "tensor",
    "uint8",
    "zeros",
]
