"""Pooling and resizing kernels against loops in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_harness import ISAS, Array, check, engine, prepare, run, spec_of

from coolnn import meta, tensor
from coolnn.autograd import apply
from coolnn.graph import trace
from coolnn.graph.program import Program
from coolnn.ops.pool import MAX_POOL2D
from coolnn.spec import Spec

CHANNELS = (1, 2, 3, 6, 7, 8, 15, 16, 17, 33, 64, 100)
RNG = np.random.default_rng(1)

# height and width of the input, kernel, stride, padding (top, left, bottom, right), dilation, ceil mode
POOLS = [
    ((8, 10), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False),
    ((7, 9), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), True),
    ((7, 9), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), False),
    ((6, 5), (3, 3), (1, 1), (1, 0, 0, 1), (1, 1), False),
    ((9, 8), (3, 2), (2, 3), (1, 1, 0, 1), (2, 1), True),
    ((9, 11), (1, 3), (4, 4), (0, 1, 0, 1), (1, 2), False),
    ((5, 6), (5, 6), (1, 1), (0, 0, 0, 0), (1, 1), False),
    ((12, 12), (6, 6), (1, 1), (2, 3, 3, 2), (1, 1), False),
]


def out_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int, ceil: bool) -> int:
    span = size + before + after - dilation * (kernel - 1) - 1
    out = (-(-span // stride) if ceil else span // stride) + 1
    return out - 1 if ceil and (out - 1) * stride >= size + before else out


def window(o: int, size: int, kernel: int, stride: int, before: int, dilation: int) -> list[int]:
    return [i for i in (o * stride - before + k * dilation for k in range(kernel)) if 0 <= i < size]


def adaptive_window(o: int, size: int, out: int) -> list[int]:
    return list(range(o * size // out, -(-(o + 1) * size // out)))


def max_over(x: Array, rows: list[list[int]], columns: list[list[int]]) -> tuple[Array, Array]:
    """The maximum over each window and where it was: the first one, or the last NaN."""
    n, c, _, width = x.shape
    y = np.full((n, c, len(rows), len(columns)), -np.inf)
    indices = np.full(y.shape, -1, np.int32)
    for a, hs in enumerate(rows):
        for b, ws in enumerate(columns):
            for h in hs:
                for w in ws:
                    value = x[:, :, h, w]
                    take = (value > y[:, :, a, b]) | np.isnan(value) | (indices[:, :, a, b] < 0)
                    y[:, :, a, b] = np.where(take, value, y[:, :, a, b])
                    indices[:, :, a, b] = np.where(take, h * width + w, indices[:, :, a, b])
    return y, indices


def scattered(grad: Array, indices: Array, size: tuple[int, int]) -> Array:
    n, c = grad.shape[:2]
    dx = np.zeros((n, c, size[0] * size[1]))
    for i, j, a, b in np.ndindex(*grad.shape):
        if indices[i, j, a, b] >= 0:
            dx[i, j, indices[i, j, a, b]] += grad[i, j, a, b]
    return dx.reshape(n, c, *size)


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def exact(x: Array) -> Array:
    """float64 results that the kernel must match to the bit."""
    return x.astype(np.float32)


def max_case(x: Array, pool: Any) -> tuple[dict[str, Any], Array, Array]:
    size, kernel, stride, padding, dilation, ceil = pool
    out = tuple(out_size(size[i], kernel[i], stride[i], padding[i], padding[i + 2], dilation[i], ceil) for i in (0, 1))
    spans = [[window(o, size[i], kernel[i], stride[i], padding[i], dilation[i]) for o in range(out[i])] for i in (0, 1)]
    attributes = dict(kernel_size=kernel, stride=stride, padding=padding, dilation=dilation, output_size=out)
    return attributes, *max_over(x.astype(np.float64), spans[0], spans[1])


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_max_pool(pool: Any, channels: int) -> None:
    x = np.round(normal(2, channels, *pool[0]) * 4)  # many ties
    attributes, y, indices = max_case(x, pool)
    check("max_pool2d", attributes, [x], [exact(y), indices])
    grad = np.round(normal(*y.shape) * 8)
    dx = exact(scattered(grad, indices, pool[0]))
    check("max_pool2d_grad", {"input_size": pool[0]}, [grad, indices], dx)
    del attributes["output_size"]
    check("max_pool2d_grad", {"input_size": pool[0], **attributes}, [grad, indices], dx)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_max_pool_where_nobody_reads_the_indices(pool: Any, channels: int) -> None:
    x = normal(2, channels, *pool[0])
    attributes, y, _ = max_case(x, pool)
    for isa in ISAS:
        with engine(isa):
            program = Program(trace(lambda x: [apply(MAX_POOL2D, x, **attributes)], [meta(*x.shape)]))
            assert program.bytes == 64  # the least there is: the indices have no place
            np.testing.assert_array_equal(program.run([tensor(x)])[0].numpy(), exact(y), err_msg=isa)


def test_max_pool_of_special_numbers() -> None:
    x = normal(2, 5, 7, 9)
    x[RNG.random(x.shape) < 0.15] = np.nan
    x[RNG.random(x.shape) < 0.5] = -np.inf
    for pool in POOLS[1:4]:
        attributes, y, indices = max_case(x, pool)
        if pool[0] == x.shape[2:]:
            check("max_pool2d", attributes, [x], [exact(y), indices])


def test_max_pool_of_padding_only() -> None:
    x = normal(1, 3, 2, 2)
    pool = ((2, 2), (1, 1), (1, 1), (1, 1, 1, 1), (1, 1), False)
    attributes, y, indices = max_case(x, pool)
    assert np.isneginf(y[0, 0, 0, 0]) and indices[0, 0, 0, 0] == -1
    check("max_pool2d", attributes, [x], [exact(y), indices])
    check("max_pool2d_grad", {"input_size": (2, 2)}, [np.ones_like(x, shape=y.shape), indices], np.ones_like(x))


def test_max_pool_gradient_leaves_out_wrong_indices() -> None:
    grad, indices = np.ones((1, 1, 1, 4), np.float32), np.array([[[[-1, 4, 2**31 - 1, -(2**31)]]]], np.int32)
    check("max_pool2d_grad", {"input_size": (2, 2)}, [grad, indices], np.zeros((1, 1, 2, 2), np.float32))


@pytest.mark.parametrize("channels", (1, 6, 16, 35))
@pytest.mark.parametrize(("size", "out"), [((7, 9), (3, 4)), ((5, 4), (1, 1)), ((3, 4), (5, 9)), ((6, 6), (6, 6))])
def test_adaptive_pools(size: tuple[int, int], out: tuple[int, int], channels: int) -> None:
    x = normal(2, channels, *size)
    spans = [[adaptive_window(o, size[i], out[i]) for o in range(out[i])] for i in (0, 1)]
    y, indices = max_over(x.astype(np.float64), spans[0], spans[1])
    check("adaptive_max_pool2d", {"output_size": out}, [x], [exact(y), indices])
    weights = [np.array([[(i in s) / len(s) for i in range(size[k])] for s in spans[k]]) for k in (0, 1)]
    check_resampling("adaptive_avg_pool2d", {"output_size": out}, x, weights)


def check_resampling(name: str, attributes: dict[str, Any], x: Array, weights: list[Array], rtol: float = 5e-7) -> None:
    """Checks a separable linear map and its transpose; weights[i] has a row for each output along the axis."""
    y = np.einsum("ah,bw,nchw->ncab", *weights, x.astype(np.float64))
    check(name, attributes, [x], y, rtol)
    grad = normal(*y.shape)
    dx = np.einsum("ah,bw,ncab->nchw", *weights, grad.astype(np.float64))
    attributes = {
        "input_size": x.shape[2:],
        **{k: v for k, v in attributes.items() if k not in ("output_size", "size")},
    }
    check(name + "_grad", attributes, [grad], dx, rtol)


@pytest.mark.parametrize("include", (True, False))
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("pool", [p for p in POOLS if p[4] == (1, 1)], ids=str)
def test_avg_pool(pool: Any, channels: int, include: bool) -> None:
    size, kernel, stride, padding, _, ceil = pool
    out, weights = [], []
    for i in (0, 1):
        before, after = padding[i], padding[i + 2]
        out.append(out_size(size[i], kernel[i], stride[i], before, after, 1, ceil))
        rows = np.zeros((out[i], size[i]))
        for o in range(out[i]):
            inside = window(o, size[i], kernel[i], stride[i], before, 1)
            padded = min(o * stride[i] - before + kernel[i], size[i] + after) - (o * stride[i] - before)
            rows[o, inside] = 1 / (padded if include else len(inside))
        weights.append(rows)
    attributes = dict(kernel_size=kernel, stride=stride, padding=padding, output_size=tuple(out))
    check_resampling("avg_pool2d", {**attributes, "count_include_pad": include}, normal(2, channels, *size), weights)


def test_average_of_ones_is_one() -> None:
    for size in (1, 3, 7, 13):  # 49 * (1 / 49) is not 1 in float32
        ones = np.ones((1, 5, size, size), np.float32)
        check("adaptive_avg_pool2d", {"output_size": (1, 1)}, [ones], ones[:, :, :1, :1], threads=(1,))


def test_average_of_one_large_picture() -> None:
    x = normal(1, 130, 70, 60) + 10  # shared out by channels
    check("adaptive_avg_pool2d", {"output_size": (1, 1)}, [x], x.mean((2, 3), np.float64, keepdims=True), rtol=1e-6)


def resize_weights(size: int, out: int, mode: str, align: bool, scale: float) -> Array:
    weights = np.zeros((out, size))
    for o in range(out):
        if mode == "nearest":
            weights[o, min(int(np.floor(np.float32(o) * np.float32(scale))), size - 1)] = 1
        else:
            at = o * scale if align else max(0.0, (o + 0.5) * scale - 0.5)
            low = min(int(at), size - 1)
            weights[o, low] += 1 - (at - low)
            weights[o, min(low + 1, size - 1)] += at - low
    return weights


@pytest.mark.parametrize("mode", ("nearest", "bilinear", "bilinear aligned"))
@pytest.mark.parametrize("channels", (1, 3, 8, 17, 33))
@pytest.mark.parametrize(("size", "out"), [((4, 5), (8, 10)), ((7, 8), (3, 4)), ((5, 3), (5, 1)), ((1, 2), (6, 7))])
def test_resize(size: tuple[int, int], out: tuple[int, int], channels: int, mode: str) -> None:
    mode, align = mode.split()[0], "aligned" in mode
    scale = tuple(
        (a - 1) / (b - 1) if align and b > 1 else 0.0 if align else a / b for a, b in zip(size, out, strict=True)
    )
    weights = [resize_weights(size[i], out[i], mode, align, scale[i]) for i in (0, 1)]
    attributes = dict(size=out, mode=mode, align_corners=align, scale=scale)
    check_resampling("resize2d", attributes, normal(2, channels, *size), weights, rtol=1e-6)  # positions are float32


def test_many_rows_make_many_chunks() -> None:
    x = normal(16, 6, 28, 28)
    attributes, y, indices = max_case(x, ((28, 28), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False))
    check("max_pool2d", attributes, [x], [exact(y), indices])
    grad = normal(*y.shape)
    dx = exact(scattered(grad, indices, (28, 28)))
    check("max_pool2d_grad", {"input_size": (28, 28), **attributes}, [grad, indices], dx)
    check("max_pool2d_grad", {"input_size": (28, 28)}, [grad, indices], dx)


def test_empty_batches_and_what_has_no_kernel() -> None:
    x = np.zeros((0, 3, 4, 4), np.float32)
    attributes = dict(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0, 0, 0), dilation=(1, 1), output_size=(2, 2))
    y, indices = run("max_pool2d", attributes, [x], [(0, 3, 2, 2), Spec((0, 3, 2, 2), np.dtype(np.int32))])
    assert y.size == indices.size == 0
    double = spec_of(np.zeros((1, 3, 4, 4)))
    assert prepare("max_pool2d", attributes, [double], [Spec((1, 3, 2, 2), double.dtype), spec_of(indices)]) is None
    assert prepare("avg_pool2d", attributes, [double], [Spec((1, 3, 2, 2), double.dtype)]) is None
