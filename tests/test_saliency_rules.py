"""The modified backward rules of rectifiers: against the formulas on small nets, eagerly and compiled."""

import numpy as np
import pytest

import coolnn as cool
from coolnn.explain import backward_rule

X = np.array([-2.0, -0.5, 0.5, 2.0], np.float32)
UP = np.array([1.0, -1.0, 1.0, -1.0], np.float32)

RECTIFIERS = {
    "relu": cool.ops.relu,
    "relu6": cool.ops.relu6,
    "leaky_relu": lambda x: cool.ops.leaky_relu(x, 0.25),
    "clip": lambda x: cool.ops.clip(x, 0.0, 6.0),
    "maximum": lambda x: cool.ops.maximum(x, 0.0),
    "maximum from the left": lambda x: cool.ops.maximum(cool.tensor([0.0]), x),
    "silu": cool.ops.silu,
    "gelu": cool.ops.gelu,
    "hardswish": cool.ops.hardswish,
}


def gradient(function, rule, x=X):
    x = cool.tensor(x, requires_grad=True)
    y = (function(x) * cool.tensor(UP)).sum()
    if rule is None:
        return cool.grad(y, x)[0].numpy()
    with backward_rule(rule):
        return cool.grad(y, x)[0].numpy()


@pytest.mark.parametrize("name", RECTIFIERS)
def test_rectifiers_hand_back_the_positive_part(name):
    assert np.array_equal(gradient(RECTIFIERS[name], "deconvnet"), np.maximum(UP, 0))
    assert np.array_equal(gradient(RECTIFIERS[name], "guided"), np.maximum(gradient(RECTIFIERS[name], None), 0))


@pytest.mark.parametrize(
    "function",
    [cool.ops.sigmoid, cool.ops.tanh, lambda x: cool.ops.clip(x, -1.0, 1.0), lambda x: cool.ops.maximum(x, 1.0)],
)
def test_what_is_no_rectifier_keeps_its_own_rule(function):
    for rule in ("deconvnet", "guided"):
        assert np.array_equal(gradient(function, rule), gradient(function, None))


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_a_compiled_function_keeps_the_rule_it_was_made_under(rule):
    cool.manual_seed(0)
    net = cool.models.create("squeezenet1_1", num_classes=5).eval()
    layer = cool.explain.Layers(net, (3, 64, 64))["features.6"]

    def project(x):
        x.requires_grad = True
        _, (map_,) = cool.explain.tapped(net, x, [layer])
        with backward_rule(rule):
            return cool.grad(map_.square().sum(), x)[0]

    x = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
    eager, run = project(cool.tensor(x)).numpy(), cool.compile(project)
    plain = cool.compile_gradient(lambda x: cool.explain.tapped(net, x, [layer])[1][0].square().sum())(x)[1].numpy()
    assert np.abs(eager - plain).max() > 0.01 * np.abs(plain).max()
    for _ in range(2):  # also from the kept program, after the rule has ended
        # fused kernels sum in another order: a few units in the last place of float32
        assert np.abs(run(x).numpy() - eager).max() <= 1e-5 * np.abs(eager).max()


def test_the_rule_ends_with_its_block_also_on_error():
    with pytest.raises(RuntimeError, match="stop"), backward_rule("guided"):
        raise RuntimeError("stop")
    assert np.array_equal(gradient(cool.ops.relu, None), UP * (X > 0))
    with pytest.raises(ValueError, match="no backward rule 'lrp'; there are: deconvnet, guided"), backward_rule("lrp"):
        pass
