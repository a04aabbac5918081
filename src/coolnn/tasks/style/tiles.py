"""The same objective for pictures that do not fit into memory at once: exact, in overlapping windows.

Gram matrices are sums over pixels, so a first pass adds up those of all windows. Then the gradient for the style is
that of a sum of products with constant matrices, which a second pass computes window by window. Each window counts only
its inner part, as far from its edges as a layer sees: nothing differs from the whole but the order of sums.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from ... import _core
from ...graph import Arena, Compiled, CompiledGradient
from ...graph.program import Program
from ...nn.parameter import without_numbers
from ...spec import Spec
from ...tensor import Tensor, from_numpy
from .features import Features
from .losses import gram, squared_distance, total
from .objective import Activations, Goal, Losses, as_input, as_picture, inverse_square, layer_shape, roots

Array = np.ndarray[Any, np.dtype[Any]]

#: Pictures in tiles have sides that are multiples of this, so that all windows see the same grid of pooled pixels.
BLOCK = 16


class Window(NamedTuple):
    """A part of an axis that is computed, and the part of it that counts."""

    start: int
    stop: int
    first: int
    last: int


def reach(net: Features) -> int:
    """How far beside a block the last layer sees, in whole blocks of pixels."""
    seen, step, stage = 1, 1, "1"
    for name in net.convolutions:
        if name[4] != stage:
            seen, step, stage = seen + step, 2 * step, name[4]
        seen += 2 * step
    return -(-((seen - step) // 2 + 1) // BLOCK) * BLOCK


def windows(length: int, window: int, margin: int) -> list[Window]:
    """Windows that cover an axis, evenly; each counts what is at least `margin` from those of its edges that are not
    the picture's. Length, window and margin are multiples of `BLOCK`."""
    if window >= length:
        return [Window(0, length, 0, length)]
    count = -(-(length - 2 * margin) // (window - 2 * margin))
    starts = [round((length - window) * i / (count - 1) / BLOCK) * BLOCK for i in range(count)]
    middles = [(after + before + window) // 2 // BLOCK * BLOCK for before, after in itertools.pairwise(starts)]
    return [
        Window(start, start + window, first, last)
        for start, first, last in zip(starts, [0, *middles], [*middles, length], strict=True)
    ]


class Tiled:
    """The objective of a picture (H, W, 3) in windows of `window` pixels; H, W and `window` multiples of `BLOCK`."""

    def __init__(self, goal: Goal, content: Array, window: int, planned: bool = False) -> None:
        self.goal, self.size = goal, (content.shape[0], content.shape[1])
        margin = reach(goal.net)
        if any(n % BLOCK for n in (*self.size, window)) or window < 3 * margin:
            raise ValueError(
                f"tiles take pictures and windows of multiples of {BLOCK} pixels, windows of {3 * margin} or more, "
                f"not {self.size} and {window}"
            )
        rows, columns = (windows(n, min(window, n), margin) for n in self.size)
        self.tiles = [(r, c) for r in rows for c in columns]
        self._window = min(window, self.size[0]), min(window, self.size[1])
        self._arena = Arena()
        self._style = [layer for _ in goal.regions for layer in goal.style]
        ones = np.ones(self.size, np.float32)
        # The square roots of each pixel's weight, for each region and layer.
        self._roots = [
            roots(ones if region.mask is None else region.mask, goal.net.stride(layer))
            for region in goal.regions
            for layer in goal.style
        ]
        self._sums = Compiled(Activations(goal.net, (), self._style), self._arena)
        self._parts = CompiledGradient(self._products, self._arena)
        self._content = {} if planned else self._contents(content)
        self._scales = (
            {layer: weight * inverse_square(self._content[layer]) for layer, weight in goal.content.items()}
            if not planned
            else dict(goal.content)
        )

    def _contents(self, picture: Array) -> dict[str, Array]:
        """The activations that hold the content, put together from the windows'."""
        layers = list(self.goal.content)
        if not layers:
            return {}
        run = Compiled(Activations(self.goal.net, layers), self._arena)
        found = {
            # Channels last, as in the windows: rows are copied whole.
            layer: np.empty((shape[2], shape[3], shape[1]), np.float32)
            for layer in layers
            for shape in [layer_shape(self.goal.net, layer, self.size)]
        }
        for r, c in self.tiles:
            outputs = run(as_input(picture[r.start : r.stop, c.start : c.stop]))
            for layer, output in zip(layers, outputs, strict=True):
                s = self.goal.net.stride(layer)
                inner = output.numpy()[0].transpose(1, 2, 0)
                inner = inner[(r.first - r.start) // s : (r.last - r.start) // s]
                inner = inner[:, (c.first - c.start) // s : (c.last - c.start) // s]
                found[layer][r.first // s : r.last // s, c.first // s : c.last // s] = inner
        del run, outputs
        _core.trim_memory()  # the weights that were packed for it
        return found

    def _masks(self, r: Window, c: Window) -> list[Tensor]:
        """For each region and layer the roots of the weights of the pixels that count in a window."""
        found = []
        for layer, whole in zip(self._style, self._roots, strict=True):
            s = self.goal.net.stride(layer)
            found.append(
                from_numpy(whole[:, :, r.start // s : r.stop // s, c.start // s : c.stop // s] * _inner(r, c, s))
            )
        return found

    def _products(self, x: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of products of Gram matrices with given ones, plus the content's distance in a window."""
        goal = self.goal
        count, contents = len(self._style), len(goal.content)
        matrices, masks, rest = given[:count], given[count : 2 * count], given[2 * count :]
        targets = dict(zip(goal.content, zip(rest[:contents], rest[contents:], strict=True), strict=True))
        products, distances = [], []
        for layer, activation in goal.net.walk(x):
            if layer in targets:
                target, mask = targets[layer]
                distances.append(squared_distance(activation * mask, target * mask) * self._scales[layer])
            for wanted, mask, matrix in zip(self._style, masks, matrices, strict=True):
                if wanted == layer:
                    products.append((gram(activation, mask) * matrix).sum())
        content = total(distances) if distances else products[0] * 0.0
        return total([*products, content]), content

    def grams(self, picture: Array) -> list[Array]:
        """The Gram matrices of a picture for each region and layer, float64 (1, C, C)."""
        sums: list[Array] = []
        for r, c in self.tiles:
            found = self._sums(as_input(picture[r.start : r.stop, c.start : c.stop]), *self._masks(r, c))
            matrices = [matrix.numpy().astype(np.float64) for matrix in found]
            sums = [a + b for a, b in zip(sums, matrices, strict=True)] if sums else matrices
        return sums

    def __call__(self, picture: Array) -> tuple[Losses, Array]:
        goal, sums = self.goal, self.grams(picture)
        style, slopes = 0.0, []
        wanted = [(region, layer, weight) for region in goal.regions for layer, weight in goal.style.items()]
        for (region, layer, weight), matrix in zip(wanted, sums, strict=True):
            scale = weight * region.share * inverse_square(region.grams[layer])
            difference = matrix - region.grams[layer]
            style += scale * float(np.square(difference).sum())
            slopes.append(from_numpy((2 * scale * difference).astype(np.float32)))
        smooth, gradient = _roughness(picture, goal.smooth)
        content = 0.0
        for r, c in self.tiles:
            part = as_input(picture[r.start : r.stop, c.start : c.stop])
            _, slope, distance = self._parts(part, *slopes, *self._masks(r, c), *self._targets(r, c))
            content += float(distance)
            gradient[r.start : r.stop, c.start : c.stop] += as_picture(slope)
        return Losses(content + style + smooth, content, style, smooth), gradient

    def _targets(self, r: Window, c: Window) -> list[Tensor]:
        """What the content's layers should be in a window, and where that counts."""
        targets, masks = [], []
        for layer, whole in self._content.items():
            s = self.goal.net.stride(layer)
            targets.append(as_input(whole[r.start // s : r.stop // s, c.start // s : c.stop // s]))
            masks.append(from_numpy(_inner(r, c, s)))
        return targets + masks

    def programs(self) -> list[Program]:
        """The programs of both passes, made without numbers."""
        net = self.goal.net
        x = Spec((1, 3, *self._window))
        shapes = [layer_shape(net, layer, self._window) for layer in self._style]
        matrices = [Spec((1, shape[1], shape[1])) for shape in shapes]
        masks = [Spec((1, 1, *shape[2:])) for shape in shapes]
        contents = [layer_shape(net, layer, self._window) for layer in self.goal.content]
        targets = [Spec(shape) for shape in contents] + [Spec((1, 1, *shape[2:])) for shape in contents]
        with without_numbers(net.parameters()):
            first = self._sums.make(x, *masks, planned=True)
            return [first, self._parts.make(x, *matrices, *masks, *targets, planned=True)]

    @property
    def kept_bytes(self) -> int:
        """Bytes of what is kept for the whole picture: the content's layers and the masks."""
        shapes = [layer_shape(self.goal.net, layer, self.size) for layer in self.goal.content]
        return sum(Spec(shape).nbytes for shape in shapes) + sum(mask.nbytes for mask in self._roots)


def _inner(r: Window, c: Window, stride: int) -> Array:
    """Ones where a window counts, at a layer's resolution: (1, 1, h, w)."""
    mask = np.zeros(((r.stop - r.start) // stride, (c.stop - c.start) // stride), np.float32)
    rows = slice((r.first - r.start) // stride, (r.last - r.start) // stride)
    mask[rows, (c.first - c.start) // stride : (c.last - c.start) // stride] = 1
    return mask[None, None]


def _roughness(picture: Array, weight: float) -> tuple[float, Array]:
    """The weighted total variation of a whole picture and its gradient, in bands of rows."""
    gradient = np.zeros_like(picture)
    scale, value = weight / picture.size, 0.0
    for start in range(0, len(picture), 256):
        band = picture[start : start + 257]
        for axis, part in ((0, band), (1, band[:256])):
            step = np.diff(part, axis=axis)
            value += scale * float(np.square(step, dtype=np.float64).sum())
            step *= np.float32(2 * scale)
            into = gradient[start : start + len(part)]
            if axis == 0:
                into[1:] += step
                into[:-1] -= step
            else:
                into[:, 1:] += step
                into[:, :-1] -= step
    return value, gradient
