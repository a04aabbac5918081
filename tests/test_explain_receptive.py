"""Receptive fields: against what changes when pixels change, and against Gaussians of known width."""

import numpy as np
import pytest

import coolnn as cool
from coolnn.explain import Layers, receptive_field
from coolnn.explain.receptive import field_box


def touched(net, x, layer, place):
    """The box of pixels that a unit's value is not the same for, found by changing them; with positive weights."""
    layers = Layers(net, x.shape[1:])

    def unit(x):
        found = cool.explain.tapped(net.eval(), cool.tensor(x), [layers[layer]])[1][0].numpy()
        return found[0, :, place[0], place[1]]

    rows, columns = [], []
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            changed = x.copy()
            changed[0, :, row, column] += 100
            if not np.array_equal(unit(changed), unit(x)):
                rows.append(row)
                columns.append(column)
    return (min(rows), min(columns)), (max(rows), max(columns))


def positive(net):
    for parameter in net.parameters():
        parameter.copy_(np.abs(parameter.numpy()) + np.float32(0.01))
    return net


@pytest.mark.parametrize("place", [(0, 0), (1, 2), (3, 3)])
def test_the_box_is_what_the_unit_answers_to(place):
    net = positive(
        cool.nn.Sequential(
            cool.nn.Conv2d(1, 2, 3, padding=1),
            cool.nn.ReLU(),
            cool.nn.MaxPool2d(2, 2),
            cool.nn.Conv2d(2, 2, 3, stride=2, padding=1),
            cool.nn.Conv2d(2, 2, (1, 3), dilation=1, padding=(0, 1)),
        )
    )
    x = np.random.default_rng(0).random((1, 1, 16, 16), np.float32)
    box = field_box(Layers(net, (1, 16, 16)), "4", place)
    assert (box.first, box.last) == touched(net, x, "4", place)


@pytest.mark.parametrize(
    ("name", "layer", "side"),
    # Published: Araujo, Norris & Sim 2019 and the papers' own; VGG16's conv5_3 sees 196 pixels.
    [("vgg16", "features.28", 196), ("vgg16", "features.2", 5), ("squeezenet1_1", "features.0", 3)],
)
def test_published_sizes(name, layer, side):
    with cool.nn.meta_parameters():
        net = cool.models.create(name)
    assert field_box(Layers(net, (3, 224, 224)), layer).shape == (side, side)


def test_what_mixes_all_places_sees_all():
    net = cool.models.create("mobilenet_v3_small", num_classes=3)
    layers = Layers(net, (3, 64, 64))
    assert field_box(layers, "output").shape == (64, 64)
    assert field_box(layers, layers.all[0]).shape == (3, 3)


def test_both_branches_of_a_choice_count():
    class Chooses(cool.nn.Module):
        def __init__(self) -> None:
            self.conv = cool.nn.Conv2d(1, 1, 5, padding=2)

        def forward(self, x):
            return cool.ops.where(x > 0.5, self.conv(x), x * 0)

    net = cool.nn.Sequential(Chooses(), cool.nn.Conv2d(1, 1, 1))
    assert field_box(Layers(net, (1, 16, 16)), "1").shape == (5, 5)


def test_the_effective_field_of_stacked_averages_is_their_gaussian():
    layers = []
    for _ in range(8):
        conv = cool.nn.Conv2d(1, 1, 3, padding=1, bias=False)
        conv.weight.copy_(np.full((1, 1, 3, 3), 1 / 9, np.float32))
        layers.append(conv)
    field = receptive_field(cool.nn.Sequential(*layers), "7", size=41, count=1)
    assert field.box.shape == (17, 17) and field.place == (20, 20)
    # Eight boxes of variance 2/3 are nearly a Gaussian of variance 16/3, in two dimensions above 4.55 % of its peak
    # within a radius of sqrt(-2 ln 0.0455 · 16/3): the side of a square of that circle's area.
    radius = np.sqrt(-2 * np.log(0.0455) * 16 / 3)
    assert field.side == pytest.approx(np.sqrt(np.pi) * radius, rel=0.05)
    assert field.share < 0.7
    assert np.array_equal(np.unravel_index(field.influence.argmax(), (41, 41)), (20, 20))
    outside = field.influence.copy()
    outside[12:29, 12:29] = 0
    assert not outside.any()
    assert field.picture().shape == (41, 41, 3) and field.crop(np.zeros((41, 41, 3), np.uint8)).shape == (17, 17, 3)
    assert "can see 17×17" in str(field)


def test_the_users_pictures_and_single_channels():
    net = cool.models.create("lenet5")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    field = receptive_field(net, "conv2", 3, (2, 5), pictures=pictures)
    assert field.place == (2, 5) and field.influence.max() == 1
    other = receptive_field(net, "conv2", 4, (2, 5), pictures=pictures)
    assert not np.array_equal(field.influence, other.influence)
    assert net.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "conv9"}, "no layer 'conv9'"),
        ({"layer": "conv1", "channels": [6]}, "channels 0 to 5, not 6"),
        ({"layer": "conv1", "place": (28, 0)}, r"not \(28, 0\)"),
        ({"layer": "fc1", "place": (0, 0)}, "has no places"),
        ({"layer": "conv1", "count": 0}, "count is 1 or more"),
    ],
)
def test_what_is_not_there_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        receptive_field(cool.models.create("lenet5"), **arguments)
