"""Style transfer as work to measure: one goal, with features shaped like VGG19's, for us and for PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import nn, optim
from ..data import resize_image
from ..formats import Model
from ..random import manual_seed
from ..tasks.style.features import Features
from ..tasks.style.losses import CONTENT_LAYERS, STYLE_LAYERS
from ..tasks.style.network import PIXELS, TASK, stylizer
from ..tasks.style.objective import Goal, Region, Whole, as_picture
from ..tasks.style.onepass import Painter
from ..tasks.style.optimise import gram_sums
from ..tensor import from_numpy
from .peers import Array

#: The weights of the losses and Adam's rate, which are those of `cool style`.
CONTENT_WEIGHT, STYLE_WEIGHT, SMOOTH_WEIGHT, LR = 0.05, 1.0, 5e-6, 5.0


def blobs(size: int, seed: int) -> Array:
    """A picture with structure at several scales, uint8 (size, size, 3)."""
    rng = np.random.default_rng(seed)
    scales = (2, 8, 32)
    parts = [
        resize_image(rng.integers(0, 256, (-(-size // s), -(-size // s), 3), np.uint8), (size, size)) for s in scales
    ]
    return np.asarray(np.mean(parts, axis=0), np.uint8)


def vgg19() -> Features:
    """VGG19 as far as styles are read, with random numbers of which every layer keeps the size."""
    with nn.meta_parameters():
        net = Features("vgg19", [*STYLE_LAYERS, *CONTENT_LAYERS])
    rng = np.random.default_rng(1)
    state: dict[str, Array] = {}
    for name, layer in net.convolutions.items():
        shape = layer.weight.shape
        scale = np.float32((2 / (9 * shape[1])) ** 0.5 * (1 / 128 if name == "conv1_1" else 1))
        state[f"{name}.weight"] = scale * rng.standard_normal(shape, np.float32)
        state[f"{name}.bias"] = np.float32(0.1) * rng.standard_normal(shape[0], np.float32)
    net.load_state_dict(state)
    net.mean = np.full(3, 127.5, np.float32)
    return net.eval().requires_grad_(False)


def pictures(net: Features, size: int) -> tuple[Array, Array]:
    """Content and style, float32 (size, size, 3), less the network's mean."""
    content, style = (blobs(size, seed).astype(np.float32) - net.mean for seed in (2, 3))
    return content, style


def objective(net: Features, size: int) -> tuple[Whole, Array]:
    """Our objective as `cool style` makes it, and the picture to begin with, which is the content."""
    content, style = pictures(net, size)
    styles = dict.fromkeys(STYLE_LAYERS, STYLE_WEIGHT / len(STYLE_LAYERS))
    grams = gram_sums(Goal(net, [Region({})], {}, styles, 0.0), style)
    contents = dict.fromkeys(CONTENT_LAYERS, CONTENT_WEIGHT / len(CONTENT_LAYERS))
    return Whole(Goal(net, [Region(grams)], contents, styles, SMOOTH_WEIGHT), content), content


def iterations(net: Features, size: int) -> Callable[[], float]:
    """An iteration at each call: the losses with their gradient, and a step of Adam; gives the loss before it."""
    whole, start = objective(net, size)
    picture = from_numpy(np.ascontiguousarray(start.transpose(2, 0, 1)))
    adam = optim.Adam([picture], lr=LR)

    def iterate() -> float:
        losses, gradient = whole(as_picture(picture.reshape(1, *picture.shape)))
        picture.grad = from_numpy(np.ascontiguousarray(gradient.transpose(2, 0, 1)))
        adam.step()
        return losses.total

    return iterate


def painter(size: int) -> Callable[[], Array]:
    """What paints a photograph of size x size at each call, file formats aside, with a network of the usual width."""
    manual_seed(0)
    paint = Painter(Model(stylizer(), preprocessing=PIXELS, task=TASK))
    photograph = blobs(size, 4)
    return lambda: paint(photograph)


def run_once(run: Callable[[], Any], times: int) -> list[float]:
    """The values of so many calls."""
    return [float(run()) for _ in range(times)]
