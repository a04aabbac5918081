"""Winograd's convolution, its gradients and its matrices, on every instruction set and number of threads."""

from __future__ import annotations

import pathlib
import runpy
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from kernel_harness import ISAS, Array, engine, prepare, run_everywhere, spec_of

from coolnn import _core
from coolnn.spec import Spec

TOOL = pathlib.Path(__file__).resolve().parent.parent / "tools" / "winograd.py"
STORAGE = (0, 2, 3, 1)  # axes of activations and weights in the order in which they are stored
BOUNDS = {"conv2d": 1e-5, "conv2d_input_grad": 1e-5, "conv2d_weight_grad": 5e-5}


class Conv(NamedTuple):
    """A 3×3 convolution with stride 1; padding is (top, left, bottom, right)."""

    n: int
    ic: int
    oc: int
    size: tuple[int, int]
    padding: tuple[int, int, int, int] = (1, 1, 1, 1)

    @property
    def output(self) -> tuple[int, int]:
        top, left, bottom, right = self.padding
        return self.size[0] + top + bottom - 2, self.size[1] + left + right - 2

    def draw(self) -> tuple[Array, Array, Array, Array]:
        """Input, weight, bias and output gradient."""
        rng = np.random.default_rng(self.n + 7 * self.ic + 31 * self.oc + self.size[0])
        x, weight, bias, grad = (
            rng.standard_normal(shape).astype(np.float32)
            for shape in (
                (self.n, self.ic, *self.size),
                (self.oc, self.ic, 3, 3),
                (self.oc,),
                (self.n, self.oc, *self.output),
            )
        )
        return x, weight, bias, grad

    def problems(self, bias: bool = True) -> dict[str, tuple[dict[str, Any], list[Array | None], Array]]:
        """For each pass: attributes, inputs and the result in float64, as sums over the nine taps."""
        x, weight, b, grad = self.draw()
        shared = {"stride": (1, 1), "padding": self.padding, "dilation": (1, 1), "groups": 1}
        top, left, bottom, right = self.padding
        padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
        w, g = weight.astype(np.float64), grad.astype(np.float64)
        oh, ow = self.output
        y = np.zeros(grad.shape) + (b.astype(np.float64)[:, None, None] if bias else 0.0)
        dx, dw = np.zeros(padded.shape), np.zeros(weight.shape)
        for i in range(3):
            for j in range(3):
                patch = padded[:, :, i : i + oh, j : j + ow]
                y += np.einsum("ncyx,kc->nkyx", patch, w[:, :, i, j], optimize=True)
                dx[:, :, i : i + oh, j : j + ow] += np.einsum("nkyx,kc->ncyx", g, w[:, :, i, j], optimize=True)
                dw[:, :, i, j] = np.einsum("nkyx,ncyx->kc", g, patch, optimize=True)
        dx = dx[:, :, top : top + self.size[0], left : left + self.size[1]]
        return {
            "conv2d": (shared, [x, weight, b if bias else None], y),
            "conv2d_input_grad": ({**shared, "input_size": self.size}, [grad, weight], dx),
            "conv2d_weight_grad": ({**shared, "kernel_size": (3, 3)}, [x, grad], dw),
        }


CASES = {
    "whole tiles, whole blocks": Conv(2, 32, 64, (16, 24)),
    "one tile too few and many": Conv(2, 32, 32, (17, 19)),
    "two left over": Conv(1, 48, 48, (18, 22)),
    "fewer channels than a block": Conv(6, 17, 31, (23, 20)),
    "a half panel": Conv(2, 40, 48, (20, 20)),
    "odd channels": Conv(2, 67, 97, (13, 15)),
    "no padding": Conv(2, 32, 32, (19, 22), (0, 0, 0, 0)),
    "padding 2": Conv(2, 32, 32, (15, 18), (2, 2, 2, 2)),
    "uneven padding": Conv(2, 33, 40, (16, 17), (0, 1, 2, 1)),
    "two rows": Conv(8, 64, 64, (2, 40)),
    "two columns": Conv(8, 64, 64, (40, 2)),
    "channels shared by threads": Conv(1, 352, 300, (14, 14)),
    "several shared chunks": Conv(1, 16, 5500, (34, 34)),
}


def specs_of(arrays: list[Array | None]) -> list[Spec | None]:
    return [None if a is None else spec_of(a) for a in arrays]


def algorithm(name: str, attributes: dict[str, Any], arrays: list[Array | None], output: tuple[int, ...]) -> str:
    kernel = prepare(name, attributes, specs_of(arrays), [Spec(output)])
    assert kernel is not None
    return kernel.algorithm


def check(conv: Conv, bias: bool = True, passes: tuple[str, ...] = tuple(BOUNDS)) -> None:
    problems = conv.problems(bias)
    for name in passes:
        attributes, arrays, expected = problems[name]
        for isa in ISAS:
            with engine(isa):
                assert algorithm(name, attributes, arrays, expected.shape).startswith("winograd"), f"{name} {conv}"
        for isa, (got,) in run_everywhere(name, attributes, arrays, [expected.shape]).items():
            error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
            assert error <= BOUNDS[name], f"{name} {conv} on {isa}: error {error:.3g}"


@pytest.mark.parametrize("conv", CASES.values(), ids=CASES)
def test_all_passes(conv: Conv) -> None:
    check(conv)


def test_small_pictures_take_small_tiles() -> None:
    attributes, arrays, expected = CASES["two rows"].problems()["conv2d"]
    assert algorithm("conv2d", attributes, arrays, expected.shape) == "winograd_2x2"
    attributes, arrays, expected = CASES["no padding"].problems()["conv2d"]
    assert algorithm("conv2d", attributes, arrays, expected.shape) == "winograd_4x4"


def test_without_bias() -> None:
    check(CASES["one tile too few and many"], bias=False, passes=("conv2d",))


def run_in_own_memory(kernel: _core.Kernel, arrays: list[Array | None]) -> Array:
    """Runs a kernel into memory of the engine, which is aligned, and gives what it wrote in storage order."""
    stored = [None if a is None else np.ascontiguousarray(a.transpose(STORAGE) if a.ndim == 4 else a) for a in arrays]
    output = kernel.run(tuple(None if a is None else _core.Buffer.borrow(a) for a in stored))[0]
    return np.frombuffer(memoryview(output), np.float32)


def test_large_outputs_are_streamed() -> None:
    attributes, arrays, expected = Conv(1, 16, 128, (130, 131)).problems()["conv2d"]
    for isa in ISAS:
        with engine(isa):
            kernel = prepare("conv2d", attributes, specs_of(arrays), [Spec(expected.shape)])
            assert kernel is not None
            got = run_in_own_memory(kernel, arrays)
        error = np.linalg.norm(got - expected.transpose(STORAGE).ravel()) / np.linalg.norm(expected)
        assert error <= BOUNDS["conv2d"]


def test_a_kernel_runs_on_more_threads_than_it_was_prepared_for() -> None:
    attributes, arrays, expected = CASES["odd channels"].problems()["conv2d"]
    with engine(threads=1):
        kernel = prepare("conv2d", attributes, specs_of(arrays), [Spec(expected.shape)])
    assert kernel is not None
    results = []
    for threads in (1, 3):
        with engine(threads=threads):
            results.append(run_in_own_memory(kernel, arrays))
    assert np.array_equal(*results)


def test_the_option_turns_it_off() -> None:
    attributes, arrays, expected = CASES["odd channels"].problems()["conv2d"]
    before = _core.get_option("winograd")
    try:
        _core.set_option("winograd", 0)
        assert not algorithm("conv2d", attributes, arrays, expected.shape).startswith("winograd")
    finally:
        _core.set_option("winograd", before)


def load_tool() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(TOOL)))


def test_the_header_is_what_the_tool_writes() -> None:
    tool = load_tool()
    assert tool.HEADER.read_text(encoding="utf-8") == tool.render()


def test_the_matrices_are_exact() -> None:
    tool = load_tool()
    for outputs, points in tool.INSTANCES.values():
        bt, g, at = tool.matrices(outputs, points)
        assert tool.is_correlation(bt, g, at)
        at[0][1] = at[0][1] + tool.ONE
        assert not tool.is_correlation(bt, g, at)
