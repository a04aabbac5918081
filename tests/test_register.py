"""Operations that users add in Python."""

import numpy as np
import pytest

import coolnn as cool
from coolnn import Spec
from coolnn.ops import OPS, Op, register


@pytest.fixture(autouse=True)
def clean():
    """What a test registers is gone after it."""
    before = dict(OPS)
    yield
    for name in set(OPS) - set(before):
        del OPS[name]
        delattr(cool.ops, name)


def mish():
    @register
    class Mish(Op):
        """x · tanh(softplus(x))."""

        name = "my_mish"

        def infer(self, x):
            return x

        def reference(self, x):
            return x * np.tanh(np.logaddexp(0, x))

        def vjp(self, call, grad):
            (x,) = call.inputs
            t = cool.ops.softplus(x).tanh()
            return (grad * (t + x * x.sigmoid() * (1 - t * t)),)

    return Mish


def test_a_class_becomes_a_function_that_does_everything():
    function = mish()
    x = cool.tensor([[0.5, -1.0]], requires_grad=True)
    with cool.record() as calls:
        y = function(x)
    assert [call.op.name for call in calls] == ["my_mish"] and y.dtype == np.float32
    y.sum().backward()
    assert x.grad.shape == (1, 2)
    assert function(cool.meta(2, 3)).shape == (2, 3)
    assert function(np.zeros(2)).tolist() == [0, 0]
    assert cool.gradcheck(function, x)
    assert cool.gradcheck(lambda t: cool.grad(function(t).sum(), t, create_graph=True)[0], x)  # once more
    assert cool.ops.my_mish is function and function.__name__ == "my_mish" and "softplus" in function.__doc__


def test_the_shape_rule_is_found_from_the_reference():
    @register
    class Moments(Op):
        name = "moments"

        def reference(self, x, power=2):
            return x.mean(0), (x**power).mean(0) * np.float64(1), np.argmax(x, 0)

    first, second, place = Moments(cool.ones(4, 3), power=3)
    assert [t.dtype.name for t in (first, second, place)] == ["float32", "float32", "int64"]
    assert all(t.shape == (3,) for t in Moments(cool.meta(4, 3)))
    assert Moments(cool.ones(4, 3).double())[0].dtype == np.float64
    with pytest.raises(NotImplementedError, match="'moments' has no chain rule"):
        Moments(cool.ones(4, 3).requires_grad_())[0].sum().backward()


def test_plain_functions():
    cube = register("cube", forward=lambda x: x**3, vjp=lambda call, grad: grad * 3 * call.inputs[0] ** 2)
    assert cube(cool.tensor([2.0])).tolist() == [8.0] and cool.gradcheck(cube, cool.tensor([1.0, -2.0]))
    exp = register("my_exp", forward=np.exp, vjp=lambda call, grad: grad * call.outputs[0])
    assert cool.gradcheck(exp, cool.tensor([1.0, -2.0]))
    tile = register(
        "tile",
        forward=lambda x, *, sizes: np.tile(x, sizes),
        infer=lambda x, sizes: Spec(tuple(n * s for n, s in zip(x.shape, sizes, strict=True)), x.dtype),
    )
    assert tile(cool.ones(2, 3), sizes=[2, 1]).shape == (4, 3)  # a list is fine


def test_several_inputs_and_an_absent_one():
    @register
    class Affine(Op):
        name = "my_affine"

        def reference(self, x, scale, shift):
            return x * scale if shift is None else x * scale + shift

        def vjp(self, call, grad):
            x, scale, shift = call.inputs
            return grad * scale, grad * x, None if shift is None else grad

    x, scale, shift = (cool.tensor(np.arange(1.0, 4.0) + i) for i in range(3))
    assert cool.gradcheck(Affine, (x, scale, shift)) and cool.gradcheck(lambda a, b: Affine(a, b, None), (x, scale))
    assert Affine(x, 2.0 * cool.ones(3), None).tolist() == [2, 4, 6]


def test_a_name_is_given_once():
    mish()
    with pytest.raises(ValueError, match="'my_mish' is taken"):
        register("my_mish", forward=np.exp)
    for name in ("relu", "conv2d_weight_grad", "Tensor", "pad", "shape"):
        if hasattr(cool.ops, name) or name in OPS:
            with pytest.raises(ValueError, match=f"'{name}' is taken"):
                register(name, forward=np.exp)
    again = mish()  # the same definition once more, as when a notebook cell is run again
    assert again(cool.tensor([0.0])).tolist() == [0.0] and cool.ops.my_mish is again


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: register("nothing"), TypeError, "needs forward="),
        (lambda: register(int), TypeError, "derives from coolnn.ops.Op"),
        (lambda: register(np.exp), TypeError, "derives from coolnn.ops.Op"),
        (lambda: register("no name", forward=np.exp), ValueError, "'no name'"),
        (lambda: register(type("Nameless", (Op,), {"reference": lambda self, x: x})), ValueError, "needs a name"),
        (lambda: register(type("Empty", (Op,), {"name": "empty_op"})), TypeError, "needs a method reference"),
    ],
)
def test_wrong_definitions(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_wrong_calls():
    function = mish()
    with pytest.raises(TypeError, match="str"):
        function("text")
    with pytest.raises(TypeError, match="slope"):
        function(cool.ones(2), slope=1)
