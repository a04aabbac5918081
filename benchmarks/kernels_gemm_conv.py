"""Matrix products and convolutions of the engine beside PyTorch, taking turns in one process.

Run `PYTHONPATH=src python benchmarks/kernels_gemm_conv.py [name ...]`. Times are medians in milliseconds; PyTorch runs
with its default and its channels-last layout, and the ratio is that of its faster one. The peak is what independent
multiply-adds in registers reach, measured in turn with the rest, since clocks and neighbours vary. Without PyTorch
installed only the engine is measured. The layers of whole networks: `cool bench kernels`.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from coolnn import _core

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

Shape = tuple[int, ...]
PAUSE, TURN = 0.03, 0.02  # seconds


class Conv(NamedTuple):
    """A convolution with square pictures and kernels."""

    n: int
    ic: int
    size: int
    oc: int
    kernel: int
    stride: int = 1
    groups: int = 1

    @property
    def padding(self) -> int:
        return self.kernel // 2

    @property
    def output(self) -> int:
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1


PRODUCTS = {
    "square": (1024, 1024, 1024),
    "large": (4096, 4096, 4096),
    "tall": (25088, 64, 256),
    "wide": (64, 25088, 256),
    "small": (64, 120, 400),
    "tiny": (16, 16, 16),
    "vector": (1, 4096, 4096),
    "few_rows": (4, 1000, 2048),
}
CONVOLUTIONS = {
    "lenet_1": Conv(64, 1, 28, 6, 5),
    "lenet_2": Conv(64, 6, 14, 16, 5),
    "first_3x3": Conv(2, 3, 224, 64, 3),
    "first_7x7": Conv(2, 3, 224, 64, 7, stride=2),
    "vgg_64": Conv(2, 64, 112, 64, 3),
    "vgg_512": Conv(4, 512, 14, 512, 3),
    "one_by_one": Conv(4, 256, 56, 64, 1),
    "expand": Conv(8, 64, 56, 256, 1),
    "expand_16": Conv(8, 16, 112, 96, 1),
    "project_24": Conv(8, 144, 56, 24, 1),
    "strided_3x3": Conv(4, 128, 56, 128, 3, stride=2),
    "strided_64": Conv(8, 64, 56, 64, 3, stride=2),
    "five": Conv(8, 64, 28, 64, 5),
    "five_192": Conv(8, 192, 28, 192, 5),
    "seven": Conv(8, 128, 28, 128, 7),
    "depthwise": Conv(8, 144, 56, 144, 3, groups=144),
    "depthwise_strided": Conv(8, 144, 56, 144, 3, stride=2, groups=144),
    "groups_of_4": Conv(8, 128, 56, 128, 3, groups=32),
    "groups_of_8": Conv(8, 256, 28, 256, 3, groups=32),
    "groups_of_16": Conv(8, 512, 14, 512, 3, groups=32),
}


def buffer(shape: Shape) -> _core.Buffer:
    """Aligned memory with random numbers, as tensors have."""
    made = _core.Buffer(int(np.prod(shape)) * 4)
    np.frombuffer(made, np.float32)[:] = np.random.default_rng(0).standard_normal(int(np.prod(shape)))
    return made


def engine(
    name: str, attributes: dict[str, Any], inputs: Sequence[Shape | None], output: Shape
) -> tuple[str, Callable[[], Any]]:
    """The algorithm chosen, and a call that runs the kernel."""
    kernel = _core.prepare(name, attributes, tuple(s and (0, s) for s in inputs), ((0, output),))
    assert kernel is not None
    given, result = tuple(s and buffer(s) for s in inputs), (buffer(output),)
    return kernel.algorithm, lambda: kernel.run_into(given, result)


def medians(calls: Sequence[Callable[[], Any]], rounds: int = 7) -> tuple[list[float], float]:
    """Milliseconds of each call, and the peak in GFLOP/s.

    They take turns, so that a busy machine treats them alike. Before each turn there is a pause, in which the spinning
    threads of the one before go to sleep, and a call that does not count.
    """
    times: list[list[float]] = [[] for _ in calls]
    peaks = []
    for _ in range(rounds):
        peaks.append(_core.measure_fma_peak(0.005))
        for call, mine in zip(calls, times, strict=True):
            time.sleep(PAUSE)
            call()
            end = time.perf_counter() + TURN
            while time.perf_counter() < end:
                start = time.perf_counter()
                call()
                mine.append(time.perf_counter() - start)
    return [1e3 * statistics.median(mine) for mine in times], 1e-9 * statistics.median(peaks)


def report(label: str, macs: int, algorithm: str, ours: Callable[[], Any], theirs: Sequence[Callable[[], Any]]) -> None:
    (mine, *others), peak = medians([ours, *theirs])
    rate = 2e-6 * macs / mine
    line = f"{label:32} {algorithm:16} {mine:9.3f} ms {rate:6.0f} GFLOP/s {rate / peak:5.0%} of peak"
    if others:
        line += f"   PyTorch {' '.join(f'{t:9.3f}' for t in others)}   {min(others) / mine:5.2f} times as fast"
    print(line, flush=True)


def product(label: str, m: int, n: int, k: int) -> None:
    for transpose_b in (False, True):
        b_shape = (n, k) if transpose_b else (k, n)
        attributes = {"transpose_a": False, "transpose_b": transpose_b}
        algorithm, ours = engine("matmul", attributes, [(m, k), b_shape], (m, n))
        theirs: list[Callable[[], Any]] = []
        if torch is not None:
            a, b, c = torch.randn(m, k), torch.randn(b_shape), torch.empty(m, n)
            right = b.T if transpose_b else b
            theirs.append(partial(torch.mm, a, right, out=c))
        report(f"{label} {m}x{n}x{k}{' B^T' if transpose_b else ''}", m * n * k, algorithm, ours, theirs)


def convolution(label: str, c: Conv) -> None:
    x, y = (c.n, c.ic, c.size, c.size), (c.n, c.oc, c.output, c.output)
    weight = (c.oc, c.ic // c.groups, c.kernel, c.kernel)
    geometry = {"stride": (c.stride,) * 2, "padding": (c.padding,) * 4, "dilation": (1, 1), "groups": c.groups}
    passes: list[tuple[str, dict[str, Any], list[Shape | None], Shape]] = [
        ("conv2d", {}, [x, weight, None], y),
        ("conv2d_input_grad", {"input_size": x[2:]}, [y, weight], x),
        ("conv2d_weight_grad", {"kernel_size": weight[2:]}, [x, y], weight),
    ]
    for index, (name, attributes, inputs, output) in enumerate(passes):
        algorithm, ours = engine(name, {**attributes, **geometry}, inputs, output)
        theirs: list[Callable[[], Any]] = []
        if torch is not None:
            for layout in (torch.contiguous_format, torch.channels_last):
                a, w, g = (torch.randn(s).contiguous(memory_format=layout) for s in (x, weight, y))
                arguments = ([c.stride] * 2, [c.padding] * 2, [1, 1], False, [0, 0], c.groups)
                if index == 0:
                    theirs.append(partial(torch.ops.aten.convolution, a, w, None, *arguments))
                else:
                    mask = [index == 1, index == 2, False]
                    theirs.append(partial(torch.ops.aten.convolution_backward, g, a, w, [0], *arguments, mask))
        macs = c.n * c.output**2 * c.oc * weight[1] * c.kernel**2
        report(f"{label} {name[7:] or 'forward'}", macs, algorithm, ours, theirs)


def main() -> None:
    if torch is not None:
        torch.set_num_threads(_core.num_threads())
    wanted = sys.argv[1:] or [*PRODUCTS, *CONVOLUTIONS]
    print(f"{_core.isa()}, {_core.num_threads()} threads")
    for name in wanted:
        if name in PRODUCTS:
            product(name, *PRODUCTS[name])
        else:
            convolution(name, CONVOLUTIONS[name])


if __name__ == "__main__":
    main()
