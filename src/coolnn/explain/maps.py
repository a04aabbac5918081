"""What a network has learned and what it computes: the filters of its convolutions, the feature maps of a picture."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..autograd import no_grad
from ..nn import ConvTranspose2d, Module, evaluating
from ..tensor import Tensor, from_numpy
from . import images
from .images import Array, Picture, Pictures
from .layers import Layer, Layers, tapped

#: Which channels are shown, and in which order: as they are numbered, or those with the largest values first.
Order = Literal["number", "strongest"]

_FILTER = 80  # pixels a side that small filters are enlarged to, by whole squares


# --- filters ---------------------------------------------------------------------------------------------------------


def convolutions(net: Module) -> dict[str, Tensor]:
    """The weights of all convolutions (outputs, inputs of a group, height, width), by the name of their layer.

    >>> import coolnn as cool
    >>> [(name, w.shape) for name, w in cool.explain.convolutions(cool.models.create("lenet5")).items()]
    [('conv1', (6, 1, 5, 5)), ('conv2', (16, 6, 5, 5))]
    """
    found: dict[str, Tensor] = {}
    for path, module in net.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim == 4:
                full = path if name == "weight" else f"{path}.{name}".lstrip(".").removesuffix(".weight")
                turned = isinstance(module, ConvTranspose2d)
                found[full or name] = parameter.detach().permute(1, 0, 2, 3) if turned else parameter
    return found


def filters(
    net: Module, layer: str | None = None, count: int | None = 64, order: Literal["rgb", "bgr"] = "rgb"
) -> Pictures:
    """The filters of a convolution as pictures, the first `count` of them (None: all).

    layer: its name; None for the first that looks at more than one place. Of a layer that sees colours each filter is a
    coloured picture: grey is weight zero. Of all others it is a grid with a tile for every input channel, blue for
    negative weights and red for positive ones. Each filter is scaled by its own largest weight. order: "bgr" for
    networks that want blue first. Raises ValueError for a network without convolutions, and with the names that there
    are for another name.

    >>> import coolnn as cool
    >>> shown = cool.explain.filters(cool.models.create("lenet5"), "conv2")
    >>> len(shown), shown.pictures[0].shape
    (16, (51, 77, 3))
    """
    known = convolutions(net)
    if not known:
        raise ValueError(f"{type(net).__name__} has no convolution, so it has no filters to look at")
    if layer is None:
        layer = next((name for name, weight in known.items() if max(weight.shape[2:]) > 1), next(iter(known)))
    if layer not in known:
        inside = [name for name in known if name.startswith(f"{layer}.")]
        if len(inside) != 1:
            raise ValueError(f"{layer!r} is no convolution; {_choices(layer, inside or list(known))}")
        layer = inside[0]
    weights = known[layer].numpy()
    outputs, inputs, height, width = weights.shape
    shown = [filter_picture(w, order) for w in weights[: _count(count, outputs)]]
    colours = "red is positive, blue negative" + (", a tile for every input channel" if inputs > 1 else "")
    colours = "grey is zero, colours are weights of red, green and blue" if inputs == 3 else colours
    note = (
        f"The weights as they are, each filter scaled by its own largest one: {colours}. They show what the layer does "
        "with its input, not what the network uses it for."
    )
    title = f"{layer}: {len(shown)} of {outputs} filters, {height}×{width} over {inputs} channels"
    return Pictures(shown, [str(i) for i in range(len(shown))], title, note)


def filter_picture(weights: Array, order: Literal["rgb", "bgr"] = "rgb") -> Picture:
    """One filter (inputs, height, width): in colours for 3 inputs, else a tile for every input, blue to red."""
    inputs, height, width = weights.shape
    scaled = weights / (float(np.abs(weights).max()) or 1.0)
    if inputs == 3:
        colours = images.picture((scaled if order == "rgb" else scaled[::-1]).transpose(1, 2, 0) * 0.5 + 0.5)
        return _enlarged(colours, _FILTER // max(height, width))
    columns = math.ceil(math.sqrt(inputs))
    rows = math.ceil(inputs / columns)
    grow = max(1, _FILTER // (max(height, width) * columns))
    gap = 0 if height * width == 1 else 1
    tiles = [_enlarged(tile, grow) for tile in images.coloured(scaled, "diverging")]
    height, width = tiles[0].shape[:2]
    whole = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 150, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        whole[top : top + height, left : left + width] = tile
    return whole


def _enlarged(picture: Picture, times: int) -> Picture:
    return np.kron(picture, np.ones((max(1, times), max(1, times), 1), np.uint8))


def _choices(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, 3, 0.6)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    more = f" and {len(known) - 40} more" if len(known) > 40 else ""
    return f"convolutions are: {', '.join(known[:40])}{more}"


def _count(count: int | None, there: int) -> int:
    if count is not None and count < 1:
        raise ValueError(f"count is how many are shown, at least 1 (None: all), not {count}")
    return there if count is None else min(count, there)


# --- feature maps ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FeatureMaps:
    """What one layer gives for one picture: (channels, height, width), or (features,) where places are gone."""

    layer: Layer
    values: Array

    def strongest(self) -> list[int]:
        """The channels by their largest value, the largest first."""
        peaks = self.values.reshape(len(self.values), -1).max(1)
        return [int(i) for i in np.argsort(-peaks, kind="stable")]

    def pictures(self, count: int | None = 64, order: Order = "strongest") -> Pictures:
        """The maps as pictures, `count` of them (None: all): dark is low, or blue, white and red by sign.

        Each channel is scaled by itself, and its largest value stands below it. Features without places are one
        picture, in rows. Raises ValueError for another order.
        """
        if order not in ("number", "strongest"):
            raise ValueError(f"the order of channels is 'number' or 'strongest', not {order!r}")
        title = str(self.layer)
        if self.values.ndim == 1:
            columns = math.ceil(math.sqrt(2 * len(self.values)))
            rows = np.zeros((math.ceil(len(self.values) / columns), columns), np.float32)
            rows.reshape(-1)[: len(self.values)] = self.values
            note = f"All {len(self.values)} numbers, in rows from the top left; what is left of the last row is empty."
            return Pictures([self._coloured(rows)], [f"up to {images.number(self.values.max())}"], title, note, 1, 360)
        chosen = self.strongest() if order == "strongest" else list(range(len(self.values)))
        chosen = chosen[: _count(count, len(chosen))]
        labels = [f"{i}: {images.number(self.values[i].max())}" for i in chosen]
        note = (
            f"{len(chosen)} of {len(self.values)} channels"
            + (", those with the largest values" if order == "strongest" and len(chosen) < len(self.values) else "")
            + "; below each its number and its largest value, by which it is scaled. "
            + ("Blue is negative, red positive." if self.signed else "Dark is low, light is high.")
            + " A bright map says that its unit answers there, not that the answer rests on it."
        )
        return Pictures([self._coloured(self.values[i]) for i in chosen], labels, title, note, None, 96)

    @property
    def signed(self) -> bool:
        """Whether any value is negative."""
        return bool((self.values < 0).any())

    def _coloured(self, values: Array) -> Picture:
        level = images.normalised(values, self.signed) if values.any() else np.zeros(values.shape)
        return images.coloured(level, "diverging" if self.signed else "sequential")


def feature_maps(net: Module, x: Any, layers: Sequence[str | Layer] | None = None) -> list[FeatureMaps]:
    """What layers of a network give for one picture, in evaluation mode, in one run.

    x: a prepared picture, array or tensor, (channels, height, width) or with a 1 before it; layers: names (None: the
    last map of each size, from fine to coarse). Raises ValueError for several pictures, a picture that the network does
    not take, or a layer that it does not have.

    >>> import coolnn as cool
    >>> found = cool.explain.feature_maps(cool.models.create("lenet5"), cool.zeros(1, 28, 28), ["pool1", "fc1"])
    >>> [one.values.shape for one in found]
    [(6, 14, 14), (120,)]
    """
    picture = single(x)
    known = Layers(net, picture.shape[1:])
    wanted = known.stages() if layers is None else [known[layer] for layer in layers]
    with evaluating(net), no_grad():
        _, values = tapped(net, picture, wanted)
    return [FeatureMaps(layer, value.numpy()[0]) for layer, value in zip(wanted, values, strict=True)]


def single(x: Any) -> Tensor:
    """One prepared picture as a batch of one (1, channels, height, width); raises ValueError for anything else."""
    tensor = x if isinstance(x, Tensor) else from_numpy(np.asarray(x, np.float32))
    if tensor.ndim == 3:
        tensor = tensor.reshape((1, *tensor.shape))
    if tensor.ndim != 4 or tensor.shape[0] != 1:
        raise ValueError(
            f"one prepared picture is wanted, (channels, height, width) or with a 1 before it, not {tensor.shape}; "
            "a model's preprocessing makes one of a file: model.preprocessing('photo.jpg')"
        )
    return tensor.detach()
