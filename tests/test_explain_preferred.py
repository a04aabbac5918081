"""Preferred pictures: of filters whose preferred picture is known, parameterisations, transforms, regularisers."""

import numpy as np
import pytest

import coolnn as cool
from coolnn.explain.preferred import (
    RECIPES,
    Fourier,
    Pixels,
    Regulariser,
    Transform,
    channel,
    direction,
    diversity,
    logit,
    unit,
)
from coolnn.explain.preferred.ascent import Recipe, batches
from coolnn.explain.preferred.parameters import COLOUR_COVARIANCE, basis, colour_axes, frequencies

QUICK = {"steps": 8, "size": 28}


def gabor(angle: float, frequency: float, n: int = 11) -> np.ndarray:
    """A filter that prefers stripes of this many cycles a pixel, of which `angle` (degrees) is the normal."""
    y, x = np.mgrid[:n, :n] - n // 2
    along = x * np.cos(np.deg2rad(angle)) + y * np.sin(np.deg2rad(angle))
    return np.asarray(np.exp(-(x**2 + y**2) / (2 * (n / 5) ** 2)) * np.cos(2 * np.pi * frequency * along), np.float32)


class Edges(cool.nn.Module):
    """Four Gabor filters and a class for each: what every unit prefers is known."""

    ANGLES = (0, 45, 90, 135)

    def __init__(self) -> None:
        self.conv = cool.nn.Conv2d(1, 4, 11, padding=5)
        self.relu = cool.nn.ReLU()
        filters = np.stack([gabor(angle, 0.15) for angle in self.ANGLES])[:, None]
        self.conv.weight.copy_(filters - filters.mean((2, 3), keepdims=True))
        self.conv.bias.copy_(np.zeros(4, np.float32))

    def forward(self, x):
        return self.relu(self.conv(x)).mean((2, 3))


def main_wave(picture: np.ndarray) -> tuple[float, float]:
    """The angle (degrees, 0..180) and the frequency of a picture's strongest wave."""
    grey = picture[..., 0].astype(float)
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    v, u = np.meshgrid(np.fft.fftfreq(len(grey)), np.fft.fftfreq(len(grey)), indexing="ij")
    # The strongest one alone would jump between its neighbours: the mean of doubled angles does not.
    strong = power > power.max() / 4
    angle = np.angle((power * np.exp(2j * np.arctan2(v, u)))[strong].sum()) / 2
    return float(np.rad2deg(angle) % 180), float((np.hypot(u, v) * power)[strong].sum() / power[strong].sum())


# The modern recipe turns the picture by up to 6° meanwhile and likes low frequencies; the classic one does neither.
@pytest.mark.parametrize(("recipe", "degrees", "least"), [("modern", 15, 0.03), ("classic", 5, 0.1)])
def test_the_preferred_picture_of_a_gabor_filter_is_its_grating(recipe, degrees, least):
    found = cool.explain.preferred(Edges(), "conv", range(4), recipe=recipe, size=64, steps=60)
    for picture, angle in zip(found.pictures, Edges.ANGLES, strict=True):
        seen, frequency = main_wave(picture)
        assert min(abs(seen - angle), 180 - abs(seen - angle)) < degrees, (recipe, angle, seen)
        assert least < frequency < 0.2
    assert (found.history[-1] > 3 * np.abs(found.history[0])).all()
    assert (found.values > 0).all()


def test_a_class_and_a_sum_and_a_difference_of_channels():
    net = Edges()
    both = cool.explain.preferred(net, objective=channel("conv", 0) + channel("conv", 2), size=32, steps=20)
    assert both.names == ["conv:0 + conv:2"]
    less = cool.explain.preferred(net, objective=unit("conv", 0) - 2.0 * unit("conv", 1), size=32, steps=20)
    assert less.names == ["conv:0 at middle − 2 × conv:1 at middle"]
    assert less.values[0] > 1
    label = cool.explain.preferred(net, "output", 3, size=32, steps=20)
    assert label.names == ["output:3"] and label.values[0] > label.history[0, 0]
    same = cool.explain.preferred(net, objective=logit(3), size=32, steps=20)
    assert np.array_equal(same.pictures, label.pictures)
    turned = cool.explain.preferred(net, objective=direction("conv", [0, 0, -1, 0], (16, 16)), size=32, steps=20)
    opposite = cool.explain.preferred(net, objective=-unit("conv", 2, (16, 16)), size=32, steps=20)
    assert np.array_equal(turned.pictures, opposite.pictures)


def test_diversity_makes_pictures_of_one_objective_less_alike():
    net = cool.models.create("lenet5")
    asked = channel("conv2", [4, 4, 4])
    plain = cool.explain.preferred(net, objective=asked, steps=20)
    diverse = cool.explain.preferred(net, objective=asked + 5.0 * diversity("conv2"), steps=20, batch=1)

    def alike(pictures):
        layer = cool.explain.Layers(net, (1, 28, 28))["conv2"]
        x = cool.tensor(pictures[..., :1].transpose(0, 3, 1, 2).astype(np.float32) / 255)
        grams = cool.ops.gram_matrix(cool.explain.tapped(net.eval(), x, [layer])[1][0]).numpy().reshape(3, -1)
        grams /= np.linalg.norm(grams, axis=1, keepdims=True)
        return (grams @ grams.T)[~np.eye(3, dtype=bool)].mean()

    assert alike(diverse.pictures) < alike(plain.pictures)


def test_a_unit_behind_a_rectifier_that_is_silent_at_first_begins_to_answer():
    net = Edges()
    net.conv.bias.copy_(np.full(4, -3.0, np.float32))  # noise about grey never reaches that
    found = cool.explain.preferred(net, "relu", [0, 1], size=32, steps=30)
    assert (found.history[0] == 0).all() and (found.history[-1] > 0).all()


def test_the_same_seed_gives_the_same_bits_and_another_another_picture():
    net = cool.models.create("lenet5")
    one, same, other = (cool.explain.preferred(net, "conv2", [1, 2], seed=seed, **QUICK) for seed in (3, 3, 4))
    assert one.pictures.tobytes() == same.pictures.tobytes() and one.history.tobytes() == same.history.tobytes()
    assert one.pictures.tobytes() != other.pictures.tobytes()
    with cool.options(threads=2):
        assert (
            cool.explain.preferred(net, "conv2", [1, 2], seed=3, **QUICK).pictures.tobytes() == one.pictures.tobytes()
        )


def test_a_step_is_compiled_once_however_the_transforms_fall(monkeypatch):
    from coolnn.graph import compiled

    made = []
    program = compiled.Program
    monkeypatch.setattr(compiled, "Program", lambda *args, **kwargs: made.append(args) or program(*args, **kwargs))
    cool.explain.preferred(cool.models.create("lenet5"), "conv2", range(8), steps=6, batch=4, size=28)
    assert len(made) <= 2  # one more where units are silent at first


def test_the_gradient_of_the_compiled_step_is_that_of_the_pictures_numbers():
    from coolnn.explain.preferred.ascent import Ascent
    from coolnn.explain.subject import Subject

    net = Edges().eval()
    subject = Subject(net, 16)
    ascent = Ascent(subject, channel("relu", 1), RECIPES["modern"], (16, 16))
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((1, 16, 16)).astype(np.float32)
    matrices = cool.tensor(RECIPES["modern"].transform.matrices([rng], (16, 16)))
    given = [cool.tensor(a) for a in channel("relu", 1).given(subject.layers, 1)]
    down, values, _ = ascent._compiled(cool.tensor(numbers), matrices, *given)
    along = rng.standard_normal(numbers.shape).astype(np.float32)
    step = np.float32(1e-2)
    ends = [float(ascent._compiled(cool.tensor(numbers + s * along), matrices, *given)[1][0]) for s in (step, -step)]
    slope = (ends[0] - ends[1]) / (2 * float(step))
    # float32 values of about 0.1, whose rounding (1e-8) the step divides: 1e-6 of slopes of about 0.1
    assert abs(slope + float((down.numpy() * along).sum())) < 2e-3 * max(abs(slope), 1e-2), float(values[0])


# --- parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_the_basis_is_orthonormal_and_its_functions_have_their_frequencies(n):
    b = basis(n).astype(float)
    assert np.abs(b.T @ b - np.eye(n)).max() < 1e-6
    for k, frequency in enumerate(frequencies(n)):
        power = np.abs(np.fft.rfft(b[:, k])) ** 2
        assert np.argmax(power) == round(frequency * n)


def test_fourier_pictures_have_the_spectrum_of_photographs():
    size = (64, 64)
    draws = [np.random.default_rng(i) for i in range(40)]
    fourier = Fourier(decorrelated=False)
    pictures = fourier.picture(cool.tensor(fourier.start(draws, 1, size)), 1, size).numpy()[:, 0]
    power = (np.abs(np.fft.fft2(pictures)) ** 2).mean(0)
    v, u = np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64), indexing="ij")
    radius = np.hypot(u, v)
    bands = [(radius > low) & (radius <= 1.5 * low) for low in (0.03, 0.06, 0.12, 0.24)]
    slope = np.polyfit([np.log(radius[b]).mean() for b in bands], [np.log(power[b].mean()) for b in bands], 1)[0]
    assert abs(slope + 2) < 0.15  # amplitude as 1 / f: power as 1 / f²


def test_colours_have_the_covariance_of_photographs():
    axes = colour_axes().astype(float)
    found = axes @ axes.T
    wanted = np.array(COLOUR_COVARIANCE)
    assert np.abs(found / found[0, 0] - wanted / wanted[0, 0]).max() < 1e-5
    assert np.isclose(np.linalg.norm(axes, axis=0), np.linalg.norm(axes, axis=0)[0]).sum() == 1
    assert np.linalg.norm(axes[:, 0]) == pytest.approx(1)


def test_transforms_move_what_they_say():
    x = np.zeros((1, 1, 9, 9), np.float32)
    x[0, 0, 4, 6] = 1

    class Fixed:
        def __init__(self, *values):
            self.values = iter(values)

        def uniform(self, low, high):
            return next(self.values)

    def seen(transform, *draws):
        return cool.ops.affine_sample(
            cool.tensor(x), transform.matrices([Fixed(*draws)], (9, 9)), transform.seen((9, 9))
        )

    moved = seen(Transform(jitter=2), 0, 0, -1, 1).numpy()  # to the left and down
    assert moved[0, 0, 6, 4] == 1 and moved.sum() == 1
    padded = seen(Transform(padding=3), 0, 0, 0, 0).numpy()
    assert padded.shape == (1, 1, 15, 15) and padded[0, 0, 7, 9] == 1
    turned = seen(Transform(rotation=90), 1, 0, 0, 0).numpy()
    assert turned[0, 0, 2, 4] == pytest.approx(1, abs=1e-6) and abs(turned.sum() - 1) < 1e-5
    larger = seen(Transform(scale=(1, 2)), 0, 1, 0, 0).numpy()
    assert larger[0, 0, 4, 8] == pytest.approx(1)
    still = Transform(jitter=3, rotation=20, scale=(0.5, 2)).still(1, (9, 9))
    assert np.array_equal(cool.ops.affine_sample(cool.tensor(x), still).numpy(), x)


def test_regularisers_do_what_their_names_say():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 20, 20)).astype(np.float32)
    g = rng.standard_normal(x.shape).astype(np.float32)
    assert np.allclose(Regulariser(decay=0.1)(x, g, 1), 0.9 * x)
    blur = Regulariser(blur=1.0, blur_every=4)
    assert np.array_equal(blur(x, g, 3), x)
    assert blur(x, g, 4).var() < 0.3 * x.var()
    flat = np.ones_like(x)
    assert np.allclose(blur(flat, g, 4), 1)
    small = Regulariser(small_norm=30)(x, g, 1)
    gone = (small == 0).all(1)
    norm = np.linalg.norm(x, axis=1)
    assert gone.sum() == pytest.approx(0.3 * gone.size, abs=2) and norm[0][gone[0]].max() < norm[0][~gone[0]].min()
    clipped = Regulariser(small_contribution=90)(x, g, 1)
    kept = (clipped != 0).any(1)
    gain = np.abs((x * g).sum(1))
    assert kept.sum() == pytest.approx(0.1 * kept.size, abs=2) and gain[1][kept[1]].min() > gain[1][~kept[1]].max()


def test_pictures_go_through_what_the_model_wants_of_pixels():
    """The same network behind another preprocessing that cancels out prefers the same pictures."""
    net = cool.nn.Sequential(cool.nn.Conv2d(3, 4, 5))
    plain = cool.explain.preferred(net, "0", 1, size=24, steps=10)
    turned = cool.nn.Sequential(cool.nn.Conv2d(3, 4, 5))
    weight = net[0].weight.numpy()[:, ::-1] / 255
    turned[0].weight.copy_(np.ascontiguousarray(weight))
    turned[0].bias.copy_(net[0].bias.numpy() + weight.sum((2, 3)) @ np.array([104.0, 117.0, 123.0], np.float32))
    model = cool.formats.Model(turned, preprocessing=cool.data.adapted(cool.data.Preprocessing(channels=3), "caffe"))
    same = cool.explain.preferred(model, "0", 1, size=24, steps=10)
    assert np.abs(same.pictures.astype(int) - plain.pictures).max() <= 2  # rounding, through ten steps of Adam
    assert same.values[0] == pytest.approx(plain.values[0], rel=1e-3, abs=1e-4)


def test_batches_are_equal_and_pictures_have_their_own_objective():
    assert batches(20, (128, 128), 8) == [(0, 7), (7, 13), (13, 20)]
    assert batches(3, (4096, 4096), None) == [(0, 1), (1, 2), (2, 3)]
    net = Edges()
    together = cool.explain.preferred(net, "conv", [0, 1, 2], steps=5, size=24)
    apart = cool.explain.preferred(net, "conv", [0, 1, 2], steps=5, size=24, batch=1)
    assert np.abs(together.pictures.astype(int) - apart.pictures).max() <= 1
    assert np.allclose(together.history, apart.history, atol=1e-5)


def test_what_comes_of_it_is_saved_and_reported(tmp_path):
    seen = []
    found = cool.explain.preferred(
        cool.models.create("lenet5"),
        "conv1",
        [0, 1, 2],
        progress=lambda done, total, value: seen.append((done, total)),
        batch=2,
        **QUICK,
    )
    assert seen == [(i + 1, 16) for i in range(16)]
    found.save(tmp_path / "sheet.jpg")
    found.save(tmp_path / "sheet.png", columns=3)
    assert cool.data.read_image(tmp_path / "sheet.png", 3).shape[1] > 3 * 28
    with pytest.raises(ValueError, match=r"sheet\.gif: pictures are written as \.png"):
        found.save(tmp_path / "sheet.gif")
    assert "conv1:0" in repr(found) and found._repr_png_().startswith(b"\x89PNG")


def test_classes_may_be_named():
    model = cool.formats.Model(cool.models.create("lenet5"), labels=["zero", "one, uno", *"23456789"])
    found = cool.explain.preferred(model, "output", ["one, uno", "zero", "uno"], steps=2)
    assert found.names == ["one", "zero", "one"]
    with pytest.raises(ValueError, match="no class is called 'onne'"):
        cool.explain.preferred(model, "output", "onne", steps=2)
    with pytest.raises(ValueError, match="channels of conv1 have none"):
        cool.explain.preferred(model, "conv1", "one", steps=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "conv9", "channels": 0}, "no layer 'conv9'; did you mean 'conv"),
        ({"layer": "conv1", "channels": 6}, r"channels 0 to 5, not 6"),
        ({"layer": "conv1", "channels": -1}, r"channels 0 to 5, not -1"),
        ({"layer": "conv1"}, "name a layer and one or several of its channels"),
        ({"layer": "conv1", "channels": []}, "name a channel"),
        ({"layer": "conv1", "channels": [0.5]}, "channels are whole numbers"),
        ({"layer": "fc1", "channels": 0, "place": (0, 0)}, "has no places"),
        ({"layer": "conv1", "channels": 0, "place": (28, 0)}, r"places \(0, 0\) to \(27, 27\), not \(28, 0\)"),
        ({"layer": "conv1", "channels": 0, "place": "left"}, "place is"),
        ({"layer": "conv1", "channels": 0, "recipe": "best"}, "no recipe 'best'; there are: modern, classic"),
        ({"layer": "conv1", "channels": 0, "size": 20}, "does not run on inputs of shape"),
        ({"layer": "conv1", "channels": 0, "steps": 0}, "steps must be 1 or more"),
        ({"layer": "conv1", "channels": 0, "batch": 0}, "batch is 1 or more"),
        ({"layer": "conv1", "channels": 0, "transform": Transform(padding=2)}, "does not run on inputs of shape"),
        ({"objective": direction("conv1", [1, 2])}, "has 6 numbers, not 2"),
        ({"objective": channel("conv1", 0) + diversity("conv1")}, "2 or more at once, not 1"),
        ({"objective": channel("conv1", 0), "layer": "conv1"}, "not both"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(arguments, message):
    with pytest.raises(ValueError, match=message):
        cool.explain.preferred(cool.models.create("lenet5"), **{"steps": 1, **arguments})


def test_parts_out_of_range_are_refused():
    with pytest.raises(ValueError, match="jitter, rotation and padding"):
        Transform(jitter=-1)
    with pytest.raises(ValueError, match="0 < least <= most"):
        Transform(scale=(1.1, 0.9))
    with pytest.raises(ValueError, match="decay is from 0 to below 1"):
        Regulariser(decay=1)
    with pytest.raises(ValueError, match="finite numbers"):
        direction("conv1", [float("nan")])
    with pytest.raises(ValueError, match="for 2 and for 3 pictures"):
        channel("a", [1, 2]) + channel("b", [1, 2, 3])
    with pytest.raises(ValueError, match="works on pixels"):
        Recipe(Fourier(), regulariser=Regulariser())
    assert Pixels().bounded
    with pytest.raises(TypeError, match="a network or a model"):
        cool.explain.Subject("lenet5")
