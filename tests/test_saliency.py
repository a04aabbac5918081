"""Saliency maps: known attributions, the published formulas, the checks of maps, and what is refused."""

import io

import numpy as np
import pytest
from PIL import Image
from saliency_nets import Linear, given, small

import coolnn as cool
from coolnn import nn
from coolnn.explain import Explainer, saliency
from coolnn.explain.saliency import METHODS, rank_correlation, ssim
from coolnn.explain.saliency.checks import perturbation, randomization
from coolnn.formats import Model

QUICK = {"smooth_grad": {"samples": 5}, "integrated_gradients": {"steps": 7}, "rise": {"samples": 40}}
X = given(1, 3, 16, 16)


def state(net):
    """Everything of a network that a user could see changed."""
    return (
        {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()},
        [module.training for module in net.modules()],
        [(p.requires_grad, p.grad) for p in net.parameters()],
    )


def same(before, after):
    return (
        before[1:] == after[1:]
        and before[0].keys() == after[0].keys()
        and all(np.array_equal(before[0][name], after[0][name]) for name in before[0])
    )


# --- every method -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_map_is_the_same_at_every_run_and_the_network_stays_as_it_was(method):
    net = small()
    net.stem.train()  # part of it in training, part not
    net.conv1.weight.requires_grad = False
    before = state(net)
    settings = QUICK.get(method, {})
    found = saliency(net, X, method, **settings)
    with cool.no_grad():
        again = Explainer(net)(X, method, **settings)
    assert found.map.shape == (16, 16) and found.map.dtype == np.float32
    assert np.array_equal(found.map, again.map) and np.array_equal(found.raw, again.raw)
    assert np.isfinite(found.map).all() and found.map.std() > 0
    assert found.signed or found.map.min() >= 0
    output = small().eval()(cool.tensor(X)).numpy()[0]
    assert found.target.index == (int(output.argmax()),)
    # a compiled network folds batch norm: a few units in the last place of float32
    assert found.target.score == pytest.approx(float(output.max()), rel=1e-5)
    assert found.target.probability == pytest.approx(float(np.exp(output).max() / np.exp(output).sum()), rel=1e-5)
    assert found.randomization.stages and 0 <= found.perturbation.deletion <= 1
    assert same(before, state(net))


@pytest.mark.parametrize("method", METHODS)
def test_several_targets_at_once_are_each_alone(method):
    explain, settings = Explainer(small()), QUICK.get(method, {})
    for wanted, found in zip((1, 3), explain.several(X, [1, 3], method, **settings), strict=True):
        alone = explain(X, method, wanted, **settings)
        assert found.target == alone.target
        # batches of another size may take another algorithm: a few units in the last place
        assert np.abs(found.map - alone.map).max() <= 1e-5 * np.abs(alone.map).max()


@pytest.mark.parametrize("method", ["smooth_grad", "rise"])
def test_what_is_drawn_depends_on_the_seed_alone(method):
    explain, settings = Explainer(small()), QUICK[method]
    maps = [explain(X, method, seed=seed, **settings).map for seed in (1, 1, 2)]
    assert np.array_equal(maps[0], maps[1]) and not np.array_equal(maps[0], maps[2])


# --- where the answer is known ----------------------------------------------------------------------------------------


def test_attributions_of_a_linear_network_are_weight_times_pixel():
    weight = given(2, 3, 8, 8, seed=1)
    x, net = given(1, 3, 8, 8), Linear(weight)
    products = weight[1] * x[0]

    def close(a, b):
        return np.abs(a - b).max() <= 1e-5 * np.abs(b).max()  # float32 sums of 192 products

    explain = Explainer(net)
    assert close(explain(x, "gradient", 1).raw, weight[1])
    assert close(explain(x, "gradient", 1).map, np.abs(weight[1]).max(0))
    assert close(explain(x, "smooth_grad", 1).raw, weight[1])
    assert close(explain(x, "gradient_input", 1).map, products.sum(0))
    assert close(explain(x, "integrated_gradients", 1).raw, products)
    ones = explain(x, "integrated_gradients", 1, baseline=1.0)
    assert close(ones.raw, weight[1] * (x[0] - 1))
    assert ones.details["relative_gap"] < 1e-4
    assert ones.details["change"] == pytest.approx(float((weight[1] * (x[0] - 1)).sum()), rel=1e-4)
    drops = explain(x, "occlusion", 1, window=(4, 2), stride=(4, 2)).raw
    assert close(drops, products.sum(0).reshape(2, 4, 4, 2).sum((1, 3)))
    one = explain(x, "occlusion", 1, window=1, stride=1)
    assert np.abs(one.map - products.sum(0)).max() <= 1e-4 * np.abs(products).max()  # a difference of float32 sums


def test_pixels_under_several_windows_get_their_mean_and_the_last_window_ends_at_the_edge():
    weight = np.ones((1, 1, 5, 5), np.float32)
    found = Explainer(Linear(weight))(np.ones((1, 1, 5, 5), np.float32), "occlusion", 0, window=3, stride=2)
    assert found.raw.tolist() == [[9, 9], [9, 9]]
    found = Explainer(Linear(weight))(np.ones((1, 1, 5, 5), np.float32), "occlusion", 0, window=2, stride=2)
    assert found.raw.tolist() == [[4, 4, 2], [4, 4, 2], [2, 2, 1]]
    assert found.map[4].tolist() == [2, 2, 2, 2, 1]


def test_integrated_gradients_tell_their_gap_and_it_closes_with_more_steps():
    explain = Explainer(small())
    gaps = []
    for steps in (1, 50):
        found = explain(X, "integrated_gradients", 2, steps=steps)
        assert found.raw.sum() == pytest.approx(found.details["sum"], rel=1e-3, abs=1e-5)
        before = explain(np.zeros_like(X), "gradient", 2).target.score
        assert found.details["change"] == pytest.approx(found.target.score - before, rel=1e-5, abs=1e-6)
        gaps.append(found.details["gap"])
        assert gaps[-1] == pytest.approx(abs(found.details["sum"] - found.details["change"]))
    assert gaps[1] < 0.2 * gaps[0]


@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_pp", "layer_cam"])
@pytest.mark.parametrize("layer", [None, "conv1"])
def test_class_maps_are_their_formulas(method, layer):
    net = small()
    found = Explainer(net)(X, method, 2, layer=layer)
    assert found.layer == (layer or "relu (use 2)")
    chosen = cool.explain.Layers(net, (3, 16, 16))[found.layer]
    output, (features,) = cool.explain.tapped(net, cool.tensor(X), [chosen])
    (slope,) = cool.grad(output[0, 2], features)
    a, g = features.numpy()[0].astype(np.float64), slope.numpy()[0].astype(np.float64)
    if method == "layer_cam":
        weights = np.maximum(g, 0)
    elif method == "grad_cam":
        weights = g.mean((1, 2), keepdims=True)
    else:
        share = g**2 / (2 * g**2 + a.sum((1, 2), keepdims=True) * g**3 + 1e-6)
        weights = (np.where(g == 0, 0, share) * np.maximum(g, 0)).sum((1, 2), keepdims=True)
    expected = np.maximum((weights * a).sum(0), 0)
    assert np.abs(found.raw - expected).max() <= 1e-4 * expected.max()  # float32 against float64
    assert found.raw.shape == (8, 8)
    assert found.map.max() <= found.raw.max() * (1 + 1e-6)


def test_rise_finds_the_part_that_matters():
    weight = np.zeros((2, 1, 24, 24))
    weight[1, 0, 4:10, 14:20] = 0.1
    found = Explainer(Linear(weight))(np.ones((1, 1, 24, 24), np.float32), "rise", 1, samples=600, seed=3)
    inside = np.zeros((24, 24), bool)
    inside[4:10, 14:20] = True
    assert found.map[inside].min() > found.map[~inside].mean() and inside[found.peak]
    assert 0.5 <= found.map.min() <= found.map.max() <= 1  # shares of class 1 are 0.5 without the part, 0.97 with it


# --- what is explained ------------------------------------------------------------------------------------------------


def test_targets_are_classes_names_channels_and_places():
    net = small()
    model = Model(net, labels=["cat, house cat", "dog", "owl", "fox", "Fox"])
    assert saliency(model, X, "gradient", "house cat").target.index == (0,)
    assert saliency(model, X, "gradient", "DOG").target.label == "dog"
    assert saliency(model, X, "gradient", -1).target.label == "Fox"
    channel = saliency(net, X, "gradient", 5, of="conv1")
    place = saliency(net, X, "gradient", (5, 2, 3), of="conv1")
    assert channel.target.label == "conv1[5]" and place.target.label == "conv1[5, 2, 3]"
    features = cool.explain.tapped(net, cool.tensor(X), [cool.explain.Layers(net, (3, 16, 16))["conv1"]])[1][0].numpy()
    assert channel.target.score == pytest.approx(float(features[0, 5].mean()), rel=1e-4)
    assert place.target.score == pytest.approx(float(features[0, 5, 2, 3]), rel=1e-4)
    seen = np.argwhere(place.map > 0)  # two 3x3 convolutions around a 2x2 pool: 8 pixels
    assert seen.min(0).tolist() >= [1, 3] and seen.max(0).tolist() <= [8, 10]
    assert saliency(net, X, "grad_cam", 5, of="conv2").layer == "relu"
    assert channel.perturbation.inserted[-1] == pytest.approx(1, rel=1e-4)


def test_networks_of_convolutions_alone_are_explained_by_their_channels():
    cool.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3))
    found = saliency(net, X, "grad_cam")
    assert found.layer == "1" and found.target.label == str(found.target.index[0]) and found.target.probability is None
    assert found.raw.shape == (14, 14)


def test_probabilities_that_a_network_gives_itself_are_taken_as_they_are():
    net = small()
    with_softmax = nn.Sequential(net, nn.Softmax(1))
    plain, given_ = saliency(net, X, "gradient"), saliency(with_softmax, X, "gradient")
    assert given_.target.probability == pytest.approx(plain.target.probability, rel=1e-5)
    one = saliency(Linear(given(1, 3, 16, 16)), X, "gradient")
    assert one.target.probability == pytest.approx(1 / (1 + np.exp(-one.target.score)), rel=1e-5)


def test_pictures_of_every_kind(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    prepare = cool.data.Preprocessing(size=(16, 16), channels=3, mean=(0.5,), std=(0.25,))
    model = Model(small(), preprocessing=prepare)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    x = prepare(pixels)
    kinds = [pixels, Image.fromarray(pixels), tmp_path / "a.png", str(tmp_path / "a.png"), file.getvalue()]
    maps = [saliency(model, picture, "gradient", 1) for picture in [*kinds, pixels / 255, x, cool.tensor(x)]]
    for found in maps:
        assert np.array_equal(found.map, maps[0].map)
        assert np.array_equal(found.picture, prepare.prepare(pixels))
    grey = saliency(cool.models.create("lenet5"), np.zeros((28, 28, 3), np.uint8), "gradient")
    assert grey.raw.shape == (1, 28, 28)
    overlay = maps[0].overlay()
    assert overlay.shape == (16, 16, 3) == maps[0].heat().shape and overlay.dtype == np.uint8
    maps[0].save(tmp_path / "o.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "o.png")), overlay)
    maps[0].save(tmp_path / "o.npy")
    assert np.array_equal(np.load(tmp_path / "o.npy"), maps[0].map)
    assert "gradient for 1" in str(maps[0])
    assert maps[0].to_dict()["randomization"]["verdict"] and "randomization" not in maps[0].to_dict(checked=False)


# --- whether maps mean anything ---------------------------------------------------------------------------------------


class Edges(nn.Module):
    """Scores whose gradient hardly depends on the weights: they scale what the picture gives."""

    def __init__(self) -> None:
        self.scale = nn.Parameter(cool.tensor([1.0, 2.0, 3.0]))

    def forward(self, x):
        return x.square().sum((1, 2, 3)).reshape(-1, 1) * self.scale.reshape(1, 3)


def test_a_map_that_shows_the_picture_alone_is_found_out():
    found = saliency(Edges(), X, "gradient", 1)
    assert found.randomization.correlation > 0.99 and not found.randomization.passed
    assert found.randomization.verdict.startswith("hardly depends on the weights")


def test_a_map_that_depends_on_the_weights_passes_and_stages_go_backward():
    found = saliency(small(), X, "gradient_input", 1)
    check = found.randomization
    assert check.passed and check.verdict.startswith("depends on the weights (rank correlation")
    assert [stage.down_to for stage in check.stages] == ["head.2", "head.0", "conv2", "conv1", "stem.0"]
    assert [stage.modules for stage in check.stages] == [1, 2, 3, 4, 6]
    assert check.stages[0].correlation < 0.999
    assert randomization(found, stages=1, draws=1) == randomization(found, stages=1, draws=1)


def test_the_network_is_as_it_was_when_a_check_fails(monkeypatch):
    net = small()
    before = state(net)
    found = saliency(net, X, "gradient")
    calls = []

    def failing(question):
        calls.append(question)
        raise RuntimeError("stop")

    monkeypatch.setitem(METHODS, "gradient", failing)
    with pytest.raises(RuntimeError, match="stop"):
        _ = found.randomization
    assert calls and same(before, state(net))


def test_deletion_and_insertion_tell_a_good_map_from_a_bad_one():
    weight = np.zeros((2, 1, 16, 16), np.float32)
    weight[1, 0, 4:8, 4:8] = 0.5
    x = 1.0 + 0.1 * given(1, 1, 16, 16)
    x[0, 0, 4:8, 4:8] = 2
    good = Explainer(Linear(weight))(x, "gradient", 1)
    score = perturbation(good, steps=16)
    assert score.deleted[0] == pytest.approx(good.target.probability, rel=1e-6)
    assert score.inserted[-1] == pytest.approx(good.target.probability, rel=1e-6)
    assert score.deleted[1] == pytest.approx(0.5, rel=1e-6)  # the sixteen pixels that matter are one step of sixteen
    assert score.inserted[1] == pytest.approx(good.target.probability, rel=1e-6)
    object.__setattr__(good, "map", -good.map)
    bad = perturbation(good, steps=16)
    assert bad.deletion > 0.9 > 0.6 > score.deletion and bad.insertion < score.insertion


def test_comparisons_of_maps():
    a = given(9, 11)
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    assert rank_correlation(a, np.ones_like(a)) == 0
    # by hand: ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4
    assert rank_correlation(np.array([1, 5, 5, 9]), np.array([1, 2, 3, 4])) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    unit = (a - a.min()) / np.ptp(a)
    assert ssim(unit, unit) == pytest.approx(1)
    assert ssim(unit, 1 - unit) < 0
    constant = np.full((4, 4), 0.25)
    assert ssim(constant, constant + 0.5) == pytest.approx((2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4))


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(method="gradcam"), "no method 'gradcam'; did you mean 'grad_cam'.*there are: gradient, "),
        (dict(method="lime"), "no method 'lime'; there are: gradient, gradient_input, smooth_grad"),
        (dict(method="gradient", layer="conv1"), "gradient has no setting 'layer'; it has none"),
        (dict(method="rise", n=3), "rise has no setting 'n'; its settings are: samples, cells, keep, fill"),
        (dict(target=5), "no target 5: the output has 5 classes"),
        (dict(target=(0, 1)), r"no target \(0, 1\)"),
        (dict(target="cat"), "the classes have no names; give a number from 0 to 4"),
        (dict(layer="conv9"), "no layer 'conv9'; did you mean 'conv"),
        (dict(layer="head.0"), r"has no places any more; those that do: stem\.0"),
        (dict(layer="conv2", of="conv1", target=0), "conv2.* does not lead to conv1"),
        (dict(of="convx"), "no layer 'convx'"),
        (dict(of="stem.0", target=0), "no layer with places runs before"),
        (dict(method="occlusion", window=17), "window of 17x17 pixels does not fit into a picture of 16x16"),
        (dict(method="occlusion", stride=0), "stride is a number of pixels from 1 up"),
        (dict(method="rise", keep=1.0), "keeps a share between 0 and 1"),
        (dict(method="smooth_grad", samples=0), "1 sample or more"),
        (dict(method="integrated_gradients", steps=0), "1 step or more"),
        (dict(method="integrated_gradients", baseline="grey"), "no baseline 'grey'; there are: mean, black, white"),
        (dict(method="integrated_gradients", baseline=np.zeros(3)), r"baseline is of the input's shape \(3, 16, 16\)"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(arguments, message):
    with pytest.raises(ValueError, match=message):
        saliency(small(), X, **arguments)


def test_what_is_no_picture_and_what_has_no_maps():
    net, labels = small(), ["tabby", "tiger cat", "Persian cat", "lynx", "lynx"]
    with pytest.raises(cool.data.DataError, match="a picture is a path, bytes, a PIL image or an array, not float"):
        saliency(net, 3.5)
    with pytest.raises(cool.data.DataError, match=r"must be an array of shape \(H, W, C\)"):
        saliency(net, np.zeros((2, 3, 4, 5, 6), np.uint8))
    with pytest.raises(cool.data.DataError, match="one picture"):
        saliency(net, np.zeros((2, 3, 16, 16), np.float32))
    with pytest.raises(FileNotFoundError):
        saliency(net, "nowhere.png")
    with pytest.raises(ValueError, match="does not run on inputs of shape"):
        saliency(net, np.zeros((17, 40, 3), np.uint8))
    with pytest.raises(ValueError, match="no layer with places"):
        saliency(nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), X)
    explain = Explainer(net, labels=labels)
    with pytest.raises(ValueError, match="no class 'cat'; did you mean 'tiger cat' or 'Persian cat'"):
        explain(X, target="cat")
    with pytest.raises(ValueError, match="no class 'zebra'; there are: tabby, tiger cat"):
        explain(X, target="zebra")
    with pytest.raises(ValueError, match="several classes are named 'lynx': 3, 4"):
        explain(X, target="lynx")
    with pytest.raises(ValueError, match="2 names for 5 outputs"):
        Explainer(net, labels=["a", "b"])(X, target="a")
    with pytest.raises(ValueError, match="at least one target"):
        explain.several(X, [])
    with pytest.raises(ValueError, match=r"must end in \.png"):
        explain(X, "gradient").save("map.docx")
    with pytest.raises(ValueError, match="1 stage and 1 draw"):
        randomization(explain(X, "gradient"), stages=0)
    with pytest.raises(ValueError, match="1 step or more"):
        perturbation(explain(X, "gradient"), steps=0)
