"""Summaries: costs, receptive fields on any graph, operations of the user's own."""

import json

import numpy as np
import pytest

import coolnn as cool
from coolnn import nn
from coolnn.models.summary import dense_weights
from coolnn.ops import OPS, Op, define
from coolnn.spec import Spec


def fields(net, shape):
    return {row.name: (row.receptive_field, row.stride) for row in cool.summary(net, shape).rows}


def square(size, stride):
    return ((size, size), (stride, stride))


def test_vgg19_costs_what_is_published():
    table = cool.summary("vgg19")
    assert table.parameters == 143_667_240
    assert table.macs == 19_632_062_464
    assert [row.name for row in table.rows][:3] == ["features.0", "features.1", "features.2"]
    rows = {row.name: row for row in table.rows}
    assert rows["features.0"].macs == 64 * 27 * 224 * 224
    assert rows["features.1"].activation_bytes == 4 * 64 * 224 * 224
    assert rows["features.36"].receptive_field == (268, 268) and rows["features.36"].stride == (32, 32)
    assert rows["classifier.0"].parameters == 25088 * 4096 + 4096 and rows["classifier.0"].whole_input
    assert rows["classifier.2"].kind == "Dropout" and rows["classifier.2"].macs == 0
    assert sum(row.parameters for row in table.rows) == table.parameters
    assert table.parameter_bytes == 4 * table.parameters


@pytest.mark.parametrize(("name", "gmacs"), [("alexnet", 0.714), ("resnet18", 1.814), ("resnet50", 4.089)])
def test_multiply_adds_of_well_known_networks(name, gmacs):
    assert cool.summary(name).macs / 1e9 == pytest.approx(gmacs, abs=0.001)


def test_lenet_receptive_fields():
    found = fields("lenet5", None)
    assert found["conv1"] == square(5, 1) and found["pool1"] == square(6, 2)
    assert found["conv2"] == square(14, 2) and found["pool2"] == square(16, 4)
    assert found["fc1"] == square(16 + 4 * 4, 4)
    assert cool.summary("lenet5").rows[-1].whole_input


def test_receptive_field_of_each_kind_of_window():
    def sees(*layers):
        row = cool.summary(nn.Sequential(*layers), (4, 12, 12)).rows[-1]
        return row.receptive_field, row.stride

    assert sees(nn.Conv2d(4, 4, (3, 5), stride=(2, 1), dilation=(2, 1))) == ((5, 5), (2, 1))
    assert sees(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=4)) == square(5, 1)
    assert sees(nn.AvgPool2d(2), nn.MaxPool2d(3, 1)) == square(6, 2)
    assert sees(nn.AdaptiveAvgPool2d(4)) == square(3, 3)
    assert sees(nn.AdaptiveAvgPool2d(5)) == square(4, 2.4)
    assert sees(nn.GlobalAvgPool2d()) == square(12, 12)
    assert sees(nn.ConvTranspose2d(4, 4, 2, stride=2)) == square(1, 0.5)
    assert sees(nn.ConvTranspose2d(4, 4, 3, stride=2)) == square(2, 0.5)
    assert sees(nn.Conv2d(4, 4, 3, stride=2), nn.Upsample(scale_factor=2)) == square(3, 1)
    assert sees(nn.Upsample(scale_factor=2, mode="bilinear")) == square(2, 0.5)
    assert sees(nn.ReflectionPad2d(1), nn.Conv2d(4, 4, 3), nn.InstanceNorm2d(4), nn.ReLU()) == square(3, 1)


class Graph(nn.Module):
    """Branches of different depth, a slice with steps, a mean over the picture."""

    def __init__(self):
        self.long = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))
        self.short = nn.Conv2d(3, 4, 1)
        self.last = nn.Conv2d(4, 4, 3)

    def forward(self, x):
        joined = self.long(x) + self.short(x)
        return self.last(joined[:, :, ::2, ::2]).mean((2, 3))


def test_any_graph_is_followed_by_the_largest_of_its_inputs():
    table = cool.summary(Graph(), (1, 3, 10, 10))
    assert [(row.name, row.kind) for row in table.rows] == [
        ("long.0", "Conv2d"), ("long.1", "Conv2d"), ("short", "Conv2d"), ("", "add"), ("", "slice"), ("last", "Conv2d"),
        ("", "mean"),
    ]  # fmt: skip
    sizes = [row.receptive_field[0] for row in table.rows]
    assert sizes == [3, 5, 1, 5, 5, 9, 13] and table.rows[-1].stride == (2, 2)
    assert table.rows[-1].whole_input and not table.rows[-2].whole_input
    assert "add" in str(table)


class Blur(Op):
    """Mean over a window of three by three; a stand-in for what a user adds."""

    name = "test_blur"

    def infer(self, x, kernel_size, stride):
        n, c, h, w = x.shape
        return Spec((n, c, (h - 3) // stride[0] + 1, (w - 3) // stride[1] + 1), x.dtype)

    def reference(self, x, kernel_size, stride):
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel_size, (2, 3))
        return windows[:, :, :: stride[0], :: stride[1]].mean((4, 5))

    def macs(self, inputs, outputs, **attributes):
        return 9 * outputs[0].size


def test_an_operation_of_the_users_own_shows_up():
    blur = define(Blur())
    try:

        class Net(nn.Module):
            def __init__(self):
                self.conv = nn.Conv2d(1, 2, 3)

            def forward(self, x):
                return cool.autograd.apply(blur, self.conv(x), kernel_size=(3, 3), stride=(2, 2))

        row = cool.summary(Net(), (1, 9, 9)).rows[-1]
        assert (row.kind, row.output_shape, row.macs) == ("test_blur", (1, 2, 3, 3), 9 * 18)
        assert row.receptive_field == (5, 5) and row.stride == (2, 2)
    finally:
        del OPS["test_blur"]


def test_what_fully_connected_layers_would_take():
    assert dense_weights((3, 1000, 1000), 1000) == 3_000_000_000
    with nn.meta_parameters():
        net = nn.Sequential(nn.Flatten(), nn.Linear(3_000_000, 1000, bias=False))
    table = cool.summary(net, (3, 1000, 1000))
    assert table.parameters == table.macs == table.dense_weights == 3_000_000_000
    row = cool.summary(nn.Conv2d(3, 8, 3, padding=1, bias=False), (3, 32, 32)).rows[0]
    assert (row.parameters, row.dense_weights) == (216, 3072 * 8192)


def test_shared_layers_count_their_parameters_once():
    layer = nn.Conv2d(2, 2, 3, padding=1)
    table = cool.summary(nn.Sequential(layer, layer), (2, 8, 8))
    assert [row.parameters for row in table.rows] == [38, 0] and table.parameters == 38
    assert table.macs == 2 * 36 * 64


def test_the_network_is_left_as_it_was():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(), nn.Sequential(nn.ReLU()).eval())
    cool.summary(net, (2, 4, 4))
    assert net.training and net[0].training and not net[2].training
    assert net[0].num_batches_tracked.item() == 0
    with pytest.raises(ValueError):
        cool.summary(net, (3, 4, 4))
    assert net.training and not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_shapes_names_and_plain_data():
    net = nn.Sequential(nn.Linear(4, 3))
    table = cool.summary(net, (4,))
    assert table.input_shapes == ((1, 4),) and table.rows[0].receptive_field is None
    assert cool.summary(net, (5, 4)).rows[0].output_shape == (5, 3)
    net[0].weight.requires_grad_(False)
    text = str(cool.summary(net, (4,)))
    assert "12 of them frozen" in text and len({len(line) for line in text.splitlines()[1:4]}) >= 1
    data = json.loads(json.dumps(table.to_dict()))
    assert data["parameters"] == 15 and data["rows"][0]["output_shape"] == [1, 3]
    assert cool.summary("lenet5", num_classes=3).rows[-1].output_shape == (1, 3)
    with pytest.raises(ValueError, match="does not say what it takes"):
        cool.summary(net)
    with pytest.raises(TypeError, match="num_classes: only for a network given by its name"):
        cool.summary(net, (4,), num_classes=3)
    with pytest.raises(ValueError, match="did you mean"):
        cool.summary("vgg91")


def test_several_inputs():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    table = cool.summary(Two(), [(1, 2, 4, 4), (1, 2, 4, 4)])
    assert table.rows[0].kind == "Two" and table.input_shapes == ((1, 2, 4, 4),) * 2
