"""The test of the feature hierarchy: it must find one where there is one, and none where there is none."""

import math

import numpy as np
import pytest

import coolnn as cool
from coolnn.explain import Stimuli, hierarchy, random_weights
from coolnn.explain.hierarchy import _class_selectivity, _correlation, _sparseness
from coolnn.explain.probes import EDGES, TEXTURES, edges, probe, textures

FEW = Stimuli(orientations=(0, 30, 60, 90, 120, 150), frequencies=(0.08, 0.15, 0.3), phases=4)


class Small(cool.nn.Module):
    """Three stages of a convolution and a pooling."""

    def __init__(self) -> None:
        self.conv1, self.conv2, self.conv3 = (
            cool.nn.Conv2d(1, 12, 5, padding=2),
            cool.nn.Conv2d(12, 24, 3, padding=1),
            cool.nn.Conv2d(24, 32, 3, padding=1),
        )
        self.relu1, self.relu2, self.relu3 = cool.nn.ReLU(), cool.nn.ReLU(), cool.nn.ReLU()
        self.pool = cool.nn.MaxPool2d(2, 2)
        self.fc = cool.nn.Linear(32, len(TEXTURES))

    def forward(self, x):
        x = self.pool(self.relu1(self.conv1(x)))
        x = self.pool(self.relu2(self.conv2(x)))
        return self.fc(self.relu3(self.conv3(x)).mean((2, 3)))


STAGES = ["relu1", "relu2", "relu3"]


@pytest.fixture(scope="module")
def textured():
    pictures, labels = textures((32, 32), 128, seed=5)
    return np.rint(pictures * 255).astype(np.uint8)[..., None], labels


def test_a_network_with_random_weights_has_no_hierarchy(textured):
    cool.manual_seed(1)
    found = hierarchy(Small(), *textured, layers=STAGES, stimuli=FEW, size=32)
    assert found.supported == 0, found
    assert found.verdict.startswith("No feature hierarchy")
    assert len(found.findings) == 6 and "does not hold" in str(found)


def test_a_network_that_has_learned_textures_has_one_in_part(textured):
    cool.manual_seed(0)
    net = Small()
    x, y = textures((32, 32), 1024, seed=1)
    step = cool.compile_step(net, optimizer=cool.optim.Adam(net.parameters(), lr=5e-3))
    for i in range(160):
        part = slice(i * 64 % 1024, i * 64 % 1024 + 64)
        loss = float(step(x[part][:, None], y[part]))
    assert loss < 1.5, loss
    found = hierarchy(net, *textured, layers=STAGES, stimuli=FEW, size=32)
    held = {finding.claim: finding.holds for finding in found.findings}
    assert held["single channels tell classes apart the better the later the stage"], found
    assert held["answers bear shifts the better the later the stage"], found
    assert "of a feature hierarchy: 2 of 6" in found.verdict or found.supported > 2 / 6
    assert found.stages[-1].class_selectivity > found.control[-1].class_selectivity + 0.1
    assert [stage.field for stage in found.stages] == [5, 10, 20]
    table = found.table().splitlines()
    assert len(table) == 1 + 3 + 1 + 3 + 1 and "classes 12%" in table[-1]
    plain = found.to_dict()
    assert plain["verdict"] == found.verdict and len(plain["control"]) == 3
    assert net.training


def test_without_pictures_nothing_is_said_of_classes_and_it_is_said_so():
    seen = []
    found = hierarchy(
        cool.models.create("lenet5"),
        stimuli=FEW,
        controls=2,
        progress=lambda what, done, of: seen.append((what, done, of)),
    )
    assert all(math.isnan(stage.classes) for stage in found.stages) and len(found.findings) == 3
    assert "noise" in found.note and found.note in str(found)
    assert seen[-1] == ("random weights 2", 5, 5) and seen[0] == ("trained: pictures", 0, 5)
    pytest.importorskip("matplotlib")
    assert len(found.figure().axes) >= 7


# --- parts -----------------------------------------------------------------------------------------------------------


def test_random_weights_come_and_go():
    net = cool.models.create("resnet20")
    x = np.random.default_rng(0).standard_normal((8, 3, 32, 32)).astype(np.float32)
    net.train()
    before = {name: t.numpy().copy() for name, t in net.state_dict().items()}
    with random_weights(net, x, seed=3):
        weight = net.state_dict()["conv1.weight"].numpy().copy()
        deviation = weight.std() / np.sqrt(2 / (3 * 9))
        assert 0.85 < deviation < 1.15
        layer = cool.explain.Layers(net, (3, 32, 32))["bn1"]
        assert not net.training
        y = cool.explain.tapped(net, cool.tensor(x), [layer])[1][0].numpy()
        assert np.abs(y.mean((0, 2, 3))).max() < 0.1 and np.abs(y.std((0, 2, 3)) - 1).max() < 0.1
    with random_weights(net, x, seed=3):
        assert np.array_equal(net.state_dict()["conv1.weight"].numpy(), weight)
    after = net.state_dict()
    assert all(np.array_equal(before[name], after[name].numpy()) for name in before) and net.training
    with pytest.raises(KeyError), random_weights(net, x):
        raise KeyError("the weights come back all the same")
    assert np.array_equal(net.state_dict()["conv1.weight"].numpy(), before["conv1.weight"])


def test_a_probe_reads_what_is_there_and_nothing_else():
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    signal = np.eye(3)[labels] @ rng.standard_normal((3, 40)) + rng.standard_normal((300, 40))
    assert probe(signal, labels).accuracy > 0.9
    noise = probe(rng.standard_normal((300, 400)), labels)  # more features than pictures
    assert noise.accuracy < 0.45 and noise.chance == pytest.approx(1 / 3)
    assert probe(np.zeros((300, 4)), labels).accuracy == pytest.approx(1 / 3)
    scaled = signal * np.geomspace(1e-6, 1e6, 40)
    assert probe(scaled, labels).accuracy == probe(signal, labels).accuracy
    with pytest.raises(ValueError, match="two classes or more"):
        probe(signal, np.zeros(300))
    with pytest.raises(ValueError, match="300 pictures have 2 labels"):
        probe(signal, np.array([0, 1]))


def test_figures_have_their_published_ends():
    one = np.zeros((5, 10))
    one[:, 3] = 2
    assert _sparseness(one) == pytest.approx(1) and _sparseness(np.ones((5, 10))) == pytest.approx(0, abs=1e-12)
    assert math.isnan(_sparseness(np.zeros((5, 10))))
    rng = np.random.default_rng(0)
    a = rng.standard_normal((50, 4))
    assert _correlation(a, 3 * a + 1) == pytest.approx(1) and abs(_correlation(a, rng.standard_normal((50, 4)))) < 0.2
    labels = np.arange(12) % 3
    assert _class_selectivity(np.eye(3)[labels], labels) == pytest.approx(1)
    assert _class_selectivity(np.ones((12, 5)), labels) == 0


@pytest.mark.parametrize(("make", "kinds"), [(edges, EDGES), (textures, len(TEXTURES))])
def test_pictures_of_probes_are_told_apart_by_no_brightness(make, kinds):
    pictures, labels = make((32, 32), 20 * kinds, seed=2)
    assert pictures.shape == (20 * kinds, 32, 32) and pictures.min() >= 0 and pictures.max() <= 1
    assert (np.bincount(labels) == 20).all()
    again, _ = make((32, 32), 20 * kinds, seed=2)
    assert np.array_equal(pictures, again)
    brightness = np.stack([pictures.mean((1, 2)), pictures.std((1, 2))], 1)
    assert probe(brightness, labels).accuracy < 2.5 / kinds


def test_edges_lie_at_their_orientation():
    pictures, labels = edges((33, 33), 8 * 12, seed=0)
    gy, gx = np.gradient(pictures.astype(float), axis=(1, 2))
    turn = np.angle(((gx + 1j * gy) ** 2).sum((1, 2))) / 2  # of the gradient, which is across the edge
    across = np.pi / 2 - np.pi * labels / EDGES  # normal (sin, cos) in (x, y)
    apart = np.abs(np.angle(np.exp(2j * (turn - across)))) / 2
    assert np.median(apart) < np.deg2rad(5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [1, 2]}, "labels are of pictures"),
        ({"pictures": np.zeros((3, 28, 28, 1), np.uint8)}, "3 pictures say little"),
        ({"pictures": np.zeros((16, 28, 28, 1), np.uint8), "labels": [1]}, "16 pictures have 1 labels"),
        ({"layers": ["conv9"]}, "no layer 'conv9'"),
        ({"layers": []}, "name one layer"),
        ({"controls": 0}, "without a control"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        hierarchy(cool.models.create("lenet5"), stimuli=FEW, **arguments)
