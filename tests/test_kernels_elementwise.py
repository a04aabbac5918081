"""Kernels that act on each element alone."""

import numpy as np
import pytest
from kernel_harness import check

SIZES = [0, 1, 2, 3, 7, 8, *range(15, 34), 1000, 70001]


@pytest.mark.parametrize("size", SIZES)
def test_relu(size: int) -> None:
    x = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    check("relu", {}, [x], np.maximum(x, 0))
