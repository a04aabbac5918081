"""Style transfer: the objective beside PyTorch, tiles beside the whole, resuming, pictures of all kinds, one pass."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import coolnn as cool
from coolnn.cli import main
from coolnn.data.errors import DataError, ImageError, MissingDataError
from coolnn.formats import FileFormatError
from coolnn.tasks import style
from coolnn.tasks.style import colour, features, losses, pictures, training
from coolnn.tasks.style.network import PIXELS, save_style
from coolnn.tasks.style.objective import Goal, Region, Whole
from coolnn.tasks.style.optimise import gram_sums
from coolnn.tasks.style.tiles import Tiled, reach, windows

RNG = np.random.default_rng(0)
QUICK = {"size": 48, "iterations": 3, "levels": 1}


def blobs(height, width, seed):
    """A picture with structure at several scales."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for scale in (2, 6, 16):
        small = rng.random((height // scale + 2, width // scale + 2, 3)).astype(np.float32)
        total += np.stack(
            [
                np.asarray(Image.fromarray(small[..., i]).resize((width, height), Image.Resampling.BICUBIC))
                for i in range(3)
            ],
            axis=-1,
        )
    return np.clip(total * 85, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """VGG16's convolutions with random numbers, called as Keras calls them; deep enough for every layer."""
    rng = np.random.default_rng(1)
    arrays, channels = {}, 3
    for stage, widths in enumerate(features.stages_of("vgg16"), 1):
        for place, width in enumerate(widths, 1):
            scale = np.float32((2 / (9 * channels)) ** 0.5)
            name = f"block{stage}_conv{place}"
            arrays[f"{name}.weight"] = (scale * rng.standard_normal((width, channels, 3, 3), np.float32)).astype(
                np.float16
            )
            arrays[f"{name}.bias"] = 0.1 * rng.standard_normal(width, np.float32)
            channels = width
    path = tmp_path_factory.mktemp("weights") / "any_name.npz"
    np.savez(path, **arrays)
    return path


SHALLOW = {"style_layers": ("relu1_1", "relu2_1"), "content_layers": ("relu2_2",)}
CONTENT, STYLE = blobs(40, 48, 2), blobs(44, 36, 3)


def goal_for(net, style_layers, content_layers, regions=None):
    picture = STYLE.astype(np.float32) - net.mean
    empty = Goal(net, [Region({})], {}, dict.fromkeys(style_layers, 1.0), 0.0)
    grams = gram_sums(empty, picture)
    return Goal(
        net,
        [Region(grams)] if regions is None else [Region(grams, mask, share) for mask, share in regions],
        dict.fromkeys(content_layers, 0.05),
        dict.fromkeys(style_layers, 0.5),
        5e-6,
    )


# --- weights and layers ----------------------------------------------------------------------------------------------


def test_names_of_keras_caffe_and_torchvision_give_the_same_network(weights, tmp_path):
    arrays = dict(np.load(weights))
    caffe = {name.replace("block", "conv").replace("_conv", "_"): a for name, a in arrays.items()}
    np.savez(tmp_path / "caffe.npz", **caffe)
    with cool.nn.meta_parameters():
        vgg = cool.models.create("vgg16")
    numbers = [i for i, layer in enumerate(vgg.features) if isinstance(layer, cool.nn.Conv2d)]
    names = sorted(name.removesuffix(".weight") for name in arrays if name.endswith(".weight"))
    torch_names = {
        f"features.{i}.{kind}": arrays[f"{n}.{kind}"]
        for i, n in zip(numbers, names, strict=True)
        for kind in ("weight", "bias")
    }
    np.savez(tmp_path / "torch.npz", **torch_names)
    x = CONTENT.astype(np.float32)
    found = []
    for path, wanted in ((weights, None), (tmp_path / "caffe.npz", None), (tmp_path / "torch.npz", "caffe")):
        net = features.load(["relu2_2"], weights=path, preprocessing=wanted)
        found.append(net(cool.from_numpy(net.prepare(x)))["relu2_2"].numpy())
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    other = features.load(["relu1_1"], weights=tmp_path / "torch.npz")
    np.testing.assert_allclose(other.mean, np.array([0.485, 0.456, 0.406]) * 255, rtol=1e-6)


def test_pixels_are_brought_to_what_the_network_wants(weights):
    """Blue first and less the mean: what Caffe's weights are given, computed by hand."""
    arrays = dict(np.load(weights))
    net = features.load(["conv1_1"], weights=weights)
    x = cool.from_numpy(net.prepare(CONTENT.astype(np.float32)))
    bgr = CONTENT[..., ::-1].astype(np.float32) - np.array([104, 117, 123], np.float32)
    first = cool.ops.conv2d(
        cool.from_numpy(bgr.transpose(2, 0, 1)[None].copy()),
        cool.tensor(arrays["block1_conv1.weight"].astype(np.float32)),
        cool.tensor(arrays["block1_conv1.bias"]),
        padding=1,
    )
    np.testing.assert_allclose(net(x)["conv1_1"].numpy(), first.numpy(), rtol=1e-4, atol=1e-3)


def test_weights_that_are_none(tmp_path, weights, monkeypatch):
    np.savez(tmp_path / "odd.npz", **{"a.weight": np.zeros((2, 3))})
    with pytest.raises(FileFormatError, match="does not hold the 13 convolutions"):
        features.load(["relu1_1"], weights=tmp_path / "odd.npz")
    with pytest.raises(FileFormatError, match="of vgg16, not of vgg19"):
        features.load(["relu1_1"], "vgg19", weights)
    with pytest.raises(ValueError, match="no layer 'relu9_1'"):
        features.load(["relu9_1"], weights=weights)
    monkeypatch.setenv("COOLNN_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match=r"cool models get vgg19.*--model"):
        features.load(["relu1_1"])
    (tmp_path / "weights" / "mine").mkdir(parents=True)
    (tmp_path / "weights" / "mine" / "vgg16_convolutions.npz").write_bytes(weights.read_bytes())
    assert features.load(["relu1_1"]).network == "vgg16"


# --- the objective ---------------------------------------------------------------------------------------------------


def test_the_objective_is_that_of_plain_pytorch_after_a_hundred_steps(weights):
    """Same start, same weights, Adam: the loss within 1 %, as written down anew with PyTorch's own operations."""
    torch = pytest.importorskip("torch")
    style_layers, content_layers, steps = ("relu1_1", "relu2_1", "relu3_1"), ("relu3_2",), 100
    net = features.load([*style_layers, *content_layers], weights=weights)
    goal = goal_for(net, style_layers, content_layers)
    content = CONTENT.astype(np.float32) - net.mean
    objective, x = Whole(goal, content), content.copy()
    parameter = cool.from_numpy(x.copy())
    adam = cool.optim.Adam([parameter], lr=2.0)
    for _ in range(steps):
        ours, gradient = objective(parameter.numpy().copy())
        parameter.grad = cool.from_numpy(gradient)
        adam.step()

    kernels = [(torch.tensor(c.weight.numpy()), torch.tensor(c.bias.numpy())) for c in net.convolutions.values()]
    names = list(net.convolutions)

    def activations(x):
        found = {}
        for i, (name, (w, b)) in enumerate(zip(names, kernels, strict=True)):
            if i and name[4] != names[i - 1][4]:
                x = torch.nn.functional.max_pool2d(x, 2, 2)
            x = torch.relu(torch.nn.functional.conv2d(x, w, b, padding=1))
            found["relu" + name[4:]] = x
        return found

    def gram(x):
        rows = x.flatten(2)[0]
        return rows @ rows.T / rows.shape[1]

    def batch(array):
        return torch.tensor(array.transpose(2, 0, 1)[None].copy())

    wanted = {layer: activations(batch(content))[layer] for layer in content_layers}
    painted = {layer: gram(activations(batch(STYLE.astype(np.float32) - net.mean))[layer]) for layer in style_layers}
    y = batch(content).requires_grad_()
    theirs_adam = torch.optim.Adam([y], lr=2.0)
    for _ in range(steps):
        theirs_adam.zero_grad()
        found = activations(y)
        loss = sum(0.05 * (found[n] - t).square().sum() / t.square().sum() for n, t in wanted.items())
        loss = loss + sum(0.5 * (gram(found[n]) - t).square().sum() / t.square().sum() for n, t in painted.items())
        rough = (y[:, :, 1:] - y[:, :, :-1]).square().sum() + (y[..., 1:] - y[..., :-1]).square().sum()
        loss = loss + 5e-6 * rough / y.numel()
        loss.backward()
        theirs_adam.step()
    assert ours.total == pytest.approx(float(loss.detach()), rel=0.01)
    assert ours.total == pytest.approx(ours.content + ours.style + ours.smooth, rel=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_tiles_give_what_the_whole_gives(weights, masked):
    net = features.load(["relu1_1", "relu3_1", "relu2_2"], weights=weights)
    picture = blobs(80, 128, 5).astype(np.float32) - net.mean
    regions = None
    if masked:
        mask = np.zeros(picture.shape[:2], np.float32)
        mask[:, :50] = 1
        regions = [(None, 1.0), (mask, 0.5)]
    goal = goal_for(net, ("relu1_1", "relu3_1"), ("relu2_2",), regions)
    x = picture + RNG.normal(0, 20, picture.shape).astype(np.float32)
    tiled = Tiled(goal, picture, 64)
    assert len(tiled.tiles) > 2
    (ours, gradient), (whole, expected) = tiled(x), Whole(goal, picture)(x)
    np.testing.assert_allclose(ours, whole, rtol=1e-4)  # sums of 10,000 products in another order
    np.testing.assert_allclose(gradient, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("length", "window"), [(16, 512), (512, 512), (800, 512), (2048, 512), (4096, 768)])
def test_windows_cover_and_keep_their_margins(length, window):
    found = windows(length, window, 80)
    assert [w.first for w in found] == [0, *(w.last for w in found[:-1])] and found[-1].last == length
    for w in found:
        assert w.start % 16 == w.first % 16 == 0 and w.start <= w.first < w.last <= w.stop
        assert (w.first == 0 or w.first - w.start >= 80) and (w.last == length or w.stop - w.last >= 80)


def test_reach_is_that_of_the_last_layer():
    with cool.nn.meta_parameters():
        assert reach(features.Features("vgg19", ["relu5_1"])) == 80  # it sees 156 pixels
        assert reach(features.Features("vgg16", ["relu1_1"])) == 16


def test_grams_of_large_pictures_are_summed_up(weights, monkeypatch):
    net = features.load(["relu2_1"], weights=weights)
    goal = Goal(net, [Region({})], {}, {"relu2_1": 1.0}, 0.0)
    picture = blobs(96, 1120, 6).astype(np.float32) - net.mean
    found = gram_sums(goal, picture)["relu2_1"]
    x = cool.from_numpy(picture.transpose(2, 0, 1)[None])
    np.testing.assert_allclose(found, losses.gram(net(x)["relu2_1"]).numpy(), rtol=1e-4)


# --- the whole work --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_loss_falls_and_seeds_repeat(weights, optimizer):
    chosen = {
        **SHALLOW,
        "size": 48,
        "iterations": 12,
        "levels": 1,
        "optimizer": optimizer,
        "init": "noise",
        "weights": weights,
    }
    first = style.transfer(CONTENT, STYLE, **{**chosen, "iterations": 1})
    last, again = (style.transfer(CONTENT, STYLE, **chosen, seed=0) for _ in range(2))
    assert last.losses.total < 0.8 * first.losses.total
    assert np.array_equal(last.image, again.image) and last.image.shape == (40, 48, 3)
    other = style.transfer(CONTENT, STYLE, **chosen, seed=1)
    assert not np.array_equal(other.image, last.image)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_stopped_work_goes_on_to_the_same_bits(weights, tmp_path, optimizer):
    chosen = style.Settings(**SHALLOW, size=96, iterations=6, levels=2, optimizer=optimizer)

    def job():
        return style.Transfer(CONTENT, [STYLE], chosen, weights=weights)

    expected = job().run().image
    state = tmp_path / "out.png.state"

    def stop(image, number):
        if number == 4:
            raise KeyboardInterrupt

    stopped = job().run(preview=stop, preview_every=1, state=state)
    assert stopped.interrupted and state.exists()
    with pytest.raises(FileFormatError, match="another work"):
        style.Transfer(STYLE, [STYLE], chosen, weights=weights).run(state=state)
    resumed = job().run(state=state)
    assert np.array_equal(resumed.image, expected) and not state.exists()


def test_levels_previews_and_need(weights):
    job = style.Transfer(CONTENT, [STYLE], style.Settings(**SHALLOW, size=400, iterations=4), weights=weights)
    assert job.level_sizes() == [(166, 200), (333, 400)] and job.iterations() == [4, 4]
    need = job.need()
    assert need.tile is None and need.bytes > 333 * 400 * 64 * 4 and "400×333" in str(need)
    shown = []
    small = style.Transfer(CONTENT, [STYLE], style.Settings(**SHALLOW, **QUICK), weights=weights)
    small.run(preview=lambda image, number: shown.append((image.shape, number)), preview_every=2)
    assert shown == [((40, 48, 3), 2)]


def test_memory_decides_about_tiles(weights, monkeypatch):
    job = style.Transfer(CONTENT, [STYLE], style.Settings(**SHALLOW, size=1600, optimizer="adam"), weights=weights)
    whole = job.need().bytes

    def free(count):
        monkeypatch.setattr(cool.machine, "available_memory", lambda: cool.machine.Available(count, "machine"))

    free(int(whole / 0.8 * 0.9))
    tiled = job.need()
    assert tiled.tile is not None and tiled.bytes < whole
    free(1 << 20)
    with pytest.raises(DataError, match="choose a smaller size"):
        job.need()


def test_a_picture_in_tiles_has_its_size(weights):
    layers = {"style_layers": ("relu1_1",), "content_layers": ("relu1_2",)}
    chosen = {**layers, "size": (70, 90), "iterations": 2, "levels": 1, "weights": weights}
    whole, tiled = style.transfer(CONTENT, STYLE, **chosen), style.transfer(CONTENT, STYLE, **chosen, tile=64)
    assert whole.image.shape == tiled.image.shape == (70, 90, 3)
    # The mirrored edge counts a little; L-BFGS magnifies what differs.
    assert np.abs(whole.image.astype(int) - tiled.image).mean() < 8


def test_shares_masks_and_colours(weights):
    chosen = {**SHALLOW, **QUICK, "weights": weights}
    left = np.zeros((10, 20), np.uint8)
    left[:, :10] = 255
    masked = style.transfer(
        CONTENT, [STYLE], **{**chosen, "iterations": 6}, content_weight=0.0, smooth_weight=0.0, masks=[left]
    )
    moved = np.abs(masked.image.astype(int) - CONTENT).mean((0, 2))
    assert moved[:18].mean() > 4 * moved[-14:].mean()
    both = style.transfer(CONTENT, [STYLE, CONTENT], **chosen, shares=[1, 0])
    assert np.array_equal(both.image, style.transfer(CONTENT, STYLE, **chosen).image)
    grey = style.transfer(CONTENT, STYLE, **chosen, colours="luminance").image.astype(int)
    chroma = (grey - grey.mean(2, keepdims=True)) - (CONTENT - CONTENT.mean(2, keepdims=True))
    inside = ((grey > 0) & (grey < 255)).all(2)
    assert np.abs(chroma[inside]).max() <= 2  # rounding of three channels
    for options in ({"colours": "histogram"}, {"init": "noise"}, {"style_scale": 1.5}, {"pooling": "avg"}):
        assert style.transfer(CONTENT, STYLE, **chosen, **options).image.shape == CONTENT.shape


def test_histograms_are_matched():
    matched = colour.match_histogram(STYLE, CONTENT // 2 + 60).reshape(-1, 3)
    wanted = (CONTENT // 2 + 60).reshape(-1, 3)
    np.testing.assert_allclose(matched.mean(0), wanted.mean(0), atol=2)  # clipping
    np.testing.assert_allclose(np.cov(matched.T), np.cov(wanted.T), atol=0.1 * np.cov(wanted.T).max())


@pytest.mark.parametrize(
    "change",
    [{"size": 8}, {"iterations": 0}, {"optimizer": "sgd"}, {"colours": "blue"}, {"lr": 0.0}, {"style_weight": -1.0}],
)
def test_settings_out_of_range(change):
    with pytest.raises(ValueError, match=next(iter(change))[:5]):
        style.Settings(**change)


# --- pictures of all kinds -------------------------------------------------------------------------------------------


def test_pictures_of_all_kinds_become_rgb(tmp_path):
    Image.fromarray(CONTENT[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([CONTENT, CONTENT[..., :1]])).save(tmp_path / "alpha.png")
    Image.fromarray(CONTENT[..., 0].astype(np.uint16) * 257).save(tmp_path / "wide.png")
    for name in ("grey", "alpha", "wide"):
        image = pictures.read(tmp_path / f"{name}.png")
        assert image.shape == CONTENT.shape and image.dtype == np.uint8
    assert np.array_equal(pictures.read(tmp_path / "wide.png")[..., 1], CONTENT[..., 0])


def test_pictures_that_cannot_be_used(tmp_path, weights):
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(ImageError, match=r"text\.jpg"):
        style.transfer(tmp_path / "text.jpg", STYLE, weights=weights)
    with pytest.raises(DataError, match="8×20 pixels"):
        style.transfer(CONTENT, np.zeros((20, 8, 3), np.uint8), weights=weights)
    with pytest.raises(DataError, match="black everywhere"):
        style.transfer(CONTENT, [STYLE], weights=weights, masks=[np.zeros((5, 5), np.uint8)])
    with pytest.raises(ValueError, match="2 masks for 1 styles"):
        style.transfer(CONTENT, [STYLE], weights=weights, masks=[None, None])
    with pytest.raises(ValueError, match="told by the end"):
        pictures.write(tmp_path / "out.xyz", CONTENT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.jpg"]


# --- one pass --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    cool.manual_seed(0)
    path = tmp_path_factory.mktemp("styles") / "small.safetensors"
    save_style(style.stylizer(4, blocks=1), path, {})
    return path


def test_files_hold_half_precision_and_large_networks_stay_small(small, tmp_path):
    net = style.stylizer()
    save_style(net, tmp_path / "full.safetensors", {})
    assert (tmp_path / "full.safetensors").stat().st_size < 4 << 20
    loaded = style.open_style(tmp_path / "full.safetensors")
    for ours, theirs in zip(net.parameters(), loaded.net.parameters(), strict=True):
        assert theirs.dtype == np.float32
        np.testing.assert_allclose(theirs.numpy(), ours.numpy(), rtol=1e-3, atol=1e-7)
    with pytest.raises(ValueError, match="no trained style is named 'nonsense'"):
        style.open_style("nonsense")


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (50, 34)])
def test_painted_pictures_keep_their_size(small, size):
    painter = style.Painter(small)
    image = blobs(*size, 9)
    painted = painter(image)
    assert painted.shape == image.shape and painted.dtype == np.uint8
    wide = pictures.whole_blocks(np.pad(image, ((16, 16), (16, 16), (0, 0)), mode="reflect"), 4)
    direct = PIXELS.denormalize(painter.model.net(cool.from_numpy(PIXELS([wide]))).numpy())[0]
    assert np.abs(painted.astype(int) - direct[16 : 16 + size[0], 16 : 16 + size[1]]).max() <= 1


def test_pictures_too_large_for_memory_are_refused(small, monkeypatch):
    painter = style.Painter(small)
    monkeypatch.setattr(cool.machine, "available_memory", lambda: cool.machine.Available(2 << 20, "machine"))
    with pytest.raises(DataError, match="choose a size of"):
        painter(blobs(400, 500, 4))


@pytest.fixture(scope="module", params=style.trained_styles())
def shipped(request):
    return request.param


def test_styles_that_come_with_the_package_are_small_and_half_precision(shipped):
    path = style.trained_styles()[shipped]
    assert path.stat().st_size <= 4 << 20
    assert {array.dtype for name, array in load_file(path).items() if name.endswith("weight")} == {np.dtype(np.float16)}
    metrics = style.open_style(shipped).metrics
    assert metrics["steps"] >= 400 and metrics["loss"] < 5


def test_styles_that_come_with_the_package_paint_well(shipped):
    """Structure is kept, colours are the style's and not grey, and there is neither a frame nor a checkerboard."""
    photograph = blobs(240, 320, 12)
    painted = style.Painter(shipped)(photograph).astype(np.float64)
    light, before = painted.mean(2), photograph.astype(np.float64).mean(2)
    coarse, wanted = (image.reshape(30, 8, 40, 8).mean((1, 3)) for image in (light, before))
    assert np.corrcoef(coarse.ravel(), wanted.ravel())[0, 1] > 0.5
    assert light.std() > 20 and (painted.max(2) - painted.min(2)).mean() > 20
    # The outermost pixels are no other than where the picture goes on, on every side.
    more = style.Painter(shipped)(np.pad(photograph, ((32, 32), (32, 32), (0, 0)), mode="reflect"))[32:-32, 32:-32]
    for turn in range(4):
        edge, inner = (np.rot90(image, turn)[:3].mean((0, 1)) for image in (painted, more))
        assert np.abs(edge - inner).max() < 8
    # What alternates from pixel to pixel in both directions is little beside all detail.
    checks = (light[::2, ::2] - light[1::2, ::2] - light[::2, 1::2] + light[1::2, 1::2]) / 4
    assert np.square(checks).mean() < 0.02 * light.var()


def test_styles_that_come_with_the_package_need_nothing_else(tmp_path):
    """A fresh machine: no data folder, no home, no net."""
    pictures.write(tmp_path / "photo.png", CONTENT)
    code = (
        "import socket, sys; socket.socket = None; from coolnn.cli import main; "
        "sys.exit(main(['style', 'photo.png', '--model', 'starry_night', '-o', 'out.png']))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COOLNN")}
    environment |= {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = str(Path(cool.__file__).parent.parent)
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment).returncode == 0
    assert pictures.read(tmp_path / "out.png").shape == CONTENT.shape
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.png", "photo.png"]


def test_the_command_names_the_styles_that_come_with_the_package(capsys, tmp_path):
    names = ", ".join(style.trained_styles())
    assert "starry_night" in names
    assert main(["style", "--help"]) == 0
    assert names in " ".join(capsys.readouterr().out.split())
    pictures.write(tmp_path / "photo.png", CONTENT)
    assert main(["style", str(tmp_path / "photo.png")]) == 2 and names in capsys.readouterr().err
    assert main(["style", str(tmp_path / "photo.png"), "--model", "starry"]) == 1 and names in capsys.readouterr().err


def test_steady_frames_flicker_less(small):
    painter, rng = style.Painter(small), np.random.default_rng(0)
    film = [np.clip(CONTENT + rng.normal(0, 3, CONTENT.shape), 0, 255).astype(np.uint8) for _ in range(6)]

    def flicker(frames):
        return np.mean([np.abs(a.astype(float) - b).mean() for a, b in itertools.pairwise(frames)])

    plain, steady = list(painter.frames(film)), list(painter.frames(iter(film), steady=0.8))
    assert len(steady) == 6 and flicker(steady) < 0.7 * flicker(plain)
    cut = list(painter.frames([CONTENT, 255 - CONTENT], steady=0.8))
    assert np.abs(cut[1].astype(int) - painter(255 - CONTENT)).mean() < 3  # another scene is painted afresh
    with pytest.raises(ValueError, match="steady"):
        next(painter.frames(film, steady=1.0))


def test_a_style_is_learned_and_resumed_to_the_same_bits(weights, tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(3):
        pictures.write(tmp_path / "photos" / f"{i}.png", blobs(80, 90, i))
    (tmp_path / "photos" / "broken.jpg").write_text("no picture")
    pictures.write(tmp_path / "style.png", STYLE)
    recipe = style.Recipe(steps=4, batch=1, size=64, style_size=64, width=4, blocks=1)

    def run(folder, every=2):
        return style.train(
            tmp_path / "style.png",
            [tmp_path / "photos"],
            tmp_path / folder,
            recipe,
            weights=weights,
            quiet=True,
            sample_every=every,
        )

    whole = run("whole")
    assert not whole.interrupted and len(list((whole.folder / "samples").iterdir())) == 2
    # A run that is killed after its second step, just after a checkpoint.
    job = training._Job(tmp_path / "parts", str(tmp_path / "style.png"), [str(tmp_path / "photos")], recipe, weights)
    job.samples, job.sample_every = job.photos[:1], 2
    job._open()
    job._one()
    job._one()
    job._save()
    resumed = style.resume(tmp_path / "parts", quiet=True)
    assert resumed.steps == 4 and resumed.model.read_bytes() == whole.model.read_bytes()
    painted = style.Painter(whole.folder)(CONTENT)
    assert painted.shape == CONTENT.shape
    with pytest.raises(ValueError, match="name another folder"):
        style.train(
            tmp_path / "style.png",
            [tmp_path / "photos"],
            tmp_path / "whole",
            style.Recipe(steps=9),
            weights=weights,
            quiet=True,
        )


def test_a_style_begins_with_another(small, weights, tmp_path):
    (tmp_path / "photos").mkdir()
    pictures.write(tmp_path / "photos" / "a.png", blobs(80, 90, 1))
    pictures.write(tmp_path / "style.png", STYLE)
    recipe = style.Recipe(steps=1, batch=1, size=64, style_size=64, width=4, blocks=1, lr=1e-9)
    given = {"weights": weights, "quiet": True}
    words = tmp_path / "style.png", [tmp_path / "photos"], tmp_path / "run"
    run = style.train(*words, recipe, start=small, **given)
    for ours, theirs in zip(
        style.open_style(run.model).net.parameters(), style.open_style(small).net.parameters(), strict=True
    ):
        assert np.array_equal(ours.numpy(), theirs.numpy())  # a step too small to be seen in half precision
    assert style.resume(tmp_path / "run", quiet=True).steps == 1
    with pytest.raises(ValueError, match="name another folder"):
        style.train(*words, recipe, **given)
    with pytest.raises(ValueError, match="has not the width 8 and 1 blocks"):
        style.train(*words[:2], tmp_path / "other", style.Recipe(width=8, blocks=1), start=small, **given)


def test_pixels_along_the_edges_are_not_judged(weights):
    net = features.load(training.STYLE_LAYERS, weights=weights)
    judge = training.Judge(net, STYLE, style.Recipe())
    photo = cool.from_numpy(PIXELS([blobs(64, 64, 1)]))
    changed = photo.numpy().copy()
    changed[:, :, : training.MARGIN] = 0
    changed[:, :, :, -training.MARGIN :] = 0
    with cool.no_grad():
        assert judge(photo, photo).item() == judge(cool.from_numpy(changed), photo).item()


# --- the command -----------------------------------------------------------------------------------------------------


def test_command_paints_by_optimisation(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pictures.write("photo.png", CONTENT)
    pictures.write("paint.png", STYLE)
    words = [
        "style",
        "photo.png",
        "paint.png",
        "--weights",
        str(weights),
        "--size",
        "48",
        "--iterations",
        "2",
        "--levels",
        "1",
    ]
    assert main([*words, "-o", "out.jpg"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "out.jpg\n" and "48×40 pixels need" in captured.err and "MiB" in captured.err
    assert pictures.read("out.jpg").shape == CONTENT.shape
    assert main([*words, "-o", "out.jpg", "--resume"]) == 1 and "no work to go on with" in capsys.readouterr().err
    for more, says in (
        (["--shares", "1", "2"], "--shares"),
        (["--lr", "0"], "lr"),
        (["-o", "x.gif"], "told by the end"),
    ):
        assert main([*words, *more]) in (1, 2) and says in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.jpg", "paint.png", "photo.png"]


def test_command_paints_in_one_pass(small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("a.png", "a.jpg", "b.jpg"):
        pictures.write(tmp_path / "in" / name, CONTENT)
    assert main(["style", "in/a.png", "--model", str(small)]) == 0
    assert main(["style", "in", "--model", str(small), "-o", "out", "--size", "96", "--steady", "0.5"]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.jpg", "a.png", "b.jpg"]
    assert pictures.read("a_small.png").shape == CONTENT.shape and pictures.read("out/b.jpg").shape == (80, 96, 3)
    (tmp_path / "in" / "broken.jpg").write_text("x")
    capsys.readouterr()
    assert main(["style", "in", "--model", str(small), "-o", "out"]) == 1
    assert "broken.jpg" in capsys.readouterr().err
    assert main(["style", "in/b.jpg", "--model", str(small), "-o", "in"]) == 2
    assert main(["style", "in/b.jpg"]) == 2 and "--model" in capsys.readouterr().err


def test_starting_the_command_is_quick():
    code = "import sys, coolnn.cli.style, coolnn.cli.style_train; sys.exit('coolnn.tasks' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
