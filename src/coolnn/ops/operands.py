"""What operations take: anything that is or becomes a tensor, brought to one type."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..autograd import Call, apply
from ..spec import Shape, Spec, boolean, float32, float64, int32, int64, uint8
from ..tensor import Operand, Tensor, from_numpy, tensor
from .op import Array, Case, Op, S, define, function
from .terms import Place, Terms, elementwise

__all__ = ["cast"]

# Where two types meet, the result has the one further to the right.
PROMOTION = {dtype: order for order, dtype in enumerate((boolean, uint8, int32, int64, float32, float64))}
_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2}


def promote(*tensors: Tensor) -> np.dtype[Any]:
    """The type that tensors take together, as in PyTorch: one without axes only counts if its kind is a higher one."""
    dtypes = [t.dtype for t in tensors if t.shape]
    kind = max((_KINDS[d.kind] for d in dtypes), default=-1)
    dtypes += [t.dtype for t in tensors if not t.shape and _KINDS[t.dtype.kind] > kind]
    return max(dtypes, key=PROMOTION.__getitem__)


@functools.lru_cache(maxsize=1024)
def _cached_scalar(value: float, dtype: np.dtype[Any]) -> Tensor:
    return from_numpy(np.array(value, dtype))


def scalar(value: float, dtype: np.dtype[Any]) -> Tensor:
    """A Python number as a tensor without axes that goes with tensors of `dtype`."""
    if isinstance(value, float):
        if dtype.kind != "f":
            dtype = float32
        if value == 0.0 and math.copysign(1.0, value) < 0.0:  # the cache would take it for +0
            return from_numpy(np.array(value, dtype))
    elif dtype.kind == "b" and not isinstance(value, bool):
        dtype = int64
    elif dtype.kind in "iu" and not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
        raise OverflowError(f"{value} does not fit {dtype.name}, the type of the tensor beside it; use .long() there")
    return _cached_scalar(value, dtype)


def as_tensor(x: Operand) -> Tensor:
    """The operand as a tensor; raises TypeError that names what cannot be one."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, np.ndarray | np.generic | int | float):
        return tensor(x)
    raise TypeError(f"an operand is a tensor, a number or a NumPy array, not {type(x).__name__}: {x!r}")


def pair(a: Operand, b: Operand) -> tuple[Tensor, Tensor]:
    """Two operands as tensors of one type."""
    if isinstance(a, Tensor):
        if not isinstance(b, Tensor):
            b = _beside(b, a)
    elif isinstance(b, Tensor):
        a = _beside(a, b)
    else:
        a, b = as_tensor(a), as_tensor(b)
    if a.spec.dtype == b.spec.dtype:
        return a, b
    dtype = promote(a, b)
    return cast(a, dtype), cast(b, dtype)


def _beside(x: Operand, other: Tensor) -> Tensor:
    """An operand that is not a tensor yet, beside one that is: a number takes its type where it can."""
    if isinstance(x, np.generic):
        x = x.item()
    return scalar(x, other.spec.dtype) if isinstance(x, int | float) else as_tensor(x)


def real(x: Operand) -> Tensor:
    """The operand as a tensor of real numbers; whole numbers become float32."""
    x = as_tensor(x)
    return x if x.spec.dtype.kind == "f" else cast(x, float32)


def unbroadcast(grad: Tensor, shape: Shape) -> Tensor:
    """Sums a gradient over the axes along which an operand of `shape` was repeated."""
    if grad.spec.shape == shape:
        return grad
    extra = grad.ndim - len(shape)
    repeated = [i for i, n in enumerate(grad.shape) if i < extra or (shape[i - extra] == 1 and n != 1)]
    return (grad.sum(tuple(repeated)) if repeated else grad).reshape(shape)


class Cast(Op):
    """The same numbers in another type."""

    name = "cast"
    onnx = "Cast"
    saves_inputs = ()

    def infer(self, x: Spec, dtype: str) -> Spec:
        return Spec(x.shape, np.dtype(dtype))

    def reference(self, x: Array, dtype: str) -> Array:
        return x.astype(dtype)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return elementwise(call, place, output, f"x as {call.attributes['dtype']}")

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        return (cast(grad, call.inputs[0].dtype),)


CAST = define(Cast)


@function(Case(S(2, 3, 5, 7), "float64"), Case(S(9, kind="integers", low=-9, high=9), "float32", gradient=False))
def cast(x: Operand, dtype: Any) -> Tensor:
    """The same numbers as another type; the tensor itself where it has the type already.

    Toward whole numbers the fraction is dropped; a boolean is whether the number is not 0. Raises TypeError for types
    that tensors do not have.

    >>> import coolnn as cool
    >>> cool.ops.cast(cool.tensor([1.9, -1.9]), cool.int64).tolist()
    [1, -1]
    """
    x = as_tensor(x)
    wanted = np.dtype(dtype)
    if wanted == x.spec.dtype:
        return x
    if wanted not in PROMOTION:
        raise TypeError(f"tensors have no type {wanted}; choose from " + ", ".join(d.name for d in PROMOTION))
    return apply(CAST, x, dtype=wanted.name)
