"""ONNX files as networks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import nn
from ...spec import int64
from ...tensor import Tensor, from_numpy
from .attributes import attribute_value
from .block import Block, Entry, If, Loop, Node, run_alone
from .functions import without_functions
from .module import OnnxModule
from .operators import OPERATORS, Operator
from .operators.registry import ANY_ATTRIBUTE, described
from .reader import MAX_NODES, Array, OnnxError, array_of, held_as, read_message

#: Which inputs of which operators are learned; statistics are not, but belong to the network.
_LEARNED = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "DeformConv"), (1, 2, 3)),
    **dict.fromkeys(
        ("BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization"), (1, 2)
    ),
    **dict.fromkeys(("PRelu", "RMSNormalization"), (1,)),
    **dict.fromkeys(("MatMul", "Add", "Sub", "Mul", "Div"), (0, 1)),
    "Gather": (0,),
}
_STATISTICS = {"BatchNormalization": (3, 4)}

#: What only moves numbers or gives as many as it takes: done once, when the file is read, where all of it is constant.
_FOLDED = frozenset(["Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast", "DequantizeLinear"])
#: What the shape of their input is enough for.
_SHAPES = frozenset(["Shape", "Size"])


def load(
    path: str | os.PathLike[str],
    *,
    outputs: Sequence[str] | None = None,
    operators: Mapping[str, Callable[..., Any]] | None = None,
) -> OnnxModule:
    """Reads an ONNX file as a network in evaluation mode, its weights by the names that they have in the file.

    `outputs` names the values to give in place of the file's outputs, inner ones too; what they do not need goes.
    `operators` has functions (tensors by position, attributes by keyword) for operators that are missing. Raises
    FileNotFoundError, ImportError without the package onnx, or OnnxError that names file, node and remedy.

    >>> import coolnn as cool, tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "lenet5.onnx")
    ...     report = cool.formats.onnx.export(cool.models.create("lenet5"), path)
    ...     net = cool.formats.onnx.load(path)
    >>> net(cool.zeros(2, 1, 28, 28)).shape, net.num_parameters()
    ((2, 10), 61706)
    """
    path = Path(path)
    try:
        return build(read_message(path), path.resolve().parent, outputs, operators)
    except OnnxError as error:
        raise OnnxError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def build(
    model: Any,
    folder: Path | None = None,
    outputs: Sequence[str] | None = None,
    operators: Mapping[str, Callable[..., Any]] | None = None,
) -> OnnxModule:
    """The network of a ModelProto; `folder` is where its external data may lie. Raises OnnxError."""
    known = {**OPERATORS, **{name: described(call) for name, call in (operators or {}).items()}}
    try:
        model = without_functions(model, known)
        opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
        return _Builder(known, folder, opsets.get("ai.onnx", 1)).network(model, outputs)
    except (OnnxError, MemoryError):
        raise
    except Exception as error:  # all of it is the file's: names that are no text, graphs nested without end
        raise OnnxError(f"the network is damaged ({type(error).__name__}: {error})") from error


class _Builder:
    """Collects what the graph and the graphs inside it are made of."""

    def __init__(self, operators: Mapping[str, Operator], folder: Path | None, opset: int) -> None:
        self.operators = operators
        self.folder = folder
        self.opset = opset
        self.arrays: dict[str, Array] = {}  # constants by name
        self.initializers: set[str] = set()
        self.types: dict[str, int] = {}  # element types by name
        self.uses: dict[str, list[tuple[str, int]]] = {}  # of constants: operator and place
        self.shaped: set[str] = set()  # what the inputs' shapes decide
        self.count = 0

    def network(self, model: Any, outputs: Sequence[str] | None) -> OnnxModule:
        graph = model.graph
        block = self.block(graph, set(), outputs)
        weights, constants = self._roles()
        inputs = {value.name: value for value in graph.input}
        specs = []
        for name in block.inputs:
            tensor = inputs[name].type.tensor_type
            if not inputs[name].type.HasField("tensor_type"):
                raise OnnxError(f"input {name!r} is not a tensor; networks of tensors are supported")
            lengths = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
            specs.append((lengths if tensor.HasField("shape") else None, held_as(tensor.elem_type, f"input {name!r}")))
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        self._classify(block, {*weights})
        return OnnxModule(block, weights, constants, specs, metadata).eval()

    # --- the graph ---------------------------------------------------------------------------------------------------

    def block(self, graph: Any, outside: set[str], outputs: Sequence[str] | None = None) -> Block:
        """A graph, and those inside it, as nodes with operators; `outside` are the names that are there around it."""
        if graph.sparse_initializer:
            raise OnnxError("sparse initializers are not supported; make them dense before the network is written")
        for tensor in graph.initializer:
            self._constant(tensor.name, array_of(tensor, self.folder, f"initializer {tensor.name!r}"), tensor.data_type)
            self.initializers.add(tensor.name)
        own = {tensor.name for tensor in graph.initializer}
        inputs = tuple(value.name for value in graph.input if value.name not in own)
        self.types.update({v.name: v.type.tensor_type.elem_type for v in graph.input if v.type.HasField("tensor_type")})
        wanted = tuple(outputs) if outputs is not None else tuple(value.name for value in graph.output)
        nodes = _needed(graph.node, wanted)
        there = {*outside, *own, *inputs}
        entries = []
        for node in nodes:
            entry = self._entry(node, there)
            if entry is not None:
                entries.append(entry)
            there.update(name for name in node.output if name)
        for name in wanted:
            if name not in there:
                raise OnnxError(f"the output {name!r} is made by no node; values are: {_some(there)}")
        return Block(inputs, wanted, entries)

    def _constant(self, name: str, array: Array, kind: int = 0) -> None:
        self.arrays[name] = array
        self.types[name] = kind

    def _entry(self, node: Any, there: set[str]) -> Entry | None:
        """A node with its operator; None for one whose result is constant and was computed at once."""
        self.count += 1
        label = node.name or (node.output[0] if node.output else f"{node.op_type}_{self.count}")
        where = f"node {label!r} ({node.op_type})"
        if self.count > MAX_NODES:
            raise OnnxError(f"the network has more than {MAX_NODES:,} nodes")
        for name in node.input:
            if name and name not in there:
                raise OnnxError(f"{where} takes {name!r}, which nothing before it makes")
        for name in node.output:
            if name and name in there:
                raise OnnxError(f"{where} makes {name!r}, which is there already")
        if node.op_type in ("If", "Loop") and node.domain in ("", "ai.onnx"):
            return self._control(node, label, there)
        operator = self._operator(node, where)
        settings, given = self._settings(node, operator, where)
        inputs = self._inputs(node, operator, given, where)
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            tensors = [a.t for a in node.attribute if a.name == "value"]
            kind = tensors[0].data_type if tensors else 0
            self._constant(node.output[0], _run(operator, [], settings, where)[0], kind)
            return None
        if node.op_type in _FOLDED and all(name in self.arrays for name in inputs if name):
            made = _run(operator, [self.arrays.get(name) for name in inputs], settings, where)
            learned = all(name in self.initializers or self.arrays[name].dtype.kind != "f" for name in inputs if name)
            for name, array in zip(node.output, made, strict=False):
                self._constant(name, array, settings.get("to", 0))
                if learned:
                    self.initializers.add(name)
            return None
        for place, name in enumerate(inputs):
            self.uses.setdefault(name, []).append((node.op_type, place))
        return Entry(Node(node.op_type, label, operator, settings), inputs, tuple(node.output))

    def _operator(self, node: Any, where: str) -> Operator:
        found = self.operators.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        found = found or self.operators.get(f"{node.domain}.{node.op_type}")
        if found is None:
            domain = f" of {node.domain}" if node.domain not in ("", "ai.onnx") else ""
            before = next((name for name in node.input if name), "")
            raise OnnxError(
                f"{where} needs the operator {node.op_type}{domain}, which is not supported; write it as a function of "
                f'tensors: load(..., operators={{"{node.op_type}": function}}), or read the network up to this node: '
                f"load(..., outputs=[{before!r}])"
            )
        return found

    def _settings(self, node: Any, operator: Operator, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The attributes as keywords, and those that stand for inputs."""
        settings: dict[str, Any] = {}
        given: dict[str, Any] = {}
        for attribute in node.attribute:
            value = attribute_value(attribute, self.folder, where)
            if attribute.name in operator.inputs:
                given[attribute.name] = value
            elif attribute.name in operator.attributes or ANY_ATTRIBUTE in operator.attributes:
                settings[attribute.name] = value
            else:
                raise OnnxError(f"{where} has an attribute {attribute.name!r}, which is not supported")
        missing = operator.required - set(settings)
        if missing:
            raise OnnxError(f"{where} lacks its attribute {sorted(missing)[0]!r}")
        extras = {
            "opset": self.opset,
            "outputs": max((i + 1 for i, name in enumerate(node.output) if name), default=1),
            "types": tuple(self.types.get(name, 0) for name in node.input),
        }
        return settings | {key: value for key, value in extras.items() if key in operator.extras}, given

    def _inputs(self, node: Any, operator: Operator, given: Mapping[str, Any], where: str) -> tuple[str, ...]:
        """The names of the inputs; attributes that are inputs in other versions get one."""
        inputs = list(node.input)
        for name, value in given.items():
            place = operator.inputs.index(name)
            inputs += [""] * (place + 1 - len(inputs))
            if not inputs[place]:
                inputs[place] = f"{where} {name} {self.count}"
                real = np.asarray(value).dtype.kind == "f"
                self._constant(inputs[place], np.asarray(value, np.float32 if real else int64))
        while inputs and not inputs[-1]:
            inputs.pop()
        if len(inputs) < operator.least or "" in inputs[: operator.least]:
            raise OnnxError(f"{where} needs {operator.least} inputs: {', '.join(operator.inputs[: operator.least])}")
        if len(inputs) > len(operator.inputs) and not operator.open:
            raise OnnxError(f"{where} has {len(inputs)} inputs and can have {len(operator.inputs)}")
        return tuple(inputs)

    def _control(self, node: Any, label: str, there: set[str]) -> Entry:
        graphs = {a.name: a.g for a in node.attribute if a.HasField("g")}
        names = ("then_branch", "else_branch") if node.op_type == "If" else ("body",)
        if set(graphs) != set(names):
            raise OnnxError(f"node {label!r} ({node.op_type}) needs the graphs {', '.join(names)}")
        complete = len(node.input) == 1 and node.input[0] if node.op_type == "If" else len(node.input) >= 2
        if not complete:
            raise OnnxError(f"node {label!r} ({node.op_type}) has {len(node.input)} inputs")
        blocks = [self.block(graphs[name], there) for name in names]
        control = If(label, *blocks) if node.op_type == "If" else Loop(label, *blocks)
        for name in {n for block in blocks for n in _reads(block)}:
            self.uses.setdefault(name, []).append((node.op_type, -1))
        return Entry(control, tuple(node.input), tuple(node.output))

    # --- what kind of constant, what kind of node --------------------------------------------------------------------

    def _roles(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weights (parameters, and statistics as buffers) and all other constants that nodes read."""
        weights: dict[str, Tensor] = {}
        constants: dict[str, Tensor] = {}
        for name, array in self.arrays.items():
            uses = self.uses.get(name, [])
            real = array.dtype.kind == "f" and name in self.initializers
            if real and any(place in _STATISTICS.get(kind, ()) for kind, place in uses):
                weights[name] = nn.Buffer(from_numpy(array))
            elif real and any(place in _LEARNED.get(kind, ()) for kind, place in uses) and _is_weight(array, uses):
                weights[name] = nn.Parameter(from_numpy(array))
            else:
                constants[name] = from_numpy(array)
        return weights, constants

    def _classify(self, block: Block, weights: set[str]) -> None:
        """Says of each node whether its results are always the same or follow from shapes, and when values end."""
        fixed = {name for name in self.arrays if name not in weights}
        shaped: set[str] = set()
        for entry in block.entries:
            inputs = [name for name in entry.inputs if name]
            if not isinstance(entry.node, Node):
                continue
            if inputs and all(name in fixed for name in inputs):
                entry.known = "always"
                fixed.update(entry.outputs)
            elif entry.node.kind in _SHAPES or (inputs and all(name in fixed or name in shaped for name in inputs)):
                entry.known = "shape"
                shaped.update(entry.outputs)
        last: dict[str, int] = {}
        for number, entry in enumerate(block.entries):
            for name in (*entry.inputs, *entry.outputs, *_reads_of_control(entry)):
                last[name] = number
        for name, number in last.items():
            if name and name not in self.arrays and name not in block.outputs:
                block.entries[number].done += (name,)


def _is_weight(array: Array, uses: Sequence[tuple[str, int]]) -> bool:
    """Whether a real constant is learned: one number in plain arithmetic is a setting, not a weight."""
    return array.size > 1 or any(kind not in ("Add", "Sub", "Mul", "Div") for kind, _ in uses)


def _run(operator: Operator, inputs: Sequence[Array | None], settings: Mapping[str, Any], where: str) -> list[Array]:
    """An operator on constants."""
    try:
        made = run_alone(operator, [None if x is None else from_numpy(x) for x in inputs], settings)
    except Exception as error:
        raise OnnxError(f"{where}: {error}") from error
    return [x.numpy() for x in (made if isinstance(made, tuple) else (made,))]


def _needed(nodes: Sequence[Any], wanted: Sequence[str]) -> list[Any]:
    """The nodes that the wanted values depend on."""
    needed = set(wanted)
    kept = []
    for node in reversed(nodes):
        if any(name in needed for name in node.output):
            kept.append(node)
            needed.update(node.input)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    needed.update(_names_read(attribute.g, 0))
    return kept[::-1]


def _names_read(graph: Any, depth: int) -> set[str]:
    """All names that nodes of a graph, and of graphs inside it, read or give."""
    if depth > 50:
        raise OnnxError("graphs are nested deeper than 50 levels")
    names = {value.name for value in graph.output}
    for node in graph.node:
        names.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                names |= _names_read(attribute.g, depth + 1)
    return names


def _reads(block: Block) -> set[str]:
    """The names that a block reads, of its own and from around."""
    names = set(block.outputs)
    for entry in block.entries:
        names.update(entry.inputs, _reads_of_control(entry))
    return names


def _reads_of_control(entry: Entry) -> set[str]:
    if isinstance(entry.node, If):
        return _reads(entry.node.branches[0]) | _reads(entry.node.branches[1])
    return _reads(entry.node.body) if isinstance(entry.node, Loop) else set()


def _some(names: set[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:20]) + (", ..." if len(listed) > 20 else "")
