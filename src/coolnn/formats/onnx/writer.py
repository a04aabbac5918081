"""The ONNX graph while it is being written: names, nodes, initializers, and shapes that are computed at run time."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ... import autograd
from ...graph import Step, Value
from ...spec import int64
from ...tensor import Tensor
from .package import onnx_package
from .probe import Lengths, NotDynamic, Probes, constant

Array = np.ndarray[Any, np.dtype[Any]]


class Writer:
    """Collects nodes and initializers. `weights` names tensors from outside by the memory that they lie in."""

    def __init__(self, probes: Probes, weights: Mapping[int, str]) -> None:
        self.onnx = onnx_package()
        self.probes = probes
        self.nodes: list[Any] = []
        self.initializers: dict[str, Array] = {}
        self.producer = {value: step for step in probes.graph.steps for value in step.outputs}
        self.consumers = probes.graph.consumers()
        self._weights = weights
        self._names: dict[Value, str] = {}
        self._taken: set[str] = set(weights.values())
        self._constants: dict[tuple[Any, ...], str] = {}
        self._known: dict[Value, Array | None] = {}
        self._lengths: dict[tuple[Value, int], str] = {}
        self._live: list[Value] = []  # values that have a name and depend on the input

    # --- values ------------------------------------------------------------------------------------------------------

    def unique(self, wish: str) -> str:
        """A name that nothing else has."""
        name, count = wish, 1
        while name in self._taken:
            count += 1
            name = f"{wish}_{count}"
        self._taken.add(name)
        return name

    def define(self, value: Value, name: str) -> None:
        """Says what a value is called."""
        self._names[value] = name
        self._live.append(value)

    def name(self, value: Value | None) -> str:
        """What a value is called ("" for one that is absent); constants become initializers when first asked for."""
        if value is None:
            return ""
        if value not in self._names:
            array = self.numbers(value)
            if array is None:
                step = self.producer[value]
                raise ValueError(f"output {step.outputs.index(value)} of '{step.op.name}' has no ONNX form")
            weight = None if value.tensor is None else self._weights.get(id(value.tensor._buffer))
            if weight is None:
                return self.constant(array)
            self.initializers[weight] = array
            self._names[value] = weight
        return self._names[value]

    def numbers(self, value: Value | None) -> Array | None:
        """The numbers of a value that does not depend on the input, else None."""
        if value is None:
            return None
        if value.tensor is not None:
            return value.tensor.numpy()
        if value not in self._known:
            self._known[value] = None
            step = self.producer.get(value)
            if step is not None and all(v is None or self.numbers(v) is not None for v in step.inputs):
                inputs = [None if v is None else Tensor.from_array(self.numbers(v)) for v in step.inputs]  # type: ignore[arg-type]
                with autograd.no_grad():
                    outputs = autograd.apply_all(step.op, *inputs, **step.attributes)
                for known, output in zip(step.outputs, outputs, strict=True):
                    self._known[known] = output.numpy()
        return self._known[value]

    def constant(self, array: Any, wish: str = "constant") -> str:
        """The name of an initializer with these numbers; equal ones share it."""
        array = np.asarray(array)
        key = (array.dtype, array.shape, array.tobytes())
        if key not in self._constants:
            name = self._constants[key] = self.unique(wish)
            self.initializers[name] = array
        return self._constants[key]

    def scalar(self, number: float, like: Value) -> str:
        """A number in the type of a value."""
        return self.constant(np.array(number, like.spec.dtype))

    # --- nodes -------------------------------------------------------------------------------------------------------

    def node(self, kind: str, inputs: Sequence[str | Value | None], outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node; gives the name of its output, or the list of several."""
        names = [value if isinstance(value, str) else self.name(value) for value in inputs]
        while names and not names[-1]:
            names.pop()
        name = self.unique(kind)
        made = [f"{name}_output" + (f"_{i}" if i else "") for i in range(outputs)]
        self._taken.update(made)
        self.nodes.append(self.onnx.helper.make_node(kind, names, made, name=name, **attributes))
        return made[0] if outputs == 1 else made

    # --- shapes ------------------------------------------------------------------------------------------------------

    def lengths(self, lengths: Sequence[Lengths], near: Value) -> str:
        """A one-dimensional int64 tensor with these lengths, computed from the shapes of values where need be."""
        if all(map(constant, lengths)):
            return self.constant(np.array([length[0] for length in lengths], int64), "shape")
        pieces: list[str] = []
        run: list[int] = []
        for length in lengths:
            if constant(length):
                run.append(length[0])
                continue
            if run:
                pieces.append(self.constant(np.array(run, int64), "shape"))
                run = []
            pieces.append(self._length(length, near))
        if run:
            pieces.append(self.constant(np.array(run, int64), "shape"))
        return str(self.node("Concat", pieces, axis=0)) if len(pieces) > 1 else pieces[0]

    def target(self, lengths: Sequence[Lengths], near: Value) -> str:
        """The second input of a Reshape of `near`: with 0 and -1 where they say it, else as `lengths`."""
        known = self.probes.shape(near)
        plain = [
            length[0] if constant(length) else 0 if axis < len(known) and known[axis] == length else -1
            for axis, length in enumerate(lengths)
        ]
        zero_length = any(constant(length) and length[0] == 0 for length in lengths)  # 0 has a meaning of its own
        if plain.count(-1) <= 1 and not zero_length:
            return self.constant(np.array(plain, int64), "shape")
        return self.lengths(lengths, near)

    def _length(self, length: Lengths, near: Value) -> str:
        """One length that depends on the input: that of an axis that has it, or of several multiplied."""
        for value in [near, *self.probes.graph.inputs, *reversed(self._live)]:
            if value in self._names:
                shape = self.probes.shape(value)
                if length in shape:
                    return self._axis_length(value, shape.index(length))
        shape = self.probes.shape(near)
        for start in range(len(shape)):
            for stop in range(start + 2, len(shape) + 1):
                if tuple(map(math.prod, zip(*shape[start:stop], strict=True))) == length:
                    part = self.node("Slice", [self._shape_of(near), self._whole(start), self._whole(stop)])
                    return str(self.node("ReduceProd", [part], axes=[0], keepdims=1))
        raise NotDynamic(f"a length that is {length} at the probed sizes is not that of any axis")

    def _shape_of(self, value: Value) -> str:
        key = (value, -1)
        if key not in self._lengths:
            self._lengths[key] = str(self.node("Shape", [value]))
        return self._lengths[key]

    def _axis_length(self, value: Value, axis: int) -> str:
        key = (value, axis)
        if key not in self._lengths:
            self._lengths[key] = str(self.node("Gather", [self._shape_of(value), self._whole(axis)], axis=0))
        return self._lengths[key]

    def _whole(self, number: int) -> str:
        return self.constant(np.array([number], int64), "shape")

    # --- what a handler asks of a step -------------------------------------------------------------------------------

    def depends(self, step: Step) -> bool:
        """Whether a step's result depends on the input of the network (the others are constants)."""
        return self.numbers(step.outputs[0]) is None


def identifier(text: str) -> str:
    """A name without characters that other programs stumble over."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", text) or "value"
