"""Tensors: where they come from and go to, operators, types and indexing against NumPy."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import coolnn as cool
from coolnn.ops.operands import PROMOTION

DTYPES = list(PROMOTION)
shapes = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)


def numbers(shape, dtype=np.float32):
    """Different numbers, so that none can be mistaken for another."""
    return (np.arange(np.prod(shape, dtype=int)).reshape(shape) + 1).astype(dtype)


# --- from and to arrays ----------------------------------------------------------------------------------------------


@given(shapes, st.sampled_from(DTYPES))
def test_array_round_trip(shape, dtype):
    array = numbers(shape, dtype)
    for made in (cool.tensor(array), cool.from_numpy(array), cool.from_numpy(array[...])):
        assert made.shape == array.shape and made.dtype == dtype and made.size == array.size
        np.testing.assert_array_equal(made.numpy(), array)
        np.testing.assert_array_equal(np.asarray(made), array)
        assert made.tolist() == array.tolist()


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (2.5, "float32", ()),
        (3, "int64", ()),
        (True, "bool", ()),
        ([[1, 2], [3, 4.5]], "float32", (2, 2)),
        ([], "float32", (0,)),
        ([[]], "float32", (1, 0)),
        (np.float32(1), "float32", ()),
        (np.float64(1), "float64", ()),
        (np.float16([1, 2]), "float32", (2,)),
        (np.int16([1, 2]), "int64", (2,)),
        (np.array(7, np.uint8), "uint8", ()),
        (np.arange(3, dtype=">f4"), "float32", (3,)),
        ([cool.ones(2), cool.zeros(2)], "float32", (2, 2)),
        (range(4), "int64", (4,)),
    ],
)
def test_what_becomes_a_tensor(data, dtype, shape):
    made = cool.tensor(data)
    assert (made.dtype.name, made.shape) == (dtype, shape)


def test_what_does_not_become_a_tensor():
    with pytest.raises(TypeError, match="no tensors of type"):
        cool.tensor("text")
    with pytest.raises(TypeError, match="complex64"):
        cool.from_numpy(np.zeros(2, np.complex64))
    with pytest.raises(ValueError, match="at most 8 axes"):
        cool.tensor(np.zeros((1,) * 9))
    with pytest.raises(ValueError, match="at most 8 axes"):
        cool.zeros(1).reshape((1,) * 9)


def test_tensor_copies_and_from_numpy_shares():
    array = np.zeros(3, np.float32)
    copied, shared = cool.tensor(array), cool.from_numpy(array)
    array[0] = 1
    assert copied.tolist() == [0, 0, 0] and shared.tolist() == [1, 0, 0]
    shared.numpy()[1] = 2
    assert array[1] == 2


def test_rank_4_is_channels_last_in_memory():
    made = cool.tensor(numbers((2, 3, 4, 5)))
    assert made.numpy().transpose(0, 2, 3, 1).flags.c_contiguous
    nhwc = np.zeros((2, 4, 5, 3), np.float32)
    shared = cool.from_numpy(nhwc.transpose(0, 3, 1, 2))
    nhwc[1, 2, 3, 0] = 7
    assert float(shared[1, 0, 2, 3]) == 7


def test_buffers_of_other_origin():
    raw = np.arange(6, dtype=np.float32).tobytes()
    made = cool.from_numpy(np.frombuffer(raw, np.float32))
    assert (made * 2).tolist() == [0, 2, 4, 6, 8, 10]
    with pytest.raises(ValueError, match="read-only"):
        made.copy_(np.zeros(6))
    with pytest.raises(ValueError, match="read-only"):
        cool.ops.sgd_step(made, cool.ones(6), None, cool.tensor([0.1, 1.0]))
    assert np.frombuffer(raw, np.float32)[5] == 5
    every_other = np.arange(10, dtype=np.float32)[::-2]
    assert cool.from_numpy(every_other).tolist() == [9, 7, 5, 3, 1]


def test_array_protocol():
    x = cool.tensor([1.0, 2.0])
    assert np.asarray(x, np.float64).dtype == np.float64
    assert np.array(x).base is None
    assert np.shares_memory(np.asarray(x), x.numpy())
    with pytest.raises(ValueError, match="without a copy"):
        x.__array__(np.int64, copy=False)
    with pytest.raises(TypeError):
        np.exp(x)


def test_dlpack_with_numpy():
    x = cool.tensor(numbers((2, 3, 4, 5)))
    seen = np.from_dlpack(x)
    np.testing.assert_array_equal(seen, x.numpy())
    assert np.shares_memory(seen, x.numpy())
    array = numbers((3, 4))
    assert np.shares_memory(cool.from_dlpack(array).numpy(), array)
    assert cool.from_dlpack(np.zeros((0, 3))).shape == (0, 3)


def test_dlpack_with_torch():
    torch = pytest.importorskip("torch")
    theirs = torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    ours = cool.from_dlpack(theirs)
    theirs[0, 1, 2, 3] = 100
    assert float(ours[0, 1, 2, 3]) == 100  # one memory
    np.testing.assert_array_equal(cool.tensor(theirs.contiguous()).numpy(), theirs.numpy())
    back = torch.from_dlpack(ours)
    back[0, 0, 0, 0] = -1
    assert float(ours[0, 0, 0, 0]) == -1


def test_copies():
    x = cool.tensor(numbers((1, 2, 3, 4)), requires_grad=True)
    x.grad = cool.ones(1, 2, 3, 4)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        np.testing.assert_array_equal(twin.numpy(), x.numpy())
        assert twin.requires_grad and twin._buffer.address != x._buffer.address
        assert twin.grad._buffer.address != x.grad._buffer.address
    assert copy.deepcopy(cool.meta(2, 3)).is_meta
    assert not x.copy().requires_grad
    with pytest.raises(RuntimeError, match="detach"):
        copy.deepcopy(x * 2)


def test_numbers_out():
    assert float(cool.tensor(2.5)) == 2.5 and int(cool.tensor([7])) == 7 and [1, 2, 3][cool.tensor(1)] == 2
    assert bool(cool.tensor([1.0])) and f"{cool.tensor(1.23456):.2f}" == "1.23"
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        cool.zeros(2).item()
    with pytest.raises(ValueError, match="truth"):
        bool(cool.zeros(2))
    with pytest.raises(TypeError, match="float32"):
        [1][cool.tensor(0.0)]
    with pytest.raises(RuntimeError, match="no numbers"):
        cool.meta(2).numpy()
    with pytest.raises(TypeError, match="no length"):
        len(cool.tensor(1.0))


def test_repr():
    assert repr(cool.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    assert repr(cool.tensor([1])) == "tensor([1], dtype=int64)"
    x = cool.tensor([1.0], requires_grad=True)
    assert repr(x) == "tensor([1.], requires_grad=True)" and repr(x * 2) == "tensor([2.], from=mul)"
    assert repr(cool.meta(2, 3)) == "tensor(..., float32[2, 3])"
    assert len(repr(cool.zeros(1000, 1000))) < 1000


# --- operators and types ---------------------------------------------------------------------------------------------

OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


@settings(deadline=None)
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=5, max_side=4), st.sampled_from(list(OPERATORS)))
def test_operators_broadcast_as_in_numpy(pair, sign):
    f = OPERATORS[sign]
    a, b = (np.asarray(numbers(shape) * 0.25) for shape in pair.input_shapes)
    want = f(a, b)
    for got in (f(cool.tensor(a), cool.tensor(b)), f(cool.tensor(a), b), f(a, cool.tensor(b))):
        assert got.shape == want.shape and got.dtype == want.dtype
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-5)
    for got, want in ((f(cool.tensor(a), 1.5), f(a, np.float32(1.5))), (f(2, cool.tensor(b)), f(np.float32(2), b))):
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-5)


@settings(deadline=None)
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=5, max_side=4))
def test_gradients_have_the_operands_shapes(pair):
    a, b = (cool.tensor(numbers(shape, np.float64), requires_grad=True) for shape in pair.input_shapes)
    y = a * b
    y.backward(cool.ones(*y.shape, dtype=np.float64))
    full_a, full_b = (np.broadcast_to(t.numpy(), y.shape) for t in (a, b))

    def summed(full, shape):
        lead = full.ndim - len(shape)
        kept = tuple(i + lead for i, n in enumerate(shape) if n == 1)
        return full.sum(tuple(range(lead)) + kept).reshape(shape)

    np.testing.assert_allclose(a.grad.numpy(), summed(full_b, a.shape))
    np.testing.assert_allclose(b.grad.numpy(), summed(full_a, b.shape))


@pytest.mark.parametrize("a", DTYPES, ids=str)
@pytest.mark.parametrize("b", DTYPES, ids=str)
def test_types_meet_as_in_torch(a, b):
    torch = pytest.importorskip("torch")
    for left_shape, right_shape in (((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())):
        left, right = numbers(left_shape, a), numbers(right_shape, b)
        for f in (lambda x, y: x + y, lambda x, y: x * y, lambda x, y: x / y, lambda x, y: x < y):
            got = f(cool.tensor(left), cool.tensor(right))
            assert got.dtype.name == str(f(torch.tensor(left), torch.tensor(right)).dtype).removeprefix("torch.")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("number", [True, 2, 2.5, np.float32(2), np.float64(2), np.int64(2)])
def test_a_number_takes_the_tensors_type(dtype, number):
    torch = pytest.importorskip("torch")
    array = numbers((3,), dtype)
    plain = number.item() if isinstance(number, np.generic) else number
    want = torch.tensor(array) * plain
    for got in (cool.tensor(array) * number, number * cool.tensor(array)):
        assert got.dtype.name == str(want.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(got.numpy(), want.numpy())


def test_edges_of_numbers():
    assert np.signbit((cool.tensor([0.0]) * -0.0).numpy()).all()  # not the +0 that a cache may hold
    with pytest.raises(OverflowError, match="300 does not fit uint8"):
        cool.tensor([200], dtype=np.uint8) + 300
    assert np.isnan((cool.tensor([1.0]) * float("nan")).item())
    assert (cool.tensor([1.0]) == None).__class__ is bool  # noqa: E711
    assert cool.tensor([1.0]) != "text"
    with pytest.raises(TypeError, match="list"):
        cool.ops.add(cool.tensor([1.0]), [1.0])
    with pytest.raises(ValueError, match="lengths 2 and 3"):
        cool.zeros(2) + cool.zeros(3)


def test_booleans_combine():
    x = cool.tensor([-1.0, 0.5, 2.0])
    assert ((x > 0) & (x < 1)).tolist() == [False, True, False]
    assert ((x < 0) | (x > 1)).tolist() == [True, False, True]
    assert (~(x > 0)).tolist() == [True, False, False]
    with pytest.raises(TypeError, match="booleans"):
        x & x


def test_methods_are_the_operations():
    x = cool.tensor(numbers((2, 3)))
    assert x.T.shape == (3, 2) and x.reshape(3, 2).shape == x.view((3, -1)).shape == (3, 2)
    assert x.permute(1, 0).shape == x.permute((1, 0)).shape == x.transpose(0, 1).shape == (3, 2)
    assert x.unsqueeze(0).squeeze().shape == (2, 3) and x.expand(4, -1, -1).shape == (4, 2, 3)
    assert float(x.mean()) == 3.5 and float(x.sum()) == 21 and x.max(1).tolist() == [3, 6] and x.min(0).shape == (3,)
    assert x.long().dtype == np.int64 and x.double().dtype == np.float64 and x.long().float().dtype == np.float32
    assert [float(row.sum()) for row in x] == [6, 15]


# --- indexing --------------------------------------------------------------------------------------------------------


@st.composite
def indexed(draw):
    """An array and a basic index into it."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=5, min_side=1, max_side=5))
    return numbers(shape), draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True, max_dims=7))


@settings(deadline=None)
@given(indexed())
def test_basic_indexing_as_in_numpy(case):
    array, index = case
    x = cool.tensor(array, requires_grad=True)
    got, want = x[index], array[index]
    assert got.shape == np.shape(want)
    np.testing.assert_array_equal(got.numpy(), want)
    gradient = numbers(want.shape)
    if got is not x:
        got.backward(cool.tensor(gradient))
        expected = np.zeros_like(array)
        expected[index] = gradient
        np.testing.assert_array_equal(x.grad.numpy(), expected)


I = np.array([2, 0, -1, 2])
M = np.array([True, False, True])


@pytest.mark.parametrize(
    "index",
    [
        I,
        I.tolist(),
        (slice(None), I),
        (slice(None), slice(None), I),
        (Ellipsis, I),
        (I, slice(None, None, -2)),
        (I, 1),
        (1, slice(None), I),
        (slice(None), 1, I),
        (I, I[::-1]),
        (I, slice(None), I),
        (slice(None), I[:, None], np.array([0, 1])),
        (None, I, None),
        (I, None, I),
        (I.reshape(2, 2),),
        (np.array(1),),
        (np.array([], int),),
        [],
        (M,),
        (slice(None), slice(0, 3), M),
        (M, slice(1, None), M),
        (M, 0),
        np.ones((3, 4), bool),
        np.arange(12).reshape(3, 4) % 3 == 0,
        np.arange(36).reshape(3, 4, 3) % 5 == 0,
        np.zeros((3, 4, 3), bool),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(3, 4, 3), (3, 4, 3, 2)], ids=str)
def test_arrays_and_masks_as_in_numpy(index, shape):
    if isinstance(index, tuple) and index[0] is Ellipsis and shape[-1] == 2:
        index = (Ellipsis, I % 2)
    array = numbers(shape)
    want = array[index]

    def wrap(entry):
        return cool.tensor(entry) if isinstance(entry, np.ndarray) else entry

    for given_index in (index, tuple(map(wrap, index)) if isinstance(index, tuple) else wrap(index)):
        x = cool.tensor(array, requires_grad=True)
        got = x[given_index]
        assert got.shape == want.shape
        np.testing.assert_array_equal(got.numpy(), want)
        gradient = numbers(want.shape)
        got.backward(cool.tensor(gradient))
        expected = np.zeros_like(array)
        np.add.at(expected, index, gradient)
        np.testing.assert_array_equal(x.grad.numpy(), expected)


@pytest.mark.parametrize(
    ("index", "error", "text"),
    [
        (3, IndexError, "index 3 is out of range for axis 0, which has length 3"),
        (-4, IndexError, "index -4"),
        ((0, 0, 0), IndexError, "3 indices for a tensor with 2 axes"),
        (np.array([0, 5]), IndexError, "index 5"),
        (np.array([0.5]), TypeError, "whole numbers"),
        ("a", TypeError, "'a'"),
        (1.5, TypeError, "1.5"),
        (True, TypeError, "True"),
        ((Ellipsis, Ellipsis), IndexError, "one ..."),
        (np.array([True, False]), IndexError, r"mask of shape \(2,\)"),
        (slice(None, None, 0), ValueError, "zero"),
    ],
    ids=str,
)
def test_wrong_indices(index, error, text):
    with pytest.raises(error, match=text):
        cool.zeros(3, 4)[index]


def test_meta_tensors_index_too():
    assert cool.meta(3, 4)[1:, None, ::-1].shape == (2, 1, 4)
    assert cool.meta(3, 4)[np.array([0, 0, 1])].shape == (3, 4)
