"""Pictures: files to uint8 arrays (H, W, C), and changes of size and channels."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import DataError, ImageError

#: One picture (H, W, C) or a batch of them (N, H, W, C): uint8 0..255 as a rule, float32 where an array gave floats.
Pixels = NDArray[Any]
Mode = Literal["crop", "fit", "stretch"]
Source = str | os.PathLike[str] | bytes | BinaryIO

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".avif"}
)
INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def resampling(name: str) -> Image.Resampling:
    """Pillow's filter of that name; raises DataError for another."""
    if name not in INTERPOLATIONS:
        raise DataError(f"interpolation {name!r} is not known; choose one of: {', '.join(INTERPOLATIONS)}")
    return INTERPOLATIONS[name]


def describe_source(source: Source) -> str:
    """How messages name what a picture was read from."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", "the given bytes"))


def read_image(source: Source, channels: int | None = 3, min_side: int | None = None) -> NDArray[np.uint8]:
    """Reads a picture from a path, bytes or an open file as uint8 (H, W, channels).

    channels: 1 (grey), 3 (RGB), 4 (RGBA), or None for what the file has (1, 3 or 4). The camera's rotation (EXIF) is
    honoured, palettes are looked up, 16 bits become 8, see-through pixels come on white, of an animation the first
    frame. min_side: JPEG files are decoded at the smallest of the scales 1, 1/2, 1/4, 1/8 that keeps both sides at
    least this long, which is several times faster for photographs. Raises ImageError, naming the file.

    >>> import coolnn as cool, io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("L", (4, 2), 200).save(file, "PNG")
    >>> cool.data.read_image(file.getvalue()).shape
    (2, 4, 3)
    """
    if channels not in (None, 1, 3, 4):
        raise DataError(f"a picture has 1, 3 or 4 channels, not {channels}")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if min_side is not None and image.format == "JPEG":
                image.draft(None, (min_side, min_side))
            array = _pixels(_upright(image), channels, image.format or "")
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen types for damaged files
        raise ImageError(describe_source(source), _reason(source, error)) from error
    return array


def _reason(source: Source, error: Exception) -> str:
    """What is wrong with a file, in the words of Pillow where they say more than its name."""
    if source == b"" or (
        isinstance(source, str | os.PathLike) and os.path.isfile(source) and not os.path.getsize(source)
    ):
        return "it is empty"
    if isinstance(error, UnidentifiedImageError):
        return "its format is not known"
    return str(error) or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # damaged pixels are found here, before anything about rotation
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged EXIF block is no reason to lose the picture
        return image


def _pixels(image: Image.Image, channels: int | None, file_format: str) -> NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_to_8_bits(np.asarray(image), image.mode, file_format))
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "LA", "RGB", "RGBA", "P", "PA", "La", "RGBa"):
        image = image.convert("RGB")  # CMYK, YCbCr, LAB, HSV
    has_alpha = image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info
    if image.mode in ("P", "PA"):
        grey = _is_grey_palette(image)
        image = image.convert("RGBA" if has_alpha else "RGB")
    else:
        grey = image.mode in ("L", "LA", "La")
    if channels == 4 or (channels is None and has_alpha):
        return np.array(image.convert("RGBA"))
    if has_alpha:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba).convert("RGB")
    wanted = channels or (1 if grey else 3)
    array = np.array(image.convert("L" if wanted == 1 else "RGB"))
    return array[:, :, None] if array.ndim == 2 else array


def _is_grey_palette(image: Image.Image) -> bool:
    palette = np.asarray(image.getpalette("RGB") or [0, 0, 0], np.uint8).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _to_8_bits(values: Pixels, mode: str, file_format: str) -> NDArray[np.uint8]:
    """Wide numbers to 0..255: from the 16-bit range where the file has it, else from the smallest that holds."""
    if mode.startswith("I;16") or file_format in ("PNG", "PPM"):
        top = 65535.0
    else:
        highest = float(np.nanmax(values, initial=0.0))
        top = next((limit for limit in (1.0, 255.0, 65535.0) if highest <= limit), highest)
        top = 255.0 if mode == "I" and highest <= 1 else top
    scaled = np.nan_to_num(values.astype(np.float64)) * (255.0 / top)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def check_image(image: Pixels, what: str = "a picture") -> Pixels:
    """The picture as (H, W, C), C in 1..4; grey (H, W) gets a channel. Raises DataError for any other shape."""
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or not 1 <= array.shape[2] <= 4 or 0 in array.shape:
        raise DataError(f"{what} must be an array of shape (H, W, C) with 1 to 4 channels, not {array.shape}")
    return array


def to_channels(images: Pixels, channels: int) -> Pixels:
    """Pictures (..., C) with another number of channels: grey is repeated, colour becomes luma (ITU-R 601), alpha goes.

    >>> import coolnn as cool, numpy as np
    >>> cool.data.to_channels(np.full((2, 2, 3), 9, np.uint8), 1).tolist()
    [[[9], [9]], [[9], [9]]]
    """
    have = images.shape[-1]
    if have == channels:
        return images
    if have == 4 or have == 2:  # the last one is alpha
        return to_channels(images[..., :-1], channels)
    if channels == 1:
        if images.dtype != np.uint8:
            return cast(Pixels, images @ np.array([[0.299], [0.587], [0.114]], images.dtype))
        r, g, b = (images[..., i].astype(np.uint32) for i in range(3))
        return ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16).astype(np.uint8)[..., None]  # as Pillow's
    if channels == 3 and have == 1:
        return np.repeat(images, 3, axis=-1)
    raise DataError(f"cannot make {channels} channels of {have}; use 1 (grey) or 3 (RGB)")


def resize_image(
    image: Pixels,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
    interpolation: str = "bilinear",
) -> Pixels:
    """A picture (H, W, C) or the part of it in `box` = (left, top, right, bottom) at another size (height, width).

    Making smaller averages over all pixels (no aliasing).

    >>> import coolnn as cool, numpy as np
    >>> cool.data.resize_image(np.zeros((8, 8, 3), np.uint8), (4, 6)).shape
    (4, 6, 3)
    """
    h, w, c = image.shape
    if (h, w) == size and (box is None or box == (0, 0, w, h)):
        return image
    filter = resampling(interpolation)
    if image.dtype == np.uint8 and c in (1, 3):
        picture = Image.fromarray(image[:, :, 0] if c == 1 else np.ascontiguousarray(image))
        array = np.asarray(picture.resize((size[1], size[0]), filter, box))
        return array[:, :, None] if c == 1 else array
    kind = np.uint8 if image.dtype == np.uint8 else np.float32
    planes = [Image.fromarray(np.ascontiguousarray(image[:, :, i], kind)) for i in range(c)]
    return np.stack([np.asarray(p.resize((size[1], size[0]), filter, box)) for p in planes], axis=-1)


def to_size(
    image: Pixels,
    size: tuple[int, int],
    mode: Mode = "crop",
    fill: int = 0,
    interpolation: str = "bilinear",
    keep: float = 1.0,
) -> Pixels:
    """A picture (H, W, C) brought to `size` (height, width).

    mode: "crop" keeps the proportions and cuts what juts out at two sides evenly, "fit" keeps them and pads with
    `fill`, "stretch" does not keep them. keep: for "crop", the share of the picture's shorter side that stays (0.875 is
    the usual "resize to 256, crop 224").
    """
    h, w = image.shape[:2]
    oh, ow = size
    if mode == "stretch":
        return resize_image(image, size, None, interpolation)
    if mode == "crop":
        scale = min(h / oh, w / ow) * keep  # input pixels per output pixel
        top, left = (h - oh * scale) / 2, (w - ow * scale) / 2
        box = (max(left, 0.0), max(top, 0.0), min(left + ow * scale, float(w)), min(top + oh * scale, float(h)))
        return resize_image(image, size, box, interpolation)
    if mode != "fit":
        raise DataError(f"mode {mode!r} is not known; choose crop, fit or stretch")
    scale = max(h / oh, w / ow)
    ih, iw = max(1, min(oh, round(h / scale))), max(1, min(ow, round(w / scale)))
    inner = resize_image(image, (ih, iw), None, interpolation)
    if (ih, iw) == size:
        return inner
    out = np.full((oh, ow, image.shape[2]), fill, image.dtype)
    top, left = (oh - ih) // 2, (ow - iw) // 2
    out[top : top + ih, left : left + iw] = inner
    return out
