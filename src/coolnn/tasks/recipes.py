"""What works well for which pictures: the defaults of `cool train`, chosen on validation splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..train import Settings


@dataclass(frozen=True)
class Recipe:
    """A network, the pictures it is given, and how it is trained."""

    model: str
    size: int | None  # None: that of the network
    settings: Settings
    augment: str | None = None
    #: Share of the training pictures kept for validation; 0: the network of the last epoch is the result.
    val: float = 0.1


# LeNet-5 does better with momentum than with AdamW, on the digits' validation splits (docs/training.md).
_SGD: dict[str, Any] = {"optimizer": "sgd", "lr": 0.05, "weight_decay": 5e-4}

RECIPES = {
    # Handwriting: small shifts, turns, scalings and slants make new digits; a mirror image would not be one.
    "digits": Recipe("lenet5", 28, Settings(epochs=40, batch_size=32, **_SGD), "digits", val=0.0),
    "mnist": Recipe("lenet5", 28, Settings(epochs=12, batch_size=64, label_smoothing=0.1, **_SGD), "digits", val=0.05),
    "fashion-mnist": Recipe("lenet5", 28, Settings(epochs=15, batch_size=128, lr=4e-3), "small"),
    "cifar10": Recipe("small_resnet", 32, Settings(epochs=20, batch_size=128, lr=4e-3, weight_decay=5e-2), "small"),
    "cats64": Recipe(
        "tiny_vgg",
        64,
        Settings(epochs=120, batch_size=32, lr=4e-3, weight_decay=5e-2, label_smoothing=0.1, ema=0.98),
        "photos",
        val=0.0,
    ),
}

#: For a folder of pictures of one's own; the augmentation then depends on their size.
OWN_PICTURES = Recipe("small_resnet", 64, Settings(epochs=30, batch_size=32, lr=3e-3, weight_decay=5e-2))


#: For networks that begin with weights from elsewhere.
FINE_TUNING = Recipe(
    "efficientnet_lite0",
    None,
    Settings(epochs=12, batch_size=16, lr=3e-3, label_smoothing=0.1),
    "photos",
    val=0.0,
)


def recipe_for(name: str, fine_tuning: bool = False) -> Recipe:
    """The recipe of a named data set, or the one for pictures of one's own, or that for weights from elsewhere."""
    return FINE_TUNING if fine_tuning else RECIPES.get(name, OWN_PICTURES)
