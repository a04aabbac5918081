"""Filters and feature maps: every number where it belongs, on networks of all kinds."""

import numpy as np
import pytest

import coolnn as cool
from coolnn.explain import convolutions, feature_maps, filters, images


class Mixed(cool.nn.Module):
    """A convolution in colour, one that is depthwise, one turned round, and one whose weight is the network's own."""

    def __init__(self) -> None:
        self.first = cool.nn.Conv2d(3, 4, 3)
        self.own = cool.nn.Parameter(cool.tensor(np.arange(8, dtype=np.float32).reshape(2, 4, 1, 1) - 4))
        self.depthwise = cool.nn.Conv2d(2, 2, 3, padding=1, groups=2)
        self.up = cool.nn.ConvTranspose2d(2, 5, 2, stride=2)
        self.head = cool.nn.Linear(5, 3)

    def forward(self, x):
        x = cool.ops.conv2d(self.first(x).relu(), self.own)
        return self.head(self.up(self.depthwise(x)).mean((2, 3)))


def test_every_convolution_is_found_by_its_name_whatever_holds_its_weights():
    net = Mixed()
    found = {name: weight.shape for name, weight in convolutions(net).items()}
    assert found == {"own": (2, 4, 1, 1), "first": (4, 3, 3, 3), "depthwise": (2, 1, 3, 3), "up": (5, 2, 2, 2)}
    assert filters(net).title == "first: 4 of 4 filters, 3×3 over 3 channels"
    turned = net.up.weight.numpy()
    assert np.array_equal(convolutions(net)["up"].numpy(), turned.transpose(1, 0, 2, 3))


def test_a_filter_that_sees_colours_is_a_picture_of_its_weights():
    net = Mixed()
    weight = np.zeros((4, 3, 3, 3), np.float32)
    weight[0, 0, 0, 0], weight[0, 2, 2, 1] = 2.0, -1.0  # red in the corner, no blue below
    net.first.weight.copy_(cool.tensor(weight))
    shown = filters(net, "first").pictures[0]
    scale = shown.shape[0] // 3
    pixels = shown[::scale, ::scale]
    assert (shown == np.kron(pixels, np.ones((scale, scale, 1), np.uint8))).all()
    assert pixels[0, 0].tolist() == [255, 128, 128] and pixels[2, 1].tolist() == [128, 128, 64]
    assert filters(net, "first", order="bgr").pictures[0][0, 0].tolist() == [128, 128, 255]
    assert (filters(net, "first").pictures[1] == 128).all()  # a filter of zeros is grey


def test_all_other_filters_have_a_tile_for_every_input_blue_to_red():
    net = Mixed()
    shown = filters(net, "own")
    assert shown.labels == ["0", "1"]
    tiles = shown.pictures[0]  # -4 -3 / -2 -1
    side = tiles.shape[0] // 2
    expected = images.coloured(np.array([[-4, -3], [-2, -1]]) / 4, "diverging")
    assert (tiles[::side, ::side] == expected).all()
    deep = filters(cool.models.create("lenet5"), "conv2").pictures[3]
    weights = cool.models.create("lenet5").conv2.weight.shape
    assert weights == (16, 6, 5, 5) and deep.shape == (51, 77, 3)  # 2 rows of 3 tiles of 25 pixels, lines between
    assert (deep[25] == 150).all() and (deep[:, 25] == 150).all()


def test_feature_maps_are_what_the_layers_gave():
    net = cool.models.create("squeezenet1_1", num_classes=4)
    x = np.random.default_rng(0).standard_normal((3, 64, 64)).astype(np.float32)
    found = feature_maps(net, x, ["features.3", "classifier.1", "output"])
    wanted = cool.models.features(net.eval(), cool.tensor(x[None]), ["features.3", "classifier.1"])
    for maps in found[:2]:
        assert np.array_equal(maps.values, wanted[maps.layer.name].numpy()[0])
    assert found[2].values.shape == (4,)
    assert [maps.layer.shape[1] for maps in feature_maps(net, x)] == [31, 15, 7, 3]


def test_a_network_in_training_is_looked_at_in_evaluation_and_stays_as_it_was():
    net = cool.models.create("resnet20").train()
    x = np.random.default_rng(0).standard_normal((3, 32, 32)).astype(np.float32)
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    (maps,) = feature_maps(net, x, ["conv1"])
    assert net.training and all(np.array_equal(before[n], v.numpy()) for n, v in net.state_dict().items())
    net.eval()
    assert np.array_equal(feature_maps(net, x, ["conv1"])[0].values, maps.values)


def test_pictures_of_maps_name_the_channel_and_its_largest_value():
    layer = cool.explain.Layers(cool.models.create("lenet5"), (1, 28, 28))["conv1"]
    values = np.zeros((6, 24, 24), np.float32)
    values[4, 3, 5], values[1, 0, 0] = 2.5, 1.0
    maps = cool.explain.FeatureMaps(layer, values)
    shown = maps.pictures(3)
    assert shown.labels == ["4: 2.5", "1: 1", "0: 0"]
    assert tuple(np.unravel_index(shown.pictures[0].sum(2).argmax(), (24, 24))) == (3, 5)
    assert (shown.pictures[2] == images.palette()[0]).all()  # a silent channel is dark, not noise made loud
    assert maps.pictures(None, order="number").labels[:2] == ["0: 0", "1: 1"]
    signed = cool.explain.FeatureMaps(layer, values - 1).pictures(6)
    assert "Blue is negative" in signed.note
    flat = feature_maps(cool.models.create("lenet5"), cool.zeros(1, 28, 28), ["fc1"])[0].pictures()
    assert len(flat) == 1 and flat.pictures[0].shape[0] * flat.pictures[0].shape[1] >= 120
    assert flat.sheet().shape[2] == 3


def test_pictures_can_be_saved_shown_and_drawn_by_matplotlib(tmp_path):
    shown = filters(cool.models.create("lenet5"))
    shown.save(tmp_path / "filters.png")
    assert (cool.data.read_image(tmp_path / "filters.png") == shown.sheet()).all()
    assert shown._repr_png_().startswith(b"\x89PNG")
    pytest.importorskip("matplotlib")
    figure = shown.figure()
    assert figure.axes[0].get_title() == shown.title
    assert figure.axes[0].images[0].get_array().shape == shown.sheet().shape


def test_what_cannot_be_shown_is_refused_with_what_can():
    net = cool.models.create("lenet5")
    with pytest.raises(ValueError, match="'conv3' is no convolution; did you mean 'conv"):
        filters(net, "conv3")
    with pytest.raises(ValueError, match="'fc1' is no convolution; convolutions are: conv1, conv2"):
        filters(net, "fc1")
    with pytest.raises(ValueError, match="no convolution, so it has no filters"):
        filters(cool.nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"at least 1 .* not 0"):
        filters(net, count=0)
    with pytest.raises(ValueError, match=r"one prepared picture is wanted.* not \(2, 1, 28, 28\)"):
        feature_maps(net, np.zeros((2, 1, 28, 28)))
    with pytest.raises(ValueError, match="no layer 'conv7'"):
        feature_maps(net, np.zeros((1, 28, 28)), ["conv7"])
    with pytest.raises(ValueError, match="'number' or 'strongest', not 'size'"):
        feature_maps(net, np.zeros((1, 28, 28)), ["conv1"])[0].pictures(order="size")
