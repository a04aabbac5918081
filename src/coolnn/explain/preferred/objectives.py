"""What a preferred picture is to have much of: numbers of a network, one a picture; sums and differences of them."""

from __future__ import annotations

import math
import operator
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import ops
from ...tensor import Tensor
from ..layers import Layer, Layers

Array = NDArray[Any]
Place = tuple[int, int]
#: One channel for all pictures, or one for each.
Channels = int | Sequence[int]


class Objective:
    """A number for each picture of a batch, the higher the better. Objectives are added, subtracted and weighted.

    >>> import coolnn as cool
    >>> from coolnn.explain.preferred import channel, unit
    >>> both = channel("conv1", 3) + 0.5 * channel("conv2", 7) - unit("conv2", 1)
    >>> both.layers()
    ['conv1', 'conv2']
    """

    #: How many pictures it is for; None: any number.
    count: int | None = None
    #: What it is called under a picture.
    name = "objective"
    #: Whether pictures are compared with each other, so that they must be made together.
    together = False

    def layers(self) -> list[str]:
        """The names of the layers that it reads."""
        raise NotImplementedError

    def given(self, layers: Layers, count: int) -> list[Array]:
        """The arrays that tell it from others of the same `key`. Raises ValueError for what the network lacks."""
        return []

    def key(self) -> Hashable:
        """What the computation depends on beside the arrays."""
        raise NotImplementedError

    def value(self, found: Mapping[str, Tensor], given: Iterator[Tensor]) -> Tensor:
        """The numbers (N,) from what the layers gave and the arrays."""
        raise NotImplementedError

    def finest(self, layers: Layers) -> float:
        """Pixels from one place to the next where it reads at a place; infinite where it reads none."""
        return math.inf

    def names(self, count: int) -> list[str]:
        """What each picture is called."""
        return [self.name] * count

    def part(self, start: int, stop: int) -> Objective:
        """The same for the pictures from `start` to `stop`."""
        return self

    def __add__(self, other: Objective) -> Objective:
        return _Sum([self, other])

    def __sub__(self, other: Objective) -> Objective:
        return _Sum([self, _Scaled(other, -1.0)])

    def __mul__(self, factor: float) -> Objective:
        return _Scaled(self, float(factor))

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        return _Scaled(self, -1.0)


class _Reading(Objective):
    """A weighted sum of a layer's channels, as a mean over its places or at one place."""

    def __init__(
        self,
        layer: str,
        weights: Array | None,
        channels: list[int] | None,
        place: Place | str | None,
        rectified: bool = False,
    ) -> None:
        self.layer, self.weights, self.channels, self.place = layer, weights, channels, place
        self.rectified = rectified
        rows = [np.atleast_2d(weights)] if weights is not None else [channels]
        self.count = len(rows[0]) if rows[0] is not None and len(rows[0]) > 1 else None

    def layers(self) -> list[str]:
        return [self.layer]

    def given(self, layers: Layers, count: int) -> list[Array]:
        layer = layers[self.layer]
        total = _channels_of(layer)
        if self.place is not None:
            _where(layer, self.place)
        if self.channels is None:
            weights = np.atleast_2d(np.asarray(self.weights, np.float32))
            if weights.shape[1] != total:
                raise ValueError(f"a direction of {layer} has {total} numbers, not {weights.shape[1]}")
        else:
            wrong = [c for c in self.channels if not 0 <= c < total]
            if wrong:
                raise ValueError(f"{layer} has channels 0 to {total - 1}, not {wrong[0]}")
            weights = np.zeros((len(self.channels), total), np.float32)
            weights[np.arange(len(weights)), self.channels] = 1
        return [np.broadcast_to(weights, (count, total)).copy()]

    def key(self) -> Hashable:
        return "reading", self.layer, self.place, self.rectified

    def value(self, found: Mapping[str, Tensor], given: Iterator[Tensor]) -> Tensor:
        x = found[self.layer]
        if x.ndim == 4:
            if self.place is None:
                x = (x.relu() if self.rectified else x).mean((2, 3))
            else:
                row, column = _middle(x.shape[2:]) if isinstance(self.place, str) else self.place
                x = x[:, :, row, column]
        return (x * next(given)).sum(1)

    def names(self, count: int) -> list[str]:
        where = "" if self.place is None else f" at {self.place if isinstance(self.place, str) else tuple(self.place)}"
        if self.channels is None:
            names = [f"{self.layer} direction{where}"]
        else:
            names = [f"{self.layer}:{c}{where}" for c in self.channels]
        return names * count if len(names) == 1 else names

    def part(self, start: int, stop: int) -> Objective:
        if self.count is None:
            return self
        channels = None if self.channels is None else self.channels[start:stop]
        weights = None if self.weights is None else self.weights[start:stop]
        return _Reading(self.layer, weights, channels, self.place, self.rectified)

    def finest(self, layers: Layers) -> float:
        if self.place is None:
            return math.inf
        return float(max(n / m for n, m in zip(layers.input_shape[1:], layers[self.layer].shape[1:], strict=True)))


class _Scaled(Objective):
    def __init__(self, inner: Objective, factor: float) -> None:
        self.inner, self.factor, self.count, self.together = inner, factor, inner.count, inner.together

    def layers(self) -> list[str]:
        return self.inner.layers()

    def given(self, layers: Layers, count: int) -> list[Array]:
        return [np.array([self.factor], np.float32), *self.inner.given(layers, count)]

    def key(self) -> Hashable:
        return "scaled", self.inner.key()

    def value(self, found: Mapping[str, Tensor], given: Iterator[Tensor]) -> Tensor:
        factor = next(given)
        return self.inner.value(found, given) * factor

    def names(self, count: int) -> list[str]:
        sign = "−" if self.factor == -1 else f"{self.factor:g} × "
        return [sign + name for name in self.inner.names(count)]

    def part(self, start: int, stop: int) -> Objective:
        return _Scaled(self.inner.part(start, stop), self.factor)

    def finest(self, layers: Layers) -> float:
        return self.inner.finest(layers)


class _Sum(Objective):
    def __init__(self, parts: Sequence[Objective]) -> None:
        self.parts: list[Objective] = []
        for part in parts:
            self.parts += part.parts if isinstance(part, _Sum) else [part]
        counts = sorted({part.count for part in self.parts if part.count is not None})
        if len(counts) > 1:
            raise ValueError(f"objectives for {counts[0]} and for {counts[1]} pictures cannot be added up")
        self.count = counts[0] if counts else None
        self.together = any(part.together for part in self.parts)

    def layers(self) -> list[str]:
        return list(dict.fromkeys(name for part in self.parts for name in part.layers()))

    def given(self, layers: Layers, count: int) -> list[Array]:
        return [array for part in self.parts for array in part.given(layers, count)]

    def key(self) -> Hashable:
        return ("sum", *(part.key() for part in self.parts))

    def value(self, found: Mapping[str, Tensor], given: Iterator[Tensor]) -> Tensor:
        total = self.parts[0].value(found, given)
        for part in self.parts[1:]:
            total = total + part.value(found, given)
        return total

    def names(self, count: int) -> list[str]:
        named = [part.names(count) for part in self.parts if part.names(count) != [""] * count]
        return [" + ".join(names).replace("+ −", "− ") for names in zip(*named, strict=True)]

    def part(self, start: int, stop: int) -> Objective:
        return _Sum([part.part(start, stop) for part in self.parts])

    def finest(self, layers: Layers) -> float:
        return min(part.finest(layers) for part in self.parts)


class _Diversity(Objective):
    together = True

    def __init__(self, layer: str) -> None:
        self.layer = layer

    def layers(self) -> list[str]:
        return [self.layer]

    def given(self, layers: Layers, count: int) -> list[Array]:
        if count < 2:
            raise ValueError(f"diversity is between pictures: ask for 2 or more at once, not {count}")
        layers.map(self.layer)
        return [(1 - np.eye(count, dtype=np.float32)) / (count - 1)]

    def key(self) -> Hashable:
        return "diversity", self.layer

    def value(self, found: Mapping[str, Tensor], given: Iterator[Tensor]) -> Tensor:
        grams = ops.gram_matrix(found[self.layer])
        flat = grams.reshape(grams.shape[0], grams.shape[1] * grams.shape[2])
        flat = flat * ops.rsqrt(flat.square().sum(1, keepdim=True) + 1e-12)
        alike = ops.matmul(flat, flat.transpose(0, 1))
        return -(alike * next(given)).sum(1)

    def names(self, count: int) -> list[str]:
        return [""] * count


def channel(layer: str, channels: Channels, rectified: bool = True) -> Objective:
    """The mean of a channel over all places of a layer; several channels: one for each picture.

    rectified: of its positive part, also where the layer's ReLU comes later: the mean of a convolution without one
    knows no more than the mean of its input.

    >>> import coolnn as cool
    >>> from coolnn.explain.preferred import channel
    >>> channel("conv2", [3, 5]).names(2)
    ['conv2:3', 'conv2:5']
    """
    return _Reading(layer, None, _listed(channels), None, rectified)


def unit(layer: str, channels: Channels, place: Place | None = None) -> Objective:
    """One unit: a channel at one place (row, column) of a layer, by default in the middle.

    >>> import coolnn as cool
    >>> from coolnn.explain.preferred import unit
    >>> unit("conv2", 3, (4, 4)).names(1)
    ['conv2:3 at (4, 4)']
    """
    return _Reading(layer, None, _listed(channels), "middle" if place is None else (int(place[0]), int(place[1])))


def logit(classes: Channels) -> Objective:
    """The score of a class, before softmax: a number of the network's output.

    >>> import coolnn as cool
    >>> from coolnn.explain.preferred import logit
    >>> logit(7).names(1)
    ['output:7']
    """
    return _Reading("output", None, _listed(classes), None)


def direction(layer: str, weights: Any, place: Place | None = None) -> Objective:
    """A direction in the space of a layer's channels: weights (C,), or (N, C) for as many pictures.

    Read as a mean over all places, or at one.

    >>> import coolnn as cool
    >>> from coolnn.explain.preferred import direction
    >>> direction("conv1", [1, 0, 0, -1, 0, 0]).names(1)
    ['conv1 direction']
    """
    array = np.asarray(weights, np.float32)
    if array.ndim not in (1, 2) or not array.size or not np.isfinite(array).all():
        raise ValueError(f"a direction is finite numbers (channels,) or (pictures, channels), not shape {array.shape}")
    array = np.atleast_2d(array)
    return _Reading(layer, array, None, None if place is None else (int(place[0]), int(place[1])))


def diversity(layer: str) -> Objective:
    """How unlike the pictures of a batch are: minus the mean cosine of their Gram matrices in a layer.

    Olah et al. 2017 (Feature Visualization, Distill) add it to one objective asked for several times, to see its
    facets.

    >>> import coolnn as cool
    >>> from coolnn.explain.preferred import channel, diversity
    >>> (channel("conv2", [3, 3, 3]) + 2 * diversity("conv2")).count
    3
    """
    return _Diversity(layer)


def _listed(channels: Channels) -> list[int]:
    try:
        found = [operator.index(channels)] if hasattr(channels, "__index__") else [operator.index(c) for c in channels]
    except TypeError as error:
        raise ValueError(f"channels are whole numbers, not {channels!r}") from error
    if not found:
        raise ValueError("name a channel, or several")
    return found


def _channels_of(layer: Layer) -> int:
    if len(layer.shape) not in (1, 3):
        raise ValueError(f"layer {layer} gives neither (channels, height, width) nor (features,): it has no channels")
    return layer.shape[0]


def _middle(size: Sequence[int]) -> Place:
    return size[0] // 2, size[1] // 2


def _where(layer: Layer, place: Place | str) -> None:
    """Raises ValueError for a place that a layer does not have."""
    if len(layer.shape) != 3:
        raise ValueError(f"layer {layer} has no places; ask for a channel of it, or for a unit of a map")
    height, width = layer.shape[1:]
    if not isinstance(place, str) and not (0 <= place[0] < height and 0 <= place[1] < width):
        raise ValueError(f"{layer} has places (0, 0) to ({height - 1}, {width - 1}), not {place}")
