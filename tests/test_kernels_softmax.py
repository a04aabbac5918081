"""Softmax and cross entropy kernels against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_harness import Array, check, prepare, run, spec_of

from coolnn.spec import Spec

RNG = np.random.default_rng(2)
LENGTHS = (1, 2, 3, 6, 7, 8, 15, 16, 17, 33, 100)


def normal(*shape: int) -> Array:
    return (RNG.standard_normal(shape) * 3).astype(np.float32)


def log_softmax(x: Array, dim: int) -> Array:
    x = x.astype(np.float64)
    shifted = x - x.max(dim, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(dim, keepdims=True))


def check_softmax(x: Array, dim: int, threads: tuple[int, ...] = (1, 3)) -> None:
    log_y = log_softmax(x, dim)
    y, grad = np.exp(log_y), normal(*x.shape)
    check("softmax", {"dim": dim}, [x], y, rtol=1e-6, threads=threads)
    check("log_softmax", {"dim": dim}, [x], log_y, rtol=5e-7, threads=threads)
    saved, log_saved = y.astype(np.float32), log_y.astype(np.float32)
    dx = saved.astype(np.float64) * (grad - (grad.astype(np.float64) * saved).sum(dim, keepdims=True))
    check("softmax_grad", {"dim": dim}, [grad, saved], dx, rtol=3e-6, threads=threads)
    dx = grad - np.exp(log_saved.astype(np.float64)) * grad.astype(np.float64).sum(dim, keepdims=True)
    check("log_softmax_grad", {"dim": dim}, [grad, log_saved], dx, rtol=3e-6, threads=threads)


@pytest.mark.parametrize("n", LENGTHS)
def test_softmax_of_each_length(n: int) -> None:
    check_softmax(normal(5, n), 1)
    check_softmax(normal(n, 19), 0)
    check_softmax(normal(2, n, 3, 4), 1)
    check_softmax(normal(2, 5, n, 3), 2)


@pytest.mark.parametrize("dim", range(5))
def test_softmax_along_each_axis(dim: int) -> None:
    for rank in range(dim + 1, 6):
        check_softmax(normal(*(3, 4, 2, 5, 7)[:rank]), dim)


def test_softmax_in_many_chunks() -> None:
    check_softmax(normal(3, 21, 40, 30), 1, (1, 2, 3))
    check_softmax(normal(3, 21, 40, 30), 2, (1, 2, 3))
    check_softmax(normal(50, 1000), 1, (1, 2, 3))
    check_softmax(normal(1000, 200), 0, (1, 2, 3))


def test_softmax_of_special_numbers() -> None:
    inf, nan = np.inf, np.nan
    x = np.array([[1000, 0, -1000], [-inf, 0, 0], [-inf, -inf, -inf], [inf, 0, 1], [nan, 0, 1]], np.float32)
    y = np.array([[1, 0, 0], [0, 0.5, 0.5], [nan] * 3, [nan] * 3, [nan] * 3])
    check("softmax", {"dim": 1}, [x], y)
    check("softmax", {"dim": 0}, [np.ascontiguousarray(x.T)], np.ascontiguousarray(y.T))
    log_y = np.array([[0, -1000, -2000], [-inf, -np.log(2), -np.log(2)], [nan] * 3, [nan] * 3, [nan] * 3])
    check("log_softmax", {"dim": 1}, [x], log_y)
    check("log_softmax", {"dim": 0}, [np.ascontiguousarray(x.T)], np.ascontiguousarray(log_y.T))


def test_softmax_of_nothing() -> None:
    for shape in ((0, 5), (5, 0), (0, 3, 2, 2), (2, 0, 2, 2)):
        for dim in (0, 1):
            (y,) = run("softmax", {"dim": dim}, [np.zeros(shape, np.float32)], [shape])
            assert y.shape == shape


def cross_entropy(
    x: Array, target: Array, weight: Array | None, smoothing: float, ignored: int
) -> tuple[Array, Array, Array]:
    """Losses of the rows, weights of the rows in the mean, and derivatives of the losses."""
    n, classes = x.shape
    w = np.ones(classes) if weight is None else weight.astype(np.float64)
    log_p = log_softmax(x, 1)
    losses, weights, slopes = np.zeros(n), np.zeros(n), np.zeros(x.shape)
    for i, t in enumerate(target):
        if t != ignored:
            share = w * smoothing / classes
            share[t] += (1 - smoothing) * w[t]
            losses[i] = -(share * log_p[i]).sum()
            slopes[i] = share.sum() * np.exp(log_p[i]) - share
            weights[i] = w[t]
    return losses, weights, slopes


@pytest.mark.parametrize("reduction", ("mean", "sum", "none"))
@pytest.mark.parametrize("smoothing", (0.0, 0.1, 1.0))
@pytest.mark.parametrize("weighted", (False, True))
@pytest.mark.parametrize(("rows", "classes"), [(64, 10), (1, 1), (7, 17), (70, 33), (3000, 21), (5, 1000)])
def test_cross_entropy(rows: int, classes: int, weighted: bool, smoothing: float, reduction: str) -> None:
    x, target = normal(rows, classes), RNG.integers(0, classes, rows)
    weight = RNG.random(classes).astype(np.float32) if weighted else None
    ignored = 2 if rows > 5 else -100
    losses, weights, slopes = cross_entropy(x, target, weight, smoothing, ignored)
    attributes = dict(label_smoothing=smoothing, ignore_index=ignored, reduction=reduction)
    g = np.float32(0.7) if reduction != "none" else normal(rows)
    divisor = weights.sum() if reduction == "mean" else 1.0
    loss = losses if reduction == "none" else losses.sum() / divisor
    check("cross_entropy", attributes, [x, target, weight], np.asarray(loss, np.float64), rtol=5e-7)
    dx = slopes * (np.asarray(g, np.float64).reshape(-1, 1) / divisor)
    check("cross_entropy_grad", attributes, [np.asarray(g), x, target, weight], dx, rtol=1e-6)


def test_cross_entropy_of_special_numbers() -> None:
    inf, nan = np.inf, np.nan
    x = np.array([[-inf, 0], [0, -inf], [nan, 0], [nan, nan], [1e4, -1e4]], np.float32)
    target = np.array([1, 1, 0, -100, 1])
    attributes = dict(label_smoothing=0.0, ignore_index=-100, reduction="none")
    check("cross_entropy", attributes, [x, target, None], np.array([0, inf, nan, 0, 2e4]))
    attributes["label_smoothing"] = 0.5
    check("cross_entropy", attributes, [x, target, None], np.array([inf, inf, nan, 0, 1.5e4]))
    g = np.ones(5, np.float32)
    dx = np.array([[0, 0], [1, -1], [nan, nan], [0, 0], [1, -1]])
    attributes["label_smoothing"] = 0.0
    check("cross_entropy_grad", attributes, [g, x, target, None], dx)


def test_cross_entropy_without_counting_rows() -> None:
    attributes = dict(label_smoothing=0.0, ignore_index=0, reduction="mean")
    x, target = normal(4, 3), np.zeros(4, np.int64)
    check("cross_entropy", attributes, [x, target, None], np.array(np.nan))
    check("cross_entropy_grad", attributes, [np.float32([1])[0:1].reshape(()), x, target, None], np.zeros((4, 3)))
    check("cross_entropy", attributes, [x[:0], target[:0], None], np.array(np.nan))
    attributes["reduction"] = "sum"
    check("cross_entropy", attributes, [x[:0], target[:0], None], np.array(0.0))


def test_impossible_target_gives_nan_not_a_crash() -> None:
    attributes = dict(label_smoothing=0.0, ignore_index=-100, reduction="none")
    x, target = normal(3, 4), np.array([1, 4, -7])
    (y,) = run("cross_entropy", attributes, [x, target, None], [(3,)])
    assert np.isfinite(y[0]) and np.isnan(y[1:]).all()
    (dx,) = run("cross_entropy_grad", attributes, [np.ones(3, np.float32), x, target, None], [(3, 4)])
    assert np.isfinite(dx[0]).all() and np.isnan(dx[1:]).all()


def test_what_has_no_kernel() -> None:
    double = spec_of(np.zeros((2, 3)))
    assert prepare("softmax", {"dim": 1}, [double], [double]) is None
    logits, target = spec_of(normal(2, 3, 4)), Spec((2, 4), np.dtype(np.int64))
    attributes = dict(label_smoothing=0.0, ignore_index=-100, reduction="mean")
    assert prepare("cross_entropy", attributes, [logits, target, None], [Spec((), np.dtype(np.float32))]) is None
