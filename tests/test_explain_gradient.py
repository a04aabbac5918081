"""Explanations of gradients: the engine's, its terms, a finite difference, and the identities of convolution."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_explain_numbers import Residual, digits, places, record_case
from test_ops import each_case

import coolnn as cool
from coolnn.explain.backward import one_hot
from coolnn.explain.gradient import GradientExplanation
from coolnn.explain.identities import convolve_full, correlate, spread
from coolnn.spec import float64


@each_case
@pytest.mark.parametrize("whole", [True, False], ids=["sum", "one number"])
def test_gradients_of_every_operation(name, index, whole):
    """By a random number of each input: terms, autograd and differences agree."""
    trace, inputs, outputs = record_case(name, index, float64, backward=False)
    rng = np.random.default_rng(index)
    y = next((o for o in outputs if o.dtype == float64 and o.size and trace.maker(o)), None)
    if y is None or not y.requires_grad or not np.isfinite(y.numpy()).all():
        return
    place = places(y.shape, rng, 1)[0]
    start = cool.tensor(np.ones(y.shape)) if whole else one_hot(y.spec, place)
    engine = cool.grad(y, inputs, start, allow_unused=True)
    for tensor, gradient in zip(inputs, engine, strict=True):
        if gradient is None or tensor.size == 0:
            continue
        # A number that matters, where there is one.
        matters = np.argwhere(gradient.numpy() != 0)
        where = tuple(matters[rng.integers(len(matters))].tolist()) if len(matters) else (0,) * tensor.ndim
        why = GradientExplanation(trace, tensor, where, y if whole else (y, place))
        # Sums that cancel to nothing (of normalized numbers) leave rounding of numbers around 1.
        tolerance = 1e-9 * np.abs(gradient.numpy()).max(initial=0) + 1e-13
        assert why.value == gradient.numpy()[where]
        assert abs(why.value - why.exact) <= tolerance
        assert why.agrees or why.kink, f"{name}: {why}"
        assert abs(sum(part.exact for part in why.parts) - why.value) <= tolerance


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_identities_of_convolution(data):
    groups = data.draw(st.integers(1, 2))
    channels, filters = (groups * data.draw(st.integers(1, 2)) for _ in range(2))
    kernel = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    options = dict(
        stride=data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        dilation=data.draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        padding=data.draw(st.sampled_from(["same", "valid", 1, (1, 0, 2, 3)])),
        groups=groups,
    )
    w = cool.tensor(digits((filters, channels // groups, *kernel), 1), requires_grad=True)
    x = cool.tensor(digits((2, channels, 8, 7)), requires_grad=True)
    up = cool.tensor(digits(cool.ops.conv2d(x, w, **options).shape, 2))
    with cool.explain.recording() as trace:
        loss = (cool.ops.conv2d(x, w, **options) * up).sum()
    for tensor, count in ((w, 1), (x, 2)):
        place = tuple(data.draw(st.integers(0, n - 1)) for n in tensor.shape)
        why = cool.explain_gradient(tensor, place, of=loss)
        assert why.agrees and len(why.identities) == count
        for identity in why.identities:
            assert identity.error <= 1e-5 * max(identity.scale, 1e-3), identity
    assert trace.steps


def test_the_formulas_by_hand():
    a, b = np.arange(6.0).reshape(2, 3), np.array([[1.0, 2.0]])
    np.testing.assert_array_equal(correlate(a, b), [[2, 5], [11, 14]])
    np.testing.assert_array_equal(convolve_full(a, b), [[0, 1, 4, 4], [3, 10, 13, 10]])
    np.testing.assert_array_equal(spread(np.array([[1.0, 2.0]]), (2, 3)), [[1, 0, 0, 2]])


def test_a_network_through_its_loss():
    net, labels = cool.models.create("lenet5"), cool.tensor(np.array([3, 7]))
    with cool.explain.recording(net) as trace:
        loss = cool.ops.cross_entropy(net(cool.tensor(digits((2, 1, 28, 28)))), labels)
        loss.backward()
    for name, parameter in net.named_parameters():
        place = places(parameter.shape, np.random.default_rng(len(name)), 1)[0]
        why = cool.explain_gradient(parameter, place, of=loss)
        assert why.value == float(parameter.grad.numpy()[place]), name  # to the bit
        assert abs(why.value - why.exact) <= 1e-5 * np.abs(parameter.grad.numpy()).max()
        assert why.agrees or why.kink
        # The recorded gradient itself can be explained as well.
        assert cool.explain(parameter.grad, place).value == why.value
    assert [link.step.call.op.name for link in why.chain] == ["cross_entropy", "linear"]
    assert trace.resolve("fc3.bias") is net.fc3.bias


def test_a_weight_that_is_used_twice():
    net = Residual()
    trace = cool.explain.trace(net, digits((2, 3, 8, 8)))
    why = trace.explain_gradient("block.0.weight", (0, 1, 1, 1), of=(trace.output, (0, 2)))
    assert len(why.parts) == 2 and len(why.identities) == 2
    assert sum(part.exact for part in why.parts) == pytest.approx(why.value, rel=1e-4)
    assert why.agrees or why.kink
    assert "used 2 times" in str(why)


def test_a_kink_is_called_one():
    why = cool.explain.trace(lambda x: x.relu(), x=0.0).explain_gradient("x")
    assert why.value == 0.0 and why.finite_difference == pytest.approx(0.5)
    assert not why.agrees and "kink" in why.verdict


def test_forms():
    trace = cool.explain.trace(lambda x, y: (x * y).sigmoid(), x=4, y=-3)
    trace.name(trace.inputs[0], "<x>")
    why = trace.explain_gradient("<x>")
    assert "<x>" not in why._repr_html_() and "&lt;x&gt;" in why._repr_html_()
    assert json.loads(why.to_json())["agrees"] is True
    assert "agrees" in str(why)


def test_errors_say_what_to_do():
    trace = cool.explain.trace(lambda x, y: x * 2, x=1, y=2)
    with pytest.raises(ValueError, match="does not depend on y"):
        trace.explain_gradient("y")
    w = cool.tensor([1.0])
    with pytest.raises(RuntimeError, match="record the run"):
        cool.explain_gradient(w, 0)
    with cool.explain.recording() as recorded:
        y = w * 2
    with pytest.raises(ValueError, match="say which result"):
        cool.explain_gradient(w, 0)
    assert cool.explain_gradient(w, 0, of=y).value == 2.0
    assert recorded.steps
