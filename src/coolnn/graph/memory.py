"""Where each value lies: one block of memory in which values that do not live at the same time share their place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .graph import Graph, Step, Value

_ALIGNMENT = 64

# Operations that read and write element by element: the result may lie where the first input of its size lay, if
# that input is not needed any more.
ELEMENTWISE = frozenset(
    [
        *("add", "sub", "mul", "div", "maximum", "minimum", "neg", "abs", "exp", "log", "sqrt", "rsqrt", "square"),
        *("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "hardswish", "softplus", "clip"),
        *("relu_grad", "relu6_grad", "leaky_relu_grad", "sigmoid_grad", "tanh_grad", "silu_grad", "gelu_grad"),
        *("hardswish_grad", "softplus_grad", "clip_grad", "dropout_grad", "channel_affine"),
    ]
)


@dataclass(frozen=True)
class Layout:
    """Offsets in bytes of the values that live in the block, of each step's workspace, and the size of the block.

    `root` leads from a value to the one whose memory it shares (itself, if it shares with none).
    """

    offsets: dict[Value, int]
    workspaces: list[int]
    size: int
    root: Callable[[Value], Value]


def plan_memory(
    graph: Graph, aliases: dict[Value, Value], workspaces: list[int], unwritten: frozenset[Value] = frozenset()
) -> Layout:
    """Gives every inner value and workspace a place, so that what lives at the same time does not overlap.

    `aliases` says which values are another name for a value's memory (reshape), `unwritten` which need none. Large
    blocks are placed first, each at the lowest offset that is free for its whole life (greedy by size, Pisarchyk & Lee
    2020, arXiv:2001.03288).
    """
    outside = {*graph.inputs, *graph.outputs, *graph.externals()}
    root = _share_in_place(graph, aliases, outside)
    first: dict[Value, int] = {}
    last: dict[Value, int] = {}
    size: dict[Value, int] = {}
    for number, step in enumerate(graph.steps):
        for value in (*step.inputs, *step.outputs):
            if value is None or root(value) in outside or value in unwritten:
                continue
            block = root(value)
            first.setdefault(block, number)
            last[block] = number
            size[block] = max(size.get(block, 0), value.spec.nbytes)
    blocks: list[tuple[int, int, int, object]] = [(size[v], first[v], last[v], v) for v in first]
    blocks += [(bytes_, number, number, number) for number, bytes_ in enumerate(workspaces) if bytes_]
    places, total = _place(blocks)
    offsets = {value: places[value] for value in first}
    return Layout(offsets, [places.get(number, 0) for number in range(len(workspaces))], total, root)


def _place(blocks: list[tuple[int, int, int, object]]) -> tuple[dict[object, int], int]:
    """Offsets for blocks (bytes, first step, last step, key), and the bytes that all of them span."""
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    places: dict[object, int] = {}
    for bytes_, first, last, key in sorted(blocks, key=lambda b: -b[0]):
        offset = 0
        for other_offset, other_end, other_first, other_last in sorted(placed):
            if other_last < first or last < other_first:
                continue
            if offset + bytes_ <= other_offset:
                break
            offset = max(offset, other_end)
        end = offset + -(-bytes_ // _ALIGNMENT) * _ALIGNMENT
        placed.append((offset, end, first, last))
        places[key] = offset
    return places, max((end for _, end, _, _ in placed), default=0)


class _Roots:
    """Values that share memory, joined to one root each."""

    def __init__(self) -> None:
        self.parent: dict[Value, Value] = {}

    def __call__(self, value: Value) -> Value:
        while value in self.parent:
            value = self.parent[value]
        return value

    def join(self, value: Value, to: Value) -> None:
        """From now on `value` is another name for the memory of `to`."""
        self.parent[self(value)] = self(to)


def _share_in_place(graph: Graph, aliases: dict[Value, Value], outside: set[Value]) -> _Roots:
    root = _Roots()
    for alias, source in aliases.items():
        # A result of the whole graph has memory of its own, which then serves what it is another name for.
        if alias in outside and root(source) not in outside:
            root.join(source, alias)
        else:
            root.join(alias, source)
    last_use: dict[Value, int] = {}
    for number, step in enumerate(graph.steps):
        for value in (*step.inputs, *step.outputs):
            if value is not None:
                last_use[root(value)] = number
    for number, step in enumerate(graph.steps):
        if step.in_place or step.op.name not in ELEMENTWISE or root(step.outputs[0]) in outside:
            continue
        dying = _dying_input(step, number, root, last_use, outside)
        if dying is not None:
            end = max(last_use[root(step.outputs[0])], number)
            root.join(step.outputs[0], dying)
            last_use[root(dying)] = end
    return root


def _dying_input(
    step: Step, number: int, root: _Roots, last_use: dict[Value, int], outside: set[Value]
) -> Value | None:
    out = step.outputs[0].spec
    inputs = [value for value in step.inputs if value is not None]
    for value in inputs:
        if value.spec != out or root(value) in outside or last_use[root(value)] != number:
            continue
        # Another input in the same memory but of another shape would be overwritten before it is read.
        if all(other.spec == out or root(other) is not root(value) for other in inputs):
            return value
    return None
