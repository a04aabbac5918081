"""Kernels that act on each element alone, against NumPy in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_harness import ISAS, Array, check, engine, prepare, run, run_everywhere, spec_of, ulp_error

from coolnn.spec import Spec, boolean, float32, float64, int32, int64, uint8

SIZES = [0, 1, 2, 3, 7, 8, *range(15, 34), 1000, 70001]
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3.4e38, -3.4e38], np.float32)

erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def normal_below(x: Array) -> Array:
    return 0.5 * (1 + erf(x / math.sqrt(2)))


def gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def numerical_slope(f: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda g, x: g * (f(x + 1e-5) - f(x - 1e-5)) / 2e-5


def softplus(beta: float, threshold: float) -> Callable[[Array], Array]:
    return lambda x: np.where(x * beta > threshold, x, np.log1p(np.exp(np.minimum(x * beta, 700))) / beta)


# name, attributes, reference, bound on the error in units in the last place over [low, high]
UNARY: list[tuple[str, dict[str, Any], Callable[[Array], Array], float, float, float]] = [
    ("neg", {}, lambda x: -x, 0, -9, 9),
    ("abs", {}, np.abs, 0, -9, 9),
    ("exp", {}, np.exp, 1, -104, 89),
    ("log", {}, np.log, 1, 0, 1e38),
    ("log", {}, np.log, 1, 0, 3),
    ("sqrt", {}, np.sqrt, 0.5, 0, 1e30),
    ("rsqrt", {}, lambda x: 1 / np.sqrt(x), 1.5, 1e-30, 1e30),
    ("sign", {}, np.sign, 0, -1, 1),
    ("floor", {}, np.floor, 0, -1e7, 1e7),
    ("square", {}, np.square, 0.5, -9, 9),
    ("reciprocal", {}, lambda x: 1 / x, 0.5, -9, 9),
    ("erf", {}, erf, 1.5, -5, 5),
    ("sin", {}, np.sin, 1, -100, 100),
    ("cos", {}, np.cos, 1, -100, 100),
    ("relu", {}, lambda x: np.maximum(x, 0), 0, -9, 9),
    ("relu6", {}, lambda x: np.clip(x, 0, 6), 0, -9, 9),
    ("leaky_relu", {"negative_slope": 0.25}, lambda x: np.where(x > 0, x, 0.25 * x), 0.5, -9, 9),
    ("clip", {"min": -1.5, "max": 2.0}, lambda x: np.clip(x, -1.5, 2), 0, -9, 9),
    ("clip", {"min": None, "max": 2}, lambda x: np.minimum(x, 2), 0, -9, 9),
    ("clip", {"min": 1.0, "max": None}, lambda x: np.maximum(x, 1), 0, -9, 9),
    ("sigmoid", {}, sigmoid, 2.5, -80, 90),
    ("tanh", {}, np.tanh, 1.5, -12, 12),
    ("silu", {}, lambda x: x * sigmoid(x), 3, -80, 90),
    ("softplus", {"beta": 1.0, "threshold": 20.0}, softplus(1, 20), 2.5, -60, 30),
    ("softplus", {"beta": 2.0, "threshold": 5.0}, softplus(2, 5), 2.5, -30, 9),
    ("softplus", {"beta": 1.0, "threshold": 500.0}, softplus(1, 500), 2.5, -60, 400),
]
# Those that cancel where they are near zero: bound on the error relative to the greatest value.
CANCELLING: list[tuple[str, dict[str, Any], Callable[[Array], Array], float]] = [
    ("hardswish", {}, lambda x: x * np.clip(x + 3, 0, 6) / 6, 2e-7),
    ("gelu", {"approximate": "none"}, lambda x: x * normal_below(x), 2e-7),
    ("gelu", {"approximate": "tanh"}, gelu_tanh, 2e-7),
]


@pytest.mark.parametrize(
    "name, attributes, reference, bound, low, high", UNARY, ids=lambda v: v if isinstance(v, str) else ""
)
def test_unary_is_exact_to_the_last_places(
    name: str, attributes: dict[str, Any], reference: Callable[[Array], Array], bound: float, low: float, high: float
) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(low, high, 20011).astype(np.float32)
    x[:2000] *= np.float32(10.0) ** -rng.integers(0, 30, 2000).astype(np.float32)
    exact = reference(x.astype(np.float64))
    for isa, (y,) in run_everywhere(name, attributes, [x], [x.shape]).items():
        error = ulp_error(y, exact)
        worst = int(np.argmax(error))
        assert error[worst] <= bound, (
            f"{name} on {isa}: {error[worst]:.2f} ulp at {x[worst]!r}: {y[worst]!r}, {exact[worst]!r}"
        )


@pytest.mark.parametrize("name, attributes, reference, bound", CANCELLING)
def test_cancelling_unary(
    name: str, attributes: dict[str, Any], reference: Callable[[Array], Array], bound: float
) -> None:
    x = np.random.default_rng(1).uniform(-8, 8, 20011).astype(np.float32)
    check(name, attributes, [x], reference(x.astype(np.float64)), rtol=bound)


@pytest.mark.parametrize("size", SIZES)
def test_all_remainders(size: int) -> None:
    rng = np.random.default_rng(size)
    x, g = rng.standard_normal((2, size)).astype(np.float32)
    wide = x.astype(np.float64)
    check("relu", {}, [x], np.maximum(x, 0))
    check("tanh", {}, [x], np.tanh(wide))
    check("sin", {}, [x], np.sin(wide))
    check("relu_grad", {}, [g, x], np.where(x > 0, g, np.float32(0)))
    check("add", {}, [x, g], x + g)
    check("pow", {}, [np.abs(x), g], np.power(np.abs(wide), g.astype(np.float64)))
    check("lt", {}, [x, g], x < g)
    check("where", {}, [x > 0, x, g], np.where(x > 0, x, g))


def test_shapes_of_all_ranks() -> None:
    for shape in [(), (3,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 2, 2, 2), (2, 0, 3, 4)]:
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        check("relu", {}, [x], np.maximum(x, 0))


GRADIENTS: list[tuple[str, dict[str, Any], Callable[[Array, Array], Array]]] = [
    ("relu_grad", {}, lambda g, y: np.where(y > 0, g, 0.0)),
    ("relu6_grad", {}, lambda g, x: np.where((x > 0) & (x < 6), g, 0.0)),
    ("leaky_relu_grad", {"negative_slope": 0.25}, lambda g, x: np.where(x > 0, g, 0.25 * g)),
    ("clip_grad", {"min": -1.5, "max": 2.0}, lambda g, x: np.where((x >= -1.5) & (x <= 2), g, 0.0)),
    ("clip_grad", {"min": None, "max": 2.0}, lambda g, x: np.where(x <= 2, g, 0.0)),
    ("sigmoid_grad", {}, lambda g, y: g * y * (1 - y)),
    ("tanh_grad", {}, lambda g, y: g * (1 - y * y)),
    ("silu_grad", {}, lambda g, x: g * sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    ("hardswish_grad", {}, lambda g, x: g * np.where(x <= -3, 0.0, np.where(x >= 3, 1.0, x / 3 + 0.5))),
    ("softplus_grad", {"beta": 2.0, "threshold": 4.0}, lambda g, x: g * np.where(2 * x > 4, 1.0, sigmoid(2 * x))),
    ("gelu_grad", {"approximate": "none"}, numerical_slope(lambda x: x * normal_below(x))),
    ("gelu_grad", {"approximate": "tanh"}, numerical_slope(gelu_tanh)),
]


@pytest.mark.parametrize("name, attributes, reference", GRADIENTS, ids=lambda v: v if isinstance(v, str) else "")
def test_gradients(name: str, attributes: dict[str, Any], reference: Callable[[Array, Array], Array]) -> None:
    for size in (1, 21, 70001):
        g, x = (np.random.default_rng(size).standard_normal((2, size)) * 4).astype(np.float32)
        check(name, attributes, [g, x], reference(g.astype(np.float64), x.astype(np.float64)), rtol=1e-6)


def test_special_values() -> None:
    zeros = np.zeros(9, np.float32)
    wide = SPECIAL.astype(np.float64)
    for x in (SPECIAL, np.concatenate([SPECIAL, zeros])):  # as a remainder and inside a whole vector
        wide = x.astype(np.float64)
        with np.errstate(all="ignore"):
            exact: dict[str, Array] = {
                "relu": np.maximum(wide, 0),
                "relu6": np.clip(wide, 0, 6),
                "exp": np.exp(wide),
                "log": np.log(wide),
                "sqrt": np.sqrt(wide),
                "abs": np.abs(wide),
                "sign": np.sign(wide),
                "floor": np.floor(wide),
                "sigmoid": sigmoid(wide),
                "tanh": np.tanh(wide),
                "erf": erf(wide),
                "sin": np.sin(wide),
            }
        for name, want in exact.items():
            for isa, (y,) in run_everywhere(name, {}, [x], [x.shape]).items():
                assert ulp_error(y, want).max() <= 1.5, f"{name} on {isa}: {y} is not {want}"
        check("clip", {"min": -1.0, "max": 1.0}, [x], np.clip(x, -1, 1))
        check("leaky_relu", {"negative_slope": 0.5}, [x], np.where(wide > 0, wide, wide * 0.5).astype(np.float32))
        ones = np.ones_like(x)
        (gelu,) = run("gelu", {"approximate": "none"}, [x], [x.shape])
        assert np.isnan(gelu[6])
        (grad,) = run("relu_grad", {}, [ones * np.nan, ones], [x.shape])
        assert np.isnan(grad).all()
    (negative_zero,) = run("floor", {}, [np.array([-0.0], np.float32)], [(1,)])
    assert np.signbit(negative_zero).all()


@pytest.mark.parametrize("name", ["add", "maximum", "minimum", "div", "pow", "eq", "ne", "lt", "le", "gt", "ge"])
def test_special_values_of_binary(name: str) -> None:
    a, b = (v.reshape(-1).copy() for v in np.meshgrid(SPECIAL, SPECIAL))
    functions = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater"}
    functions |= {"ge": "greater_equal", "div": "divide", "pow": "power"}
    with np.errstate(all="ignore"):
        want = getattr(np, functions.get(name, name))(a, b)
    check(name, {}, [a, b], want)


# Shapes of two operands: every rank, channels-last with row-major, scalars, both operands repeated.
BROADCASTS = [
    ((), ()),
    ((5,), ()),
    ((), (5,)),
    ((1,), (7,)),
    ((33,), (33,)),
    ((2, 3), (3,)),
    ((3, 1), (1, 5)),
    ((4, 1, 3), (2, 1)),
    ((2, 3, 5), (2, 3, 5)),
    ((2, 3, 5), (3, 1)),
    ((2, 20, 3, 4), (20, 1, 1)),
    ((2, 3, 4, 5), (3, 1, 1)),
    ((2, 70, 4, 5), (70, 1, 1)),
    ((2, 70, 4, 5), (1, 70, 1, 1)),
    ((2, 70, 4, 5), (2, 1, 4, 5)),
    ((2, 3, 4, 5), (2, 1, 4, 5)),
    ((2, 3, 4, 5), (2, 3, 1, 1)),
    ((2, 3, 4, 5), (3, 4, 5)),
    ((2, 3, 4, 5), (4, 5)),
    ((2, 3, 4, 5), (5,)),
    ((2, 3, 4, 5), (4, 1)),
    ((2, 3, 4, 5), ()),
    ((2, 3, 4, 5), (1, 1, 1, 1)),
    ((2, 1, 4, 1), (1, 3, 1, 5)),
    ((1, 3, 4, 5), (2, 1, 1, 1)),
    ((2, 3, 1, 5), (1, 1, 4, 5)),
    ((2, 2, 3, 4, 5), (2, 3, 4, 5)),
    ((2, 2, 3, 4, 5), (2, 3, 1, 1)),
    ((2, 1, 3, 1, 5), (4, 1, 6, 1)),
    ((2, 3, 2, 2, 2, 2), (3, 2, 1, 1, 2)),
    ((0, 3, 4, 5), (3, 1, 1)),
    ((2, 0, 4, 5), (1, 1, 1)),
    ((0,), (1,)),
    ((2, 3, 211, 60), (3, 1, 1)),
    ((3, 40000), (3, 1)),
    ((40000, 3), (40000, 1)),
    ((300, 301), (301,)),
]


@pytest.mark.parametrize("left, right", BROADCASTS)
def test_broadcasting(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal(left).astype(np.float32), rng.standard_normal(right).astype(np.float32)
    check("sub", {}, [a, b], np.asarray(a - b))
    check("sub", {}, [b, a], np.asarray(b - a))
    check("gt", {}, [a, b], np.asarray(a > b))
    check("le", {}, [b, a], np.asarray(b <= a))
    mask = rng.random(left) < 0.5
    check("where", {}, [mask, a, b], np.where(mask, a, b))
    check(
        "where", {}, [np.asarray(b > 0), a, np.float32(2) * np.ones((), np.float32)], np.where(b > 0, a, np.float32(2))
    )
    check(
        "where",
        {},
        [np.asarray(b > 0), np.ones(1, np.float32), b],
        np.where(b > 0, np.float32(1), b).reshape(np.broadcast_shapes(right, (1,))),
    )


def test_broadcasting_three_ways() -> None:
    rng = np.random.default_rng(4)
    shapes = [(2, 1, 4, 1), (3, 1, 1), (1, 1, 1, 5)]
    for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1]):
        m, a, b = (rng.standard_normal(shapes[i]).astype(np.float32) for i in order)
        check("where", {}, [m > 0, a, b], np.where(m > 0, a, b))


@pytest.mark.parametrize(
    "name, function", [("add", np.add), ("mul", np.multiply), ("div", np.divide), ("pow", np.power)]
)
def test_arithmetic(name: str, function: Callable[[Array, Array], Array]) -> None:
    rng = np.random.default_rng(5)
    a, b = rng.uniform(0.5, 3, (2, 70001)).astype(np.float32)
    exact = function(a.astype(np.float64), b.astype(np.float64))
    for (y,) in run_everywhere(name, {}, [a, b], [a.shape]).values():
        assert ulp_error(y, exact).max() <= (1 if name == "pow" else 0.5)
    check(name, {}, [a, np.float32(2).reshape(())], function(a, np.float32(2)))


@pytest.mark.parametrize("dtype", [uint8, int32, int64, boolean, float64], ids=str)
@pytest.mark.parametrize("size", [0, 1, 33, 1000])
def test_cast(dtype: np.dtype[Any], size: int) -> None:
    rng = np.random.default_rng(size)
    x = (rng.uniform(0, 255, size) * (rng.random(size) < 0.8)).astype(np.float32)
    if dtype != boolean and dtype != uint8:
        x = x - np.float32(100)
    y = rng.integers(0, 2, size).astype(bool) if dtype == boolean else rng.integers(0, 200, size).astype(dtype)
    for isa in ISAS:
        with engine(isa):
            (there,) = run("cast", {"dtype": dtype.name}, [x], [Spec(x.shape, dtype)])
            np.testing.assert_array_equal(there, x.astype(dtype))
            (back,) = run("cast", {"dtype": "float32"}, [y], [Spec(x.shape, float32)])
            np.testing.assert_array_equal(back, y.astype(np.float32))


def test_other_types_are_refused() -> None:
    x = np.ones(3)
    assert prepare("add", {}, [spec_of(x), spec_of(x)], [spec_of(x)]) is None
    assert prepare("relu", {}, [spec_of(x)], [spec_of(x)]) is None
    assert prepare("relu_grad", {}, [spec_of(x), spec_of(x)], [spec_of(x)]) is None
    i = np.ones(3, np.int64)
    assert prepare("eq", {}, [spec_of(i), spec_of(i)], [Spec((3,), boolean)]) is None
    assert prepare("where", {}, [spec_of(i), spec_of(x), spec_of(x)], [spec_of(x)]) is None
