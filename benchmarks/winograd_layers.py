"""Times the 3×3 layers of VGG19, all three passes, against PyTorch's (channels-last and default) where it is installed.

    python benchmarks/winograd_layers.py [--batch 8] [--size 224] [--repeats 5] [--threads 2] [--layers 256,512]

The contenders take turns in one process, so that a busy machine hurts all of them alike; times are medians in
milliseconds, and the last column says how much faster the engine is than PyTorch's better setting. The first layer
(3 channels) is not Winograd's and left out.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from coolnn import _core
from coolnn.spec import DTYPE_CODES

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

Array = np.ndarray[Any, np.dtype[np.float32]]
PASSES = ("forward", "input_grad", "weight_grad")
ATTRIBUTES = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
FLOAT = DTYPE_CODES[np.dtype(np.float32)]


class Layer(NamedTuple):
    """A convolution of VGG19: channels, width of its square picture as a part of the input's, how often it occurs."""

    inputs: int
    outputs: int
    reduction: int
    times: int


LAYERS = [
    Layer(64, 64, 1, 1),
    Layer(64, 128, 2, 1),
    Layer(128, 128, 2, 1),
    Layer(128, 256, 4, 1),
    Layer(256, 256, 4, 3),
    Layer(256, 512, 8, 1),
    Layer(512, 512, 8, 3),
    Layer(512, 512, 16, 4),
]


def buffer_of(array: Array) -> _core.Buffer:
    """A buffer of the engine with an array's content in its storage order."""
    stored = np.ascontiguousarray(array.transpose(0, 2, 3, 1) if array.ndim == 4 else array)
    buffer = _core.Buffer(stored.nbytes)
    np.frombuffer(memoryview(buffer), np.uint8)[:] = stored.reshape(-1).view(np.uint8)
    return buffer


def engine_passes(x: Array, weight: Array, bias: Array, grad: Array) -> tuple[dict[str, Callable[[], Any]], list[str]]:
    """The three passes as calls of prepared kernels into fixed buffers, and the names of their algorithms."""
    size, kernel = {"input_size": x.shape[2:]}, {"kernel_size": weight.shape[2:]}
    problems = {
        "forward": ("conv2d", {}, (x, weight, bias), grad),
        "input_grad": ("conv2d_input_grad", size, (grad, weight), x),
        "weight_grad": ("conv2d_weight_grad", kernel, (x, grad), weight),
    }
    buffers = {id(a): buffer_of(a) for a in (x, weight, bias, grad)}
    calls: dict[str, Callable[[], Any]] = {}
    algorithms = []
    for name, (operation, attributes, inputs, output) in problems.items():
        prepared = _core.prepare(
            operation,
            {**attributes, **ATTRIBUTES},
            tuple((FLOAT, a.shape) for a in inputs),
            ((FLOAT, output.shape),),
        )
        assert prepared is not None
        algorithms.append(prepared.algorithm)
        given, made = tuple(buffers[id(a)] for a in inputs), (_core.Buffer(output.nbytes),)
        calls[name] = lambda run=prepared.run_into, given=given, made=made: run(given, made)
    return calls, algorithms


def torch_passes(x: Array, weight: Array, bias: Array, grad: Array, memory_format: Any) -> dict[str, Callable[[], Any]]:
    """The same three passes in PyTorch."""
    tx, tw, tg = (torch.from_numpy(a).to(memory_format=memory_format) for a in (x, weight, grad))
    tb = torch.from_numpy(bias)

    def backward(mask: list[bool]) -> Any:
        return torch.ops.aten.convolution_backward(tg, tx, tw, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask)

    return {
        "forward": lambda: torch.nn.functional.conv2d(tx, tw, tb, padding=1),
        "input_grad": lambda: backward([True, False, False]),
        "weight_grad": lambda: backward([False, True, False]),
    }


def measure(contenders: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each contender; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            if turn > 0:
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--layers", default="", help="only layers with these numbers of output channels")
    parser.add_argument("--passes", default=",".join(PASSES))
    parser.add_argument("--no-torch", action="store_true")
    options = parser.parse_args()
    _core.set_num_threads(options.threads)
    threads = _core.num_threads()
    compare = torch is not None and not options.no_torch
    if compare:
        torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    total = dict.fromkeys(("engine", "channels_last", "default"), 0.0)
    print(f"batch {options.batch}, {threads} threads, {_core.isa()}")
    print(
        f"{'layer':>16} {'pass':>12} {'algorithm':>14} {'engine':>8} {'GFLOP/s':>8} {'ch-last':>8} {'default':>8} ratio"
    )
    for layer in LAYERS:
        if options.layers and str(layer.outputs) not in options.layers.split(","):
            continue
        width = options.size // layer.reduction
        x = rng.standard_normal((options.batch, layer.inputs, width, width), dtype=np.float32)
        weight = rng.standard_normal((layer.outputs, layer.inputs, 3, 3), dtype=np.float32) * 0.05
        bias = rng.standard_normal(layer.outputs, dtype=np.float32)
        grad = rng.standard_normal((options.batch, layer.outputs, width, width), dtype=np.float32)
        calls, algorithms = engine_passes(x, weight, bias, grad)
        contenders = {"engine": calls}
        if compare:
            contenders["channels_last"] = torch_passes(x, weight, bias, grad, torch.channels_last)
            contenders["default"] = torch_passes(x, weight, bias, grad, torch.contiguous_format)
        for name, algorithm in zip(PASSES, algorithms, strict=True):
            if name not in options.passes.split(","):
                continue
            times = measure({who: passes[name] for who, passes in contenders.items()}, options.repeats)
            for who, value in times.items():
                total[who] += value * layer.times
            flops = 2 * 9 * layer.inputs * layer.outputs * options.batch * width * width
            row = f"{layer.inputs:>5}→{layer.outputs} @{width}".rjust(16) + f" {name:>12} {algorithm:>14}"
            row += f" {times['engine']:8.2f} {flops / times['engine'] / 1e6:8.0f}"
            if compare:
                row += f" {times['channels_last']:8.2f} {times['default']:8.2f}"
                row += f" {min(times['channels_last'], times['default']) / times['engine']:5.2f}"
            print(row, flush=True)
    print(f"all layers as often as they occur: {total['engine']:.0f} ms")
    if compare:
        best = min(total["channels_last"], total["default"])
        print(f"PyTorch: {total['channels_last']:.0f} channels-last, {total['default']:.0f} default")
        print(f"{best / total['engine']:.2f} times as fast as the better of them")


if __name__ == "__main__":
    main()
