"""Kernels that update weights, in place and into fresh memory, against the operations' NumPy references in float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from kernel_harness import Array, check, prepare, spec_of

from coolnn.ops.op import OPS
from coolnn.spec import Spec

SIZES = [0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 50001]


def compare(
    name: str, attributes: dict[str, Any], arrays: list[Array | None], in_place: list[int], rtol: float
) -> None:
    """Checks a step whose outputs are those inputs that `in_place` names."""
    expected = OPS[name].reference(*(None if a is None else a.astype(np.float64) for a in arrays), **attributes)
    wanted = expected if isinstance(expected, tuple) else (expected,)
    check(name, attributes, arrays, wanted, rtol, in_place)
    check(name, attributes, arrays, wanted, rtol)


def arrays(size: int, count: int, shape: tuple[int, ...] | None = None) -> list[Array]:
    rng = np.random.default_rng(size)
    return list(rng.standard_normal((count, *(shape or (size,)))).astype(np.float32))


@pytest.mark.parametrize("size", SIZES)
def test_sgd(size: int) -> None:
    param, grad, buffer = arrays(size, 3)
    hyper = np.array([0.1, 0.5], np.float32)
    for momentum, nesterov, first in itertools.product((0.0, 0.9), (False, True), (False, True)):
        attributes = {"momentum": momentum, "dampening": 0.1, "weight_decay": 0.01}
        attributes |= {"nesterov": nesterov, "first": first}
        compare("sgd_step", attributes, [param, grad, None, hyper], [0], 2e-7)
        compare("sgd_step", attributes, [param, grad, buffer, hyper], [0, 2], 3e-7)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(size: int, decoupled: bool) -> None:
    param, grad, m, v = arrays(size, 4)
    for t in (1, 2, 1000):
        hyper = np.array([1e-2, 0.5, 1 - 0.9**t, 1 - 0.999**t], np.float32)
        attributes = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01, "decoupled": decoupled}
        compare("adam_step", attributes, [param, grad, m, np.abs(v), hyper], [0, 2, 3], 5e-7)


@pytest.mark.parametrize("size", SIZES)
def test_rmsprop(size: int) -> None:
    param, grad, square, buffer = arrays(size, 4)
    hyper = np.array([1e-2, 0.5], np.float32)
    attributes = {"alpha": 0.99, "eps": 1e-8, "weight_decay": 0.01, "momentum": 0.9}
    compare("rmsprop_step", attributes, [param, grad, np.abs(square), buffer, hyper], [0, 2, 3], 5e-7)
    compare("rmsprop_step", attributes, [param, grad, np.abs(square), None, hyper], [0, 2], 5e-7)


@pytest.mark.parametrize("size", SIZES)
def test_ema(size: int) -> None:
    average, param = arrays(size, 2)
    for decay in (0.0, 0.999, 1.0):
        compare("ema_step", {}, [average, param, np.array([decay], np.float32)], [0], 2e-7)


def test_weights_of_rank_four() -> None:
    param, grad, buffer = arrays(0, 3, (5, 3, 3, 7))
    hyper = np.array([0.1, 1.0], np.float32)
    attributes = {"momentum": 0.9, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, "first": False}
    compare("sgd_step", attributes, [param, grad, buffer, hyper], [0, 2], 2e-7)


def test_a_first_adam_step_without_gradient_moves_nothing() -> None:
    zero, param = np.zeros(5, np.float32), np.ones(5, np.float32)
    hyper = np.array([1e-3, 1.0, 0.1, 0.001], np.float32)
    attributes = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "decoupled": False}
    check("adam_step", attributes, [param, zero, zero, zero, hyper], [param, zero, zero], in_place=[0, 2, 3])


def test_unequal_lengths_are_refused() -> None:
    hyper = spec_of(np.zeros(1, np.float32))
    assert prepare("ema_step", {}, [Spec((3,)), Spec((4,)), hyper], [Spec((3,))]) is None
    assert prepare("ema_step", {}, [Spec((3,)), Spec((3,)), Spec((0,))], [Spec((3,))]) is None


PRODUCTS = [
    *itertools.product((9, 14, 15, 40), (9, 32, 33), (1, 7, 16)),
    *((5, 40, 9), (40, 5, 9), (3, 4, 0), (0, 4, 3), (12, 11, 600), (130, 2100, 8), (230, 300, 70)),
]


@pytest.mark.parametrize(("m", "n", "k"), PRODUCTS)
def test_update_by_a_product(m: int, n: int, k: int) -> None:
    """The reference has float64 products; the bound is that of a product's rounding."""
    rng = np.random.default_rng(m + n + k)
    param, buffer, square = (rng.standard_normal((m, n)).astype(np.float32) for _ in range(3))
    hyper = np.array([0.1, 0.5], np.float32)
    sgd = {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01, "nesterov": True, "first": False}
    for turn_a, turn_b in itertools.product((False, True), (False, True)):
        a = rng.standard_normal((k, m) if turn_a else (m, k)).astype(np.float32)
        b = rng.standard_normal((n, k) if turn_b else (k, n)).astype(np.float32)
        product = {"transpose_a": turn_a, "transpose_b": turn_b}
        attributes = {"update": "sgd_step", **product, **sgd}
        compare("matmul_update", attributes, [a, b, param, buffer, hyper], [2, 3], 2e-6)
        compare("matmul_update", attributes, [a, b, param, None, hyper], [2], 2e-6)
    adam = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-2, "weight_decay": 0.01, "decoupled": False}
    corrections = np.array([1e-2, 0.5, 0.1, 0.001], np.float32)
    arrays = [a, b, param, buffer, np.abs(square), corrections]
    compare("matmul_update", {"update": "adam_step", **product, **adam}, arrays, [2, 3, 4], 5e-6)
    rmsprop = {"alpha": 0.99, "eps": 1e-2, "weight_decay": 0.01, "momentum": 0.9}
    arrays = [a, b, param, np.abs(square), buffer, hyper]
    compare("matmul_update", {"update": "rmsprop_step", **product, **rmsprop}, arrays, [2, 3, 4], 5e-6)
