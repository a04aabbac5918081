"""What is looked into: a network, its layers at one size of pictures, and what it wants of pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Preprocessing, adapted
from ..data.presets import Described
from ..formats import Model
from ..nn import Module
from .layers import Layers

Array = NDArray[Any]

#: Side of pictures for networks that do not say what they were made for.
_SIDE = 224


class Subject:
    """A network with its layers, and how a picture of 0..1 becomes what it takes.

    `model` is a network or a `formats.Model`; size: side, or (height, width), of the pictures, by default the model's,
    else 224; preprocessing: what the network wants of pixels (see `coolnn.data.adapted`), by default what the model
    says, else pixels from 0 to 1 as they are. Raises ValueError for a size that the network does not take.

    >>> import coolnn as cool
    >>> subject = cool.explain.Subject(cool.models.create("lenet5"))
    >>> subject.input_shape, subject.layers["conv1"].shape
    ((1, 28, 28), (6, 28, 28))
    """

    def __init__(
        self,
        model: Module | Model,
        size: int | Sequence[int] | None = None,
        preprocessing: Preprocessing | Described | None = None,
    ) -> None:
        self.net = model.net if isinstance(model, Model) else model
        if not isinstance(self.net, Module):
            raise TypeError(f"a network or a model is looked into, not {type(model).__name__}")
        self.labels = list(model.labels) if isinstance(model, Model) else []
        known = model.preprocessing if isinstance(model, Model) else None
        known = known or getattr(self.net, "preprocessing", None) or Preprocessing()
        if preprocessing is not None:
            known = preprocessing if isinstance(preprocessing, Preprocessing) else adapted(known, preprocessing)
        self.preprocessing: Preprocessing = known
        self.channels = known.channels or _channels(self.net)
        if self.channels not in (1, 3):
            raise ValueError(f"pictures have 1 or 3 channels; {type(self.net).__name__} takes {self.channels}")
        self.size = _size(size if size is not None else known.size or _own_size(self.net))
        self.input_shape = (self.channels, *self.size)
        self.layers = Layers(self.net, self.input_shape)

    @property
    def affine(self) -> tuple[Array, Array]:
        """Factor and offset (C, 1, 1) that bring a channel of 0..1, in the network's order, to what it takes."""
        p = self.preprocessing
        mean, std = (np.broadcast_to(np.array(v, np.float64), self.channels) for v in (p.mean, p.std))
        of_floats = p.scale == 1 and max(p.mean) <= 1  # pictures of floats lie in 0..1 already
        scale = p.scale if of_floats else 255 * p.scale
        factor, offset = scale / std, -mean / std
        return tuple(np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (factor, offset))  # type: ignore[return-value]

    def ordered(self, x: Array, axis: int = 1) -> Array:
        """Channels of RGB in the network's order, and the other way round."""
        return np.flip(x, axis) if self.preprocessing.order == "bgr" else x

    def take(self, pictures: Array) -> Array:
        """Pictures (N, C, H, W) of 0..1, RGB or grey, as float32 that the network takes."""
        factor, offset = self.affine
        return np.ascontiguousarray(self.ordered(pictures) * factor + offset, np.float32)

    def prepared(self, pictures: Any) -> Array:
        """Pictures uint8 (N, H, W, C), or a list of pictures or files, as float32 that the network takes.

        They are brought to the subject's size.
        """
        sized = dataclasses.replace(self.preprocessing, size=self.size, channels=self.channels)
        return sized(pictures)


def _size(size: int | Sequence[int]) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else tuple(int(n) for n in size)
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(f"size is a number of pixels, or (height, width), not {size}")
    return sides


def _own_size(net: Module) -> int | tuple[int, int]:
    """(height, width) that a network of the zoo is made for."""
    known = getattr(net, "input_size", None)
    return (known[1], known[2]) if isinstance(known, tuple) and len(known) == 3 else _SIDE


def _channels(net: Module) -> int:
    """The channels that the first convolution takes; 3 where there is none."""
    known = getattr(net, "input_size", None)
    if isinstance(known, tuple) and len(known) == 3:
        return int(known[0])
    first = next((m for m in net.modules() if getattr(m, "in_channels", None)), None)
    return 3 if first is None else int(first.in_channels)  # type: ignore[attr-defined]  # it has
