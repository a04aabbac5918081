"""Tensor: an array with a place in the computation graph."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np

from . import _core
from .spec import DTYPE_CODES, Shape, Spec, boolean, float32, int64, logical_order, storage_order

if TYPE_CHECKING:
    from .autograd import Node

Array = np.ndarray[Any, np.dtype[Any]]
#: What operations take for a tensor.
Operand: TypeAlias = "Tensor | float | int | bool | Array"


class Tensor:
    """A dense array of numbers that operations act on and that remembers, if asked, which operation made it.

    Shapes are PyTorch's: pictures and activations are (N, C, H, W). Memory belongs to the tensor: indexing gives new
    tensors, `numpy()` a view of this one. Make one with `coolnn.tensor`.
    """

    __slots__ = ("__weakref__", "_buffer", "_hooks", "_index", "_node", "grad", "requires_grad", "spec")

    def __init__(self, buffer: _core.Buffer | None, spec: Spec) -> None:
        self._buffer = buffer  # None: only shape and type are known
        self.spec = spec
        self.requires_grad = False
        self.grad: Tensor | None = None
        self._node: Node | None = None
        self._index = 0
        self._hooks: list[Callable[[Tensor], Tensor | None]] | None = None

    # --- from and to arrays ------------------------------------------------------------------------------------------

    @staticmethod
    def from_array(array: Array) -> Tensor:
        """A tensor that shares the array's memory if it is laid out as the engine wants it, else of a copy."""
        if array.dtype not in DTYPE_CODES and not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        if array.dtype not in DTYPE_CODES:
            raise TypeError(
                f"coolnn has no tensors of type {array.dtype}; convert to one of: "
                + ", ".join(dtype.name for dtype in DTYPE_CODES)
            )
        if array.ndim > 8:
            raise ValueError(f"a tensor has at most 8 axes, this array has {array.ndim}")
        stored = np.ascontiguousarray(array.transpose(storage_order(array.ndim)))
        return Tensor(_core.Buffer.borrow(stored), Spec(array.shape, array.dtype))

    def numpy(self) -> Array:
        """The tensor as a NumPy array: a view of the same memory, in the shape that users see."""
        if self._buffer is None:
            raise RuntimeError(f"this tensor ({self.spec}) has a shape but no numbers")
        order = storage_order(self.ndim)
        stored = np.frombuffer(memoryview(self._buffer), self.dtype, self.spec.size).reshape(
            [self.shape[i] for i in order]
        )
        return stored.transpose(logical_order(self.ndim))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        if dtype is not None and dtype != array.dtype:
            if copy is False:
                raise ValueError(f"{self.dtype.name} numbers cannot be seen as {np.dtype(dtype).name} without a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **options: Any) -> Any:
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)  # kDLCPU

    def item(self) -> Any:
        """The one number of a tensor with one element, as a Python number."""
        if self.size != 1:
            raise ValueError(f"item() needs a tensor with one element, this one has shape {self.shape}")
        return self.numpy().item()

    def tolist(self) -> Any:
        """The numbers as nested Python lists."""
        return self.numpy().tolist()

    # --- what it is --------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Shape:
        """Lengths of the axes."""
        return self.spec.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self.spec.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.spec.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.spec.size

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self._node is None

    @property
    def is_meta(self) -> bool:
        """Whether only shape and type are known, no numbers."""
        return self._buffer is None

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor without axes has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        if self._buffer is None:
            return f"tensor(..., {self.spec})"
        text = np.array2string(self.numpy(), separator=", ", prefix="tensor(", threshold=200, precision=4)
        extra = "" if self.dtype == float32 else f", dtype={self.dtype.name}"
        if self._node is not None:
            extra += f", from={self._node.op.name}"
        elif self.requires_grad:
            extra += ", requires_grad=True"
        return f"tensor({text}{extra})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.size == 1 else format(repr(self), spec)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"only whole numbers can be an index, this tensor is {self.dtype.name}")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth of a tensor of shape {self.shape} is not defined; use .any() or .all() of numpy()"
            )
        return bool(self.item())

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    # --- the graph ---------------------------------------------------------------------------------------------------

    def backward(self, gradient: Tensor | None = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Adds the derivative of this tensor to `.grad` of every leaf that it depends on."""
        autograd.backward(self, gradient, retain_graph, create_graph)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Says whether gradients for this leaf are wanted; returns the tensor itself."""
        if requires_grad and self.dtype.kind != "f":
            raise TypeError(f"only tensors of float32 or float64 have gradients, this one is {self.dtype.name}")
        if self._node is not None and not requires_grad:
            raise RuntimeError("only leaves can stop requiring gradients; use detach() here")
        self.requires_grad = requires_grad
        return self

    def detach(self) -> Tensor:
        """The same numbers (the same memory) outside the graph."""
        return Tensor(self._buffer, self.spec)

    def copy(self) -> Tensor:
        """The same numbers in memory of their own, outside the graph."""
        return tensor(self) if self._buffer is not None else Tensor(None, self.spec)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Calls `hook(gradient)` when the gradient of this tensor is known; what it returns replaces the gradient.

        Returns a function that removes the hook.
        """
        if not self.requires_grad:
            raise RuntimeError("a hook needs a tensor that requires gradients")
        if self._node is not None:
            hooks = self._node.hooks.setdefault(self._index, [])
        else:
            hooks = self._hooks = self._hooks if self._hooks is not None else []
        hooks.append(hook)
        return lambda: hooks.remove(hook) if hook in hooks else None

    def retain_grad(self) -> None:
        """Keeps the gradient of this inner value in `.grad` too."""
        if self._node is None:
            return
        place = weakref.ref(self)  # the node keeps the hook, and this tensor the node

        def keep(grad: Tensor) -> None:
            tensor = place()
            if tensor is not None:
                tensor.grad = grad if tensor.grad is None else tensor.grad + grad

        self.register_hook(keep)

    def _place(self) -> Tensor:
        """This tensor's place in the graph without its numbers; a leaf that collects gradients is its own place."""
        if self._node is None and self.requires_grad:
            return self
        place = Tensor(None, self.spec)
        place.requires_grad, place._node, place._index = self.requires_grad, self._node, self._index
        return place

    def __reduce__(self) -> tuple[Any, ...]:
        # For copy.deepcopy and pickle: the numbers, and what subclasses keep beside them.
        if self._node is not None:
            raise RuntimeError("only leaves of the graph can be copied deeply or pickled; use detach() first")
        array = None if self._buffer is None else self.numpy()
        slots = [name for kind in type(self).__mro__[:-1] for name in kind.__slots__]  # type: ignore[attr-defined]
        kept = [name for name in slots if name not in Tensor.__slots__ or name in ("requires_grad", "grad")]
        return _rebuild, (type(self), array, self.spec, {name: getattr(self, name) for name in kept})

    def copy_(self, source: Tensor | Array) -> Tensor:
        """Overwrites the numbers with those of `source` (same shape), outside the graph; returns the tensor itself."""
        array = source.numpy() if isinstance(source, Tensor) else np.asarray(source)
        if array.shape != self.shape:
            raise ValueError(f"cannot copy an array of shape {array.shape} into a tensor of shape {self.shape}")
        self.numpy()[...] = array
        assert self._buffer is not None
        self._buffer.touch()
        return self

    # --- arithmetic --------------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.mul(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.div(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.neg(self)

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __and__(self, other: Any) -> Tensor:
        return ops.minimum(*_booleans(self, other, "&"))

    def __or__(self, other: Any) -> Tensor:
        return ops.maximum(*_booleans(self, other, "|"))

    def __invert__(self) -> Tensor:
        return ops.eq(*_booleans(self, False, "~"))

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.eq(self, other) if _is_operand(other) else NotImplemented

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.ne(self, other) if _is_operand(other) else NotImplemented

    def __lt__(self, other: Any) -> Tensor:
        return ops.lt(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.le(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.gt(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.ge(self, other)

    __hash__ = object.__hash__
    __array_priority__ = 1000  # numpy_array + tensor is a tensor
    __array_ufunc__ = None

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index)

    # --- methods that are operations ---------------------------------------------------------------------------------

    @property
    def T(self) -> Tensor:
        """The tensor with its axes in reverse order."""
        return ops.permute(self, tuple(reversed(range(self.ndim))))

    def sum(self, dim: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Tensor:
        """See `ops.sum`."""
        return ops.sum(self, dim, keepdim)

    def mean(self, dim: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Tensor:
        """See `ops.mean`."""
        return ops.mean(self, dim, keepdim)

    def var(self, dim: int | tuple[int, ...] | None = None, correction: int = 1, keepdim: bool = False) -> Tensor:
        """See `ops.var`."""
        return ops.var(self, dim, correction=correction, keepdim=keepdim)

    def max(self, dim: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Tensor:
        """See `ops.amax`: the largest values (`argmax` gives where they are)."""
        return ops.amax(self, dim, keepdim)

    def min(self, dim: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Tensor:
        """See `ops.amin`: the smallest values."""
        return ops.amin(self, dim, keepdim)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """See `ops.argmax`."""
        return ops.argmax(self, dim, keepdim)

    def norm(self, p: float = 2.0, dim: int | tuple[int, ...] | None = None, keepdim: bool = False) -> Tensor:
        """See `ops.norm`."""
        return ops.norm(self, p, dim, keepdim)

    def reshape(self, *shape: Any) -> Tensor:
        """See `ops.reshape`."""
        return ops.reshape(self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)

    view = reshape

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """See `ops.flatten`."""
        return ops.flatten(self, start_dim, end_dim)

    def broadcast_to(self, shape: Shape) -> Tensor:
        """See `ops.broadcast_to`."""
        return ops.broadcast_to(self, shape)

    def expand(self, *sizes: int) -> Tensor:
        """See `ops.expand`."""
        return ops.expand(self, *sizes)

    def permute(self, *dims: Any) -> Tensor:
        """See `ops.permute`."""
        return ops.permute(self, dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """See `ops.transpose`."""
        return ops.transpose(self, dim0, dim1)

    def squeeze(self, dim: int | None = None) -> Tensor:
        """See `ops.squeeze`."""
        return ops.squeeze(self, dim)

    def unsqueeze(self, dim: int) -> Tensor:
        """See `ops.unsqueeze`."""
        return ops.unsqueeze(self, dim)

    def exp(self) -> Tensor:
        """See `ops.exp`."""
        return ops.exp(self)

    def log(self) -> Tensor:
        """See `ops.log`."""
        return ops.log(self)

    def sqrt(self) -> Tensor:
        """See `ops.sqrt`."""
        return ops.sqrt(self)

    def square(self) -> Tensor:
        """See `ops.square`."""
        return ops.square(self)

    def sign(self) -> Tensor:
        """See `ops.sign`."""
        return ops.sign(self)

    def sin(self) -> Tensor:
        """See `ops.sin`."""
        return ops.sin(self)

    def cos(self) -> Tensor:
        """See `ops.cos`."""
        return ops.cos(self)

    def abs(self) -> Tensor:
        """See `ops.abs`."""
        return ops.abs(self)

    def clip(self, min: float | None = None, max: float | None = None) -> Tensor:
        """See `ops.clip`."""
        return ops.clip(self, min, max)

    def relu(self) -> Tensor:
        """See `ops.relu`."""
        return ops.relu(self)

    def sigmoid(self) -> Tensor:
        """See `ops.sigmoid`."""
        return ops.sigmoid(self)

    def tanh(self) -> Tensor:
        """See `ops.tanh`."""
        return ops.tanh(self)

    def softmax(self, dim: int = -1) -> Tensor:
        """See `ops.softmax`."""
        return ops.softmax(self, dim)

    def astype(self, dtype: Any) -> Tensor:
        """See `ops.cast`."""
        return ops.cast(self, dtype)

    def float(self) -> Tensor:
        """The tensor as float32."""
        return ops.cast(self, np.float32)

    def double(self) -> Tensor:
        """The tensor as float64."""
        return ops.cast(self, np.float64)

    def long(self) -> Tensor:
        """The tensor as int64."""
        return ops.cast(self, np.int64)


def _rebuild(kind: type[Tensor], array: Array | None, spec: Spec, state: dict[str, Any]) -> Tensor:
    made = kind.__new__(kind)
    Tensor.__init__(made, None if array is None else Tensor.from_array(array)._buffer, spec)
    for name, value in state.items():
        setattr(made, name, value)
    return made


def _booleans(a: Tensor, b: Any, sign: str) -> tuple[Tensor, Tensor]:
    b = b if isinstance(b, Tensor) else tensor(b)
    if a.dtype != boolean or b.dtype != boolean:
        raise TypeError(f"{sign} goes with tensors of booleans, not {a.dtype.name} and {b.dtype.name}")
    return a, b


def _is_operand(x: object) -> TypeGuard[Operand]:
    return isinstance(x, Tensor | int | float | np.ndarray | np.generic)


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Makes a tensor of a copy of `data`: numbers, nested lists, an array, another tensor or anything with DLPack.

    Python floats become float32, NumPy arrays keep their type (float16 becomes float32). Raises TypeError for types
    that have no tensors, such as text.

    >>> import coolnn as cool
    >>> cool.tensor([[1, 2], [3, 4.5]]).shape
    (2, 2)
    """
    if isinstance(data, Tensor):
        array = data.numpy()
    elif isinstance(data, np.ndarray | np.generic):
        array = np.asarray(data)
    elif hasattr(data, "__dlpack__"):
        array = np.from_dlpack(data)
    else:
        array = np.asarray([np.asarray(d) for d in data] if isinstance(data, list | tuple) else data)
        if array.dtype == np.float64 and dtype is None:
            array = array.astype(float32)
    if dtype is None and array.dtype == np.float16:
        dtype = float32
    elif dtype is None and array.dtype.kind in "iu" and array.dtype not in DTYPE_CODES:
        dtype = int64
    # A fresh copy in memory order, which `from_array` then takes over as it is.
    stored = np.array(array.transpose(storage_order(array.ndim)), dtype=dtype, copy=True, order="C")
    made = Tensor.from_array(stored.transpose(logical_order(array.ndim)))
    return made.requires_grad_() if requires_grad else made


def from_numpy(array: Array) -> Tensor:
    """A tensor that shares the array's memory where the layout allows (channels-last for rank 4, else row-major).

    >>> import coolnn as cool, numpy as np
    >>> a = np.zeros(3, np.float32)
    >>> t = cool.from_numpy(a)
    >>> a[0] = 1
    >>> t.tolist()
    [1.0, 0.0, 0.0]
    """
    return Tensor.from_array(array)


def from_dlpack(source: Any) -> Tensor:
    """A tensor of an object with the DLPack protocol (a PyTorch or JAX array on the CPU), sharing memory if it can."""
    return Tensor.from_array(np.from_dlpack(source))


def meta(*shape: int, dtype: Any = float32) -> Tensor:
    """A tensor with a shape and no numbers: operations on it give shapes only, at no cost.

    >>> import coolnn as cool
    >>> cool.meta(1, 3, 224, 224).shape
    (1, 3, 224, 224)
    """
    return Tensor(None, Spec(shape, np.dtype(dtype)))


def zeros(*shape: int, dtype: Any = float32) -> Tensor:
    """A tensor of zeros.

    >>> import coolnn as cool
    >>> cool.zeros(2, 3).shape
    (2, 3)
    """
    return Tensor.from_array(np.zeros(shape, dtype))


def ones(*shape: int, dtype: Any = float32) -> Tensor:
    """A tensor of ones.

    >>> import coolnn as cool
    >>> cool.ones(2).tolist()
    [1.0, 1.0]
    """
    return Tensor.from_array(np.ones(shape, dtype))


# At the end, because operations and the graph are made of tensors: methods above look these up when they are called.
from . import autograd, ops  # noqa: E402
