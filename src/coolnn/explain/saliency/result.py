"""A saliency map with all that belongs to it: what it explains, how it looks, and whether it means anything."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...files import atomic_writer
from .. import images
from .checks import Perturbation, Randomization, perturbation, randomization
from .target import Target

if TYPE_CHECKING:
    from .explainer import Explainer
    from .question import Question

Array = NDArray[np.float32]


@dataclass(frozen=True)
class SaliencyMap:
    """What in a picture one number of a network rests on.

    map: float32 (height, width) of the network's input, large where it matters; if `signed`, negative speaks against.
    raw: the attribution as the method defines it: (C, H, W) of gradients, (h, w) of a layer's map. picture: what the
    network saw, uint8 (height, width, 3). details: what the method has to say beside the map.

    >>> import coolnn as cool, numpy as np
    >>> picture = np.random.default_rng(0).integers(0, 255, (28, 28, 1), np.uint8)
    >>> found = cool.explain.saliency(cool.models.create("lenet5"), picture, "gradient", target=3)
    >>> found.map.shape, found.raw.shape, found.target.label
    ((28, 28), (1, 28, 28), '3')
    """

    method: str
    map: Array
    raw: Array
    target: Target
    picture: NDArray[np.uint8]
    signed: bool
    layer: str | None
    details: dict[str, Any]
    #: How it was made, so that it can be made again: the method's settings, by whom, and of what.
    settings: dict[str, Any]
    explainer: Explainer = field(repr=False)
    question: Question = field(repr=False)

    @property
    def peak(self) -> tuple[int, int]:
        """Row and column of the largest value."""
        row, column = np.unravel_index(int(np.argmax(self.map)), self.map.shape)
        return int(row), int(column)

    def overlay(self, strength: float = 0.8) -> NDArray[np.uint8]:
        """The map in colour on the picture in grey, uint8 (height, width, 3)."""
        return images.overlay(self.picture, self.map, strength, self.signed)

    def heat(self) -> NDArray[np.uint8]:
        """The map alone in colours, uint8 (height, width, 3)."""
        kind: images.ColourMap = "diverging" if self.signed else "sequential"
        return images.coloured(images.normalised(self.map, self.signed), kind)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the overlay as a picture file, or for ".npy" the map's numbers, atomically.

        Raises ValueError for a file name that ends in no known kind of picture.
        """
        suffix = Path(path).suffix.lower()
        kind = Image.registered_extensions().get(suffix)
        if suffix != ".npy" and kind not in Image.SAVE:
            raise ValueError(
                f"{path}: the name must end in .png, .jpg, another kind of picture, or .npy for the numbers"
            )
        with atomic_writer(path) as file:
            if kind is None:
                np.save(file, self.map)
            else:
                Image.fromarray(self.overlay()).save(file, kind)

    @cached_property
    def randomization(self) -> Randomization:
        """Whether the map changes when the weights do; computed when first asked for. See `checks.randomization`."""
        return randomization(self)

    @cached_property
    def perturbation(self) -> Perturbation:
        """The deletion and insertion scores; computed when first asked for. See `checks.perturbation`."""
        return perturbation(self)

    def to_dict(self, checked: bool = True) -> dict[str, Any]:
        """Everything but the numbers of the map, for JSON; without the checks, which take time, if not `checked`."""
        found: dict[str, Any] = {
            "method": self.method,
            "layer": self.layer,
            "target": list(self.target.index),
            "label": self.target.label,
            "score": self.target.score,
            "probability": self.target.probability,
            "peak": list(self.peak),
            "settings": {name: value for name, value in self.settings.items() if not isinstance(value, np.ndarray)},
            "details": self.details,
        }
        if checked:
            found["randomization"] = self.randomization.to_dict()
            found["perturbation"] = self.perturbation.to_dict()
        return found

    def __str__(self) -> str:
        where = "" if self.layer is None else f" at {self.layer}"
        return f"{self.method}{where} for {self.target}: largest at row {self.peak[0]}, column {self.peak[1]}"
