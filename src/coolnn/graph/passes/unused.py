"""Leaving out what nobody reads."""

from __future__ import annotations

from ..graph import Graph, Step, Value


def drop_unused(graph: Graph) -> Graph:
    """Leaves out the steps whose results nobody reads."""
    wanted: set[Value] = set(graph.outputs)
    kept: list[Step] = []
    for step in reversed(graph.steps):
        if step.in_place or any(value in wanted for value in step.outputs):
            wanted.update(value for value in step.inputs if value is not None)
            kept.append(step)
    return Graph(graph.inputs, kept[::-1], graph.outputs, graph.effects)
