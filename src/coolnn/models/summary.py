"""Summary of a network: shapes, parameters, multiply-adds, memory and receptive fields, without computing anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..autograd import Call, no_grad, record
from ..nn import Module, Parameter, meta_parameters
from ..spec import Shape
from ..tensor import Tensor, meta
from . import receptive
from .registry import create


def dense_weights(inputs: int | Shape, outputs: int | Shape) -> int:
    """Weights of a fully connected layer with these inputs and outputs (numbers, or shapes without the batch).

    A picture of 1000 × 1000 pixels in colour and 1000 units already take three billion; a 3×3 convolution to 1000
    channels takes 27 thousand.

    >>> import coolnn as cool
    >>> cool.models.summary.dense_weights((3, 1000, 1000), 1000)
    3000000000
    """
    return math.prod((inputs,) if isinstance(inputs, int) else inputs) * math.prod(
        (outputs,) if isinstance(outputs, int) else outputs
    )


@dataclass(frozen=True)
class Row:
    """One layer, or one operation that is in no layer (the sum of a residual block, say)."""

    name: str  # dotted path of the module
    kind: str  # class of the layer, or name of the operation
    output_shape: Shape
    parameters: int  # those not counted in a row before
    macs: int  # multiply-adds
    activation_bytes: int  # of the outputs of its operations
    receptive_field: tuple[float, float] | None  # height and width in input pixels; None where there is no picture
    stride: tuple[float, float] | None  # input pixels between neighbours
    whole_input: bool  # whether every number sees the whole picture
    dense_weights: int | None  # weights if a fully connected layer did the same; None for layers without multiply-adds

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data."""
        return dict(vars(self))


@dataclass(frozen=True)
class Summary:
    """Rows of all layers in the order of their use, and totals. `print` shows a table, `to_dict()` gives plain data."""

    name: str
    input_shapes: tuple[Shape, ...]
    rows: tuple[Row, ...]
    parameters: int
    trainable_parameters: int
    buffers: int = 0
    parameter_bytes: int = 0
    macs: int = field(init=False)
    activation_bytes: int = field(init=False)
    dense_weights: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "macs", sum(row.macs for row in self.rows))
        object.__setattr__(self, "activation_bytes", sum(row.activation_bytes for row in self.rows))
        object.__setattr__(self, "dense_weights", sum(row.dense_weights or 0 for row in self.rows))

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data (for JSON)."""
        return {**vars(self), "rows": [row.to_dict() for row in self.rows]}

    def __str__(self) -> str:
        header = ("Layer", "Kind", "Output", "Parameters", "Multiply-adds", "Activations", "Sees", "As fully connected")
        body = [_cells(row) for row in self.rows]
        inputs = ", ".join(_shape(shape) for shape in self.input_shapes)
        dense = count_text(self.dense_weights) if self.dense_weights else ""
        total = (
            "Total",
            "",
            "",
            f"{self.parameters:,}",
            count_text(self.macs),
            _bytes(self.activation_bytes),
            "",
            dense,
        )
        lines = _table([header, *body, total])
        rule = "─" * max(map(len, lines))
        return "\n".join(
            [f"{self.name}, input {inputs}", rule, lines[0], rule, *lines[1:-1], rule, lines[-1], *self._notes(inputs)]
        )

    def _notes(self, inputs: str) -> list[str]:
        frozen = self.parameters - self.trainable_parameters
        notes = [
            f"{self.parameters:,} parameters ({_bytes(self.parameter_bytes)})"
            + (f", {frozen:,} of them frozen" if frozen else "")
            + f"; {count_text(self.macs)} multiply-adds for an input of {inputs}."
        ]
        if self.parameters and self.dense_weights > self.parameters:
            times = f"{self.dense_weights / self.parameters:,.0f} times as many"
            notes.append(
                f"Fully connected layers of these shapes would take {count_text(self.dense_weights)} weights, {times}."
            )
        notes.append(
            '"Sees": receptive field / distance of neighbours, in input pixels. Activations: of one forward pass.'
        )
        return notes

    def __repr__(self) -> str:
        return str(self)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns of equal width: text to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        row.kind,
        _shape(row.output_shape),
        f"{row.parameters:,}" if row.parameters else "",
        count_text(row.macs) if row.macs else "",
        _bytes(row.activation_bytes) if row.activation_bytes else "",
        _sees(row),
        count_text(row.dense_weights) if row.dense_weights else "",
    )


def _sees(row: Row) -> str:
    if row.receptive_field is None or row.stride is None:
        return ""
    if row.whole_input:
        return "all"
    (height, width), (down, across) = row.receptive_field, row.stride
    size = f"{height:g}" if height == width else f"{height:g}×{width:g}"
    return f"{size} / {down:g}" if down == across else f"{size} / {down:g}×{across:g}"


def _shape(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "one number"


def count_text(number: float) -> str:
    """A number with three or four digits and a unit: 19.63 G."""
    for unit in ("", " k", " M", " G", " T", " P"):
        if number < 1000:
            break
        if unit != " P":
            number /= 1000
    return f"{number:.4g}{unit}" if unit else f"{number:g}"


def _bytes(number: int) -> str:
    return f"{count_text(number)}B" if number >= 1000 else f"{number} B"


# --- following a run -------------------------------------------------------------------------------------------------


@dataclass
class _Visit:
    """One run of a layer, or one operation outside of all layers."""

    name: str
    kind: str
    module: Module | None
    calls: list[Call] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    output: Tensor | None = None


class _Follower:
    """Watches modules come and go and gives every recorded call to the layer in which it ran."""

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        self.done = 0
        self.visits: list[_Visit] = []
        self.stack: list[tuple[str, _Visit | None]] = [("", None)]  # a visit for layers, None for modules of modules

    def flush(self) -> None:
        """Hands out the calls since the last change of module."""
        path, visit = self.stack[-1]
        for call in self.calls[self.done :]:
            if visit is not None:
                visit.calls.append(call)
            else:
                alone = _Visit(path, call.op.name, None, [call], [t for t in call.inputs if t is not None])
                alone.output = call.outputs[0]
                self.visits.append(alone)
        self.done = len(self.calls)

    def enter(self, path: str, module: Module, inputs: tuple[Any, ...]) -> None:
        self.flush()
        inner = self.stack[-1][1]  # what a layer calls inside belongs to it
        if inner is None and not any(True for _ in module.children()):
            inner = _Visit(path, type(module).__name__, module, inputs=[t for t in inputs if isinstance(t, Tensor)])
            self.visits.append(inner)
        self.stack.append((path, inner))

    def leave(self, output: Any) -> None:
        self.flush()
        _, visit = self.stack.pop()
        if visit is not None and self.stack[-1][1] is not visit:
            visit.output = _first_tensor(output)


def _first_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((found for found in map(_first_tensor, items) if found is not None), None)


def _follow(net: Module, inputs: list[Tensor]) -> tuple[list[Call], list[_Visit]]:
    """Runs the network on inputs without numbers, in evaluation, and leaves it as it was."""
    training = [(module, module.training) for module in net.modules()]
    removers: list[Callable[[], None]] = []
    try:
        with record() as calls, no_grad():
            follower = _Follower(calls)

            def watch(path: str, module: Module) -> None:
                removers.append(module.register_forward_pre_hook(lambda m, args: follower.enter(path, m, args)))
                removers.append(module.register_forward_hook(lambda m, args, out: follower.leave(out)))

            for path, module in net.named_modules():
                watch(path, module)
            net.eval()
            net(*inputs)
            follower.flush()
    finally:
        for remove in removers:
            remove()
        for module, mode in training:
            module.training = mode
    return calls, follower.visits


class _Rows:
    """Makes rows of visits; remembers which parameters were counted and what each tensor sees."""

    def __init__(self, inputs: list[Tensor], calls: list[Call]) -> None:
        self.fields = receptive.fields(calls, inputs)
        self.picture: Shape | None = next((t.shape[2:] for t in inputs if t.ndim == 4), None)
        self.counted: set[int] = set()

    def parameters(self, visit: _Visit) -> int:
        own = [] if visit.module is None else list(visit.module.parameters())
        used = [t for call in visit.calls for t in call.inputs if isinstance(t, Parameter)]
        fresh = {id(p): p.size for p in (*own, *used) if id(p) not in self.counted}
        self.counted.update(fresh)
        return sum(fresh.values())

    def row(self, visit: _Visit) -> Row | None:
        output = visit.output
        if output is None:
            return None
        specs = [(c, tuple(None if t is None else t.spec for t in c.inputs)) for c in visit.calls]
        macs = sum(c.op.macs(s, tuple(t.spec for t in c.outputs), **c.attributes) for c, s in specs)
        seen = self.fields.get(id(output))
        if visit.module is None and seen is None and not macs:
            return None  # arithmetic on weights only
        held = sum(
            t.spec.nbytes
            for c, s in specs
            for t in c.outputs
            if id(t) in self.fields and not c.op.alias(*s, **c.attributes)
        )
        source = next((t for t in visit.inputs if id(t) in self.fields), None)
        shown = seen if self.picture is not None else None
        covers = shown is not None and shown.grid == (1, 1) and self.picture is not None
        return Row(
            name=visit.name,
            kind=visit.kind,
            output_shape=output.shape,
            parameters=self.parameters(visit),
            macs=macs,
            activation_bytes=held,
            receptive_field=None if shown is None else shown.size,
            stride=None if shown is None else shown.stride,
            whole_input=covers and all(s >= n for s, n in zip(shown.size, self.picture, strict=True)),  # type: ignore[union-attr, arg-type]
            dense_weights=dense_weights(source.shape[1:], output.shape[1:]) if macs and source is not None else None,
        )


def _input_shapes(net: Module, given: Any) -> tuple[Shape, ...]:
    """Shapes with their batch axis; one of 1 (pictures, features) is added where it is missing."""
    if given is None:
        given = getattr(net, "input_size", None)
        if given is None:
            raise ValueError(
                f"{type(net).__name__} does not say what it takes; pass input_shape=(1, 3, 224, 224), for example"
            )
    shapes = [given] if all(isinstance(n, int) for n in given) else list(given)
    return tuple((1, *shape) if len(shape) in (1, 3) else tuple(shape) for shape in shapes)


def summary(net: Module | str, input_shape: Any = None, **kwargs: Any) -> Summary:
    """What a network is made of and what it costs, from shapes alone: nothing is computed and, for a name, no weights
    are made, so it is instant.

    `net`: a module, or a name from `models.list_models()` with `kwargs` for `models.create`. `input_shape`:
    (N, C, H, W), or (C, H, W) for a batch of one, or a list of shapes for several inputs; the zoo's networks
    know their own. The network runs in evaluation. Statistics of normalization layers are not part of receptive fields.
    Raises ValueError where the shapes do not fit.

    >>> import coolnn as cool
    >>> table = cool.summary("vgg19")
    >>> table.parameters, f"{table.macs / 1e9:.2f} G"
    (143667240, '19.63 G')
    >>> table.rows[0].name, table.rows[0].output_shape, table.rows[0].receptive_field
    ('features.0', (1, 64, 224, 224), (3.0, 3.0))
    """
    if isinstance(net, str):
        name = net
        with meta_parameters():
            net = create(name, **kwargs)
    elif kwargs:
        raise TypeError(f"{', '.join(kwargs)}: only for a network given by its name")
    else:
        name = getattr(net, "name", "") or type(net).__name__
    shapes = _input_shapes(net, input_shape)
    inputs = [meta(*shape) for shape in shapes]
    calls, visits = _follow(net, inputs)
    maker = _Rows(inputs, calls)
    rows = [row for row in map(maker.row, visits) if row is not None]
    parameters = list(net.parameters())
    return Summary(
        name=name,
        input_shapes=shapes,
        rows=tuple(rows),
        parameters=sum(p.size for p in parameters),
        trainable_parameters=sum(p.size for p in parameters if p.requires_grad),
        buffers=sum(b.size for b in net.buffers()),
        parameter_bytes=sum(p.spec.nbytes for p in parameters),
    )
