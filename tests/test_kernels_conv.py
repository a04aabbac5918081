"""Convolution and its two gradients against plain loops over taps, on every instruction set and number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from kernel_harness import Array, check, prepare, spec_of

from coolnn import _core
from coolnn.spec import Spec

RTOL = 3e-6


@pytest.fixture(autouse=True)
def only_direct_sums() -> Iterator[None]:
    """Winograd's algorithm, which rounds differently and spreads NaN over its tiles, has tests of its own."""
    before = _core.get_option("winograd")
    _core.set_option("winograd", 0)
    yield
    _core.set_option("winograd", before)


class Conv(NamedTuple):
    """A convolution: sizes as the user sees them."""

    n: int
    ic: int
    size: tuple[int, int]
    oc: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, left, bottom, right
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def output(self) -> tuple[int, int]:
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        room = [self.size[i] + self.padding[i] + self.padding[i + 2] - spans[i] for i in (0, 1)]
        return room[0] // self.stride[0] + 1, room[1] // self.stride[1] + 1

    @property
    def attributes(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    def draw(self) -> tuple[Array, Array, Array, Array]:
        """Input, weight, bias and output gradient."""
        rng = np.random.default_rng(self.n + 7 * self.ic + 31 * self.oc + self.size[0])
        shapes = [
            (self.n, self.ic, *self.size),
            (self.oc, self.ic // self.groups, *self.kernel),
            (self.oc,),
            (self.n, self.oc, *self.output),
        ]
        x, weight, bias, grad = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        return x, weight, bias, grad


def taps(c: Conv, padded: Array) -> Any:
    """For each tap of the kernel: its place, and the view of the padded input that it multiplies."""
    oh, ow = c.output
    for ky in range(c.kernel[0]):
        for kx in range(c.kernel[1]):
            y, x = ky * c.dilation[0], kx * c.dilation[1]
            rows = slice(y, y + (oh - 1) * c.stride[0] + 1, c.stride[0])
            columns = slice(x, x + (ow - 1) * c.stride[1] + 1, c.stride[1])
            yield ky, kx, padded[:, :, rows, columns]


def padded_input(c: Conv, x: Array) -> Array:
    top, left, bottom, right = c.padding
    return np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))


def grouped(c: Conv, x: Array) -> Array:
    return x.reshape(x.shape[0], c.groups, x.shape[1] // c.groups, *x.shape[2:])


def forward(c: Conv, x: Array, weight: Array, bias: Array | None) -> Array:
    w = weight.astype(np.float64).reshape(c.groups, -1, *weight.shape[1:])
    y = np.zeros((c.n, c.groups, c.oc // c.groups, *c.output))
    for ky, kx, view in taps(c, padded_input(c, x)):
        y += np.einsum("ngihw,goi->ngohw", grouped(c, view), w[:, :, :, ky, kx])
    y = y.reshape(c.n, c.oc, *c.output)
    return y if bias is None else y + bias.astype(np.float64)[:, None, None]


def input_grad(c: Conv, grad: Array, weight: Array) -> Array:
    w = weight.astype(np.float64).reshape(c.groups, -1, *weight.shape[1:])
    padded = padded_input(c, np.zeros((c.n, c.ic, *c.size)))
    for ky, kx, view in taps(c, padded):
        part = np.einsum("ngohw,goi->ngihw", grouped(c, grad.astype(np.float64)), w[:, :, :, ky, kx])
        view += part.reshape(view.shape)
    top, left = c.padding[:2]
    return padded[:, :, top : top + c.size[0], left : left + c.size[1]]


def weight_grad(c: Conv, x: Array, grad: Array) -> Array:
    dw = np.zeros((c.groups, c.oc // c.groups, c.ic // c.groups, *c.kernel))
    for ky, kx, view in taps(c, padded_input(c, x)):
        dw[:, :, :, ky, kx] = np.einsum("ngihw,ngohw->goi", grouped(c, view), grouped(c, grad.astype(np.float64)))
    return dw.reshape(c.oc, c.ic // c.groups, *c.kernel)


def check_all(c: Conv, rtol: float = RTOL) -> None:
    x, weight, bias, grad = c.draw()
    check("conv2d", c.attributes, [x, weight, bias], forward(c, x, weight, bias), rtol)
    check("conv2d", c.attributes, [x, weight, None], forward(c, x, weight, None), rtol)
    check(
        "conv2d_input_grad", {"input_size": c.size, **c.attributes}, [grad, weight], input_grad(c, grad, weight), rtol
    )
    check("conv2d_weight_grad", {"kernel_size": c.kernel, **c.attributes}, [x, grad], weight_grad(c, x, grad), rtol)


SAME3 = (1, 1, 1, 1)
CASES = {
    "plain": Conv(2, 5, (9, 8), 7, (3, 3)),
    "one_by_one": Conv(2, 20, (6, 7), 33, (1, 1)),
    "one_by_one_strided": Conv(2, 20, (6, 7), 33, (1, 1), stride=(2, 2)),
    "one_pixel": Conv(3, 4, (1, 1), 5, (1, 1)),
    "same": Conv(2, 16, (13, 11), 32, (3, 3), padding=SAME3),
    "wide": Conv(1, 40, (7, 7), 70, (3, 3), padding=SAME3),
    "strided": Conv(2, 6, (11, 12), 9, (3, 3), stride=(2, 2), padding=SAME3),
    "strided_unequal": Conv(2, 3, (14, 17), 5, (4, 3), stride=(3, 2), padding=(2, 0, 1, 3)),
    "stride_above_kernel": Conv(1, 3, (10, 11), 4, (2, 2), stride=(3, 4)),
    "dilated": Conv(1, 4, (15, 14), 6, (3, 2), dilation=(2, 3), padding=(2, 1, 3, 0)),
    "dilated_strided": Conv(1, 4, (15, 14), 6, (3, 3), stride=(2, 3), dilation=(3, 2), padding=(4, 4, 4, 4)),
    "padding_above_kernel": Conv(1, 2, (4, 5), 3, (2, 2), padding=(5, 4, 3, 6)),
    "uneven_padding": Conv(2, 3, (7, 6), 4, (4, 4), padding=(1, 2, 2, 1)),
    "first_layer": Conv(2, 3, (20, 18), 64, (3, 3), padding=SAME3),
    "first_layer_7": Conv(1, 3, (31, 30), 64, (7, 7), stride=(2, 2), padding=(3, 3, 3, 3)),
    "lenet_1": Conv(3, 1, (28, 28), 6, (5, 5), padding=(2, 2, 2, 2)),
    "lenet_2": Conv(5, 6, (14, 14), 16, (5, 5)),
    "gradient_of_picture": Conv(2, 3, (40, 37), 20, (3, 3), padding=SAME3),
    "gradient_of_picture_strided": Conv(2, 3, (61, 50), 300, (5, 7), stride=(2, 3), padding=(2, 3, 1, 0)),
    "gradient_of_picture_dilated": Conv(1, 2, (50, 47), 20, (3, 3), stride=(1, 2), dilation=(3, 2), padding=SAME3),
    "five": Conv(2, 12, (12, 12), 24, (5, 5), padding=(2, 2, 2, 2)),
    "tall": Conv(2, 3, (30, 4), 5, (7, 1), padding=(3, 0, 3, 0)),
    "flat": Conv(2, 3, (4, 30), 5, (1, 7), padding=(0, 3, 0, 3)),
    "groups": Conv(2, 12, (9, 9), 18, (3, 3), padding=SAME3, groups=3),
    "groups_strided": Conv(2, 32, (9, 8), 64, (3, 3), stride=(2, 2), padding=SAME3, groups=4),
    "many_groups": Conv(2, 32, (9, 8), 32, (3, 3), padding=SAME3, groups=8),
    "many_groups_strided": Conv(2, 24, (9, 8), 48, (3, 3), stride=(2, 1), padding=SAME3, groups=12),
    "depthwise": Conv(2, 35, (9, 10), 35, (3, 3), padding=SAME3, groups=35),
    "depthwise_strided": Conv(2, 32, (11, 12), 32, (3, 3), stride=(2, 2), padding=SAME3, groups=32),
    "depthwise_5": Conv(1, 18, (12, 13), 18, (5, 5), padding=(2, 2, 2, 2), groups=18),
    "depthwise_5_strided": Conv(1, 18, (12, 13), 18, (5, 5), stride=(2, 2), padding=(1, 1, 2, 2), groups=18),
    "depthwise_5_narrow": Conv(1, 35, (9, 3), 35, (5, 5), padding=(2, 2, 2, 2), groups=35),
    "depthwise_7": Conv(2, 33, (8, 19), 33, (7, 7), padding=(3, 3, 3, 3), groups=33),
    "depthwise_7_strided": Conv(1, 17, (10, 21), 17, (7, 7), stride=(2, 2), padding=(3, 2, 3, 4), groups=17),
    "depthwise_3x5_outside": Conv(1, 16, (4, 2), 16, (3, 5), padding=(1, 6, 1, 5), groups=16),
    "depthwise_two_rows": Conv(1, 20, (7, 9), 20, (2, 3), stride=(3, 1), padding=(0, 1, 1, 1), groups=20),
    "depthwise_dilated": Conv(1, 20, (12, 13), 20, (3, 3), dilation=(2, 2), padding=(2, 2, 2, 2), groups=20),
    "depthwise_multiplied": Conv(1, 6, (8, 8), 12, (3, 3), padding=SAME3, groups=6),
    "lanes": Conv(19, 3, (12, 11), 7, (5, 5), padding=(2, 2, 2, 2)),
    "lanes_strided": Conv(17, 2, (13, 14), 8, (3, 5), stride=(2, 3), padding=(1, 2, 4, 3)),
    "lanes_dilated": Conv(16, 3, (15, 11), 5, (3, 3), stride=(1, 2), dilation=(3, 2), padding=(7, 1, 2, 5)),
    "lanes_in_bands": Conv(33, 2, (70, 40), 14, (3, 3), padding=SAME3),
    "lanes_one_output": Conv(40, 6, (9, 9), 1, (3, 3)),
    "whole_picture": Conv(4, 8, (5, 5), 30, (5, 5)),
    # Every number of pixels in a tile, in lines of one tile and of several; one and two vectors, whole and partial.
    **{f"direct_{w}": Conv(1, 3, (5, w), 50, (3, 3), padding=SAME3) for w in (*range(1, 16), 28, 43)},
    **{f"direct_to_{o}": Conv(1, 1, (6, 30), o, (2, 3), stride=(2, 1)) for o in (1, 15, 16, 17, 32, 33, 48, 64)},
    "direct_dilated": Conv(2, 3, (20, 33), 40, (3, 3), dilation=(2, 3), padding=(2, 3, 2, 3)),
    "direct_strided": Conv(1, 4, (31, 70), 32, (3, 3), stride=(2, 3), padding=(1, 0, 0, 2)),
    "direct_large": Conv(2, 3, (150, 150), 64, (3, 3), padding=SAME3),
    # Groups that share a vector, whole and partial, and groups with vectors of their own.
    **{
        f"groups_of_{w}": Conv(2, g * w, (9, 15), g * w, (3, 3), padding=SAME3, groups=g)
        for g, w in ((9, 2), (16, 2), (5, 4), (8, 4), (3, 8), (4, 8), (3, 16), (2, 20), (2, 48))
    },
    "groups_of_lines_strided": Conv(2, 32, (11, 30), 32, (5, 3), stride=(2, 2), padding=(2, 1, 2, 1), groups=8),
    "groups_dilated": Conv(1, 24, (19, 18), 24, (3, 3), dilation=(3, 2), padding=(2, 1, 0, 4), groups=3),
    "beyond_the_padding": Conv(1, 8, (9, 9), 24, (2, 2), padding=(3, 2, 1, 3)),
    "no_pictures": Conv(0, 3, (5, 5), 4, (3, 3)),
    "blocks": Conv(3, 70, (19, 18), 90, (3, 3), padding=SAME3),
}


@pytest.mark.parametrize("name", CASES)
def test_all_passes(name: str) -> None:
    check_all(CASES[name])


@pytest.mark.parametrize("seed", range(30))
def test_random_shapes(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def pick(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    groups = pick(1, 3)
    kernel, dilation = (pick(1, 5), pick(1, 5)), (pick(1, 2), pick(1, 2))
    padding = (pick(0, 3), pick(0, 3), pick(0, 3), pick(0, 3))
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [max(spans[i] - padding[i] - padding[i + 2], 1) + pick(0, 9) for i in (0, 1)]
    check_all(
        Conv(
            n=pick(1, 3),
            ic=groups * pick(1, 9),
            size=(size[0], size[1]),
            oc=groups * pick(1, 20),
            kernel=kernel,
            stride=(pick(1, 3), pick(1, 3)),
            padding=padding,
            dilation=dilation,
            groups=groups,
        )
    )


def test_nan_and_infinity_stay_in_their_patches() -> None:
    c = CASES["same"]
    x, weight, _, _ = c.draw()
    x[0, 3, 5, 5], x[1, 0, 0, 0] = np.nan, np.inf
    check("conv2d", c.attributes, [x, weight, None], forward(c, x, weight, None), RTOL)


@pytest.mark.parametrize(
    ("c", "names"),
    [
        (Conv(2, 64, (28, 28), 64, (5, 5), padding=(2, 2, 2, 2)), ["direct", "direct", "implicit_gemm"]),
        (Conv(2, 64, (28, 28), 64, (1, 1)), ["implicit_gemm"] * 3),
        (Conv(64, 6, (14, 14), 16, (5, 5)), ["direct", "batch_lanes", "batch_lanes"]),
        (
            Conv(2, 3, (64, 64), 64, (7, 7), stride=(2, 2), padding=(3, 3, 3, 3)),
            ["direct", "tap_planes", "implicit_gemm"],
        ),
        (Conv(2, 32, (28, 28), 32, (3, 3), padding=SAME3, groups=32), ["depthwise"] * 3),
        (
            Conv(2, 64, (28, 28), 64, (3, 3), padding=SAME3, groups=16),
            ["direct_grouped", "direct_grouped", "merged_groups"],
        ),
    ],
)
def test_choice(c: Conv, names: list[str]) -> None:
    x, weight, _, grad = (spec_of(a) for a in c.draw())
    problems: list[tuple[str, dict[str, Any], list[Spec | None], Spec]] = [
        ("conv2d", {}, [x, weight, None], grad),
        ("conv2d_input_grad", {"input_size": c.size}, [grad, weight], x),
        ("conv2d_weight_grad", {"kernel_size": c.kernel}, [x, grad], weight),
    ]
    for (name, attributes, inputs, output), algorithm in zip(problems, names, strict=True):
        kernel = prepare(name, {**attributes, **c.attributes}, inputs, [output])
        assert kernel is not None and kernel.algorithm == algorithm, name
        assert kernel.workspace_bytes < 1 << 26
