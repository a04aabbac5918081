"""Tuning curves: of filters whose orientation, frequency and kind are known, by gratings and by bars."""

import numpy as np
import pytest

import coolnn as cool
from coolnn.explain import Stimuli, tuning

ANGLES = (0, 30, 75, 90, 120, 160)


def gabor(angle, frequency, phase=0.0, n=21):
    """A filter whose stripes lie at `angle` degrees, anticlockwise from the horizontal."""
    y, x = np.mgrid[:n, :n] - n // 2
    across = x * np.sin(np.deg2rad(angle)) + y * np.cos(np.deg2rad(angle))
    envelope = np.exp(-(x**2 + y**2) / (2 * (n / 5) ** 2))
    found = envelope * np.cos(2 * np.pi * frequency * across + phase)
    return found - envelope * (found.sum() / envelope.sum())  # blind to grey


class Cortex(cool.nn.Module):
    """Simple cells, complex cells made of four of them (quarter phases, added up), a blob and a silent unit."""

    def __init__(self, frequency=0.12):
        simple = [gabor(a, frequency, p * np.pi / 2) for a in ANGLES for p in range(4)]
        y, x = np.mgrid[:21, :21] - 10
        blob = np.exp(-(x**2 + y**2) / 18.0) / 18 - np.exp(-(x**2 + y**2) / 32.0) / 32
        self.conv = cool.nn.Conv2d(1, len(simple) + 2, 21, padding=10)
        self.conv.weight.copy_(np.stack([*simple, blob * 100, 0 * blob])[:, None].astype(np.float32))
        self.conv.bias.copy_(np.zeros(len(simple) + 2, np.float32))
        self.simple = cool.nn.ReLU()
        self.complex = cool.nn.Conv2d(len(simple) + 2, len(ANGLES), 1, bias=False)
        adds = np.zeros((len(ANGLES), len(simple) + 2, 1, 1), np.float32)
        for i in range(len(ANGLES)):
            adds[i, 4 * i : 4 * i + 4] = 1
        self.complex.weight.copy_(adds)

    def forward(self, x):
        return self.complex(self.simple(self.conv(x)))


def apart(a, b):
    """Degrees between orientations."""
    d = np.abs(np.asarray(a) - np.asarray(b)) % 180
    return np.minimum(d, 180 - d)


@pytest.fixture(scope="module")
def seen():
    return tuning(Cortex(), ["simple", "complex"], size=48)


def test_preferred_orientation_and_frequency_are_those_of_the_filters(seen):
    simple = seen["simple"]
    assert apart(simple.orientation[: 4 * len(ANGLES)], np.repeat(ANGLES, 4)).max() < 3
    nearest = min(simple.stimuli.frequencies, key=lambda f: abs(np.log(f / 0.12)))
    assert (simple.frequency[: 4 * len(ANGLES)] == nearest).all()
    assert apart(seen["complex"].orientation, ANGLES).max() < 3


def test_selectivity_tells_gabors_from_blobs(seen):
    simple = seen["simple"]
    gabors, blob = simple.selectivity[:-2], simple.selectivity[-2]
    assert gabors.min() > 0.7 and blob < 0.1
    assert not simple.answers[-1] and np.isnan(simple.selectivity[-1]) and np.isnan(simple.orientation[-1])
    assert (simple.bandwidth[:-2] < 35).all() and np.isnan(simple.bandwidth[-2])


def test_simple_cells_follow_the_phase_and_complex_ones_do_not(seen):
    assert (seen["simple"].modulation[: 4 * len(ANGLES)] > 1).all()
    assert (seen["complex"].modulation < 0.5).all()
    # A half-wave rectified cosine has F1 / F0 = π/2, sampled at 8 phases nearly so.
    assert seen["simple"].modulation[0] == pytest.approx(np.pi / 2, rel=0.06)


def test_the_width_of_the_curve_is_that_of_the_filters_spectrum(seen):
    """A Gabor's answer over orientations is a Gaussian of the distance in the frequency plane."""
    found = seen["complex"]
    f = found.frequency[0]
    deviation = 1 / (2 * np.pi * 21 / 5)  # of the spectrum of an envelope of deviation 21/5 pixels
    angles = np.deg2rad(np.arange(0, 90, 0.1))
    distance2 = (f * np.cos(angles) - 0.12) ** 2 + (f * np.sin(angles)) ** 2
    curve = np.exp(-distance2 / (2 * deviation**2))
    half = np.rad2deg(angles[np.argmax(curve < curve[0] / 2)])
    assert found.bandwidth == pytest.approx(np.full(len(ANGLES), half), abs=2.5)  # straight lines between 15° steps


def test_bars_tell_the_same_orientation():
    found = tuning(Cortex(), "complex", Stimuli(kind="bar"), size=48)["complex"]
    assert apart(found.orientation, ANGLES).max() < 5
    assert (found.selectivity > 0.3).all()


@pytest.mark.parametrize("kind", ["grating", "bar"])
def test_stimuli_lie_as_they_say(kind):
    stimuli = Stimuli(orientations=(0, 45, 90), frequencies=(0.125,), phases=8, kind=kind)
    flat, slanted, upright = next(stimuli.pictures((33, 33))).reshape(3, 8, 33, 33)[:, 0]
    assert np.ptp(flat, axis=1).max() < 1e-6 and np.ptp(flat[:, 16]) > 0.4
    assert np.ptp(upright, axis=0).max() < 1e-6
    # 45° anticlockwise from the horizontal: from the lower left to the upper right.
    assert np.ptp(np.fliplr(slanted).diagonal()) < 1e-6 and np.ptp(slanted.diagonal()) > 0.4
    assert flat[16, 16] == slanted[16, 16] == upright[16, 16] == 1
    moved = next(stimuli.pictures((33, 33)))[2]  # a quarter of a cycle of 8 pixels: 2 pixels, downwards
    assert np.allclose(moved[4:-4], np.roll(flat, 2, axis=0)[4:-4], atol=1e-6)
    assert sum(len(part) for part in stimuli.pictures((8, 8), batch=7)) == len(stimuli) == 24


def test_all_stages_by_default_in_batches_and_in_colour():
    net = cool.models.create("squeezenet1_1", num_classes=3)
    few = Stimuli(orientations=(0, 60, 120), frequencies=(0.1, 0.3), phases=3)
    seen = []
    found = tuning(net, stimuli=few, size=64, batch=5, progress=lambda done, total: seen.append((done, total)))
    assert [found[name].layer for name in found] == cool.explain.Layers(net, (3, 64, 64)).stages()
    assert seen[0] == (0, 18) and seen[-1] == (18, 18)
    whole = tuning(net, stimuli=few, size=64, batch=18)
    for name in found:
        scale = np.abs(whole[name].responses).max()
        assert np.abs(found[name].responses - whole[name].responses).max() <= 1e-5 * scale
    assert net.training and "channels answer" in str(found)


def test_charts_and_figures(seen):
    svg = seen["simple"].chart()
    assert svg.startswith("<svg") and svg.count("<polyline") == 12
    assert seen["simple"].chart([3]).count("<polyline") == 1
    pytest.importorskip("matplotlib")
    assert len(seen.figure().axes) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"orientations": (180,)}, "orientations are degrees"),
        ({"frequencies": (0.6,)}, "up to 0.5 cycles"),
        ({"phases": 2}, "3 phases or more"),
        ({"kind": "dots"}, "choose 'grating' or 'bar'"),
        ({"contrast": 0}, "contrast is"),
    ],
)
def test_stimuli_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Stimuli(**arguments)


def test_what_is_not_there_is_refused(seen):
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        tuning(cool.models.create("lenet5"), "conv9")
    with pytest.raises(ValueError, match="was not tried; there are: simple, complex"):
        seen["conv"]
    with pytest.raises(ValueError, match="batch is 1 or more"):
        tuning(Cortex(), "simple", size=32, batch=0)
