"""A program: a graph made ready to run, its memory laid out, its kernels in plans that take one call each."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core, verbose
from ..autograd import Prepared, prepare
from ..spec import Spec, logical_order, storage_order
from ..tensor import Tensor
from ..verbose import StepReport
from .constants import Constants
from .graph import Graph, Step, Value
from .memory import plan_memory
from .passes import INFERENCE_PASSES, PASSES, Pass, split_constants
from .precision import Precision


class Arena:
    """Memory for inner values, as large as the largest of the programs that share it needs; one runs at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._buffer = _core.Buffer(64)

    def of(self, size: int) -> _core.Buffer:
        """The block, of at least this many bytes."""
        if self._buffer.nbytes < size:
            self._buffer = _core.Buffer(64)  # the old block goes before there is a new one
            self._buffer = _core.Buffer(size)
        return self._buffer


class Program:
    """Runs a graph: `run(inputs)` gives the outputs. Weights are read where they lie, so changes of them are seen.

    With `constant_weights` (inference) what depends on weights alone, batch norm's part in them and the form in which
    kernels read them, is computed once, and again when weights were changed. A `precision` of "bf16" lets kernels round
    constant weights, and what they are multiplied with, where that is faster.
    """

    def __init__(
        self,
        graph: Graph,
        arena: Arena | None = None,
        passes: Sequence[Pass] | None = None,
        constant_weights: bool = False,
        precision: Precision = "float32",
    ) -> None:
        if passes is None:
            passes = INFERENCE_PASSES if constant_weights else PASSES
        for change in passes:
            graph = change(graph)
        self.constants: Constants | None = None
        if constant_weights:
            early, graph, derived = split_constants(graph)
            self.constants = Constants(Program(early) if early.steps else None, derived)
        self.graph = graph
        prepared = [_prepare(step, constant_weights, precision) for step in graph.steps]
        aliases = {
            step.outputs[0]: step.inputs[0]
            for step, ready in zip(graph.steps, prepared, strict=True)
            if ready.alias and step.inputs[0] is not None
        }
        self.workspaces = [ready.kernel.workspace_bytes if ready.kernel else 0 for ready in prepared]
        self._unwritten = _unwritten(graph, prepared)
        self.layout = plan_memory(graph, aliases, self.workspaces, self._unwritten)
        self._packed = self._pack(graph, prepared)
        unread = self._only_packed(graph)
        self.outside = [*(value for value in graph.externals() if value not in unread), *self._packed.values()]
        roots = [self.layout.root(value) for value in graph.outputs]
        self.external_values = list(dict.fromkeys([*graph.inputs, *roots, *self.outside]))
        self._numbers = {value: i for i, value in enumerate(self.external_values)}
        self._arena = arena or Arena()
        self._segments: list[_core.Plan | _ReferenceStep] = []
        #: Every step that runs, with its kernel (None: the reference runs).
        self.kernels: list[tuple[Step, _core.Kernel | None]] = []
        for number, (step, ready) in enumerate(zip(graph.steps, prepared, strict=True)):
            if not ready.alias:
                self._add(step, ready, self.layout.workspaces[number])

    @property
    def bytes(self) -> int:
        """Bytes of the block in which all inner values live."""
        return max(self.layout.size, 64)

    def _pack(self, graph: Graph, prepared: Sequence[Prepared]) -> dict[Step, Value]:
        """Makes a value from outside of the weights that a step's kernel wants packed."""
        packed = {}
        for step, ready in zip(graph.steps, prepared, strict=True):
            if self.constants is not None and ready.kernel is not None and ready.kernel.packed_bytes:
                packed[step] = self.constants.packed(step, ready.kernel)
        return packed

    def _only_packed(self, graph: Graph) -> frozenset[Value]:
        """The weights that steps read in their packed form alone."""
        if self.constants is None:
            return frozenset()
        read: set[Value | None] = set()
        packed: set[Value | None] = set()
        for step in graph.steps:
            for i, value in enumerate(step.inputs):
                (packed if step in self._packed and i == step.op.weight_input else read).add(value)
        self.constants.only_packed = frozenset(value for value in packed - read if value is not None)
        return self.constants.only_packed

    def _add(self, step: Step, ready: Prepared, workspace: int) -> None:
        self.kernels.append((step, ready.kernel))
        packed = self._packed.get(step)  # then the weights are read in that form
        inputs = tuple(
            None if packed and i == step.op.weight_input else self._place(value) for i, value in enumerate(step.inputs)
        )
        outputs = tuple(self._place(value) for value in step.outputs)
        if ready.kernel is None:
            self._segments.append(_ReferenceStep(step, inputs, outputs))
            return
        if not self._segments or not isinstance(self._segments[-1], _core.Plan):
            sizes = [value.spec.nbytes for value in self.external_values]
            self._segments.append(_core.Plan(self.bytes, sizes))
        plan = self._segments[-1]
        assert isinstance(plan, _core.Plan)
        plan.add(ready.kernel, inputs, outputs, workspace, self._place(packed))

    def _place(self, value: Value | None) -> _core.Place:
        if value is None or value in self._unwritten:
            return None
        root = self.layout.root(value)
        if root in self._numbers:
            return ("external", self._numbers[root])
        return ("arena", self.layout.offsets[root])

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs for these inputs, in fresh memory."""
        outputs, seconds = self._run(inputs, timed=verbose.enabled)
        if verbose.enabled:
            for line in self._reports(seconds):
                verbose.show(line)
        return outputs

    def profile(self, inputs: Sequence[Tensor]) -> list[StepReport]:
        """Runs once and tells what each step was and took."""
        return self._reports(self._run(inputs, timed=True)[1])

    def _run(self, inputs: Sequence[Tensor], timed: bool) -> tuple[list[Tensor], list[float]]:
        with self._arena.lock:
            self._prepare_run()
            externals, outputs = self._externals(inputs)
            block = self._arena.of(self.bytes)
            seconds: list[float] = []
            for segment in self._segments:
                seconds += segment.run(block, externals, timed)
        return outputs, seconds

    def _reports(self, seconds: Sequence[float]) -> list[StepReport]:
        reports = []
        for (step, kernel), took in zip(self.kernels, seconds, strict=True):
            algorithm = "reference" if kernel is None else kernel.algorithm
            inputs = [None if v is None else v.spec for v in step.inputs]
            outputs = [v.spec for v in step.outputs]
            reports.append(verbose.report(step.op, algorithm, inputs, outputs, step.attributes, took))
        return reports

    def _prepare_run(self) -> None:
        if self.constants is not None:
            self.constants.refresh()
        for effect in self.graph.effects:
            effect()

    def _externals(self, inputs: Sequence[Tensor]) -> tuple[tuple[_core.Buffer, ...], list[Tensor]]:
        for given, value in zip(inputs, self.graph.inputs, strict=True):
            if given.spec != value.spec:
                raise ValueError(f"this program was compiled for an input {value.spec}, not {given.spec}")
        buffers: dict[Value, Any] = dict(zip(self.graph.inputs, (t._buffer for t in inputs), strict=True))
        for value in self.outside:
            assert value.tensor is not None
            buffers[value] = value.tensor._buffer
        outputs = []
        for value in self.graph.outputs:
            root = self.layout.root(value)
            if root not in buffers:
                buffers[root] = _core.Buffer(value.spec.nbytes)
            outputs.append(Tensor(buffers[root], value.spec))
        return tuple([buffers[value] for value in self.external_values]), outputs


class _ReferenceStep:
    """A step without a kernel: the operation's reference runs on views of the program's memory."""

    def __init__(self, step: Step, inputs: tuple[_core.Place, ...], outputs: tuple[_core.Place, ...]) -> None:
        self.step = step
        self.inputs = inputs
        self.outputs = outputs

    def run(self, arena: _core.Buffer, externals: tuple[_core.Buffer, ...], timed: bool = False) -> list[float]:
        start = time.perf_counter()
        arrays = [
            None if place is None or value is None else _view(place, value.spec, arena, externals)
            for place, value in zip(self.inputs, self.step.inputs, strict=True)
        ]
        with np.errstate(all="ignore"):
            results = self.step.op.reference(*arrays, **self.step.attributes)
        results = results if isinstance(results, tuple) else (results,)
        for place, value, result in zip(self.outputs, self.step.outputs, results, strict=True):
            assert place is not None
            _view(place, value.spec, arena, externals)[...] = result
        return [time.perf_counter() - start] if timed else []


def _view(place: tuple[str, int], spec: Spec, arena: _core.Buffer, externals: tuple[_core.Buffer, ...]) -> Any:
    kind, index = place
    buffer, offset = (arena, index) if kind == "arena" else (externals[index], 0)
    stored = np.frombuffer(memoryview(buffer), spec.dtype, spec.size, offset)
    rank = len(spec.shape)
    return stored.reshape([spec.shape[i] for i in storage_order(rank)]).transpose(logical_order(rank))


def _unwritten(graph: Graph, prepared: Sequence[Prepared]) -> frozenset[Value]:
    """What kernels need not write, because nobody reads it."""
    read = {*graph.outputs, *graph.consumers()}
    optional = [
        step.outputs[i]
        for step, ready in zip(graph.steps, prepared, strict=True)
        if ready.kernel is not None
        for i in step.op.optional_outputs
    ]
    return frozenset(value for value in optional if value not in read)


def _prepare(step: Step, constant_weights: bool, precision: Precision) -> Prepared:
    specs = tuple(None if v is None else v.spec for v in step.inputs)
    weights = None if step.op.weight_input is None else step.inputs[step.op.weight_input]
    constant = constant_weights and weights is not None and weights.tensor is not None
    return prepare(step.op, specs, step.attributes, constant, precision == "bf16")
