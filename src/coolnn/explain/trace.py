"""Traces: everything that was computed in one run, kept, so that each number can be followed to where it came from."""

from __future__ import annotations

import contextlib
import inspect
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import Call, Node, apply_all, is_grad_enabled, no_grad, record
from ..nn import Module
from ..spec import float64
from ..tensor import Tensor, from_numpy

if TYPE_CHECKING:
    from .drawing import Drawing
    from .gradient import GradientExplanation, Of
    from .numbers import Explanation


@dataclass(eq=False)
class Use:
    """One run of a module. A module that is used twice has two."""

    path: str  # dotted, "" for the network itself
    module: Module
    parent: Use | None
    number: int  # 1 for its first use, 2 for the next

    @property
    def label(self) -> str:
        """The path, with the number of the use where there was one before."""
        return self.path + (f" (use {self.number})" if self.number > 1 else "")

    def chain(self) -> list[Use]:
        """The uses around this one, outermost first, itself included."""
        return [*(self.parent.chain() if self.parent else ()), self]


@dataclass(eq=False)
class Step:
    """One run of an operation, and the module that it ran in."""

    call: Call
    use: Use | None
    number: int
    grad: bool  # whether gradients were switched on


class _Tape(list[Call]):
    """A list that tells a trace of every call as it is appended."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = weakref.ref(trace)

    def append(self, call: Call) -> None:
        super().append(call)
        trace = self._trace()
        if trace is not None:
            trace._add(call)


_alive: weakref.WeakSet[Trace] = weakref.WeakSet()


class Trace:
    """The operations of one run in order, with all tensors between them, and which module each ran in.

    Made by `coolnn.explain.trace(net, x)`, or by `with coolnn.explain.recording() as trace:` around any code. It holds
    all of the run's memory for as long as it is kept.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.title = ""
        self._names: dict[int, str] = {}
        self._made: dict[int, tuple[Step, int]] = {}
        self._touched: dict[int, tuple[Tensor, list[Call]]] = {}  # every tensor, and the calls that know it
        self._versions: dict[int, int] = {}
        self._nodes: dict[tuple[Node, int], Tensor] = {}
        self._uses: dict[int, int] = {}
        self._stack: list[Use | None] = [None]
        _alive.add(self)

    # --- recording ---------------------------------------------------------------------------------------------------

    def _add(self, call: Call) -> None:
        self.steps.append(Step(call, self._stack[-1], len(self.steps), is_grad_enabled()))
        if call.in_place:
            for tensor in call.outputs:
                self._keep_old(tensor, call)
        for tensor in (*call.inputs, *call.outputs):
            if tensor is not None:
                self._touched.setdefault(id(tensor), (tensor, []))[1].append(call)
                if tensor._buffer is not None:
                    written = call.in_place and any(tensor is output for output in call.outputs)
                    self._versions.setdefault(id(tensor), tensor._buffer.version + written)
        for index, tensor in enumerate(call.outputs):
            self._made[id(tensor)] = (self.steps[-1], index)

    def _keep_old(self, tensor: Tensor, writer: Call) -> None:
        """Gives all who have read a tensor a copy of it to remember, before it is overwritten."""
        _, readers = self._touched.pop(id(tensor), (tensor, []))
        old = tensor.detach().copy()
        for call in readers:
            call.inputs = tuple([old if t is tensor else t for t in call.inputs])
            call.outputs = tuple([old if t is tensor else t for t in call.outputs])
        writer.inputs = tuple([old if t is tensor else t for t in writer.inputs])
        self._touched[id(old)] = (old, readers)
        self._versions.pop(id(tensor), None)
        if id(tensor) in self._made:
            self._made[id(old)] = self._made.pop(id(tensor))
        if id(tensor) in self._names:
            self._names[id(old)] = f"{self._names[id(tensor)]} (before)"

    @contextlib.contextmanager
    def _recording(self, modules: Iterable[tuple[str, Module]]) -> Iterator[None]:
        removers: list[Callable[[], None]] = []
        tape = _Tape(self)
        try:
            for path, module in modules:
                removers.append(module.register_forward_pre_hook(self._enter(path)))
                removers.append(module.register_forward_hook(self._leave))
            with record(into=tape):
                yield
        finally:
            for remove in removers:
                remove()
            del self._stack[1:]

    def _enter(self, path: str) -> Callable[[Module, tuple[Any, ...]], None]:
        def enter(module: Module, inputs: tuple[Any, ...]) -> None:
            self._uses[id(module)] = self._uses.get(id(module), 0) + 1
            self._stack.append(Use(path, module, self._stack[-1], self._uses[id(module)]))

        return enter

    def _leave(self, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        # A module that raised has not left: what stands above this one's place goes with it.
        while len(self._stack) > 1:
            use = self._stack.pop()
            if use is not None and use.module is module:
                return

    def name_tensors(self, module: Module, prefix: str = "") -> None:
        """Gives the parameters and buffers of a network their dotted names."""
        for name, tensor in (*module.named_parameters(prefix), *module.named_buffers(prefix)):
            self.name(tensor, name)

    def name(self, tensor: Tensor, name: str) -> None:
        """Gives a tensor a name, under which pictures and explanations show it."""
        self._touched.setdefault(id(tensor), (tensor, []))
        self._names[id(tensor)] = name

    # --- looking up --------------------------------------------------------------------------------------------------

    def __contains__(self, tensor: object) -> bool:
        return isinstance(tensor, Tensor) and self.find(tensor) is not None

    def find(self, tensor: Tensor) -> Tensor | None:
        """The tensor of this trace that is this one (or stands at the same place of the graph), or None."""
        if id(tensor) in self._touched:
            return tensor
        return self._nodes.get((tensor._node, tensor._index)) if tensor._node is not None else None

    def maker(self, tensor: Tensor) -> tuple[Step, int] | None:
        """The step that made a tensor, and which of its outputs it is; None for what came from outside."""
        return self._made.get(id(tensor))

    def name_of(self, tensor: Tensor) -> str:
        """A tensor's name: its own, or that of the module and operation that made it."""
        known = self._names.get(id(tensor))
        if known is not None:
            return known
        made = self.maker(tensor)
        if made is None:
            return "number" if not tensor.shape else "tensor"
        step, _ = made
        where = step.use.label if step.use is not None else ""
        return f"{where}: {step.call.op.name}" if where else step.call.op.name

    def numbers(self, tensor: Tensor) -> np.ndarray[Any, np.dtype[Any]]:
        """A tensor's numbers as they were; raises RuntimeError if they are gone or have been overwritten."""
        if tensor._buffer is None:
            raise RuntimeError(
                f"the numbers of {self.name_of(tensor)} ({tensor.spec}) were not kept; record the run: "
                "trace = cool.explain.trace(net, x), or with cool.explain.recording() as trace: ..."
            )
        version = self._versions.get(id(tensor))
        if version is not None and version != tensor._buffer.version:
            raise RuntimeError(
                f"{self.name_of(tensor)} was overwritten after this run was recorded (by an optimizer's step, say); "
                "record the run again"
            )
        return tensor.numpy()

    def layers(self) -> dict[str, Tensor]:
        """What each use of a module gave last, by its label."""
        found: dict[str, Tensor] = {}
        for step in self.steps:
            for use in step.use.chain() if step.use else ():
                found[use.label] = step.call.outputs[0]
        return found

    @property
    def output(self) -> Tensor:
        """The first output."""
        if not self.outputs:
            raise ValueError("this trace has no output of its own; name the tensor that you mean")
        return self.outputs[0]

    def resolve(self, what: Tensor | str | None) -> Tensor:
        """A tensor of this trace: itself, by the name of a parameter, input or layer, or the output (None)."""
        if what is None:
            return self.output
        if isinstance(what, Tensor):
            found = self.find(what)
            if found is None:
                raise ValueError(f"this tensor ({what.spec}) took no part in the recorded run")
            return found
        for key, name in self._names.items():
            if name == what:
                return self._touched[key][0]
        layers = self.layers()
        if what in layers:
            return layers[what]
        names = [*self._names.values(), *(name for name in layers if name)]
        raise KeyError(f"nothing is named '{what}' in this trace; there are: {', '.join(names[:40])}")

    # --- explaining --------------------------------------------------------------------------------------------------

    def explain(self, index: int | Sequence[int] | None = None, of: Tensor | str | None = None) -> Explanation:
        """Explains one number of the output, or of another tensor of this run (itself, or by its name)."""
        from .numbers import Explanation

        return Explanation(self, self.resolve(of), index)

    def explain_gradient(
        self, what: Tensor | str, index: int | Sequence[int] | None = None, of: Of = None
    ) -> GradientExplanation:
        """Explains one number of the gradient of the output (or of `of`) by a tensor, itself or by its name."""
        from .gradient import explain_gradient

        return explain_gradient(self.resolve(what), index, of, self)

    def graph(self, level: str | None = None, gradients: bool = True) -> Drawing:
        """The graph of this run, drawn: see `coolnn.graph`."""
        from .build import graph

        return graph(self, level=level, gradients=gradients)

    def __repr__(self) -> str:
        return f"<trace of {self.title or 'a run'}: {len(self.steps)} operations>"


# --- making traces -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def recording(*modules: Module) -> Iterator[Trace]:
    """Keeps everything that is computed inside the `with` block, so that its numbers can be explained afterwards.

    Networks that are named get their layers and parameters shown by name. Keep the trace: explanations are found for
    as long as it lives.

    >>> import coolnn as cool
    >>> net = cool.nn.Linear(3, 1)
    >>> with cool.explain.recording(net) as trace:
    ...     y = net(cool.ones(1, 3)) * 2
    >>> [step.call.op.name for step in trace.steps]
    ['linear', 'mul']
    """
    trace = Trace()
    trace.title = ", ".join(type(module).__name__ for module in modules)
    with trace._recording(_named(trace, modules)):
        yield trace


def trace(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Trace:
    """Runs a network or any function of tensors and keeps everything that was computed.

    Arrays become tensors, numbers float64 tensors without axes; other arguments are passed on. Raises TypeError for
    what cannot be called.

    >>> import coolnn as cool
    >>> trace = cool.explain.trace(lambda x, y: x * y, x=4, y=-3)
    >>> float(trace.output)
    -12.0
    """
    if not callable(function):
        raise TypeError(f"trace takes a network or a function and its arguments, not {type(function).__name__}")
    made = Trace()
    made.title = type(function).__name__ if isinstance(function, Module) else getattr(function, "__name__", "function")
    bound_args = [_as_input(value) for value in args]
    bound_kwargs = {name: _as_input(value) for name, value in kwargs.items()}
    for name, value in _argument_names(function, bound_args, bound_kwargs):
        if isinstance(value, Tensor):
            made.inputs.append(value)
            made.name(value, name)
    with made._recording(_named(made, _modules_of(function))):
        result = function(*bound_args, **bound_kwargs)
    made.outputs = _tensors(result)
    if not made.outputs:
        raise TypeError(f"{made.title} returned no tensor but {type(result).__name__}: there is nothing to follow")
    return made


def _named(trace: Trace, modules: Iterable[Module]) -> Iterator[tuple[str, Module]]:
    roots = list(modules)
    seen: set[int] = set()
    for number, root in enumerate(roots):
        prefix = "" if len(roots) == 1 else f"{type(root).__name__.lower()}{number or ''}"
        trace.name_tensors(root, prefix)
        for path, module in root.named_modules(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield path, module


def _modules_of(function: Callable[..., Any]) -> list[Module]:
    """The networks that a function uses: itself, its object, or what it mentions by name."""
    if isinstance(function, Module):
        return [function]
    found: list[Any] = [getattr(function, "__self__", None)]
    if inspect.isfunction(function):
        names = inspect.getclosurevars(function)
        found += [*names.nonlocals.values(), *names.globals.values()]
    modules = {id(m): m for m in found if isinstance(m, Module)}
    inner = {id(child) for m in modules.values() for child in m.modules() if child is not m}
    return [m for key, m in modules.items() if key not in inner]


def _as_input(value: Any) -> Any:
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int | float):
        return from_numpy(np.array(value, float64))
    if isinstance(value, np.ndarray | np.generic):
        return from_numpy(np.asarray(value))
    # A tensor gets a place of its own, so that what else was done with it is no part of the run.
    if isinstance(value, Tensor) and type(value) is Tensor:
        copy = value.detach()
        copy.requires_grad = value.requires_grad
        return copy
    return value


def _argument_names(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    try:
        target = function.forward if isinstance(function, Module) else function
        names = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # some built-in functions have no signature
        names = []
    fixed = [p.name for p in names if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for number, value in enumerate(args):
        yield (fixed[number] if number < len(fixed) else f"input {number}"), value
    yield from kwargs.items()


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for item in items for tensor in _tensors(item)]


# --- the graph behind a tensor ---------------------------------------------------------------------------------------


def trace_of(tensor: Tensor) -> Trace:
    """The trace that a tensor is part of: a recording that is still kept, or the graph that it remembers itself.

    From the graph, what backward does not need was not kept and is computed again, by the same kernels. Raises
    RuntimeError, with the remedy, for a tensor that has neither.
    """
    for known in sorted(_alive, key=lambda t: -len(t.steps)):
        if tensor in known:
            return known
    if tensor._node is None:
        raise RuntimeError(
            "nothing is known of how this tensor was computed; record the run: "
            "trace = cool.explain.trace(net, x) and trace.explain(index), or "
            "with cool.explain.recording() as trace: y = net(x) and, while trace is kept, cool.explain(y, index)"
        )
    return _from_graph(tensor)


def _from_graph(tensor: Tensor) -> Trace:
    assert tensor._node is not None
    nodes: dict[Node, None] = {}
    waiting = [tensor._node]
    originals: dict[tuple[Node, int], Tensor] = {(tensor._node, tensor._index): tensor}
    while waiting:
        node = waiting.pop()
        if node in nodes:
            continue
        nodes[node] = None
        for source in node.inputs:
            if source is not None and source._node is not None:
                waiting.append(source._node)
                if source._buffer is not None:
                    originals[source._node, source._index] = source
    trace = Trace()
    for node in sorted(nodes, key=lambda n: n.sequence):
        _replay_node(trace, node, originals)
    trace.outputs = [trace._nodes[tensor._node, tensor._index]]
    return trace


def _replay_node(trace: Trace, node: Node, originals: dict[tuple[Node, int], Tensor]) -> None:
    inputs = tuple(
        [None if t is None else t if t._node is None else trace._nodes[t._node, t._index] for t in node.inputs]
    )
    outputs = [
        originals.get((node, i), Tensor(buffer, spec))
        for i, (buffer, spec) in enumerate(zip(node.saved, node.specs, strict=True))
    ]
    if any(o._buffer is None for o in outputs) and all(t is None or t._buffer is not None for t in inputs):
        with no_grad():
            again = apply_all(node.op, *inputs, **node.attributes)
        outputs = [o if o._buffer is not None else new for o, new in zip(outputs, again, strict=True)]
    for index, output in enumerate(outputs):
        trace._nodes[node, index] = output
    trace._add(Call(node.op, inputs, tuple(outputs), node.attributes, node.needs))
