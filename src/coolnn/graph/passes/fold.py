"""Batch norm with known statistics, put into the weights of the convolution or linear layer before it."""

from __future__ import annotations

from collections.abc import Sequence

from ...ops import add, mul, reshape
from ...tensor import Tensor
from ..graph import Graph, Step, Value
from .rewrite import Readers, steps_of


def fold_batch_norm(graph: Graph) -> Graph:
    """(w ⋆ x + b) · scale + shift becomes (w · scale) ⋆ x + (b · scale + shift), where nothing else reads w ⋆ x + b."""
    readers = Readers(graph)
    folded: dict[Step, Step] = {}  # a channel_affine -> the convolution before it
    for step in graph.steps:
        if step.op.name not in ("conv2d", "linear") or len(step.outputs[0].spec.shape) not in (2, 4):
            continue
        reader = readers.only(step.outputs[0])
        if reader is not None and reader.op.name == "channel_affine" and reader.inputs[0] is step.outputs[0]:
            folded[reader] = step
    before = set(folded.values())
    steps: list[Step] = []
    for step in graph.steps:
        if step in folded:
            steps += _folded(folded[step], step)
        elif step not in before:
            steps.append(step)
    return Graph(graph.inputs, steps, graph.outputs, graph.effects)


def _folded(layer: Step, affine: Step) -> list[Step]:
    x, weight, bias = layer.inputs
    assert weight is not None
    parts: list[Value] = [weight]
    for value in (affine.inputs[1], affine.inputs[2], bias):
        if value is not None:
            parts.append(value)

    def weights(weight: Tensor, scale: Tensor, shift: Tensor, bias: Tensor | None = None) -> Sequence[Tensor]:
        rows = reshape(scale, (-1,) + (1,) * (weight.ndim - 1))
        return mul(weight, rows), shift if bias is None else add(mul(bias, scale), shift)

    steps, (new_weight, new_bias) = steps_of(weights, parts)
    return [*steps, Step(layer.op, (x, new_weight, new_bias), affine.outputs, layer.attributes)]
