"""What is too large, negative or empty gives an error with words, never a crash, and never a short block of memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import test_ops
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import coolnn as cool
from coolnn import _core
from coolnn.ops import FUNCTIONS, Case, Sample
from coolnn.spec import float32

REFUSED = (ValueError, TypeError, MemoryError, IndexError, OverflowError, NotImplementedError)


@pytest.mark.parametrize("shape", [(2**32, 2**32), (2**32, 2**30), (2**33, 2**31), (2**62,), (0, 2**62, 4), (2**64,)])
def test_a_kernel_for_more_bytes_than_there_can_be(shape):
    with pytest.raises(ValueError, match=r"larger than any memory|below 2"):
        _core.prepare("relu", {}, ((0, shape),), ((0, shape),))


@pytest.mark.parametrize("shape", [(-1,), (-1, -5), (3, -(2**62))])
def test_negative_lengths(shape):
    with pytest.raises(ValueError, match="negative"):
        _core.prepare("relu", {}, ((0, shape),), ((0, shape),))


def test_nine_axes():
    with pytest.raises(ValueError, match="8 axes, not 9"):
        _core.prepare("relu", {}, ((0, (1,) * 9),), ((0, (1,) * 9),))


@pytest.mark.parametrize("size", [2**49, 2**63 + 5, 2**64 - 1])
def test_no_short_block_for_a_large_size(size):
    with pytest.raises(MemoryError, match="MiB; use a smaller"):
        _core.Buffer(size)


HUGE = {
    "broadcast": lambda: cool.ops.broadcast_to(cool.ones(1), (2**33, 2**31)),
    "pad": lambda: cool.ops.pad(cool.ones(1, 1, 4, 4), (2**40,) * 4),
    "conv2d": lambda: cool.ops.conv2d(cool.ones(1, 1, 4, 4), cool.ones(1, 1, 3, 3), padding=2**40),
    "beyond 64 bits": lambda: cool.ops.conv2d(cool.ones(1, 1, 4, 4), cool.ones(1, 1, 3, 3), padding=2**62),
    "dilation": lambda: cool.ops.conv2d(cool.ones(1, 1, 4, 4), cool.ones(1, 1, 3, 3), dilation=2**62),
    "zeros": lambda: cool.zeros(2**40, 2**40),
}


@pytest.mark.parametrize("name", HUGE)
def test_results_that_cannot_be(name):
    with pytest.raises((ValueError, MemoryError)) as caught:
        HUGE[name]()
    assert len(str(caught.value)) > 20  # words, not the name of a C++ type


def test_scores_without_classes():
    with pytest.raises(ValueError, match="no classes"):
        cool.ops.cross_entropy(cool.zeros(3, 0), cool.tensor(np.zeros(3, np.int64)), label_smoothing=0.1)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kernel", [(3, 0), (0, 3), (0, 0)])
def test_filters_without_numbers(kernel, groups):
    weight, bias = cool.zeros(4, 4 // groups, *kernel), cool.tensor([1.0, 2.0, 3.0, 4.0])
    y = cool.ops.conv2d(cool.ones(2, 4, 5, 5), weight, bias, groups=groups).numpy()
    assert y.shape == (2, 4, 6 - kernel[0], 6 - kernel[1])
    assert (y == np.array([1, 2, 3, 4]).reshape(1, 4, 1, 1)).all()


# --- any shapes, any settings ----------------------------------------------------------------------------------------

# Nothing between what fits easily and what cannot be: to prepare a convolution of 200 GB takes ten seconds.
LENGTHS = st.sampled_from([0, 1, 2, 3, 5, 17, 300, 2**45, 2**62])
NUMBERS = st.sampled_from([-(2**62), -(2**31), -3, -1, 0, 1, 2, 3, 7, 2**45, 2**62])
CASES = [(name, i) for name, function in sorted(FUNCTIONS.items()) for i in range(len(function.cases))]
SMALL = 1 << 16  # elements: what is larger is prepared, but not run


def changed(draw: Any, value: Any) -> Any:
    """An argument with one number in it replaced, if it has any."""
    if isinstance(value, Sample):
        if not value.shape:
            return value
        shape = list(value.shape)
        shape[draw(st.integers(0, len(shape) - 1))] = draw(LENGTHS)
        return value._replace(shape=tuple(shape))
    if isinstance(value, list | tuple) and value:
        place = draw(st.integers(0, len(value) - 1))
        return type(value)(changed(draw, v) if i == place else v for i, v in enumerate(value))
    return draw(NUMBERS) if isinstance(value, int) and not isinstance(value, bool) else value


@st.composite
def wild_cases(draw: Any) -> tuple[str, Case]:
    """A case of a public function with some of its arguments changed."""
    name, index = draw(st.sampled_from(CASES))
    case = FUNCTIONS[name].cases[index]
    args = [changed(draw, a) if draw(st.booleans()) else a for a in case.args]
    kwargs = {key: changed(draw, a) if draw(st.booleans()) else a for key, a in case.kwargs.items()}
    return name, Case(*args, **kwargs)


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")  # NumPy's, of references
@given(wild_cases())
@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_shapes_and_settings(wild: tuple[str, Case]) -> None:
    """Prepared always; run where it is small. Whatever is refused is refused by one of the usual errors."""
    name, case = wild
    found = [s for value in (*case.args, *case.kwargs.values()) for s in test_ops.samples(value)]
    rng = np.random.default_rng(0)
    call = FUNCTIONS[name].call
    try:
        metas = iter([cool.meta(*s.shape, dtype=s.dtype) for s in found])
        args = [test_ops.fill(a, metas) for a in case.args]
        kwargs = {key: test_ops.fill(a, metas) for key, a in case.kwargs.items()}
        outputs = call(*args, **kwargs)
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        if max([math.prod(t.shape) for t in (*outputs, *found)], default=0) > SMALL:
            return
        numbers = iter(
            [cool.tensor(np.asarray(s.draw(rng), float32 if s.dtype == float32 else s.dtype)) for s in found]
        )
        args = [test_ops.fill(a, numbers) for a in case.args]
        kwargs = {key: test_ops.fill(a, numbers) for key, a in case.kwargs.items()}
        call(*args, **kwargs)
    except REFUSED:
        pass
