"""Transforms, mixes and preprocessing: what they do, that each picture has its own draws, and their JSON forms."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import coolnn as cool
from coolnn import data
from coolnn.data.draws import batch_generator
from coolnn.data.warp import warp

TRANSFORMS = [
    data.Resize(20),
    data.Resize((9, 17), "bicubic"),
    data.ToSize(12, "fit", fill=3),
    data.ToSize((30, 9)),
    data.CenterCrop(10),
    data.CenterCrop((40, 6)),
    data.RandomCrop(16, padding=3, mode="reflect"),
    data.RandomCrop((40, 8)),
    data.RandomResizedCrop(11),
    data.HorizontalFlip(),
    data.VerticalFlip(0.3),
    data.Grayscale(),
    data.Grayscale(3),
    data.RandomErasing(1.0),
    data.RandomErasing(0.5, (0.25, 0.25), (1, 1), fill=7),
    data.Affine(20, 0.2, (0.8, 1.2), 10, fill=5),
    data.Rotation(30),
    data.Translate(3),
    data.ColorJitter(0.4, 0.4, 0.4, 0.1),
    data.RandomApply(data.ColorJitter(brightness=(0.2, 0.4)), 0.5),
    data.Compose((data.RandomCrop(16), data.HorizontalFlip(), data.ColorJitter(0.1))),
]


def pictures(n: int = 7, h: int = 18, w: int = 22, c: int = 3) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, h, w, c)).astype(np.uint8)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_changes_the_same_alone_and_in_a_batch(transform: data.Transform, channels: int) -> None:
    batch = pictures(c=channels)
    before = batch.copy()
    together = transform.apply(batch, data.Draws(seed=5, epoch=2, start=40, count=7))
    assert np.array_equal(batch, before), "a transform must not write into what it is given"
    assert together.dtype == np.uint8 and together.ndim == 4
    for i in range(7):
        alone = transform.apply(batch[i : i + 1], data.Draws(seed=5, epoch=2, start=40 + i))
        assert np.array_equal(alone[0], together[i])


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_json_forms(transform: data.Transform) -> None:
    again = data.Transform.from_json(json.loads(json.dumps(transform.to_json())))
    assert again == transform and repr(again) == repr(transform)
    batch = pictures()
    assert np.array_equal(again(batch, 3), transform(batch, 3))


@pytest.mark.parametrize("transform", [t for t in TRANSFORMS if getattr(t, "interpolation", "") != "bicubic"], ids=str)
def test_floats_are_changed_like_bytes(transform: data.Transform) -> None:
    batch = pictures()
    floats = transform(batch.astype(np.float32), 1)
    assert floats.dtype == np.float32
    # Rounding to bytes may happen once a step.
    assert np.abs(np.clip(floats, 0, 255) - transform(batch, 1)).max() <= 2


def test_unknown_json_is_refused() -> None:
    with pytest.raises(data.DataError, match="'Explode' is not known"):
        data.Transform.from_json({"type": "Explode"})
    with pytest.raises(data.DataError, match="no valid Resize"):
        data.Transform.from_json({"type": "Resize", "sice": 3})


@pytest.mark.parametrize(
    "make",
    [
        lambda: data.Resize(0),
        lambda: data.Resize(8, "cubic"),
        lambda: data.ToSize(8, "cut"),
        lambda: data.RandomCrop(8, padding=-1),
        lambda: data.RandomCrop(8, mode="wrap"),
        lambda: data.RandomResizedCrop(8, scale=(0, 1)),
        lambda: data.RandomResizedCrop(8, ratio=(2, 1)),
        lambda: data.HorizontalFlip(1.5),
        lambda: data.RandomErasing(scale=(0.5, 2)),
        lambda: data.Affine(translate=2),
        lambda: data.Affine(degrees=(3, 1)),
        lambda: data.Affine(scale=(0, 1)),
        lambda: data.Affine(border="wrap"),
        lambda: data.Rotation((3, 1)),
        lambda: data.Translate(-1),
        lambda: data.ColorJitter(hue=0.6),
        lambda: data.ColorJitter(brightness=(-1, 1)),
        lambda: data.Compose((3,)),
        lambda: data.Mixup(0),
        lambda: data.CutMix(p=2),
        lambda: data.augmentation("wild"),
        lambda: data.augmentation("photos"),
        lambda: data.Draws(seed=-1).uniform(),
        lambda: data.Preprocessing(size=(0, 3)),
        lambda: data.Preprocessing(mode="cut"),
        lambda: data.Preprocessing(std=(0.0,)),
        lambda: data.Preprocessing(channels=2),
        lambda: data.Preprocessing(channels=3, mean=(0, 0), std=(1, 1)),
        lambda: data.Preprocessing(order="gbr"),
        lambda: data.Preprocessing(keep=0),
        lambda: data.Preprocessing(interpolation="cubic"),
    ],
)
def test_values_that_make_no_sense_are_refused(make: object) -> None:
    with pytest.raises(data.DataError):
        make()  # type: ignore[operator]


# --- draws ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 1000), start=st.integers(0, 2**40), k=st.integers(1, 70))
def test_draws_belong_to_the_place(seed: int, epoch: int, start: int, k: int) -> None:
    many, one = data.Draws(seed, epoch, start, 5), data.Draws(seed, epoch, start + 4)
    for _ in range(k):
        assert many.uniform()[4] == one.uniform()[0]


def test_draws_are_spread_evenly_and_apart() -> None:
    draws = data.Draws(seed=1, count=20000)
    columns = [draws.uniform() for _ in range(40)]  # more than one page of words
    assert all(abs(column.mean() - 0.5) < 0.01 for column in columns)
    assert np.abs(np.corrcoef(columns) - np.eye(40)).max() < 0.05
    assert set(draws.integers(2, 5)) == {2, 3, 4}
    assert abs(draws.bernoulli(0.2).mean() - 0.2) < 0.01
    other = data.Draws(seed=1, epoch=1, count=20000).uniform()
    assert abs(np.corrcoef(columns[0], other)[0, 1]) < 0.05


def test_orders() -> None:
    orders = [data.permutation(seed, epoch, 100) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    # Fixed for good: a run that is resumed with a later version goes on in the same order.
    assert data.permutation(0, 0, 8).tolist() == data.permutation(0, 0, 8).tolist()


# --- what transforms do --------------------------------------------------------------------------------------------


def test_flips_and_crops_are_parts_of_the_picture() -> None:
    batch = pictures(50)
    flipped = data.HorizontalFlip()(batch, 1)
    kinds = [np.array_equal(a, b) for a, b in zip(batch, flipped, strict=True)]
    assert 10 < sum(kinds) < 40
    assert all(np.array_equal(a, b[:, ::-1]) for a, b, same in zip(batch, flipped, kinds, strict=True) if not same)
    gradient = np.arange(18)[:, None] * 10 + np.zeros(22, int)
    cropped = data.RandomCrop(5)(np.broadcast_to(gradient[None, :, :, None], (300, 18, 22, 1)).astype(np.uint8), 2)
    assert (np.diff(cropped[..., 0].astype(int), axis=1) == 10).all()
    assert set(cropped[:, 0, 0, 0] // 10) == set(range(14))


def test_erasing_takes_its_share() -> None:
    ones = np.ones((200, 40, 40, 1), np.uint8)
    erased = data.RandomErasing(1.0, (0.25, 0.25), (1, 1))(ones, 0)
    assert ((1 - erased.astype(int)).sum((1, 2, 3)) == 400).all()
    assert abs((data.RandomErasing(0.5)(ones, 0).min((1, 2, 3)) == 0).mean() - 0.5) < 0.12


def test_warp_agrees_with_a_plain_computation() -> None:
    rng = np.random.default_rng(0)
    batch = pictures(3, 9, 11, 2)
    matrices = np.tile(np.eye(2, 3), (3, 1, 1)) + rng.normal(0, 0.2, (3, 2, 3)) * [1, 1, 5]
    got = warp(batch, matrices, fill=30)
    for i, y, x, c in np.ndindex(got.shape):
        sx, sy = matrices[i] @ [x, y, 1]
        sx, sy = np.clip(sx, -1, 11), np.clip(sy, -1, 9)
        padded = np.pad(batch[i, :, :, c], ((1, 2), (1, 2)), constant_values=30).astype(float)
        x0, y0 = int(np.floor(sx)), int(np.floor(sy))
        fx, fy = sx - x0, sy - y0
        a, b = padded[y0 + 1, x0 + 1 : x0 + 3]
        d, e = padded[y0 + 2, x0 + 1 : x0 + 3]
        want = (a * (1 - fx) + b * fx) * (1 - fy) + (d * (1 - fx) + e * fx) * fy
        assert abs(want - got[i, y, x, c]) <= 0.51
    floats = warp(batch.astype(np.float32), matrices, fill=30)
    assert np.abs(floats - got).max() <= 0.51


@pytest.mark.parametrize("border", ["edge", "reflect"])
def test_what_comes_in_from_outside(border: str) -> None:
    batch = pictures(1, 7, 9)
    for dx, dy in ((-3, -2), (4, 5), (0, -6)):
        padded = np.pad(batch[0], ((6, 6), (6, 6), (0, 0)), border)
        moved = warp(batch, np.array([[[1.0, 0, dx], [0, 1, dy]]]), border=border)
        assert np.array_equal(moved[0], padded[6 + dy : 13 + dy, 6 + dx : 15 + dx])
    far = warp(batch, np.array([[[1e30, 0, 1e30], [np.nan, 1, -1e30]]]), border=border)
    assert far.shape == batch.shape  # nonsense gives some pixel, never a crash
    assert warp(batch[:, :1, :1], np.full((1, 2, 3), 5.0), border=border).tolist() == batch[:, :1, :1].tolist()


def test_affine_turns_anticlockwise_about_the_middle() -> None:
    picture = pictures(1, 15, 15)[0]
    assert np.array_equal(data.Rotation((90, 90))(picture), np.rot90(picture))
    assert np.array_equal(data.Rotation((0, 0))(picture), picture)
    turned = data.Rotation((25, 25))(np.full((31, 31, 1), 200, np.uint8))
    assert turned[15, 15, 0] == 200 and turned[0, 0, 0] == 0
    smooth = np.asarray(Image.fromarray(pictures(1, 4, 4)[0]).resize((40, 40), Image.Resampling.BICUBIC))
    pillows = np.asarray(Image.fromarray(smooth).rotate(25, Image.Resampling.BILINEAR))
    assert np.abs(pillows[10:30, 10:30].astype(int) - data.Rotation((25, 25))(smooth)[10:30, 10:30]).max() <= 2
    shifted = data.Affine(translate=0.5)(np.full((100, 10, 10, 1), 255, np.uint8), 0)
    assert (shifted.mean((1, 2, 3)) >= 0.24 * 255).all() and shifted.mean() < 0.8 * 255
    larger = data.Affine(scale=(2, 2))(np.pad(np.full((5, 5), 255, np.uint8), 8))
    assert abs(larger.sum() / 255 - 100) < 1


def test_jitter_moves_what_it_says() -> None:
    batch = pictures(1, 30, 30)
    assert np.array_equal(data.ColorJitter()(batch), batch)
    half = data.ColorJitter(brightness=(0.5, 0.5))(batch)
    assert np.abs(half - batch / 2).max() <= 0.51
    grey = data.ColorJitter(saturation=(0, 0))(batch)
    assert np.abs(grey - data.to_channels(batch, 1).astype(int)).max() <= 1
    flat = data.ColorJitter(contrast=(0, 0))(batch)
    assert np.ptp(flat) <= 0 and abs(int(flat.flat[0]) - data.to_channels(batch, 1).mean()) <= 1
    red = np.zeros((2, 2, 3), np.uint8) + np.array([120, 60, 60], np.uint8)
    turned = data.ColorJitter(hue=(1 / 3, 1 / 3))(red)[0, 0].astype(int)
    assert turned.argmax() != 0 and abs(turned @ [0.299, 0.587, 0.114] - red[0, 0] @ [0.299, 0.587, 0.114]) < 1.5
    rgba = np.dstack([batch[0], np.full((30, 30), 9, np.uint8)])
    assert (data.ColorJitter(0.5)(rgba)[:, :, 3] == 9).all()


def test_resized_crop_keeps_to_its_bounds() -> None:
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, None, :, None], (100, 64, 1, 1))
    parts = data.RandomResizedCrop(16, scale=(0.25, 0.25), ratio=(1, 1))(ramp, 0)[:, 0, :, 0].astype(int)
    spans = parts[:, -1] - parts[:, 0]
    assert np.abs(spans - 255 / 2 * 15 / 16).max() < 8 and np.ptp(parts[:, 0]) > 60


@pytest.mark.parametrize("name", data.AUGMENTATIONS)
def test_usual_augmentations(name: str) -> None:
    transform = data.augmentation(name, 16)
    assert transform is None or transform(pictures(4, 16, 16), 1).shape == (4, 16, 16, 3)


# --- mixes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mix", [data.Mixup(0.4), data.CutMix(1.0), data.Mixup(1.0, p=0.5)])
def test_mixes_mix_labels_as_pictures(mix: data.Mix) -> None:
    assert data.Mix.from_json(json.loads(json.dumps(mix.to_json()))) == mix
    labels = np.arange(8)
    # Picture i is full of one-hot i in its channels, so its mean must be its shares.
    images = np.broadcast_to(np.eye(8, dtype=np.float32)[:, None, None, :], (8, 12, 10, 8)).transpose(0, 3, 1, 2)
    for seed in range(20):
        mixed, shares = mix(images, labels, 8, batch_generator(seed, 0, 0))
        assert mixed.shape == images.shape and shares.dtype == mixed.dtype == np.float32
        assert np.allclose(shares.sum(1), 1) and np.allclose(mixed.mean((2, 3)), shares, atol=1e-6)
    with pytest.raises(data.DataError, match="'Blend' is not known"):
        data.Mix.from_json({"type": "Blend"})


# --- preprocessing -------------------------------------------------------------------------------------------------


def test_normalization_and_back() -> None:
    batch = pictures(4, 6, 5)
    mean, std = (0.2, 0.5, 0.7), (0.3, 0.2, 0.1)
    prepare = data.Preprocessing(mean=mean, std=std)
    x = prepare(batch)
    want = ((batch / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert x.shape == (4, 3, 6, 5) and x.dtype == np.float32 and np.allclose(x, want, atol=1e-5)
    assert np.shares_memory(cool.from_numpy(x).numpy(), x), "the engine takes the batch as it lies"
    assert np.array_equal(prepare.denormalize(x), batch)
    blue = data.Preprocessing(mean=(104, 117, 123), std=(1, 1, 1), scale=1, order="bgr", channels=3)
    assert np.allclose(blue(batch)[:, 0], batch[..., 2] - 104.0) and np.array_equal(
        blue.denormalize(blue(batch)), batch
    )


def test_one_number_stands_for_all_channels() -> None:
    batch = pictures(2)
    x = data.Preprocessing(mean=0.5, std=0.5)(batch)  # type: ignore[arg-type]
    assert np.allclose(x, (batch.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.5, atol=1e-6)
    with pytest.raises(data.DataError, match="2 channels, the pictures have 3"):
        data.Preprocessing(mean=(0, 0), std=(1, 1))(batch)


def test_pictures_of_any_kind_and_size(tmp_path: object) -> None:
    path = f"{tmp_path}/a.png"
    Image.new("L", (40, 20), 99).save(path)
    prepare = data.Preprocessing(size=(8, 10), channels=3)
    x = prepare([path, np.full((30, 30), 99, np.uint8), np.full((5, 50, 4), 99, np.uint8)])
    assert x.shape == (3, 3, 8, 10) and np.allclose(x, 99 / 255)
    assert prepare(path).shape == (1, 3, 8, 10)
    with pytest.raises(data.DataError, match="do not fit into one batch"):
        data.Preprocessing()([pictures(1)[0], pictures(1, 5, 5)[0]])
    with pytest.raises(data.DataError, match="no pictures"):
        prepare([])
    with pytest.raises(data.DataError, match=r"not \(3,\)"):
        prepare(np.zeros(3, np.uint8))


def test_preprocessing_of_a_data_set() -> None:
    of = data.Preprocessing.of(data.ArrayDataset(pictures(40), np.zeros(40, int)))
    assert of.size == (18, 22) and of.channels == 3 and np.allclose(of.mean, 0.5, atol=0.02)
    floats = data.Preprocessing.of(data.ArrayDataset(np.ones((4, 6, 6)), [0] * 4), size=(3, 3))
    assert floats.scale == 1 and floats.size == (3, 3) and floats.mean == (1.0,)
    assert data.Preprocessing.from_json(json.loads(json.dumps(of.to_json()))) == of
    with pytest.raises(data.DataError, match="no field 'colour'"):
        data.Preprocessing.from_json({"colour": 1})
