"""LeNet-5, in today's form and in that of 1998 (LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied
to document recognition", Proceedings of the IEEE 86)."""

from __future__ import annotations

import numpy as np

from .. import nn, ops
from ..tensor import Tensor
from .registry import MNIST, FeatureInfo, Model, ModelConfig, register


def _padding(image_size: int) -> int:
    """Pictures of 28 pixels get a border of two, as in the paper, where they are 32 pixels wide with their border."""
    if image_size < 12:
        raise ValueError(f"LeNet-5 needs pictures of 12 pixels or more, not {image_size}")
    return 2 if image_size < 32 else 0


class LeNet5(Model):
    """LeNet-5 with ReLU and max-pooling: two convolutions, three fully connected layers, 61,706 parameters.

    Input shape: (N, in_channels, image_size, image_size), 28 by default (padded to 32), or 32.
    Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> cool.models.create("lenet5").num_parameters()
    61706
    """

    head = "fc3"
    feature_info = (FeatureInfo("relu1", 6, 1), FeatureInfo("relu2", 16, 2))

    def __init__(self, num_classes: int = 10, in_channels: int = 1, image_size: int = 28) -> None:
        padding = _padding(image_size)
        side = ((image_size + 2 * padding - 4) // 2 - 4) // 2
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=padding)
        self.relu1, self.pool1 = nn.ReLU(), nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.relu2, self.pool2 = nn.ReLU(), nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1, self.relu3 = nn.Linear(16 * side * side, 120), nn.ReLU()
        self.fc2, self.relu4 = nn.Linear(120, 84), nn.ReLU()
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = self.relu3(self.fc1(self.flatten(x)))
        return self.fc3(self.relu4(self.fc2(x)))  # type: ignore[no-any-return]


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3), the squashing function of the paper (its appendix A): ±1 goes to ±1. Any shape.

    >>> import coolnn as cool
    >>> round(float(cool.models.lenet.ScaledTanh()(cool.ones(1))), 3)
    1.0
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(x * (2 / 3)) * 1.7159


class Subsample(nn.Module):
    """Mean of each 2×2 window times a learned coefficient of the channel plus a learned bias.

    Input shape: (N, channels, H, W). Output shape: (N, channels, H/2, W/2).

    >>> import coolnn as cool
    >>> cool.models.lenet.Subsample(6)(cool.ones(1, 6, 4, 4)).shape
    (1, 6, 2, 2)
    """

    def __init__(self, channels: int) -> None:
        self.weight = nn.Parameter(nn.parameter.new(channels, fill=1.0))
        self.bias = nn.Parameter(nn.parameter.new(channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1, 1, 1)
        return ops.avg_pool2d(x, 2) * self.weight.reshape(shape) + self.bias.reshape(shape)


#: Table I of the paper: which of the 6 maps of S2 each of the 16 maps of C3 sees.
C3_TABLE: tuple[tuple[int, ...], ...] = (
    *((i, (i + 1) % 6, (i + 2) % 6) for i in range(6)),
    *((i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6) for i in range(6)),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)


class PartialConv2d(nn.Module):
    """A convolution in which each output channel sees only some of the input channels.

    Input shape: (N, in_channels, H, W). Output shape: (N, len(table), H - kernel + 1, W - kernel + 1). Its `weight` has
    one filter for each connection, (connections, kernel, kernel); filters of connections that are not there are zero.

    >>> import coolnn as cool
    >>> layer = cool.models.lenet.PartialConv2d(2, ((0,), (0, 1)), 3)
    >>> layer(cool.zeros(1, 2, 5, 5)).shape, layer.weight.shape
    ((1, 2, 3, 3), (3, 3, 3))
    """

    def __init__(self, in_channels: int, table: tuple[tuple[int, ...], ...], kernel_size: int) -> None:
        self.in_channels, self.table, self.kernel_size = in_channels, table, kernel_size
        connections = sum(map(len, table))
        self.weight = nn.Parameter(nn.parameter.new(connections, kernel_size, kernel_size))
        self.bias = nn.Parameter(nn.parameter.new(len(table)))
        # For each (output, input) the number of its filter; `connections` stands for a filter of zeros at the end.
        self._index = np.full((len(table), in_channels), connections, np.int64)
        number = 0
        for output, inputs in enumerate(table):
            for source in sorted(inputs):
                self._index[output, source] = number
                number += 1
        bound = (connections / len(table) * kernel_size**2) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        filters = ops.pad(self.weight, (0, 0, 0, 0, 0, 1))
        full = ops.take(filters, self._index.reshape(-1), 0)
        k = self.kernel_size
        return ops.conv2d(x, full.reshape(len(self.table), self.in_channels, k, k), self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {len(self.table)}, kernel_size={self.kernel_size}, filters={self.weight.shape[0]}"


class LeNet5Of1998(Model):
    """LeNet-5 as published: scaled tanh, subsampling with learned coefficients, the partial connections of C3; exactly
    60,000 learned numbers before the output layer.

    One change: the output layer of radial basis functions with fixed bitmaps of the characters is replaced by a fully
    connected layer, so that softmax and cross-entropy work as usual.
    Input shape: (N, in_channels, image_size, image_size), 28 by default (padded to 32), or 32.
    Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> net = cool.models.create("lenet5_1998")
    >>> net.num_parameters() - net.output.num_parameters()
    60000
    """

    head = "output"
    feature_info = (FeatureInfo("tanh1", 6, 1), FeatureInfo("tanh3", 16, 2))

    def __init__(self, num_classes: int = 10, in_channels: int = 1, image_size: int = 28) -> None:
        padding = _padding(image_size)
        side = ((image_size + 2 * padding - 4) // 2 - 4) // 2
        self.c1, self.tanh1 = nn.Conv2d(in_channels, 6, 5, padding=padding), ScaledTanh()
        self.s2, self.tanh2 = Subsample(6), ScaledTanh()
        self.c3, self.tanh3 = PartialConv2d(6, C3_TABLE, 5), ScaledTanh()
        self.s4, self.tanh4 = Subsample(16), ScaledTanh()
        self.c5, self.tanh5 = nn.Conv2d(16, 120, side), ScaledTanh()
        self.flatten = nn.Flatten()
        self.f6, self.tanh6 = nn.Linear(120, 84), ScaledTanh()
        self.output = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tanh2(self.s2(self.tanh1(self.c1(x))))
        x = self.tanh4(self.s4(self.tanh3(self.c3(x))))
        x = self.flatten(self.tanh5(self.c5(x)))
        return self.output(self.tanh6(self.f6(x)))  # type: ignore[no-any-return]


register(
    ModelConfig("lenet5", LeNet5, num_classes=10, input_size=(1, 28, 28), preprocessing=MNIST),
    ModelConfig("lenet5_1998", LeNet5Of1998, num_classes=10, input_size=(1, 28, 28), preprocessing=MNIST),
)
