"""The gradient of a linear layer's weights and the optimizer's step with it, as one step."""

from __future__ import annotations

from ...ops.update import ADAM_STEP, MATMUL_UPDATE, RMSPROP_STEP, SGD_STEP
from ..graph import Graph, Step, Value
from .rewrite import Readers

_UPDATES = frozenset(op.name for op in (SGD_STEP, ADAM_STEP, RMSPROP_STEP))


def fuse_matmul_update(graph: Graph) -> Graph:
    """Matrix products that only an optimizer's step reads are made within it, where the step runs: a large layer's
    gradient then need not stand in memory. Gives the same bits.
    """
    readers = Readers(graph)
    number = {step: i for i, step in enumerate(graph.steps)}
    fused: dict[Step, Step] = {}  # by the update
    gone: set[Step] = set()
    for product in graph.steps:
        if product.op.name != "matmul" or len(product.outputs[0].spec.shape) != 2:
            continue
        update = readers.only(product.outputs[0])
        if update is None or not _takes(update, product.outputs[0]):
            continue
        if _written(graph.steps[number[product] : number[update]], product):
            continue
        parameter, _, *others = update.inputs
        fused[update] = Step(
            MATMUL_UPDATE,
            (*product.inputs, parameter, *others),
            update.outputs,
            {"update": update.op.name, **product.attributes, **update.attributes},
            update.in_place,
        )
        gone.add(product)
    steps = [fused.get(step, step) for step in graph.steps if step not in gone]
    return Graph(graph.inputs, steps, graph.outputs, graph.effects)


def _takes(update: Step, gradient: Value) -> bool:
    """Whether a step is an update by this gradient, of a parameter of the same shape."""
    parameter = update.inputs[0]
    by_it = update.op.name in _UPDATES and [i for i, v in enumerate(update.inputs) if v is gradient] == [1]
    return by_it and parameter is not None and parameter.spec == gradient.spec


def _written(between: list[Step], product: Step) -> bool:
    """Whether a step in between writes over what the product reads."""
    return any(step.in_place and {*product.inputs} & {*step.outputs} for step in between)
