"""Dropout's kernels: the same draw as the generator in NumPy, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_harness import check, run, run_everywhere

from coolnn.random import philox
from coolnn.spec import Spec, boolean, logical_order, storage_order

STATES = [(0, 0), (1, 2), (2**64 - 1, 2**64 - 3), (0x123456789ABCDEF0, 1 << 33)]


def test_known_words() -> None:
    # The published answer for counter 0 and key 0; p = 0.5 keeps words of 2^31 and more.
    assert philox(0, 0, 4).tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    outputs = [Spec((4,)), Spec((4,), boolean)]
    for y, mask in run_everywhere(
        "dropout", {"p": 0.5}, [np.ones(4, np.float32), np.zeros(2, np.int64)], outputs
    ).values():
        assert mask.tolist() == [False, True, True, True]
        assert y.tolist() == [0, 2, 2, 2]


@pytest.mark.parametrize(
    "shape", [(), (1,), (3,), (7,), (8,), (33,), (0, 2), (1027,), (8191,), (20001,), (2, 5, 37, 41)]
)
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_dropout(shape: tuple[int, ...], p: float) -> None:
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((2, *shape)).astype(np.float32)
    for seed, offset in STATES:
        words = philox(seed, offset, x.size)
        order = storage_order(x.ndim)
        stored = (words >= np.uint64(int(p * 2**32))).reshape([x.shape[i] for i in order])
        mask = stored.transpose(logical_order(x.ndim)).copy()
        scale = np.float32(1 / (1 - p) if p < 1 else 0)
        state = np.array([seed, offset], np.uint64).view(np.int64)
        want = np.where(mask, np.asarray(x * scale), np.float32(0))
        check("dropout", {"p": p}, [np.asarray(x), state], [want, mask], threads=(1, 3))
        check("dropout_grad", {"p": p}, [np.asarray(g), mask], np.where(mask, np.asarray(g * scale), np.float32(0)))


def test_fraction_kept() -> None:
    n = 1_000_000
    state = np.array([5, 6])
    _, mask = run("dropout", {"p": 0.3}, [np.ones(n, np.float32), state], [Spec((n,)), Spec((n,), boolean)])
    assert abs(mask.mean() - 0.7) < 4 * np.sqrt(0.3 * 0.7 / n)
