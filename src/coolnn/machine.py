"""This machine: how much memory a process may take here, and how fast it computes, measured."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import _core
from .spec import Shape, Spec

# --- memory ----------------------------------------------------------------------------------------------------------


class Available(NamedTuple):
    """Bytes that this process can still take, and what sets that bound."""

    bytes: int
    bound: str  # "container" | "machine"


def available_memory(root: Path = Path("/")) -> Available | None:
    """What may still be taken: up to the limit of the container (cgroup v2 or v1), else what the system has free.

    None where the system does not tell. `root` is where /proc and /sys are found.
    """
    found = []
    free = _meminfo(root).get("MemAvailable")
    if free is not None:
        found.append(Available(free, "machine"))
    found += [Available(max(room, 0), "container") for room in _cgroup_rooms(root)]
    return min(found, default=None)


def _meminfo(root: Path) -> dict[str, int]:
    return _kilobytes(root / "proc/meminfo")


def _kilobytes(path: Path) -> dict[str, int]:
    """The lines of a file such as /proc/meminfo that count kilobytes, in bytes."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    cells = [line.split() for line in lines]
    return {c[0].rstrip(":"): int(c[1]) * 1024 for c in cells if len(c) == 3 and c[2] == "kB" and c[1].isdigit()}


def _cgroup_rooms(root: Path) -> Iterator[int]:
    """Bytes left below the limit of every control group that this process is in."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            names = ("memory.max", "memory.current", "inactive_file")
            top = root / "sys/fs/cgroup"
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            top = root / "sys/fs/cgroup/memory"
        else:
            continue
        # Inside a container the path may be that of the host, while its own group is mounted at the top.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            room = _room(top.joinpath(*parts[:depth]), *names)
            if room is not None:
                yield room


def _room(folder: Path, limit: str, usage: str, cache: str) -> int | None:
    most, used = _number(folder / limit), _number(folder / usage)
    if most is None or most >= 1 << 60:  # "max", or version 1's way to say so
        return None
    try:
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        stat = {}
    return most - (used or 0) + int(stat.get(cache, 0))  # cached files give way


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def resident_memory() -> int:
    """Bytes of memory that this process has now; 0 where the system does not tell."""
    return _kilobytes(Path("/proc/self/status")).get("VmRSS", 0)


def peak_memory() -> int:
    """The most bytes of memory that this process has had; 0 where the system does not tell."""
    return _kilobytes(Path("/proc/self/status")).get("VmHWM", 0)


# --- speed -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rates:
    """What this machine reaches with the threads and the instruction set in use."""

    peak: float  # floating-point operations a second when nothing but fused multiply-adds is done
    product: float  # the same in a matrix product
    winograd: float  # the same in 3×3 convolutions by Winograd's algorithm, counted as if they were direct
    bandwidth: float  # bytes a second read and written by an elementwise operation on memory beyond the caches
    fork_join: float  # seconds to hand work to the threads and to wait for them


def peak_rate() -> float:
    """Floating-point operations a second at most, of all threads; measured when first asked for (0.05 s).

    >>> import coolnn as cool
    >>> cool.machine.peak_rate() > 1e9
    True
    """
    return _peak(_core.isa(), _core.num_threads())


@functools.cache
def _peak(isa: str, threads: int) -> float:
    return _core.measure_fma_peak(0.05)


def rates() -> Rates:
    """All rates, measured when first asked for (under a second) and kept for this process."""
    return _rates(_core.isa(), _core.num_threads())


@functools.cache
def _rates(isa: str, threads: int) -> Rates:
    side, n = 768, 1 << 23
    conv = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
    picture = (2, 128, 56, 56)
    return Rates(
        peak=peak_rate(),
        product=2
        * side**3
        / _kernel_seconds("matmul", {"transpose_a": False, "transpose_b": False}, [(side,) * 2] * 2, (side,) * 2),
        winograd=2
        * 9
        * 128
        * math.prod(picture)
        / _kernel_seconds("conv2d", conv, [picture, (128, 128, 3, 3), None], picture),
        bandwidth=3 * 4 * n / _kernel_seconds("add", {}, [(n,)] * 2, (n,)),
        fork_join=_core.measure_fork_join(),
    )


def _kernel_seconds(
    name: str, attributes: dict[str, object], inputs: list[Shape | None], output: Shape, budget: float = 0.12
) -> float:
    """The best time of a kernel within the budget, on memory of ones."""
    kernel = _core.prepare(name, attributes, tuple(None if s is None else (0, s) for s in inputs), ((0, output),))
    assert kernel is not None, f"the engine has no kernel for {name}"
    given = tuple(None if s is None else ones(s) for s in inputs)
    made = (ones(output),)
    best = math.inf
    end = time.perf_counter() + budget
    while best == math.inf or time.perf_counter() < end:
        start = time.perf_counter()
        kernel.run_into(given, made)
        best = min(best, time.perf_counter() - start)
    return best


def ones(shape: Shape) -> _core.Buffer:
    """Memory of a tensor of float32 ones."""
    buffer = _core.Buffer(Spec(shape).nbytes)
    np.frombuffer(memoryview(buffer), np.float32)[:] = 1
    return buffer
