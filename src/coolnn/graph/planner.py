"""What a run will need, before it starts: memory from the plan, time from the plan and a second of measuring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .. import machine, nn, ops, optim
from ..nn.parameter import without_numbers
from ..spec import Shape, Spec, int64
from ..tensor import Tensor
from .compiled import Compiled, CompiledStep, Loss
from .estimate import estimate_seconds
from .program import Program

#: Bytes of what a process loads and makes when it runs its first program.
_LOADED_LATER = 4 << 20


@dataclass(frozen=True)
class Memory:
    """Bytes that a run holds at its peak, by what they are for."""

    weights: int  # parameters and buffers
    optimizer: int  # the optimizer's state
    packed: int  # weights in the form in which kernels read them, batch norm's part in them included
    arena: int  # activations, gradients and workspaces, in one block
    data: int  # inputs and outputs
    process: int  # the interpreter and all that is loaded

    @property
    def total(self) -> int:
        """All together."""
        return self.weights + self.optimizer + self.packed + self.arena + self.data + self.process


@dataclass(frozen=True)
class Forecast:
    """What one run, or one training step, will need."""

    input_shape: Shape
    train: bool
    memory: Memory
    seconds: float | None  # of a run or a step; None where it was not asked for
    present: int  # bytes of the memory that are taken already
    available: machine.Available | None

    @property
    def fits(self) -> bool:
        """Whether the memory is there (or nobody knows how much there is)."""
        return self.available is None or self.memory.total - self.present <= self.available.bytes

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data (for JSON)."""
        return {
            "input_shape": list(self.input_shape),
            "train": self.train,
            "memory": {**asdict(self.memory), "total": self.memory.total},
            "seconds": self.seconds,
            "available": None if self.available is None else self.available.bytes,
            "fits": self.fits,
        }

    def __str__(self) -> str:
        names = {
            "weights": "weights",
            "optimizer": "state of the optimizer",
            "packed": "weights packed for their kernels",
            "arena": "activations" + ", gradients" * self.train + " and workspaces",
            "data": "inputs and outputs",
            "process": "interpreter and libraries",
        }
        parts = asdict(self.memory)
        rows = [(what, mebibytes(parts[name])) for name, what in names.items() if parts[name]]
        rows = [*rows, ("peak memory", mebibytes(self.memory.total))]
        if self.available is not None:
            where = " in this container" * (self.available.bound == "container")
            rows.append(("free" + where, mebibytes(self.available.bytes)))
        if self.seconds is not None:
            rows.append(("time of a " + ("step" if self.train else "run"), f"{self.seconds * 1e3:,.3g} ms"))
        width = max(len(value) for _, value in rows)
        what = "training step" if self.train else "run"
        lines = [f"{what}, input {'×'.join(map(str, self.input_shape))}"]
        return "\n".join([*lines, *(f"  {name:40} {value.rjust(width)}" for name, value in rows)])


def mebibytes(count: int) -> str:
    """Bytes in MiB, with three digits or more."""
    return f"{count / 2**20:,.1f} MiB" if count < 100 << 20 else f"{count / 2**20:,.0f} MiB"


def forecast(
    net: nn.Module,
    input_shape: Sequence[int],
    train: bool = False,
    optimizer: optim.Optimizer | None = None,
    time: bool = True,
) -> Forecast:
    """What a compiled run of a network on pictures (N, C, H, W), or a training step, needs; nothing is run or changed.

    Training is with cross-entropy on class numbers and, if none is given, SGD with momentum. The network may have
    weights without numbers (`nn.meta_parameters`). With `time`, about a second is spent on measuring this machine and
    the plan's kernels.

    >>> import coolnn as cool
    >>> with cool.nn.meta_parameters():
    ...     net = cool.models.create("vgg19")
    >>> plan = cool.forecast(net, (8, 3, 224, 224), train=True, time=False)
    >>> round(plan.memory.weights / 2**20), plan.fits
    (548, True)
    """
    planner = Planner(net, optimizer if optimizer is not None or not train else default_optimizer(net), train)
    return planner.forecast(tuple(input_shape), time)


def default_optimizer(net: nn.Module) -> optim.Optimizer:
    """SGD with momentum, for networks without numbers, too."""
    with nn.meta_parameters():
        return optim.SGD(net.parameters(), lr=0.01, momentum=0.9)


class Planner:
    """Forecasts for one network (and optimizer), for any shape of input."""

    def __init__(
        self,
        net: nn.Module,
        optimizer: optim.Optimizer | None = None,
        train: bool = False,
        loss: Loss = ops.cross_entropy,
        clip_norm: float | None = None,
        averages: bool = False,
    ) -> None:
        self.net, self.optimizer, self.train, self.loss, self.clip_norm = net, optimizer, train, loss, clip_norm
        self.averages = averages  # whether a second set of the weights is kept
        self.state: list[Tensor] = list({id(t): t for t in (*net.parameters(), *net.buffers())}.values())

    def program(self, input_shape: Shape, target: Spec | None = None) -> Program:
        """The program that would run, made without touching numbers; it cannot be run."""
        specs = (Spec(input_shape), target or Spec(input_shape[:1], int64))
        with without_numbers(self.state):
            if not self.train:
                return Compiled(self.net).make(specs[0], planned=True)
            assert self.optimizer is not None
            step = CompiledStep(self.net, self.loss, self.optimizer.fresh(), self.clip_norm)
            return step.make(specs, planned=True)

    def memory(self, program: Program) -> Memory:
        """What a program will hold when it runs."""
        graph = program.graph
        own = {id(tensor) for tensor in self.state}
        others = sum(v.spec.nbytes for v in program.outside if id(v.tensor) not in own)
        # What packing takes for a while is free again when the arena is taken.
        passing = program.constants.passing_bytes if program.constants is not None else 0
        ends = {program.layout.root(value): value.spec.nbytes for value in (*graph.inputs, *graph.outputs)}
        return Memory(
            weights=self._weights() * (2 if self.averages else 1),
            optimizer=others if self.train else 0,
            packed=0 if self.train else others + max(0, passing - program.bytes),
            arena=program.bytes,
            data=sum(ends.values()),
            process=machine.resident_memory() - self._weights(present=True) + _LOADED_LATER,
        )

    def _weights(self, present: bool = False) -> int:
        return sum(t.spec.nbytes for t in self.state if not present or not t.is_meta)

    def forecast(self, input_shape: Shape, time: bool = False, target: Spec | None = None) -> Forecast:
        """Memory and, if wanted, time for inputs of this shape."""
        program = self.program(input_shape, target)
        memory = self.memory(program)
        seconds = estimate_seconds(program, lambda n: self.program((n, *input_shape[1:]))) if time else None
        present = memory.process + self._weights(present=True)
        return Forecast(input_shape, self.train, memory, seconds, present, machine.available_memory())


def largest(fits: Callable[[int], bool], below: int) -> int:
    """The largest number from 1 to below `below` that fits; 0 if none does."""
    low, high = 0, below - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
