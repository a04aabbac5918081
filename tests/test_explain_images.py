"""Colour maps, overlays and sheets: what they promise of every pixel."""

import io

import numpy as np
import pytest
from PIL import Image

from coolnn.explain import images


def oklab(rgb):
    """sRGB 0..255 as Oklab, by inverting the matrices of its definition."""
    encoded = np.asarray(rgb) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    from_cones = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(linear @ to_cones.T) @ from_cones.T


def test_steps_of_the_colour_maps_look_equal_and_are_ordered_in_grey():
    colours = oklab(images.palette("sequential"))
    steps = np.linalg.norm(colours[8:] - colours[:-8], axis=1)
    assert steps.max() / steps.min() < 1.25  # rounding to 8 bits alone makes some 10 %
    assert (np.diff(colours[:, 0]) > 0).all()
    colours = oklab(images.palette("diverging"))
    for arm in (colours[127::-1], colours[128:]):
        steps = np.linalg.norm(arm[8:] - arm[:-8], axis=1)
        assert steps.max() / steps.min() < 1.25
        assert (np.diff(arm[:, 0]) < 0).all()
    # as strong on one side as on the other: nothing looks larger for its sign
    assert np.abs(colours[127::-1, 0] - colours[128:, 0]).max() < 0.03
    with pytest.raises(ValueError, match="no colour map 'jet'; choose sequential or diverging"):
        images.palette("jet")


def test_a_map_is_normalised_with_zero_where_it_was():
    values = np.array([[-2.0, 0.0], [0.5, 1.0]])
    assert images.normalised(values, percentile=100).tolist() == [[-1, 0], [0.25, 0.5]]
    assert images.normalised(values, signed=False, percentile=100).tolist() == pytest.approx(
        np.array([[0, 2 / 3], [2.5 / 3, 1]])
    )
    assert images.normalised(np.full((3, 3), 7.0)).tolist() == np.zeros((3, 3)).tolist()
    assert images.normalised(np.array([[np.nan, np.inf, 1.0, 0.0]])).tolist() == [[0, 0, 1, 0]]
    lone = np.zeros((40, 40))
    lone[0, 0], lone[1, :] = 1000.0, 1.0
    assert images.normalised(lone)[1, 5] > 0.5  # one number does not hide all others
    with pytest.raises(ValueError, match=r"a map is an array \(height, width\), not \(2, 2, 3\)"):
        images.normalised(np.zeros((2, 2, 3)))


def test_zero_is_white_and_signs_have_their_colours():
    blue, white, red = images.coloured(np.array([[-1.0, 0.0, 1.0]]))[0].astype(int)
    assert white.min() > 245 and np.ptp(white) <= 2
    assert blue[2] > blue[0] + 60 and red[0] > red[2] + 60
    assert images.coloured(np.array([[0.0, 1.0]])).tolist() == images.palette()[[0, 255]][None].tolist()


def test_an_overlay_shows_the_picture_where_the_map_is_zero_and_the_colour_where_it_is_strong():
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    values = np.zeros((6, 8))
    values[1, 6] = 1.0
    found = images.overlay(photo, values)
    assert found.shape == photo.shape and found.dtype == np.uint8
    grey = found.astype(int)[40:]
    assert np.ptp(grey, axis=2).max() == 0  # far away it is the picture without colour
    luma = photo[40:] @ np.array([0.299, 0.587, 0.114])
    assert np.corrcoef(grey[:, :, 0].ravel(), luma.ravel())[0, 1] > 0.999
    away = np.abs(found.astype(int) - images.palette()[255]).sum(2)
    row, column = np.unravel_index(away.argmin(), away.shape)
    assert 10 <= row < 20 and 60 <= column < 70  # the cell's own place in the picture
    signed = images.overlay(np.full((6, 8), 128, np.uint8), np.tile([-1.0, 1.0], (6, 4)))
    assert signed[0, 0, 2] > signed[0, 0, 0] and signed[0, 1, 0] > signed[0, 1, 2]
    with pytest.raises(ValueError, match="strength is a share above 0 and up to 1, not 0"):
        images.overlay(photo, values, strength=0)


def test_pictures_of_all_kinds_become_rgb():
    assert images.picture(np.zeros((2, 3))).shape == (2, 3, 3)
    assert images.picture(np.full((2, 3, 1), 9, np.uint8)).tolist() == np.full((2, 3, 3), 9).tolist()
    assert images.picture(np.array([[[0.0, 0.5, 1.0, 0.3]]])).tolist() == [[[0, 128, 255]]]
    for wrong in (np.zeros(3), np.zeros((2, 2, 5)), np.zeros((0, 2, 3))):
        with pytest.raises(ValueError, match="a picture is an array"):
            images.picture(wrong)


def test_a_sheet_has_every_picture_where_it_belongs_and_labels_below():
    tiles = [np.full((4, 6, 3), 10 * i, np.uint8) for i in range(5)]
    found = images.sheet(tiles, 2, gap=2)
    assert found.shape == (2 + 3 * (4 + 2), 2 + 2 * (6 + 2), 3)
    for i, tile in enumerate(tiles):
        top, left = 2 + i // 2 * 6, 2 + i % 2 * 8
        assert (found[top : top + 4, left : left + 6] == tile).all()
    assert (found[14:18, 10:16] == 255).all()  # no sixth
    labelled = images.sheet(tiles, 2, ["a", "b", "c", "d", "e" * 50], gap=2, side=60)
    assert labelled.shape == (2 + 3 * (40 + 2 + 15), 2 + 2 * 62, 3)
    assert (labelled[43:57, 2:62] < 128).any() and (labelled[-15:, 64:] == 255).all()
    with pytest.raises(ValueError, match="5 pictures have 2 labels"):
        images.sheet(tiles, 2, ["a", "b"])
    with pytest.raises(ValueError, match="no pictures"):
        images.sheet([])
    with pytest.raises(ValueError, match="at least 1 column, not 0"):
        images.sheet(tiles, 0)


def test_small_pictures_grow_by_squares_and_png_keeps_every_pixel():
    tiny = np.random.default_rng(1).integers(0, 256, (3, 5, 3), np.uint8)
    assert (images.fitted(tiny, 50) == np.kron(tiny, np.ones((10, 10, 1), np.uint8))).all()
    assert images.fitted(np.zeros((200, 100, 3), np.uint8), 50).shape == (50, 25, 3)
    assert (np.array(Image.open(io.BytesIO(images.png(tiny)))) == tiny).all()


def test_numbers_below_pictures_are_short():
    assert [images.number(v) for v in (0, 0.012345, -3.14159, 999.4, 1234.5, 1e9)] == [
        "0",
        "0.0123",
        "-3.14",
        "999",
        "1234",
        "1e+09",
    ]
