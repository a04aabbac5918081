"""What a program computes from weights once: the steps that read nothing else, and weights packed for their kernels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import _core
from ..spec import Spec, uint8
from ..tensor import Tensor
from .graph import Step, Value

if TYPE_CHECKING:
    from .program import Program


class Constants:
    """Values from outside that are made of other values from outside; `refresh` makes them anew if those changed.

    `derived` are the values that receive the outputs of `program`, which has no inputs.
    """

    def __init__(self, program: Program | None, derived: Sequence[Value]) -> None:
        self._program = program
        self._derived = derived
        self._packs: list[tuple[_core.Kernel, Step, Value]] = []
        #: Weights that are read in their packed form alone.
        self.only_packed: frozenset[Value] = frozenset()
        self._seen: list[tuple[_core.Buffer | None, int]] | None = None

    @property
    def passing_bytes(self) -> int:
        """Bytes that `refresh` needs for a while: inner values, and weights before they are packed."""
        inner = 0 if self._program is None else self._program.bytes
        return inner + sum(value.spec.nbytes for value in self._made() if value in self.only_packed)

    @property
    def kept_bytes(self) -> int:
        """Bytes of everything that is kept between runs."""
        derived = sum(value.spec.nbytes for value in self._made() if value not in self.only_packed)
        return derived + sum(value.spec.nbytes for _, _, value in self._packs)

    def _made(self) -> list[Value]:
        """The derived values that have memory of their own: those that are no other shape of a weight."""
        if self._program is None:
            return []
        outputs, root = self._program.graph.outputs, self._program.layout.root
        return [value for value, made in zip(self._derived, outputs, strict=True) if root(made).tensor is None]

    def packed(self, step: Step, kernel: _core.Kernel) -> Value:
        """A value for the weights of a step in the form that its kernel reads."""
        spec = Spec((kernel.packed_bytes,), uint8)
        value = Value(spec, Tensor(None, spec))
        self._packs.append((kernel, step, value))
        return value

    @functools.cached_property
    def _sources(self) -> list[Tensor]:
        """The weights that all of this is made of; known when the program that it belongs to is complete."""
        found: list[Value | None] = [] if self._program is None else list(self._program.outside)
        found += [step.inputs[step.op.weight_input or 0] for _, step, _ in self._packs]
        made = {None, *self._derived}
        return [v.tensor for v in dict.fromkeys(found) if v not in made and v is not None and v.tensor is not None]

    def refresh(self) -> None:
        """Computes everything, unless the engine has written to no weight since the last time."""
        seen = [(t._buffer, t._buffer.version if t._buffer else 0) for t in self._sources]
        if seen == self._seen:
            return
        if self._program is not None:
            for value, result in zip(self._derived, self._program.run([]), strict=True):
                assert value.tensor is not None
                value.tensor._buffer = result._buffer
        for kernel, step, packed in self._packs:
            assert packed.tensor is not None
            if packed.tensor._buffer is None:
                packed.tensor._buffer = _core.Buffer(packed.spec.nbytes)
            buffers = [None if v is None or v.tensor is None else v.tensor._buffer for v in step.inputs]
            kernel.pack(tuple(buffers), packed.tensor._buffer)
        for value in self._derived:
            if value in self.only_packed and value.tensor is not None:
                value.tensor._buffer = None
        if self.passing_bytes:
            _core.trim_memory()  # what was for packing makes room for the arena
        self._seen = seen
