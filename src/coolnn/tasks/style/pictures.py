"""Pictures in and out: reading with checks, sizes, colours, writing whole files."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...data import read_image, resize_image, to_channels
from ...data.errors import DataError
from ...data.image import check_image
from ...files import write_bytes

Array = np.ndarray[Any, np.dtype[Any]]
Picture = str | os.PathLike[str] | Array

#: Sides of pictures: below, VGG's fifth stage sees nothing; above, no index fits.
SMALLEST, LARGEST = 32, 32768
#: Formats that pictures are written in, by the end of the file's name.
FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}


def read(source: Picture, what: str = "the picture") -> Array:
    """A picture from a file or an array as uint8 (H, W, 3): grey is repeated, see-through parts come on white, 16 bits
    become 8. Raises ImageError for what cannot be read, DataError for less than 32 pixels."""
    if isinstance(source, np.ndarray):
        image, name = to_channels(check_image(source, what), 3), what
        if image.dtype != np.uint8:
            raise DataError(f"{what} must be an array of uint8 from 0 to 255, not {image.dtype}")
    else:
        image, name = read_image(source, 3), os.fspath(source)
    if min(image.shape[:2]) < SMALLEST:
        h, w = image.shape[:2]
        raise DataError(f"{name} has {w}×{h} pixels; both sides must have {SMALLEST} or more")
    return image


def read_mask(source: Picture, size: tuple[int, int]) -> Array:
    """A mask from a picture: weights 0 (black) to 1 (white), float32 (H, W), at this size.

    Raises ImageError for what cannot be read, DataError for a mask without any white.
    """
    image = to_channels(check_image(source), 1) if isinstance(source, np.ndarray) else read_image(source, 1)
    mask = resize_image(np.asarray(image, np.uint8), size)[:, :, 0].astype(np.float32) / 255
    if not mask.max() > 0:
        name = "the mask" if isinstance(source, np.ndarray) else os.fspath(source)
        raise DataError(f"{name} is black everywhere; white marks where a style goes")
    return mask


def scaled(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """Height and width with the longer side at `longer`, proportions kept."""
    factor = longer / max(size)
    return max(SMALLEST, round(size[0] * factor)), max(SMALLEST, round(size[1] * factor))


def longer_side(image: Array, longer: int) -> Array:
    """A picture with its longer side at `longer`."""
    return resize(image, scaled(image.shape[:2], longer))


def resize(image: Array, size: tuple[int, int]) -> Array:
    """A picture at another size, sharp."""
    return np.asarray(resize_image(image, size, None, "lanczos" if image.dtype == np.uint8 else "bicubic"))


def whole_blocks(image: Array, block: int) -> Array:
    """A picture mirrored at its right and lower edge so that its sides are multiples of `block`."""
    h, w = image.shape[:2]
    if h % block == 0 and w % block == 0:
        return image
    return np.pad(image, ((0, -h % block), (0, -w % block), (0, 0)), mode="symmetric")


def check_output(path: str | os.PathLike[str]) -> Path:
    """The file that a picture will be written to; raises ValueError for a kind that is not known, OSError if there is
    no folder to write it into."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: pictures are written as {', '.join(FORMATS)}, told by the end of the name")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    return path


def write(path: str | os.PathLike[str], image: Array) -> None:
    """Writes a picture uint8 (H, W, 3) atomically."""
    path = check_output(path)
    file = io.BytesIO()
    kind = FORMATS[path.suffix.lower()]
    Image.fromarray(image).save(file, kind, **({"quality": 93, "subsampling": 0} if kind == "JPEG" else {}))
    write_bytes(path, file.getvalue())
