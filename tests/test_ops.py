"""Every public operation on each of its cases: kernels, gradients, shapes, and agreement with PyTorch.

The cases stand beside the functions in `coolnn.ops`. The yardstick is the reference in float64: its gradients are
checked against differences, and the float32 kernels against it on every instruction set and several numbers of threads.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

import coolnn as cool
from coolnn import _core
from coolnn.ops import FUNCTIONS, OPS, Case, Function, Sample
from coolnn.spec import float32, float64

Array = np.ndarray[Any, np.dtype[Any]]

CASES = [
    pytest.param(name, index, id=f"{name}-{index}-{case!r}")
    for name, function in FUNCTIONS.items()
    for index, case in enumerate(function.cases)
]
each_case = pytest.mark.parametrize(("name", "index"), CASES)

# Optimizers' steps, which change their inputs in place, what passes over the graph make, and what only imported
# networks use have no gradient and no public function here; their tests are apart.
APART = ("coolnn.ops.update", "coolnn.ops.conv_backward", "coolnn.ops.fused", "coolnn.formats")

# A gradient may be a longer sum than its output (over all pixels for a filter), of products of rounded values.
GRADIENT_FACTOR = 10
STEP = 1e-5  # of differences: curvature costs STEP², rounding 1e-16 / STEP, so both stay near 1e-10


# --- drawing and calling ---------------------------------------------------------------------------------------------


def draw(sample: Sample, rng: np.random.Generator) -> Array:
    """An array of the sample's type; real ones are rounded to float32, so that both precisions see the same numbers."""
    array = np.asarray(sample.draw(rng))
    if array.dtype.kind == "f" and sample.dtype.kind == "f":
        return array.astype(float32).astype(float64)
    return array if sample.dtype == float32 else array.astype(sample.dtype)


def samples(value: Any) -> Iterator[Sample]:
    """All samples in an argument, which may be a list of them."""
    if isinstance(value, Sample):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from samples(item)


def fill(value: Any, values: Iterator[Any]) -> Any:
    """The argument with each sample replaced by the next of `values`."""
    if isinstance(value, Sample):
        return next(values)
    return type(value)(fill(item, values) for item in value) if isinstance(value, list | tuple) else value


class Drawn:
    """A case with numbers in place of its samples."""

    def __init__(self, case: Case, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.case = case
        self.arrays: list[Array] = []
        self.differentiated: list[bool] = []
        for place, value in (*enumerate(case.args), *case.kwargs.items()):
            for sample in samples(value):
                array = draw(sample, rng)
                self.arrays.append(array)
                self.differentiated.append(case.gradient and array.dtype.kind == "f" and place not in case.fixed)

    def call(self, function: Any, values: list[Any]) -> list[Any]:
        """Calls a function with `values` where the case has samples; its results as a list."""
        supply = iter(values)
        args = [fill(value, supply) for value in self.case.args]
        kwargs = {key: fill(value, supply) for key, value in self.case.kwargs.items()}
        result = function(*args, **kwargs)
        return list(result) if isinstance(result, list | tuple) else [result]


class Run(NamedTuple):
    """What one run of a case gave."""

    outputs: list[Array]
    gradients: list[Array]  # for each array that is differentiated
    after: list[Array]  # the arguments afterwards: some functions update one in place


def weights_for(outputs: list[Any]) -> list[Array]:
    """The upstream gradients: fixed random numbers for every real output (not for whole numbers)."""
    rng = np.random.default_rng(99)
    return [
        rng.standard_normal(o.shape).astype(float32).astype(float64) if o.dtype in (float32, float64) else np.empty(0)
        for o in outputs
    ]


def to_tensors(drawn: Drawn, arrays: list[Array], dtype: Any) -> list[cool.Tensor]:
    made = [cool.tensor(a.astype(dtype) if a.dtype.kind == "f" else a) for a in arrays]
    for tensor, wanted in zip(made, drawn.differentiated, strict=True):
        tensor.requires_grad = wanted
    return made


def gradients_of(
    outputs: list[cool.Tensor], inputs: list[cool.Tensor], weights: list[cool.Tensor], again: bool = False
) -> list[cool.Tensor]:
    """Vector-Jacobian products; zeros where an input has no influence. With `again` they can be differentiated."""
    used = [(o, w) for o, w in zip(outputs, weights, strict=True) if o.requires_grad]
    if not used or not inputs:
        return [cool.tensor(np.zeros(t.shape, t.dtype)) for t in inputs]
    found = cool.grad([o for o, _ in used], inputs, [w for _, w in used], create_graph=again, allow_unused=True)
    return [cool.tensor(np.zeros(t.shape, t.dtype)) if g is None else g for t, g in zip(inputs, found, strict=True)]


def evaluate(function: Function, drawn: Drawn, dtype: Any) -> Run:
    """Runs a case forward and backward in one precision."""
    cool.manual_seed(0)  # random operations draw the same numbers in every run
    tensors = to_tensors(drawn, drawn.arrays, dtype)
    outputs = drawn.call(function.call, tensors)
    inputs = [t for t, wanted in zip(tensors, drawn.differentiated, strict=True) if wanted]
    weights = [cool.tensor(w.astype(dtype)) for w in weights_for(outputs)]
    gradients = gradients_of(outputs, inputs, weights)
    return Run(*([np.array(t.numpy()) for t in ts] for ts in (outputs, gradients, tensors)))


@functools.cache
def expected(name: str, index: int) -> tuple[Drawn, Run]:
    """A case and what the reference gives for it in float64."""
    function = FUNCTIONS[name]
    drawn = Drawn(function.cases[index], index)
    return drawn, evaluate(function, drawn, float64)


def assert_close(got: Array, want: Array, rtol: float, what: str) -> None:
    """max|got - want| <= rtol · max|want|, and infinities and NaNs in the same places."""
    assert got.shape == want.shape, what
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=what)
        return
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite].astype(got.dtype), err_msg=what)
    if not finite.any():
        return
    scale = float(np.abs(want[finite]).max())
    error = float(np.abs(got[finite].astype(float64) - want[finite]).max())
    assert error <= rtol * scale, f"{what}: error {error:.3g} where the largest number is {scale:.3g} (rtol {rtol:g})"


def compare(got: Run, want: Run, rtol: float, what: str = "") -> None:
    for kind, factor in (("outputs", 1), ("gradients", GRADIENT_FACTOR), ("after", 1)):
        for i, (a, b) in enumerate(zip(getattr(got, kind), getattr(want, kind), strict=True)):
            # float32 inputs that nothing changed are rounded nowhere; those updated in place are outputs
            assert_close(a, b, factor * rtol, f"{what} {kind}[{i}]")


def as_bytes(run: Run) -> list[bytes]:
    return [array.tobytes() for part in run for array in part]


# --- tests -----------------------------------------------------------------------------------------------------------


@each_case
def test_kernel(name: str, index: int) -> None:
    """float32 agrees with the reference on every instruction set, and bit for bit on any number of threads."""
    drawn, want = expected(name, index)
    function = FUNCTIONS[name]
    for isa in _core.available_isas():
        first = None
        for threads in (1, 2, 3):
            with cool.options(isa=isa, threads=threads):
                got = evaluate(function, drawn, float32)
            if first is None:
                first = as_bytes(got)
                compare(got, want, function.rtol, isa)
            assert as_bytes(got) == first, f"{isa}: {threads} threads give other bits than 1"


def directions(arrays: list[Array], rng: np.random.Generator) -> Iterator[list[Array]]:
    """A random direction in all arrays at once, and every axis of the small ones."""
    yield [rng.standard_normal(a.shape) for a in arrays]
    for i, array in enumerate(arrays):
        if array.size <= 6:
            for j in range(array.size):
                axis = [np.zeros(a.shape) for a in arrays]
                axis[i].flat[j] = 1
                yield axis


def dot(a: Sequence[Array], b: Sequence[Array]) -> float:
    return float(sum((x * y).sum() for x, y in zip(a, b, strict=True)))


def check_slope(f: Any, at: list[Array], gradient: list[Array], what: str) -> None:
    """The gradient of f against central differences along `directions`."""
    size = np.sqrt(dot(gradient, gradient))
    for direction in directions(at, np.random.default_rng(7)):
        plus, minus = (f([x + step * d for x, d in zip(at, direction, strict=True)]) for step in (STEP, -STEP))
        slope = (plus - minus) / (2 * STEP)
        tolerance = 1e-6 * size + 1e-9 * max(abs(plus), abs(minus)) + 1e-8
        assert abs(slope - dot(gradient, direction)) <= tolerance, (
            f"{what}: the chain rule gives slope {dot(gradient, direction):.9g}, differences give {slope:.9g}"
        )


class Derivatives:
    """A case in float64 as a function of its differentiated inputs, and its first derivative as one of them too.

    Both are brought to one number: the outputs by the upstream gradients, the first derivative by a fixed random `v`.
    """

    def __init__(self, name: str, index: int) -> None:
        self.drawn, want = expected(name, index)
        self.function = FUNCTIONS[name]
        self.inputs = [a for a, wanted in zip(self.drawn.arrays, self.drawn.differentiated, strict=True) if wanted]
        self.real = [i for i, o in enumerate(want.outputs) if o.dtype == float64]
        # Where a value is infinite or NaN nothing is claimed.
        self.finite = [np.isfinite(want.outputs[i]) for i in self.real]
        self.upstream = weights_for(want.outputs)
        rng = np.random.default_rng(8)
        self.v = [rng.standard_normal(a.shape) for a in self.inputs]

    def forward(self, values: list[Array]) -> tuple[list[cool.Tensor], list[cool.Tensor]]:
        """Outputs, and the tensors made of `values`."""
        supply = iter(values)
        arrays = [next(supply) if w else a for a, w in zip(self.drawn.arrays, self.drawn.differentiated, strict=True)]
        tensors = to_tensors(self.drawn, arrays, float64)
        cool.manual_seed(0)
        outputs = self.drawn.call(self.function.call, tensors)
        return outputs, [t for t, wanted in zip(tensors, self.drawn.differentiated, strict=True) if wanted]

    def value(self, values: list[Array]) -> float:
        """The outputs as one number."""
        with cool.no_grad():
            outputs, _ = self.forward(values)
        parts = [(outputs[i].numpy()[ok], self.upstream[i][ok]) for i, ok in zip(self.real, self.finite, strict=True)]
        return dot(*zip(*parts, strict=True))

    def point(self) -> list[Array]:
        """What the first derivative depends on: the inputs and the upstream gradients."""
        return self.inputs + [self.upstream[i] for i in self.real]

    def first(self, values: list[Array]) -> tuple[list[cool.Tensor], list[cool.Tensor]]:
        """The first derivative at a point, and the tensors made of the point."""
        outputs, inputs = self.forward(values[: len(self.inputs)])
        upstream = [cool.tensor(w) for w in self.upstream]
        for i, w in zip(self.real, values[len(self.inputs) :], strict=True):
            upstream[i] = cool.tensor(w, requires_grad=True)
        return gradients_of(outputs, inputs, upstream, again=True), inputs + [upstream[i] for i in self.real]

    def first_value(self, values: list[Array]) -> float:
        """The first derivative as one number."""
        return dot([g.numpy() for g in self.first(values)[0]], self.v)

    def second(self) -> list[Array]:
        """The gradient of `first_value`."""
        gradients, inputs = self.first(self.point())
        return [g.numpy() for g in gradients_of(gradients, inputs, [cool.tensor(x) for x in self.v])]


@each_case
def test_gradient(name: str, index: int) -> None:
    """First and second derivatives of the reference agree with differences."""
    f = Derivatives(name, index)
    if f.inputs and f.real:
        check_slope(f.value, f.inputs, expected(name, index)[1].gradients, "first derivative")
        check_slope(f.first_value, f.point(), f.second(), "second derivative")


@each_case
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_torch(name: str, index: int) -> None:
    """The reference gives what PyTorch gives in float64, forward and backward."""
    import torch

    function = FUNCTIONS[name]
    drawn, want = expected(name, index)
    if function.torch is None or not drawn.case.torch:
        return
    tensors = [torch.tensor(a) for a in drawn.arrays]
    for tensor, wanted in zip(tensors, drawn.differentiated, strict=True):
        tensor.requires_grad_(wanted)
    outputs = drawn.call(functools.reduce(getattr, function.torch.split("."), torch), tensors)
    inputs = [t for t, wanted in zip(tensors, drawn.differentiated, strict=True) if wanted]
    pairs = [(o, torch.tensor(w)) for o, w in zip(outputs, weights_for(want.outputs), strict=True) if o.requires_grad]
    found: tuple[Any, ...] = (None,) * len(inputs)
    if pairs and inputs:
        found = torch.autograd.grad([o for o, _ in pairs], inputs, [w for _, w in pairs], allow_unused=True)
    gradients = [torch.zeros_like(t) if g is None else g for t, g in zip(inputs, found, strict=True)]
    got = Run(*([t.detach().numpy() for t in ts] for ts in (outputs, gradients, tensors)))
    compare(got, want, 1e-9, "torch")


@each_case
def test_meta(name: str, index: int) -> None:
    """Tensors without numbers give the shapes and types of those with numbers."""
    drawn, want = expected(name, index)
    tensors = [cool.meta(*a.shape, dtype=a.dtype) for a in drawn.arrays]
    outputs = drawn.call(FUNCTIONS[name].call, tensors)
    assert [(o.shape, o.dtype) for o in outputs] == [(o.shape, o.dtype) for o in want.outputs]


def test_every_operation_has_a_case() -> None:
    """No operation is without a case that runs it, as itself or in a first or second derivative."""
    with cool.record() as calls:
        for parameters in CASES:
            expected.__wrapped__(*parameters.values)
            Derivatives(*parameters.values).second()
    public = {op.name for op in OPS.values() if not type(op).__module__.startswith(APART)}
    missing = public - {call.op.name for call in calls}
    assert not missing, f"operations that no case of a public function runs: {sorted(missing)}"
