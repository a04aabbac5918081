"""compile and compile_step: a network, or a whole training step, as one call without Python in between."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import autograd, nn, ops, optim
from ..ops.loss import IGNORED, check_labels
from ..spec import Spec, int64
from ..tensor import Tensor, from_numpy, meta
from ..verbose import table
from .graph import trace
from .precision import Precision, PrecisionError, check_precision, compare
from .program import Arena, Program

#: Programs kept for different input shapes; the one that was not used for longest goes first.
_KEPT_SHAPES = 8
#: And fewer, where what they made of the weights takes more bytes than this.
_KEPT_BYTES = 1 << 30

Loss = Callable[[Tensor, Tensor], Tensor]


def _as_tensor(data: Any) -> Tensor:
    return data if isinstance(data, Tensor) else from_numpy(np.asarray(data))


class _Kept:
    """The programs used last, by what they were made for."""

    def __init__(self) -> None:
        self._programs: OrderedDict[Any, Program] = OrderedDict()

    def get(self, key: Any, make: Callable[[], Program]) -> Program:
        """The program for a key, made if it is not there."""
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = make()
            while len(self._programs) > _KEPT_SHAPES or (len(self._programs) > 1 and self._bytes() > _KEPT_BYTES):
                self._programs.popitem(last=False)
        else:
            self._programs.move_to_end(key)
        return program

    def _bytes(self) -> int:
        return sum(p.constants.kept_bytes for p in self._programs.values() if p.constants is not None)

    def clear(self) -> None:
        """Forgets all programs."""
        self._programs.clear()


Function = Callable[..., Tensor | Sequence[Tensor]]


class Compiled:
    """A network in evaluation mode, or a function of tensors, run by one call: `run(x)` gives the output tensor.

    One that takes several tensors is given several, and one that gives several gives a tuple of them. Weights are
    brought into the form that kernels want once. Changes of them by the engine (an optimizer, `copy_`,
    `load_state_dict`) are seen; after others call `refresh`.
    """

    def __init__(self, function: Function, arena: Arena | None = None, precision: Precision = "float32") -> None:
        check_precision(precision)
        self.function = function
        self.precision = precision
        self._programs = _Kept()
        self._arena = arena or Arena()
        self._gives_several = False

    def program(self, *specs: Spec) -> Program:
        """The program for inputs of these shapes and types."""
        return self._programs.get(specs, lambda: self.make(*specs))

    def make(self, *specs: Spec, planned: bool = False) -> Program:
        """A new program, not kept; one that is only `planned` cannot run, and so needs no weights."""
        check_precision(self.precision)  # the instruction set may be another one by now
        with _evaluated(self.function):
            graph = trace(self._outputs, [Tensor(None, spec) for spec in specs], planned)
            return Program(graph, self._arena, constant_weights=True, precision=self.precision)

    def _outputs(self, *inputs: Tensor) -> list[Tensor]:
        result = self.function(*inputs)
        self._gives_several = isinstance(result, tuple | list)
        return [result] if isinstance(result, Tensor) else list(result)

    def __call__(self, *inputs: Any) -> Any:
        outputs = self._run(inputs)
        return tuple(outputs) if self._gives_several else outputs[0]

    def _run(self, inputs: Sequence[Any]) -> list[Tensor]:
        tensors = [_as_tensor(x) for x in inputs]
        return self.program(*[x.spec for x in tensors]).run(tensors)

    def refresh(self) -> None:
        """To be called after weights were changed in a way that the engine does not see: through `numpy()` views."""
        self._programs.clear()

    def precision_error(self, *inputs: Any) -> PrecisionError:
        """What its precision changes of the answers for these inputs, in comparison with float32.

        >>> import coolnn as cool
        >>> run = cool.compile(cool.models.create("lenet5"), precision="float32")
        >>> print(run.precision_error(cool.ones(2, 1, 28, 28)))
        relative error 0.0e+00, at most 0.0e+00 of the largest number, the same best answer for 100.0%
        """
        exact = type(self)(self.function)
        return compare([y.numpy() for y in self._run(inputs)], [y.numpy() for y in exact._run(inputs)])

    def dump(self, *inputs: Any) -> str:
        """Every step with algorithm, shape, bytes, milliseconds, speed and share of peak, from one run."""
        tensors = [_as_tensor(x) for x in inputs]
        return table(self.program(*[x.spec for x in tensors]).profile(tensors))


@contextlib.contextmanager
def _evaluated(function: Function) -> Iterator[None]:
    """A network is in evaluation mode meanwhile, and no gradients are wanted; a function may want them inside."""
    if not isinstance(function, nn.Module):
        yield
        return
    with nn.evaluating(function), autograd.no_grad():
        yield


class CompiledGradient(Compiled):
    """A function of tensors and its gradient for the first of them, by one call: `value, gradient = run(x)`.

    Weights are constant, as in `Compiled`: nothing of their gradients is computed. What changes from run to run is
    given beside x: `run(x, *others)`.
    """

    def _outputs(self, *inputs: Tensor) -> list[Tensor]:
        inputs[0].requires_grad = True
        values = super()._outputs(*inputs)
        if values[0].size != 1:
            raise ValueError(f"only one number has a gradient, the function gives {values[0].spec}; sum it up")
        return [autograd.grad(values[0], inputs[0])[0], *values]  # type: ignore[list-item]  # it takes part, or that raises

    def __call__(self, *inputs: Any) -> tuple[Tensor, ...]:
        gradient, value, *others = self._run(inputs)
        return value, gradient, *others


class CompiledStep:
    """A training step (forward, loss, backward, update of the weights) run by one call: `step(x, y)` gives the loss.

    After a step `output` is what the network gave, the first part of it where it gives several.
    """

    def __init__(
        self,
        net: nn.Module,
        loss: Loss,
        optimizer: optim.Optimizer,
        clip_norm: float | None = None,
        average: optim.ExponentialMovingAverage | None = None,
        arena: Arena | None = None,
    ) -> None:
        self.net = net
        self.loss = loss
        self.optimizer = optimizer
        self.clip_norm = clip_norm
        self.average = average
        self.output: Tensor | None = None
        self._programs = _Kept()
        self._arena = arena or Arena()
        self._learned: list[Tensor] = []
        self._advanced = False

    def make(self, specs: tuple[Spec, ...], planned: bool = False) -> Program:
        """A new program, not kept; one that is only `planned` cannot run, and so needs no weights."""

        def step(x: Tensor, y: Tensor) -> Sequence[Tensor]:
            output = self.net(x)
            loss = self.loss(output, y)
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            grads = autograd.grad(loss, parameters, allow_unused=True)
            self._learned = [p for p, g in zip(parameters, grads, strict=True) if g is not None]
            found = [g for g in grads if g is not None]
            if self.clip_norm is not None:
                found = optim.clipped(found, self.clip_norm)
            self.optimizer.advance(self._learned)
            self.optimizer.update(zip(self._learned, found, strict=True))
            if self.average is not None:
                self.average.update()
            return loss, output if isinstance(output, Tensor) else output[0]  # the scores stand before auxiliary ones

        self._advanced = True
        return Program(trace(step, [Tensor(None, spec) for spec in specs], planned), self._arena)

    def _ready(self, x: Tensor, y: Tensor) -> Program:
        # Whatever an update is prepared for beside the learning rate makes another program.
        settings = tuple(
            (name, value)
            for group in self.optimizer.param_groups
            for name, value in group.items()
            if name not in ("params", "lr", "initial_lr")
        )
        key = (x.spec, y.spec, self.net.training, self.optimizer.version, settings)
        self._advanced = False
        program = self._programs.get(key, lambda: self.make((x.spec, y.spec)))
        if not self._advanced:
            self.optimizer.advance(self._learned)
        return program

    def __call__(self, x: Any, y: Any) -> Tensor:
        x, y = _as_tensor(x), _as_tensor(y)
        program = self._ready(x, y)
        scores = program.graph.outputs[1].spec.shape
        if y.dtype == int64 and len(scores) > 1:  # labels; a kernel would make them nan where they are no class
            check_labels("cross_entropy", y.numpy(), y.shape, scores[1], IGNORED)
        loss, self.output = program.run([x, y])
        return loss

    def dump(self, x: Any, y: Any) -> str:
        """Every step with algorithm, shape, bytes, milliseconds, share of peak, of one training step."""
        x, y = _as_tensor(x), _as_tensor(y)
        return table(self._ready(x, y).profile([x, y]))


def compile(net: Function, input_shape: Sequence[int] | None = None, *, precision: Precision = "float32") -> Compiled:
    """Makes a network ready to run by one call; with an input shape at once, else when a shape is first seen.

    A network runs in evaluation mode. In its place any function of tensors will do that gives one or several of them;
    gradients taken inside (`coolnn.grad`) become part of the program.

    With `precision="bf16"` convolutions and linear layers round their weights and what they are given to bfloat16
    (eight bits of precision), multiply these exactly and sum in float32, where that is faster: `dump` shows where, and
    `precision_error` what it changes. Raises ValueError where the processor has no such multiplications.

    >>> import coolnn as cool
    >>> run = cool.compile(cool.models.create("lenet5"), input_shape=(1, 1, 28, 28))
    >>> run(cool.zeros(1, 1, 28, 28)).shape
    (1, 10)
    >>> cool.compile(lambda x, y: [x + y, x * y])(cool.tensor([2.0]), cool.tensor([3.0]))[1].tolist()
    [6.0]
    """
    compiled = Compiled(net, precision=precision)
    if input_shape is not None:
        compiled.program(meta(*input_shape).spec)
    return compiled


def compile_gradient(function: Function) -> CompiledGradient:
    """Makes a function ready to run together with its gradient for its first tensor, weights being constant.

    The function gives one number, or several tensors of which the first is one number; `run(x)` gives that number, its
    gradient (of the shape of x), and the other tensors. A function of several tensors is run as `run(x, *others)`.
    Raises ValueError, when first called, for more than one number.

    >>> import coolnn as cool
    >>> run = cool.compile_gradient(lambda x: (x * x).sum())
    >>> value, gradient = run(cool.tensor([1.0, 2.0]))
    >>> float(value), gradient.tolist()
    (5.0, [2.0, 4.0])
    """
    return CompiledGradient(function)


def compile_step(
    net: nn.Module,
    loss: str | Loss = "cross_entropy",
    optimizer: optim.Optimizer | None = None,
    clip_norm: float | None = None,
    average: optim.ExponentialMovingAverage | None = None,
) -> CompiledStep:
    """Makes a training step ready to run by one call; `loss` is "cross_entropy" or a function of (output, target).

    `clip_norm` bounds the joint norm of the gradients; `average` is moved after each update. Raises RuntimeError, when
    first called, for a network that looks at numbers on the way (`if x.sum() > 0`): such a one runs eagerly only.

    >>> import coolnn as cool, numpy as np
    >>> net = cool.models.create("lenet5")
    >>> step = cool.compile_step(net, optimizer=cool.optim.SGD(net.parameters(), lr=0.1))
    >>> loss = step(cool.zeros(4, 1, 28, 28), np.array([1, 2, 3, 4]))
    """
    if isinstance(loss, str):
        if loss != "cross_entropy":
            raise ValueError(f"there is no loss named {loss!r}; name 'cross_entropy' or pass a function")
        loss = ops.cross_entropy
    return CompiledStep(net, loss, optimizer or optim.SGD(net.parameters()), clip_norm, average)
