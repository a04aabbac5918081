"""Top patches: the same as looking at everything, in one pass, and what excites a unit in them."""

import json
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import coolnn as cool
from coolnn.data import ArrayDataset, DataError, Dataset, MissingDataError, Preprocessing
from coolnn.explain import images, top_patches

UNIT = Preprocessing(size=(20, 24), channels=3, mean=(0.5,), std=(0.5,))


class Small(cool.nn.Module):
    """Two convolutions with what shifts their places, then features."""

    def __init__(self) -> None:
        self.conv1 = cool.nn.Conv2d(3, 4, 3, padding=1)
        self.relu1 = cool.nn.ReLU()
        self.pool = cool.nn.MaxPool2d(2)
        self.conv2 = cool.nn.Conv2d(4, 6, 3)
        self.relu2 = cool.nn.ReLU()
        self.head = cool.nn.Linear(6, 3)

    def forward(self, x):
        x = self.pool(self.relu1(self.conv1(x)))
        return self.head(self.relu2(self.conv2(x)).mean((2, 3)))


@pytest.fixture
def net():
    cool.manual_seed(3)
    return Small()


def noise(count, seed=0, size=(20, 24)):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8)


def found_by_looking_at_all(net, pixels, layer, k):
    """For every channel the k best (value, picture, place), from whole maps."""
    values = cool.models.features(net.eval(), cool.tensor(UNIT.normalize(pixels)), [layer])[layer].numpy()
    flat = values.reshape(*values.shape[:2], -1)
    peaks, places = flat.max(2), flat.argmax(2)
    order = np.argsort(-peaks, axis=0, kind="stable")[:k]
    return [[(peaks[i, c], i, places[i, c]) for i in order[:, c]] for c in range(peaks.shape[1])], values.shape[-1]


@pytest.mark.parametrize("batch_size", [1, 7, 40, 64])
def test_one_pass_finds_what_looking_at_everything_finds(net, batch_size):
    pixels = noise(40)
    found = top_patches(
        net, ArrayDataset(pixels, [0] * 40), ["conv1", "relu2"], 5, preprocessing=UNIT, batch_size=batch_size
    )
    assert found.seen == 40 and not found.skipped
    for layer in ("conv1", "relu2"):
        wanted, width = found_by_looking_at_all(net, pixels, layer, 5)
        for channel, best in enumerate(wanted):
            best = [hit for hit in best if hit[0] != 0]  # silence is no hit
            hits = found.hits(layer, channel)
            assert [hit.picture for hit in hits] == [number for _, number, _ in best]
            assert [hit.place for hit in hits] == [divmod(int(place), width) for _, _, place in best]
            # fused kernels sum in another order: a few units in the last place of float32
            assert np.allclose([hit.value for hit in hits], [value for value, _, _ in best], rtol=1e-5)


def test_each_picture_counts_once_and_is_read_once(net):
    class Counting(Dataset):
        name, classes = "counting", ["all"]

        def __init__(self):
            self.reads = []

        def __len__(self):
            return 11

        def __getitem__(self, index):
            self.reads.append(index)
            return noise(1, index)[0], 0

    data = Counting()
    found = top_patches(net, data, k=20, preprocessing=UNIT, batch_size=4, workers=2)
    assert sorted(data.reads) == list(range(11))
    for layer in found.layers:
        for channel in range(layer.shape[0]):
            numbers = [hit.picture for hit in found.hits(layer, channel)]
            assert len(set(numbers)) == len(numbers) <= 11


def test_a_patch_is_what_the_unit_sees_and_grey_beside_the_border(net):
    pixels = np.zeros((3, 20, 24, 3), np.uint8)
    pixels[1, 7:10, 12:15] = noise(1, 5, (3, 3))[0] // 4 + 192
    pixels[2, 0, 0] = 255
    with cool.no_grad():
        net.conv1.weight.copy_(cool.ones(4, 3, 3, 3))
    found = top_patches(net, ArrayDataset(pixels, [0] * 3), ["conv1"], 3, preprocessing=UNIT)
    first, second, _ = found.hits("conv1", 0)
    assert first.picture == 1 and first.place == (8, 13)
    assert (found.patches("conv1", 0)[0] == pixels[1, 7:10, 12:15]).all()
    assert second.picture == 2 and second.place == (0, 0)
    corner = found.patches("conv1", 0)[1]
    assert corner[1, 1].tolist() == [255] * 3 and (corner[0] == 127).all() and (corner[:, 0] == 127).all()


def test_the_deconvnet_of_a_unit_after_one_convolution_is_its_filter(net):
    pixels = noise(6)
    found = top_patches(net, ArrayDataset(pixels, [0] * 6), ["relu1"], 4, preprocessing=UNIT)
    inside = [i for i, hit in enumerate(found.hits("relu1", 2)) if 0 < hit.place[0] < 19 and 0 < hit.place[1] < 23]
    assert inside
    weight = net.conv1.weight.numpy()[2].transpose(1, 2, 0)
    peak = np.percentile(np.abs(weight), 99.5)
    for i in inside:
        shown = found.deconvnet("relu1", 2)[i].astype(int)
        assert np.abs(shown - images.picture(weight / peak * 0.5 + 0.5).astype(int)).max() <= 1


def test_the_deconvnet_of_a_deeper_unit_is_the_gradient_with_its_rule(net):
    pixels = noise(5)
    found = top_patches(net, ArrayDataset(pixels, [0] * 5), ["relu2"], 3, preprocessing=UNIT)
    hit = found.hits("relu2", 1)[0]
    x = cool.tensor(UNIT.normalize(pixels[hit.picture : hit.picture + 1]), requires_grad=True)
    _, (map_,) = cool.explain.tapped(net, x, [found.layers[0]])
    with cool.explain.backward_rule("deconvnet"):
        gradient = cool.grad(map_[(0, 1, *hit.place)], x)[0].numpy()[0].transpose(1, 2, 0)
    (top, bottom), (left, right) = found.subject.layers.field("relu2").window(hit.place)
    part = gradient[max(top, 0) : bottom, max(left, 0) : right]
    assert np.abs(gradient).sum() == pytest.approx(np.abs(part).sum())  # nothing of it lies outside of the field
    shown = found.deconvnet("relu2", 1)[0]
    assert shown.shape[:2] == (bottom - top, right - left)
    inside = shown[max(-top, 0) : max(-top, 0) + part.shape[0], max(-left, 0) : max(-left, 0) + part.shape[1]]
    assert np.corrcoef(inside.astype(float).ravel(), part.ravel())[0, 1] > 0.99


def test_channels_in_another_order_give_the_same_pictures(net):
    """A network that wants blue first, with its filters turned round, is the same network."""
    other = Small()
    other.load_state_dict(net.state_dict())
    other.conv1.weight.copy_(cool.tensor(np.ascontiguousarray(net.conv1.weight.numpy()[:, ::-1])))
    bgr = Preprocessing(size=(20, 24), channels=3, mean=(0.5,), std=(0.5,), order="bgr")
    data = ArrayDataset(noise(4), [0] * 4)
    one = top_patches(net, data, ["relu2"], 2, preprocessing=UNIT)
    two = top_patches(other, data, ["relu2"], 2, preprocessing=bgr)
    for first, second in zip(
        one.patches("relu2", 0) + one.deconvnet("relu2", 0),
        two.patches("relu2", 0) + two.deconvnet("relu2", 0),
        strict=True,
    ):
        assert np.abs(first.astype(int) - second.astype(int)).max() <= 1


def test_features_without_places_show_whole_pictures_and_silence_is_no_hit(net):
    net.conv1.weight.copy_(cool.zeros(4, 3, 3, 3))
    net.conv1.bias.copy_(cool.tensor(np.array([-1, 1, 1, 1], np.float32)))
    found = top_patches(net, ArrayDataset(noise(3), [0] * 3), ["relu1", "head"], 2, preprocessing=UNIT)
    assert found.hits("relu1", 0) == [] and found.patches("relu1", 0) == [] == found.deconvnet("relu1", 0)
    assert len(found.hits("relu1", 1)) == 2
    assert found.hits("head", 1)[0].place is None
    assert found.patches("head", 1)[0].shape == (20, 24, 3)
    assert len(found.deconvnet("head", 1)) == 2


def test_files_that_cannot_be_read_are_named_and_left_out(net, tmp_path):
    (tmp_path / "inner").mkdir()
    for i in range(5):
        Image.fromarray(noise(1, i, (40, 30))[0]).save(tmp_path / "inner" / f"{i}.png")
    (tmp_path / "inner" / "2.png").write_bytes(b"no picture")
    (tmp_path / "a.jpg").write_bytes(b"")
    done = []
    found = top_patches(
        net, tmp_path, ["conv2"], 9, preprocessing=UNIT, batch_size=2, progress=lambda *at: done.append(at)
    )
    assert found.seen == 4 and done == [(2, 6), (4, 6), (6, 6)]
    assert [file.path for file in found.skipped] == [str(tmp_path / "a.jpg"), str(tmp_path / "inner" / "2.png")]
    assert "it is empty" in str(found.skipped[0]) and "format is not known" in str(found.skipped[1])
    names = {hit.name for hit in found.hits("conv2", 0)}
    assert names == {str(tmp_path / "inner" / f"{i}.png") for i in (0, 1, 3, 4)}
    kept = json.loads(json.dumps(found.to_dict()))
    assert kept["pictures"] == 4 and len(kept["layers"]["conv2"]) == 6
    assert kept["layers"]["conv2"][0][0]["picture"] in names
    listed = top_patches(net, [tmp_path / "inner" / "0.png"], ["conv2"], 1, preprocessing=UNIT)
    assert listed.hits("conv2", 3)[0].name.endswith("0.png")
    with pytest.raises(DataError, match=r"no picture could be read; the first one: .*a\.jpg: it is empty"):
        top_patches(net, [tmp_path / "a.jpg"], ["conv2"], preprocessing=UNIT)


def test_memory_does_not_grow_with_the_number_of_pictures(net):
    class Endless(Dataset):
        name, classes = "endless", ["all"]

        def __init__(self, count):
            self.count = count

        def __len__(self):
            return self.count

        def __getitem__(self, index):
            return noise(1, index)[0], 0

    def peak(count):
        tracemalloc.start()
        top_patches(net, Endless(count), ["conv1", "conv2"], 4, preprocessing=UNIT, workers=0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(16)
    assert peak(640) < peak(64) + 200_000  # the pictures alone would be 830 kB more


def test_a_sheet_has_a_row_of_patches_and_one_of_deconvnets_for_each_channel(net):
    found = top_patches(net, ArrayDataset(noise(3), [0] * 3), ["conv2"], 4, preprocessing=UNIT)
    shown = found.pictures("conv2", [0, 5], side=30)
    assert len(shown) == 2 * 2 * 4 and shown.columns == 4
    assert shown.labels[0].startswith("0: ") and shown.labels[3] == "" and shown.labels[8].startswith("5: ")
    assert len(found.pictures("conv2", [0], deconvnet=False)) == 4
    assert found.strongest("conv2", 2)[0] == max(range(6), key=lambda c: found.hits("conv2", c)[0].value)
    for layer in ("conv1", "conv2"):
        net.get_submodule(layer).weight.copy_(cool.zeros(*net.get_submodule(layer).weight.shape))
        net.get_submodule(layer).bias.copy_(cool.zeros(*net.get_submodule(layer).bias.shape))
    silent = top_patches(net, ArrayDataset(noise(3), [0] * 3), ["relu2"], 2, preprocessing=UNIT)
    assert silent.pictures("relu2", [1]).labels == ["1: silent", "", "", ""]


def test_what_cannot_be_looked_for_is_refused_with_what_can(net, tmp_path):
    data = ArrayDataset(noise(2), [0] * 2)
    with pytest.raises(ValueError, match=r"k is .* at least 1, not 0"):
        top_patches(net, data, k=0, preprocessing=UNIT)
    with pytest.raises(ValueError, match="no layer 'conv9'; did you mean"):
        top_patches(net, data, ["conv9"], preprocessing=UNIT)
    with pytest.raises(MissingDataError, match=r"there is no folder .*nowhere"):
        top_patches(net, tmp_path / "nowhere", preprocessing=UNIT)
    with pytest.raises(DataError, match="holds no pictures"):
        top_patches(net, tmp_path, preprocessing=UNIT)
    found = top_patches(net, data, ["conv1"], preprocessing=UNIT)
    with pytest.raises(ValueError, match="'conv2' was not looked at; these were: conv1"):
        found.hits("conv2", 0)
    with pytest.raises(ValueError, match=r"conv1 .* has channels 0 to 3, not 4"):
        found.hits("conv1", 4)
