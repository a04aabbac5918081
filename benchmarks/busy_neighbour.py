"""How much slower a training step gets while other processes keep every core busy.

    python benchmarks/busy_neighbour.py

Each core then has two claimants, so a fair share is half the speed: a ratio of 2.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

import coolnn as cool


def step_of(net: cool.nn.Module, *shape: int) -> Callable[[], object]:
    """A compiled training step on random pictures."""
    rng = np.random.default_rng(0)
    optimizer = cool.optim.SGD(net.parameters(), lr=0.01)
    step = cool.compile_step(net, loss="cross_entropy", optimizer=optimizer)
    x, y = rng.standard_normal(shape).astype(np.float32), rng.integers(0, 10, shape[0])
    return lambda: step(x, y)


def seconds(step: Callable[[], object], total: float) -> float:
    """Seconds a step, on average over at least `total` of them: a median would hide the turns of other processes."""
    step()
    start, runs = time.perf_counter(), 0
    while time.perf_counter() - start < total:
        step()
        runs += 1
    return (time.perf_counter() - start) / runs


def slowdown(step: Callable[[], object], total: float = 1.0, rounds: int = 3) -> float:
    """Time of a step beside a busy process for each thread, over its time alone; median of interleaved rounds."""
    ratios = []
    for _ in range(rounds):
        alone = seconds(step, total)
        loop = [sys.executable, "-c", "while True: pass"]
        neighbours = [subprocess.Popen(loop) for _ in range(cool.get_num_threads())]
        try:
            time.sleep(0.3)  # until they have started
            ratios.append(seconds(step, total) / alone)
        finally:
            for process in neighbours:
                process.kill()
                process.wait()
    return statistics.median(ratios)


def main() -> None:
    cases = {
        "LeNet-5, batch 64": (cool.models.create("lenet5"), (64, 1, 28, 28)),
        "ResNet-20, batch 32, 32 pixels": (cool.models.create("resnet20"), (32, 3, 32, 32)),
    }
    for name, (net, shape) in cases.items():
        print(f"{name}: {slowdown(step_of(net, *shape)):.2f} times slower", flush=True)


if __name__ == "__main__":
    main()
