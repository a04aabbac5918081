"""Style transfer by optimisation in PyTorch, written down plainly: the same goal as `painting`'s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..tasks.style.features import Features
from ..tasks.style.losses import CONTENT_LAYERS, STYLE_LAYERS
from . import painting
from .peer_torch import LAYOUTS
from .peers import Array


class Goal:
    """Content, style and smoothness of a picture, with a network's weights in one memory layout."""

    def __init__(self, net: Features, size: int, layout: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._layout, self._last = LAYOUTS[layout], layout.endswith("last")
        self._layers = [
            (name, *(self._tensor(array.numpy()) for array in (layer.weight, layer.bias)))
            for name, layer in net.convolutions.items()
            if layer.bias is not None
        ]
        content, style = painting.pictures(net, size)
        with torch.no_grad():
            found, painted = self._features(self.batch(content)), self._features(self.batch(style))
            self._contents = {layer: found[layer].clone() for layer in CONTENT_LAYERS}
            self._grams = {layer: self._gram(painted[layer]) for layer in STYLE_LAYERS}
        self.start = self.batch(content).requires_grad_()

    def _tensor(self, array: Array) -> Any:
        made = torch.from_numpy(np.ascontiguousarray(array))
        return made.contiguous(memory_format=self._layout) if made.ndim == 4 else made

    def batch(self, picture: Array) -> Any:
        """A picture (H, W, 3) as a batch of one in this layout."""
        return self._tensor(picture.transpose(2, 0, 1)[None].copy())

    def _features(self, x: Any) -> dict[str, Any]:
        found, stage = {}, "1"
        for name, weight, bias in self._layers:
            if name[4] != stage:
                x, stage = F.max_pool2d(x, 2), name[4]
            x = F.relu(F.conv2d(x, weight, bias, padding=1), inplace=True)  # in place: as much memory as is needed
            found["relu" + name[4:]] = x
        return found

    def _gram(self, x: Any) -> Any:
        channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
        if self._last:
            rows = x.permute(0, 2, 3, 1).reshape(pixels, channels)
            return rows.T @ rows / pixels
        rows = x.reshape(channels, pixels)
        return rows @ rows.T / pixels

    def loss(self, x: Any) -> Any:
        """The sum of the weighted losses."""
        found = self._features(x)
        down, side = (x[:, :, 1:] - x[:, :, :-1]).square().sum(), (x[..., 1:] - x[..., :-1]).square().sum()
        total = painting.SMOOTH_WEIGHT / x.numel() * (down + side)
        for layer, wanted in self._contents.items():
            share = painting.CONTENT_WEIGHT / len(self._contents) / wanted.square().sum()
            total = total + share * (found[layer] - wanted).square().sum()
        for layer, gram in self._grams.items():
            share = painting.STYLE_WEIGHT / len(self._grams) / gram.square().sum()
            total = total + share * (self._gram(found[layer]) - gram).square().sum()
        return total


def gradient(net: Features, size: int, layout: str, threads: int) -> tuple[float, Array]:
    """The loss of the picture to begin with, and its derivative (H, W, 3)."""
    goal = Goal(net, size, layout, threads)
    loss = goal.loss(goal.start)
    (slope,) = torch.autograd.grad(loss, goal.start)
    return float(loss.item()), slope[0].permute(1, 2, 0).numpy()


def iterations(net: Features, size: int, layout: str, threads: int) -> Callable[[], float]:
    """An iteration at each call: the losses with their gradient, and a step of Adam; gives the loss before it."""
    goal = Goal(net, size, layout, threads)
    adam = torch.optim.Adam([goal.start], lr=painting.LR)

    def iterate() -> float:
        adam.zero_grad()
        loss = goal.loss(goal.start)
        loss.backward()
        adam.step()
        return float(loss.item())

    return iterate
