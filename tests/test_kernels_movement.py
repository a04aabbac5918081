"""Kernels that move numbers: exact for every type, shape and storage order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_harness import Array, check, prepare, run_everywhere, spec_of

from coolnn.spec import Spec

TYPES = [np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_]


def numbers(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Numbers that tell places apart."""
    array: Array = ((np.arange(int(np.prod(shape)), dtype=np.int64) * 7919) % 100_003).reshape(shape)
    return (array % 3 == 0) if dtype == np.bool_ else array.astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_types(dtype: Any) -> None:
    x = numbers((2, 3, 4, 5), dtype)
    check("permute", {"dims": (3, 1, 0, 2)}, [x], x.transpose(3, 1, 0, 2).copy(), exact=True)
    check("reshape", {"shape": (6, 20)}, [x], x.reshape(6, 20), exact=True)
    check("broadcast_to", {"shape": (2, 2, 3, 4, 5)}, [x], np.broadcast_to(x, (2, 2, 3, 4, 5)).copy(), exact=True)
    check("flip", {"dims": (1, 3)}, [x], np.flip(x, (1, 3)).copy(), exact=True)
    bounds = {"starts": (0, 1, 0, 1), "stops": (1, 3, 4, 5), "steps": (1, 1, 2, 3)}
    part = x[0:1, 1:3, 0:4:2, 1:5:3]
    check("slice", bounds, [x], part.copy(), exact=True)
    full = np.zeros_like(x)
    full[0:1, 1:3, 0:4:2, 1:5:3] = part
    check("slice_grad", {"shape": x.shape, **bounds}, [part], full, exact=True)
    check("concat", {"dim": 1}, [x, x[:, :1], x], np.concatenate([x, x[:, :1], x], 1), exact=True)
    padding = ((1, 0), (0, 2), (3, 1), (0, 0))
    attributes = {"before": (1, 0, 3, 0), "after": (0, 2, 1, 0), "value": 1.0}
    check("pad", attributes, [x], np.pad(x, padding, constant_values=1), exact=True)
    index = np.array([3, 0, 0, 2])
    check("take", {"dim": 2}, [x, index], np.take(x, index, 2), exact=True)
    places = np.arange(2 * 3 * 4 * 2).reshape(2, 3, 4, 2) % 5
    check("gather", {"dim": 3}, [x, places], np.take_along_axis(x, places, 3), exact=True)


PERMUTATIONS = [
    ((), ()),
    ((5,), (0,)),
    ((5, 7), (1, 0)),
    ((33, 47), (1, 0)),
    ((300, 260), (1, 0)),
    ((2, 3, 4), (2, 0, 1)),
    ((2, 17, 4, 19), (0, 2, 3, 1)),
    ((2, 4, 19, 17), (0, 3, 1, 2)),
    ((2, 3, 4, 5), (0, 1, 3, 2)),
    ((2, 3, 4, 5), (3, 2, 1, 0)),
    ((1, 64, 30, 31), (0, 2, 1, 3)),
    ((2, 3, 2, 3, 5), (4, 2, 0, 3, 1)),
    ((2, 0, 3), (1, 2, 0)),
    ((2, 1, 3, 1, 2, 2), (5, 0, 4, 1, 2, 3)),
]


@pytest.mark.parametrize("shape, dims", PERMUTATIONS)
def test_permute(shape: tuple[int, ...], dims: tuple[int, ...]) -> None:
    for dtype in (np.float32, np.int64, np.uint8):
        x = numbers(shape, dtype)
        check("permute", {"dims": dims}, [x], x.transpose(dims).copy(), exact=True)


RESHAPES = [
    ((), (1, 1, 1, 1)),
    ((6,), (2, 3)),
    ((2, 3, 4, 5), (120,)),
    ((2, 3, 4, 5), (2, 60)),
    ((2, 60), (2, 3, 4, 5)),
    ((2, 3, 4, 5), (6, 4, 5)),
    ((2, 3, 4, 5), (2, 3, 20)),
    ((2, 3, 4, 5), (2, 3, 2, 2, 5)),
    ((2, 3, 4, 5), (2, 3, 10, 2)),
    ((2, 3, 4, 5), (3, 2, 5, 4)),
    ((4, 6, 4, 9), (6, 4, 9, 4)),
    ((4, 6, 4, 9), (2, 2, 2, 3, 36)),
    ((4, 9, 2, 1), (6, 12)),
    ((2, 64, 14, 15), (2, 13440)),
    ((2, 13440), (2, 64, 14, 15)),
    ((1, 3, 65, 70), (1, 13650)),
    ((3, 0, 4, 2), (0, 7)),
    ((1, 2, 1, 3, 1, 4), (4, 1, 6, 1)),
]


@pytest.mark.parametrize("before, after", RESHAPES)
def test_reshape(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    for dtype in (np.float32, np.int64, np.uint8):
        x = numbers(before, dtype)
        check("reshape", {"shape": after}, [x], x.reshape(after), exact=True)


@pytest.mark.parametrize(
    "before, after",
    [
        ((), (3, 4)),
        ((1,), (0,)),
        ((3, 1), (3, 5)),
        ((3, 1, 1), (2, 3, 4, 5)),
        ((4, 5), (2, 3, 4, 5)),
        ((2, 1, 4, 1), (2, 3, 4, 5)),
        ((2, 3, 4, 5), (6, 2, 3, 4, 5)),
        ((1, 70, 1, 1), (2, 70, 20, 30)),
    ],
)
def test_broadcast_to(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    x = numbers(before)
    check("broadcast_to", {"shape": after}, [x], np.broadcast_to(x, after).copy(), exact=True)


def test_flip() -> None:
    for shape, dims in [((7,), (0,)), ((4, 9), (1,)), ((2, 3, 4, 5), (2, 3)), ((2, 0, 3), (1, 2)), ((33, 40), (0, 1))]:
        x = numbers(shape)
        check("flip", {"dims": dims}, [x], np.flip(x, dims).copy(), exact=True)


@pytest.mark.parametrize(
    "shape, bounds",
    [
        ((9,), [(2, 7, 1)]),
        ((9,), [(0, 9, 4)]),
        ((9,), [(3, 3, 1)]),
        ((5, 6), [(1, 4, 2), (0, 6, 5)]),
        ((2, 3, 4, 5), [(0, 2, 1), (0, 3, 1), (1, 3, 1), (1, 4, 1)]),
        ((2, 3, 4, 5), [(0, 2, 1), (1, 2, 1), (0, 4, 3), (0, 5, 1)]),
        ((2, 3, 4, 5), [(0, 2, 1), (2, 2, 1), (0, 4, 3), (0, 5, 1)]),
        ((2, 30, 40, 50), [(1, 2, 1), (5, 25, 1), (0, 40, 2), (3, 50, 3)]),
        ((2, 3, 2, 5, 4), [(0, 2, 1), (0, 3, 2), (1, 2, 1), (2, 5, 1), (0, 4, 1)]),
    ],
)
def test_slice(shape: tuple[int, ...], bounds: list[tuple[int, int, int]]) -> None:
    x = numbers(shape)
    starts, stops, steps = zip(*bounds, strict=True)
    attributes = {"starts": starts, "stops": stops, "steps": steps}
    place = tuple(slice(*b) for b in bounds)
    check("slice", attributes, [x], x[place].copy(), exact=True)
    full = np.zeros_like(x)
    full[place] = x[place]
    check("slice_grad", {"shape": shape, **attributes}, [x[place]], full, exact=True)


@pytest.mark.parametrize(
    "shape, before, after",
    [
        ((5,), (0,), (0,)),
        ((5,), (2,), (0,)),
        ((3, 4), (1, 2), (0, 3)),
        ((2, 3, 4, 5), (0, 0, 1, 1), (0, 0, 1, 1)),
        ((2, 3, 4, 5), (1, 1, 0, 2), (0, 2, 3, 0)),
        ((0, 3, 4, 5), (1, 0, 0, 0), (1, 0, 0, 0)),
        ((2, 20, 30, 40), (0, 0, 3, 2), (0, 0, 1, 0)),
    ],
)
def test_pad(shape: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...]) -> None:
    x = numbers(shape)
    for value in (0, -2.5):
        want = np.pad(x, tuple(zip(before, after, strict=True)), constant_values=value)
        check("pad", {"before": before, "after": after, "value": value}, [x], want, exact=True)


@pytest.mark.parametrize("dim", [0, 1, 2, 3])
def test_concat(dim: int) -> None:
    parts = []
    for length in (2, 0, 5, 1):
        shape = [3, 4, 6, 7]
        shape[dim] = length
        parts.append(numbers(tuple(shape)))
    check("concat", {"dim": dim}, parts, np.concatenate(parts, dim), exact=True)
    check("concat", {"dim": dim}, parts[:1], parts[0], exact=True)


@pytest.mark.parametrize("shape", [(6,), (5, 7), (2, 6, 5, 7), (3, 4, 5, 2, 6), (1, 70, 30, 31), (0, 4)])
def test_take(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    for dim, length in enumerate(shape):
        for count in (0, 1, 11):
            index = rng.integers(0, max(length, 1), count if length else 0)
            want = np.take(x, index, dim)
            check("take", {"dim": dim}, [x, index], want, exact=True)
            full = np.zeros(shape)
            np.add.at(np.moveaxis(full, dim, 0), index, np.moveaxis(want, dim, 0))
            check("take_grad", {"dim": dim, "size": length}, [want, index], full)


@pytest.mark.parametrize("shape", [(6,), (5, 7), (2, 6, 5, 7), (3, 4, 2, 6, 2), (40, 20, 7, 11)])
def test_gather(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    for dim, length in enumerate(shape):
        for count in (0, 1, 5):
            index_shape = (*shape[:dim], count, *shape[dim + 1 :])
            index = rng.integers(0, length, index_shape)
            want = np.take_along_axis(x, index, dim)
            check("gather", {"dim": dim}, [x, index], want, exact=True)
            full = np.zeros(shape)
            places: list[Array] = list(np.indices(index_shape, sparse=True))
            places[dim] = index
            np.add.at(full, tuple(places), want)
            check("gather_grad", {"dim": dim, "size": length}, [want, index], full)


def test_places_that_are_not_there_do_no_harm() -> None:
    x = np.ones((3, 4), np.float32)
    index = np.array([0, 3, -1, 1 << 40])
    for (y,) in run_everywhere("take", {"dim": 0}, [x, index], [(4, 4)]).values():
        assert y[0].all() and not y[1:].any()
    for (y,) in run_everywhere("take_grad", {"dim": 0, "size": 3}, [np.ones((4, 4), np.float32), index], [x]).values():
        assert y[0].all() and not y[1:].any()
    places = np.array([[0, 9, -5, 1]])
    for (y,) in run_everywhere("gather", {"dim": 1}, [x, places], [(1, 4)]).values():
        assert y.tolist() == [[1, 0, 0, 1]]
    ones = np.ones((1, 4), np.float32)
    for (y,) in run_everywhere("gather_grad", {"dim": 1, "size": 4}, [ones, places], [x]).values():
        assert y.sum() == 2


def test_parts_that_are_not_there_are_refused() -> None:
    x = Spec((3, 4))
    bounds: dict[str, Any] = {"starts": (1, 0), "stops": (4, 4), "steps": (1, 1)}
    assert prepare("slice", bounds, [x], [Spec((3, 4))]) is None
    assert prepare("pad", {"before": (-1, 0), "after": (0, 0), "value": 0}, [x], [Spec((2, 4))]) is None
    assert prepare("take", {"dim": 2}, [x, spec_of(np.zeros(1, np.int64))], [x]) is None
    assert prepare("reshape", {"shape": (5,)}, [x], [Spec((5,))]) is None
