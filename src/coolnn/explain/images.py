"""Pictures of numbers: colour maps, overlays and contact sheets, all as uint8 arrays (height, width, 3)."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..files import write_bytes

Array = NDArray[Any]
Picture = NDArray[np.uint8]

#: "sequential": from dark (0) to light (1). "diverging": blue (-1) over white (0) to red (1).
ColourMap = Literal["sequential", "diverging"]

_STEPS = 256
#: Hue (degrees in Oklab) and share of the chroma that a screen can show, along each path of lightness.
_SEQUENTIAL = {
    "lightness": (0.13, 0.30, 0.50, 0.70, 0.95),
    "hue": (275, 300, 358, 410, 465),
    "chroma": (0.5, 0.8, 0.9, 0.9, 0.5),
}
_BLUE = {"lightness": (0.99, 0.72, 0.36), "hue": (255, 252, 262), "chroma": (0.0, 0.8, 0.85)}
_RED = {"lightness": (0.99, 0.72, 0.36), "hue": (40, 32, 24), "chroma": (0.0, 0.8, 0.95)}
_TEXT = 11  # pixels
_SOFT_EDGE = 99.5  # percentile of a map's values that is shown as the strongest colour: a lone peak hides nothing


# --- colours ---------------------------------------------------------------------------------------------------------


@cache
def palette(kind: ColourMap = "sequential") -> Picture:
    """The 256 colours of a colour map, uint8 (256, 3): steps that look equal, lightness that only rises or falls.

    Sampled at equal distances along a smooth path in Oklab (Ottosson 2020), a space in which distances are those that
    the eye sees; so the order of values is also seen in grey and by the colour-blind. Raises ValueError for an unknown
    kind.

    >>> import coolnn as cool
    >>> cool.explain.images.palette("diverging")[[0, 128, 255]].tolist()
    [[13, 54, 134], [252, 252, 252], [117, 9, 20]]
    """
    if kind == "sequential":
        return _rgb(_even(_path(_SEQUENTIAL), _STEPS))
    if kind == "diverging":
        half = _STEPS // 2
        return np.concatenate([_rgb(_even(_path(_BLUE), half + 1))[:0:-1], _rgb(_even(_path(_RED), half))])
    raise ValueError(f"there is no colour map {kind!r}; choose sequential or diverging")


def _path(anchors: Mapping[str, Sequence[float]]) -> Array:
    """A fine smooth path through anchor colours, Oklab (n, 3), inside what sRGB can show."""
    at = np.linspace(0, 1, 1024)
    knots = np.linspace(0, 1, len(anchors["hue"]))
    light, hue, chroma = (_smooth(at, knots, np.array(anchors[k])) for k in ("lightness", "hue", "chroma"))
    angle = np.radians(hue)
    direction = np.stack([np.cos(angle), np.sin(angle)], 1)
    low, high = np.zeros(len(at)), np.full(len(at), 0.4)
    for _ in range(24):  # the largest chroma that is still a colour of the screen
        middle = (low + high) / 2
        linear = _linear(np.column_stack([light, middle[:, None] * direction]))
        inside = ((linear >= -1e-6) & (linear <= 1 + 1e-6)).all(1)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    # The border has corners; a running mean of it does not, and stays inside within a step of the screen.
    width = 129
    border = np.convolve(np.pad(low, width // 2, mode="edge"), np.ones(width) / width, "valid")
    return np.column_stack([light, (np.minimum(border, low) * chroma)[:, None] * direction])


def _smooth(at: Array, knots: Array, values: Array) -> Array:
    """Through the values at the knots, with slopes that never overshoot (Fritsch and Carlson's monotone cubic)."""
    steps = np.diff(values) / np.diff(knots)
    slopes = np.concatenate([steps[:1], np.where(steps[1:] * steps[:-1] > 0, _harmonic(steps), 0), steps[-1:]])
    i = np.clip(np.searchsorted(knots, at, "right") - 1, 0, len(steps) - 1)
    width = np.diff(knots)[i]
    t = (at - knots[i]) / width
    bend, s = t * t * (3 - 2 * t), 1 - t
    curve: Array = values[i] * (1 - bend) + values[i + 1] * bend + width * t * s * (s * slopes[i] - t * slopes[i + 1])
    return curve


def _harmonic(steps: Array) -> Array:
    a, b = steps[:-1], steps[1:]
    mean: Array = 2 * a * b / np.where(a + b == 0, 1, a + b)
    return mean


def _even(path: Array, count: int) -> Array:
    """A path sampled at equal distances."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    return np.column_stack([np.interp(np.linspace(0, length[-1], count), length, axis) for axis in path.T])


def _linear(oklab: Array) -> Array:
    """Oklab (..., 3) as linear sRGB, by the matrices of its definition."""
    to_cones = np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    result: Array = (oklab @ to_cones.T) ** 3 @ to_rgb.T
    return result


def _rgb(oklab: Array) -> Picture:
    linear = np.clip(_linear(oklab), 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    rgb: Picture = np.rint(encoded * 255).astype(np.uint8)
    return rgb


# --- maps ------------------------------------------------------------------------------------------------------------


def normalised(values: Array, signed: bool | None = None, percentile: float = _SOFT_EDGE) -> Array:
    """A map (height, width) brought to 0..1, or to -1..1 with zero staying zero where it is signed; float32.

    signed: None to see whether any value is negative. percentile: of the magnitudes, becomes 1, and what is above it
    too. An unsigned map begins at its smallest value. A map that is constant becomes zeros, values that are not finite
    become zeros. Raises ValueError for what is no map.

    >>> import coolnn as cool, numpy as np
    >>> cool.explain.images.normalised(np.array([[-4.0, 0.0], [1.0, 2.0]]), percentile=100).tolist()
    [[-1.0, 0.0], [0.25, 0.5]]
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"a map is an array (height, width), not {array.shape}")
    array = np.where(np.isfinite(array), array, 0)
    if signed is None:
        signed = bool((array < 0).any())
    if not signed:
        array = array - array.min()
    peak = float(np.percentile(np.abs(array), percentile)) or float(np.abs(array).max())
    low = -1.0 if signed else 0.0
    return np.clip(array / (peak or 1.0), low, 1.0).astype(np.float32)


def coloured(values: Array, kind: ColourMap | None = None) -> Picture:
    """A normalised map in colours: 0..1 in the sequential colour map, -1..1 in the diverging one; any shape, plus 3.

    kind: None to take the diverging one where any value is negative.

    >>> import coolnn as cool, numpy as np
    >>> cool.explain.images.coloured(np.zeros((5, 7))).shape
    (5, 7, 3)
    """
    array = np.asarray(values, np.float64)
    if kind is None:
        kind = "diverging" if (array < 0).any() else "sequential"
    # In the diverging one zero has a colour of its own, in the middle.
    scale, zero = (np.where(array < 0, 128, 127), 128) if kind == "diverging" else (np.array(255), 0)
    index = zero + np.rint(array * scale)
    picked: Picture = palette(kind)[np.clip(index, 0, 255).astype(int)]
    return picked


def picture(image: Array) -> Picture:
    """A picture as uint8 (height, width, 3): uint8 or float 0..1; grey, colour or with alpha (which is left out).

    Raises ValueError for what is no picture.
    """
    array: Array = np.asarray(image)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        raise ValueError(f"a picture is an array (height, width, channels) of 1 to 4 channels, not {array.shape}")
    if array.dtype != np.uint8:
        array = np.rint(np.clip(np.nan_to_num(array.astype(np.float64)), 0, 1) * 255).astype(np.uint8)
    return np.repeat(array[:, :, :1], 3, axis=2) if array.shape[2] < 3 else np.ascontiguousarray(array[:, :, :3])


def resized(image: Array, size: tuple[int, int], smooth: bool = True) -> Picture:
    """A picture at another size (height, width): smoothly, or as visible squares when it is enlarged."""
    whole = picture(image)
    if whole.shape[:2] == tuple(size):
        return whole
    enlarged = size[0] >= whole.shape[0] and size[1] >= whole.shape[1]
    method = Image.Resampling.BICUBIC if enlarged else Image.Resampling.LANCZOS
    if enlarged and not smooth:
        method = Image.Resampling.NEAREST
    return np.array(Image.fromarray(whole).resize((size[1], size[0]), method))


def spread(values: Array, size: tuple[int, int]) -> Array:
    """A map (h, w) at another size (height, width): smoothly, each cell around the place where it belongs."""
    array = np.asarray(values, np.float32)
    if array.shape == tuple(size):
        return array
    smooth = Image.fromarray(array).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    found: Array = np.clip(np.asarray(smooth), array.min(), array.max())  # a cubic overshoots
    return found


def overlay(image: Array, values: Array, strength: float = 0.8, signed: bool | None = None) -> Picture:
    """A map of any resolution on top of a picture: the picture in grey, the map as colour where it is strong.

    The map is normalised and brought to the picture's size; colours are those of `coloured`, and as opaque as the value
    is large, up to `strength`. Raises ValueError for what is no picture or no map.

    >>> import coolnn as cool, numpy as np
    >>> cool.explain.images.overlay(np.zeros((64, 48, 3), np.uint8), np.eye(7)).shape
    (64, 48, 3)
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength is a share above 0 and up to 1, not {strength}")
    whole = picture(image)
    level = spread(normalised(values, signed), (whole.shape[0], whole.shape[1]))
    kind: ColourMap = "diverging" if signed or (level < 0).any() else "sequential"
    colour = coloured(level, kind).astype(np.float32)
    grey: Array = whole @ np.array([0.299, 0.587, 0.114], np.float32)
    grey = 40 + grey * (190 / 255)  # neither black nor white: both ends of the colours stand out from it
    opacity = (strength * (np.abs(level) if kind == "diverging" else np.sqrt(level)))[:, :, None]
    return np.rint(grey[:, :, None] * (1 - opacity) + colour * opacity).astype(np.uint8)


# --- sheets ----------------------------------------------------------------------------------------------------------


def sheet(
    pictures: Sequence[Array],
    columns: int | None = None,
    labels: Sequence[str] = (),
    *,
    gap: int = 4,
    side: int | None = None,
    paper: tuple[int, int, int] = (255, 255, 255),
) -> Picture:
    """Pictures in rows of `columns` (None: about square), each with its label below; labels that are too long end in ….

    side: the longer side that each is brought to, small ones as visible squares; None to leave sizes. Raises ValueError
    for no pictures, or labels that are not as many.

    >>> import coolnn as cool, numpy as np
    >>> cool.explain.images.sheet([np.zeros((8, 8))] * 6, columns=3, gap=1).shape
    (19, 28, 3)
    """
    if not len(pictures):
        raise ValueError("there are no pictures to put on a sheet")
    if labels and len(labels) != len(pictures):
        raise ValueError(f"{len(pictures)} pictures have {len(labels)} labels; give as many, or none")
    if columns is not None and columns < 1:
        raise ValueError(f"a sheet has at least 1 column, not {columns}")
    tiles = [picture(p) if side is None else fitted(p, side) for p in pictures]
    columns = min(columns or math.ceil(math.sqrt(len(tiles))), len(tiles))
    width = max(tile.shape[1] for tile in tiles)
    heights = [max(t.shape[0] for t in tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    font = ImageFont.load_default(_TEXT)
    line = _TEXT + 4 if labels else 0
    size = (columns * (width + gap) + gap, sum(heights) + len(heights) * (gap + line) + gap)
    whole = Image.new("RGB", size, paper)
    draw = ImageDraw.Draw(whole)
    ink = (29, 35, 48) if sum(paper) > 3 * 128 else (232, 234, 240)
    for i, tile in enumerate(tiles):
        row, height = i // columns, heights[i // columns]
        left, top = gap + i % columns * (width + gap), gap + sum(heights[:row]) + row * (gap + line)
        whole.paste(Image.fromarray(tile), (left + (width - tile.shape[1]) // 2, top + (height - tile.shape[0]) // 2))
        if labels:
            text = _cut(labels[i], lambda text: draw.textlength(text, font=font), width)
            place = (left + (width - draw.textlength(text, font=font)) / 2, top + height)
            draw.text(place, text, fill=ink, font=font)
    return np.array(whole)


def fitted(image: Array, side: int) -> Picture:
    """A picture enlarged (by whole squares where it is tiny) or reduced until its longer side is `side`."""
    whole = picture(image)
    scale = side / max(whole.shape[:2])
    size = (max(1, round(whole.shape[0] * scale)), max(1, round(whole.shape[1] * scale)))
    return resized(whole, size, smooth=max(whole.shape[:2]) > 32)


def _cut(text: str, length: Any, width: float) -> str:
    """A text that is at most so wide, its end left out for it."""
    if length(text) <= width:
        return text
    while text and length(text + "…") > width:
        text = text[:-1]
    return text + "…"


@dataclass(frozen=True)
class Pictures:
    """Pictures that belong together, each with a label; in a notebook they are shown as one sheet.

    title: what they are; note: how they were made, and what they do not show; columns, side: of their sheet.
    """

    pictures: Sequence[Picture]
    labels: Sequence[str]
    title: str
    note: str = ""
    columns: int | None = None
    side: int | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def sheet(self, columns: int | None = None, side: int | None = None) -> Picture:
        """All of them on one picture, see `sheet`."""
        return sheet(self.pictures, columns or self.columns, self.labels, side=side or self.side)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the sheet as a PNG file, atomically."""
        write_bytes(path, png(self.sheet()))

    def figure(self) -> Any:
        """The sheet as a matplotlib figure. Raises ImportError, with the remedy, where matplotlib is not installed."""
        return figure(self.sheet(), self.title)

    def _repr_png_(self) -> bytes:
        return png(self.sheet())


def figure(image: Array, title: str = "") -> Any:
    """A picture as a matplotlib figure of its own size. Raises ImportError where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install 'coolnn[plots]'; save() needs nothing") from error
    whole = picture(image)
    height, width = whole.shape[0] / 100, whole.shape[1] / 100
    top = 0.4 if title else 0.0
    made = Figure(figsize=(width, height + top), dpi=100)
    axes = made.add_axes((0, 0, 1, height / (height + top)))
    axes.imshow(whole, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    if title:
        axes.set_title(title)
    return made


def number(value: float) -> str:
    """A value as it stands below a picture: three digits, large ones whole."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def png(image: Array) -> bytes:
    """A picture as the bytes of a PNG file: every pixel as it is."""
    buffer = io.BytesIO()
    Image.fromarray(picture(image)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def jpeg(image: Array, quality: int = 88) -> bytes:
    """A picture as the bytes of a JPEG file: a tenth of a PNG's, for photographs."""
    buffer = io.BytesIO()
    Image.fromarray(picture(image)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
