"""conv2d_backward: its kernel against the reference in float64, and the pass that makes it."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from kernel_harness import ISAS, check, engine, prepare, relative_error, run, spec_of

import coolnn as cool
from coolnn import graph
from coolnn.graph.passes import fuse_conv_backward
from coolnn.ops.conv import CONV2D
from coolnn.ops.conv_backward import CONV2D_BACKWARD
from coolnn.ops.fused import CONV2D_FUSED
from coolnn.ops.pool import MAX_POOL2D, pooled_length
from coolnn.spec import Spec

# As for the single gradients; Winograd's filter gradient, where it is taken, is the least exact.
RTOL = 5e-5


class Layer(NamedTuple):
    """conv2d, relu and max-pooling, if `pool` (kernel, stride, padding) is given."""

    n: int
    ic: int
    size: tuple[int, int]
    oc: int
    kernel: int
    stride: int = 1
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    pool: tuple[int, int, int] | None = None
    relu: bool = True


LAYERS = {
    "lenet_1": Layer(17, 1, (28, 28), 6, 5, padding=(2, 2, 2, 2), pool=(2, 2, 0)),
    "lenet_2": Layer(31, 6, (14, 14), 16, 5, pool=(2, 2, 0)),
    "lenet_2_unpooled": Layer(18, 6, (14, 14), 16, 5),
    # A picture in each lane: odd sizes, rows and columns that no window reaches, padding, all remainders of channels.
    "lanes_padded": Layer(33, 2, (11, 13), 4, 3, padding=(1, 2, 3, 0), pool=(2, 2, 0)),
    "lanes_even_kernel": Layer(16, 5, (9, 8), 3, 4, pool=(2, 2, 0)),
    "lanes_one_pixel": Layer(7, 4, (6, 7), 5, 1, pool=(2, 2, 0)),
    "lanes_many_inputs": Layer(5, 13, (8, 8), 2, 3, pool=(2, 2, 0), relu=False),
    "lanes_wide_kernel": Layer(9, 1, (16, 17), 3, 7, pool=(2, 2, 0)),
    "lanes_one_window": Layer(32, 7, (6, 6), 8, 5, pool=(2, 2, 0)),
    "no_relu": Layer(3, 4, (8, 9), 5, 3, relu=False),
    "pool_alone": Layer(3, 4, (8, 9), 5, 3, pool=(2, 2, 0), relu=False),
    "odd_rest": Layer(5, 3, (11, 10), 7, 3, padding=(1, 1, 1, 1), pool=(2, 2, 0)),
    "overlapping": Layer(2, 3, (12, 13), 20, 3, padding=(1, 1, 1, 1), pool=(3, 2, 1)),
    "strided": Layer(3, 3, (17, 16), 9, 5, stride=2, padding=(2, 1, 0, 3), pool=(2, 2, 0)),
    "grouped": Layer(2, 8, (9, 9), 12, 3, padding=(1, 1, 1, 1), groups=4, pool=(3, 3, 0)),
    "winograd": Layer(2, 32, (12, 12), 32, 3, padding=(1, 1, 1, 1)),
    "wide": Layer(1, 3, (4, 4), 1100, 3),
    "one_channel": Layer(4, 1, (6, 6), 1, 3),
    "nothing": Layer(0, 3, (6, 6), 4, 3),
}


def drawn(layer: Layer) -> tuple[list[Any], dict[str, Any]]:
    """Random inputs of conv2d_backward, and its attributes but `wants`."""
    rng = np.random.default_rng(layer.oc + 100 * layer.n)
    x = rng.standard_normal((layer.n, layer.ic, *layer.size)).astype(np.float32)
    filters = (layer.oc, layer.ic // layer.groups, layer.kernel, layer.kernel)
    weight = rng.standard_normal(filters).astype(np.float32)
    geometry = dict(stride=(layer.stride,) * 2, padding=layer.padding, dilation=(1, 1), groups=layer.groups)
    y = CONV2D.reference(x, weight, None, **geometry)
    if layer.relu:
        y = np.maximum(y, 0)
    size, indices, window = y.shape[2:], None, ()
    if layer.pool is not None:
        kernel, stride, padding = layer.pool
        pooling: dict[str, Any] = dict(
            kernel_size=(kernel,) * 2, stride=(stride,) * 2, padding=(padding,) * 4, dilation=(1, 1)
        )
        pooled = tuple(pooled_length(n, kernel, stride, padding, padding, 1, False) for n in size)
        y, indices = MAX_POOL2D.reference(y, output_size=pooled, **pooling)
        indices = indices.astype(np.int32)
        window = tuple(n for values in pooling.values() for n in values)
    grad = rng.standard_normal(y.shape).astype(np.float32)
    attributes = dict(input_size=layer.size, kernel_size=weight.shape[2:], output_size=size, pool=window, **geometry)
    return [grad, y if layer.relu else None, indices, x, weight], attributes


@pytest.mark.parametrize("name", LAYERS)
def test_kernel_against_reference(name):
    arrays, attributes = drawn(LAYERS[name])
    for wants in itertools.product((0, 1), repeat=3):
        if not any(wants[:2]):
            continue
        given = [*arrays[:3], arrays[3] if wants[1] else None, arrays[4] if wants[0] else None]
        exact = [None if a is None else a.astype(np.float64) if a.dtype == np.float32 else a for a in given]
        expected = CONV2D_BACKWARD.reference(*exact, wants=wants, **attributes)
        threads = (1, 2, 3) if all(wants) else (2,)
        check("conv2d_backward", {"wants": wants, **attributes}, given, expected, RTOL, threads=threads)


POOLED_IN_LANES = [
    name for name, layer in LAYERS.items() if layer.pool == (2, 2, 0) and layer.size[0] > 6 and layer.stride == 1
]


@pytest.mark.parametrize("name", POOLED_IN_LANES)
@pytest.mark.parametrize("clamp", [(0.0, math.inf), (0.0, 6.0), (-math.inf, math.inf)])
def test_forward_with_pooling_and_places(name, clamp):
    layer = LAYERS[name]
    arrays, attributes = drawn(layer)
    x, weight = arrays[3:]
    bias = np.random.default_rng(0).standard_normal(layer.oc).astype(np.float32)
    x[0, 0, :3] = np.nan  # the first NaN of a window is its largest number
    settings = {key: attributes[key] for key in ("stride", "padding", "dilation", "groups")}
    settings |= dict(low=clamp[0], high=clamp[1], pool=2, size_before_pool=attributes["output_size"])
    exact = [a.astype(np.float64) for a in (x, weight, bias)]
    pooled, places = CONV2D_FUSED.reference(*exact, None, indices=True, **settings)
    # Numbers that are clamped to the same value are ties to the bit, in float64 as in float32: the first wins.
    given, made = [x, weight, bias, None], [Spec(pooled.shape, x.dtype), Spec(pooled.shape, np.dtype(np.int32))]
    settings["indices"] = True
    ran: list[str] = []
    for isa, threads in itertools.product(ISAS, (1, 2)):
        with engine(isa, threads):
            if prepare("conv2d_fused", settings, [a if a is None else spec_of(a) for a in given], made) is None:
                continue  # another algorithm and pooling apart are cheaper
            got = run("conv2d_fused", settings, given, made)
        assert relative_error(got[0], pooled) <= RTOL, isa
        np.testing.assert_array_equal(got[1], places)
        ran.append(isa)
    assert ran or not name.startswith("lenet")


def names(traced: graph.Graph) -> list[str]:
    return [step.op.name for step in traced.steps]


def backward_of(net: Any, *shape: int) -> graph.Graph:
    """The graph of a network's gradients for its input and parameters."""

    def gradients(x: Any) -> Any:
        x.requires_grad = True
        return cool.grad(cool.ops.sum(net(x)), [x, *net.parameters()])

    return graph.trace(gradients, [cool.meta(*shape)])


def same_results(traced: graph.Graph, x: Any, exactly: bool = True) -> None:
    """The fused graph gives the bits of the plain one where its parts run one by one, else nearly so."""
    plain, fused = graph.program.Program(traced, passes=()), graph.program.Program(traced)
    for a, b in zip(plain.run([x]), fused.run([x]), strict=True):
        bound = 0 if exactly else 1e-5 * np.abs(a.numpy()).max()
        assert np.abs(a.numpy() - b.numpy()).max() <= bound


def test_conv_and_relu_and_pooling_become_one_step():
    net = cool.nn.Sequential(cool.nn.Conv2d(3, 4, 3), cool.nn.ReLU(), cool.nn.MaxPool2d(2))
    fused = fuse_conv_backward(backward_of(net, 2, 3, 8, 8))
    step = next(step for step in fused.steps if step.op.name == "conv2d_backward")
    pooled = next(step for step in fused.steps if step.op.name == "max_pool2d")
    assert step.inputs[1:3] == pooled.outputs  # the mask is that of the pooled numbers
    assert not {"relu_grad", "max_pool2d_grad", "conv2d_input_grad", "conv2d_weight_grad"} & {*names(fused)}


@pytest.mark.parametrize(
    ("net", "wanted"),
    [
        # Pooling first: its gradient comes after the convolution's.
        (lambda n: n.Sequential(n.Conv2d(3, 4, 3), n.MaxPool2d(2), n.ReLU()), {"relu_grad"}),
        # The mask has another reader (the second branch of a residual block).
        (lambda n: n.Sequential(n.Conv2d(3, 4, 3), n.BatchNorm2d(4), n.ReLU()), {"relu_grad"}),
        (lambda n: n.Sequential(n.Conv2d(3, 4, 3), n.ReLU(), n.AvgPool2d(2)), {"avg_pool2d_grad"}),
        (lambda n: n.Sequential(n.Conv2d(3, 4, 3, bias=False)), set()),
        (lambda n: n.Sequential(n.Conv2d(3, 4, 3), n.ReLU(), n.Conv2d(4, 4, 3, groups=2), n.ReLU6()), {"relu6_grad"}),
    ],
)
def test_what_stays_apart(net, wanted):
    traced = backward_of(net(cool.nn), 2, 3, 8, 8)
    fused = names(fuse_conv_backward(traced))
    assert "conv2d_backward" in fused
    assert not {"conv2d_input_grad", "conv2d_weight_grad"} & {*fused}
    assert {name for name in fused if name.endswith("_grad") and name.split("_grad")[0] != "batch_norm"} >= wanted


class Branches(cool.nn.Module):
    """Two convolutions whose outputs are added, so that they share an upstream gradient."""

    def __init__(self) -> None:
        self.one, self.two = cool.nn.Conv2d(3, 4, 3), cool.nn.Conv2d(3, 4, 3)

    def forward(self, x: Any) -> Any:
        return cool.ops.relu(self.one(x) + self.two(x * 2))


@pytest.mark.parametrize(("name", "exactly"), [("lenet5", False), ("small_resnet", True), ("small_vgg", True)])
def test_networks_keep_their_gradients(name, exactly):
    cool.manual_seed(0)
    net = cool.models.create(name, num_classes=10, in_channels=1)
    x = cool.from_numpy(np.random.default_rng(0).standard_normal((3, 1, 28, 28)).astype(np.float32))
    same_results(backward_of(net, 3, 1, 28, 28), x, exactly)


def test_convolutions_that_share_a_gradient():
    cool.manual_seed(0)
    traced = backward_of(Branches(), 2, 3, 6, 6)
    assert names(fuse_conv_backward(traced)).count("conv2d_backward") == 2
    same_results(traced, cool.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)))
