"""Explanations of numbers: for every operation on all of its cases, the terms give the engine's number."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ops import Drawn, each_case, gradients_of, to_tensors, weights_for

import coolnn as cool
import coolnn.graph  # enters the joined operations
from coolnn import autograd
from coolnn.explain.numbers import Explanation
from coolnn.ops import FUNCTIONS, OPS
from coolnn.spec import float32, float64

# Sums of products in float64 differ from the reference's by the order of its additions.
RTOL64 = 1e-9


def record_case(name, index, dtype, backward=True):
    """A case forward and backward, recorded."""
    function = FUNCTIONS[name]
    drawn = Drawn(function.cases[index], index)
    cool.manual_seed(0)
    tensors = to_tensors(drawn, drawn.arrays, dtype)
    inputs = [t for t, wanted in zip(tensors, drawn.differentiated, strict=True) if wanted]
    with cool.explain.recording() as trace:
        outputs = drawn.call(function.call, tensors)
        weights = [cool.tensor(w.astype(dtype)) for w in weights_for(outputs)]
        if backward:
            gradients_of(outputs, inputs, weights)
    return trace, inputs, outputs


def places(shape, rng, count=3):
    return [tuple(int(rng.integers(n)) for n in shape) for _ in range(count)]


def check(trace, rtol, rng):
    """Every number of every step, forward and backward: the engine's value beside the terms."""
    for step in list(trace.steps):
        for output in step.call.outputs:
            if output.size == 0 or output is None or step.call.in_place:
                continue
            array = output.numpy()
            finite = array[np.isfinite(array)].astype(float64) if array.dtype.kind == "f" else array.astype(float64)
            scale = float(np.abs(finite).max(initial=0))
            for place in places(output.shape, rng):
                why = Explanation(trace, output, place)
                if not np.isfinite(why.value):
                    assert str(why.exact) == str(why.value), f"{why}"
                else:
                    assert abs(why.difference) <= rtol * scale + 1e-12, f"{why}"
                assert why.kind in ("sum", "choice", "function"), why.kind


@each_case
def test_terms_give_the_reference(name, index):
    """In float64, where the engine runs the reference."""
    trace, _, _ = record_case(name, index, float64)
    check(trace, RTOL64, np.random.default_rng(index))


@each_case
def test_terms_give_the_kernels_number(name, index):
    trace, _, _ = record_case(name, index, float32)
    # Numbers inside of a composed function and its gradients may cancel more than its result does.
    check(trace, 10 * FUNCTIONS[name].rtol, np.random.default_rng(index))


def run_op(name, inputs, **attributes):
    """One operation without a public function."""
    with cool.explain.recording() as trace:
        autograd.apply_all(OPS[name], *[None if x is None else cool.tensor(x) for x in inputs], **attributes)
    return trace


_CONV = dict(stride=(1, 1), padding=(1, 1, 1, 1), dilation=(1, 1), groups=1)


@pytest.mark.parametrize("dtype", [float32, float64])
def test_joined_operations(dtype):
    """Those that passes over a graph make: the sum, what is added, the clamp, and the maximum that won."""
    x, w, b, r = (
        digits(shape, i).astype(dtype) for i, shape in enumerate([(2, 3, 6, 6), (4, 3, 3, 3), (4,), (2, 4, 6, 6)])
    )
    finish = dict(low=0.0, high=math.inf, pool=2, size_before_pool=(6, 6))
    check(run_op("conv2d_fused", (x, w, b, r), **_CONV, **finish), 1e-5, np.random.default_rng(0))
    x, w, b, r = (digits(shape, i).astype(dtype) for i, shape in enumerate([(2, 8), (5, 8), (5,), (2, 5)]))
    check(run_op("linear_fused", (x, w, b, r), low=0.0, high=6.0), 1e-5, np.random.default_rng(0))


def test_joined_gradients():
    """conv2d_backward has no terms of its own: its reference gives the value."""
    grad, x, w = digits((2, 4, 6, 6)), digits((2, 3, 6, 6), 1), digits((4, 3, 3, 3), 2)
    sizes = dict(input_size=(6, 6), kernel_size=(3, 3), output_size=(6, 6), wants=(1, 1, 1), pool=())
    check(run_op("conv2d_backward", (grad, None, None, x, w), **sizes, **_CONV), 1e-5, np.random.default_rng(0))


def test_a_step_of_an_optimizer():
    w, g, v = (cool.tensor(digits((4,), i)) for i in range(3))
    with cool.explain.recording() as trace:
        cool.ops.sgd_step(w, g, v, cool.tensor([0.1, 1.0]), momentum=0.9)
    why = Explanation(trace, w, 2)
    assert abs(why.difference) < 1e-6
    assert [part.name for part, _ in why.influences][:3] == ["param", "grad", "buffer"]
    assert why.influences[0][0].explain().name == "tensor"  # what was there before


# --- by hand ---------------------------------------------------------------------------------------------------------


def digits(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_convolutions_terms_are_its_products(data):
    """Random geometry and place: every product by hand, padding as zeros, and the sum with the engine's number."""
    groups = data.draw(st.integers(1, 2))
    channels, filters = (groups * data.draw(st.integers(1, 3)) for _ in range(2))
    kernel = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride, dilation = (data.draw(st.tuples(st.integers(1, 3), st.integers(1, 2))) for _ in range(2))
    padding = data.draw(st.tuples(*[st.integers(0, 2)] * 4))
    x, w = digits((2, channels, 7, 8)), digits((filters, channels // groups, *kernel), 1)
    with cool.explain.recording() as trace:
        y = cool.ops.conv2d(
            cool.tensor(x), cool.tensor(w), stride=stride, padding=padding, dilation=dilation, groups=groups
        )
    place = tuple(data.draw(st.integers(0, n - 1)) for n in y.shape)
    why = cool.explain(y, place)
    padded = np.pad(x.astype(float), ((0, 0), (0, 0), (padding[0], padding[2]), (padding[1], padding[3])))
    first = place[1] // (filters // groups) * (channels // groups)
    want = [
        padded[place[0], first + c, place[2] * stride[0] + i * dilation[0], place[3] * stride[1] + j * dilation[1]]
        * float(w[place[1], c, i, j])
        for c, i, j in np.ndindex(*w.shape[1:])
    ]
    assert [term.value for term in why.terms] == want
    assert why.value == float(y.numpy()[place]) and abs(why.difference) <= 1e-5 * max(map(abs, want))
    assert why.padding == sum(term.factors[0].is_padding for term in why.terms)
    for term in why.terms:
        assert term.factors[0].is_padding or term.factors[0].value == x[term.factors[0].place]
    assert trace.steps


def test_followed_down_to_the_pixels():
    net = cool.models.create("lenet5")
    trace = cool.explain.trace(net, digits((1, 1, 28, 28)))
    path = list(trace.explain((0, 3)).path())
    assert [step.operation for step in path if step.operation in ("linear", "conv2d", "max_pool2d", "reshape")] == [
        *["linear"] * 3, "reshape", "max_pool2d", "conv2d", "max_pool2d", "conv2d",
    ]  # fmt: skip
    assert path[-1].kind == "given" and path[-1].name == "x"
    # Each is a factor of the one before: the chain is not broken.
    for above, below in itertools.pairwise(path):
        parts = [p for t in above.terms for p in t.factors] or [p for p, _ in above.influences]
        assert any(p.tensor is below.tensor and p.place == below.place and p.value == below.value for p in parts)


def test_the_receptive_field_is_what_can_change_the_number():
    net = cool.nn.Sequential(
        cool.nn.Conv2d(1, 2, 3, padding=1), cool.nn.MaxPool2d(2), cool.nn.Conv2d(2, 2, 3, stride=2, padding=1)
    )
    x = digits((1, 1, 16, 16))
    trace = cool.explain.trace(net, x)
    for place in [(0, 1, 1, 2), (0, 0, 0, 0), (0, 1, 3, 3)]:
        box = trace.explain(place).field["input" if "input" in trace.explain(place).field else "x"]
        changes = np.zeros((16, 16), bool)
        for i, j in np.ndindex(16, 16):
            other = x.copy()
            other[0, 0, i, j] = 1e3  # large enough to win every maximum
            more = net(cool.tensor(other)).numpy()[place]
            other[0, 0, i, j] = -1e3
            changes[i, j] = more != trace.output.numpy()[place] or net(cool.tensor(other)).numpy()[place] != more
        rows, columns = np.nonzero(changes)
        assert (box.first[2:], box.last[2:]) == ((rows.min(), columns.min()), (rows.max(), columns.max()))


class Residual(cool.nn.Module):
    def __init__(self):
        self.stem = cool.nn.Conv2d(3, 4, 3, padding=1)
        self.block = cool.nn.Sequential(cool.nn.Conv2d(4, 4, 3, padding=1), cool.nn.BatchNorm2d(4), cool.nn.ReLU())
        self.head = cool.nn.Linear(4, 3)

    def forward(self, x):
        x = self.stem(x)
        for _ in range(2):
            x += self.block(x)  # in-place style, and the same module twice
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("training", [False, True])
def test_a_residual_network_whose_block_is_used_twice(training):
    net = Residual().train(training)
    trace = cool.explain.trace(net, digits((2, 3, 8, 8)))
    assert "block.0 (use 2)" in trace.layers()
    for step in trace.steps:
        for output in step.call.outputs:
            if not step.call.in_place and output.size and output.dtype == float32:
                array = output.numpy()
                for place in places(array.shape, np.random.default_rng(0), 5):
                    why = Explanation(trace, output, place)
                    assert why.value == float(array[place])
                    assert abs(why.difference) <= 5e-5 * np.abs(array).max()


def test_the_engines_own_graph_is_enough():
    """Without a recording, for a result that remembers its graph: what was not kept is computed again, bit for bit."""
    net = cool.models.create("lenet5")
    x = cool.tensor(digits((1, 1, 28, 28)), requires_grad=True)
    y = net(x)
    why = cool.explain(y, (0, 3))
    assert why.value == float(y.numpy()[0, 3]) and why.operation == "linear"
    assert next(reversed(list(why.path()))).kind == "given"


def test_what_was_overwritten_in_a_recording_is_remembered():
    norm = cool.nn.BatchNorm2d(3)
    with cool.explain.recording(norm) as trace:
        norm(cool.tensor(digits((4, 3, 5, 5))))
        norm.eval()
        y = norm(cool.tensor(digits((4, 3, 5, 5), 1)))
    before = [t for t, _ in trace._touched.values() if trace.name_of(t) == "running_mean (before)"]
    assert len(before) == 1 and not before[0].numpy().any()
    assert abs(cool.explain(y, (0, 1, 2, 3)).difference) < 1e-6
    optimizer = cool.optim.SGD(norm.parameters(), lr=1.0)
    norm(cool.tensor(digits((4, 3, 5, 5)))).square().sum().backward()
    optimizer.step()
    mul = next(s for s in trace.steps if s.call.op.name == "mul" and s.call.inputs[0] is norm.weight)
    with pytest.raises(RuntimeError, match="weight was overwritten after this run was recorded"):
        Explanation(trace, mul.call.outputs[0], (1,))


def test_an_operation_of_the_users_own():
    cube = cool.ops.register(
        "cube_for_explain", forward=lambda x: x**3, vjp=lambda call, g: g * 3 * call.inputs[0] ** 2
    )
    try:
        with cool.explain.recording() as trace:
            y = cube(cool.tensor([1.0, 2.0]))
        why = cool.explain(y, 1)
        assert why.kind == "function" and why.exact == 8.0
        ((part, slope),) = why.influences
        assert part.value == 2.0 and part.place == (1,) and slope == 12.0
        assert trace.steps
    finally:
        del OPS["cube_for_explain"]
        del cool.ops.cube_for_explain


# --- forms and errors ------------------------------------------------------------------------------------------------


def test_forms():
    net = cool.nn.Sequential(cool.nn.Conv2d(1, 2, 3, padding=1))
    trace = cool.explain.trace(net, digits((1, 1, 6, 6)))
    trace.name(trace.inputs[0], "<b>picture")
    why = trace.explain((0, 1, 0, 0))
    assert "5 of 10 terms lie in it" in str(why)
    html = why._repr_html_()
    assert "<b>picture" not in html and "&lt;b&gt;picture" in html and "http" not in html.replace("www.w3.org", "")
    data = json.loads(why.to_json())
    assert data["value"] == why.value and len(data["terms"]) == 10
    assert sum(t["value"] for t in data["terms"]) == pytest.approx(why.exact)


def test_infinite_numbers_are_json():
    trace = cool.explain.trace(lambda x: cool.ops.log(x), x=0.0)
    assert json.loads(trace.explain().to_json())["value"] == "-inf"


def test_errors_say_what_to_do():
    y = cool.zeros(2, 3) + 1
    with pytest.raises(RuntimeError, match=r"record the run: trace = cool\.explain\.trace"):
        cool.explain(y, (0, 0))
    with pytest.raises(TypeError, match="for a network"):
        cool.explain(cool.nn.ReLU(), 0)
    trace = cool.explain.trace(cool.nn.Linear(3, 2), digits((4, 3)))
    with pytest.raises(IndexError, match=r"axis 1 has places 0 to 1"):
        trace.explain((0, 2))
    with pytest.raises(IndexError, match="say which one"):
        trace.explain()
    with pytest.raises(KeyError, match="nothing is named 'conv'"):
        trace.explain((0, 0), of="conv")
    with pytest.raises(ValueError, match="took no part"):
        trace.explain((0, 0), of=cool.zeros(2, 2))
    with pytest.raises(IndexError, match="there are 4 terms"):
        trace.explain((0, 0)).explain(7)
    with pytest.raises(KeyError, match="it has x, weight"):
        trace.explain((0, 0)).explain(0, "bias")
    given = trace.explain((0, 0)).explain(0)
    assert given.kind == "given"
    with pytest.raises(ValueError, match="given, not computed"):
        given.explain()
    x = cool.tensor(digits((1, 2)), requires_grad=True)
    loss = (x * cool.tensor(digits((1, 2)))).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="were not kept"):
        cool.explain(loss)


def test_an_imported_network(tmp_path):
    pytest.importorskip("onnx")
    from coolnn.formats import onnx

    net = cool.models.create("lenet5").eval()
    onnx.export(net, tmp_path / "net.onnx", input_shape=(1, 1, 28, 28), check_parity=False)
    imported = onnx.load(tmp_path / "net.onnx")
    x = digits((1, 1, 28, 28))
    trace = cool.explain.trace(imported, x)
    why = trace.explain((0, 3))
    assert why.value == pytest.approx(float(net(cool.tensor(x)).numpy()[0, 3]), rel=1e-5)
    path = list(why.path())
    assert [step.operation for step in path if step.operation in ("conv2d", "linear", "matmul")][-1] == "conv2d"
    assert path[-1].kind == "given" and path[-1].tensor.shape == x.shape
