"""Changes to pictures, at random or fixed, on whole batches.

A transform takes pictures (N, H, W, C) of one size and `Draws` (random numbers that belong to each sample), and gives
pictures (N, H', W', C) of the same type; what it does to a picture does not depend on the others in the batch.
Transforms are immutable values with a readable repr and a JSON form, so that a model file can say how its model was
trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from .draws import Draws
from .errors import DataError
from .image import Mode, Pixels, check_image, resampling, resize_image, to_channels, to_size

Range = float | tuple[float, float]


class Transform:
    """Base of all transforms: a frozen dataclass with a method `apply(images, draws)`."""

    _kinds: ClassVar[dict[str, type[Transform]]] = {}

    def __init_subclass__(cls) -> None:
        Transform._kinds[cls.__name__] = cls

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """Pictures (N, H, W, C) in and out; never writes into the pictures that it is given."""
        raise NotImplementedError(f"{type(self).__name__} needs a method apply(images, draws)")

    def __call__(self, images: Pixels, draws: Draws | int = 0) -> Pixels:
        """The transform of one picture (H, W, C) or (H, W), or of a batch (N, H, W, C); `draws` may be a seed."""
        single = images.ndim < 4
        batch = check_image(images)[None] if single else images
        changed = self.apply(batch, Draws(draws, count=len(batch)) if isinstance(draws, int) else draws)
        return changed[0] if single else changed

    def to_json(self) -> dict[str, Any]:
        """The transform as JSON values: its type and its fields."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {"type": type(self).__name__} | {name: _plain(value) for name, value in fields.items()}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Transform:
        """The transform of that JSON form; raises DataError for an unknown type or field.

        >>> import coolnn as cool
        >>> cool.data.Transform.from_json({"type": "HorizontalFlip", "p": 0.25})
        HorizontalFlip(p=0.25)
        """
        fields = {name: _restored(inner) for name, inner in value.items() if name != "type"}
        kind = Transform._kinds.get(str(value.get("type")))
        if kind is None:
            raise DataError(f"transform {value.get('type')!r} is not known; known are: {', '.join(Transform._kinds)}")
        try:
            return kind(**fields)
        except TypeError as error:
            raise DataError(f"{value} is no valid {kind.__name__}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Transform):
        return value.to_json()
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Transform.from_json(value)
    if isinstance(value, list | tuple):
        return tuple(_restored(inner) for inner in value)
    return value


def as_transform(value: Transform | Iterable[Transform] | None) -> Transform | None:
    """One transform of one, several or none."""
    if value is None or isinstance(value, Transform):
        return value
    return Compose(tuple(value))


def pair(size: int | tuple[int, int], what: str = "size") -> tuple[int, int]:
    """(height, width) of one number or two; raises DataError unless both are at least 1."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise DataError(f"{what} must be at least 1 pixel each way, not {size}")
    return int(height), int(width)


def _bounds(value: Range, centre: float, what: str, lowest: float = -np.inf) -> tuple[float, float]:
    low, high = (centre - value, centre + value) if isinstance(value, int | float) else value
    low = max(low, lowest) if isinstance(value, int | float) else low
    if not lowest <= low <= high:
        raise DataError(f"{what}={value} is no range; give one number or (low, high)")
    return float(low), float(high)


def _probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise DataError(f"a probability p lies from 0 to 1, not {p}")


@dataclass(frozen=True)
class Compose(Transform):
    """Several transforms, one after the other.

    >>> import coolnn as cool
    >>> cool.data.Compose((cool.data.Resize(32), cool.data.HorizontalFlip()))
    Compose(transforms=(Resize(size=32, interpolation='bilinear'), HorizontalFlip(p=0.5)))
    """

    transforms: tuple[Transform, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "transforms", tuple(self.transforms))
        for transform in self.transforms:
            if not isinstance(transform, Transform):
                raise DataError(f"{transform!r} is no transform; derive from coolnn.data.Transform")

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """Each in turn."""
        for transform in self.transforms:
            images = transform.apply(images, draws)
        return images


@dataclass(frozen=True)
class Resize(Transform):
    """Pictures at `size` (height, width), or with the shorter side at `size` if that is one number."""

    size: int | tuple[int, int]
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        pair(self.size)
        resampling(self.interpolation)

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """(N, H, W, C) to the new size."""
        if isinstance(self.size, int):
            h, w = images.shape[1:3]
            scale = self.size / min(h, w)
            size = max(1, round(h * scale)), max(1, round(w * scale))
        else:
            size = self.size
        return np.stack([resize_image(image, size, None, self.interpolation) for image in images])


@dataclass(frozen=True)
class ToSize(Transform):
    """Pictures at `size` (height, width), by cropping ("crop"), padding with `fill` ("fit") or "stretch"."""

    size: int | tuple[int, int]
    mode: Mode = "crop"
    fill: int = 0
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        pair(self.size)
        resampling(self.interpolation)
        if self.mode not in ("crop", "fit", "stretch"):
            raise DataError(f"mode {self.mode!r} is not known; choose crop, fit or stretch")

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """(N, H, W, C) to (N, *size, C)."""
        size = pair(self.size)
        if images.shape[1:3] == size:
            return images
        return np.stack([to_size(image, size, self.mode, self.fill, self.interpolation) for image in images])


@dataclass(frozen=True)
class CenterCrop(Transform):
    """The middle `size` (height, width); smaller pictures are padded with black."""

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        pair(self.size)

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """(N, H, W, C) to (N, *size, C)."""
        oh, ow = pair(self.size)
        images = _at_least(images, oh, ow)
        top, left = (images.shape[1] - oh) // 2, (images.shape[2] - ow) // 2
        return images[:, top : top + oh, left : left + ow]


def _at_least(images: Pixels, oh: int, ow: int) -> Pixels:
    h, w = images.shape[1:3]
    if h >= oh and w >= ow:
        return images
    dh, dw = max(oh - h, 0), max(ow - w, 0)
    return np.pad(images, ((0, 0), (dh // 2, dh - dh // 2), (dw // 2, dw - dw // 2), (0, 0)))


@dataclass(frozen=True)
class RandomCrop(Transform):
    """A part of `size` at a random place, after padding every side by `padding` pixels.

    mode: what is padded, "constant" (black), "reflect" or "edge". Pictures smaller than that are padded with black.
    """

    size: int | tuple[int, int]
    padding: int = 0
    mode: Literal["constant", "reflect", "edge"] = "constant"

    def __post_init__(self) -> None:
        pair(self.size)
        if self.padding < 0:
            raise DataError(f"padding must be 0 or more pixels, not {self.padding}")
        if self.mode not in ("constant", "reflect", "edge"):
            raise DataError(f"padding mode {self.mode!r} is not known; choose constant, reflect or edge")

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """(N, H, W, C) to (N, *size, C)."""
        oh, ow = pair(self.size)
        p = self.padding
        if p:
            images = np.pad(images, ((0, 0), (p, p), (p, p), (0, 0)), self.mode)
        images = _at_least(images, oh, ow)
        n, h, w, c = images.shape
        tops, lefts = draws.integers(0, h - oh + 1), draws.integers(0, w - ow + 1)
        out = np.empty((n, oh, ow, c), images.dtype)
        for i, (top, left) in enumerate(zip(tops.tolist(), lefts.tolist(), strict=True)):
            out[i] = images[i, top : top + oh, left : left + ow]
        return out


@dataclass(frozen=True)
class RandomResizedCrop(Transform):
    """A random part, of a share `scale` of the area and proportions `ratio` (width / height), brought to `size`.

    The usual augmentation of photographs (Szegedy et al., "Going deeper with convolutions", 2015).
    """

    size: int | tuple[int, int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        pair(self.size)
        resampling(self.interpolation)
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise DataError(f"scale must be two shares of the area, 0 < low <= high <= 1, not {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise DataError(f"ratio must be two proportions, 0 < low <= high, not {self.ratio}")

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """(N, H, W, C) to (N, *size, C)."""
        h, w = images.shape[1:3]
        area = draws.uniform(*self.scale) * (h * w)
        ratio = np.exp(draws.uniform(np.log(self.ratio[0]), np.log(self.ratio[1])))
        # What does not fit is cut, so that every picture takes the same number of draws.
        widths, heights = np.minimum(np.sqrt(area * ratio), w), np.minimum(np.sqrt(area / ratio), h)
        lefts, tops = draws.uniform() * (w - widths), draws.uniform() * (h - heights)
        boxes = np.stack([lefts, tops, np.minimum(lefts + widths, w), np.minimum(tops + heights, h)], axis=1)
        size = pair(self.size)
        parts = [
            resize_image(image, size, (box[0], box[1], box[2], box[3]), self.interpolation)
            for image, box in zip(images, boxes.tolist(), strict=True)
        ]
        return np.stack(parts)


@dataclass(frozen=True)
class HorizontalFlip(Transform):
    """Left and right swapped with probability `p`."""

    p: float = 0.5

    def __post_init__(self) -> None:
        _probability(self.p)

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """Shape unchanged."""
        flipped = draws.bernoulli(self.p)
        out = images.copy()
        out[flipped] = images[flipped, :, ::-1]
        return out


@dataclass(frozen=True)
class VerticalFlip(Transform):
    """Top and bottom swapped with probability `p`."""

    p: float = 0.5

    def __post_init__(self) -> None:
        _probability(self.p)

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """Shape unchanged."""
        flipped = draws.bernoulli(self.p)
        out = images.copy()
        out[flipped] = images[flipped, ::-1]
        return out


@dataclass(frozen=True)
class RandomApply(Transform):
    """Another transform, which must keep the size, with probability `p`."""

    transform: Transform
    p: float = 0.5

    def __post_init__(self) -> None:
        _probability(self.p)

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """Shape unchanged."""
        chosen = draws.bernoulli(self.p)
        changed = self.transform.apply(images, draws)
        if changed.shape != images.shape:
            raise DataError(f"RandomApply needs a transform that keeps the size, not {self.transform}")
        return np.where(chosen[:, None, None, None], changed, images)


@dataclass(frozen=True)
class Grayscale(Transform):
    """Luma (ITU-R 601) in 1 channel, or repeated in 3."""

    channels: Literal[1, 3] = 1

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """(N, H, W, C) to (N, H, W, channels)."""
        return to_channels(to_channels(images, 1), self.channels)


@dataclass(frozen=True)
class RandomErasing(Transform):
    """A rectangle overwritten with `fill`, with probability `p` (Zhong et al., 2017).

    scale: share of the picture's area; ratio: height / width. DeVries and Taylor's Cutout (2017) of half the side is
    `RandomErasing(p=1, scale=(0.25, 0.25), ratio=(1, 1))`, here wholly inside the picture.
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    fill: int = 0

    def __post_init__(self) -> None:
        _probability(self.p)
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise DataError(f"scale must be two shares of the area, 0 < low <= high <= 1, not {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise DataError(f"ratio must be two proportions, 0 < low <= high, not {self.ratio}")

    def apply(self, images: Pixels, draws: Draws) -> Pixels:
        """Shape unchanged."""
        h, w = images.shape[1:3]
        chosen = draws.bernoulli(self.p)
        area = draws.uniform(*self.scale) * (h * w)
        ratio = np.exp(draws.uniform(np.log(self.ratio[0]), np.log(self.ratio[1])))
        heights = np.clip(np.rint(np.sqrt(area * ratio)), 1, h).astype(np.int64)
        widths = np.clip(np.rint(np.sqrt(area / ratio)), 1, w).astype(np.int64)
        tops = (draws.uniform() * (h - heights + 1)).astype(np.int64)
        lefts = (draws.uniform() * (w - widths + 1)).astype(np.int64)
        out = images.copy()
        for i in np.flatnonzero(chosen):
            out[i, tops[i] : tops[i] + heights[i], lefts[i] : lefts[i] + widths[i]] = self.fill
        return out
