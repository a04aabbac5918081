"""A graph of nodes ready to run: what must run with the numbers, and what is known beforehand or from shapes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ... import nn, ops
from ...tensor import Tensor, from_numpy
from .operators import NeedsNumbers, Operator, aside, numbers

Values = dict[str, Tensor]

#: Iterations of a loop: no network comes near, a malicious file might.
MAX_ITERATIONS = 1_000_000


class Node(nn.Module):
    """One node of an imported graph: an operator with its attributes."""

    def __init__(self, kind: str, label: str, operator: Operator, attributes: Mapping[str, Any]) -> None:
        self.kind = kind
        self.label = label
        self.operator = operator
        self.settings = dict(attributes)

    def forward(self, *inputs: Tensor | None) -> Any:
        extras = {"training": self.training} if "training" in self.operator.extras else {}
        try:
            return self.operator.call(*inputs, **self.settings, **extras)
        except NeedsNumbers as error:
            raise NeedsNumbers(f"node {self.label} ({self.kind}): {error}") from error
        except MemoryError:
            raise
        except Exception as error:  # inputs and attributes are the file's: anything may be wrong with them
            shapes = ", ".join("none" if x is None else str(x.spec) for x in inputs)
            raise ValueError(f"node {self.label} ({self.kind}) with inputs {shapes}: {error}") from error

    def extra_repr(self) -> str:
        shown = {k: v for k, v in self.settings.items() if isinstance(v, int | float | str | tuple)}
        return ", ".join(
            [self.kind, *(f"{k}={v!r}" for k, v in shown.items() if k not in ("opset", "types", "outputs"))]
        )


@dataclass
class Entry:
    """A node in its place: names of what it takes and gives ("": nothing), and of what nobody needs after it.

    `known`: "always" for what no input has a part in, "shape" for what the input's shape decides, "" for all else.
    """

    node: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    known: str = ""
    done: tuple[str, ...] = ()


@dataclass
class Block:
    """Nodes in the order in which they run."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    entries: list[Entry]
    fixed: Values = field(default_factory=dict)  # what is always the same, once it was computed

    def run(self, values: Values) -> list[Tensor]:
        """The outputs, from values that hold the inputs and all that is constant."""
        for entry in self.entries:
            if entry.known == "always":
                self._run_fixed(entry, values)
            elif entry.known == "shape":
                with aside():
                    self._run_entry(entry, values)
            else:
                self._run_entry(entry, values)
            for name in entry.done:
                values.pop(name, None)
        return [values[name] for name in self.outputs]

    def _run_fixed(self, entry: Entry, values: Values) -> None:
        if any(name not in self.fixed for name in entry.outputs if name):
            with aside():
                self._run_entry(entry, values)
            self.fixed.update({name: values[name] for name in entry.outputs if name})
        values.update({name: self.fixed[name] for name in entry.outputs if name})

    def _run_entry(self, entry: Entry, values: Values) -> None:
        inputs = [values[name] if name else None for name in entry.inputs]
        made = entry.node(*inputs, values) if isinstance(entry.node, Control) else entry.node(*inputs)
        results = made if isinstance(made, tuple | list) else (made,)
        for name, result in zip(entry.outputs, results, strict=False):
            if name:
                values[name] = result
        missing = [name for name in entry.outputs[len(results) :] if name]
        if missing:
            raise ValueError(f"{getattr(entry.node, 'label', entry)} does not give its output {missing[0]!r}")


class Control(nn.Module):
    """A node with graphs of its own, which see the values around it."""


class If(Control):
    """One of two graphs, as a condition says."""

    def __init__(self, label: str, then: Block, otherwise: Block) -> None:
        self.label = label
        self.branches = (otherwise, then)

    def forward(self, condition: Tensor, values: Values) -> list[Tensor]:
        chosen = bool(numbers(condition, f"the condition of node {self.label} (If)").reshape(-1)[0])
        return self.branches[chosen].run(dict(values))


class Loop(Control):
    """A graph run again and again with what it gave before; traced, it is written down once for each time."""

    def __init__(self, label: str, body: Block) -> None:
        self.label = label
        self.body = body

    def forward(self, *given: Any) -> list[Tensor]:
        *inputs, values = given
        most, condition, *carried = inputs
        limit = (
            MAX_ITERATIONS
            if most is None
            else int(numbers(most, f"the count of node {self.label} (Loop)").reshape(-1)[0])
        )
        goes_on = condition is None or bool(
            numbers(condition, f"the condition of node {self.label} (Loop)").reshape(-1)[0]
        )
        kept: list[list[Tensor]] = [[] for _ in self.body.outputs[1 + len(carried) :]]
        step = 0
        while goes_on and step < limit:
            if step >= MAX_ITERATIONS:
                raise ValueError(f"node {self.label} (Loop) runs more than {MAX_ITERATIONS:,} times")
            first = [from_numpy(np.array(step, np.int64)), from_numpy(np.array(goes_on))]
            inner = {**values, **dict(zip(self.body.inputs, [*first, *carried], strict=True))}
            again, *results = self.body.run(inner)
            carried = results[: len(carried)]
            for column, result in zip(kept, results[len(carried) :], strict=True):
                column.append(result)
            goes_on = bool(numbers(again, f"the condition of node {self.label} (Loop)").reshape(-1)[0])
            step += 1
        return [*carried, *(ops.stack(column) for column in kept)]


def run_alone(operator: Operator, inputs: Sequence[Tensor | None], settings: Mapping[str, Any]) -> Any:
    """An operator on known numbers, beside any trace."""
    extras = {"training": False} if "training" in operator.extras else {}
    with aside():
        return operator.call(*inputs, **settings, **extras)
