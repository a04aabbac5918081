"""How each operation is written in ONNX (opset 17): one small function for each, found by the operation's name.

Operations without attributes whose ONNX operator means the same need none: `Op.onnx` says it all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...graph import Step, Value
from ...ops.pool import AdaptiveAvgPool2d
from ...ops.window import same_padding, span, window_count
from ...spec import float32, int64
from .probe import Lengths, NotDynamic, constant
from .writer import Writer

Handler = Callable[[Writer, Step], Any]

HANDLERS: dict[str, Handler] = {}


def handler(*names: str) -> Callable[[Handler], Handler]:
    """Enters a function that writes operations: it returns the name of the first output, or those of all."""

    def enter(function: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, function))
        return function

    return enter


def write_step(writer: Writer, step: Step) -> None:
    """Writes one step; raises ValueError for an operation that has no ONNX form."""
    write = HANDLERS.get(step.op.name)
    if write is not None:
        made = write(writer, step)
    elif step.op.onnx is not None and not step.attributes:
        made = writer.node(step.op.onnx, step.inputs)
    else:
        raise ValueError(
            f"the operation '{step.op.name}' has no ONNX form; replace it by others, or export the part without it"
        )
    names = [made] if isinstance(made, str) else made
    for value, name in zip(step.outputs, names, strict=False):
        writer.define(value, name)


def _first(step: Step) -> Value:
    value = step.inputs[0]
    assert value is not None
    return value


# --- convolution -----------------------------------------------------------------------------------------------------


@handler("conv2d")
def conv2d(w: Writer, step: Step) -> str:
    inputs = [w.name(value) for value in step.inputs]
    return conv_node(w, step, inputs)


def conv_node(w: Writer, step: Step, inputs: list[str]) -> str:
    """A Conv with the attributes of a conv2d step on inputs of these names."""
    weight = step.inputs[1]
    assert weight is not None
    kernel, stride, dilation = (
        weight.spec.shape[2:],
        w.probes.fixed(step, "stride"),
        w.probes.fixed(step, "dilation"),
    )

    def same(shape: Sequence[int]) -> tuple[int, ...]:
        pairs = [same_padding(shape[2 + i], kernel[i], stride[i], dilation[i]) for i in (0, 1)]
        return (pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1])

    padding: dict[str, Any]
    if len(set(w.probes.attribute(step, "padding"))) == 1:
        padding = {"pads": w.probes.fixed(step, "padding")}
    elif w.probes.agrees(step, "padding", same):
        padding = {"auto_pad": "SAME_UPPER"}
    else:
        raise NotDynamic("the padding of a convolution depends on the size")
    groups = w.probes.fixed(step, "groups")
    name = w.node("Conv", inputs, kernel_shape=kernel, strides=stride, dilations=dilation, group=groups, **padding)
    return str(name)


@handler("conv2d_input_grad")
def conv_transpose(w: Writer, step: Step) -> str:
    weight = step.inputs[1]
    assert weight is not None
    kernel = weight.spec.shape[2:]
    stride, pads, dilation = (w.probes.fixed(step, name) for name in ("stride", "padding", "dilation"))
    extra = []
    for i in (0, 1):
        small, large = w.probes.shape(_first(step))[2 + i], w.probes.shape(step.outputs[0])[2 + i]
        reach = span(kernel[i], dilation[i]) - pads[i] - pads[i + 2]
        rest = {b - ((a - 1) * stride[i] + reach) for a, b in zip(small, large, strict=True)}
        if len(rest) > 1:
            raise NotDynamic("the output padding of a transposed convolution depends on the size")
        extra.append(rest.pop())
    name = w.node(
        "ConvTranspose",
        step.inputs,
        kernel_shape=kernel,
        strides=stride,
        pads=pads,
        dilations=dilation,
        group=w.probes.fixed(step, "groups"),
        output_padding=extra,
    )
    return str(name)


# --- pooling ---------------------------------------------------------------------------------------------------------


def _pool_window(w: Writer, step: Step) -> dict[str, Any]:
    """The window's attributes; that there was a `ceil_mode` shows in the output's size."""
    kernel, stride, padding = (w.probes.fixed(step, name) for name in ("kernel_size", "stride", "padding"))
    dilation = w.probes.fixed(step, "dilation") if "dilation" in step.attributes else (1, 1)
    ceil = False
    for i in (0, 1):
        lengths, counts = w.probes.shape(_first(step))[2 + i], w.probes.shape(step.outputs[0])[2 + i]
        both = padding[i] + padding[i + 2]
        floors = tuple(window_count(n, kernel[i], stride[i], both, dilation[i]) for n in lengths)
        ceil = ceil or floors != counts
    return {"kernel_shape": kernel, "strides": stride, "pads": padding, "ceil_mode": int(ceil)}


@handler("max_pool2d")
def max_pool(w: Writer, step: Step) -> str:
    return str(w.node("MaxPool", step.inputs, **_pool_window(w, step), dilations=w.probes.fixed(step, "dilation")))


@handler("avg_pool2d")
def avg_pool(w: Writer, step: Step) -> str:
    include = int(w.probes.fixed(step, "count_include_pad"))
    return str(w.node("AveragePool", step.inputs, **_pool_window(w, step), count_include_pad=include))


@handler("adaptive_avg_pool2d")
def adaptive_avg_pool(w: Writer, step: Step) -> str:
    return _adaptive(w, step, "GlobalAveragePool", "AveragePool")


@handler("adaptive_max_pool2d")
def adaptive_max_pool(w: Writer, step: Step) -> str:
    return _adaptive(w, step, "GlobalMaxPool", "MaxPool")


def _adaptive(w: Writer, step: Step, whole: str, windows: str) -> str:
    """One pooling of the whole, or equal windows; else averages as two matrix products."""
    x, size = _first(step), w.probes.attribute(step, "output_size")
    if set(size) == {(1, 1)}:
        return str(w.node(whole, [x]))
    lengths = w.probes.shape(x)[2:]
    counts = w.probes.shape(step.outputs[0])[2:]
    if lengths == counts:
        return str(w.node("Identity", [x]))
    if not all(map(constant, (*lengths, *counts))):
        raise NotDynamic("adaptive pooling to more than one pixel has other windows for each size")
    pairs = [(n[0], count[0]) for n, count in zip(lengths, counts, strict=True)]
    if all(n % count == 0 for n, count in pairs):
        window = [n // count for n, count in pairs]
        return str(w.node(windows, [x], kernel_shape=window, strides=window))
    if windows == "MaxPool":
        raise ValueError(f"adaptive_max_pool2d of {pairs} pixels in unequal parts has no ONNX form")
    rows, columns = AdaptiveAvgPool2d.matrices(x.spec.shape[2:], step.attributes["output_size"])
    left = w.node("MatMul", [w.constant(rows.astype(x.spec.dtype)), x])
    return str(w.node("MatMul", [left, w.constant(columns.T.astype(x.spec.dtype))]))


# --- matrices --------------------------------------------------------------------------------------------------------


@handler("linear")
def linear(w: Writer, step: Step) -> str:
    x, weight, bias = step.inputs
    if len(_first(step).spec.shape) == 2:
        return str(w.node("Gemm", [x, weight, bias], transB=1))
    product = w.node("MatMul", [x, w.node("Transpose", [weight], perm=[1, 0])])
    return str(product if bias is None else w.node("Add", [product, bias]))


@handler("matmul")
def matmul(w: Writer, step: Step) -> str:
    names = []
    for value, turned in zip(step.inputs, ("transpose_a", "transpose_b"), strict=True):
        assert value is not None
        rank = len(value.spec.shape)
        perm = [*range(rank - 2), rank - 1, rank - 2]
        names.append(w.node("Transpose", [value], perm=perm) if step.attributes[turned] else w.name(value))
    return str(w.node("MatMul", names))


# --- normalization ---------------------------------------------------------------------------------------------------


@handler("channel_affine")
def channel_affine(w: Writer, step: Step) -> str:
    """Batch norm with known statistics, as it was written; or any scale and shift as one that does nothing else."""
    x, scale, shift = step.inputs
    assert x is not None and scale is not None and shift is not None
    found = batch_norm_of(w, step)
    if found is not None:
        (weight, bias, average, variance), eps = found
        channels = average.spec.shape
        one = w.name(weight) if weight is not None else w.constant(np.ones(channels, x.spec.dtype), "scale")
        none = w.name(bias) if bias is not None else w.constant(np.zeros(channels, x.spec.dtype), "shift")
        return str(w.node("BatchNormalization", [x, one, none, average, variance], epsilon=eps))
    if w.numbers(scale) is None or w.numbers(shift) is None:
        shape = [-1, *[1] * (len(x.spec.shape) - 2)]
        target = w.constant(np.array(shape, int64), "shape")
        product = w.node("Mul", [x, w.node("Reshape", [scale, target])])
        return str(w.node("Add", [product, w.node("Reshape", [shift, target])]))
    zero, one = (w.constant(np.full(scale.spec.shape, v, x.spec.dtype), "statistic") for v in (0, 1))
    return str(w.node("BatchNormalization", [x, scale, shift, zero, one], epsilon=0.0))


def batch_norm_of(w: Writer, step: Step) -> tuple[tuple[Value | None, Value | None, Value, Value], float] | None:
    """(weight, bias, mean, variance) and eps, where a channel_affine came from `ops.batch_norm`; else None."""

    def made_by(value: Value | None, name: str) -> tuple[Value | None, ...] | None:
        made = None if value is None else w.producer.get(value)
        return made.inputs if made is not None and made.op.name == name else None

    scale, shift = step.inputs[1:]
    weight, root = made_by(scale, "mul") or (None, scale)
    total = made_by((made_by(root, "rsqrt") or (None,))[0], "add")
    bias, product = made_by(shift, "sub") or (None, (made_by(shift, "neg") or (None,))[0])
    parts = made_by(product, "mul")
    if total is None or parts is None or parts[1] is not scale:
        return None
    variance, eps = total
    average = parts[0]
    number = w.numbers(eps)
    if average is None or variance is None or number is None or number.size != 1:
        return None
    if any(value is not None and value.tensor is None for value in (weight, bias, average, variance)):
        return None
    return (weight, bias, average, variance), float(number)


@handler("group_norm")
def group_norm(w: Writer, step: Step) -> str:
    """Each group as a channel of an instance norm, then scale and shift of the channels."""
    x, weight, bias = step.inputs
    assert x is not None
    groups, eps, dtype = w.probes.fixed(step, "num_groups"), w.probes.fixed(step, "eps"), x.spec.dtype
    channels = x.spec.shape[1]
    one, none = (w.constant(np.full(groups, v, dtype), "plain") for v in (1, 0))
    if groups == channels and len(x.spec.shape) > 2:
        scale = w.name(weight) if weight is not None else one
        shift = w.name(bias) if bias is not None else none
        return str(w.node("InstanceNormalization", [x, scale, shift], epsilon=eps))
    grouped = w.node("Reshape", [x, w.constant(np.array([0, groups, -1], int64), "shape")])
    y = w.node("InstanceNormalization", [grouped, one, none], epsilon=eps)
    y = w.node("Reshape", [y, w.node("Shape", [x])])
    spread = w.constant(np.array([-1, *[1] * (len(x.spec.shape) - 2)], int64), "shape")
    for kind, value in (("Mul", weight), ("Add", bias)):
        if value is not None:
            y = w.node(kind, [y, w.node("Reshape", [value, spread])])
    return str(y)


@handler("layer_norm")
def layer_norm(w: Writer, step: Step) -> str:
    x, weight, bias = step.inputs
    assert x is not None
    scale = w.name(weight) if weight is not None else w.constant(np.ones(x.spec.shape[1], x.spec.dtype), "scale")
    return str(w.node("LayerNormalization", [x, scale, bias], axis=-1, epsilon=w.probes.fixed(step, "eps")))


# --- element by element ----------------------------------------------------------------------------------------------


@handler("rsqrt")
def rsqrt(w: Writer, step: Step) -> str:
    return str(w.node("Reciprocal", [w.node("Sqrt", step.inputs)]))


@handler("square")
def square(w: Writer, step: Step) -> str:
    return str(w.node("Mul", [step.inputs[0], step.inputs[0]]))


@handler("ne")
def ne(w: Writer, step: Step) -> str:
    return str(w.node("Not", [w.node("Equal", step.inputs)]))


@handler("relu6")
def relu6(w: Writer, step: Step) -> str:
    x = _first(step)
    return str(w.node("Clip", [x, w.scalar(0, x), w.scalar(6, x)]))


@handler("clip")
def clip(w: Writer, step: Step) -> str:
    x = _first(step)
    low, high = (step.attributes[name] for name in ("min", "max"))
    return str(w.node("Clip", [x, "" if low is None else w.scalar(low, x), "" if high is None else w.scalar(high, x)]))


@handler("leaky_relu")
def leaky_relu(w: Writer, step: Step) -> str:
    return str(w.node("LeakyRelu", step.inputs, alpha=float(step.attributes["negative_slope"])))


@handler("silu")
def silu(w: Writer, step: Step) -> str:
    return str(w.node("Mul", [step.inputs[0], w.node("Sigmoid", step.inputs)]))


@handler("gelu")
def gelu(w: Writer, step: Step) -> str:
    x = _first(step)
    if step.attributes["approximate"] == "tanh":
        cube = w.node("Mul", [w.node("Mul", [w.node("Mul", [x, x]), x]), w.scalar(0.044715, x)])
        inner = w.node("Mul", [w.node("Add", [x, cube]), w.scalar(math.sqrt(2 / math.pi), x)])
        bent = w.node("Tanh", [inner])
    else:
        bent = w.node("Erf", [w.node("Mul", [x, w.scalar(math.sqrt(0.5), x)])])
    return str(w.node("Mul", [w.node("Mul", [x, w.scalar(0.5, x)]), w.node("Add", [bent, w.scalar(1, x)])]))


@handler("softplus")
def softplus(w: Writer, step: Step) -> str:
    x, beta, threshold = _first(step), step.attributes["beta"], step.attributes["threshold"]
    times = w.name(x) if beta == 1 else w.node("Mul", [x, w.scalar(beta, x)])
    y = w.node("Softplus", [times])
    y = y if beta == 1 else w.node("Div", [y, w.scalar(beta, x)])
    if threshold >= 15:  # beyond it x itself, which is then the same in float32
        return str(y)
    return str(w.node("Where", [w.node("Greater", [times, w.scalar(threshold, x)]), x, y]))


@handler("softmax", "log_softmax", "take", "gather")
def along_an_axis(w: Writer, step: Step) -> str:
    """Operations whose operator differs in nothing but that the dimension is called axis."""
    assert step.op.onnx is not None
    return str(w.node(step.op.onnx, step.inputs, axis=step.attributes["dim"]))


@handler("cast")
def cast(w: Writer, step: Step) -> str:
    kind = w.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(step.attributes["dtype"]))
    return str(w.node("Cast", step.inputs, to=kind))


@handler("remainder", "fmod")
def remainder(w: Writer, step: Step) -> str:
    a, b = step.inputs
    if step.op.name == "fmod" or _first(step).spec.dtype.kind != "f":
        return str(w.node("Mod", [a, b], fmod=int(step.op.name == "fmod")))
    return str(w.node("Sub", [a, w.node("Mul", [b, w.node("Floor", [w.node("Div", [a, b])])])]))


@handler("whole_times")
def whole_times(w: Writer, step: Step) -> str:
    quotient = w.node("Div", step.inputs)
    if _first(step).spec.dtype.kind != "f":
        if step.attributes["down"]:
            raise ValueError("division of whole numbers that rounds down has no ONNX form")
        return str(quotient)
    if step.attributes["down"]:
        return str(w.node("Floor", [quotient]))
    return str(w.node("Mul", [w.node("Sign", [quotient]), w.node("Floor", [w.node("Abs", [quotient])])]))


# --- reductions ------------------------------------------------------------------------------------------------------


@handler("sum")
def reduce_sum(w: Writer, step: Step) -> str:
    axes = w.constant(np.array(step.attributes["dims"], int64), "axes")
    return str(w.node("ReduceSum", [_first(step), axes], keepdims=int(step.attributes["keepdim"])))


@handler("mean", "amax", "amin")
def reduce_other(w: Writer, step: Step) -> str:
    x, dims, keep = _first(step), step.attributes["dims"], int(step.attributes["keepdim"])
    if step.op.name == "mean" and dims == (2, 3) and len(x.spec.shape) == 4 and keep:
        return str(w.node("GlobalAveragePool", [x]))
    assert step.op.onnx is not None
    return str(w.node(step.op.onnx, [x], axes=list(dims), keepdims=keep))


@handler("argmax", "argmin")
def arg_extreme(w: Writer, step: Step) -> str:
    assert step.op.onnx is not None
    keep = int(step.attributes["keepdim"])
    return str(w.node(step.op.onnx, step.inputs, axis=step.attributes["dim"], keepdims=keep))


# --- shapes ----------------------------------------------------------------------------------------------------------


def _attribute_lengths(w: Writer, step: Step, name: str) -> list[Lengths]:
    """A shape that is an attribute, each length at all probed sizes."""
    return list(zip(*w.probes.attribute(step, name), strict=True))


@handler("reshape")
def reshape(w: Writer, step: Step) -> str:
    x = _first(step)
    return str(w.node("Reshape", [x, w.target(_attribute_lengths(w, step, "shape"), x)]))


@handler("broadcast_to")
def broadcast_to(w: Writer, step: Step) -> str:
    x = _first(step)
    return str(w.node("Expand", [x, w.lengths(_attribute_lengths(w, step, "shape"), x)]))


@handler("permute")
def permute(w: Writer, step: Step) -> str:
    return str(w.node("Transpose", step.inputs, perm=list(w.probes.fixed(step, "dims"))))


@handler("pixels_to_rows")
def pixels_to_rows(w: Writer, step: Step) -> str:
    x = _first(step)
    target = w.constant(np.array([-1, x.spec.shape[1]], int64), "shape")
    return str(w.node("Reshape", [w.node("Transpose", [x], perm=[0, 2, 3, 1]), target]))


@handler("rows_to_pixels")
def rows_to_pixels(w: Writer, step: Step) -> str:
    n, c, height, width = _attribute_lengths(w, step, "shape")
    rows = _first(step)
    return str(
        w.node("Transpose", [w.node("Reshape", [rows, w.lengths([n, height, width, c], rows)])], perm=[0, 3, 1, 2])
    )


@handler("flip")
def flip(w: Writer, step: Step) -> str:
    dims = w.probes.fixed(step, "dims")
    ends = np.iinfo(int64)
    given = [[-1] * len(dims), [int(ends.min)] * len(dims), list(dims), [-1] * len(dims)]
    return str(w.node("Slice", [_first(step), *[w.constant(np.array(v, int64), "bounds") for v in given]]))


@handler("concat")
def concat(w: Writer, step: Step) -> str:
    return str(w.node("Concat", step.inputs, axis=step.attributes["dim"]))


@handler("slice")
def slice_(w: Writer, step: Step) -> str:
    x = _first(step)
    steps = w.probes.fixed(step, "steps")
    starts, stops = (_attribute_lengths(w, step, name) for name in ("starts", "stops"))
    shape = w.probes.shape(x)
    cut = [
        axis
        for axis, length in enumerate(shape)
        if not (constant(starts[axis]) and starts[axis][0] == 0 and stops[axis] == length and steps[axis] == 1)
    ]
    everything = (int(np.iinfo(int64).max),) * w.probes.count
    ends = [everything if stops[axis] == shape[axis] and not constant(stops[axis]) else stops[axis] for axis in cut]
    axes, strides = (w.constant(np.array(v, int64), "bounds") for v in (cut, [steps[axis] for axis in cut]))
    return str(w.node("Slice", [x, w.lengths([starts[axis] for axis in cut], x), w.lengths(ends, x), axes, strides]))


@handler("pad")
def pad(w: Writer, step: Step) -> str:
    x = _first(step)
    amounts = np.array([*w.probes.fixed(step, "before"), *w.probes.fixed(step, "after")], int64)
    return str(w.node("Pad", [x, w.constant(amounts, "pads"), w.scalar(step.attributes["value"], x)]))


@handler("check_index")
def check_index(w: Writer, step: Step) -> str:
    return w.name(step.inputs[0])  # ONNX counts negative places from the end itself


@handler("put_rows")
def put_rows(w: Writer, step: Step) -> str:
    x, index, rows = step.inputs
    reduction = step.attributes["reduction"]
    if reduction not in ("none", "add", "mul"):
        raise ValueError(f"put_rows with reduction {reduction!r} has no ONNX form in version 17")
    column = w.node("Unsqueeze", [index, w.constant(np.array([1], int64), "axes")])
    return str(w.node("ScatterND", [x, column, rows], reduction=reduction))


@handler("cumsum")
def cumsum(w: Writer, step: Step) -> str:
    axis = w.constant(np.array(step.attributes["dim"], int64), "axis")
    flags = {name: int(step.attributes[name]) for name in ("exclusive", "reverse")}
    return str(w.node("CumSum", [_first(step), axis], **flags))


@handler("topk")
def topk(w: Writer, step: Step) -> list[str]:
    k = w.constant(np.array([w.probes.fixed(step, "k")], int64), "k")
    axis, largest = step.attributes["dim"], int(step.attributes["largest"])
    made: list[str] = w.node("TopK", [_first(step), k], outputs=2, axis=axis, largest=largest)
    return made


# --- other sizes -----------------------------------------------------------------------------------------------------


@handler("resize2d")
def resize(w: Writer, step: Step) -> str:
    x, corners = _first(step), step.attributes["align_corners"]
    mode = {"nearest": "nearest", "bilinear": "linear"}[step.attributes["mode"]]
    frame = "align_corners" if corners else "asymmetric" if mode == "nearest" else "half_pixel"
    how: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": frame} | (
        {"nearest_mode": "floor"} if mode == "nearest" else {}
    )
    factors = _factors(w, step)
    if factors is not None:
        return str(w.node("Resize", [x, "", w.constant(np.array([1, 1, *factors], float32), "scales")], **how))
    sizes = w.lengths([*w.probes.shape(x)[:2], *w.probes.shape(step.outputs[0])[2:]], x)
    return str(w.node("Resize", [x, "", "", sizes], **how))


def _factors(w: Writer, step: Step) -> list[float] | None:
    """The factors of a resize, where it is one by factors: the same at all sizes, and sampling as they say."""
    lengths, counts = w.probes.shape(_first(step))[2:], w.probes.shape(step.outputs[0])[2:]
    scales = w.probes.attribute(step, "scale")
    factors = []
    for i in (0, 1):
        if step.attributes["align_corners"]:
            factor = counts[i][0] / lengths[i][0]
        elif len({scale[i] for scale in scales}) == 1:
            factor = 1 / scales[0][i]
        else:
            return None
        factor = float(np.float32(factor))
        if any(math.floor(n * factor) != count for n, count in zip(lengths[i], counts[i], strict=True)):
            return None
        factors.append(factor)
    return factors


# --- left out of networks in use -------------------------------------------------------------------------------------


@handler("dropout")
def dropout(w: Writer, step: Step) -> str:
    raise ValueError(
        "dropout is active: a network is exported as it is used, so its dropout layers must look at training"
    )
