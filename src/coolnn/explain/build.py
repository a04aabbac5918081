"""What is drawn of a trace: its modules (network), its layers and operations (layer), or every number (operation)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..nn import Module
from ..tensor import Tensor
from .backward import Backward
from .drawing import Drawing, Edge, Node
from .text import numbers_text, shape_text
from .trace import Step, Trace, Use
from .trace import trace as make_trace

LEVELS = ("network", "layer", "operation")

_SIGNS = {
    "add": "+", "sub": "−", "mul": "×", "div": "÷", "neg": "−", "maximum": "max", "minimum": "min", "pow": "xʸ",
    "square": "x²", "exp": "eˣ", "log": "ln", "sqrt": "√", "sigmoid": "σ", "reciprocal": "1/x", "sum": "Σ",
    "matmul": "·", "abs": "|x|",
}  # fmt: skip

#: With more operations than this a network is shown by its layers, unless asked for otherwise.
_MANY = 40
#: Drawings with longer paths than this go downward, where they can be scrolled.
_LONG = 12


def graph(
    function: Callable[..., Any] | Trace,
    *args: Any,
    level: str | None = None,
    gradients: bool = True,
    **kwargs: Any,
) -> Drawing:
    """Draws the computation graph of a function, or of a trace, with the value and the gradient on every edge.

    Arguments that are numbers become float64 tensors. `level` is "operation" (every operation with its numbers),
    "layer" (one box a layer, with shapes) or "network" (the outermost modules); by itself a network with many
    operations is shown by its layers. Gradients are those of the output, or of the sum of its numbers if there are
    several. The result prints as text, shows itself in notebooks, and `save("graph.svg")` writes it. Raises ValueError
    for an unknown level.

    >>> import coolnn as cool
    >>> print(cool.graph(lambda x, y: x * y, x=4, y=-3))
    <lambda>
      x             4   gradient -3
      y            -3   gradient 4
      a  = x × y  -12   gradient 1
    """
    if level is not None and level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    if isinstance(function, Trace):
        if args or kwargs:
            raise TypeError("a trace is drawn as it is; arguments belong to the function that is traced")
        trace = function
    else:
        trace = make_trace(function, *args, **kwargs)
    if not trace.steps:
        raise ValueError("there is nothing to draw: no operation on tensors ran")
    of = trace.outputs[0] if trace.outputs else trace.steps[-1].call.outputs[0]
    count = len(trace.steps)
    if level is None:
        level = "layer" if count > _MANY and any(step.use for step in trace.steps) else "operation"
    backward = Backward(trace, of) if gradients and of.dtype.kind == "f" and not of.is_meta else None
    return _Builder(trace, trace.steps[:count], level, backward).drawing()


class _Builder:
    """Makes nodes of groups of steps, and edges of the tensors between them."""

    def __init__(self, trace: Trace, steps: list[Step], level: str, backward: Backward | None) -> None:
        self.trace, self.level, self.backward = trace, level, backward
        self.outputs = trace.outputs or list(steps[-1].call.outputs[:1])
        self.steps = _leading_to(trace, steps, self.outputs)
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.of_step: dict[int, int] = {}
        self.of_use: dict[int, int] = {}
        self.of_leaf: dict[Any, int] = {}
        self.given = {id(t) for t in trace.inputs}
        self.joined: dict[tuple[int, int, int], tuple[Edge, list[Tensor]]] = {}

    def drawing(self) -> Drawing:
        for step in self.steps:
            self.add(step)
        for number, output in enumerate(self.outputs):
            made = self.trace.maker(output)
            if made is None or made[0].number not in self.of_step:
                continue
            title = "output" if len(self.outputs) == 1 else f"output {number + 1}"
            self.nodes.append(Node(title, "output"))
            gradient = self.backward.total(output) if self.backward else None
            self.edge(self.of_step[made[0].number], len(self.nodes) - 1, output, gradient)
        for edge, parts in self.joined.values():
            self.describe_gradient(edge, parts)
        self.name_results()
        several = self.backward is not None and self.backward.of.size > 1
        return Drawing(
            self.trace.title,
            self.nodes,
            self.edges,
            self.level,
            "Gradients are those of the sum of the output's numbers." if several else "",
            across=self.level == "operation" and longest_path(self.edges, len(self.nodes)) <= _LONG,
        )

    def add(self, step: Step) -> None:
        """Enters a step, and the edges that lead to it."""
        node = self.node_of(step)
        self.of_step[step.number] = node
        for position, tensor in enumerate(step.call.inputs):
            if tensor is None:
                continue
            source = self.source_of(tensor, step)
            if source is not None and source != node:
                part = self.backward.parts.get((step.number, position)) if self.backward else None
                self.edge(source, node, tensor, part)

    def node_of(self, step: Step) -> int:
        use = self.group(step.use)
        if use is not None and id(use) in self.of_use:
            node = self.nodes[self.of_use[id(use)]]
            if self.level == "layer" or node.lines:
                node.lines = (node.lines[0], shape_text(step.call.outputs[0].shape))
            return self.of_use[id(use)]
        shape = shape_text(step.call.outputs[0].shape)
        name = step.call.op.name
        if use is not None:
            made = Node(use.label or type(use.module).__name__, "module", (type(use.module).__name__, shape))
            made.hint = repr(use.module).split("\n")[0]
            self.of_use[id(use)] = len(self.nodes)
        else:
            where = step.use.label if step.use else ""
            lines = (shape,) if self.level != "operation" else ()
            made = Node(_SIGNS.get(name, name) if not lines else name, "op", lines)
            made.hint = " ".join(filter(None, (f"{where}:" if where else "", name, _attributes(step.call.attributes))))
        self.nodes.append(made)
        return len(self.nodes) - 1

    def group(self, use: Use | None) -> Use | None:
        """The module that stands for a step at this level of zoom; None if the step stands for itself."""
        if use is None or self.level == "operation":
            return None
        chain = use.chain()
        if self.level == "network":
            # The outermost module is the network itself: what is shown is what it consists of.
            return chain[1] if len(chain) > 1 else (chain[0] if _is_layer(chain[0].module) else None)
        return next((u for u in chain if _is_layer(u.module)), None)

    def source_of(self, tensor: Tensor, step: Step) -> int | None:
        made = self.trace.maker(tensor)
        if made is not None and made[0].number in self.of_step:
            return self.of_step[made[0].number]
        given = id(tensor) in self.given
        if self.level != "operation" and not given:
            return None
        known = self.trace.name_of(tensor) if id(tensor) in self.trace._names else ""
        key = id(tensor) if given else (id(step), id(tensor))  # what is not given is drawn beside each use
        if key not in self.of_leaf:
            if given:
                node = Node(known, "input")
            elif known:
                node = Node(known, "parameter")
            else:
                node = Node(numbers_text(self.trace.numbers(tensor)) if tensor.size <= 4 else "constant", "constant")
            node.name = node.title
            self.of_leaf[key] = len(self.nodes)
            self.nodes.append(node)
        return self.of_leaf[key]

    def edge(self, source: int, target: int, tensor: Tensor, part: Tensor | None) -> None:
        key = (source, target, id(tensor)) if self.level != "operation" else (source, target, len(self.edges))
        if self.backward is not None and not self.nodes[source].gradient:
            total = self.backward.total(tensor)
            if total is not None:
                self.nodes[source].gradient = numbers_text(total.numpy(), 3)
                self.nodes[source].hint += f"\ngradient: {numbers_text(total.numpy(), 12)}"
        if key not in self.joined:
            edge = Edge(source, target, shape=shape_text(tensor.shape))
            if tensor._buffer is not None:
                array = self.trace.numbers(tensor)
                few = array.size <= 3
                edge.hint = f"{tensor.spec}: {numbers_text(array, 12)}"
                edge.value = numbers_text(array, 3) if few else shape_text(tensor.shape)
                if self.nodes[source].kind == "constant" and few:
                    edge.value = ""
            self.edges.append(edge)
            self.joined[key] = edge, []
        if part is not None:
            self.joined[key][1].append(part)

    def describe_gradient(self, edge: Edge, parts: list[Tensor]) -> None:
        if not parts:
            return
        array = np.sum([part.numpy().astype(np.float64) for part in parts], axis=0)
        edge.gradient = numbers_text(array, 3)
        edge.hint += f"\ngradient: {numbers_text(array, 12)}"

    def name_results(self) -> None:
        """Names for the text: a, b, c ... for operations, the path for modules."""
        for node in self.nodes:
            if node.kind == "module":
                node.name = node.title
        taken = {node.name for node in self.nodes if node.name}
        number = 0
        for node in self.nodes:
            if node.kind == "op":
                node.name = _letters(number)
                number += 1
                while node.name in taken:
                    node.name, number = _letters(number), number + 1


def _letters(number: int) -> str:
    """a, b, ..., z, a1, b1, ..."""
    return chr(ord("a") + number % 26) + (str(number // 26) if number >= 26 else "")


def longest_path(edges: list[Edge], count: int) -> int:
    """The number of nodes on the longest path."""
    length = [1] * count
    for edge in sorted(edges, key=lambda e: (e.target, e.source)):
        length[edge.target] = max(length[edge.target], length[edge.source] + 1)
    return max(length)


def _is_layer(module: Module) -> bool:
    return not any(True for _ in module.children())


def _leading_to(trace: Trace, steps: list[Step], outputs: list[Tensor]) -> list[Step]:
    """The steps that the outputs depend on."""
    wanted = {id(output) for output in outputs}
    found = []
    for step in reversed(steps):
        if not step.call.in_place and any(id(o) in wanted for o in step.call.outputs):
            found.append(step)
            wanted |= {id(t) for t in step.call.inputs if t is not None}
    return found[::-1]


def _attributes(attributes: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in attributes.items())
