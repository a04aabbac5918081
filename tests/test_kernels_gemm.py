"""Matrix products: every remainder of the tile, every way to lay out the operands, every number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_harness import Array, check, prepare, spec_of

RTOL = 2e-6


def draw(*shape: int) -> Array:
    seed = int(sum(31**i * n for i, n in enumerate(shape)) % 2**31)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def product(a: Array, b: Array, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.matmul(a.swapaxes(-1, -2) if transpose_a else a, b.swapaxes(-1, -2) if transpose_b else b)


def check_matmul(a: Array, b: Array, transpose_a: bool = False, transpose_b: bool = False) -> None:
    if transpose_a:
        a = np.ascontiguousarray(a.swapaxes(-1, -2))
    if transpose_b:
        b = np.ascontiguousarray(b.swapaxes(-1, -2))
    attributes = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    check("matmul", attributes, [a, b], product(a, b, transpose_a, transpose_b), RTOL)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 29])
@pytest.mark.parametrize("n", [1, 3, 15, 16, 17, 31, 32, 33])
def test_remainders_of_the_tile(m: int, n: int) -> None:
    for k in (1, 7, 33):
        for transpose_a in (False, True):
            for transpose_b in (False, True):
                check_matmul(draw(m, k), draw(k, n), transpose_a, transpose_b)


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [
        (300, 70, 600),
        (64, 120, 400),
        (5, 1100, 257),
        (640, 3, 31),
        (1, 1000, 512),
        (3, 70, 1001),
        (1000, 1, 512),
        (130, 530, 1000),
        (3, 1100, 300),
        (4, 200, 2000),
        (5, 70, 1500),
        (6, 300, 1024),
        (7, 530, 1100),
        (8, 61, 2100),
        (8, 1100, 50),
        (20, 2100, 70),
    ],
)
def test_blocks(m: int, n: int, k: int, transpose_a: bool, transpose_b: bool) -> None:
    check_matmul(draw(m, k), draw(k, n), transpose_a, transpose_b)


def test_several_stripes_of_the_second_operand() -> None:
    check_matmul(draw(120, 1300), draw(1300, 2200), transpose_b=True)
    check_matmul(draw(2, 120, 600), draw(2, 600, 4200))


def test_long_sum_is_split() -> None:
    check_matmul(draw(20, 40000), draw(40000, 30))
    check_matmul(draw(20, 40000), draw(40000, 30), transpose_a=True)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 4, 5), (3, 5, 6)),
        ((3, 4, 5), (5, 6)),
        ((4, 5), (3, 5, 6)),
        ((1, 4, 5), (7, 5, 6)),
        ((2, 1, 4, 5), (3, 5, 6)),
        ((2, 3, 20, 40), (2, 3, 40, 30)),
        ((2, 3, 4, 5), (5, 6)),
        ((2, 1, 3, 1, 4, 5), (7, 1, 2, 5, 3)),
        ((50, 1, 5), (5, 6)),
        ((1, 2, 3, 4, 5, 1, 3, 4), (4, 2)),
    ],
)
def test_batches(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    for transpose_a in (False, True):
        for transpose_b in (False, True):
            check_matmul(draw(*a), draw(*b), transpose_a, transpose_b)


@pytest.mark.parametrize(("m", "n", "k"), [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)])
def test_empty(m: int, n: int, k: int) -> None:
    check_matmul(draw(m, k), draw(k, n))
    check_matmul(draw(2, m, k), draw(k, n), transpose_b=True)
    check_matmul(draw(0, m, k), draw(k, n))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("shape", "outputs"),
    [
        ((64, 400), 120),
        ((1, 70), 33),
        ((70,), 5),
        ((2, 3, 7), 4),
        ((2, 3, 4, 5), 6),
        ((9, 5), 1),
        ((0, 5), 3),
        ((4, 0), 3),
    ],
)
def test_linear(shape: tuple[int, ...], outputs: int, bias: bool) -> None:
    x, weight, b = draw(*shape), draw(outputs, shape[-1]), draw(outputs) if bias else None
    expected = product(x, weight, transpose_b=True) + (0 if b is None else b.astype(np.float64))
    check("linear", {}, [x, weight, b], expected, RTOL)


def test_nan_and_infinity_stay_in_their_rows() -> None:
    a, b = draw(20, 30), draw(30, 40)
    a[3, 4], a[7, 2] = np.nan, np.inf
    check_matmul(a, b)


def test_other_types_are_left_to_the_reference() -> None:
    a = np.zeros((3, 3))
    assert (
        prepare("matmul", {"transpose_a": False, "transpose_b": False}, [spec_of(a), spec_of(a)], [spec_of(a)]) is None
    )
