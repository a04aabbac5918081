"""What is done to every picture between the file and the network, the same in training and in use."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset
from .errors import DataError
from .image import Mode, Pixels, Source, check_image, read_image, resampling, to_channels, to_size
from .statistics import mean_std

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Size, channels and scale of the pictures that a network takes: (pixel * scale - mean) / std, by channel.

    size: (height, width), None to leave it; mode and keep: how that size is reached, see `to_size`; channels: 1 or 3,
    None to leave them; scale: 1/255 for pixels 0..255 (pictures of floats are multiplied too, so use 1 for those);
    order: "bgr" for networks that want blue first, mean and std then in that order too. Raises DataError for values
    that do not fit together.

    >>> import coolnn as cool, numpy as np
    >>> prepare = cool.data.Preprocessing(size=(32, 32), channels=3, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    >>> x = prepare(np.full((64, 48), 255, np.uint8))
    >>> x.shape, float(x.max())
    ((1, 3, 32, 32), 2.0)
    >>> cool.data.Preprocessing.from_json(prepare.to_json()) == prepare
    True
    """

    size: tuple[int, int] | None = None
    mode: Mode = "crop"
    channels: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1 / 255
    keep: float = 1.0
    fill: int = 0
    interpolation: str = "bilinear"
    order: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self) -> None:
        for name in ("size", "mean", "std"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value) if isinstance(value, Sequence) else (value,))
        for name in ("mean", "std", "scale", "keep"):
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, bool) or not isinstance(number, int | float):
                    raise DataError(f"{name} is a number or numbers, not {value!r}")
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise DataError(f"size is (height, width) in pixels, both at least 1, not {self.size}")
        if self.mode not in ("crop", "fit", "stretch"):
            raise DataError(f"mode {self.mode!r} is not known; choose crop, fit or stretch")
        if self.channels not in (None, 1, 3):
            raise DataError(f"a network takes pictures of 1 or 3 channels, not {self.channels}")
        if not 0 < self.keep <= 1:
            raise DataError(f"keep is the share of the picture that a crop leaves, above 0 to 1, not {self.keep}")
        if self.order not in ("rgb", "bgr"):
            raise DataError(f"order {self.order!r} is not known; choose rgb or bgr")
        if min(self.std) <= 0 or len(self.mean) != len(self.std):
            raise DataError(f"mean {self.mean} and std {self.std} must be as many, and each std above 0")
        if self.channels is not None and len(self.mean) not in (1, self.channels):
            raise DataError(f"{self.channels} channels need 1 or {self.channels} means, not {len(self.mean)}")
        resampling(self.interpolation)

    @staticmethod
    def of(dataset: Dataset, size: tuple[int, int] | None = None, mode: Mode = "crop") -> Preprocessing:
        """The preprocessing that suits a data set: its channels, mean and standard deviation measured, at `size`.

        Without `size` pictures keep theirs, and must then all have the same. Pictures of floats get scale 1.
        """
        first = dataset[0][0]
        mean, std = mean_std(dataset)
        if first.shape[2] == 4:
            mean, std = mean[:3], std[:3]
        return Preprocessing(
            size=size if size is not None else (first.shape[0], first.shape[1]),
            mode=mode,
            channels=1 if first.shape[2] < 3 else 3,
            mean=tuple(round(float(m), 4) for m in mean),
            std=tuple(max(round(float(s), 4), 1e-4) for s in std),
            scale=1 / 255 if first.dtype == np.uint8 else 1.0,
        )

    def prepare(self, images: Pixels) -> Pixels:
        """Pictures (N, H, W, C) or one (H, W, C), at the size and with the channels that the network takes."""
        if self.channels is not None:
            images = to_channels(images, self.channels)
        if self.size is None or images.shape[-3:-1] == self.size:
            return images
        if images.ndim == 3:
            return to_size(images, self.size, self.mode, self.fill, self.interpolation, self.keep)
        return np.stack([self.prepare(image) for image in images])

    def normalize(self, images: Pixels) -> NDArray[np.float32]:
        """Prepared pictures (N, H, W, C) as float32 (N, C, H, W), channels-last in memory."""
        n, h, w, c = images.shape
        if len(self.mean) not in (1, c):
            raise DataError(f"mean and std are for {len(self.mean)} channels, the pictures have {c}")
        if self.order == "bgr":
            images = images[..., ::-1]
        # One row of pixels at a time, so that NumPy's inner loop is long although C is small.
        factor, offset = (np.broadcast_to(v, (w, c)).reshape(w * c) for v in self._factor_offset())
        out = np.multiply(images.reshape(n * h, w * c), factor, dtype=np.float32)
        out += offset
        return out.reshape(n, h, w, c).transpose(0, 3, 1, 2)

    def denormalize(self, x: NDArray[Any]) -> NDArray[np.uint8]:
        """A batch (N, C, H, W) back to pictures uint8 (N, H, W, C), for showing."""
        factor, offset = self._factor_offset()
        pixels = (np.asarray(x, np.float32).transpose(0, 2, 3, 1) - offset) / factor
        if self.order == "bgr":
            pixels = pixels[..., ::-1]
        if self.scale == 1 and max(self.mean) <= 1:
            pixels = pixels * 255  # pictures of floats, taken to lie in 0..1
        return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)

    def _factor_offset(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        mean, std = np.array(self.mean), np.array(self.std)
        return (self.scale / std).astype(np.float32), (-mean / std).astype(np.float32)

    def read(self, source: Source) -> Pixels:
        """A file's picture (or bytes), prepared, (H, W, C); raises ImageError."""
        return self.prepare(read_image(source, self.channels or 3))

    def __call__(self, images: Source | Pixels | Sequence[Source | Pixels]) -> NDArray[np.float32]:
        """One or several pictures (files or arrays), or a batch (N, H, W, C), as float32 (N, C, H, W)."""
        if isinstance(images, np.ndarray) and images.ndim == 4:
            return self.normalize(self.prepare(images))
        several: Sequence[Source | Pixels] = images if isinstance(images, list | tuple) else [cast(Pixels, images)]
        if not several:
            raise DataError("there are no pictures to prepare")
        return self.normalize(stack([self._ready(image) for image in several]))

    def _ready(self, image: Source | Pixels) -> Pixels:
        return self.prepare(check_image(image)) if isinstance(image, np.ndarray) else self.read(image)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Preprocessing:
        """The preprocessing of that JSON form; raises DataError for unknown fields."""
        known = {field.name for field in dataclasses.fields(Preprocessing)}
        if unknown := set(value) - known:
            raise DataError(f"preprocessing has no field {sorted(unknown)[0]!r}; it has: {', '.join(sorted(known))}")
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in value.items()}
        return Preprocessing(**fields)


def stack(images: Sequence[Pixels]) -> Pixels:
    """Pictures of one shape as one array (N, H, W, C); raises DataError if they differ."""
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise DataError(
            f"pictures of different shapes {shapes[0]} and {shapes[1]} do not fit into one batch; "
            "give a size and channels, e.g. Preprocessing(size=(128, 128), channels=3)"
        )
    return np.stack(images)
