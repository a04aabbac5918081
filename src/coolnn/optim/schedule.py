"""Learning-rate schedules: closed formulas of the step number, so that they can be resumed and composed exactly."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .optimizer import Group, Optimizer


class Schedule:
    """Base of all schedules: sets the optimizer's settings for step 0 at once and for the next step at each `step()`.

    A subclass gives `lr(step, base)`. The base is the learning rate that the optimizer was made with, kept in the group
    as "initial_lr".
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.count = 0
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self._set()

    def lr(self, step: int, base: float) -> float:
        """The learning rate at a step (0 is the first) for a group whose own learning rate is `base`."""
        raise NotImplementedError

    def settings(self, step: int, group: Group) -> dict[str, Any]:
        """What is set in a group at a step: the learning rate, in most schedules."""
        return {"lr": self.lr(step, float(group["initial_lr"]))}

    def step(self) -> None:
        """Goes on by one step (of whatever the schedule counts: batches or epochs)."""
        self.count += 1
        self._set()

    def _set(self) -> None:
        for group in self.optimizer.param_groups:
            group.update(self.settings(self.count, group))

    def get_last_lr(self) -> list[float]:
        """The present learning rate of each group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The step number and the base learning rates."""
        return {"count": self.count, "base_lrs": [g["initial_lr"] for g in self.optimizer.param_groups]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state; raises ValueError if it has another number of groups."""
        if len(state["base_lrs"]) != len(self.optimizer.param_groups):
            raise ValueError(
                f"this state has {len(state['base_lrs'])} groups, the optimizer {len(self.optimizer.param_groups)}"
            )
        self.count = int(state["count"])
        for group, base in zip(self.optimizer.param_groups, state["base_lrs"], strict=True):
            group["initial_lr"] = base
        self._set()


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name} must be 1 or more, not {value}")
    return value


class StepLR(Schedule):
    """Multiplies the learning rate by `gamma` after every `step_size` steps.

    >>> import coolnn as cool
    >>> optimizer = cool.optim.SGD([cool.nn.Parameter(cool.ones(1))], lr=1.0)
    >>> schedule = cool.optim.StepLR(optimizer, 2, gamma=0.5)
    >>> [schedule.lr(step, 1.0) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = _positive("step_size", step_size), gamma
        super().__init__(optimizer)

    def lr(self, step: int, base: float) -> float:
        return float(base * self.gamma ** (step // self.step_size))


class MultiStepLR(Schedule):
    """Multiplies the learning rate by `gamma` at each of the given steps.

    >>> import coolnn as cool
    >>> optimizer = cool.optim.SGD([cool.nn.Parameter(cool.ones(1))], lr=1.0)
    >>> schedule = cool.optim.MultiStepLR(optimizer, [1, 3], gamma=0.5)
    >>> [schedule.lr(step, 1.0) for step in range(5)]
    [1.0, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def lr(self, step: int, base: float) -> float:
        return float(base * self.gamma ** bisect.bisect_right(self.milestones, step))


class CosineAnnealingLR(Schedule):
    """Half a cosine from the learning rate down to `eta_min` in `T_max` steps, where it stays.

    (Loshchilov & Hutter 2016, arXiv:1608.03983.)

    >>> import coolnn as cool
    >>> optimizer = cool.optim.SGD([cool.nn.Parameter(cool.ones(1))], lr=1.0)
    >>> schedule = cool.optim.CosineAnnealingLR(optimizer, 4)
    >>> [round(schedule.lr(step, 1.0), 3) for step in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = _positive("T_max", T_max), eta_min
        super().__init__(optimizer)

    def lr(self, step: int, base: float) -> float:
        done = min(step, self.T_max) / self.T_max
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * done)) / 2


class LinearWarmup(Schedule):
    """Raises the learning rate in a straight line from `start_factor` times itself for `steps` steps, then follows
    `then` (counted from the end of the warm-up), or stays.

    >>> import coolnn as cool
    >>> optimizer = cool.optim.SGD([cool.nn.Parameter(cool.ones(1))], lr=1.0)
    >>> schedule = cool.optim.LinearWarmup(optimizer, 2, then=cool.optim.CosineAnnealingLR(optimizer, 2))
    >>> [round(schedule.lr(step, 1.0), 3) for step in range(5)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def __init__(
        self, optimizer: Optimizer, steps: int, start_factor: float = 0.0, then: Schedule | None = None
    ) -> None:
        if steps < 0:
            raise ValueError(f"steps must be 0 or more, not {steps}")
        self.steps, self.start_factor, self.then = steps, start_factor, then
        super().__init__(optimizer)

    def lr(self, step: int, base: float) -> float:
        if step < self.steps:
            return base * (self.start_factor + (1 - self.start_factor) * step / self.steps)
        return base if self.then is None else self.then.lr(step - self.steps, base)


class OneCycleLR(Schedule):
    """Up to `max_lr` and down to almost nothing in `total_steps`, momentum the other way round (Smith & Topin 2017,
    arXiv:1708.07120), as in PyTorch.

    `pct_start`: the part of the steps that go up; the first rate is max_lr / div_factor, the last one that /
    final_div_factor. With `cycle_momentum` the momentum of SGD and RMSprop and the first beta of Adam move between
    `max_momentum` and `base_momentum`. Steps after the last one keep the last rate.

    >>> import coolnn as cool
    >>> optimizer = cool.optim.SGD([cool.nn.Parameter(cool.ones(1))], lr=1.0, momentum=0.9)
    >>> schedule = cool.optim.OneCycleLR(optimizer, max_lr=1.0, total_steps=10, pct_start=0.5)
    >>> [round(schedule.lr(step, 1.0), 2) for step in (0, 2, 4, 9)]
    [0.04, 0.52, 1.0, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
    ) -> None:
        if not 0 <= pct_start <= 1:
            raise ValueError(f"pct_start must lie in [0, 1], not {pct_start}")
        self.max_lr, self.total_steps, self.pct_start = max_lr, _positive("total_steps", total_steps), pct_start
        self.first_lr = max_lr / div_factor
        self.last_lr = self.first_lr / final_div_factor
        self.cycle_momentum, self.base_momentum, self.max_momentum = cycle_momentum, base_momentum, max_momentum
        super().__init__(optimizer)

    def _between(self, step: int, first: float, middle: float, last: float) -> float:
        """A cosine from first to middle on the way up, another to last on the way down."""
        top, end = self.pct_start * self.total_steps - 1, self.total_steps - 1
        if step <= top:
            start, stop, done = first, middle, step / top if top > 0 else 1.0
        else:
            start, stop, done = middle, last, min(1.0, (step - top) / max(end - top, 1e-12))
        return stop + (start - stop) / 2 * (1 + math.cos(math.pi * done))

    def lr(self, step: int, base: float) -> float:
        return self._between(step, self.first_lr, self.max_lr, self.last_lr)

    def settings(self, step: int, group: Group) -> dict[str, Any]:
        changed = super().settings(step, group)
        if self.cycle_momentum:
            momentum = self._between(step, self.max_momentum, self.base_momentum, self.max_momentum)
            if "betas" in group:
                changed["betas"] = (momentum, *group["betas"][1:])
            elif "momentum" in group:
                changed["momentum"] = momentum
        return changed
