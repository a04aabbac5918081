"""The gradient check: what it accepts, what it finds, and how it says so."""

import numpy as np
import pytest

import coolnn as cool
from coolnn import autograd


def double(*values):
    return cool.tensor(np.array(values, np.float64))


class Faulty(cool.ops.Op):
    """x² with the chain rule of the test."""

    name = "faulty_square"
    saves_outputs = True

    def __init__(self, rule):
        self._rule = rule

    def infer(self, x):
        return x

    def reference(self, x):
        return x * x

    def vjp(self, call, grad):
        return (self._rule(call.inputs[0], grad),)


def faulty(rule):
    op = Faulty(rule)
    return lambda x: autograd.apply(op, x)


@pytest.mark.parametrize(
    ("fn", "inputs"),
    [
        (lambda x: x.exp(), double(0.1, 0.2)),
        (lambda x: x.exp(), cool.tensor([0.1, 0.2])),  # float32 is taken to float64
        (lambda x, y: (x * y, x.sum(), y > 0), (double(1.0, 2.0), double(3.0, 4.0))),
        (lambda x, y: [x @ y], (cool.tensor([[1.0, 2.0]]), cool.tensor([[3.0], [4.0]]))),
        (lambda x, n: x**n, (double(1.5), 3)),
        (lambda x, mask: cool.ops.where(mask, x, 0), (double(1.0, 2.0), cool.tensor([True, False]))),
        (lambda x: x.sum(), cool.tensor(2.0)),
        (lambda x: x * 2, cool.zeros(0, 3)),
        (lambda x: x * 0, double(1.0)),
        (lambda x: cool.ops.conv2d(x, cool.ones(1, 1, 2, 2).double()), cool.ones(1, 1, 3, 3)),
        (lambda x: cool.grad((x * x * x).sum(), x, create_graph=True)[0], double(1.0, 2.0)),
        (faulty(lambda x, g: g * x * 2), double(1.0, 2.0)),
        (lambda x: cool.ops.dropout(x, 0.5, state=np.array([1, 2])), double(*range(10))),
    ],
)
def test_right_gradients_pass(fn, inputs):
    assert cool.gradcheck(fn, inputs)


def test_only_inputs_that_ask_are_checked():
    wrong_by_second = lambda x, y: x * faulty(lambda v, g: g)(y)  # noqa: E731
    x, y = double(1.0).requires_grad_(), double(2.0)
    assert cool.gradcheck(wrong_by_second, (x, y))
    assert not cool.gradcheck(wrong_by_second, (x, y.requires_grad_()), raise_exception=False)


def test_inputs_come_through_unharmed():
    x = cool.tensor([1.0, 2.0], requires_grad=True)
    cool.gradcheck(lambda t: t * 2, x)
    assert x.tolist() == [1.0, 2.0] and x.grad is None and x.dtype == np.float32


@pytest.mark.parametrize(
    ("fn", "x", "texts"),
    [
        (faulty(lambda x, g: g * x), double(1.0, 2.0, 3.0), ["0.5 times what it should be", "3", "6"]),
        (faulty(lambda x, g: g * 0), double(1.0, 2.0), ["whole gradient is 0"]),
        (faulty(lambda x, g: g * x.exp()), double(1.0, -2.0), ["element [1]", "(where the input is -2)", "-4"]),
        (lambda x: x.relu(), double(1.0, 0.0), ["element [1]", "0 to the left and 1 to the right", "kink"]),
        (lambda x: x.detach() * 2 + x * 0, double(1.0), ["detach()"]),
        (lambda x: x.log(), double(1.0, -1.0), ["not finite", "domain"]),
        (lambda x: x.float() * 3, double(0.3), ["float32", "rounding"]),
        (lambda x: cool.ops.dropout(x), double(*range(1, 30)), ["draws random numbers", "pass state"]),
        (lambda x: x > 0, double(1.0), ["no output of real numbers"]),
        (lambda x: (x * 1, faulty(lambda v, g: g)(x)), double(3.0), ["output 1 by input 0"]),
    ],
)
def test_wrong_gradients_are_told(fn, x, texts):
    assert not cool.gradcheck(fn, x, raise_exception=False)
    with pytest.raises(cool.GradcheckError) as error:
        cool.gradcheck(fn, x)
    for text in texts:
        assert text in str(error.value)


def test_transposed_jacobian():
    matrix = np.array([[1.0, 2.0], [3.0, 4.0]])

    class Apply(Faulty):
        def reference(self, x):
            return matrix @ x

    op = Apply(lambda x, g: cool.tensor(matrix @ g.numpy()))
    with pytest.raises(cool.GradcheckError, match="transposed"):
        cool.gradcheck(lambda x: autograd.apply(op, x), double(1.0, 2.0))


def test_nothing_to_check():
    with pytest.raises(ValueError, match="at least one input"):
        cool.gradcheck(lambda n: n, cool.tensor([1]))
