"""What depends on weights alone is computed once, not in every run."""

from __future__ import annotations

from ...tensor import Tensor
from ..graph import Graph, Step, Value


def split_constants(graph: Graph) -> tuple[Graph, Graph, list[Value]]:
    """The graph cut in two: what can be computed from values from outside alone, and the rest.

    What the first gives are values from outside for the second, in the order of its outputs: their tensors are without
    numbers, to be filled in before the second runs. Only for graphs that write to no value from outside.
    """
    if any(step.in_place for step in graph.steps):
        raise ValueError("a graph that writes to values from outside has no constants")
    constant: set[Value] = set()
    early: list[Step] = []
    late: list[Step] = []
    for step in graph.steps:
        known = all(value is None or value.tensor is not None or value in constant for value in step.inputs)
        if known and not any(value in graph.outputs for value in step.outputs):
            early.append(step)
            constant.update(step.outputs)
        else:
            late.append(step)
    needed = dict.fromkeys(value for step in late for value in step.inputs if value is not None and value in constant)
    given = {value: Value(value.spec, Tensor(None, value.spec)) for value in needed}
    late = [Step(s.op, tuple(given.get(v, v) if v else v for v in s.inputs), s.outputs, s.attributes) for s in late]
    return Graph([], early, list(needed)), Graph(graph.inputs, late, graph.outputs, graph.effects), list(given.values())
