"""What operations mean where a sweep over cases does not see it: identities, borders, messages, any shape at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import coolnn as cool
from coolnn import ops
from coolnn.spec import float32, float64

Array = np.ndarray[Any, np.dtype[Any]]


def normal(*shape: int, seed: int = 0, dtype: Any = float64) -> cool.Tensor:
    return cool.tensor(np.random.default_rng(seed).standard_normal(shape).astype(float32).astype(dtype))


def dilated(x: cool.Tensor, stride: int) -> cool.Tensor:
    """stride - 1 zeros between neighbouring pixels."""
    n, c, h, w = x.shape
    spread = np.zeros((n, c, (h - 1) * stride + 1, (w - 1) * stride + 1), x.dtype)
    spread[:, :, ::stride, ::stride] = x.numpy()
    return cool.tensor(spread)


# --- convolution -----------------------------------------------------------------------------------------------------


def test_true_convolution_is_that_of_numpy() -> None:
    x, w = normal(1, 1, 1, 9), normal(1, 1, 1, 4, seed=1)
    y = ops.true_conv2d(x, w, padding=(0, 3))
    np.testing.assert_allclose(y.numpy()[0, 0, 0], np.convolve(x.numpy()[0, 0, 0], w.numpy()[0, 0, 0]), rtol=1e-12)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_gradients_of_convolution_are_convolutions(stride: int) -> None:
    """dw is the cross-correlation of x with the dilated upstream gradient, dx its full convolution with the filter."""
    x, w = normal(1, 1, 10, 10), normal(1, 1, 4, 4, seed=1)  # windows of every stride reach the last pixel
    x.requires_grad_(), w.requires_grad_()
    y = ops.conv2d(x, w, stride=stride)
    g = normal(*y.shape, seed=2)
    dx, dw = cool.grad(y, [x, w], g)
    spread = dilated(g, stride)
    assert dx is not None and dw is not None
    np.testing.assert_allclose(dw.numpy(), ops.conv2d(x.detach(), spread).numpy(), rtol=1e-12, atol=1e-12)
    full = ops.true_conv2d(spread, w.detach(), padding=3)
    np.testing.assert_allclose(dx.numpy(), full.numpy(), rtol=1e-12, atol=1e-12)


def test_transposed_convolution_is_the_adjoint() -> None:
    """<conv(x), y> = <x, conv_transpose(y)>."""
    x, w = normal(2, 3, 8, 7), normal(4, 3, 3, 2, seed=1)
    y = ops.conv2d(x, w, stride=2, padding=1)
    z = normal(*y.shape, seed=2)
    back = ops.conv_transpose2d(z, w, stride=2, padding=1, output_padding=(1, 1))
    assert back.shape == x.shape
    np.testing.assert_allclose((y * z).sum().item(), (x * back).sum().item(), rtol=1e-12)


def test_same_padding_puts_the_odd_pixel_last() -> None:
    x = cool.tensor([[[[1.0, 2.0, 3.0]]]])
    assert ops.conv2d(x, cool.ones(1, 1, 1, 2), padding="same").tolist() == [[[[3.0, 5.0, 3.0]]]]
    assert ops.conv2d(x, cool.ones(1, 1, 1, 2), stride=2, padding="same").shape == (1, 1, 1, 2)


def test_third_derivative() -> None:
    """x³ through convolutions by itself: derivatives of any order are the same three operations."""
    x = cool.tensor(np.full((1, 1, 1, 1), 2.0), requires_grad=True)
    y = ops.conv2d(ops.conv2d(x, x), x)
    for expected in (12.0, 12.0, 6.0):
        (y,) = cool.grad(y, x, create_graph=True)  # type: ignore[assignment]  # x takes part
        assert y.item() == expected


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 4))
    least = [max(1, dilation[i] * (kernel[i] - 1) + 1 - padding[i] - padding[i + 2]) for i in (0, 1)]
    return {
        "x": (
            draw(st.integers(0, 3)),
            groups * draw(st.integers(1, 19)),
            least[0] + draw(st.integers(0, 9)),
            least[1] + draw(st.integers(0, 9)),
        ),
        "outputs": groups * draw(st.integers(1, 19)),
        "kernel": kernel,
        "groups": groups,
        "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "padding": padding,
        "dilation": dilation,
        "winograd": draw(st.booleans()),
    }


@settings(max_examples=60, deadline=None, derandomize=True)
@given(convolutions())
def test_convolution_of_any_shape(case: dict[str, Any]) -> None:
    """The kernels agree with the reference, forward and backward."""
    results = []
    for dtype in (float32, float64):
        x = normal(*case["x"], dtype=dtype).requires_grad_()
        channels = case["x"][1] // case["groups"]
        w = normal(case["outputs"], channels, *case["kernel"], seed=1, dtype=dtype).requires_grad_()
        b = normal(case["outputs"], seed=2, dtype=dtype).requires_grad_()
        with cool.options(winograd=case["winograd"]):
            y = ops.conv2d(x, w, b, case["stride"], case["padding"], case["dilation"], case["groups"])
            grads = cool.grad(y, [x, w, b], normal(*y.shape, seed=3, dtype=dtype))
        results.append([t.numpy() for t in (y, *grads) if t is not None])
    for got, want in zip(*results, strict=True):
        assert np.abs(got - want).max(initial=0) <= 5e-5 * np.abs(want).max(initial=0)


# --- pooling, normalization, losses ----------------------------------------------------------------------------------


def test_nan_wins_in_max_pooling() -> None:
    x = np.zeros((1, 1, 2, 4), float32)
    x[0, 0, 1, 0] = np.nan
    y, where = ops.max_pool2d_with_indices(cool.tensor(x), 2)
    assert np.isnan(y.numpy()[0, 0, 0, 0]) and y.numpy()[0, 0, 0, 1] == 0
    assert where.tolist() == [[[[4, 2]]]]


def test_dilated_window_that_meets_no_pixel() -> None:
    """Its value is -inf, it points nowhere and sends no gradient."""
    x = cool.tensor(np.ones((1, 1, 1, 1), float32), requires_grad=True)
    y, where = ops.max_pool2d_with_indices(x, 2, padding=1, dilation=2)
    assert y.tolist() == [[[[-np.inf]]]] and where.tolist() == [[[[-1]]]]
    (dx,) = cool.grad(y, x, cool.ones(1, 1, 1, 1))
    assert dx is not None and dx.tolist() == [[[[0.0]]]]


def test_batch_norm_moves_its_running_statistics() -> None:
    x = normal(8, 3, 4, 4, dtype=float32)
    average, variance = cool.zeros(3), cool.ones(3)
    ops.batch_norm(x, average, variance, training=True, momentum=1.0)
    np.testing.assert_allclose(average.numpy(), x.numpy().mean(axis=(0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(variance.numpy(), x.numpy().var(axis=(0, 2, 3), ddof=1), rtol=1e-5)
    before = average.numpy().copy()
    ops.batch_norm(x, average, variance, training=False)
    np.testing.assert_array_equal(average.numpy(), before)


def test_cross_entropy_over_no_label_is_nan() -> None:
    loss = ops.cross_entropy(cool.zeros(2, 3), cool.tensor([-100, -100]))
    assert np.isnan(loss.item())


def test_cross_entropy_of_certain_scores() -> None:
    """Impossible classes (-inf) cost nothing unless they are the label."""
    scores = cool.tensor([[0.0, -np.inf], [0.0, -np.inf]])
    assert ops.cross_entropy(scores, cool.tensor([0, 1]), reduction="none").tolist() == [0.0, np.inf]


def test_pixels_are_rows_without_a_copy() -> None:
    x = cool.zeros(2, 3, 4, 5)
    with cool.record() as calls:
        ops.cross_entropy(x, cool.tensor(np.zeros((2, 4, 5), np.int64)))
    rows = next(call.outputs[0] for call in calls if call.op.name == "pixels_to_rows")
    assert rows._buffer is x._buffer


def test_nothing_needless_is_kept() -> None:
    """The chain rules of pooling and batch norm hold no picture that they do not read."""
    x = cool.zeros(2, 3, 4, 4).requires_grad_()
    pooled = ops.max_pool2d(x, 2)
    assert pooled._node is not None and [b is not None for b in pooled._node.saved] == [False, True]
    frozen = ops.conv2d(x, cool.ones(2, 3, 1, 1))
    assert frozen._node is not None and [t is not None and t.is_meta for t in frozen._node.inputs[1:2]] == [False]
    trained = ops.conv2d(x.detach(), cool.ones(2, 3, 1, 1).requires_grad_())
    assert trained._node is not None and trained._node.inputs[0] is not None and not trained._node.inputs[0].is_meta


# --- threads ---------------------------------------------------------------------------------------------------------

# Large enough that the work is really split; the sweep over all cases has shapes that one thread does alone.
SPLIT = {
    "conv2d": (ops.conv2d, (4, 32, 40, 41), (48, 32, 3, 3), (48,)),
    "pointwise": (ops.conv2d, (4, 64, 40, 40), (96, 64, 1, 1), (96,)),
    "depthwise": (lambda x, w: ops.conv2d(x, w, padding=1, groups=32), (4, 32, 41, 40), (32, 1, 3, 3)),
    "first": (lambda x, w: ops.conv2d(x, w, stride=2, padding=3), (4, 3, 80, 80), (32, 3, 7, 7)),
    "conv_transpose2d": (lambda x, w: ops.conv_transpose2d(x, w, stride=2), (2, 32, 30, 30), (32, 24, 2, 2)),
    "linear": (ops.linear, (256, 500), (300, 500), (300,)),
    "matmul": (ops.matmul, (8, 130, 70), (8, 70, 90)),
    "max_pool2d": (lambda x: ops.max_pool2d(x, 3, 2, 1), (8, 32, 64, 64)),
    "avg_pool2d": (lambda x: ops.avg_pool2d(x, 2), (8, 32, 64, 64)),
    "interpolate": (lambda x: ops.interpolate(x, scale_factor=2, mode="bilinear"), (4, 32, 32, 32)),
    "batch_norm": (lambda x, w, b: ops.batch_norm(x, None, None, w, b, True), (8, 32, 64, 64), (32,), (32,)),
    "group_norm": (lambda x, w, b: ops.group_norm(x, 4, w, b), (8, 32, 64, 64), (32,), (32,)),
    "layer_norm": (lambda x, w, b: ops.layer_norm(x, 256, w, b), (2000, 256), (256,), (256,)),
    "softmax": (ops.softmax, (2000, 256)),
    "cross_entropy": (lambda x: ops.cross_entropy(x, np.arange(3000) % 100), (3000, 100)),
    "mse_loss": (ops.mse_loss, (1000, 300), (1000, 300)),
}


@pytest.mark.parametrize("name", SPLIT)
def test_threads_do_not_change_a_bit(name: str) -> None:
    function, *shapes = SPLIT[name]
    seen = []
    for threads in (1, 2, 3):
        inputs = [normal(*shape, seed=i, dtype=float32).requires_grad_() for i, shape in enumerate(shapes)]
        with cool.options(threads=threads):
            y = function(*inputs)
            grads = cool.grad(y, inputs, normal(*y.shape, seed=9, dtype=float32))
        seen.append([t.numpy().tobytes() for t in (y, *grads) if t is not None])
    assert seen[0] == seen[1] == seen[2]


# --- messages --------------------------------------------------------------------------------------------------------

_PICTURE = cool.zeros(1, 3, 8, 8)

MISTAKES = [
    (lambda: ops.conv2d(_PICTURE, cool.ones(64, 1, 3, 3)), r"3 channels.*\(64, 1, 3, 3\) with groups=1 wants 1"),
    (lambda: ops.conv2d(_PICTURE, cool.ones(6, 1, 3, 3)), "did you mean groups=3"),
    (lambda: ops.conv2d(_PICTURE, cool.ones(4, 3, 3, 3), groups=3), "groups=3 must divide the 4 output channels"),
    (lambda: ops.conv2d(cool.zeros(3, 8, 8), cool.ones(4, 3, 3, 3)), r"four axes, not shape \(3, 8, 8\); .*unsqueeze"),
    (lambda: ops.conv2d(_PICTURE, cool.ones(4, 3, 9, 9)), "9×9 pixels does not fit a picture of 8×8"),
    (lambda: ops.conv2d(_PICTURE, cool.ones(4, 3, 3, 3), cool.zeros(3)), "bias is"),
    (lambda: ops.conv2d(_PICTURE, cool.ones(4, 3, 3, 3), stride=0), "stride must be 1 or more, not 0"),
    (lambda: ops.conv2d(_PICTURE, cool.ones(4, 3, 3, 3), padding="full"), '"valid", "same".*not "full"'),
    (lambda: ops.conv2d(_PICTURE, cool.ones(4, 3, 3, 3), padding=(1, 2, 3)), r"padding must.*\(1, 2, 3\)"),
    (lambda: ops.conv2d(_PICTURE, cool.ones(4, 3, 3, 3), padding=-1), "padding must be 0 or more.*-1"),
    (lambda: ops.conv_transpose2d(_PICTURE, cool.ones(4, 3, 3, 3)), "input has 3 channels.*wants 4"),
    (lambda: ops.conv_transpose2d(_PICTURE, cool.ones(3, 4, 3, 3), output_padding=1), "output_padding=1 must be smal"),
    (lambda: ops.conv_transpose2d(_PICTURE, cool.ones(3, 4, 1, 1), padding=4), "cuts away all"),
    (lambda: ops.max_pool2d(_PICTURE, 9), "9×9 pixels does not fit"),
    (lambda: ops.max_pool2d(_PICTURE, 2, padding=2), "must be smaller than the window of 2×2"),
    (lambda: ops.avg_pool2d(cool.zeros(3, 8, 8), 2), "four axes"),
    (lambda: ops.adaptive_avg_pool2d(_PICTURE, 0), "output_size must be 1 or more, not 0"),
    (lambda: ops.interpolate(_PICTURE), "either size or scale_factor"),
    (lambda: ops.interpolate(_PICTURE, 4, mode="cubic"), 'not "cubic"'),
    (lambda: ops.pad(_PICTURE, (1, 2, 3)), "pairs"),
    (lambda: ops.pad(_PICTURE, (8, 0), mode="reflect"), "cannot add 8 and 0 to an axis of length 8; it can add 7"),
    (lambda: ops.pad(_PICTURE, (-9, 0)), "crop more than there is"),
    (lambda: ops.linear(_PICTURE, cool.ones(10, 192)), r"\(1, 3, 8, 8\).*\(10, 192\).*flatten"),
    (lambda: ops.matmul(cool.ones(2, 3), cool.ones(2, 3)), r"\(2, 3\) times \(2, 3\).*not 3 and 2"),
    (lambda: ops.matmul(cool.ones(2, 3), cool.tensor(2.0)), "at least one axis"),
    (lambda: ops.batch_norm(_PICTURE, None, None), "pass training=True"),
    (lambda: ops.batch_norm(cool.ones(1, 3), None, None, training=True), r"more than one number.*\(1, 3\)"),
    (lambda: ops.batch_norm(_PICTURE, cool.zeros(4), cool.ones(4)), r"running_mean has shape \(4,\)"),
    (lambda: ops.group_norm(_PICTURE, 2), "num_groups=2 must divide the 3 channels"),
    (lambda: ops.layer_norm(_PICTURE, 7), r"does not end in normalized_shape=\(7,\)"),
    (
        lambda: ops.cross_entropy(cool.zeros(4, 10), cool.tensor([0, 1, 2, 12])),
        r"label 12 at \[3\].*10 classes, 0 to 9",
    ),
    (lambda: ops.cross_entropy(cool.zeros(4, 10), cool.tensor([0, 1])), r"labels of shape \(4,\), not \(2,\)"),
    (lambda: ops.cross_entropy(cool.zeros(1, 2), cool.tensor([0]), reduction="avg"), 'not "avg"'),
    (lambda: ops.cross_entropy(cool.zeros(1, 2), cool.tensor([0]), label_smoothing=2.0), "from 0 to 1, not 2.0"),
    (lambda: ops.mse_loss(cool.zeros(4, 1), cool.zeros(4)), r"\(4, 1\), target \(4,\)"),
    (lambda: ops.huber_loss(cool.zeros(4), cool.zeros(4), delta=0.0), "delta must be above 0, not 0.0"),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_messages_quote_the_mistake(mistake: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mistake()


def test_types_must_agree() -> None:
    with pytest.raises(TypeError, match=r"input is float32 and weight is float64; convert one"):
        ops.conv2d(_PICTURE, normal(4, 3, 3, 3))
    with pytest.raises(TypeError, match=r"input is uint8; convert it with .float()"):
        ops.conv2d(cool.zeros(1, 3, 8, 8, dtype=np.uint8), cool.ones(4, 3, 3, 3))
    with pytest.raises(TypeError, match="whole numbers, not float32"):
        ops.cross_entropy(cool.zeros(2, 3), cool.zeros(2))


def test_costs_count_multiply_adds() -> None:
    """A convolution and its two gradients take the same number; a product as many as its three lengths give."""
    x, w = cool.meta(2, 6, 8, 8).requires_grad_(), cool.meta(4, 3, 3, 3).requires_grad_()
    with cool.record() as calls:
        y = ops.conv2d(x, w, padding=1, groups=2)
        cool.grad(y, [x, w], cool.meta(*y.shape))
        ops.linear(cool.meta(5, 7), cool.meta(3, 7))
        ops.matmul(cool.meta(2, 5, 7), cool.meta(2, 7, 3))
    macs = {
        call.op.name: call.op.macs(
            tuple(t.spec if t is not None else None for t in call.inputs),
            tuple(t.spec for t in call.outputs),
            **call.attributes,
        )
        for call in calls
    }
    convolution = 2 * 4 * 8 * 8 * 3 * 9
    assert macs["conv2d"] == macs["conv2d_input_grad"] == macs["conv2d_weight_grad"] == convolution
    assert macs["linear"] == 5 * 7 * 3 and macs["matmul"] == 2 * 5 * 7 * 3


def test_affine_sample_is_pytorchs_grid_sample() -> None:
    """In its coordinates, which count from -1 at one edge of the picture to 1 at the other."""
    torch = pytest.importorskip("torch")
    x = normal(2, 3, 11, 14)
    theta = np.array([[[0.9, -0.2, 0.1], [0.3, 1.1, -0.2]], [[-0.5, 0.4, 0.0], [0.7, 0.6, 0.3]]])
    size = (9, 16)
    grid = torch.nn.functional.affine_grid(torch.tensor(theta), (2, 3, *size), align_corners=False)
    want = torch.nn.functional.grid_sample(torch.tensor(x.numpy()), grid, align_corners=False)
    to_unit = np.array([[2 / size[1], 0, 1 / size[1] - 1], [0, 2 / size[0], 1 / size[0] - 1], [0, 0, 1]])
    from_unit = np.array(
        [[x.shape[3] / 2, 0, (x.shape[3] - 1) / 2], [0, x.shape[2] / 2, (x.shape[2] - 1) / 2], [0, 0, 1]]
    )
    square = np.concatenate([theta, np.tile([[[0.0, 0.0, 1.0]]], (2, 1, 1))], axis=1)
    matrices = (from_unit @ square @ to_unit)[:, :2]
    assert np.abs(ops.affine_sample(x, matrices, size).numpy() - want.numpy()).max() < 1e-10
