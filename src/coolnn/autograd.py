"""Running operations, recording them, and going backward through the record by the chain rule."""

from __future__ import annotations

import contextlib
import functools
import heapq
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from . import _core
from .ops.op import Op
from .spec import DTYPE_CODES, Spec, float32, float64
from .tensor import Tensor

Hook = Callable[[Tensor], "Tensor | None"]
F = TypeVar("F", bound=Callable[..., Any])


class _State(threading.local):
    """What is switched on in this thread."""

    grad_enabled = True
    recorder: list[Call] | None = None
    effects: list[Callable[[], None]] | None = None
    rule: ChainRule | None = None


_state = _State()


# --- running one operation -------------------------------------------------------------------------------------------


class Call:
    """One use of an operation: what a chain rule, a summary and an explanation see."""

    __slots__ = ("attributes", "in_place", "inputs", "needs", "op", "outputs")

    def __init__(
        self,
        op: Op,
        inputs: tuple[Tensor | None, ...],
        outputs: tuple[Tensor, ...],
        attributes: dict[str, Any],
        needs: tuple[bool, ...] = (),
        in_place: bool = False,
    ) -> None:
        self.op = op
        self.inputs: tuple[Any, ...] = inputs
        self.outputs = outputs
        self.attributes = attributes
        self.needs = needs  # for each input: is its gradient wanted?
        self.in_place = in_place  # whether the outputs are tensors that were there before


#: Gives the gradients of a call's inputs from those of its outputs, in place of the operation's own rule.
ChainRule = Callable[..., "tuple[Tensor | None, ...]"]


class Prepared:
    """An operation made ready for given shapes: output specs and kernel, found once and kept."""

    __slots__ = ("alias", "kernel", "outputs", "real", "run", "run_into")

    def __init__(
        self,
        op: Op,
        inputs: tuple[Spec | None, ...],
        attributes: dict[str, Any],
        constant_weights: bool = False,
        bf16: bool = False,
    ) -> None:
        inferred = op.infer(*inputs, **attributes)
        self.outputs: tuple[Spec, ...] = (inferred,) if isinstance(inferred, Spec) else tuple(inferred)
        # Only real numbers have gradients.
        self.real = tuple([i for i, spec in enumerate(self.outputs) if spec.dtype.kind == "f"])
        self.kernel: _core.Kernel | None = None
        self.alias = op.alias(*inputs, **attributes)
        if self.alias:
            return
        present = [spec for spec in (*inputs, *self.outputs) if spec is not None]
        if any(s.dtype == float32 for s in present) and not any(s.dtype == float64 for s in present):
            self.kernel = _core.prepare(
                op.name,
                attributes,
                tuple(s and (DTYPE_CODES[s.dtype], s.shape) for s in inputs),
                tuple((DTYPE_CODES[s.dtype], s.shape) for s in self.outputs),
                constant_weights,
                bf16,
            )
        if self.kernel is not None:
            self.run, self.run_into = self.kernel.run, self.kernel.run_into
            if _watcher is not None:
                self.run, self.run_into = _watcher(op, inputs, self.outputs, attributes, self.kernel)


#: Gives what runs in place of a kernel's `run` and `run_into` when steps are watched (see coolnn.verbose).
Watcher = Callable[
    [Op, Sequence[Spec | None], Sequence[Spec], dict[str, Any], _core.Kernel],
    tuple[Callable[..., Any], Callable[..., Any]],
]
_watcher: Watcher | None = None


def watch(watcher: Watcher | None) -> None:
    """Puts a watcher between operations and their kernels, or takes it away."""
    global _watcher
    _watcher = watcher
    clear_kernel_cache()


_CACHE_LIMIT = 4096
_cache: OrderedDict[Any, Prepared] = OrderedDict()


def clear_kernel_cache() -> None:
    """Forgets all prepared kernels; needed after a change of instruction set or options."""
    _cache.clear()


def prepare(
    op: Op,
    inputs: tuple[Spec | None, ...],
    attributes: dict[str, Any],
    constant_weights: bool = False,
    bf16: bool = False,
) -> Prepared:
    """The prepared form of an operation for these input specs and attributes, from the cache if it is there.

    With `constant_weights` the kernel may want weights and bias packed once (`kernel.pack`) and not in every run; with
    `bf16` it may then round them, and what they are multiplied with, to bfloat16.
    """
    if constant_weights:
        return Prepared(op, inputs, attributes, True, bf16)  # belongs to one program
    key: tuple[Any, ...] = (op, inputs)
    if attributes:
        key = (op, inputs, tuple(attributes), tuple(attributes.values()))
    found = _cache.get(key)
    if found is None:
        found = _cache[key] = Prepared(op, inputs, attributes)
        if len(_cache) > _CACHE_LIMIT:
            with contextlib.suppress(KeyError):  # another thread may have emptied it
                _cache.popitem(last=False)
    return found


def _run_reference(
    op: Op, inputs: tuple[Tensor | None, ...], specs: tuple[Spec, ...], attributes: dict[str, Any]
) -> tuple[Tensor, ...]:
    arrays = tuple(None if t is None else t.numpy() for t in inputs)
    with np.errstate(all="ignore"):  # the logarithm of a negative number is nan here as in a kernel, not a warning
        results = op.reference(*arrays, **attributes)
        if not isinstance(results, tuple):
            results = (results,)
        for result, spec in zip(results, specs, strict=True):
            if np.shape(result) != spec.shape:
                raise ValueError(f"{op.name}: reference gave shape {np.shape(result)}, shape rule said {spec.shape}")
        made = [np.asarray(r, spec.dtype) for r, spec in zip(results, specs, strict=True)]
    # A view of an input gets memory of its own: an optimizer may later write over the input.
    present = [a for a in arrays if a is not None]
    return tuple([Tensor.from_array(m.copy() if any(np.may_share_memory(m, a) for a in present) else m) for m in made])


def apply_all(op: Op, *inputs: Tensor | None, **attributes: Any) -> tuple[Tensor, ...]:
    """Runs an operation on tensors, records it if a gradient may be wanted, and gives all of its outputs."""
    prepared = prepare(op, tuple([None if t is None else t.spec for t in inputs]), attributes)
    specs = prepared.outputs
    buffers = tuple([None if t is None else t._buffer for t in inputs])
    if None in buffers and any([t is not None and t._buffer is None for t in inputs]):
        outputs = tuple([Tensor(None, spec) for spec in specs])
    elif prepared.kernel is not None:
        outputs = tuple([Tensor(b, s) for b, s in zip(prepared.run(buffers), specs, strict=True)])
    elif prepared.alias:
        outputs = (Tensor(buffers[0], specs[0]),)
    else:
        outputs = _run_reference(op, inputs, specs, attributes)
    if prepared.real and _state.grad_enabled:
        needs = tuple([t is not None and t.requires_grad for t in inputs])
        if True in needs:
            node = Node(op, inputs, outputs, specs, attributes, needs)
            for index in prepared.real:
                output = outputs[index]
                output.requires_grad = True
                output._node = node
                output._index = index
    if _state.recorder is not None:
        _state.recorder.append(Call(op, inputs, outputs, attributes))
    return outputs


def apply(op: Op, *inputs: Tensor | None, **attributes: Any) -> Tensor:
    """Runs an operation on tensors and gives its first output; the others, if any, serve its chain rule."""
    return apply_all(op, *inputs, **attributes)[0]


def apply_into(op: Op, inputs: tuple[Tensor | None, ...], outputs: tuple[Tensor, ...], **attributes: Any) -> None:
    """Runs an operation into existing tensors (which may be its inputs, where it works in place), outside the graph."""
    prepared = prepare(op, tuple([None if t is None else t.spec for t in inputs]), attributes)
    if _state.recorder is not None:
        _state.recorder.append(Call(op, inputs, outputs, attributes, in_place=True))
        if _state.effects is not None or any([t is not None and t._buffer is None for t in inputs]):
            return  # a trace only writes down what is to be written, and without numbers there is nothing to write
    if prepared.kernel is not None:
        prepared.run_into(
            tuple([None if t is None else t._buffer for t in inputs]),
            tuple([o._buffer for o in outputs]),  # type: ignore[misc]  # outputs have memory
        )
        return
    for output, result in zip(outputs, _run_reference(op, inputs, prepared.outputs, attributes), strict=True):
        output.copy_(result)


# --- the record ------------------------------------------------------------------------------------------------------

_sequence = itertools.count()


class Node:
    """An operation that was run: an inner node of the computation graph, with what its chain rule needs."""

    __slots__ = (
        "__weakref__",
        "attributes",
        "hooks",
        "inputs",
        "needs",
        "op",
        "released",
        "saved",
        "sequence",
        "specs",
        "traced",
    )

    def __init__(
        self,
        op: Op,
        inputs: tuple[Tensor | None, ...],
        outputs: tuple[Tensor, ...],
        specs: tuple[Spec, ...],
        attributes: dict[str, Any],
        needs: tuple[bool, ...],
    ) -> None:
        self.op = op
        self.attributes = attributes
        self.needs = needs
        # While operations are being recorded every tensor stays itself, so that the record knows it again.
        self.traced = outputs if _state.recorder is not None else None
        # What the chain rule does not read is kept as its place in the graph only, so that its memory can go.
        keep = None if self.traced is not None else op.saves(needs)
        self.inputs: tuple[Tensor | None, ...] = (
            inputs
            if keep is None
            else tuple([t if t is None or i in keep else t._place() for i, t in enumerate(inputs)])
        )
        # Of the outputs only the memory: an output itself points to this node, and a cycle would outlive its use.
        kept = op.saves_outputs
        self.specs = specs
        self.saved: tuple[_core.Buffer | None, ...] = (None,) * len(specs)
        if kept is True:
            self.saved = tuple([o._buffer for o in outputs])
        elif kept:
            self.saved = tuple([o._buffer if i in kept else None for i, o in enumerate(outputs)])
        self.hooks: dict[int, list[Hook]] = {}
        self.sequence = next(_sequence)
        self.released = False

    def backward(self, grads: list[Tensor | None], retain: bool) -> tuple[Tensor | None, ...]:
        """The gradients for the inputs from those for the outputs."""
        if self.released:
            raise RuntimeError(
                f"backward a second time through '{self.op.name}': its values were freed by the first; "
                "call the first one with retain_graph=True"
            )
        outputs = self.traced
        if outputs is None:
            outputs = tuple([Tensor(buffer, spec) for buffer, spec in zip(self.saved, self.specs, strict=True)])
        if _state.grad_enabled:  # the chain rule itself is to be differentiated
            for index, output in enumerate(outputs):
                output.requires_grad, output._node, output._index = output.dtype.kind == "f", self, index
        call = Call(self.op, self.inputs, outputs, self.attributes, self.needs)
        result = self.op.vjp(call, *grads) if _state.rule is None else _state.rule(call, *grads)
        if isinstance(result, Tensor):  # of a rule for a single input
            result = (result,)
        if not isinstance(result, tuple) or len(result) != len(self.inputs):
            raise RuntimeError(
                f"the chain rule of '{self.op.name}' must return a tuple of {len(self.inputs)} gradients, "
                "one for each input"
            )
        if not retain:
            self.released = True
            self.inputs = tuple([t if t is None else t._place() for t in self.inputs])
            self.saved = (None,) * len(self.specs)
            self.traced = None
        return result


# --- going backward --------------------------------------------------------------------------------------------------


def run_hooks(hooks: Sequence[Hook] | None, grad: Tensor) -> Tensor:
    """The gradient after all hooks, each of which may replace it."""
    for hook in hooks or ():
        replaced = hook(grad)
        if replaced is not None:
            grad = replaced
    return grad


def _check_gradient(grad: Tensor, tensor: Tensor, op: str, numbers: bool) -> None:
    if grad.spec != tensor.spec:
        raise RuntimeError(f"the chain rule of '{op}' gave a gradient of {grad.spec} for an input of {tensor.spec}")
    if numbers and grad._buffer is None:
        raise RuntimeError(
            f"the chain rule of '{op}' read numbers that were not kept: name them in saves_inputs or saves_outputs"
        )


class _Walk:
    """One way back through the graph, from outputs to leaves in reverse order of execution."""

    def __init__(self, inputs: Sequence[Tensor], retain_graph: bool) -> None:
        self.retain_graph = retain_graph
        self.pending: dict[Node, list[Tensor | None]] = {}  # gradients that have come so far, for each output
        self.heap: list[tuple[int, Node]] = []
        self.leaves: dict[int, tuple[Tensor, Tensor]] = {}
        self.found: list[Tensor | None] = [None] * len(inputs)
        self.wanted: dict[Any, list[int]] = {}
        for position, tensor in enumerate(inputs):
            place = (tensor._node, tensor._index) if tensor._node is not None else id(tensor)
            self.wanted.setdefault(place, []).append(position)

    def arrive(self, tensor: Tensor, grad: Tensor) -> None:
        """Adds a gradient to what a tensor has got from other uses of it."""
        node = tensor._node
        if node is None:
            known = self.leaves.get(id(tensor))
            self.leaves[id(tensor)] = (tensor, grad if known is None else known[1] + grad)
            return
        waiting = self.pending.get(node)
        if waiting is None:
            waiting = self.pending[node] = [None] * len(node.specs)
            heapq.heappush(self.heap, (-node.sequence, node))
        before = waiting[tensor._index]
        waiting[tensor._index] = grad if before is None else before + grad

    def run(self) -> None:
        """Goes through all nodes that gradients arrive at; each has all of its own when its turn comes."""
        while self.heap:
            node = heapq.heappop(self.heap)[1]
            grads = self.pending.pop(node)
            numbers = node.traced is None  # in a trace there are no numbers
            for index, grad in enumerate(grads):
                if grad is not None:
                    grads[index] = grad = run_hooks(node.hooks.get(index), grad)
                    self.note((node, index), grad)
                    numbers = numbers and grad._buffer is not None
            targets = node.inputs
            for target, grad in zip(targets, node.backward(grads, self.retain_graph), strict=True):
                if grad is not None and target is not None and target.requires_grad:
                    _check_gradient(grad, target, node.op.name, numbers)
                    self.arrive(target, grad)

    def note(self, place: Any, grad: Tensor) -> None:
        """Keeps a gradient that was asked for."""
        for position in self.wanted.get(place, ()):
            self.found[position] = grad


def backpropagate(
    outputs: Sequence[Tensor],
    grads: Sequence[Tensor],
    inputs: Sequence[Tensor] | None,
    retain_graph: bool,
    create_graph: bool,
) -> list[Tensor | None]:
    """Carries gradients from outputs to leaves, summing where a value was used more than once.

    With `inputs` the gradients of those are returned and no `.grad` is touched; without, `.grad` of all leaves grows.
    """
    walk = _Walk(inputs or (), retain_graph)
    before, _state.grad_enabled = _state.grad_enabled, create_graph
    try:
        for output, grad in zip(outputs, grads, strict=True):
            walk.arrive(output, grad)
        walk.run()
        taken = {id(grad._buffer) for grad in grads}
        for leaf, grad in walk.leaves.values():
            grad = run_hooks(leaf._hooks, grad)
            if inputs is not None:
                walk.note(id(leaf), grad)
            elif leaf.grad is not None:
                leaf.grad = leaf.grad + grad
            else:
                # Memory of its own: what the caller gave, or another leaf has too, must not change with this one.
                shared = id(grad._buffer) in taken and not create_graph and grad._buffer is not None
                leaf.grad = grad.copy() if shared else grad
                taken.add(id(grad._buffer))
    finally:
        _state.grad_enabled = before
    return walk.found


def _start_gradient(output: Tensor, grad: Tensor | None) -> Tensor:
    if not output.requires_grad:
        raise RuntimeError(
            "this tensor does not depend on any tensor with requires_grad=True, so there is nothing to differentiate"
        )
    if grad is None:
        if output.size != 1:
            raise RuntimeError(
                f"backward from a tensor of shape {output.shape} needs a gradient of that shape; "
                "only for a single number is it 1 by itself"
            )
        return Tensor.from_array(np.ones(output.shape, output.dtype))
    if grad.shape != output.shape:
        raise RuntimeError(f"the gradient to start from has shape {grad.shape}, the tensor {output.shape}")
    return grad.astype(output.dtype)


def backward(
    tensor: Tensor, gradient: Tensor | None = None, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """Adds the derivative of `tensor` to `.grad` of every leaf that it depends on."""
    backpropagate([tensor], [_start_gradient(tensor, gradient)], None, retain_graph or create_graph, create_graph)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The derivatives of `outputs` with respect to `inputs`, without touching any `.grad`.

    Returns a tuple with one tensor for each input, of the input's shape. `grad_outputs` weights the outputs (needed
    where one has more than one element). Raises RuntimeError where an input does not take part, unless `allow_unused`.

    >>> import coolnn as cool
    >>> x = cool.tensor([3.0], requires_grad=True)
    >>> (dx,) = cool.grad((x * x).sum(), x)
    >>> float(dx)
    6.0
    """
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    starts = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs or [None] * len(outs))
    start = [_start_gradient(o, g) for o, g in zip(outs, starts, strict=True)]
    found = backpropagate(outs, start, ins, retain_graph or create_graph, create_graph)
    if not allow_unused:
        for position, result in enumerate(found):
            if result is None:
                raise RuntimeError(
                    f"input {position} does not take part in the outputs; pass allow_unused=True to get None"
                )
    return tuple(found)


# --- switches --------------------------------------------------------------------------------------------------------


class set_grad_enabled:
    """Switches recording for gradients on or off in this thread: at once, and back at the end of a `with` block.

    >>> import coolnn as cool
    >>> with cool.set_grad_enabled(False):
    ...     cool.is_grad_enabled()
    False
    """

    def __init__(self, enabled: bool) -> None:
        self._before = _state.grad_enabled
        _state.grad_enabled = bool(enabled)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        _state.grad_enabled = self._before


class no_grad:
    """Inside `with no_grad():`, or a function decorated by `@no_grad()`, nothing is recorded: less memory, no backward.

    >>> import coolnn as cool
    >>> x = cool.tensor([1.0], requires_grad=True)
    >>> with cool.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    def __enter__(self) -> None:
        self._before = _state.grad_enabled
        _state.grad_enabled = False

    def __exit__(self, *error: object) -> None:
        _state.grad_enabled = self._before

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def without(*args: Any, **kwargs: Any) -> Any:
            with no_grad():
                return function(*args, **kwargs)

        return without  # type: ignore[return-value]  # the same signature


def is_grad_enabled() -> bool:
    """Whether operations are being recorded for gradients in this thread."""
    return _state.grad_enabled


@contextlib.contextmanager
def chain_rule(rule: ChainRule) -> Iterator[None]:
    """Inside the `with` block gradients go back by `rule(call, *grads)`; `call.op.vjp(call, *grads)` is the usual."""
    before, _state.rule = _state.rule, rule
    try:
        yield
    finally:
        _state.rule = before


@contextlib.contextmanager
def record(effects: list[Callable[[], None]] | None = None, into: list[Call] | None = None) -> Iterator[list[Call]]:
    """Collects every operation that runs in this thread inside the `with` block, in order.

    With a list for `effects` what is to happen at each run beside the operations (see `each_run`) is collected there.
    The calls are appended to `into`, if it is given: before they run if they work in place, else afterwards.
    """
    before = _state.recorder, _state.effects
    calls: list[Call] = [] if into is None else into
    _state.recorder, _state.effects = calls, effects
    try:
        yield calls
    finally:
        _state.recorder, _state.effects = before


@contextlib.contextmanager
def following() -> Iterator[list[Call]]:
    """Collects the operations of the `with` block beside whoever records already: for functions that are traced."""
    outer = _state.recorder
    calls: list[Call] = []
    if outer is None:
        with record(into=calls):
            yield calls
        return
    start = len(outer)
    yield calls
    calls.extend(outer[start:])


def each_run(effect: Callable[[], None]) -> None:
    """Does what must be done anew in every run, beside operations: now, or before each run of what is being traced."""
    if _state.effects is None:
        effect()
    else:
        _state.effects.append(effect)
