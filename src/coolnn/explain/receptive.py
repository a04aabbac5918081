"""What part of the picture a unit sees: all that it can depend on, and what it does depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..autograd import grad
from ..data import Preprocessing
from ..data.presets import Described
from ..formats import Model
from ..graph import compile
from ..nn import Module, evaluating
from ..tensor import Tensor, from_numpy, meta
from . import images
from .field import Box, seen_by
from .layers import Layer, Layers, tapped
from .subject import Subject
from .trace import trace

Array = NDArray[Any]
Place = tuple[int, int]

#: A pixel counts where its influence is at least this share of the largest: two deviations of a Gaussian (Luo et al.).
_COUNTS = 1 - 0.9545
_BATCH = 8


def field_box(layers: Layers, layer: str | Layer, place: Place | None = None) -> Box:
    """The box of (rows, columns) of the picture that a unit of a layer can depend on, clipped to the picture.

    place: (row, column) of a map, by default its middle; a layer without places sees with all of its units alike.
    Found from shapes alone, for any network. Raises ValueError for a place that the layer does not have.

    >>> import coolnn as cool
    >>> from coolnn.explain.receptive import field_box
    >>> layers = cool.explain.Layers(cool.models.create("lenet5"), (1, 28, 28))
    >>> print(field_box(layers, "conv2", (0, 0)), field_box(layers, "fc1"))
    [0–11, 0–11] [0–27, 0–27]
    """
    asked = layers[layer]
    at = _place(asked, place)
    with evaluating(layers.net):
        run = trace(layers.net, meta(1, *layers.input_shape))
    tensor = run.steps[asked.call].call.outputs[asked.output]
    boxes = seen_by(run, tensor, (0,) * (tensor.ndim - len(at)) + at)
    found = boxes.get(id(run.inputs[0]))
    if found is None:
        raise ValueError(f"layer {asked} does not depend on the picture")
    return Box(found.first[2:], found.last[2:])


def _place(layer: Layer, place: Place | None) -> tuple[int, ...]:
    """The last axes of the place of a unit: (row, column), or none where the layer has no places."""
    if len(layer.shape) != 3:
        if place is not None:
            raise ValueError(f"layer {layer} has no places, so there is none at {tuple(place)}")
        return (0,) * (len(layer.shape) - 1)
    height, width = layer.shape[1:]
    if place is None:
        return height // 2, width // 2
    row, column = place
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"{layer} has places (0, 0) to ({height - 1}, {width - 1}), not {tuple(place)}")
    return int(row), int(column)


@dataclass(frozen=True)
class Field:
    """The receptive field of units of a layer.

    box: (rows, columns) that they can depend on, both ends included; influence: how strongly they do, on average,
    for each pixel (H, W), 1 for the strongest; side: the side of the square that has as many pixels as there are with
    4.55 % of the strongest influence or more (Luo et al. 2016): the effective size.
    """

    layer: Layer
    place: Place | None
    box: Box
    influence: Array
    side: float

    @property
    def share(self) -> float:
        """The effective field's part of the theoretical one, side by side."""
        return self.side / float(np.sqrt(np.prod(self.box.shape)))

    def crop(self, picture: Array) -> NDArray[np.uint8]:
        """The part of a picture (H, W, C) that the units see."""
        (top, left), (bottom, right) = self.box.first, self.box.last
        return images.picture(picture)[top : bottom + 1, left : right + 1]

    def picture(self) -> NDArray[np.uint8]:
        """The influence as a picture, with the box around it."""
        shown = images.coloured(images.normalised(np.sqrt(self.influence), percentile=100))
        (top, left), (bottom, right) = self.box.first, self.box.last
        shown[[top, bottom], left : right + 1] = shown[top : bottom + 1, [left, right]] = 255
        return shown

    def __str__(self) -> str:
        height, width = self.box.shape
        mostly = f"{self.side:.0f}×{self.side:.0f}"
        return f"{self.layer.name}: can see {width}×{height} pixels {self.box}, mostly sees {mostly}"


def receptive_field(
    model: Module | Model,
    layer: str,
    channels: Sequence[int] | int | None = None,
    place: Place | None = None,
    *,
    pictures: Array | None = None,
    size: int | Sequence[int] | None = None,
    preprocessing: Preprocessing | Described | None = None,
    count: int = 16,
    seed: int = 0,
) -> Field:
    """The receptive field of units: what they can see, by the network's structure, and what they mostly see.

    The latter is the mean magnitude of the gradient of a unit by the pixels (Luo et al. 2016, arXiv:1701.04128), over
    `pictures` uint8 (N, H, W, C) of the user, or `count` pictures of noise; channels: all of them taken together by
    default. place: (row, column), by default the middle. Raises ValueError for a layer, channel or place that is not
    there, or that depends on no pixel.

    >>> import coolnn as cool
    >>> field = cool.explain.receptive_field(cool.models.create("lenet5"), "conv2", count=4)
    >>> field.box.shape, bool(field.side <= 14)
    ((14, 14), True)
    """
    subject = Subject(model, size, preprocessing)
    asked = subject.layers[layer]
    box = field_box(subject.layers, asked, place)
    at = _place(asked, place)
    x = _pictures(subject, pictures, count, seed)
    weights = _channel_weights(asked, channels, len(x), seed)

    def gradient(x: Tensor, weights: Tensor) -> Tensor:
        x.requires_grad = True
        _, (found,) = tapped(subject.net, x, [asked])
        units = found[:, :, at[0], at[1]] if found.ndim == 4 else found.reshape(found.shape[0], weights.shape[1])
        (by_pixel,) = grad((units * weights).sum(), x)
        assert by_pixel is not None
        return by_pixel

    run = compile(gradient)
    total = np.zeros(subject.size)
    with evaluating(subject.net):
        for start in range(0, len(x), _BATCH):
            part = slice(start, start + _BATCH)
            total += np.abs(run(from_numpy(x[part]), from_numpy(weights[part])).numpy()).sum((0, 1), dtype=np.float64)
    if not total.max() > 0:
        raise ValueError(f"no pixel of these pictures moves the units of {asked}: behind a ReLU they may all be silent")
    influence = total / total.max()
    side = float(np.sqrt((influence >= _COUNTS).sum()))
    return Field(asked, at if len(at) == 2 else None, box, influence.astype(np.float32), side)


def _pictures(subject: Subject, pictures: Array | None, count: int, seed: int) -> Array:
    """Pictures as the network takes them: the user's, or noise with its mean and deviation."""
    if pictures is not None:
        return subject.prepared(pictures)
    if count < 1:
        raise ValueError(f"count is 1 or more, not {count}")
    noise = np.random.default_rng(seed).random((count, *subject.input_shape), np.float32)
    return subject.take(noise)


def _channel_weights(layer: Layer, channels: Sequence[int] | int | None, count: int, seed: int) -> Array:
    """For each picture the weights of the channels (N, C): random signs, so that channels do not cancel out."""
    total = int(np.prod(layer.shape)) if len(layer.shape) != 3 else layer.shape[0]
    signs = np.random.default_rng([seed, 1]).choice(np.array([-1, 1], np.float32), (count, total))
    if channels is None:
        return signs
    wanted = [int(c) for c in np.atleast_1d(np.asarray(channels))]
    wrong = [c for c in wanted if not 0 <= c < total]
    if wrong or not wanted:
        raise ValueError(f"{layer} has channels 0 to {total - 1}, not {wrong[0] if wrong else 'none'}")
    mask = np.zeros(total, np.float32)
    mask[wanted] = 1
    return signs * mask
