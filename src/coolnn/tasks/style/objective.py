"""What a picture is optimised for: its losses and their gradient, for pictures that fit into memory at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ... import _core, nn
from ...graph import Compiled, CompiledGradient
from ...graph.program import Program
from ...nn.parameter import without_numbers
from ...spec import Spec
from ...tensor import Tensor, from_numpy, meta
from .features import Features
from .losses import gram, roughness, squared_distance, total

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Region:
    """A part of the picture and the style that is wanted there: Gram matrices by layer.

    mask: weights 0..1 of the pixels (H, W), None for all alike; share: how much this region's style counts.
    """

    grams: Mapping[str, Array]
    mask: Array | None = None
    share: float = 1.0


@dataclass(frozen=True)
class Goal:
    """The terms and their weights: `content` and `style` by layer, `smooth` for the total variation."""

    net: Features
    regions: Sequence[Region]
    content: Mapping[str, float]
    style: Mapping[str, float]
    smooth: float


class Losses(NamedTuple):
    """The weighted losses of a picture and their sum."""

    total: float
    content: float
    style: float
    smooth: float


class Objective(Protocol):
    """Losses and gradient of a picture (H, W, 3), float32, RGB from 0 to 255 less the network's mean."""

    def __call__(self, picture: Array) -> tuple[Losses, Array]:
        """The losses, and the gradient of their sum."""
        ...

    def programs(self) -> Sequence[Program]:
        """The programs that will run, made without numbers; they share one block of memory."""
        ...


def as_input(picture: Array) -> Tensor:
    """A picture (H, W, 3) as a batch of one; the memory is laid out alike."""
    return from_numpy(picture.transpose(2, 0, 1)[None])


def as_picture(x: Tensor) -> Array:
    """A batch of one as a picture (H, W, 3)."""
    return np.ascontiguousarray(x.numpy()[0].transpose(1, 2, 0))


class Activations(nn.Module):
    """Layers of a network, then Gram matrices of layers, as a tuple; for each Gram matrix there may be a mask."""

    def __init__(self, net: Features, layers: Sequence[str], grams: Sequence[str] = ()) -> None:
        self.net, self.layers, self.grams = net, tuple(layers), tuple(grams)

    def forward(self, x: Tensor, *masks: Tensor) -> tuple[Tensor, ...]:
        found: dict[str, Tensor] = {}
        matrices: dict[int, Tensor] = {}
        for layer, activation in self.net.walk(x):
            if layer in self.layers:
                found[layer] = activation
            for number, wanted in enumerate(self.grams):
                if wanted == layer:
                    matrices[number] = gram(activation, masks[number] if masks else None)
        return (*(found[layer] for layer in self.layers), *(matrices[number] for number in range(len(self.grams))))


class Whole:
    """The objective of a picture at once: one call of the engine.

    content: the picture (H, W, 3) whose content is to be kept, prepared as pictures are; with `planned` nothing is
    computed, and it can only say what it will need.
    """

    def __init__(self, goal: Goal, content: Array, planned: bool = False) -> None:
        self.goal = goal
        size = content.shape[0], content.shape[1]
        self._spec = Spec((1, 3, *size))
        layers = list(goal.content)
        if planned or not layers:
            self._content = [meta(*layer_shape(goal.net, layer, size)) for layer in layers]
        else:
            self._content = list(Compiled(Activations(goal.net, layers))(as_input(content)))
            _core.trim_memory()  # what that took, weights packed for it too, makes room for the optimisation
        self._scales = [1.0 if planned else inverse_square(target.numpy()) for target in self._content]
        self._masks: list[dict[str, Tensor]] = [
            {}
            if region.mask is None
            else {layer: from_numpy(roots(region.mask, goal.net.stride(layer))) for layer in goal.style}
            for region in goal.regions
        ]
        self._run = CompiledGradient(self._losses)

    def _losses(self, x: Tensor) -> tuple[Tensor, ...]:
        goal, rough = self.goal, roughness(x)
        content, style = [rough * 0.0], [rough * 0.0]
        targets = dict(zip(goal.content, zip(self._content, self._scales, strict=True), strict=True))
        for layer, activation in goal.net.walk(x):
            if layer in goal.content:
                target, scale = targets[layer]
                content.append(squared_distance(activation, target) * (goal.content[layer] * scale))
            if layer in goal.style:
                style += [
                    self._style(layer, activation, *region) for region in zip(goal.regions, self._masks, strict=True)
                ]
        terms = total(content), total(style), rough * goal.smooth
        return total(terms), *terms

    def _style(self, layer: str, activation: Tensor, region: Region, masks: Mapping[str, Tensor]) -> Tensor:
        """The weighted distance of a layer from what a region wants."""
        wanted = region.grams[layer]
        distance = squared_distance(gram(activation, masks.get(layer)), from_numpy(wanted))
        return distance * (self.goal.style[layer] * region.share * inverse_square(wanted))

    def __call__(self, picture: Array) -> tuple[Losses, Array]:
        value, gradient, *parts = self._run(as_input(picture))
        return Losses(float(value), *(float(part) for part in parts)), as_picture(gradient)

    def programs(self) -> list[Program]:
        """The program that will run, made without numbers."""
        with without_numbers(self.goal.net.parameters()):
            return [self._run.make(self._spec, planned=True)]


def layer_shape(net: Features, layer: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The shape of a network's layer for a picture of this size."""
    stride = net.stride(layer)
    return 1, net.convolutions["conv" + layer[4:]].out_channels, size[0] // stride, size[1] // stride


def inverse_square(values: Array) -> float:
    """One over the sum of squares, so that a squared distance becomes relative."""
    return 1.0 / max(float(np.square(values, dtype=np.float64).sum()), 1e-20)


def roots(mask: Array, stride: int) -> Array:
    """A mask (H, W) at a layer's resolution as `gram` wants it: (1, 1, h, w), of which the squares sum to 1."""
    h, w = mask.shape[0] // stride, mask.shape[1] // stride
    shares = mask[: h * stride, : w * stride].reshape(h, stride, w, stride).mean((1, 3), dtype=np.float64)
    return np.asarray(np.sqrt(shares / max(float(shares.sum()), 1e-12)), np.float32)[None, None]
