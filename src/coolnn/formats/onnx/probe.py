"""Which lengths of a traced network follow from its input: found by tracing it at several sizes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from ... import autograd, nn
from ...graph import Graph, Step, Value, trace
from ...spec import Shape, Spec
from ...tensor import Tensor

#: One length at each of the probed sizes; all equal where it does not depend on the input.
Lengths = tuple[int, ...]

# What is added to height and width, beside the batch: multiples of every usual total stride, all lengths different.
_BATCHES = ((2, 0, 0), (3, 0, 0))
_SIZES = ((2, 0, 0), (3, 64, 128), (5, 192, 64))
#: And sizes of all remainders by 2, 4 and 8, after which windows with and without `ceil_mode` differ.
_ODD_SIZES = tuple((7 + i, 37 + 5 * i, 53 + 7 * i) for i in range(8))


class NotDynamic(ValueError):
    """The network cannot be written down for sizes other than the one it was traced at."""


class Probes:
    """A network traced at several input sizes: one graph, whose shapes and attributes are known at each size."""

    def __init__(self, graphs: Sequence[Graph], output_names: Sequence[str]) -> None:
        _check_same_structure(graphs)
        self.graph = graphs[0]
        self.output_names = list(output_names)
        self.count = len(graphs)
        self._twins = {values[0]: values for values in zip(*map(_own_values, graphs), strict=True)}
        self._steps = {steps[0]: steps for steps in zip(*(graph.steps for graph in graphs), strict=True)}

    def shape(self, value: Value) -> tuple[Lengths, ...]:
        """Each axis' length at all probed sizes."""
        twins = self._twins.get(value, (value,) * self.count)  # a weight is the same at all sizes
        return tuple(zip(*(twin.spec.shape for twin in twins), strict=True))

    def attribute(self, step: Step, name: str) -> list[Any]:
        """What an attribute is at each probed size."""
        return [twin.attributes[name] for twin in self._steps[step]]

    def fixed(self, step: Step, name: str) -> Any:
        """An attribute that does not depend on the size; raises NotDynamic where it does."""
        first, *others = self.attribute(step, name)
        if any(other != first for other in others):
            raise NotDynamic(f"{name} of {step.op.name} depends on the size")
        return first

    def agrees(self, step: Step, name: str, formula: Callable[[Shape], Any]) -> bool:
        """Whether an attribute is `formula(shape of the first input)` at each size."""
        twins = self._steps[step]
        return all(twin.attributes[name] == formula(twin.inputs[0].spec.shape) for twin in twins)


def constant(lengths: Lengths) -> bool:
    """Whether a length is the same at all probed sizes."""
    return len(set(lengths)) == 1


def _own_values(graph: Graph) -> list[Value]:
    return [*graph.inputs, *(value for step in graph.steps for value in step.outputs)]


def _check_same_structure(graphs: Sequence[Graph]) -> None:
    """Raises NotDynamic unless all graphs are made of the same steps on the same values of the same rank."""

    def outline(graph: Graph) -> Any:
        values = _own_values(graph)
        number = {value: i for i, value in enumerate(values)}
        uses = [[_identity(value, number) for value in step.inputs] for step in graph.steps]
        ranks = [(len(value.spec.shape), value.spec.dtype) for value in values]
        return [step.op for step in graph.steps], uses, ranks, [_identity(value, number) for value in graph.outputs]

    first, *others = map(outline, graphs)
    if any(other != first for other in others):
        raise NotDynamic("the network is made of other steps at other sizes")


def _identity(value: Value | None, number: dict[Value, int]) -> Any:
    if value is None or value.tensor is None:
        return None if value is None else number[value]
    tensor = value.tensor
    if tensor.size > 2**16:
        return id(tensor._buffer)
    return tensor.spec, tensor.numpy().tobytes()  # constants may be made anew in each trace


def probes(net: nn.Module, specs: Sequence[Spec], kind: str) -> Probes:
    """A network in evaluation form, traced at all sizes that `kind` ("size", "batch", or "" for one only) calls for.

    Raises ValueError (NotDynamic is one) where the network does not take them or does other things at other sizes.
    """
    if not kind:
        graph, names = _traced(net, specs)
        return Probes([graph], names)
    changes = _SIZES if kind == "size" else _BATCHES
    try:
        traces = [_traced(net, [_varied(spec, *change) for spec in specs]) for change in changes]
    except (IndexError, TypeError) as error:
        raise NotDynamic(str(error)) from error
    for change in _ODD_SIZES if kind == "size" else ():
        with contextlib.suppress(ValueError, IndexError, TypeError):  # a network may take multiples of some number only
            traces.append(_traced(net, [_varied(spec, *change) for spec in specs]))
    return Probes([graph for graph, _ in traces], traces[0][1])


def _varied(spec: Spec, batch: int, height: int, width: int) -> Spec:
    if len(spec.shape) == 4:
        return Spec((batch, spec.shape[1], spec.shape[2] + height, spec.shape[3] + width), spec.dtype)
    return Spec((batch, *spec.shape[1:]), spec.dtype) if spec.shape else spec


def _traced(net: nn.Module, specs: Sequence[Spec]) -> tuple[Graph, list[str]]:
    names: list[str] = []

    def run(*inputs: Tensor) -> list[Tensor]:
        outputs = _named_outputs(net(*inputs))
        names.extend(outputs)
        return list(outputs.values())

    training = {module: module.training for module in net.modules()}
    net.eval()
    try:
        with autograd.no_grad():
            return trace(run, [Tensor(None, spec) for spec in specs]), names
    finally:
        for module, mode in training.items():
            module.training = mode


def _named_outputs(result: Any) -> dict[str, Tensor]:
    if isinstance(result, Tensor):
        return {"output": result}
    found: dict[str, Any] = {}
    if isinstance(result, dict):
        found = {str(name): value for name, value in result.items()}
    elif isinstance(result, tuple | list):
        found = {f"output{i}": value for i, value in enumerate(result)}
    if not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise TypeError(
            "a network can be exported if it gives a tensor, or a list or dict of tensors, "
            f"not {type(result).__name__}; wrap it in a module that does"
        )
    return found
