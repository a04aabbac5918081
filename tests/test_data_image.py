"""Reading picture files of every kind, and changing their size and channels."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from coolnn import data


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "color", "channels"),
    [
        ("1", 1, 1),
        ("L", 200, 1),
        ("P", 3, 3),
        ("RGB", (10, 20, 30), 3),
        ("RGBA", (10, 20, 30, 255), 4),
        ("LA", (10, 255), 4),
        ("CMYK", (0, 0, 0, 0), 3),
        ("I;16", 30000, 1),
    ],
)
def test_every_mode_is_read(mode: str, color: object, channels: int) -> None:
    image = Image.new(mode, (5, 3), color)  # type: ignore[arg-type]
    if mode == "P":
        image.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2, 10, 20, 30])
    raw = encoded(image, "TIFF" if mode in ("CMYK", "I;16") else "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = data.read_image(raw, None)
        assert found.shape == (3, 5, channels) and found.dtype == np.uint8
        for wanted in (1, 3, 4):
            assert data.read_image(raw, wanted).shape == (3, 5, wanted)


def test_sixteen_bits_become_eight() -> None:
    values = np.array([[0, 257 * 100], [65535, 257 * 7]], np.uint16)
    for kind in ("PNG", "TIFF"):
        found = data.read_image(encoded(Image.fromarray(values), kind), 1)[:, :, 0]
        assert found.tolist() == [[0, 100], [255, 7]]


@pytest.mark.parametrize(("top", "shown"), [(1.0, 255), (255.0, 255), (65535.0, 255), (1e6, 255)])
def test_floats_are_scaled_from_the_smallest_usual_range(top: float, shown: int) -> None:
    raw = encoded(Image.fromarray(np.array([[0, top]], np.float32)), "TIFF")
    assert data.read_image(raw, 1)[0, :, 0].tolist() == [0, shown]


def test_see_through_pixels_come_on_white() -> None:
    clear = encoded(Image.new("RGBA", (2, 2), (10, 0, 0, 0)))
    assert (data.read_image(clear, 3) == 255).all()
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    assert (data.read_image(encoded(palette, "PNG", transparency=1), 3) == 255).all()
    assert (data.read_image(encoded(palette, "GIF", transparency=1), 3) == 255).all()


def test_rotation_of_the_camera_is_honoured() -> None:
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[0, 0] = 255  # top left as stored
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise: top left comes to the top right
    found = data.read_image(encoded(Image.fromarray(pixels), "PNG", exif=exif))
    assert found.shape == (4, 2, 3)
    assert found[0, 1].tolist() == [255, 255, 255] and found.sum() == 3 * 255


def test_photographs_are_decoded_at_a_smaller_scale_if_asked() -> None:
    raw = encoded(Image.new("RGB", (400, 300), (200, 10, 10)), "JPEG")
    assert data.read_image(raw).shape == (300, 400, 3)
    assert data.read_image(raw, min_side=70).shape == (75, 100, 3)


@pytest.mark.parametrize("damage", [b"", b"no picture", None])
def test_damaged_files_are_named(tmp_path: Path, damage: bytes | None) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    path = tmp_path / "broken.png"
    path.write_bytes(encoded(noise)[:3000] if damage is None else damage)
    with pytest.raises(data.ImageError, match=r"broken\.png cannot be read"):
        data.read_image(path)


def test_a_missing_file_stays_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        data.read_image(tmp_path / "none.png")
    with pytest.raises(data.DataError, match="not 2"):
        data.read_image(b"", channels=2)


@settings(max_examples=40, deadline=None)
@given(
    raw=st.binary(max_size=200),
    head=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"\xff\xd8\xff", b"P6 2 2 255 "]),
)
def test_no_bytes_end_in_anything_but_a_picture_or_an_error(raw: bytes, head: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = data.read_image(head + raw)
        except data.ImageError:
            return
    assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3


def test_luma_is_pillows() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    assert np.array_equal(data.to_channels(pixels, 1)[:, :, 0], np.asarray(Image.fromarray(pixels).convert("L")))
    floats = data.to_channels(pixels.astype(np.float32), 1)
    assert np.abs(floats - data.to_channels(pixels, 1)).max() < 1
    with pytest.raises(data.DataError, match="cannot make 2 channels of 3"):
        data.to_channels(pixels, 2)


@settings(max_examples=60, deadline=None)
@given(
    h=st.integers(1, 40),
    w=st.integers(1, 40),
    oh=st.integers(1, 40),
    ow=st.integers(1, 40),
    mode=st.sampled_from(["crop", "fit", "stretch"]),
    channels=st.integers(1, 4),
    kind=st.sampled_from([np.uint8, np.float32]),
)
def test_to_size_gives_the_size_and_keeps_a_flat_picture(
    h: int, w: int, oh: int, ow: int, mode: str, channels: int, kind: type
) -> None:
    flat = np.full((h, w, channels), 77, kind)
    found = data.to_size(flat, (oh, ow), mode, fill=77)  # type: ignore[arg-type]
    assert found.shape == (oh, ow, channels) and found.dtype == kind
    assert np.abs(found.astype(float) - 77).max() < 1e-3


def test_crop_and_fit_keep_proportions() -> None:
    wide = np.zeros((10, 30, 1), np.uint8)
    wide[:, 10:20] = 255
    assert (data.to_size(wide, (10, 10), "crop", interpolation="nearest") == 255).all()
    fitted = data.to_size(wide, (30, 30), "fit", fill=9)
    assert (fitted[:10] == 9).all() and (fitted[20:] == 9).all() and (fitted[10:20, 10:20] == 255).all()
    kept = data.to_size(np.arange(8, dtype=np.uint8)[:, None, None].repeat(8, 1), (4, 4), "crop", keep=0.5)
    assert kept[:, 0, 0].tolist() == [2, 3, 4, 5]
    with pytest.raises(data.DataError, match="'cut' is not known"):
        data.to_size(wide, (4, 4), "cut")  # type: ignore[arg-type]
    with pytest.raises(data.DataError, match="'cubic' is not known"):
        data.resize_image(wide, (4, 4), interpolation="cubic")
