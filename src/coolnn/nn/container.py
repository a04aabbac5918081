"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from .. import ops
from ..tensor import Tensor
from .module import Module


class _Ordered(Module):
    """Children in order: counted, gone through, and exchanged by their number."""

    def __len__(self) -> int:
        return sum(1 for _ in self.named_children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, [name for name, _ in self.named_children()][index], module)


class ModuleList(_Ordered):
    """A list of modules that are all part of the network; it has no forward of its own.

    >>> import coolnn as cool
    >>> layers = cool.nn.ModuleList(cool.nn.Linear(4, 4) for _ in range(3))
    >>> len(layers), len(list(layers.parameters()))
    (3, 6)
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    def append(self, module: Module) -> ModuleList:
        """Adds a module at the end."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__} holds modules, not {type(module).__name__}")
        setattr(self, str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Adds modules at the end."""
        for module in modules:
            self.append(module)
        return self

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Module: ...
    def __getitem__(self, index: int | slice) -> Module:
        modules = list(self.children())
        return ModuleList(modules[index]) if isinstance(index, slice) else modules[index]


class Sequential(_Ordered):
    """Runs modules one after the other; takes modules or one dictionary of named modules.

    Input shape: that of the first module. Output shape: that of the last one. A slice is a Sequential again.

    >>> import coolnn as cool
    >>> net = cool.nn.Sequential(cool.nn.Linear(4, 8), cool.nn.ReLU(), cool.nn.Linear(8, 2))
    >>> net(cool.zeros(5, 4)).shape, net[:2](cool.zeros(5, 4)).shape
    ((5, 2), (5, 8))
    >>> net
    Sequential(
      (0): Linear(4, 8)
      (1): ReLU()
      (2): Linear(8, 2)
    )
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = dict(modules[0])
        else:
            named = {str(i): module for i, module in enumerate(modules)}  # type: ignore[misc]  # checked below
        for name, module in named.items():
            if not isinstance(module, Module):
                raise TypeError(f"Sequential takes modules; item '{name}' is {type(module).__name__}")
            setattr(self, name, module)

    def forward(self, x: Any) -> Any:
        for name, module in self.named_children():
            try:
                x = module(x)
            except (ValueError, TypeError) as error:
                if hasattr(error, "add_note"):  # Python 3.11 and later show it below the message
                    error.add_note(f"in layer '{name}': {type(module).__name__}({module.extra_repr()})")
                raise
        return x

    def append(self, module: Module) -> Sequential:
        """Adds a module at the end."""
        setattr(self, str(len(self)), module)
        return self

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        named = list(self.named_children())
        return Sequential(dict(named[index])) if isinstance(index, slice) else named[index][1]


class ModuleDict(Module):
    """Named modules that are all part of the network; it has no forward of its own.

    >>> import coolnn as cool
    >>> heads = cool.nn.ModuleDict({"age": cool.nn.Linear(8, 1), "kind": cool.nn.Linear(8, 3)})
    >>> heads["kind"](cool.zeros(2, 8)).shape
    (2, 3)
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        for name, module in (modules or {}).items():
            self[name] = module

    def __getitem__(self, name: str) -> Module:
        children = dict(self.named_children())
        if name not in children:
            raise KeyError(f"no module '{name}'; there are: {', '.join(children) or 'none'}")
        return children[name]

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"ModuleDict holds modules, not {type(module).__name__}")
        if "." in name or hasattr(type(self), name):
            raise KeyError(f"'{name}' cannot name a module: it has a dot or is a method's name")
        setattr(self, name, module)

    def __contains__(self, name: object) -> bool:
        return any(own == name for own, _ in self.named_children())

    def __len__(self) -> int:
        return sum(1 for _ in self.named_children())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> list[str]:
        """The names."""
        return [name for name, _ in self.named_children()]

    def values(self) -> list[Module]:
        """The modules."""
        return list(self.children())

    def items(self) -> list[tuple[str, Module]]:
        """Names with modules."""
        return list(self.named_children())


class Residual(Module):
    """body(x) + shortcut(x); without a shortcut x itself is added (He et al. 2015, arXiv:1512.03385).

    Input shape: what the body takes. Output shape: that of the body; the shortcut must give the same.

    >>> import coolnn as cool
    >>> block = cool.nn.Residual(cool.nn.Conv2d(4, 4, 3, padding=1))
    >>> block(cool.zeros(1, 4, 8, 8)).shape
    (1, 4, 8, 8)
    """

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        carried: Tensor = x if self.shortcut is None else self.shortcut(x)
        if y.shape != carried.shape:
            raise ValueError(
                f"Residual adds equal shapes: the body gives {y.shape}, the shortcut {carried.shape}; "
                "pass a shortcut (a 1×1 Conv2d with the body's stride, say) that gives the body's shape"
            )
        return y + carried


class Concat(Module):
    """Runs all branches on the same input and joins their outputs along the channels.

    Input shape: what every branch takes. Output shape: (N, sum of channels, ...).

    >>> import coolnn as cool
    >>> both = cool.nn.Concat(cool.nn.Conv2d(3, 4, 1), cool.nn.Conv2d(3, 6, 3, padding=1))
    >>> both(cool.zeros(1, 3, 8, 8)).shape
    (1, 10, 8, 8)
    """

    def __init__(self, *branches: Module, dim: int = 1) -> None:
        if not branches:
            raise ValueError("Concat needs at least one branch")
        self.branches = ModuleList(branches)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.concat([branch(x) for branch in self.branches], self.dim)
