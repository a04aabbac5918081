"""Parameters and buffers: the tensors that belong to a network."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..spec import Spec, float32
from ..tensor import Array, Tensor


class Parameter(Tensor):
    """A tensor that is learned: a module that has one as an attribute lists it in `parameters()`.

    Shares the memory of `data` where its layout allows.

    >>> import coolnn as cool
    >>> cool.nn.Parameter(cool.zeros(3)).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Tensor | Array, requires_grad: bool = True) -> None:
        source = data if isinstance(data, Tensor) else Tensor.from_array(data)
        super().__init__(source._buffer, source.spec)
        self.requires_grad_(requires_grad)

    def __repr__(self) -> str:
        return f"Parameter({super().__repr__()})"


class Buffer(Tensor):
    """A tensor that belongs to a network's state but is not learned, such as a running mean.

    One that is not `persistent` is left out of `state_dict()`.

    >>> import coolnn as cool
    >>> cool.nn.Buffer(cool.zeros(3)).requires_grad
    False
    """

    __slots__ = ("persistent",)

    def __init__(self, data: Tensor | Array, persistent: bool = True) -> None:
        source = data if isinstance(data, Tensor) else Tensor.from_array(data)
        super().__init__(source._buffer, source.spec)
        self.persistent = persistent


class _State(threading.local):
    meta = False


_state = _State()


@contextlib.contextmanager
def meta_parameters() -> Iterator[None]:
    """Inside this block new layers get parameters with a shape and no numbers: no memory, no initialisation, no time.

    Such a network can be summarised, drawn and given weights by `load_state_dict`.

    >>> import coolnn as cool
    >>> with cool.nn.meta_parameters():
    ...     layer = cool.nn.Linear(3_000_000, 1000)
    >>> layer.weight.is_meta, layer.num_parameters()
    (True, 3000001000)
    """
    before = _state.meta
    _state.meta = True
    try:
        yield
    finally:
        _state.meta = before


def meta_allowed() -> bool:
    """Whether this is inside `meta_parameters()`, where parameters without numbers are wanted."""
    return _state.meta


@contextlib.contextmanager
def without_numbers(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Inside this block the tensors have a shape and no numbers, so that what they belong to can be planned."""
    buffers = [(tensor, tensor._buffer) for tensor in tensors]
    for tensor, _ in buffers:
        tensor._buffer = None
    try:
        yield
    finally:
        for tensor, buffer in buffers:
            tensor._buffer = buffer


def new(*shape: int, fill: float = 0.0, dtype: Any = float32) -> Tensor:
    """Memory for a parameter or a buffer, filled with one number; only its spec inside `meta_parameters()`."""
    for length in shape:
        if length < 0:
            raise ValueError(f"a tensor cannot have the shape {shape}: lengths are 0 or more")
    if _state.meta:
        return Tensor(None, Spec(tuple(shape), np.dtype(dtype)))
    return Tensor.from_array(np.full(shape, fill, dtype) if fill else np.zeros(shape, dtype))
