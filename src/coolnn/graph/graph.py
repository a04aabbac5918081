"""A graph: values, and the operations that make them from each other, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import Call, record
from ..ops.op import Op
from ..spec import Spec
from ..tensor import Tensor


class Value:
    """A number field of the graph: an input, the result of a step, or a tensor from outside (weights, constants)."""

    __slots__ = ("spec", "tensor")

    def __init__(self, spec: Spec, tensor: Tensor | None = None) -> None:
        self.spec = spec
        self.tensor = tensor  # the tensor from outside; None for inputs and results

    def __repr__(self) -> str:
        return f"<{'outside' if self.tensor is not None else 'value'} {self.spec}>"


class Step:
    """One use of an operation. Steps that work in place write into tensors from outside (weights)."""

    __slots__ = ("attributes", "in_place", "inputs", "op", "outputs")

    def __init__(
        self,
        op: Op,
        inputs: tuple[Value | None, ...],
        outputs: tuple[Value, ...],
        attributes: dict[str, Any],
        in_place: bool = False,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.outputs = outputs
        self.attributes = attributes
        self.in_place = in_place

    def __repr__(self) -> str:
        return f"<{self.op.name} {', '.join(str(v.spec) for v in self.outputs)}>"


class Graph:
    """Inputs, steps and outputs, and what else is to be done before each run (drawing random numbers, say)."""

    def __init__(
        self, inputs: list[Value], steps: list[Step], outputs: list[Value], effects: Sequence[Callable[[], None]] = ()
    ) -> None:
        self.inputs = inputs
        self.steps = steps
        self.outputs = outputs
        self.effects = effects

    def consumers(self) -> dict[Value, list[Step]]:
        """The steps that read each value, in order."""
        found: dict[Value, list[Step]] = {}
        for step in self.steps:
            for value in dict.fromkeys(v for v in step.inputs if v is not None):
                found.setdefault(value, []).append(step)
        return found

    def externals(self) -> list[Value]:
        """The values from outside that any step touches, each once, in order of first use."""
        return list(
            dict.fromkeys(
                v for s in self.steps for v in (*s.inputs, *s.outputs) if v is not None and v.tensor is not None
            )
        )


def trace(
    function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor], weights_without_numbers: bool = False
) -> Graph:
    """Runs a function on tensors without numbers and writes down every operation, backward and updates included.

    Tensors with numbers that take part (weights, constants) become values from outside: the graph refers to them, so
    that later changes of their numbers are seen. Raises RuntimeError for a function that looks at numbers on the way.
    For planning only, weights and the state of an optimizer may lack numbers, too.
    """
    values: dict[int, Value] = {}
    keep: list[Any] = []  # ids stay taken for as long as the tensors live

    def value_of(tensor: Tensor | None) -> Value | None:
        if tensor is None:
            return None
        found = values.get(id(tensor))
        if found is None:
            if tensor.is_meta and not weights_without_numbers:
                raise RuntimeError(
                    f"a tensor ({tensor.spec}) appeared that no recorded operation made; "
                    "networks to be compiled must be made of operations (detach() is not one)"
                )
            found = values[id(tensor)] = Value(tensor.spec, tensor)
            keep.append(tensor)
        return found

    graph_inputs = []
    for tensor in inputs:
        value = values[id(tensor)] = Value(tensor.spec)
        graph_inputs.append(value)
    effects: list[Callable[[], None]] = []
    with record(effects) as calls:
        outputs = function(*inputs)
    keep.append(calls)
    steps = [_step(call, values, value_of) for call in calls]
    graph_outputs = [found for tensor in outputs if (found := value_of(tensor)) is not None]
    return Graph(graph_inputs, steps, graph_outputs, effects)


def _step(call: Call, values: dict[int, Value], value_of: Callable[[Tensor | None], Value | None]) -> Step:
    inputs = tuple(value_of(tensor) for tensor in call.inputs)
    outputs = []
    for tensor in call.outputs:
        if call.in_place:
            value = value_of(tensor)
            assert value is not None
        else:
            value = values[id(tensor)] = Value(tensor.spec)
        outputs.append(value)
    return Step(call.op, inputs, tuple(outputs), call.attributes, call.in_place)
