"""The gradients of a convolution, which chain rules ask for one by one, joined to one operation."""

from __future__ import annotations

from typing import Any

from ...ops.conv_backward import CONV2D_BACKWARD
from ..graph import Graph, Step, Value

_GEOMETRY = ("stride", "padding", "dilation", "groups")


def fuse_conv_backward(graph: Graph) -> Graph:
    """Makes conv2d_backward of the gradients that read one upstream gradient, of the mask of a relu before them and of
    a max-pooling before that.

    The mask is applied before the pooling's gradient and not after: a window's largest number is what pooling gave, so
    that the result is the same, from a tensor that is smaller.
    """
    consumers = graph.consumers()
    number = {step: i for i, step in enumerate(graph.steps)}
    makers = {value: step for step in graph.steps for value in step.outputs}
    made: dict[Step, Step] = {}  # by the first of the steps that it replaces
    gone: set[Step] = set()
    for step in graph.steps:
        if step.op.name not in ("conv2d_weight_grad", "conv2d_input_grad") or step in gone:
            continue
        parts = _parts(step, [other for other in consumers[_upstream(step)] if other not in gone])
        before = _before(_upstream(step), makers, consumers, {*graph.outputs}, {*parts.values()})
        places = sorted(number[part] for part in parts.values())
        if len(parts) + len(before) < 2 or not _movable(graph.steps[places[0] : places[-1]], parts):
            continue
        made[graph.steps[places[0]]] = _fused(parts, before, makers)
        gone.update(parts.values(), before)
    steps = [made.get(step, step) for step in graph.steps if step not in gone or step in made]
    return Graph(graph.inputs, steps, graph.outputs, graph.effects)


def _upstream(step: Step) -> Value:
    value = step.inputs[0 if step.op.name == "conv2d_input_grad" else 1]
    assert value is not None
    return value


def _parts(step: Step, readers: list[Step]) -> dict[str, Step]:
    """The steps among `readers` of an upstream gradient that make a convolution's gradients from it, as `step` does."""
    grad, kind = _upstream(step), (_geometry(step), _sizes(step))
    parts: dict[str, Step] = {}
    for other in readers:
        name = other.op.name
        if name == "sum":
            fits = other.attributes == {"dims": (0, 2, 3), "keepdim": False}
        elif name in ("conv2d_input_grad", "conv2d_weight_grad"):
            fits = _upstream(other) is grad and (_geometry(other), _sizes(other)) == kind
        else:
            fits = False
        if fits:
            parts.setdefault(name, other)
    return parts


def _geometry(step: Step) -> dict[str, Any]:
    return {key: step.attributes[key] for key in _GEOMETRY}


def _sizes(step: Step) -> tuple[Any, Any]:
    """Shape of the convolution's input and of its filters."""
    made, read = step.outputs[0].spec.shape, [value.spec.shape for value in step.inputs if value is not None]
    return (made, read[1]) if step.op.name == "conv2d_input_grad" else (read[0], made)


def _before(
    grad: Value, makers: dict[Value, Step], consumers: dict[Value, list[Step]], outputs: set[Value], readers: set[Step]
) -> list[Step]:
    """What only served to make `grad` for `readers`: relu_grad, before that max_pool2d_grad, or one of the two."""
    found: list[Step] = []
    for name in ("relu_grad", "max_pool2d_grad"):
        maker = makers.get(grad)
        if maker is None or maker.op.name != name or grad in outputs or {*consumers[grad]} != readers:
            continue
        if name == "max_pool2d_grad" and not _went_over(maker, found, makers):
            continue
        found.append(maker)
        readers, source = {maker}, maker.inputs[0]
        assert source is not None
        grad = source
    return found


def _went_over(pool_grad: Step, found: list[Step], makers: dict[Value, Step]) -> bool:
    """Whether the pooling is known, and went over the output of the relu whose mask has been found."""
    indices = pool_grad.inputs[1]
    pool = None if indices is None else makers.get(indices)
    if pool is None or pool.op.name != "max_pool2d" or "kernel_size" not in pool_grad.attributes:
        return False
    return not found or pool.inputs[0] is found[0].inputs[1]


def _movable(between: list[Step], parts: dict[str, Step]) -> bool:
    """Whether all parts may run where the first of them runs: nothing that they read is written over in between."""
    read = {value for part in parts.values() for value in part.inputs}
    return not any(step.in_place and read & {*step.outputs} for step in between)


def _fused(parts: dict[str, Step], before: list[Step], makers: dict[Value, Step]) -> Step:
    by_input, by_weight, by_bias = (parts.get(name) for name in ("conv2d_input_grad", "conv2d_weight_grad", "sum"))
    some = by_input or by_weight
    assert some is not None
    x_shape, weight_shape = _sizes(some)
    grad, y, indices = _upstream(some), None, None
    window: tuple[int, ...] = ()
    for step in before:
        grad, kept = (value for value in step.inputs if value is not None)
        if step.op.name == "relu_grad":
            y = kept
        else:
            indices = kept
            window = tuple(n for key in ("kernel_size", "stride", "padding", "dilation") for n in step.attributes[key])
            if y is not None:
                y = makers[indices].outputs[0]
    wanted = [part for part in (by_input, by_weight, by_bias) if part is not None]
    return Step(
        CONV2D_BACKWARD,
        (
            grad,
            y,
            indices,
            None if by_weight is None else by_weight.inputs[0],
            None if by_input is None else by_input.inputs[1],
        ),
        tuple(part.outputs[0] for part in wanted),
        {
            "wants": tuple(int(part is not None) for part in (by_input, by_weight, by_bias)),
            "input_size": x_shape[2:],
            "kernel_size": weight_shape[2:],
            "output_size": _upstream(some).spec.shape[2:],
            "pool": window,
            **_geometry(some),
        },
    )
