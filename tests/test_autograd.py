"""The graph: gradients through graphs of any form, hooks, second derivatives, errors, and memory."""

import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import coolnn as cool
from coolnn import _core, autograd


def leaf(*values, dtype=np.float64):
    return cool.tensor(np.array(values, dtype), requires_grad=True)


# --- graphs of any form ----------------------------------------------------------------------------------------------

STEPS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "maximum": cool.ops.maximum,
    "tanh": lambda a, b: a.tanh(),
    "matmul": lambda a, b: a @ b,
    "concat": lambda a, b: cool.ops.concat([a, b])[1:4],
    "scale": lambda a, b: a * b.mean(),
    "flip": lambda a, b: a[::-1].T,
}


@st.composite
def programs(draw):
    """Steps that each use two earlier values, in any pattern: chains, diamonds, values used often or never."""
    count = draw(st.integers(1, 12))
    names = st.sampled_from(list(STEPS))
    return [(draw(names), draw(st.integers(0, 1 + i)), draw(st.integers(0, 1 + i))) for i in range(count)]


def run(program, values, steps):
    values = list(values)
    for name, i, j in program:
        values.append(steps[name](values[i], values[j]) * 0.5)
    return values[-1]


@settings(deadline=None, max_examples=60)
@given(programs(), st.integers(0, 2**31))
def test_any_graph_agrees_with_torch(program, seed):
    torch = pytest.importorskip("torch")
    theirs = {**STEPS, "maximum": torch.maximum, "concat": lambda a, b: torch.cat([a, b])[1:4]}
    theirs["flip"] = lambda a, b: a.flip(0).T
    arrays = np.random.default_rng(seed).standard_normal((2, 3, 3))
    ours_in = [cool.tensor(a, requires_grad=True) for a in arrays]
    theirs_in = [torch.tensor(a, requires_grad=True) for a in arrays]
    run(program, ours_in, STEPS).sum().backward()
    run(program, theirs_in, theirs).sum().backward()
    for x, t in zip(ours_in, theirs_in, strict=True):
        assert (x.grad is None) == (t.grad is None)
        if t.grad is not None:
            np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_deep_chain_needs_no_deep_stack():
    x = leaf(1.0)
    y = x
    for _ in range(5000):
        y = y + 0.001
    y.sum().backward()
    assert x.grad.tolist() == [1.0]


def test_gradients_add_up():
    x = leaf(2.0)
    (x * x + x).sum().backward()
    assert x.grad.tolist() == [5.0]
    (x * 3).sum().backward()
    assert x.grad.tolist() == [8.0]


def test_leaves_do_not_share_the_memory_of_gradients():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    given_gradient = cool.tensor(np.array([1.0, 1.0]))
    (a + b).backward(given_gradient)
    a.grad.copy_(np.array([7.0, 7.0]))
    assert b.grad.tolist() == given_gradient.tolist() == [1.0, 1.0]


def test_only_what_is_wanted_is_computed():
    a, b = leaf(1.0), cool.tensor(np.array([2.0]))
    with cool.record() as calls:
        y = (a * b).sum()
        y.backward()
    assert b.grad is None and a.grad.tolist() == [2.0]
    assert sum(call.op.name == "mul" for call in calls) == 2  # once forward, once for the one gradient


def test_whole_numbers_carry_no_gradient():
    x = leaf(1.5, 2.5)
    assert not (x > 2).requires_grad and not x.long().requires_grad and not x.argmax().requires_grad
    with pytest.raises(TypeError, match="int64"):
        cool.tensor([1]).requires_grad_()


# --- grad() ----------------------------------------------------------------------------------------------------------


def test_grad_returns_and_leaves_no_trace():
    x, y = leaf(2.0), leaf(3.0)
    dx, dy = cool.grad((x * y).sum(), [x, y])
    assert (float(dx), float(dy)) == (3.0, 2.0) and x.grad is None and y.grad is None


def test_grad_of_inner_values_and_repeated_inputs():
    x = leaf(2.0)
    h = x * 3
    first, again, inner = cool.grad((h * h).sum(), [x, x, h])
    assert float(first) == float(again) == 36.0 and float(inner) == 12.0


def test_grad_of_several_weighted_outputs():
    x = leaf(1.0, 2.0)
    (dx,) = cool.grad([x * 2, x * x], x, [cool.tensor(np.array([1.0, 0.0])), cool.tensor(np.array([0.0, 1.0]))])
    assert dx.tolist() == [2.0, 4.0]


def test_grad_of_what_takes_no_part():
    x, other = leaf(1.0), leaf(1.0)
    with pytest.raises(RuntimeError, match="input 1 does not take part"):
        cool.grad((x * 2).sum(), [x, other])
    assert cool.grad((x * 2).sum(), [x, other], allow_unused=True)[1] is None


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_derivatives(order):
    x = leaf(0.7)
    y = x.sin() * x.exp()
    for _ in range(order):
        (y,) = cool.grad(y.sum(), x, create_graph=True)
    s, c, e = np.sin(0.7), np.cos(0.7), np.exp(0.7)
    assert float(y) == pytest.approx([(s + c) * e, 2 * c * e, 2 * (c - s) * e][order - 1])


def test_backward_through_a_gradient():
    x = leaf(3.0)
    (x**3).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    first, x.grad = x.grad, None
    (first * first).sum().backward()  # d (3 x²)² / dx = 36 x³
    assert float(x.grad) == pytest.approx(36 * 27)


# --- hooks -----------------------------------------------------------------------------------------------------------


def test_hooks_see_and_replace():
    x = leaf(1.0)
    h = x * 2
    seen = []
    remove = h.register_hook(lambda g: seen.append(g.tolist()))
    h.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    (h + h).sum().backward(retain_graph=True)
    assert seen == [[2.0]] and x.grad.tolist() == [41.0]  # the hook sees the sum over both uses
    remove()
    remove()
    (h * 1.0).sum().backward()
    assert len(seen) == 1
    with pytest.raises(RuntimeError, match="requires gradients"):
        cool.zeros(1).register_hook(print)


def test_retain_grad():
    x = leaf(1.0)
    h = x * 2
    h.retain_grad()
    x.retain_grad()
    (h * 3).sum().backward()
    assert h.grad.tolist() == [3.0] and x.grad.tolist() == [6.0]


# --- switches --------------------------------------------------------------------------------------------------------


def test_no_grad():
    x = leaf(1.0)
    with cool.no_grad():
        assert not cool.is_grad_enabled() and not (x * 2).requires_grad
        with cool.set_grad_enabled(True):
            assert (x * 2).requires_grad
        assert not cool.is_grad_enabled()
    assert (x * 2).requires_grad and not (x.detach() * 2).requires_grad

    @cool.no_grad()
    def double(t, depth):
        """Doubles."""
        return double(t, depth - 1) if depth else t * 2

    assert not double(x, 3).requires_grad and cool.is_grad_enabled() and double.__doc__ == "Doubles."
    with pytest.raises(ZeroDivisionError), cool.no_grad():
        1 / 0  # noqa: B018
    assert cool.is_grad_enabled()
    cool.set_grad_enabled(False)
    assert not cool.is_grad_enabled()
    cool.set_grad_enabled(True)


def test_switches_belong_to_a_thread():
    seen = []
    with cool.no_grad():
        thread = threading.Thread(target=lambda: seen.append(cool.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_record_lists_the_operations():
    x = cool.ones(2, 3)
    with cool.record() as calls:
        (x * 2).sum()
    x.sum()
    assert [call.op.name for call in calls] == ["mul", "sum"]
    assert calls[1].outputs[0].shape == () and calls[1].attributes["dims"] == (0, 1)


def test_meta_tensors_run_the_graph_without_numbers():
    before = _core.memory_in_use()
    x = cool.meta(64, 3, 1000, 1000).requires_grad_()
    (dx,) = cool.grad((x * 2).relu().mean(), x, cool.meta())
    assert dx.is_meta and dx.shape == x.shape and _core.memory_in_use() == before


# --- errors ----------------------------------------------------------------------------------------------------------


def test_a_freed_graph_says_so():
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [8.0]
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


def test_wrong_starts():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"shape \(2,\) needs a gradient"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match=r"shape \(3,\), the tensor \(2,\)"):
        (x * 2).backward(cool.zeros(3, dtype=np.float64))
    with pytest.raises(RuntimeError, match="nothing to differentiate"):
        cool.ones(1).backward()
    with pytest.raises(RuntimeError, match="only leaves"):
        (x * 2).requires_grad_(False)


def broken(name, **parts):
    """An operation x -> 2x with a faulty part, outside the registry."""
    members = {"name": name, "infer": lambda self, x: x, "reference": lambda self, x: 2 * x, **parts}
    return type(name, (cool.ops.Op,), members)()


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "has no chain rule"),
        ({"vjp": lambda self, call, grad: (grad, grad)}, "tuple of 1 gradients"),
        ({"vjp": lambda self, call, grad: grad.sum()}, r"float64\[\] for an input of float64\[2\]"),
        ({"vjp": lambda self, call, grad: grad.float()}, "float32"),
        ({"vjp": lambda self, call, grad: grad * call.inputs[0], "saves_inputs": ()}, "were not kept"),
    ],
)
def test_faulty_chain_rules_say_so(parts, text):
    y = autograd.apply(broken("faulty", **parts), leaf(1.0, 2.0) * 1.0)
    with pytest.raises((RuntimeError, NotImplementedError), match=text):
        y.sum().backward()


def test_a_reference_must_keep_to_its_shape_rule():
    with pytest.raises(ValueError, match=r"reference gave shape \(\), shape rule said \(2,\)"):
        autograd.apply(broken("faulty", reference=lambda self, x: x.sum()), leaf(1.0, 2.0))


def test_calls_that_leave_out_different_attributes_do_not_meet():
    power = broken("power", infer=lambda self, x, **a: x, reference=lambda self, x, a=1, b=1: x * a + 10 * b)
    x = cool.tensor([1.0])
    assert [float(autograd.apply(power, x, **kw)) for kw in ({"a": 2}, {"b": 2}, {"a": 2})] == [12.0, 21.0, 12.0]


def test_an_output_never_shares_the_memory_of_a_parameter_unless_it_is_a_reshape():
    w = cool.tensor(np.arange(4.0))
    outputs = [w[1:], cool.ops.flip(w, 0), w.expand(2, 4), w.double() * 1]
    kept = [y.tolist() for y in outputs]
    w.copy_(np.full(4, 9.0))
    assert [y.tolist() for y in outputs] == kept


# --- memory ----------------------------------------------------------------------------------------------------------

SHAPE = (4, 16, 32, 32)
SIZE = 4 * int(np.prod(SHAPE))


@pytest.fixture
def no_collector():
    """Memory must go by reference counts alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_memory_is_freed_after_backward(no_collector):
    x = cool.zeros(*SHAPE).requires_grad_()
    (x * 2.0).relu().sum().backward()
    x.grad = None
    before = _core.memory_in_use()
    h = x
    for _ in range(8):
        h = (h * 2.0).relu()
    loss = h.sum()
    del h
    loss.backward()
    x.grad = None
    assert _core.memory_in_use() - before < SIZE // 2
    del loss
    assert _core.memory_in_use() - before < 4096


def test_a_graph_that_is_never_used_is_freed(no_collector):
    x = cool.zeros(*SHAPE).requires_grad_()
    before = _core.memory_in_use()
    y = (x * 2.0).relu().sum()
    y.retain_grad()
    y.register_hook(lambda g: g)
    place = weakref.ref(y._node)
    del y
    assert place() is None and _core.memory_in_use() - before < 4096


def test_only_what_the_chain_rule_reads_is_kept(no_collector):
    x = cool.zeros(*SHAPE).requires_grad_()
    before = _core.memory_in_use()
    y = ((x + 1.0) * 2.0 - 3.0).reshape(SHAPE[0], -1)  # none of these rules reads a large tensor
    assert _core.memory_in_use() - before < 1.5 * SIZE
    z = y.relu()
    del y
    assert _core.memory_in_use() - before < 1.5 * SIZE  # relu keeps its own output only
    del z
    w = cool.ones(1).requires_grad_() * 1.0
    product = x.detach() * w
    assert product._node.inputs[1].is_meta and not product._node.inputs[0].is_meta


def test_many_threads_at_once():
    """Loader threads prepare and run operations of changing shapes beside the training thread."""
    failures = []

    def work(seed):
        rng = np.random.default_rng(seed)
        try:
            for _ in range(150):
                shape = tuple(rng.integers(1, 6, rng.integers(1, 5)))
                a = rng.standard_normal(shape).astype(np.float32)
                x = cool.tensor(a, requires_grad=True)
                (x.relu() * 2.0).sum().backward()
                np.testing.assert_array_equal(x.grad.numpy(), (a > 0) * np.float32(2))
        except Exception as error:
            failures.append(error)

    limit, autograd._CACHE_LIMIT = autograd._CACHE_LIMIT, 16  # so that they evict one another's kernels too
    try:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        autograd._CACHE_LIMIT = limit
    assert not failures, failures[0]
    assert len(autograd._cache) <= 4096
