"""Normalisation kernels against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_harness import Array, check, engine, prepare, relative_error, run, run_everywhere, spec_of

CHANNELS = (1, 2, 3, 6, 7, 8, 15, 16, 17, 33, 64, 100)
RNG = np.random.default_rng(3)
EPS = 1e-5


def normal(*shape: int) -> Array:
    return (RNG.standard_normal(shape) * 2 + 0.5).astype(np.float32)


def pair(channels: int, affine: bool) -> tuple[Array | None, Array | None]:
    return (normal(channels), normal(channels)) if affine else (None, None)


def channelwise(values: Array | None, rank: int, absent: float) -> Array:
    """Values of channels in a shape that broadcasts against a tensor of this rank."""
    if values is None:
        return np.array(absent)
    return values.astype(np.float64).reshape(1, -1, *(1,) * (rank - 2))


def norm_grad(g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, axes: tuple[int, ...]) -> list[Array]:
    """dx, dweight and dbias of a norm whose statistics, which broadcast against x, are over `axes`."""
    g, x = g.astype(np.float64), x.astype(np.float64)
    normalised = (x - mean) * rstd
    slope = g * channelwise(weight, x.ndim, 1)
    both = [slope.mean(axes, keepdims=True), (slope * normalised).mean(axes, keepdims=True)]
    return [rstd * (slope - both[0] - normalised * both[1]), g * normalised, g]


def check_norm_grad(
    name: str,
    attributes: dict[str, float],
    inputs: list[Array | None],
    wanted: list[Array],
    rstd: Array,
    axes: tuple[int, ...],
) -> None:
    """Measures errors against the terms: with statistics of few numbers dx is a small difference of large ones."""
    dx, dweight, dbias = wanted
    g, x, weight = inputs[0], inputs[1], inputs[2]
    assert g is not None and x is not None
    scales = [np.abs(g * rstd * channelwise(weight, x.ndim, 1)).max(), np.abs(dweight).sum(axes).max()]
    scales.append(np.abs(dbias).sum(axes).max())
    outputs = [dx, dweight.sum(axes), dbias.sum(axes)]
    for isa, got in run_everywhere(name, attributes, inputs, [w.shape for w in outputs]).items():
        for i, scale in enumerate(scales):
            assert np.abs(got[i] - outputs[i]).max() <= 2e-6 * scale, (name, isa, i, x.shape)


def check_batch_norm(x: Array, affine: bool) -> None:
    channels, axes = x.shape[1], (0, *range(2, x.ndim))
    weight, bias = pair(channels, affine)
    exact = x.astype(np.float64)
    mean, var = exact.mean(axes, keepdims=True), exact.var(axes, keepdims=True)
    y = (exact - mean) / np.sqrt(var + EPS) * channelwise(weight, x.ndim, 1) + channelwise(bias, x.ndim, 0)
    check("batch_norm", {"eps": EPS}, [x, weight, bias], [y, mean.ravel(), var.ravel()], rtol=1e-6)
    g, mean, var = normal(*x.shape), mean.astype(np.float32), var.astype(np.float32)
    rstd = 1 / np.sqrt(var.astype(np.float64) + EPS)
    dx, dweight, dbias = norm_grad(g, x, weight, mean.astype(np.float64), rstd, axes)
    inputs = [g, x, weight, mean.ravel(), var.ravel()]
    check_norm_grad("batch_norm_grad", {"eps": EPS}, inputs, [dx, dweight, dbias], rstd, axes)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("affine", (True, False))
def test_batch_norm(channels: int, affine: bool) -> None:
    check_batch_norm(normal(3, channels, 5, 7), affine)
    check_batch_norm(normal(9, channels), affine)
    check_batch_norm(normal(300, channels), affine)
    check_batch_norm(normal(4, channels, 11), affine)
    check_batch_norm(normal(2, channels, 3, 4, 7), affine)


@pytest.mark.parametrize("shape", [(16, 6, 28, 28), (4, 64, 30, 31), (2, 3, 20000), (2, 130, 40, 33), (2, 9000, 2, 2)])
def test_batch_norm_in_many_chunks(shape: tuple[int, ...]) -> None:
    check_batch_norm(normal(*shape), True)


@pytest.mark.parametrize("shape", [(16, 6, 28, 28), (8, 64, 16, 16), (5000, 3), (8, 3, 5000)])
@pytest.mark.parametrize("first", (None, 0.0))
def test_batch_norm_of_numbers_far_from_zero(shape: tuple[int, ...], first: float | None) -> None:
    x = (100 + 0.1 * RNG.standard_normal(shape)).astype(np.float32)
    if first is not None:
        x[0, :, ...] = np.where(np.arange(x[0].size).reshape(x[0].shape) < 3, first, x[0])
    axes = (0, *range(2, x.ndim))
    exact = x.astype(np.float64)
    mean, var = exact.mean(axes, keepdims=True), exact.var(axes, keepdims=True)
    y = (exact - mean) / np.sqrt(var + EPS)
    for isa, (got, got_mean, got_var) in run_everywhere(
        "batch_norm", {"eps": EPS}, [x, None, None], [x.shape, (shape[1],), (shape[1],)], threads=(1,)
    ).items():
        assert relative_error(got_mean, mean.ravel()) < 1e-7, isa
        assert (np.abs(got_var - var.ravel()) / var.ravel()).max() < (1e-6 if first is None else 3e-6), isa
        assert relative_error(got, y) < 1e-6, isa


def test_batch_norm_keeps_nan_to_its_channel() -> None:
    x = normal(2, 5, 4, 4)
    x[1, 2, 0, 3] = np.nan
    for y, mean, var in run_everywhere(
        "batch_norm", {"eps": EPS}, [x, None, None], [x.shape, (5,), (5,)], threads=(1,)
    ).values():
        bad = np.arange(5) == 2
        assert (np.isnan(mean) == bad).all() and (np.isnan(var) == bad).all()
        assert (np.isnan(y) == bad.reshape(1, 5, 1, 1)).all()


def test_constant_channels_have_no_variance() -> None:
    x = np.full((3, 4, 5, 5), 0.1, np.float32)
    y, mean, var = run("batch_norm", {"eps": EPS}, [x, None, None], [x.shape, (4,), (4,)])
    assert np.abs(y).max() < 1e-5 and (mean == np.float32(0.1)).all() and (var >= 0).all() and var.max() < 1e-15


@pytest.mark.parametrize("channels", CHANNELS)
def test_channel_affine(channels: int) -> None:
    scale, shift = normal(channels), normal(channels)
    for shape in ((3, channels, 5, 7), (9, channels), (700, channels), (4, channels, 11), (2, channels, 3, 4, 7)):
        x = normal(*shape)
        y = x * channelwise(scale, x.ndim, 1) + channelwise(shift, x.ndim, 0)
        check("channel_affine", {}, [x, scale, shift], y, rtol=2e-7)


def check_group_norm(x: Array, groups: int, affine: bool) -> None:
    n, channels = x.shape[:2]
    weight, bias = pair(channels, affine)
    split = x.astype(np.float64).reshape(n, groups, -1)
    mean, rstd = split.mean(2), 1 / np.sqrt(split.var(2) + EPS)

    def spread(values: Array) -> Array:
        return np.repeat(values, channels // groups, 1).reshape(n, channels, *(1,) * (x.ndim - 2))

    y = (x - spread(mean)) * spread(rstd) * channelwise(weight, x.ndim, 1) + channelwise(bias, x.ndim, 0)
    attributes = {"num_groups": groups, "eps": EPS}
    check("group_norm", attributes, [x, weight, bias], [y, mean, rstd], rtol=2e-6)
    g, mean, rstd = normal(*x.shape), mean.astype(np.float32), rstd.astype(np.float32)
    shape = (n, groups, channels // groups, *x.shape[2:])
    slope = (g * channelwise(weight, x.ndim, 1)).reshape(shape)
    centre, scale = spread(mean.astype(np.float64)), spread(rstd.astype(np.float64))
    normalised = ((x - centre) * scale).reshape(shape)
    axes = tuple(range(2, len(shape)))
    dx = slope - slope.mean(axes, keepdims=True) - normalised * (slope * normalised).mean(axes, keepdims=True)
    dx = dx.reshape(x.shape) * scale
    over = (0, *range(2, x.ndim))
    dweight, dbias = (g * normalised.reshape(x.shape)).sum(over), g.astype(np.float64).sum(over)
    check("group_norm_grad", {"num_groups": groups}, [g, x, weight, mean, rstd], [dx, dweight, dbias], rtol=3e-6)


@pytest.mark.parametrize(
    ("channels", "groups"), [(4, 1), (6, 3), (6, 6), (16, 4), (32, 2), (33, 11), (64, 32), (128, 8)]
)
@pytest.mark.parametrize("affine", (True, False))
def test_group_norm(channels: int, groups: int, affine: bool) -> None:
    check_group_norm(normal(3, channels, 5, 7), groups, affine)
    check_group_norm(normal(2, channels, 24, 25), groups, affine)
    check_group_norm(normal(4, channels, 11), groups, affine)
    check_group_norm(normal(2, channels, 3, 4, 5), groups, affine)


@pytest.mark.parametrize("features", (2, 3, 6, 7, 8, 15, 16, 17, 33, 100, 768))
@pytest.mark.parametrize("affine", (True, False))
def test_layer_norm(features: int, affine: bool) -> None:
    for rows in (4, 7, 1500 if features < 50 else 300):
        x = normal(rows, features)
        weight, bias = pair(features, affine)
        exact = x.astype(np.float64)
        mean, rstd = exact.mean(1), 1 / np.sqrt(exact.var(1) + EPS)
        y = (exact - mean[:, None]) * rstd[:, None] * (1 if weight is None else weight) + (0 if bias is None else bias)
        check("layer_norm", {"eps": EPS}, [x, weight, bias], [y, mean, rstd], rtol=1e-6)
        g, mean, rstd = normal(rows, features), mean.astype(np.float32), rstd.astype(np.float32)
        centre, scale = mean[:, None].astype(np.float64), rstd[:, None].astype(np.float64)
        dx, dweight, dbias = norm_grad(g, x, weight, centre, scale, (1,))
        inputs = [g, x, weight, mean, rstd]
        check_norm_grad("layer_norm_grad", {}, inputs, [dx, dweight, dbias], scale, (0,))


def test_layer_norm_of_numbers_far_from_zero() -> None:
    x = (100 + 0.1 * RNG.standard_normal((5, 300))).astype(np.float32)
    exact = x.astype(np.float64)
    mean, rstd = exact.mean(1), 1 / np.sqrt(exact.var(1) + EPS)
    y = (exact - mean[:, None]) * rstd[:, None]
    check("layer_norm", {"eps": EPS}, [x, None, None], [y, mean, rstd], rtol=1e-6)


def test_what_has_no_kernel() -> None:
    double = spec_of(np.zeros((2, 3)))
    vector = spec_of(np.zeros(3, np.float32))
    assert prepare("batch_norm", {"eps": EPS}, [double, None, None], [double, vector, vector]) is None
    empty = spec_of(np.zeros((0, 3), np.float32))
    assert prepare("batch_norm", {"eps": EPS}, [empty, None, None], [empty, vector, vector]) is None


def test_a_prepared_kernel_runs_on_any_number_of_threads() -> None:
    x = normal(32, 16, 20, 20)
    with engine(threads=1):
        one = run("batch_norm", {"eps": EPS}, [x, None, None], [x.shape, (16,), (16,)])
    with engine(threads=3):
        three = run("batch_norm", {"eps": EPS}, [x, None, None], [x.shape, (16,), (16,)])
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, three, strict=True))
