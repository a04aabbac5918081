"""Going backward through a trace: the gradient of one number by everything before it, with each part of each sum."""

from __future__ import annotations

import numpy as np

from ..autograd import Call, no_grad, run_hooks
from ..spec import Spec
from ..tensor import Tensor, from_numpy
from .trace import Step, Trace


class Backward:
    """Gradients of one tensor (weighted by `start`) by all that it was computed from, or by what leads to it from `by`.

    What the chain rules compute is recorded in the same trace, so that each gradient can be explained as well. Sums are
    taken in the engine's order: the gradients have the same bits as those of `backward()`.
    """

    def __init__(self, trace: Trace, of: Tensor, start: Tensor | None = None, by: Tensor | None = None) -> None:
        if of.dtype.kind != "f":
            raise TypeError(f"only real numbers have gradients, {trace.name_of(of)} is {of.dtype.name}")
        self.trace = trace
        self.of = of
        self.start = start if start is not None else from_numpy(np.ones(of.shape, of.dtype))
        #: The gradient of each tensor, by its id.
        self.totals: dict[int, Tensor] = {id(of): self.start}
        #: What each use of a tensor (number of the step, position among its inputs) adds to that.
        self.parts: dict[tuple[int, int], Tensor] = {}
        trace.name(self.start, "gradient to start from")
        steps = [step for step in trace.steps if not step.call.in_place]
        self._reached = None if by is None else _reached(steps, by)
        enabled = any(step.grad for step in steps)
        with no_grad(), trace._recording(()):
            for step in reversed(steps):
                if step.grad or not enabled:
                    self._back(step)

    def _back(self, step: Step) -> None:
        call = step.call
        grads = [self.totals.get(id(output)) for output in call.outputs]
        if all(grad is None for grad in grads):
            return
        needs = tuple([t is not None and t.dtype.kind == "f" and self._wants(t) for t in call.inputs])
        if True not in needs:
            return
        for index, (output, grad) in enumerate(zip(call.outputs, grads, strict=True)):
            if grad is not None and output._node is not None:
                grads[index] = run_hooks(output._node.hooks.get(output._index), grad)
        result = call.op.vjp(Call(call.op, call.inputs, call.outputs, call.attributes, needs), *grads)
        for position, (source, grad) in enumerate(zip(call.inputs, _as_tuple(result), strict=True)):
            if source is None or grad is None or not needs[position]:
                continue
            self.parts[step.number, position] = grad
            before = self.totals.get(id(source))
            self.totals[id(source)] = grad if before is None else before + grad

    def _wants(self, tensor: Tensor) -> bool:
        return self._reached is None or id(tensor) in self._reached

    def total(self, tensor: Tensor) -> Tensor | None:
        """The gradient for a tensor; None where it had no part in the number."""
        return self.totals.get(id(tensor))

    def uses(self, tensor: Tensor) -> list[tuple[Step, int, Tensor]]:
        """Each use of a tensor that the number depends on: step, position among its inputs, part of the gradient."""
        found = []
        for (number, position), part in self.parts.items():
            step = self.trace.steps[number]
            if step.call.inputs[position] is tensor:
                found.append((step, position, part))
        return found


def _reached(steps: list[Step], start: Tensor) -> set[int]:
    """The ids of all tensors that depend on one, itself included."""
    found = {id(start)}
    for step in steps:
        if any(t is not None and id(t) in found for t in step.call.inputs):
            found |= {id(output) for output in step.call.outputs}
    return found


def _as_tuple(result: Tensor | tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return (result,) if isinstance(result, Tensor) else result


def one_hot(spec: Spec, place: tuple[int, ...]) -> Tensor:
    """Zeros with a one at a place: the start of the gradient of that number alone."""
    array = np.zeros(spec.shape, spec.dtype)
    array[place] = 1
    return from_numpy(array)
