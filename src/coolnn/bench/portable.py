"""Networks as graphs that others can run: made of plain operations, forward only."""

from __future__ import annotations

from .. import nn
from ..autograd import no_grad
from ..graph import Graph, trace
from ..graph.passes import drop_unused, fold_batch_norm, split_constants
from ..graph.program import Program
from ..models import WithAuxiliary
from ..spec import Shape, Spec
from ..tensor import Tensor


def traced(net: nn.Module, input_shape: Shape, training: bool = False) -> Graph:
    """The forward graph of a network in one of its modes, from pictures to scores, without updates of statistics."""

    def scores(x: Tensor) -> list[Tensor]:
        output = net(x)
        return [output.scores if isinstance(output, WithAuxiliary) else output]

    with nn.evaluating(net), no_grad():
        net.train(training)
        graph = trace(scores, [Tensor(None, Spec(input_shape))], any(p.is_meta for p in net.parameters()))
    steps = [step for step in graph.steps if not step.in_place]
    return drop_unused(Graph(graph.inputs, steps, graph.outputs, graph.effects))


def folded(net: nn.Module, input_shape: Shape) -> Graph:
    """The graph in evaluation mode, with batch norms folded into convolutions and constants computed."""
    early, graph, derived = split_constants(fold_batch_norm(traced(net, input_shape)))
    if early.steps:
        for value, result in zip(derived, Program(early).run([]), strict=True):
            assert value.tensor is not None
            value.tensor._buffer = result._buffer
    return graph
