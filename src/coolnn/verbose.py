"""Every step as a line: what `dump()` shows of one run, and COOLNN_VERBOSE=1 of all of them, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import _core, autograd, machine
from .ops.op import Op
from .spec import Spec

#: Whether every step that runs is printed.
enabled = False

HEADER = f"{'operation':26} {'algorithm':24} {'shape':20} {'MiB':>8} {'ms':>9} {'GFLOP/s':>8} {'of peak':>8}"


@dataclass(frozen=True)
class StepReport:
    """What one step is and took."""

    op: str
    algorithm: str
    shape: tuple[int, ...]
    macs: int
    bytes: int
    seconds: float

    @property
    def share_of_peak(self) -> float | None:
        """Of the machine's fused multiply-adds; None for steps without multiply-adds. Winograd may go beyond 1."""
        return 2 * self.macs / self.seconds / machine.peak_rate() if self.macs and self.seconds else None

    def __str__(self) -> str:
        share = self.share_of_peak
        speed = "" if share is None else f" {2e-9 * self.macs / self.seconds:8.1f} {share:8.0%}"
        shape = "x".join(map(str, self.shape)) or "1"
        size, milliseconds = self.bytes / 2**20, self.seconds * 1e3
        return f"{self.op:26} {self.algorithm:24} {shape:20} {size:8.2f} {milliseconds:9.3f}{speed}"


def report(
    op: Op,
    algorithm: str,
    inputs: Sequence[Spec | None],
    outputs: Sequence[Spec],
    attributes: dict[str, Any],
    seconds: float,
) -> StepReport:
    """The report of a step; its bytes are those of all inputs and outputs."""
    cost = op.cost(tuple(inputs), tuple(outputs), **attributes)
    return StepReport(op.name, algorithm, outputs[0].shape, cost.macs, cost.bytes, seconds)


def table(reports: Sequence[StepReport]) -> str:
    """All steps of a run, and their sum."""
    total = sum(r.seconds for r in reports) * 1e3
    return "\n".join([HEADER, *map(str, reports), f"{'total':82} {total:8.3f}"])


def show(text: object) -> None:
    """Writes to stderr."""
    print(text, file=sys.stderr, flush=True)


def _watched(
    op: Op, inputs: Sequence[Spec | None], outputs: Sequence[Spec], attributes: dict[str, Any], kernel: _core.Kernel
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The kernel's two ways to run, each telling what it took."""

    def timed(run: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*buffers: Any) -> Any:
            start = time.perf_counter()
            result = run(*buffers)
            seconds = time.perf_counter() - start
            show(report(op, kernel.algorithm, inputs, outputs, attributes, seconds))
            return result

        return watched

    return timed(kernel.run), timed(kernel.run_into)


def start() -> None:
    """Prints every step from now on; what COOLNN_VERBOSE=1 does at import."""
    global enabled
    enabled = True
    show(f"coolnn: {_core.isa()}, {_core.num_threads()} threads, peak {machine.peak_rate() / 1e9:.0f} GFLOP/s")
    show(HEADER)
    autograd.watch(_watched)


def stop() -> None:
    """Prints no more."""
    global enabled
    enabled = False
    autograd.watch(None)
