"""What follows a convolution or a linear layer, done before its result is written: addition, clamp, pooling."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ...autograd import prepare
from ...ops.fused import CONV2D_FUSED, LINEAR_FUSED
from ..graph import Graph, Step, Value
from .rewrite import Readers

_FUSED = {"conv2d": CONV2D_FUSED, "linear": LINEAR_FUSED}


def fuse_finish(graph: Graph, constant_weights: bool = False) -> Graph:
    """conv2d or linear, then maybe an addition, a ReLU or other clamp, and 2 × 2 max pooling, become one step.

    Only where nothing else reads what lies between, and where the engine has such a kernel. Gives the same bits.
    """
    readers = Readers(graph)
    taken: set[Step] = set()
    fused: dict[Step, Step] = {}  # the last step of a pattern -> what takes the place of all of it
    for step in graph.steps:
        if step.op.name in _FUSED and step not in taken:
            found = _longest(step, readers, taken, constant_weights)
            if found is not None:
                steps, replacement = found
                taken.update(steps)
                fused[steps[-1]] = replacement
    kept = [fused.get(step, step) for step in graph.steps if step in fused or step not in taken]
    return Graph(graph.inputs, kept, graph.outputs, graph.effects)


@dataclasses.dataclass
class _Finish:
    """What was found to follow a step so far."""

    residual: Value | None = None
    low: float = -math.inf
    high: float = math.inf
    pool: int = 1

    @property
    def clamps(self) -> bool:
        return self.low > -math.inf or self.high < math.inf

    def with_step(self, step: Step, value: Value) -> _Finish | None:
        """The same with another step, which reads `value`; None where it does not fit."""
        name, attributes = step.op.name, step.attributes
        if name == "add" and self == _Finish():
            others = [v for v in step.inputs if v is not value]
            if len(others) == 1 and others[0] is not None and others[0].spec == value.spec == step.outputs[0].spec:
                return dataclasses.replace(self, residual=others[0])
        if name in ("relu", "relu6", "clip") and not self.clamps and self.pool == 1:
            low, high = _bounds(name, attributes)
            return dataclasses.replace(self, low=low, high=high)
        if name == "max_pool2d" and self.pool == 1 and _is_halving(attributes):
            return dataclasses.replace(self, pool=2)
        return None


def _bounds(name: str, attributes: dict[str, Any]) -> tuple[float, float]:
    if name == "clip":
        low, high = attributes.get("min"), attributes.get("max")
        return -math.inf if low is None else float(low), math.inf if high is None else float(high)
    return 0.0, 6.0 if name == "relu6" else math.inf


def _is_halving(attributes: dict[str, Any]) -> bool:
    plain = all(attributes[key] == value for key, value in (("dilation", (1, 1)), ("padding", (0, 0, 0, 0))))
    return plain and attributes["kernel_size"] == attributes["stride"] == (2, 2)


def _longest(step: Step, readers: Readers, taken: set[Step], constant_weights: bool) -> tuple[list[Step], Step] | None:
    """The most steps from a convolution on that can be one, and that one."""
    best = None
    steps, finish = [step], _Finish()
    while True:
        value = steps[-1].outputs[0]
        reader = readers.only(value)
        if reader is None or reader in taken:
            return best
        indices = any(readers.any(other) for other in reader.outputs[1:])  # of pooling, for its gradient
        following = finish.with_step(reader, value)
        if following is None or (following.pool > 1 and step.op.name != "conv2d"):
            return best
        steps, finish = [*steps, reader], following
        replacement = _replacement(step, finish, reader.outputs if indices else reader.outputs[:1])
        specs = tuple(None if v is None else v.spec for v in replacement.inputs)
        if prepare(replacement.op, specs, replacement.attributes, constant_weights).kernel is not None:
            best = list(steps), replacement


def _replacement(step: Step, finish: _Finish, outputs: tuple[Value, ...]) -> Step:
    attributes: dict[str, Any] = {**step.attributes, "low": finish.low, "high": finish.high}
    if step.op.name == "conv2d":
        attributes.update(pool=finish.pool, size_before_pool=step.outputs[0].spec.shape[2:])
        if len(outputs) > 1:
            attributes.update(indices=True)
    return Step(_FUSED[step.op.name], (*step.inputs, finish.residual), outputs, attributes)
