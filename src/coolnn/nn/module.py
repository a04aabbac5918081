"""Module: the base of all layers and networks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..spec import Spec
from ..tensor import Array, Tensor
from ..tensor import tensor as make_tensor
from .parameter import Buffer, Parameter

M = TypeVar("M", bound="Module")
PreHook = Callable[["Module", tuple[Any, ...]], Any]
ForwardHook = Callable[["Module", tuple[Any, ...], Any], Any]


class LoadResult(NamedTuple):
    """What `load_state_dict(..., strict=False)` left alone."""

    missing: list[str]
    unexpected: list[str]


class Module:
    """Base class of layers and networks: an ordinary object whose attributes are parameters, buffers and modules.

    A subclass gives `forward`; calling the module runs it. Attributes are found by their type, so there is nothing to
    register: `Parameter` is learned, `Buffer` is state, `Module` is a child. Names in `state_dict()` are PyTorch's.

    >>> import coolnn as cool
    >>> class Net(cool.nn.Module):
    ...     def __init__(self):
    ...         self.conv = cool.nn.Conv2d(1, 4, 3)
    ...         self.head = cool.nn.Linear(4, 10)
    ...     def forward(self, x):
    ...         return self.head(self.conv(x).relu().mean((2, 3)))
    >>> net = Net()
    >>> net(cool.zeros(2, 1, 8, 8)).shape
    (2, 10)
    >>> [name for name, _ in net.named_parameters()]
    ['conv.weight', 'conv.bias', 'head.weight', 'head.bias']
    """

    training: bool = True
    #: Whether it stays in evaluation when the network around it is trained; see `models.freeze`.
    frozen: bool = False
    #: The constructor's arguments, positional and named: with the class they say how to build the module again.
    arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls: type[M], *args: Any, **kwargs: Any) -> M:
        module = super().__new__(cls)
        object.__setattr__(module, "arguments", (args, kwargs))
        return module

    # Instances get dictionaries of their own when the first hook is registered.
    _forward_hooks: Mapping[int, ForwardHook] = {}
    _forward_pre_hooks: Mapping[int, PreHook] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the output; every subclass gives its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(); define it to say what the module computes")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_pre_hooks:
            for pre_hook in tuple(self._forward_pre_hooks.values()):
                changed = pre_hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        result = self.forward(*args, **kwargs)
        if self._forward_hooks:
            for hook in tuple(self._forward_hooks.values()):
                changed = hook(self, args, result)
                if changed is not None:
                    result = changed
        return result

    def __setattr__(self, name: str, value: Any) -> None:
        if (
            isinstance(value, Tensor)
            and not isinstance(value, Parameter | Buffer)
            and isinstance(self.__dict__.get(name), Parameter | Buffer)
        ):
            kind = type(self.__dict__[name]).__name__
            raise TypeError(
                f"'{name}' of {type(self).__name__} is a {kind} and would stop being one; "
                f"assign nn.{kind}(tensor), or overwrite its numbers with .{name}.copy_(tensor)"
            )
        object.__setattr__(self, name, value)

    # --- what it is made of ------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct children with their names, in order of assignment."""
        for name, value in self.__dict__.items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        """The direct children."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "", _seen: set[int] | None = None) -> Iterator[tuple[str, Module]]:
        """This module (named `prefix`, "" by default) and all below it, each once, parents first."""
        seen = set() if _seen is None else _seen
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def get_submodule(self, path: str) -> Module:
        """The module at a dotted path such as "layer1.0.conv1"; raises KeyError that lists what there is."""
        module = self
        for part in path.split(".") if path else ():
            children = dict(module.named_children())
            if part not in children:
                known = ", ".join(children) or "none"
                raise KeyError(f"no module '{part}' of '{path}' in {type(module).__name__}; its children: {known}")
            module = children[part]
        return module

    def _named_tensors(self, kind: type[Tensor], prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, value in module.__dict__.items():
                if isinstance(value, kind) and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted names, each once (one that is shared has its first name)."""
        return self._named_tensors(Parameter, prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once: what an optimizer takes."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Buffer]]:
        """All buffers with their dotted names, each once."""
        return self._named_tensors(Buffer, prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Buffer]:
        """All buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """The same as assigning the attribute; for names that are made at run time."""
        setattr(self, name, parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """The same as assigning a `Buffer` of the tensor."""
        setattr(self, name, None if tensor is None else Buffer(tensor, persistent))

    def add_module(self, name: str, module: Module) -> None:
        """The same as assigning the attribute; for names that are made at run time."""
        setattr(self, name, module)

    def num_parameters(self, trainable_only: bool = False) -> int:
        """Number of learned numbers.

        >>> import coolnn as cool
        >>> cool.nn.Linear(10, 5).num_parameters()
        55
        """
        return sum(p.size for p in self.parameters() if p.requires_grad or not trainable_only)

    # --- state -------------------------------------------------------------------------------------------------------

    def _named_state(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Every name of the state with its tensor, in PyTorch's order; shared modules have all of their names."""
        for kind in (Parameter, Buffer):
            for name, value in self.__dict__.items():
                if isinstance(value, kind) and getattr(value, "persistent", True):
                    yield prefix + name, value
        for name, child in self.named_children():
            yield from child._named_state(f"{prefix}{name}.")

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers by dotted name; the tensors share memory with the module's.

        >>> import coolnn as cool
        >>> {name: tensor.shape for name, tensor in cool.nn.Linear(3, 2).state_dict().items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        return {name: tensor.detach() for name, tensor in self._named_state()}

    def load_state_dict(self, state: Mapping[str, Tensor | Array], strict: bool = True) -> LoadResult:
        """Copies numbers into the module's parameters and buffers by name; nothing is changed if an error is raised.

        Parameters without numbers (`meta_parameters`) get memory here. Raises ValueError that lists missing, unexpected
        and mismatched names; with `strict=False` only a wrong shape is an error, and what was left is returned.
        """
        own = dict(self._named_state())
        # Files from before PyTorch counted batches have no counter; nothing depends on it by default.
        missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
        unexpected = [name for name in state if name not in own]
        mismatched = [
            f"{name} (file {tuple(state[name].shape)}, network {tensor.shape})"
            for name, tensor in own.items()
            if name in state and tuple(state[name].shape) != tensor.shape
        ]
        problems = [f"wrong shape: {some(mismatched)}"] if mismatched else []
        if strict:
            problems += [f"missing: {some(missing)}"] if missing else []
            problems += [f"unexpected: {some(unexpected)}"] if unexpected else []
        if problems:
            remedy = "the weights are of a network with other sizes (num_classes? in_channels?)" if mismatched else ""
            remedy = remedy or "pass strict=False to load what fits"
            raise ValueError(f"this state does not fit {type(self).__name__}; " + "; ".join(problems) + f"; {remedy}")
        for name, tensor in own.items():
            if name in state:
                fill(tensor, state[name])
        return LoadResult(missing, unexpected)

    # --- changes to the whole tree -----------------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Switches this module and all below it to training (dropout drops, batch norm uses the batch).

        Modules that are `frozen` stay in evaluation.
        """
        for module in self.modules():
            module.training = mode and not module.frozen
        return self

    def eval(self: M) -> M:
        """Switches this module and all below it to evaluation."""
        return self.train(False)

    def apply(self: M, function: Callable[[Module], Any]) -> M:
        """Calls `function(module)` for every module, children first; returns the module itself."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Says for all parameters whether they are learned: `net.features.requires_grad_(False)` freezes a part."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Forgets the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def astype(self: M, dtype: Any) -> M:
        """Converts all parameters and real-valued buffers, in place; float64 runs the exact, slow reference.

        >>> import coolnn as cool
        >>> cool.nn.Linear(3, 2).astype("float64").weight.dtype.name
        'float64'
        """
        wanted = np.dtype(dtype)
        if wanted.kind != "f":
            raise TypeError(f"a network computes with real numbers, not {wanted.name}; use float32 or float64")
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.dtype.kind == "f" and tensor.dtype != wanted:
                if tensor._buffer is not None:
                    tensor._buffer = Tensor.from_array(tensor.numpy().astype(wanted))._buffer
                tensor.spec = Spec(tensor.shape, wanted)
                tensor.grad = None
        return self

    # --- hooks -------------------------------------------------------------------------------------------------------

    def register_forward_hook(self, hook: ForwardHook) -> Callable[[], None]:
        """Calls `hook(module, inputs, output)` after each forward; what it returns (if not None) replaces the output.

        Returns a function that removes the hook.

        >>> import coolnn as cool
        >>> layer, seen = cool.nn.Linear(3, 2), []
        >>> remove = layer.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
        >>> _ = layer(cool.zeros(5, 3)); remove(); _ = layer(cool.zeros(5, 3)); seen
        [(5, 2)]
        """
        return self._add_hook("_forward_hooks", hook)

    def register_forward_pre_hook(self, hook: PreHook) -> Callable[[], None]:
        """Calls `hook(module, inputs)` before each forward; what it returns (if not None) replaces the inputs.

        Returns a function that removes the hook.
        """
        return self._add_hook("_forward_pre_hooks", hook)

    def _add_hook(self, where: str, hook: Any) -> Callable[[], None]:
        hooks = self.__dict__.setdefault(where, {})
        key = max(hooks, default=0) + 1
        hooks[key] = hook

        def remove() -> None:
            if hooks.get(key) is hook:
                del hooks[key]

        return remove

    # --- text --------------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the brackets of the layer's line: its settings."""
        return ""

    def __repr__(self) -> str:
        children = list(self.named_children())
        settings = self.extra_repr()
        if not children:
            return f"{type(self).__name__}({settings})"
        lines = [settings] if settings else []
        lines += [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in children]
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"


@contextlib.contextmanager
def evaluating(net: Module) -> Iterator[None]:
    """A network is in evaluation mode inside the `with` block; after it each part is in the mode in which it was.

    >>> import coolnn as cool
    >>> net = cool.nn.Dropout(0.5)
    >>> with cool.nn.evaluating(net):
    ...     net.training
    False
    >>> net.training
    True
    """
    modes = [(module, module.training) for module in net.modules()]
    try:
        net.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


def some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def fill(tensor: Tensor, source: Tensor | Array) -> None:
    """Overwrites a tensor's numbers; gives it memory first if it had none."""
    if tensor._buffer is None:
        tensor._buffer = make_tensor(source, tensor.dtype)._buffer
    else:
        tensor.copy_(source)
