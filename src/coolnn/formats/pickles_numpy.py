"""NumPy's numbers and arrays in pickles, made of their bytes: what `pickles.load` may know of NumPy."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Literal, cast

import numpy as np

from .pickles import Global, PickleError, shown

Array = np.ndarray[Any, np.dtype[Any]]
_CODE = re.compile(r"[<>=|]?(?:b1|[iu][1248]|f[248]|c8|c16)")
_AXES = 32


class Dtype:
    """A type of numbers: `code` as NumPy writes it, the order of bytes told afterwards."""

    def __init__(self, code: Any, *_: Any) -> None:
        if isinstance(code, bytes):
            code = code.decode("ascii", "replace")
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise PickleError(f"it has an array of type {shown(code)}, which is no number")
        self.dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        """(version, order of bytes, ...)"""
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if not isinstance(order, str) or order not in ("<", ">", "=", "|"):
            raise PickleError(f"it has numbers in an order of bytes {shown(order)}")
        self.dtype = self.dtype.newbyteorder(cast(Literal["<", ">", "=", "|"], order))


class Numbers:
    """An array whose shape, type and bytes are told after it was made."""

    array: Array | None = None

    def set_state(self, state: Any) -> None:
        """(version, shape, type, whether columns come first, bytes)"""
        _, shape, dtype, columns_first, raw = state
        self.array = _array(raw, dtype, shape, "F" if columns_first else "C")


def _array(raw: Any, dtype: Any, shape: Any, order: Any) -> Array:
    raw = _bytes(raw)
    if not isinstance(dtype, Dtype) or order not in ("C", "F"):
        raise PickleError("it has an array without a type")
    whole = isinstance(shape, tuple) and len(shape) <= _AXES and all(type(n) is int and n >= 0 for n in shape)
    if not whole or math.prod(shape) * dtype.dtype.itemsize != len(raw):
        raise PickleError(f"it has an array of the shape {shown(shape)} with {len(raw)} bytes")
    return np.frombuffer(raw, dtype.dtype).reshape(shape, order=order)


def _bytes(raw: Any) -> bytes:
    if isinstance(raw, str):  # written by Python 2
        return raw.encode("latin-1")
    if not isinstance(raw, bytes | bytearray):
        raise PickleError(f"it has an array of a {type(raw).__name__}, not of bytes")
    return bytes(raw)


def _scalar(dtype: Any, raw: Any) -> Any:
    return _array(raw, dtype, (), "C").item()


def _empty(kind: Any, *_: Any) -> Numbers:
    if not isinstance(kind, Global) or kind.name != "numpy.ndarray":
        raise PickleError("it has an array of a class of its own")
    return Numbers()


def _buffer(raw: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> Numbers:
    made = Numbers()
    made.array = _array(raw, dtype, shape, order)
    return made


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise PickleError(f"it has bytes written as {shown(encoding)}")
    return text.encode("latin-1")


NUMPY: dict[str, Callable[..., Any] | None] = {
    "numpy.dtype": Dtype,
    "numpy.ndarray": None,
    "_codecs.encode": _encode,
    **{
        f"numpy.{core}.{name}": function
        for core in ("core", "_core")
        for name, function in (
            ("multiarray.scalar", _scalar),
            ("multiarray._reconstruct", _empty),
            ("numeric._frombuffer", _buffer),
        )
    },
}
