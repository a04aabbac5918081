"""`coolnn.explain.preferred`: preferred pictures in one call, and what it gives."""

from __future__ import annotations

import dataclasses
import difflib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...data import Preprocessing
from ...data.presets import Described
from ...files import write_bytes
from ...formats import Model
from ...nn import Module
from .. import images
from ..subject import Subject
from .ascent import RECIPES, Progress, Recipe, make
from .objectives import Objective, Place, channel, unit
from .parameters import Parameterisation
from .regularise import Regulariser
from .transforms import Transform

Array = NDArray[Any]
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@dataclass(frozen=True)
class Preferred:
    """Preferred pictures with their objective on the way.

    pictures: uint8 (N, H, W, 3); values: the objective of each, seen as it is (N,); history: in each step, seen through
    that step's transform (steps, N); names: what each picture is of.
    """

    pictures: NDArray[np.uint8]
    values: Array
    history: Array
    names: list[str]
    recipe: Recipe
    seconds: float

    @property
    def picture(self) -> NDArray[np.uint8]:
        """The first picture (H, W, 3)."""
        return np.asarray(self.pictures[0])

    def sheet(self, columns: int | None = None, labels: Sequence[str] | None = None) -> NDArray[np.uint8]:
        """All pictures side by side with their names, or with `labels` ([] for none)."""
        return images.sheet(list(self.pictures), columns, self.names if labels is None else labels)

    def save(self, path: str | os.PathLike[str], columns: int | None = None, quality: int = 88) -> None:
        """Writes the picture, or the sheet of several, atomically as PNG, JPEG or WebP by the end of the name.

        Raises ValueError for another ending.
        """
        kind = _FORMATS.get(Path(path).suffix.lower())
        if kind is None:
            raise ValueError(f"{os.fspath(path)}: pictures are written as {', '.join(_FORMATS)}, told by the end")
        whole = self.picture if len(self.pictures) == 1 else self.sheet(columns)
        file = io.BytesIO()
        Image.fromarray(whole).save(file, kind, **({} if kind == "PNG" else {"quality": quality}))
        write_bytes(path, file.getvalue())

    def _repr_png_(self) -> bytes:
        return images.png(self.picture if len(self.pictures) == 1 else self.sheet())

    def __repr__(self) -> str:
        count, height, width = self.pictures.shape[:3]
        return f"<preferred pictures of {', '.join(self.names[:4])}{', …' if count > 4 else ''}, {width}×{height}>"


Asked = int | str | Sequence[int | str]


def preferred_pictures(
    model: Module | Model,
    layer: str | None = None,
    channels: Asked | None = None,
    *,
    objective: Objective | None = None,
    place: Place | str | None = None,
    recipe: str | Recipe = "modern",
    size: int | Sequence[int] | None = None,
    steps: int | None = None,
    lr: float | None = None,
    parameterisation: Parameterisation | None = None,
    transform: Transform | None = None,
    regulariser: Regulariser | None = None,
    preprocessing: Preprocessing | Described | None = None,
    batch: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Preferred:
    """Pictures that channels of a layer (or an objective of any kind) answer to most strongly, by activation
    maximisation (Erhan et al. 2009): a picture of noise is changed along the gradient of the answer.

    layer, channels: as named by `Layers`; "output" with numbers or names of classes gives logits. place: (row, column)
    or "middle" for the unit there; without, the mean of the channel's positive part. objective: in their place any
    objective, see `coolnn.explain.preferred.channel`, `unit`, `logit`, `direction`, `diversity`; one for several
    pictures is asked of one picture each. recipe: "modern", "classic" or a `Recipe`, of which steps, lr,
    parameterisation, transform and regulariser replace parts; units at a place are shifted by one place of their layer
    at most. size: of the pictures; preprocessing: what the network wants of pixels, see `Subject`. batch: pictures a
    step, by default what 2^18 pixels hold. The same seed gives the same bits. progress: called as (steps done, steps,
    objective). Raises ValueError that says what there is for a layer, channel, place or recipe that is not.

    >>> import coolnn as cool
    >>> found = cool.explain.preferred(cool.models.create("lenet5"), "conv2", [3, 5], steps=4)
    >>> found.pictures.shape, found.names
    ((2, 28, 28, 3), ['conv2:3', 'conv2:5'])
    """
    chosen = _recipe(recipe, steps, lr, parameterisation, transform, regulariser)
    subject = Subject(model, size, preprocessing)
    inner = subject.size
    if chosen.transform.padding:  # the network sees a larger picture
        subject = Subject(model, chosen.transform.seen(inner), preprocessing)
    if objective is None:
        objective = _asked(subject, layer, channels, place)
    elif layer is not None or channels is not None:
        raise ValueError("name a layer and channels, or give an objective, not both")
    count = objective.count or 1
    for name in objective.layers():
        subject.layers[name]  # says what there is
    objective.given(subject.layers, count)
    # A unit at a place is not asked to answer wherever the picture is shifted to: that is another unit's business.
    steady = min(chosen.transform.jitter, objective.finest(subject.layers))
    chosen = dataclasses.replace(chosen, transform=dataclasses.replace(chosen.transform, jitter=steady))
    if batch is not None and batch < 1:
        raise ValueError(f"batch is 1 or more, not {batch}")
    if objective.together:
        batch = count
    pictures, values, history, seconds = make(subject, objective, count, chosen, inner, batch, seed, progress)
    shown = np.rint(pictures * 255).astype(np.uint8)
    shown = np.repeat(shown, 3, axis=3) if shown.shape[3] == 1 else shown
    return Preferred(shown, values, history, _named(subject, objective, count), chosen, seconds)


def _recipe(recipe: str | Recipe, *parts: Any) -> Recipe:
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise ValueError(f"there is no recipe {recipe!r}; there are: {', '.join(RECIPES)}")
        recipe = RECIPES[recipe]
    names = ("steps", "lr", "parameterisation", "transform", "regulariser")
    changes = {name: part for name, part in zip(names, parts, strict=True) if part is not None}
    return dataclasses.replace(recipe, **changes)


def _asked(subject: Subject, layer: str | None, channels: Asked | None, place: Place | str | None) -> Objective:
    """The objective for channels of a layer, or for classes by number or name."""
    if layer is None or channels is None:
        some = ", ".join(at.name for at in subject.layers.all[:40])
        raise ValueError(f"name a layer and one or several of its channels, or give an objective; layers: {some}")
    wanted = [channels] if isinstance(channels, str | int | np.integer) else list(channels)
    numbers = [_class(subject, layer, c) if isinstance(c, str) else c for c in wanted]
    if place is None:
        return channel(layer, numbers)
    if isinstance(place, str) and place != "middle":
        raise ValueError(f'place is (row, column) or "middle", not {place!r}')
    return unit(layer, numbers, None if isinstance(place, str) else place)


def _class(subject: Subject, layer: str, name: str) -> int:
    """The number of a class by its name, or by a part of it that no other has."""
    known = subject.labels
    if subject.layers[layer] != subject.layers.output or not known:
        what = "this network's classes have no names" if not known else f"channels of {layer} have none"
        raise ValueError(f"{name!r} is a name, and {what}; give numbers")
    found = [i for i, label in enumerate(known) if label.lower() == name.lower()]
    found = found or [
        i for i, label in enumerate(known) if name.lower() in [p.strip().lower() for p in label.split(",")]
    ]
    if len(found) != 1:
        close = difflib.get_close_matches(name, known, 3, 0.4) or known[:5]
        raise ValueError(
            f"{'several classes are' if found else 'no class is'} called {name!r}; near: {', '.join(close)}"
        )
    return found[0]


def _named(subject: Subject, objective: Objective, count: int) -> list[str]:
    """The names of the pictures, those of classes in words."""
    found = objective.names(count)
    if subject.labels:
        classes = {f"output:{i}": label.split(",")[0] for i, label in enumerate(subject.labels)}
        found = [classes.get(name, name) for name in found]
    return found
