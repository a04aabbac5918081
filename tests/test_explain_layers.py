"""Layers by name: found from a run, tapped eagerly and compiled, wherever the network's code hides them."""

import numpy as np
import pytest

import coolnn as cool
from coolnn.explain import Layers, tapped
from coolnn.explain.field import seen_by


class Twice(cool.nn.Module):
    """One module used twice, a block around it, and a map made by an operation that is no module."""

    def __init__(self) -> None:
        self.stem = cool.nn.Sequential(cool.nn.Conv2d(1, 4, 3, padding=1), cool.nn.ReLU())
        self.conv = cool.nn.Conv2d(4, 4, 3, padding=1)
        self.head = cool.nn.Linear(4, 2)

    def forward(self, x):
        x = self.stem(x)
        x = self.conv(self.conv(x)).relu()
        return self.head(x.mean((2, 3)))


def test_each_use_of_a_module_is_a_layer_and_blocks_answer_by_their_last_module():
    layers = Layers(Twice(), (1, 8, 8))
    assert [layer.name for layer in layers] == ["stem.0", "stem.1", "conv", "conv (use 2)", "head"]
    assert layers["stem"] == layers["stem.1"]
    assert layers["conv"].shape == (4, 8, 8) and layers["conv"].call != layers["conv (use 2)"].call
    assert layers["output"].shape == (2,)
    assert layers.last_map.call == layers["conv (use 2)"].call + 1  # the ReLU, which is no module


@pytest.mark.parametrize(
    ("name", "shape", "last", "stages"),
    [
        ("lenet5", (1, 28, 28), "relu2", [28, 14, 10]),
        ("vgg16", (3, 96, 96), "features.29", [96, 48, 24, 12, 6]),
        ("squeezenet1_1", (3, 128, 128), "classifier.2", [63, 31, 15, 7]),
        ("resnet18", (3, 64, 64), "layer4.1.relu2", [32, 16, 8, 4, 2]),
        ("densenet121", (3, 64, 64), "relu", [32, 16, 8, 4, 2]),
        ("efficientnet_lite0", (3, 64, 64), "relu2", [32, 16, 8, 4, 2]),
    ],
)
def test_the_last_map_and_the_steps_of_the_hierarchy_are_found_from_the_graph(name, shape, last, stages):
    layers = Layers(cool.models.create(name), shape)
    assert layers.last_map == layers[last]
    assert [layer.shape[1] for layer in layers.stages()] == stages
    assert layers.stages()[-1] == layers.last_map


def test_tapped_gives_what_the_modules_gave_eagerly_and_compiled():
    net = cool.models.create("squeezenet1_1", num_classes=3).eval()
    names = ["features.3", "features.6.squeeze", "classifier.1"]
    x = cool.tensor(np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32))
    wanted = cool.models.features(net, x, names)
    layers = Layers(net, (3, 64, 64))
    output, found = tapped(net, x, [layers[name] for name in names])
    run = cool.compile(lambda x: tapped(net, x, [layers[name] for name in names])[1])
    for name, eager, compiled in zip(names, found, run(x), strict=True):
        assert np.array_equal(eager.numpy(), wanted[name].numpy())
        # fused kernels sum in another order: a few units in the last place of float32
        scale = np.abs(eager.numpy()).max()
        assert np.abs(compiled.numpy() - eager.numpy()).max() <= 1e-5 * scale
    assert np.array_equal(output.numpy(), net(x).numpy())


def test_a_compiled_function_may_take_the_gradient_of_a_layer_inside():
    net = cool.models.create("lenet5").eval()
    layer = Layers(net, (1, 28, 28))["pool2"]

    def gradient(x):
        output, (inner,) = tapped(net, x, [layer])
        return cool.grad(output[:, 3].sum(), inner)[0]

    x = cool.tensor(np.random.default_rng(1).standard_normal((2, 1, 28, 28)).astype(np.float32))
    eager, compiled = gradient(x).numpy(), cool.compile(gradient)(x).numpy()
    assert np.abs(eager).max() > 0
    assert np.abs(compiled - eager).max() <= 1e-5 * np.abs(eager).max()


def test_what_is_not_there_is_refused_with_what_is():
    layers = Layers(cool.models.create("lenet5"), (1, 28, 28))
    with pytest.raises(ValueError, match="no layer 'conv9'; did you mean 'conv"):
        layers["conv9"]
    with pytest.raises(ValueError, match="it has: conv1, relu1"):
        layers["zzz"]
    with pytest.raises(ValueError, match=r"fc1 .*no places any more; those that do: conv1"):
        layers.map("fc1")
    with pytest.raises(ValueError, match="does not run on inputs of shape"):
        Layers(cool.models.create("lenet5"), (3, 28, 28))
    with pytest.raises(ValueError, match="no layer with places"):
        Layers(cool.nn.Sequential(cool.nn.Linear(4, 2)), (4,)).maps()


class Sides(cool.nn.Module):
    """Windows that are not alike on all sides: even, strided, mirrored at the border, cut out, added."""

    def __init__(self) -> None:
        self.first = cool.nn.Conv2d(1, 2, (4, 3), stride=2, padding=(1, 0, 2, 1))
        self.pool = cool.nn.MaxPool2d(3, 2, 1)
        self.mirrored = cool.nn.Conv2d(2, 2, 3, padding=2, dilation=2, padding_mode="reflect")
        self.last = cool.nn.Conv2d(2, 2, 2)

    def forward(self, x):
        x = self.pool(self.first(x).relu())
        x = x + self.mirrored(x)
        return self.last(cool.ops.pad(x[:, :, 1:, :], (1, 0, 0, 2)))


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (Sides(), (1, 41, 38)),
        (cool.models.create("lenet5"), (1, 28, 28)),
    ],
    ids=["sides", "lenet5"],
)
def test_the_field_of_a_unit_is_what_its_number_depends_on(net, shape):
    """Against the box that is followed back number by number, where all channels see alike."""
    layers = Layers(net, shape)
    run = cool.explain.trace(net.eval(), np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32))
    for layer in layers.maps():
        tensor = run.steps[layer.call].call.outputs[layer.output]
        height, width = layer.shape[1:]
        for place in {(height // 2, width // 2), (height // 3, width // 2)}:
            followed = seen_by(run, tensor, (0, 0, *place))[id(run.inputs[0])]
            (top, bottom), (left, right) = layers.field(layer).window(place)
            inside = max(top, 0), max(left, 0), min(bottom, shape[1]), min(right, shape[2])
            assert inside == (*followed.first[2:], *[n + 1 for n in followed.last[2:]]), (layer, place)


def test_the_field_of_a_transposed_convolution_holds_what_its_units_see():
    net = cool.nn.Sequential(cool.nn.Conv2d(1, 2, 3, padding=1), cool.nn.ConvTranspose2d(2, 2, 2, stride=2))
    field = Layers(net, (1, 8, 8)).field("1")
    assert field.stride == (0.5, 0.5) and field.grid == (16, 16)
    for row in range(2, 14):
        begin, end = field.window((row, 8))[0]
        assert begin <= row // 2 - 1 and end >= row // 2 + 2
    with pytest.raises(ValueError, match="no layer 'field'"):
        Layers(net, (1, 8, 8)).field("field")
