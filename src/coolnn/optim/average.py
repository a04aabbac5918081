"""Clipping of gradients and averaging of weights."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from .. import ops
from ..autograd import apply_into, each_run, no_grad
from ..nn.module import Module
from ..ops import update
from ..spec import float32
from ..tensor import Array, Tensor


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [(p, p.grad) for p in listed if p.grad is not None]


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0) -> float:
    """Shrinks all gradients by one factor so that their joint norm is at most `max_norm`; returns the norm before.

    `norm_type` is the order of the norm, math.inf for the largest magnitude (Pascanu et al. 2012, arXiv:1211.5063).
    A norm that is not finite is returned and left to the caller: the gradients become nan or 0 as in PyTorch.

    >>> import coolnn as cool
    >>> p = cool.nn.Parameter(cool.zeros(2))
    >>> p.grad = cool.tensor([3.0, 4.0])
    >>> norm = cool.optim.clip_grad_norm_([p], 1.0)
    >>> norm, [round(g, 3) for g in p.grad.tolist()]
    (5.0, [0.6, 0.8])
    """
    if not max_norm >= 0:
        raise ValueError(f"max_norm must be 0 or more, not {max_norm}")
    if not norm_type > 0:
        raise ValueError(f"norm_type must be more than 0, not {norm_type}")
    with no_grad():
        found = _gradients(parameters)
        total = _norm([grad for _, grad in found], norm_type)
        # Not in place: two parameters may share one gradient's memory (both addends of a sum, say).
        if not total <= max_norm:
            for parameter, grad in found:
                parameter.grad = grad * (max_norm / (total + 1e-6))
    return total


def _norm(grads: list[Tensor], order: float) -> float:
    if not grads:
        return 0.0
    if order == math.inf:
        peaks: list[float] = [ops.amax(ops.abs(g)).item() if g.size else 0.0 for g in grads]
        return float(np.max(peaks))
    if order == 2:
        return math.sqrt(sum(float(ops.sum(g * g).item()) for g in grads))
    return float(sum(float(ops.sum(ops.abs(g) ** order).item()) for g in grads) ** (1 / order))


def clipped(grads: list[Tensor], max_norm: float) -> list[Tensor]:
    """Gradients shrunk by one factor so that their joint norm is at most `max_norm`, by operations alone.

    The same as `clip_grad_norm_` without looking at any number, so that it can be part of a compiled step.
    """
    with no_grad():
        squares = [ops.sum(ops.square(grad)) for grad in grads]
        total = ops.sqrt(functools.reduce(ops.add, squares))
        factor = ops.clip(ops.div(max_norm, total + 1e-6), max=1.0)
        return [grad * factor for grad in grads]


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clips every number of every gradient to [-clip_value, clip_value].

    >>> import coolnn as cool
    >>> p = cool.nn.Parameter(cool.zeros(2))
    >>> p.grad = cool.tensor([3.0, -0.5])
    >>> cool.optim.clip_grad_value_([p], 1.0)
    >>> p.grad.tolist()
    [1.0, -0.5]
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_value must be 0 or more, not {clip_value}")
    with no_grad():
        for parameter, grad in _gradients(parameters):
            parameter.grad = ops.clip(grad, -float(clip_value), float(clip_value))


class ExponentialMovingAverage:
    """A second set of a network's weights that follows the first slowly; it often does better on new pictures
    (Polyak & Juditsky 1992).

    Averages parameters and real-valued buffers, copies the others. After `update()`: average = decay·average +
    (1 - decay)·weights. With `warmup` the decay starts low: min(decay, (1 + updates) / (10 + updates)).

    >>> import coolnn as cool
    >>> net = cool.nn.Linear(1, 1, bias=False)
    >>> _ = net.weight.copy_(cool.zeros(1, 1))
    >>> average = cool.optim.ExponentialMovingAverage(net, decay=0.5)
    >>> _ = net.weight.copy_(cool.ones(1, 1))
    >>> average.update()
    >>> with average.swapped():
    ...     net.weight.item()
    0.5
    >>> net.weight.item()
    1.0
    """

    def __init__(self, module: Module, decay: float = 0.999, warmup: bool = False) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must lie in [0, 1], not {decay}")
        self.decay, self.warmup, self.updates = decay, warmup, 0
        self._hyper: Array = np.zeros(1, float32)
        self._live = dict(module.named_parameters()) | dict(module.named_buffers())
        self.averages: dict[str, Tensor] = {
            name: Tensor.from_array(tensor.numpy().copy()) for name, tensor in self._live.items()
        }

    def update(self) -> None:
        """Moves the averages towards the present weights; call it after each optimizer step."""
        each_run(self._advance)
        hyper = Tensor.from_array(self._hyper)
        for name, average in self.averages.items():
            live = self._live[name]
            if live.dtype.kind == "f":
                apply_into(update.EMA_STEP, (average, live, hyper), (average,))

    def _advance(self) -> None:
        """What is no operation: the count of updates, the decay that depends on it, and counters among the buffers."""
        self.updates += 1
        self._hyper[0] = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.warmup else self.decay
        for name, average in self.averages.items():
            if average.dtype.kind != "f":
                average.copy_(self._live[name])

    def swap(self) -> None:
        """Exchanges the network's weights with the averages; a second call exchanges them back."""
        for name, average in self.averages.items():
            live = self._live[name].numpy()
            kept = live.copy()
            live[...] = average.numpy()
            average.copy_(kept)

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside this block the network computes with the averages: for validation and for saving."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def state_dict(self) -> dict[str, Any]:
        """The averages by name and the number of updates; the tensors share memory with the averages."""
        return {"averages": dict(self.averages), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a state, copying its tensors; raises ValueError if it is of another network."""
        averages = state["averages"]
        if set(averages) != set(self.averages):
            odd = ", ".join(sorted(set(averages) ^ set(self.averages)))
            raise ValueError(f"this average is of another network; names in only one of them: {odd}")
        for name, average in self.averages.items():
            average.copy_(averages[name])
        self.updates = int(state["updates"])
