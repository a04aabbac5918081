"""One number of a run, explained: the terms of its sum, and where each of their factors came from."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..ops.terms import Factor, Place, Products, Terms, argument_names, slopes_of
from ..tensor import Tensor
from .field import Box, seen_by
from .text import exact, place_text, shape_text, short
from .trace import Step, Trace, trace_of


def explain(number: Tensor, index: int | Sequence[int] | None = None) -> Explanation:
    """Explains one number of a computed tensor: as a sum of terms, each of which can be followed further.

    `index` is its place, as in `tensor[index]`; a tensor of one number needs none. The tensor must be part of a trace
    that is kept (`coolnn.explain.trace`, `coolnn.explain.recording`), or remember its own graph (requires_grad). Raises
    RuntimeError, with the remedy, if it has neither; IndexError for a place that is not there.

    >>> import coolnn as cool
    >>> w, b = cool.tensor([[2.0, -1.0]], requires_grad=True), cool.tensor([0.5], requires_grad=True)
    >>> y = cool.ops.linear(cool.tensor([[3.0, 4.0]]), w, b)
    >>> why = cool.explain(y, (0, 0))
    >>> why.value, why.exact, [term.value for term in why.terms]
    (2.5, 2.5, [6.0, -4.0, 0.5])
    """
    if not isinstance(number, Tensor):
        raise TypeError(
            f"explain takes a computed tensor and a place in it, not {type(number).__name__}; for a network: "
            "trace = cool.explain.trace(net, x), then trace.explain(index)"
        )
    trace = trace_of(number)
    return Explanation(trace, trace.resolve(number), index)


def place_of(tensor: Tensor, index: int | Sequence[int] | None, name: str) -> Place:
    """The index as a tuple of places from 0; raises IndexError that says what there is."""
    if index is None:
        if tensor.size != 1:
            raise IndexError(
                f"{name} has {tensor.size} numbers, shape {tensor.shape}: say which one, as in "
                f"{tuple(n // 2 for n in tensor.shape)}"
            )
        return (0,) * tensor.ndim
    given = (index,) if hasattr(index, "__index__") else tuple(index)
    if len(given) != tensor.ndim:
        raise IndexError(f"{name} has shape {tensor.shape}: a place in it is {tensor.ndim} numbers, not {given}")
    place = []
    for axis, (i, n) in enumerate(zip(given, tensor.shape, strict=True)):
        if not -n <= int(i) < n:
            raise IndexError(f"place {given} is outside of {name}: axis {axis} has places 0 to {n - 1}")
        place.append(int(i) % n)
    return tuple(place)


@dataclass(frozen=True)
class Part:
    """One factor of a term: a number of a tensor, or a constant."""

    name: str
    value: float
    tensor: Tensor | None
    place: Place | None  # None for constants and for padding
    trace: Trace

    @property
    def is_padding(self) -> bool:
        """Whether it lies outside of its tensor, where padding is."""
        return self.tensor is not None and self.place is None

    def explain(self) -> Explanation:
        """Where this number came from; raises ValueError for constants and padding, which came from nowhere."""
        if self.tensor is None or self.place is None:
            what = "padding" if self.is_padding else f"a constant of the operation ({self.name} = {short(self.value)})"
            raise ValueError(f"this factor is {what}: there is nothing behind it")
        return Explanation(self.trace, self.tensor, self.place)

    def __str__(self) -> str:
        where = "padding" if self.is_padding else place_text(self.place) if self.place is not None else ""
        return f"{self.name}{where if where.startswith('[') else ' ' + where if where else ''} = {short(self.value, 6)}"


@dataclass(frozen=True)
class Term:
    """One term of a sum: a product of factors."""

    group: str
    factors: tuple[Part, ...]
    value: float
    so_far: float  # this term and all before it

    def explain(self, factor: int | str | None = None) -> Explanation:
        """Where one factor came from, by its number or name; by itself the first one that has something behind it."""
        if isinstance(factor, str):
            names = [part.name for part in self.factors]
            if factor not in names:
                raise KeyError(f"this term has no factor '{factor}'; it has {', '.join(names)}")
            return self.factors[names.index(factor)].explain()
        if factor is not None:
            return self.factors[factor].explain()
        followed = [p for p in self.factors if p.tensor is not None and p.place is not None]
        return (followed or list(self.factors))[0].explain()

    def __str__(self) -> str:
        return " · ".join(map(str, self.factors))


class Explanation:
    """A number, the value that the engine computed, and the terms that it is the sum of.

    `value` is the engine's, to the bit; `exact` the sum of the terms (or the choice, or the function) in float64,
    rounded once; `difference` is value - exact. `print` it, look at it in a notebook, or take `to_dict()`.
    """

    def __init__(self, trace: Trace, tensor: Tensor, index: int | Sequence[int] | None = None) -> None:
        self.trace = trace
        self.tensor = tensor
        self.name = trace.name_of(tensor)
        self.place = place_of(tensor, index, self.name)
        self.number = trace.numbers(tensor)[self.place]
        self.value = float(self.number)
        made = trace.maker(tensor)
        self.step: Step | None = made[0] if made else None
        self._output = made[1] if made else 0
        self._terms: Terms | None = None
        if self.step is not None:
            for given in self.step.call.inputs:
                if given is not None:
                    trace.numbers(given)  # raises if it has been overwritten
            self._terms = _terms_of(self.step, self.place, self._output)

    # --- what it consists of -----------------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """One of "sum", "choice" (of one number), "function" (of the `influences`) and "given" (not computed)."""
        return self._terms.kind if self._terms else "given"

    @property
    def formula(self) -> str:
        """The rule in short: Σ x · weight + bias."""
        if self._terms is None:
            return "given, not computed"
        return self._terms.formula + (f", {self._terms.then[0]}" if self._terms.then else "")

    @property
    def operation(self) -> str:
        """The name of the operation that made the number; "" if it was given."""
        return self.step.call.op.name if self.step else ""

    @property
    def exact(self) -> float:
        """The value from the terms in float64, rounded once."""
        return self._terms.total if self._terms else self.value

    @property
    def difference(self) -> float:
        """value - exact: what rounding inside of the engine did; 0 where both are infinite or nan."""
        if self.value == self.exact or (np.isnan(self.value) and np.isnan(self.exact)):
            return 0.0
        return self.value - self.exact

    @cached_property
    def terms(self) -> list[Term]:
        """All terms in order. A choice has one; functions and given numbers have none."""
        found, so_far = [], 0.0
        for group in self._terms.groups if self._terms else ():
            values = group.values
            for row in range(len(group)):
                so_far += float(values[row])
                parts = tuple(self._part(factor, row) for factor in group.factors)
                found.append(Term(group.name, parts, float(values[row]), so_far))
        return found

    @property
    def groups(self) -> tuple[Products, ...]:
        """The terms as arrays: for each kind of term its factors, with values and places."""
        return self._terms.groups if self._terms else ()

    @cached_property
    def influences(self) -> list[tuple[Part, float | None]]:
        """For a function, the numbers it depends on with the derivative by each (None: unknown); else the rivals."""
        found: list[tuple[Part, float | None]] = []
        if self._terms is None:
            return found
        slopes = self._terms.slopes or (None,) * len(self._terms.also)
        for factor, slope in zip(self._terms.also, slopes, strict=True):
            for row in range(len(factor.values)):
                known = None if slope is None else float(np.asarray(slope).reshape(-1)[row])
                found.append((self._part(factor, row), known))
        return found

    def _part(self, factor: Factor, row: int) -> Part:
        tensor, place = None, None
        if factor.tensor is not None and self.step is not None:
            tensor = (self.step.call.outputs if factor.made else self.step.call.inputs)[factor.tensor]
            assert factor.places is not None
            where = factor.places[row].tolist()
            place = None if where and min(where) < 0 else tuple(where)
        return Part(factor.name, float(factor.values[row]), tensor, place, self.trace)

    @cached_property
    def padding(self) -> int:
        """How many terms have a factor in the padding."""
        return sum(
            int((factor.places < 0).any(axis=1).sum())
            for group in self.groups
            for factor in group.factors[:1]
            if factor.places is not None and factor.places.shape[1]
        )

    @cached_property
    def window(self) -> dict[str, Box]:
        """For each input of the operation the box of places that take part."""
        found: dict[str, Box] = {}
        for factor in itertools.chain.from_iterable([*(g.factors for g in self.groups), self._also()]):
            if factor.places is not None and len(factor.places) and not factor.made:
                inside = factor.places[(factor.places >= 0).all(axis=1)]
                if len(inside):
                    box = Box(tuple(inside.min(0).tolist()), tuple(inside.max(0).tolist()))
                    found[factor.name] = found[factor.name].joined(box) if factor.name in found else box
        return found

    def _also(self) -> tuple[Factor, ...]:
        return self._terms.also if self._terms else ()

    @cached_property
    def field(self) -> dict[str, Box]:
        """The receptive field: for each input of the run the box of its places that this number can depend on."""
        boxes = seen_by(self.trace, self.tensor, self.place)
        inputs = self.trace.inputs or [t for t, _ in self.trace._touched.values() if self.trace.maker(t) is None]
        return {self.trace.name_of(t): boxes[id(t)] for t in inputs if id(t) in boxes and t.ndim > 0}

    # --- following ---------------------------------------------------------------------------------------------------

    def explain(self, term: int = 0, factor: int | str | None = None) -> Explanation:
        """Where a factor of a term came from; for a function the `term`-th of its influences."""
        terms = self.terms
        if terms:
            if not -len(terms) <= term < len(terms):
                raise IndexError(f"there are {len(terms)} terms, 0 to {len(terms) - 1}; not {term}")
            return terms[term].explain(factor)
        influences = self.influences
        if not influences:
            raise ValueError(f"{self.name}{place_text(self.place)} was given, not computed: there is nothing behind it")
        if not -len(influences) <= term < len(influences):
            raise IndexError(f"it depends on {len(influences)} numbers, 0 to {len(influences) - 1}; not {term}")
        return influences[term][0].explain()

    def largest(self) -> Explanation:
        """Follows the term that is largest in size (for a function: the number with the largest influence)."""
        terms = list(enumerate(self.terms))
        # Toward the inputs of the run where there is a way, not into a bias.
        followed = [(abs(t.value), n) for n, t in terms if any(map(self._leads_on, t.factors))]
        followed = followed or [(abs(t.value), n) for n, t in terms if any(p.place is not None for p in t.factors)]
        followed = followed or [
            (abs((slope or 0.0) * part.value), number) for number, (part, slope) in enumerate(self.influences)
        ]
        if not followed:
            return self.explain(0)
        return self.explain(max(followed, key=lambda pair: pair[0])[1])

    def _leads_on(self, part: Part) -> bool:
        if part.tensor is None or part.place is None:
            return False
        return self.trace.maker(part.tensor) is not None or any(part.tensor is t for t in self.trace.inputs)

    def source(self, name: str) -> str:
        """What the tensor is called that the operation's input `name` was."""
        for factor in (*(f for group in self.groups for f in group.factors), *self._also()):
            if factor.name == name and factor.tensor is not None and self.step is not None:
                return self.trace.name_of(self.step.call.inputs[factor.tensor])
        raise KeyError(f"{self.operation} reads no input named '{name}'")

    def path(self) -> Iterator[Explanation]:
        """This number, then the one behind its largest term, and so on down to what was given."""
        here = self
        yield here
        while here.kind != "given" and (here.terms or here.influences):
            if not any(p.tensor is not None and p.place is not None for t in here.terms for p in t.factors) and (
                not here.influences
            ):
                return
            here = here.largest()
            yield here

    # --- forms -------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data (for JSON)."""
        return {
            "name": self.name,
            "place": list(self.place),
            "shape": list(self.tensor.shape),
            "operation": self.operation,
            "kind": self.kind,
            "formula": self.formula,
            "type": self.tensor.dtype.name,
            "value": self.value,
            "exact": self.exact,
            "difference": self.difference,
            "padding": self.padding,
            "field": {name: box.to_dict() for name, box in self.field.items()},
            "terms": [
                {"group": term.group, "value": term.value, "factors": [_part_dict(p) for p in term.factors]}
                for term in self.terms
            ],
            "influences": [{**_part_dict(part), "derivative": slope} for part, slope in self.influences],
        }

    def to_json(self) -> str:
        """`to_dict` as JSON; infinite numbers and nan become strings."""
        return json.dumps(_plain(self.to_dict()), ensure_ascii=False)

    def __str__(self) -> str:
        from .render import explanation_text

        return explanation_text(self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from .render import explanation_html

        return explanation_html(self)

    def title(self) -> str:
        """conv1: conv2d[0, 2, 5, 5] of 1×6×28×28."""
        return f"{self.name}{place_text(self.place)} of {shape_text(self.tensor.shape)}"

    def engine_text(self) -> str:
        """The engine's number with all of its digits."""
        return exact(self.number)


def _part_dict(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "value": part.value,
        "tensor": None if part.tensor is None else part.trace.name_of(part.tensor),
        "place": None if part.place is None else list(part.place),
        "padding": part.is_padding,
    }


def _plain(value: Any) -> Any:
    """Data that JSON can hold: it has no infinite numbers."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def _terms_of(step: Step, place: Place, output: int) -> Terms:
    """What the operation says of its terms; else its reference in float64, and its chain rule for the influences."""
    call = step.call
    said = call.op.terms(call, place, output)
    if said is not None:
        return said
    arrays = [None if t is None else _precise(t.numpy()) for t in call.inputs]
    with np.errstate(all="ignore"):
        results = call.op.reference(*arrays, **call.attributes)
    results = results if isinstance(results, tuple) else (results,)
    value = float(np.asarray(results[output])[place])
    tensors = tuple([None if a is None else Tensor.from_array(a) for a in arrays])
    outputs = tuple([Tensor.from_array(_precise(r)) for r in results])
    names = argument_names(call.op, len(call.inputs))
    also: list[Factor] = []
    slopes: list[Any] = []
    for i, slope in enumerate(slopes_of(call, tensors, outputs, output, place)):
        if slope is None or arrays[i] is None:
            continue
        places = np.argwhere(slope != 0)
        at = tuple(places.T)
        values = np.asarray(arrays[i], np.float64)[at] if len(places) else np.zeros(0)
        also.append(Factor(names[i], np.atleast_1d(values), places, i))
        slopes.append(np.atleast_1d(slope[at]) if len(places) else np.zeros(0))
    return Terms("function", call.op.name, also=tuple(also), slopes=tuple(slopes), value=value)


def _precise(array: Any) -> Any:
    array = np.asarray(array)
    return array.astype(np.float64) if array.dtype.kind == "f" else array
