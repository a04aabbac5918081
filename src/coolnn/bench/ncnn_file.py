"""A graph as the two files that ncnn reads: a text of layers and the numbers of their weights.

Layers have numbered parameters ("0=64 1=3"), blobs have no batch axis, a blob that several layers read is split, and
the activation behind a convolution or a linear layer is written into it, as ncnn's own optimizer does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Graph, Step, Value
from .peers import Array

_MAGIC = 7767517
#: Activations that layers with weights can take in: number and parameters.
_ACTIVATIONS: dict[str, tuple[int, tuple[float, ...]]] = {
    "relu": (1, ()),
    "relu6": (3, (0.0, 6.0)),
    "sigmoid": (4, ()),
    "hardswish": (6, (1 / 6, 0.5)),
}
_PLAIN = {
    "relu": ("ReLU", {}),
    "relu6": ("Clip", {0: 0.0, 1: 6.0}),
    "sigmoid": ("Sigmoid", {}),
    "silu": ("Swish", {}),
    "tanh": ("TanH", {}),
    "hardswish": ("HardSwish", {0: 1 / 6, 1: 0.5}),
}
_BINARY = {"add": 0, "sub": 1, "mul": 2}


def convert(graph: Graph) -> tuple[str, bytes]:
    """Both files for a forward graph with one input and one output, and a batch of one picture.

    Raises NotImplementedError that names what has no counterpart.
    """
    return _Writer(graph).files()


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.lines: list[str] = []
        self.weights: list[bytes] = []
        self.blobs = 0
        self.names: dict[Value, list[str]] = {}  # one name for each reader that has not come yet
        self.readers = graph.consumers()
        self.taken: set[Step] = set()  # steps that another one has taken in

    def files(self) -> tuple[str, bytes]:
        """The text and the weights."""
        if self.graph.inputs[0].spec.shape[0] != 1:
            raise NotImplementedError("batches of several pictures in ncnn")
        channels, height, width = self.graph.inputs[0].spec.shape[1:]
        self.layer("Input", [], self.graph.inputs[0], {0: width, 1: height, 2: channels}, name="data")
        for step in self.graph.steps:
            if step not in self.taken:
                self.step(step)
        self.layer("Noop", [self.graph.outputs[0]], None, {}, name="output")
        text = "\n".join([str(_MAGIC), f"{len(self.lines)} {self.blobs}", *self.lines]) + "\n"
        return text, b"".join(self.weights)

    def layer(
        self,
        kind: str,
        inputs: list[Value],
        output: Value | None,
        numbers: dict[int, Any],
        name: str | None = None,
    ) -> None:
        """Writes a line; the output of the last layer, which no step makes, is called as the layer."""
        number = len(self.lines)
        name = name or f"{kind.lower()}{number}"
        sources = [self.names[value].pop() for value in inputs]
        words = [kind, name, str(len(sources)), "1", *sources, name]
        self.blobs += 1
        self.lines.append(" ".join([*words, *(_number(key, value) for key, value in numbers.items())]))
        if output is not None:
            self.publish(output, name)

    def publish(self, value: Value, name: str) -> None:
        """Gives every reader of a value a name of its own."""
        uses = [v for step in self.readers.get(value, ()) for v in step.inputs if v is value]
        count = len(uses) + (value in self.graph.outputs)
        if count <= 1:
            self.names[value] = [name]
            return
        copies = [f"{name}_{i}" for i in range(count)]
        self.lines.append(" ".join(["Split", f"split_{name}", "1", str(count), name, *copies]))
        self.blobs += count
        self.names[value] = copies

    def step(self, step: Step) -> None:
        """Writes the layers of a step."""
        name = step.op.name
        x = step.inputs[0]
        assert x is not None
        writers: dict[str, Callable[[Step, Value], None]] = {
            "conv2d": self.convolution,
            "linear": self.linear,
            "max_pool2d": self.pooling,
            "avg_pool2d": self.pooling,
            "adaptive_avg_pool2d": self.adaptive,
            "mean": self.mean,
            "reshape": self.reshape,
            "concat": self.concat,
            "channel_affine": self.affine,
        }
        if name in writers:
            writers[name](step, x)
        elif name in _PLAIN:
            kind, numbers = _PLAIN[name]
            self.layer(kind, [x], step.outputs[0], dict(numbers))
        elif name in _BINARY and all(value is not None and value.tensor is None for value in step.inputs):
            self.layer("BinaryOp", [v for v in step.inputs if v is not None], step.outputs[0], {0: _BINARY[name]})
        else:
            raise NotImplementedError(f"the operation {name} in ncnn")

    def finish(self, step: Step) -> tuple[Value, dict[int, Any]]:
        """The result of a step with the activation behind it, if there is one that nobody else comes before."""
        output = step.outputs[0]
        readers = self.readers.get(output, [])
        if len(readers) != 1 or output in self.graph.outputs or readers[0].op.name not in _ACTIVATIONS:
            return output, {}
        self.taken.add(readers[0])
        number, parameters = _ACTIVATIONS[readers[0].op.name]
        numbers: dict[int, Any] = {9: number}
        if parameters:
            numbers[10] = parameters
        return readers[0].outputs[0], numbers

    def weight(self, value: Value | None, flag: bool) -> int:
        """Appends the numbers of a weight (with a mark of its type, for all but biases); how many there are."""
        if value is None or value.tensor is None:
            raise NotImplementedError("weights that are computed in ncnn")
        content: Array = np.ascontiguousarray(value.tensor.numpy(), "<f4")
        self.weights.append(bytes(4) * flag + content.tobytes())
        return int(content.size)

    def convolution(self, step: Step, x: Value) -> None:
        """Convolution, grouped or not."""
        weight, bias = step.inputs[1:3]
        assert weight is not None
        a = step.attributes
        top, left, bottom, right = a["padding"]
        (kh, kw), (sh, sw), (dh, dw) = weight.spec.shape[2:], a["stride"], a["dilation"]
        output, activation = self.finish(step)
        numbers = {0: weight.spec.shape[0], 1: kw, 11: kh, 2: dw, 12: dh, 3: sw, 13: sh}
        numbers |= {4: left, 15: right, 14: top, 16: bottom, 5: int(bias is not None)}
        numbers[6] = self.weight(weight, True)
        if bias is not None:
            self.weight(bias, False)
        grouped = {7: a["groups"]} if a["groups"] > 1 else {}
        kind = "ConvolutionDepthWise" if grouped else "Convolution"
        self.layer(kind, [x], output, {**numbers, **grouped, **activation})

    def linear(self, step: Step, x: Value) -> None:
        """Fully connected."""
        weight, bias = step.inputs[1:3]
        assert weight is not None
        output, activation = self.finish(step)
        numbers = {0: weight.spec.shape[0], 1: int(bias is not None), 2: self.weight(weight, True)}
        if bias is not None:
            self.weight(bias, False)
        self.layer("InnerProduct", [x], output, {**numbers, **activation})

    def pooling(self, step: Step, x: Value) -> None:
        """The largest, or the mean, of windows."""
        a = step.attributes
        (kh, kw), (sh, sw), (top, left, bottom, right) = a["kernel_size"], a["stride"], a["padding"]
        largest = step.op.name == "max_pool2d"
        if a.get("dilation", (1, 1)) != (1, 1):
            raise NotImplementedError("dilated pooling in ncnn")
        if largest:  # windows that reach beyond the padding (ceil_mode)
            oh, ow = a["output_size"]
            bottom = max(bottom, (oh - 1) * sh + kh - x.spec.shape[2] - top)
            right = max(right, (ow - 1) * sw + kw - x.spec.shape[3] - left)
        numbers = {0: int(not largest), 1: kw, 11: kh, 2: sw, 12: sh, 3: left, 14: right, 13: top, 15: bottom, 5: 1}
        self.layer("Pooling", [x], step.outputs[0], {**numbers, 6: int(a.get("count_include_pad", False))})

    def adaptive(self, step: Step, x: Value) -> None:
        """Means of parts of the picture."""
        height, width = step.attributes["output_size"]
        self.layer("Pooling", [x], step.outputs[0], {0: 1, 7: 1, 8: width, 18: height})

    def mean(self, step: Step, x: Value) -> None:
        """The mean of each plane."""
        if tuple(step.attributes["dims"]) != (2, 3) or len(x.spec.shape) != 4:
            raise NotImplementedError("means but those of planes in ncnn")
        if not step.attributes["keepdim"]:
            self.layer("Pooling", [x], step.outputs[0], {0: 1, 4: 1})
            return
        self.layer("Pooling", [x], step.outputs[0], {0: 1, 7: 1, 8: 1, 18: 1})

    def reshape(self, step: Step, x: Value) -> None:
        """Flattening."""
        if len(step.outputs[0].spec.shape) != 2:
            raise NotImplementedError("reshapes but flattening in ncnn")
        self.layer("Flatten", [x], step.outputs[0], {})

    def concat(self, step: Step, x: Value) -> None:
        """Channels side by side."""
        if step.attributes["dim"] != 1:
            raise NotImplementedError("concatenation but of channels in ncnn")
        self.layer("Concat", [v for v in step.inputs if v is not None], step.outputs[0], {0: 0})

    def affine(self, step: Step, x: Value) -> None:
        """A factor and a summand for each channel."""
        count = self.weight(step.inputs[1], False)
        self.weight(step.inputs[2], False)
        self.layer("Scale", [x], step.outputs[0], {0: count, 1: 1})


def _number(key: int, value: Any) -> str:
    if isinstance(value, tuple):  # an array
        return f"{-23300 - key}={len(value)}," + ",".join(f"{v:.9g}" for v in value)
    return f"{key}={value:.9e}" if isinstance(value, float) else f"{key}={value}"
