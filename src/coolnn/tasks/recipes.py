"""What works well for which pictures: the defaults of `cool train`, chosen on validation splits, never on a test set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import data
from ..train import Settings


@dataclass(frozen=True)
class Recipe:
    """A network, the pictures it is given, and how it is trained."""

    model: str
    size: int
    settings: Settings
    augment: str = "light"
    channels: int = 3


RECIPES = {
    # Handwriting: small shifts, turns and scalings make new digits; a mirror image would not be one.
    "digits": Recipe("lenet5", 28, Settings(epochs=12, batch_size=64, lr=4e-3), augment="shift", channels=1),
    "mnist": Recipe("lenet5", 28, Settings(epochs=12, batch_size=128, lr=4e-3), augment="shift", channels=1),
    "fashion-mnist": Recipe("lenet5", 28, Settings(epochs=15, batch_size=128, lr=4e-3), channels=1),
    "cifar10": Recipe("small_resnet", 32, Settings(epochs=20, batch_size=128, lr=4e-3, weight_decay=5e-2)),
    "cats64": Recipe(
        "small_vgg", 64, Settings(epochs=60, batch_size=32, lr=2e-3, weight_decay=5e-2, mixup=0.2, ema=0.98), "strong"
    ),
}

#: For a folder of pictures of one's own.
OWN_PICTURES = Recipe("small_resnet", 64, Settings(epochs=30, batch_size=32, lr=3e-3, weight_decay=5e-2), "light")


def recipe_for(name: str) -> Recipe:
    """The recipe of a named data set, or the one for pictures of one's own."""
    return RECIPES.get(name, OWN_PICTURES)


def augmentation(kind: str, size: int) -> list[Any]:
    """The random changes of training pictures that a name stands for: none, shift, light or strong."""
    if kind == "none":
        return []
    if kind == "shift":  # for handwriting and print: no mirror image, no colours
        return [data.RandomAffine(degrees=10, translate=0.08, scale=(0.9, 1.1))]
    if kind == "light":
        return [data.HorizontalFlip(), data.RandomCrop(size, padding=max(2, size // 8), mode="reflect")]
    if kind == "strong":
        return [
            data.HorizontalFlip(),
            data.RandomAffine(degrees=12, translate=0.1, scale=(0.85, 1.2)),
            data.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03),
            data.RandomErasing(0.25),
        ]
    raise ValueError(f"there is no augmentation '{kind}'; choose none, shift, light or strong")
