"""What an operation is: one object that holds everything anyone needs to know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from ..spec import Shape, Spec, float32

if TYPE_CHECKING:
    from ..autograd import Call
    from ..tensor import Tensor
    from .terms import Place, Terms

Array = np.ndarray[Any, np.dtype[Any]]


class Cost(NamedTuple):
    """What one run takes: multiply-adds, and bytes read and written."""

    macs: int
    bytes: int


class Op:
    """An operation: shape rule, chain rule, reference, cost and names, in one place.

    A subclass gives at least `name` and `reference`; with `vjp` it can be differentiated. The engine's kernel
    is found by the operation's name; where there is none for the given types or shapes, the reference runs.
    """

    name: str
    #: The ONNX operator that this corresponds to, if there is one.
    onnx: str | None = None
    #: Which inputs the chain rule reads the numbers of (None: all), and which outputs (True: all). All else is freed.
    saves_inputs: tuple[int, ...] | None = None
    saves_outputs: tuple[int, ...] | bool = False
    #: Which input holds weights that a kernel may want packed once, where they are constant.
    weight_input: int | None = None
    #: Outputs that its kernel leaves out where a compiled program has nobody who reads them.
    optional_outputs: tuple[int, ...] = ()

    def infer(self, *args: Any, **kwargs: Any) -> Spec | tuple[Spec, ...]:
        """Shape rule: the outputs' specs from those of the inputs (None: absent); raises ValueError that says why.

        Where a subclass has no such rule, the reference is run on zeros to see what comes out.
        """
        zeros = [spec if spec is None else np.zeros(spec.shape, spec.dtype) for spec in args]
        with np.errstate(all="ignore"):
            results = self.reference(*zeros, **kwargs)
        kinds = [spec.dtype for spec in args if spec is not None and spec.dtype.kind == "f"]

        def spec_of(result: Array) -> Spec:
            dtype = np.asarray(result).dtype
            if dtype.kind == "f":  # real results are of the inputs' type, whatever constants made of them
                dtype = kinds[0] if kinds else float32
            return Spec(np.shape(result), dtype)

        return tuple([spec_of(r) for r in results]) if isinstance(results, tuple) else spec_of(results)

    def reference(self, *args: Any, **kwargs: Any) -> Array | tuple[Array, ...]:
        """The operation in plain NumPy, obviously right; in float64 it is what kernels are tested against."""
        raise NotImplementedError

    def vjp(self, call: Call, *args: Any) -> tuple[Tensor | None, ...]:
        """Chain rule: the gradient for each input (None: has none) from those of the outputs, made of operations."""
        raise NotImplementedError(f"operation '{self.name}' has no chain rule (vjp), so it cannot be differentiated")

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms | None:
        """The number at `place` of an output as a sum, choice or function of numbers of the inputs, in float64.

        None: not said; an explanation then takes the reference for the value and the chain rule for the influence of
        each input.
        """
        return None

    def saves(self, needs: tuple[bool, ...]) -> tuple[int, ...] | None:
        """Which inputs to keep when gradients are wanted for `needs`; less than `saves_inputs` where a rule allows it.

        A product, for example, needs one factor only for the gradient of the other.
        """
        return self.saves_inputs

    def alias(self, *args: Any, **kwargs: Any) -> bool:
        """Whether the output has exactly the bytes of the first input, so that it can share its memory (reshape)."""
        return False

    def macs(self, inputs: tuple[Any, ...], outputs: tuple[Spec, ...], **attributes: Any) -> int:
        """Multiply-adds of one run; zero for operations that only pass over their elements."""
        return 0

    def cost(self, inputs: tuple[Spec | None, ...], outputs: tuple[Spec, ...], **attributes: Any) -> Cost:
        """Multiply-adds, and bytes when every input and output is touched once."""
        touched = sum(spec.nbytes for spec in (*inputs, *outputs) if spec is not None)
        return Cost(self.macs(inputs, outputs, **attributes), touched)

    def __repr__(self) -> str:
        return f"<op {self.name}>"


class Sample(NamedTuple):
    """A random input of a test case: its shape and what its values look like."""

    shape: Shape
    kind: str = (
        "normal"  # normal | uniform | integers | boolean | distinct (no two values nearer than the step of a check)
    )
    low: float = -1.0
    high: float = 1.0
    dtype: np.dtype[Any] = float32

    def draw(self, rng: np.random.Generator) -> Array:
        """An array of this kind, in float64 for real kinds (cast it to what the test needs)."""
        if self.kind == "normal":
            return rng.standard_normal(self.shape)
        if self.kind == "uniform":
            return rng.uniform(self.low, self.high, self.shape)
        if self.kind == "distinct":
            count = int(np.prod(self.shape))
            return (rng.permutation(count).reshape(self.shape) - count / 2) * (4.0 / max(count, 1)) + 0.01
        if self.kind == "integers":
            return rng.integers(int(self.low), int(self.high), self.shape)
        if self.kind == "boolean":
            return rng.random(self.shape) < 0.5
        raise ValueError(f"unknown kind of sample: {self.kind}")


def S(*shape: int, kind: str = "normal", low: float = -1.0, high: float = 1.0) -> Sample:
    """Short for Sample: S(2, 3, 8, 8), S(5, kind="integers", low=0, high=10)."""
    return Sample(shape, kind, low, high)


class Case:
    """One way to call a function: positional arguments (Samples where tensors go) and keyword arguments.

    gradient: False where the gradient is not defined or not finite; fixed: the arguments, by position or name, that are
    not differentiated, such as running statistics; torch: False where PyTorch has no such call.
    """

    def __init__(
        self,
        *args: Any,
        gradient: bool = True,
        fixed: tuple[int | str, ...] = (),
        torch: bool = True,
        **kwargs: Any,
    ) -> None:
        self.args = args
        self.kwargs = kwargs
        self.gradient = gradient
        self.fixed = fixed
        self.torch = torch

    def __repr__(self) -> str:
        parts = [str(list(a.shape)) if isinstance(a, Sample) else repr(a) for a in self.args]
        parts += [f"{k}={list(v.shape) if isinstance(v, Sample) else v!r}" for k, v in self.kwargs.items()]
        return ", ".join(parts)


@dataclass(frozen=True)
class Function:
    """A public function of `coolnn.ops` with its cases: one list serves tests, gradient checks, benchmarks and docs."""

    name: str
    call: Callable[..., Any]
    cases: tuple[Case, ...]
    torch: str | None  # dotted name below `torch` of the function with the same meaning, if there is one
    rtol: float  # bound on max|error| / max|reference| of the float32 kernel, for these cases
    families: tuple[str, ...] = field(default=())


#: Every operation by name, and every public function by name.
OPS: dict[str, Op] = {}
FUNCTIONS: dict[str, Function] = {}

F = TypeVar("F", bound=Callable[..., Any])


O = TypeVar("O", bound=Op)


def define(kind: type[O] | O) -> O:
    """Enters an operation in the registry: the one object of a class, or an object made from a table."""
    op = kind() if isinstance(kind, type) else kind
    if op.name in OPS:
        raise ValueError(f"operation '{op.name}' is already registered")
    OPS[op.name] = op
    return op


def function(*cases: Case, torch: str | None = None, rtol: float = 1e-6) -> Callable[[F], F]:
    """Marks a public function of `coolnn.ops` and keeps its cases beside it."""

    def mark(call: F) -> F:
        name = call.__name__.rstrip("_")
        FUNCTIONS[name] = Function(name, call, cases, torch, rtol, (call.__module__.rsplit(".", 1)[-1],))
        return call

    return mark
