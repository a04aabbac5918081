"""What passes have in common: asking who reads a value, and putting new steps into a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...autograd import no_grad
from ...tensor import Tensor
from ..graph import Graph, Step, Value, trace


class Readers:
    """Who reads what in a graph."""

    def __init__(self, graph: Graph) -> None:
        self._consumers = graph.consumers()
        self._outputs = set(graph.outputs)

    def only(self, value: Value) -> Step | None:
        """The one step that reads a value; None if there are several, or none, or the graph gives it as a result."""
        consumers = self._consumers.get(value, [])
        return consumers[0] if len(consumers) == 1 and value not in self._outputs else None

    def any(self, value: Value) -> bool:
        """Whether anyone needs a value."""
        return value in self._consumers or value in self._outputs


def steps_of(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Value]) -> tuple[list[Step], list[Value]]:
    """The steps that a function of tensors makes of these values, and its results."""
    with no_grad():
        part = trace(function, [Tensor(None, value.spec) for value in inputs])
    given = dict(zip(part.inputs, inputs, strict=True))

    def place(value: Value) -> Value:
        return given.get(value, value)

    steps = [
        Step(s.op, tuple(None if v is None else place(v) for v in s.inputs), s.outputs, s.attributes, s.in_place)
        for s in part.steps
    ]
    return steps, [place(value) for value in part.outputs]
