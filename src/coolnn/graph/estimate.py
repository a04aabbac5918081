"""How long a plan will take: its own kernels, each one once on scratch memory, and a formula for what is left.

A plan's time is the sum of its steps'. Equal steps have one kernel; each kernel is run a few times on scratch memory,
the most expensive first, until the budget is used up. A batch that would take too long is measured with fewer
pictures, and scaled by what the formula says of both. The formula is that of the roofline (Williams et al. 2009): the
time of the multiply-adds at the rate of their kind, or of the bytes at the memory's bandwidth, whichever is longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import _core, machine
from .graph import Step, Value
from .program import Program

#: Seconds that may be spent on running kernels.
BUDGET = 1.0
#: Steps on more memory than this are not run but calculated.
_SCRATCH = 512 << 20
#: Time of the call itself, and of each tensor from outside that it is given.
_CALL, _EXTERNAL = 12e-6, 0.5e-6

Array = np.ndarray[Any, np.dtype[Any]]
Measured = dict[int, float]


def estimate_seconds(program: Program, smaller: Callable[[int], Program]) -> float:
    """Seconds that one run of a program will take; `smaller(n)` makes the same program for n pictures."""
    rates = machine.rates()
    whole = [roofline(step, kernel, rates) for step, kernel in program.kernels]
    batch = program.graph.inputs[0].spec.shape[0]
    # Every kernel runs three times, and equal steps share one.
    share = 0.3 * BUDGET / max(_distinct_sum(program, whole), 1e-9)
    pictures = batch if share >= 1 else max(1, int(batch * share))
    sample = program if pictures == batch else smaller(pictures)
    formula = [roofline(step, kernel, rates) for step, kernel in sample.kernels]
    seconds = _measure(sample, formula)
    total = _CALL + _EXTERNAL * len(program.external_values)
    known = sum(f for i, f in enumerate(formula) if i in seconds)
    # What was not measured is as much slower than the formula as what was.
    usual = sum(seconds.values()) / known if known else 1.0
    for i, (full, part) in enumerate(zip(whole, formula, strict=True)):
        total += seconds[i] * full / part if i in seconds else usual * full
    return total


def roofline(step: Step, kernel: _core.Kernel | None, rates: machine.Rates) -> float:
    """Seconds of a step by the formula."""
    specs = tuple(None if v is None else v.spec for v in step.inputs)
    cost = step.op.cost(specs, tuple(v.spec for v in step.outputs), **step.attributes)
    algorithm = kernel.algorithm if kernel is not None else "reference"
    rate = rates.winograd if algorithm.startswith("winograd") else rates.product
    return max(2 * cost.macs / rate, cost.bytes / rates.bandwidth) + rates.fork_join


def _key(step: Step, kernel: _core.Kernel | None) -> Any:
    specs = tuple(None if v is None else v.spec for v in step.inputs)
    return step.op, specs, tuple(step.attributes.items()), kernel and kernel.algorithm


def _distinct_sum(program: Program, seconds: list[float]) -> float:
    return sum({_key(*pair): s for pair, s in zip(program.kernels, seconds, strict=True)}.values())


def _measure(program: Program, formula: list[float]) -> Measured:
    """Seconds of the steps, by number, whose kernels could be run within the budget."""
    groups: dict[Any, list[int]] = {}
    for number, (step, kernel) in enumerate(program.kernels):
        if kernel is not None and sum(_bytes(step, kernel)) <= _SCRATCH:
            groups.setdefault(_key(step, kernel), []).append(number)
    order = sorted(groups.values(), key=lambda numbers: -len(numbers) * formula[numbers[0]])
    needs = [_bytes(step, kernel) for numbers in order for step, kernel in [program.kernels[numbers[0]]]]
    # Inner values are read soon after they were made, from places that others had before; weights come round once a
    # run.
    weights = sum(_rounded(value.spec.nbytes) for value in program.outside)
    inner, outer, whole = (max(sizes, default=0) for sizes in zip(*needs, strict=True)) if needs else (0, 0, 0)
    real = np.random.default_rng(0).normal(0, 0.05, 1 << 16).astype(np.float32)
    memory = _Memory(
        _Ring(inner, real), _Ring(max(outer, min(weights, _SCRATCH)), real), _Ring(whole, np.zeros(1, np.float32))
    )
    found: Measured = {}
    end = time.perf_counter() + BUDGET
    for numbers in order:
        if time.perf_counter() > end:
            break
        step, kernel = program.kernels[numbers[0]]
        assert kernel is not None
        repeats = 3 if formula[numbers[0]] > 1e-3 else 9
        found.update(dict.fromkeys(numbers, _run(step, kernel, memory, repeats)))
    return found


def _values(step: Step) -> list[Value]:
    return list(dict.fromkeys(value for value in (*step.inputs, *step.outputs) if value is not None))


def _ring_of(value: Value) -> int:
    """0 for inner values, 1 for weights, 2 for what may be a place or a class, and has to be 0."""
    if value.spec.dtype.kind != "f":
        return 2
    return 1 if value.tensor is not None else 0


def _bytes(step: Step, kernel: _core.Kernel | None) -> tuple[int, int, int]:
    """What a step takes of each ring."""
    sizes = [0, 0, 0] if kernel is None else [kernel.workspace_bytes, _rounded(kernel.packed_bytes), 0]
    for value in _values(step):
        sizes[_ring_of(value)] += _rounded(value.spec.nbytes)
    return _rounded(sizes[0]), sizes[1], sizes[2]


def _run(step: Step, kernel: _core.Kernel, memory: _Memory, repeats: int) -> float:
    """One of the shorter of some runs after each other, the first one left out: others may be at work here, too."""
    memory.zeros.refill()  # no kernel may meet another's results as places
    places: list[_core.Buffer] = []

    def take(ring: _Ring, size: int) -> tuple[str, int]:
        places.append(ring.take(size))
        return ("external", len(places) - 1)

    steps = []
    for _ in range(repeats + 1):
        for ring, size in zip(memory, _bytes(step, kernel), strict=True):
            ring.begin(size)
        own = {value: take(memory[_ring_of(value)], value.spec.nbytes) for value in _values(step)}
        inputs = tuple(None if value is None else own[value] for value in step.inputs)
        packed = take(memory.weights, kernel.packed_bytes) if kernel.packed_bytes else None
        if packed is not None:
            inputs = (inputs[0], None, *inputs[2:])
        steps.append((inputs, tuple(own[value] for value in step.outputs), packed))
    workspace = _core.Buffer(max(kernel.workspace_bytes, 64))
    plan = _core.Plan(workspace.nbytes, [buffer.nbytes for buffer in places])
    for inputs, outputs, packed in steps:
        plan.add(kernel, inputs, outputs, 0, packed)
    return sorted(plan.run(workspace, tuple(places), True)[1:])[repeats // 4]


def _rounded(size: int) -> int:
    return -(-max(size, 64) // 64) * 64


class _Ring:
    """Memory that is handed out from the start to the end and then again."""

    def __init__(self, size: int, content: Array) -> None:
        self._memory: Array = np.frombuffer(memoryview(_core.Buffer(_rounded(size))), np.uint8)
        self._content = content
        self._start = self._memory.nbytes
        self.refill()

    def refill(self) -> None:
        """Brings back the first content where something was written, and starts anew."""
        written = self._memory[: self._start].view(np.float32)
        written[:] = np.resize(self._content, written.shape)
        self._start = 0

    def begin(self, size: int) -> None:
        """The next parts, `size` bytes together, do not overlap."""
        if self._start + size > self._memory.nbytes:
            self._start = 0

    def take(self, size: int) -> _core.Buffer:
        """The next part."""
        start, self._start = self._start, self._start + _rounded(size)
        return _core.Buffer.borrow(self._memory[start : self._start])


class _Memory(NamedTuple):
    """Where a step finds its values, in the order of `_ring_of`."""

    inner: _Ring
    weights: _Ring
    zeros: _Ring
