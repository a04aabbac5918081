"""A network that was read from an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import nn
from ...spec import Spec
from ...tensor import Tensor
from .block import Block, Values


class OnnxModule(nn.Module):
    """A network from an ONNX file: its initializers are parameters and buffers by their names, its nodes modules.

    Takes one tensor for each of `input_names`, gives a tensor, or a tuple of one for each of `output_names`. It can be
    compiled, trained, looked into (`coolnn.models.features` by the nodes' names) and exported like any network.
    """

    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    #: (shape, type) of each input; lengths that the file leaves open are None.
    input_specs: tuple[tuple[tuple[int | None, ...] | None, Any], ...]
    #: What the file says beside the network, as text.
    metadata: dict[str, str]

    def __init__(
        self,
        block: Block,
        weights: dict[str, Tensor],
        constants: Values,
        input_specs: Sequence[tuple[tuple[int | None, ...] | None, Any]],
        metadata: dict[str, str],
    ) -> None:
        self.input_names, self.output_names = block.inputs, block.outputs
        self.input_specs = tuple(input_specs)
        self.metadata = metadata
        self._block = block
        self._constants = constants
        self._attributes = {}
        taken = {*dir(type(self)), *self.__dict__}
        for name, tensor in weights.items():
            attribute = _free(name or "weight", taken)
            self._attributes[name] = attribute
            self.__dict__[attribute] = tensor
        for entry in block.entries:
            self.__dict__[_free(_identifier(getattr(entry.node, "label", "node")), taken)] = entry.node

    @property
    def input_size(self) -> tuple[int, ...]:
        """The shape of the first input without the batch; lengths that are open count as 224."""
        shape = self.input_specs[0][0] or ()
        return tuple(224 if n is None else n for n in shape[1:])

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        if len(inputs) != len(self.input_names):
            raise ValueError(f"this network takes {', '.join(self.input_names)}; {len(inputs)} inputs were given")
        values: Values = dict(self._constants)
        values.update({name: self.__dict__[attribute] for name, attribute in self._attributes.items()})
        for name, x, (shape, dtype) in zip(self.input_names, inputs, self.input_specs, strict=True):
            if x.dtype != dtype or (shape is not None and len(shape) != x.ndim):
                wanted = Spec(tuple(-1 if n is None else n for n in shape or ()), dtype)
                raise ValueError(f"input {name!r} is {wanted} (-1: any length), not {x.spec}")
            values[name] = x
        outputs = self._block.run(values)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _identifier(label: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in label).strip("_") or "node"


def _free(wish: str, taken: set[str]) -> str:
    name, count = wish, 1
    while name in taken:
        count += 1
        name = f"{wish}_{count}"
    taken.add(name)
    return name
