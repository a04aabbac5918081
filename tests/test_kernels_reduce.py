"""Kernels that make one number of many."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from kernel_harness import Array, check, prepare, run_everywhere, spec_of

from coolnn.spec import Spec, int64

SIZES = [1, 2, 3, 7, 8, *range(15, 34), 63, 64, 65, 129, 1000, 70001]


def check_all(x: Array, dims: tuple[int, ...], keepdim: bool = False, rtol: float = 1.5e-7) -> None:
    """Sum and mean (of the magnitudes, so that nothing cancels) and extremes."""
    attributes = {"dims": dims, "keepdim": keepdim}
    size = np.abs(x) + np.float32(0.1)
    wide = size.astype(np.float64)
    check("sum", attributes, [size], np.asarray(wide.sum(dims, keepdims=keepdim)), rtol)
    check("mean", attributes, [size], np.asarray(wide.mean(dims, keepdims=keepdim)), rtol)
    check("amax", attributes, [x], np.asarray(x.max(dims, keepdims=keepdim)))
    check("amin", attributes, [x], np.asarray(x.min(dims, keepdims=keepdim)))


def check_places(x: Array, dim: int, keepdim: bool = False) -> None:
    attributes = {"dim": dim, "keepdim": keepdim}
    check("argmax", attributes, [x], np.asarray(x.argmax(dim, keepdims=keepdim)))
    check("argmin", attributes, [x], np.asarray(x.argmin(dim, keepdims=keepdim)))


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
def test_all_remainders(size: int) -> None:
    check_all(normal(size), (0,))
    check_all(normal(5, size), (1,))
    check_places(normal(size), 0)
    check_places(normal(3, size), 1)
    if size < 1000:
        check_all(normal(40, size), (0,))
        check_places(normal(40, size), 0)
        check_all(normal(size, 5), (0,))


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 3, 4), (2, 3, 4, 5), (2, 3, 1, 5), (2, 2, 3, 2, 3), (1, 1, 1, 1)])
@pytest.mark.parametrize("keepdim", [False, True])
def test_all_sets_of_axes(shape: tuple[int, ...], keepdim: bool) -> None:
    x = normal(*shape)
    for count in range(len(shape) + 1):
        for dims in itertools.combinations(range(len(shape)), count):
            check_all(x, dims, keepdim)
    for dim in range(len(shape)):
        check_places(x, dim, keepdim)


@pytest.mark.parametrize(
    "shape, dims",
    [
        ((8, 24, 30, 31), (0, 2, 3)),  # a bias gradient
        ((8, 3, 60, 61), (0, 2, 3)),
        ((3, 1, 200, 201), (0, 2, 3)),
        ((8, 600, 7, 7), (2, 3)),
        ((2, 2100, 9, 10), (2, 3)),
        ((5, 48, 30, 31), (1,)),
        ((5, 48, 30, 31), (0, 1)),
        ((5, 6, 70, 31), (3,)),
        ((5, 6, 70, 31), (0, 3)),
        ((5, 6, 70, 31), (1, 2)),
        ((70000, 3), (0,)),
        ((70000, 3), (1,)),
        ((3, 70000), (0,)),
        ((2, 40000, 2), (1,)),
    ],
)
def test_large(shape: tuple[int, ...], dims: tuple[int, ...]) -> None:
    check_all(normal(*shape), dims)
    for dim in dims:
        check_places(normal(*shape), dim)


def test_long_sums_are_accurate() -> None:
    rng = np.random.default_rng(0)
    x = rng.random(3_000_001, np.float32)
    check("sum", {"dims": (0,), "keepdim": False}, [x], np.asarray(x.sum(dtype=np.float64)), rtol=1e-7, threads=(1, 3))
    x = x[:3_000_000].reshape(300_000, 10)
    check("sum", {"dims": (0,), "keepdim": False}, [x], x.sum(0, dtype=np.float64), rtol=1e-7, threads=(1, 3))


def test_nan_and_infinity() -> None:
    for shape in [(40, 37), (3, 5), (37, 2)]:
        for dims in [(0,), (1,), (0, 1)]:
            x = normal(*shape)
            x[1, 1] = np.nan
            x[2, 0] = np.inf
            attributes = {"dims": dims, "keepdim": False}
            with np.errstate(all="ignore"):
                check("amax", attributes, [x], np.asarray(x.max(dims)))
                check("amin", attributes, [x], np.asarray(x.min(dims)))
                check("sum", attributes, [x], np.asarray(x.astype(np.float64).sum(dims)), rtol=1e-5)
            x[0, 0] = np.nan
            x[2, 1] = np.nan
            if len(dims) == 1:
                check_places(x, dims[0])
    check_all(np.full(50, -np.inf, np.float32), (0,), rtol=0)


def test_first_of_equal_numbers() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (70, 90)).astype(np.float32)
    for dim in (0, 1):
        check_places(x, dim)
    check_places(rng.integers(0, 3, (2, 5, 40, 3)).astype(np.float32), 2)
    check_places(np.zeros((3, 100), np.float32), 1)
    check_places(np.full((3, 100), -np.inf, np.float32), 1)


def test_no_numbers() -> None:
    for shape, dims in [((4, 0), (1,)), ((0, 4), (0,)), ((0, 4), (1,)), ((2, 0, 3, 4), (1, 2)), ((0,), (0,))]:
        x = np.zeros(shape, np.float32)
        attributes = {"dims": dims, "keepdim": False}
        check("sum", attributes, [x], np.asarray(x.sum(dims)))
        want = x.sum(dims)
        for (mean,) in run_everywhere("mean", attributes, [x], [np.asarray(want)]).values():
            assert np.isnan(mean).all()
    empty = np.zeros((0, 4), np.float32)
    assert prepare("amax", {"dims": (0,), "keepdim": False}, [spec_of(empty)], [Spec((4,))]) is None
    assert prepare("argmax", {"dim": 0, "keepdim": False}, [spec_of(empty)], [Spec((4,), int64)]) is None
    check("argmax", {"dim": 1, "keepdim": False}, [empty], np.zeros(0, np.int64))
