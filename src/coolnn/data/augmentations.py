"""Usual augmentations by name."""

from __future__ import annotations

from .errors import DataError
from .transforms import Compose, HorizontalFlip, RandomCrop, RandomErasing, RandomResizedCrop, Transform, pair
from .warp import Affine, ColorJitter

AUGMENTATIONS = ("none", "digits", "small", "photos")


def augmentation(name: str, size: int | tuple[int, int] | None = None) -> Transform | None:
    """A usual augmentation by name; `size` is that of the pictures for the network, where the name needs it.

    none; digits: small shifts, turns, scalings and slants; small: mirrored and shifted by up to an eighth (as for
    CIFAR-10); photos: random resized crops, mirrored, colours varied, rectangles erased. Raises DataError for another
    name.

    >>> import coolnn as cool
    >>> cool.data.augmentation("digits")
    Affine(degrees=10.0, translate=0.07, scale=(0.9, 1.1), shear=5.0, fill=0, border='constant')
    """
    if name == "none":
        return None
    if name == "digits":
        return Affine(degrees=10.0, translate=0.07, scale=(0.9, 1.1), shear=5.0)
    if name not in ("small", "photos"):
        raise DataError(f"augmentation {name!r} is not known; choose one of: {', '.join(AUGMENTATIONS)}")
    if size is None:
        raise DataError(f"augmentation {name!r} needs the size of the pictures for the network, e.g. size=32")
    if name == "small":
        return Compose((RandomCrop(size, padding=max(1, min(pair(size)) // 8), mode="reflect"), HorizontalFlip()))
    crop = RandomResizedCrop(size, scale=(0.35, 1.0))
    return Compose((crop, HorizontalFlip(), ColorJitter(0.4, 0.4, 0.4, 0.05), RandomErasing(0.5)))
