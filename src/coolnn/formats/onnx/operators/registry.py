"""The operators of the standard by name, and what they have in common.

Each is a function that is named as in the standard: tensors by position (None where one is left out), attributes as
keywords with the standard's defaults. So the standard is their documentation. What was an attribute in one version and
is an input in another is an input here. A function that asks for `opset` gets the version that the model was written
for, `training` whether the network is being trained, `outputs` how many results are wanted, `types` the inputs' element
types as far as the file says them (else 0). It returns a tensor, or a tuple of them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ....autograd import no_grad, record
from ....spec import Shape
from ....tensor import Tensor, from_numpy

Array = np.ndarray[Any, np.dtype[Any]]

#: Stands among the attributes of an operator that takes any.
ANY_ATTRIBUTE = "**"

#: The most elements that an operator makes out of few.
MAX_ELEMENTS = 2**30


class Operator(NamedTuple):
    """A function of this package with what it asks for."""

    call: Callable[..., Any]
    inputs: tuple[str, ...]
    least: int  # inputs that there must be
    open: bool  # whether there may be any number of inputs
    attributes: frozenset[str]
    extras: frozenset[str]
    required: frozenset[str] = frozenset()  # attributes that there must be


_EXTRAS = frozenset(["opset", "training", "outputs", "types"])


def operators_of(module: ModuleType) -> dict[str, Operator]:
    """The operators that a module defines: its functions whose names begin with a capital letter."""
    return {
        name: described(value)
        for name, value in vars(module).items()
        if name[0].isupper() and inspect.isfunction(value)
    }


def described(call: Callable[..., Any]) -> Operator:
    """What a function asks for; one with **attributes takes any."""
    parameters = inspect.signature(call).parameters.values()
    inputs = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        named |= {ANY_ATTRIBUTE}
    return Operator(
        call,
        tuple(p.name for p in inputs),
        sum(p.default is p.empty for p in inputs),
        any(p.kind is p.VAR_POSITIONAL for p in parameters),
        named - _EXTRAS,
        named & _EXTRAS,
        frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty),
    )


# --- what operators share --------------------------------------------------------------------------------------------


class NeedsNumbers(ValueError):
    """An operator needs to know numbers that are only there when the network runs."""


def numbers(x: Tensor, what: str) -> Array:
    """A tensor's numbers; raises NeedsNumbers while a network is traced and they follow from its input."""
    if x.is_meta:
        raise NeedsNumbers(
            f"{what} follows from the numbers of the network's input, so the network runs eagerly but cannot be "
            "compiled or exported; cut it off before this node"
        )
    return x.numpy()


def integers(x: Tensor, what: str) -> list[int]:
    """The whole numbers in a tensor, as a flat list."""
    return [int(n) for n in numbers(x, what).reshape(-1)]


def number(x: Tensor, what: str) -> Any:
    """The one number in a tensor."""
    array = numbers(x, what)
    if array.size != 1:
        raise ValueError(f"{what} must be one number, not of shape {array.shape}")
    return array.reshape(-1)[0].item()


def claim(shape: Sequence[int]) -> Shape:
    """The shape, if a tensor of it can be made; raises ValueError for what no network needs."""
    lengths = tuple(int(n) for n in shape)
    if len(lengths) > 8 or any(n < 0 for n in lengths) or math.prod(lengths) > MAX_ELEMENTS:
        raise ValueError(f"a tensor of shape {lengths} is not made: at most 8 axes and {MAX_ELEMENTS:,} elements")
    return lengths


def axis_of(axis: int, rank: int) -> int:
    """An axis as a number of 0 or more; raises ValueError for one that is not there."""
    if not -rank <= axis < max(rank, 1):
        raise ValueError(f"axis {axis} is not one of {rank}")
    return axis % rank if rank else 0


def axes_of(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Several axes, in order."""
    found = tuple(sorted(axis_of(int(axis), rank) for axis in axes))
    if len(set(found)) != len(found):
        raise ValueError(f"axes {tuple(axes)} name one twice")
    return found


def array(values: Any, dtype: Any = None) -> Tensor:
    """A tensor of known numbers."""
    return from_numpy(np.asarray(values, dtype))


class aside:
    """Inside this block operations are not written down, for a trace or for gradients: their results are constants."""

    def __enter__(self) -> None:
        self._record, self._no_grad = record(), no_grad()
        self._record.__enter__()
        self._no_grad.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._no_grad.__exit__(*error)
        self._record.__exit__(*error)
