"""One number of a gradient, explained: the chain rule step by step, its sum, and a finite difference beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..autograd import apply_all, no_grad
from ..spec import float64
from ..tensor import Tensor
from .backward import Backward, one_hot
from .identities import Identity, identities_of
from .numbers import Explanation, _plain, place_of
from .text import exact, numbers_text, place_text, shape_text
from .trace import Step, Trace, trace_of

Of = Tensor | str | tuple[Tensor | str, int | Sequence[int]] | None


def explain_gradient(
    tensor: Tensor, index: int | Sequence[int] | None = None, of: Of = None, trace: Trace | None = None
) -> GradientExplanation:
    """Explains one number of a gradient: how much `of` grows per unit of `tensor[index]`, and why.

    `of` is a result of the run: a tensor (a loss; the sum of its numbers if it has several), or a tensor and a place in
    it; by default the output of the trace. The tensor is a weight, an input or any value in between. Raises
    RuntimeError, with the remedy, where the run was not recorded; ValueError where the result does not depend on it.

    >>> import coolnn as cool
    >>> trace = cool.explain.trace(lambda x, y: x * y, x=4, y=-3)
    >>> why = trace.explain_gradient("x")
    >>> why.value, why.agrees
    (-3.0, True)
    """
    if trace is None:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"explain_gradient takes a tensor and a place in it, not {type(tensor).__name__}")
        target = of[0] if isinstance(of, tuple) else of
        trace = trace_of(target if isinstance(target, Tensor) else tensor)
    return GradientExplanation(trace, trace.resolve(tensor), index, of)


@dataclass(frozen=True)
class Link:
    """One step of the chain rule: an operation, and the gradient that it hands on."""

    step: Step
    label: str
    rule: str
    gradient: Tensor


class GradientExplanation:
    """A number of a gradient: `value` is the engine's, `exact` the same chain rule in float64.

    `parts` explains what each use of the tensor adds (a weight that is used twice has two); `chain` goes from the
    result back to the tensor; `identities` are those of convolution, checked on these numbers.
    """

    def __init__(self, trace: Trace, tensor: Tensor, index: int | Sequence[int] | None, of: Of) -> None:
        self.trace, self.tensor = trace, tensor
        self.name = trace.name_of(tensor)
        self.place = place_of(tensor, index, self.name)
        self.of, self.of_place = _result(trace, of)
        start = one_hot(self.of.spec, self.of_place) if self.of_place is not None else None
        self.backward = Backward(trace, self.of, start, tensor)
        total = self.backward.total(tensor)
        if total is None:
            raise ValueError(f"{trace.name_of(self.of)} does not depend on {self.name}, so its gradient is 0")
        self.gradient = total
        self.value = float(total.numpy()[self.place])
        self.parts = [Explanation(trace, part, self.place) for _, _, part in self.backward.uses(tensor)]
        if not self.parts:  # the result itself
            self.parts = [Explanation(trace, total, self.place)]
        self.chain = self._chain()
        self.identities: list[Identity] = [
            found
            for step, position, part in self.backward.uses(tensor)
            for found in identities_of(step, position, self.backward.totals, part, self.place)
        ]
        self._check()

    def _chain(self) -> list[Link]:
        """The operations between the result and the tensor, last first."""
        found: list[Link] = []
        reached = {id(self.tensor)}
        for step in self.trace.steps:
            positions = [i for i in range(len(step.call.inputs)) if (step.number, i) in self.backward.parts]
            used = [i for i in positions if id(step.call.inputs[i]) in reached]
            if not used:
                continue
            reached |= {id(output) for output in step.call.outputs}
            part = self.backward.parts[step.number, used[0]]
            upstream = next((g for o in step.call.outputs if (g := self.backward.total(o)) is not None), part)
            maker = self.trace.maker(part)
            by = f" by {maker[0].call.op.name}" if maker is not None else ""
            rule = f"{_described(upstream)} → {_described(part)}{by}"
            found.append(Link(step, self.trace.name_of(step.call.outputs[0]), rule, part))
        return found[::-1]

    # --- checks in float64 -------------------------------------------------------------------------------------------

    def _check(self) -> None:
        replay = _Replay(self.trace, self.of, self.of_place)
        self.exact = replay.gradient(self.tensor, self.place)
        here = float(replay.values[id(self.tensor)].numpy()[self.place])
        step = 1e-5 * max(1.0, abs(here))
        above, middle, below = (replay.value(self.tensor, self.place, d) for d in (step, 0.0, -step))
        self.finite_difference = (above - below) / (2 * step)
        right, left = (above - middle) / step, (middle - below) / step
        scale = max(abs(self.exact), abs(self.finite_difference))
        # Rounding of the values over the step, and curvature, which is of the order of the step squared.
        tolerance = 1e-6 * scale + 1e-14 * max(abs(above), abs(below), 1.0) / step
        #: Whether the finite difference and the chain rule in float64 agree.
        self.agrees = bool(abs(self.finite_difference - self.exact) <= tolerance)
        #: Whether the slopes to both sides differ: a kink (0 of relu, a tie of a maximum) lies within the step.
        self.kink = bool(abs(right - left) > 1e-2 * max(abs(right), abs(left)) + 10 * tolerance)

    @property
    def verdict(self) -> str:
        """Whether the finite difference agrees, and if not, why."""
        if self.agrees:
            return "agrees"
        if self.kink:
            return "differs: a kink (as at 0 of relu, or a tie of a maximum) lies within the step"
        return f"differs by {abs(self.finite_difference - self.exact):.3g}"

    # --- forms -------------------------------------------------------------------------------------------------------

    def title(self) -> str:
        """∂ loss / ∂ conv1.weight[0, 0, 1, 2]."""
        of = self.trace.name_of(self.of)
        place = place_text(self.of_place) if self.of_place is not None else ""
        of = f"sum of {of}" if self.of_place is None and self.of.size > 1 else f"{of}{place}"
        return f"∂ {of} / ∂ {self.name}{place_text(self.place)}"

    def engine_text(self) -> str:
        """The engine's number with all of its digits."""
        return exact(self.gradient.numpy()[self.place])

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data (for JSON)."""
        return {
            "title": self.title(),
            "name": self.name,
            "place": list(self.place),
            "value": self.value,
            "exact": self.exact,
            "finite_difference": self.finite_difference,
            "agrees": self.agrees,
            "kink": self.kink,
            "chain": [{"label": link.label, "rule": link.rule} for link in self.chain],
            "identities": [vars(identity) for identity in self.identities],
            "parts": [part.to_dict() for part in self.parts],
        }

    def to_json(self) -> str:
        """`to_dict` as JSON; infinite numbers and nan become strings."""
        return json.dumps(_plain(self.to_dict()), ensure_ascii=False)

    def __str__(self) -> str:
        from .render import gradient_text

        return gradient_text(self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from .render import gradient_html

        return gradient_html(self)


def _described(grad: Tensor) -> str:
    return (
        f"{shape_text(grad.shape)} ({numbers_text(grad.numpy(), 3)})" if grad.size > 1 else numbers_text(grad.numpy())
    )


def _result(trace: Trace, of: Of) -> tuple[Tensor, tuple[int, ...] | None]:
    """The tensor whose gradient is meant, and the place in it (None: the sum of all)."""
    what, index = of if isinstance(of, tuple) else (of, None)
    if what is None and not trace.outputs:
        raise ValueError("say which result the gradient is of: of=loss, or of=(y, index) for one number of y")
    tensor = trace.resolve(what)
    return tensor, None if index is None else place_of(tensor, index, trace.name_of(tensor))


class _Replay:
    """A run again in float64, where the references compute: its result, gradients, and what changes with a number."""

    def __init__(self, trace: Trace, of: Tensor, place: tuple[int, ...] | None) -> None:
        self.trace, self.of, self.place = trace, of, place
        self.steps = _before(trace, of)
        self.values: dict[int, Tensor] = {}
        self.again = Trace()
        with self.again._recording(()):
            for step in self.steps:
                self._run(step, self.values)
        self.values.setdefault(id(of), self._precise(of))

    def _precise(self, tensor: Tensor) -> Tensor:
        known = self.values.get(id(tensor))
        if known is None:
            array = self.trace.numbers(tensor)
            known = Tensor.from_array(array.astype(float64) if array.dtype.kind == "f" else array)
            self.values[id(tensor)] = known
        return known

    def _run(self, step: Step, values: dict[int, Tensor]) -> None:
        call = step.call
        inputs = [None if t is None else values.get(id(t)) for t in call.inputs]
        inputs = [
            self._precise(t) if t is not None and found is None else found
            for t, found in zip(call.inputs, inputs, strict=True)
        ]
        attributes = dict(call.attributes)
        if call.op.name == "cast" and attributes.get("dtype") == "float32":
            attributes["dtype"] = "float64"
        for old, new in zip(call.outputs, apply_all(call.op, *inputs, **attributes), strict=True):
            values[id(old)] = new

    def gradient(self, tensor: Tensor, place: tuple[int, ...]) -> float:
        """The chain rule in float64."""
        result = self.values[id(self.of)]
        start = one_hot(result.spec, self.place) if self.place is not None else None
        found = Backward(self.again, result, start, self._precise(tensor)).total(self._precise(tensor))
        return 0.0 if found is None else float(found.numpy()[place])

    def value(self, tensor: Tensor, place: tuple[int, ...], change: float) -> float:
        """The result with one number changed."""
        if change == 0.0:
            return self._read(self.values[id(self.of)])
        changed = self._precise(tensor).numpy().copy()
        changed[place] += change
        values = {id(tensor): Tensor.from_array(changed)}
        with no_grad():
            for step in self.steps:
                if any(t is not None and id(t) in values for t in step.call.inputs) and id(tensor) not in map(
                    id, step.call.outputs
                ):
                    own = {key: values.get(key, known) for key, known in self.values.items()}
                    self._run(step, own)
                    values |= {id(o): own[id(o)] for o in step.call.outputs}
        return self._read(values.get(id(self.of), self.values[id(self.of)]))

    def _read(self, result: Tensor) -> float:
        """The result as one number."""
        return float(result.numpy()[self.place] if self.place is not None else result.numpy().sum())


def _before(trace: Trace, of: Tensor) -> list[Step]:
    """The steps that a tensor was computed by."""
    wanted, found = {id(of)}, []
    made = trace.maker(of)
    for step in reversed(trace.steps[: made[0].number + 1] if made else ()):
        if not step.call.in_place and any(id(o) in wanted for o in step.call.outputs):
            found.append(step)
            wanted |= {id(t) for t in step.call.inputs if t is not None}
    return found[::-1]
