"""Passes: fused, folded and packed programs compute what the operations do one by one, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

import coolnn as cool
from coolnn import _core, graph, ops
from coolnn.graph.program import Program
from coolnn.ops import FUNCTIONS

CONV = FUNCTIONS["conv2d"]
# What may follow, with the names of the steps that must be left.
FINISHES = {
    "relu": lambda y, r: ops.relu(y),
    "relu6": lambda y, r: ops.relu6(y),
    "clip": lambda y, r: ops.clip(y, -0.5, 0.75),
    "least": lambda y, r: ops.clip(y, min=-0.1),
    "residual": lambda y, r: r + y,
    "residual_relu": lambda y, r: ops.relu(y + r),
}


def draw(case):
    rng = np.random.default_rng(0)
    return [cool.tensor(a.draw(rng).astype(np.float32)) for a in case.args]


def exact(tensor):
    return None if tensor is None else cool.tensor(tensor.numpy().astype(np.float64))


def bound(plain, rtol):
    """The error that the sums may have; what follows them makes it no larger, a clamp smaller."""
    return rtol * np.abs(plain.numpy()).max(initial=1e-6)


def programs(function, x):
    """The function as a program whose weights may change and as one whose weights are constant."""
    for constant in (False, True):
        yield Program(graph.trace(function, [cool.meta(*x.shape)]), constant_weights=constant)


def check(program, x, expected, bound, steps):
    assert [step.op.name for step in program.graph.steps] == steps
    (got,) = program.run([x])
    assert got.shape == expected.shape
    if expected.size:
        assert np.abs(got.numpy() - expected.numpy()).max() <= bound


@pytest.mark.parametrize("isa", _core.available_isas())
@pytest.mark.parametrize("case", CONV.cases, ids=str)
def test_convolution_with_what_follows(case, isa):
    x, weight, *rest = draw(case)
    bias = rest[0] if rest else None
    conv = case.kwargs
    plain = ops.conv2d(exact(x), exact(weight), exact(bias), **conv)
    r = cool.tensor(np.random.default_rng(1).standard_normal(plain.shape).astype(np.float32))
    with cool.options(isa=isa):
        for finish in FINISHES.values():
            expected = finish(plain, exact(r))
            for program in programs(lambda x: [finish(ops.conv2d(x, weight, bias, **conv), r)], x):  # noqa: B023
                check(program, x, expected, bound(plain, CONV.rtol), ["conv2d_fused"])


@pytest.mark.parametrize("isa", _core.available_isas())
@pytest.mark.parametrize("case", FUNCTIONS["linear"].cases, ids=str)
def test_linear_with_what_follows(case, isa):
    x, weight, *rest = draw(case)
    bias = rest[0] if rest else None
    plain = ops.linear(exact(x), exact(weight), exact(bias))
    r = cool.tensor(np.random.default_rng(1).standard_normal(plain.shape).astype(np.float32))
    with cool.options(isa=isa):
        for finish in FINISHES.values():
            expected = finish(plain, exact(r))
            for program in programs(lambda x: [finish(ops.linear(x, weight, bias), r)], x):  # noqa: B023
                check(program, x, expected, bound(plain, FUNCTIONS["linear"].rtol), ["linear_fused"])


@pytest.mark.parametrize("isa", _core.available_isas())
@pytest.mark.parametrize(("channels", "size"), [(16, (8, 8)), (17, (7, 9)), (33, (5, 6)), (32, (2, 2)), (16, (12, 3))])
def test_pooling_in_winograds_output(channels, size, isa):
    rng = np.random.default_rng(0)
    x, weight, bias = (
        cool.tensor(rng.standard_normal(shape).astype(np.float32))
        for shape in [(2, 16, *size), (channels, 16, 3, 3), (channels,)]
    )
    expected = ops.max_pool2d(ops.relu(ops.conv2d(exact(x), exact(weight), exact(bias), padding=1)), 2)
    with cool.options(isa=isa):
        for program in programs(lambda x: [ops.max_pool2d(ops.relu(ops.conv2d(x, weight, bias, padding=1)), 2)], x):
            fused = "winograd" in program.kernels[0][1].algorithm
            check(
                program,
                x,
                expected,
                bound(expected, CONV.rtol),
                ["conv2d_fused"] if fused else ["conv2d_fused", "max_pool2d"],
            )


def test_pooling_keeps_nan_wherever_it_is():
    weight = np.zeros((16, 16, 3, 3), np.float32)
    weight[range(16), range(16), 1, 1] = 1
    weight = cool.tensor(weight)
    for place in np.ndindex(2, 2):
        x = np.zeros((1, 16, 4, 4), np.float32)
        x[0, 3, place[0], place[1]] = np.nan
        for program in programs(lambda x: [ops.max_pool2d(ops.conv2d(x, weight, padding=1), 2)], cool.tensor(x)):
            assert np.isnan(program.run([cool.tensor(x)])[0].numpy()[0, 3, 0, 0])


def test_nothing_is_fused_that_something_else_reads():
    weight = cool.ones(2, 1, 3, 3)
    x = cool.ones(1, 1, 4, 4)

    def both(x):
        y = ops.conv2d(x, weight)
        return [y, ops.relu(y)]

    def twice(x):
        y = ops.conv2d(x, weight)
        return [y + y]

    for function, steps in ((both, ["conv2d", "relu"]), (twice, ["conv2d", "add"])):
        for program in programs(function, x):
            assert [step.op.name for step in program.graph.steps] == steps
            for got, wanted in zip(program.run([x]), function(x), strict=True):
                assert np.array_equal(got.numpy(), wanted.numpy())


def network():
    cool.manual_seed(0)
    layers = [cool.nn.Conv2d(3, 16, 3, padding=1), cool.nn.BatchNorm2d(16), cool.nn.ReLU(), cool.nn.Conv2d(16, 20, 3)]
    layers += [cool.nn.BatchNorm2d(20), cool.nn.Flatten(), cool.nn.Linear(720, 5, bias=False), cool.nn.BatchNorm1d(5)]
    net = cool.nn.Sequential(*layers)
    net(cool.tensor(np.random.default_rng(0).standard_normal((6, 3, 8, 8)).astype(np.float32)))  # moves statistics
    return net.eval()


def test_batch_norm_disappears_and_weights_are_seen_to_change():
    net = network()
    run = cool.compile(net)
    x = cool.tensor(np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32))
    names = [step.op.name for step in run.program(x.spec).graph.steps]
    assert names == ["conv2d_fused", "conv2d", "reshape", "linear"]

    def agree():
        wanted = net(x).numpy()
        assert np.abs(run(x).numpy() - wanted).max() <= 1e-5 * np.abs(wanted).max()
        return wanted.copy()

    before = agree()
    net[3].weight.copy_(net[3].weight.numpy() * 2)  # from outside
    between = agree()
    assert not np.array_equal(before, between)
    optimizer = cool.optim.SGD(net.parameters(), lr=0.1)  # by kernels, one by one
    net(x).sum().backward()
    optimizer.step()
    after = agree()
    assert not np.array_equal(between, after)
    step = cool.compile_step(net, optimizer=optimizer)  # by a plan, and the running statistics with the weights
    net.train()
    step(x, np.array([0, 3]))
    net.eval()
    assert not np.array_equal(after, agree())
    net[0].weight.numpy()[...] *= 3  # past the engine: to be said
    run.refresh()
    agree()


def test_gradient_of_a_picture_with_constant_weights():
    net = network()
    x = np.random.default_rng(2).standard_normal((2, 3, 8, 8)).astype(np.float32)

    def score(x):
        y = net(x)
        return (y * y).sum(), y

    run = cool.compile_gradient(score)
    value, gradient, output = run(x)
    leaf = cool.tensor(x, requires_grad=True)
    wanted_value, wanted_output = score(leaf)
    (wanted,) = cool.grad(wanted_value, leaf)
    for got, exact_enough in ((value, wanted_value), (gradient, wanted), (output, wanted_output)):
        assert np.abs(got.numpy() - exact_enough.numpy()).max() <= 2e-5 * np.abs(exact_enough.numpy()).max()
    names = [step.op.name for step in run.program(leaf.spec).graph.steps]
    assert not any("weight_grad" in name or name == "channel_affine" for name in names)
    with pytest.raises(ValueError, match="only one number"):
        cool.compile_gradient(lambda x: x * 2)(x)


@pytest.mark.parametrize("isa", _core.available_isas())
@pytest.mark.parametrize("case", CONV.cases, ids=str)
def test_input_gradients_with_constant_weights(case, isa):
    x, weight, *rest = draw(case)
    bias = rest[0] if rest else None

    def total(x, weight, bias):
        y = ops.relu(ops.conv2d(x, weight, bias, **case.kwargs))
        return (y * y).sum()

    leaf = cool.tensor(x.numpy().astype(np.float64), requires_grad=True)
    (wanted,) = cool.grad(total(leaf, exact(weight), exact(bias)), leaf)
    with cool.options(isa=isa):
        _, gradient = cool.compile_gradient(lambda x: total(x, weight, bias))(x)
    if wanted.size:
        assert np.abs(gradient.numpy() - wanted.numpy()).max() <= 2 * CONV.rtol * np.abs(wanted.numpy()).max(
            initial=1e-6
        )


def test_products_go_into_the_update_that_alone_reads_them():
    rng = np.random.default_rng(0)
    x, y = cool.tensor(rng.standard_normal((6, 20)).astype(np.float32)), cool.tensor(rng.integers(0, 12, 6))
    for rule in (cool.optim.SGD, cool.optim.Adam, cool.optim.RMSprop):
        nets = []
        for clip in (None, 1e9):  # a gradient that is clipped has another reader
            cool.manual_seed(0)
            net = cool.nn.Sequential(cool.nn.Linear(20, 30), cool.nn.ReLU(), cool.nn.Linear(30, 12))
            step = cool.compile_step(net, optimizer=rule(net.parameters(), lr=0.1), clip_norm=clip)
            count = step.dump(x, y).count("matmul_update")
            assert count == (2 if clip is None else 0)
            for _ in range(3):
                step(x, y)
            nets.append(net)
        for fused, apart in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
            np.testing.assert_array_equal(fused.numpy(), apart.numpy())
