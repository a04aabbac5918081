"""Products rounded to bfloat16: against float64 on rounded operands, in kernels, networks and the command line.

Products of rounded numbers are exact in float32, so only sums are rounded: the tolerance is that of float32 kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_harness import Array, Guarded, as_spec, engine, spec_of

import coolnn as cool
from coolnn import _core
from coolnn.graph import PrecisionError
from coolnn.graph.precision import compare
from coolnn.ops.conv import CONV2D
from coolnn.spec import DTYPE_CODES, Spec

RTOL = 2e-6
needs_bf16 = pytest.mark.skipif(not _core.has_bf16(), reason="this processor does not multiply bfloat16 numbers")


def rounded(x: Array) -> Array:
    """To the nearest of the numbers with eight significant bits, ties to even, as float64."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return np.ldexp(np.round(mantissa * 256), exponent - 8)  # NumPy rounds ties to even


def draw(*shape: int) -> Array:
    seed = sum(31**i * n for i, n in enumerate(shape)) % 2**31
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run_packed(
    name: str, attributes: dict[str, Any], arrays: list[Array | None], shape: tuple[int, ...]
) -> tuple[str, Array]:
    """The algorithm and the output of a kernel with constant weights, from and to guarded memory."""
    specs = [None if a is None else spec_of(a) for a in arrays]
    codes = [None if s is None else (DTYPE_CODES[s.dtype], s.shape) for s in specs]
    out = as_spec(shape)
    kernel = _core.prepare(name, attributes, tuple(codes), ((DTYPE_CODES[out.dtype], out.shape),), True, True)
    assert kernel is not None
    given = [None if a is None else Guarded(spec_of(a), a) for a in arrays]
    packed = Guarded(Spec((kernel.packed_bytes,), np.dtype(np.uint8)))
    kernel.pack(tuple(g and g.buffer for g in given), packed.buffer)
    result = Guarded(out)
    buffers = [g for i, g in enumerate(given) if g is not None and i != 1] + [result, packed]
    plan = _core.Plan(max(kernel.workspace_bytes, 64), [g.spec.nbytes for g in buffers])
    places = [None if g is None or i == 1 else ("external", buffers.index(g)) for i, g in enumerate(given)]
    last = len(buffers)
    plan.add(kernel, tuple(places), (("external", last - 2),), 0, ("external", last - 1))
    arena = _core.Buffer(plan.arena_bytes)
    outputs = []
    for threads in (1, 2, 3):
        with engine(threads=threads):
            plan.run(arena, tuple(g.buffer for g in buffers))
        outputs.append(result.array())
        result.bytes[:] = 0xFF
    packed.array()  # its guards
    assert all(o.tobytes() == outputs[0].tobytes() for o in outputs), "other bits on another number of threads"
    return kernel.algorithm, outputs[0]


def check_linear(rows: int, outputs: int, depth: int, finish: bool = False) -> None:
    x, weight, bias = draw(rows, depth), draw(outputs, depth), draw(outputs)
    residual = draw(rows, outputs) if finish else None
    low, high = (-1.0, 2.0) if finish else (float("-inf"), float("inf"))
    name, got = run_packed("linear_fused", {"low": low, "high": high}, [x, weight, bias, residual], (rows, outputs))
    assert name == ("narrow_bf16" if rows <= 8 else "gemm_bf16")
    sums = rounded(x) @ rounded(weight).T
    want = np.clip(sums + bias + (0 if residual is None else residual), low, high)
    scale = np.abs(rounded(x)) @ np.abs(rounded(weight)).T + np.abs(bias) + 1
    assert (np.abs(got - want) / scale).max() < RTOL, (rows, outputs, depth)


@needs_bf16
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 29])
@pytest.mark.parametrize("outputs", [32, 33, 47, 48, 49, 65])
def test_remainders(rows: int, outputs: int) -> None:
    for depth in (1, 2, 3, 15, 16, 31, 32, 33, 63, 64, 65):
        check_linear(rows, outputs, depth)
    check_linear(rows, outputs, 19, finish=True)


@needs_bf16
@pytest.mark.parametrize(
    ("rows", "outputs", "depth"), [(1, 1000, 513), (8, 61, 2100), (300, 70, 1100), (20, 2100, 600), (113, 40, 511)]
)
def test_blocks(rows: int, outputs: int, depth: int) -> None:
    check_linear(rows, outputs, depth)
    check_linear(rows, outputs, depth, finish=True)


@needs_bf16
def test_rounding_is_to_even_and_keeps_what_is_no_number() -> None:
    numbers = [1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -(1 + 2**-8), 3e38, 1e-30, 1.17e-38]
    for rows in (1, 9):
        for value in numbers:
            x = np.zeros((rows, 33), np.float32)
            x[:, 32] = value
            _, got = run_packed("linear", {}, [x, np.ones((32, 33), np.float32), None], (rows, 32))
            tiny = abs(np.float32(value)) < np.finfo(np.float32).tiny  # counts as zero
            assert (got == (0 if tiny else rounded(np.float32(value)))).all(), value
        for value in (np.inf, -np.inf, np.nan):
            x = np.ones((rows, 33), np.float32)
            x[0, 5] = value
            _, got = run_packed("linear", {}, [x, np.ones((32, 33), np.float32), None], (rows, 32))
            np.testing.assert_array_equal(got[0], np.full(32, value, np.float32))
            assert (got[1:] == 33).all()


def check_conv(x: Array, weight: Array, finish: bool = False, **changes: Any) -> None:
    sizes: dict[str, Any] = dict(stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1) | changes
    bias = draw(weight.shape[0])
    want = CONV2D.reference(rounded(x), rounded(weight), bias.astype(np.float64), **sizes)
    scale = CONV2D.reference(np.abs(rounded(x)), np.abs(rounded(weight)), np.abs(bias).astype(np.float64), **sizes) + 1
    attributes, arrays = dict(sizes), [x, weight, bias, None]
    if finish:
        arrays[3] = draw(*want.shape)
        want = np.clip(want + arrays[3], 0, 3)
    bounds = {"low": 0.0, "high": 3.0} if finish else {"low": float("-inf"), "high": float("inf")}
    attributes |= bounds | {"pool": 1, "size_before_pool": want.shape[2:]}
    with cool.options(winograd=False):
        name, got = run_packed("conv2d_fused", attributes, arrays, want.shape)
    assert name == "implicit_gemm_bf16"
    assert (np.abs(got - want) / scale).max() < RTOL


@needs_bf16
@pytest.mark.parametrize("channels", [32, 47, 64, 513])
@pytest.mark.parametrize("filters", [32, 48, 70])
def test_one_pixel_filters(channels: int, filters: int) -> None:
    for pictures, size in ((1, 9), (2, 12)):
        x, weight = draw(pictures, channels, size, size), draw(filters, channels, 1, 1)
        check_conv(x, weight)
        check_conv(x, weight, finish=True)


@needs_bf16
@pytest.mark.parametrize(
    ("channels", "kernel", "changes"),
    [
        (32, (3, 3), {"stride": (2, 2), "padding": (1, 1, 1, 1)}),
        (64, (3, 3), {"padding": (1, 1, 1, 1)}),
        (33, (3, 3), {"dilation": (2, 3), "padding": (2, 0, 1, 3)}),
        (48, (1, 1), {"stride": (2, 2)}),
        (35, (5, 2), {"stride": (3, 1), "padding": (0, 1, 2, 1)}),
    ],
)
def test_patches(channels: int, kernel: tuple[int, int], changes: dict[str, Any]) -> None:
    check_conv(draw(2, channels, 21, 18), draw(64, channels, *kernel), **changes)
    check_conv(draw(1, channels, 21, 18), draw(65, channels, *kernel), finish=True, **changes)


@needs_bf16
def test_groups() -> None:
    check_conv(draw(1, 128, 14, 14), draw(128, 64, 1, 1), groups=2)
    check_conv(draw(1, 192, 14, 14), draw(128, 96, 3, 3), groups=2, padding=(1, 1, 1, 1), stride=(2, 2))


class Small(cool.nn.Module):
    """One layer for each kernel: strided, 1×1, Winograd and linear."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = cool.nn.Conv2d(3, 32, 3, stride=2, padding=1)
        self.narrow = cool.nn.Conv2d(32, 64, 1)
        self.body = cool.nn.Conv2d(64, 64, 3, padding=1)
        self.head = cool.nn.Linear(64, 40)

    def forward(self, x: cool.Tensor) -> cool.Tensor:
        x = cool.ops.relu(self.narrow(cool.ops.relu(self.stem(x))))
        return self.head(cool.ops.relu(self.body(x)).mean((2, 3)))


@needs_bf16
def test_compiled_networks_say_where_and_how_much_they_round() -> None:
    cool.manual_seed(1)
    net, x = Small(), cool.tensor(draw(4, 3, 32, 32))
    run = cool.compile(net, precision="bf16")
    text = run.dump(x)
    assert "implicit_gemm_bf16" in text and "narrow_bf16" in text and "winograd" in text
    error = run.precision_error(x)
    assert 1e-5 < error.relative < 1e-2 and error.relative < 10 * error.largest < 1e-1
    assert error.agreement is not None and error.agreement >= 0.75
    assert cool.compile(net).precision_error(x) == PrecisionError(0.0, 0.0, 1.0)
    assert "bf16" not in cool.compile(net).dump(x)


@needs_bf16
def test_changed_weights_are_rounded_again() -> None:
    net = cool.nn.Linear(40, 40)
    run = cool.compile(net, precision="bf16")
    x = draw(3, 40)
    for _ in range(2):
        want = rounded(x) @ rounded(net.weight.numpy()).T + net.bias.numpy()
        np.testing.assert_allclose(run(x).numpy(), want, atol=1e-5)
        net.load_state_dict({name: cool.tensor(2 * t.numpy()) for name, t in net.state_dict().items()})


@needs_bf16
def test_functions_and_gradients_in_them_may_be_rounded() -> None:
    net = Small().eval()
    run = cool.compile(lambda x: cool.ops.softmax(net(x), 1), precision="bf16")
    x = draw(2, 3, 16, 16)
    exact = cool.ops.softmax(net(cool.tensor(x)), 1).numpy()
    np.testing.assert_allclose(run(x).numpy(), exact, rtol=5e-2)


def test_a_machine_without_it_says_so() -> None:
    with cool.options(isa="avx2" if "avx2" in _core.available_isas() else _core.available_isas()[0]):
        assert not _core.has_bf16()
        with pytest.raises(ValueError, match=r"precision='bf16' needs a processor .*'float32'"):
            cool.compile(Small(), precision="bf16")
    with pytest.raises(ValueError, match=r"there is no precision 'fp16'; choose from: float32, bf16"):
        cool.compile(Small(), precision="fp16")  # type: ignore[arg-type]


@needs_bf16
def test_the_instruction_set_counts_when_a_program_is_made() -> None:
    run = cool.compile(Small(), precision="bf16")
    with cool.options(isa="avx2"), pytest.raises(ValueError, match="the kernels in use are avx2"):
        run(draw(1, 3, 16, 16))


def test_error_of_answers() -> None:
    exact = np.array([[1.0, 2.0], [4.0, 3.0]])
    error = compare([exact + np.array([[0.0, 0.0], [0.0, 2.0]])], [exact])
    assert error.relative == pytest.approx(2 / np.sqrt(30)) and error.largest == 0.5 and error.agreement == 0.5
    assert str(error) == "relative error 3.7e-01, at most 5.0e-01 of the largest number, the same best answer for 50.0%"
    assert compare([np.ones(3)], [np.ones(3)]).agreement is None
    assert compare([np.zeros((0, 2))], [np.zeros((0, 2))]) == PrecisionError(0.0, 0.0, None)
