"""A question to a network: this picture, these numbers of the output. Methods are functions of it that give answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...data import Preprocessing
from ..layers import Layer
from .programs import Programs

Array = NDArray[np.float32]


@dataclass
class Answer:
    """What a method gives for one target: the map (H, W), the attribution it comes from, whether it is signed."""

    map: Array
    raw: Array
    signed: bool
    layer: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Question:
    """A picture x (1, C, H, W) and selections (K, …) of the output: what is asked for K numbers of it.

    Methods that run the network on the picture anyway leave what it gave in `known`.
    """

    programs: Programs
    x: Array
    selections: Array
    classes: bool  # whether the numbers are scores of classes, which have shares
    preprocessing: Preprocessing | None = None
    seed: int = 0
    known: Array | None = None

    @property
    def outputs(self) -> Array:
        """What the network gives for the picture, (1, …); computed once."""
        if self.known is None:
            self.known = self.programs.outputs(self.x)
        return self.known

    @property
    def values(self) -> NDArray[np.float64]:
        """The K numbers that are asked for."""
        values: NDArray[np.float64] = self._selected(self.outputs)[0]
        return values

    def scores(self, x: Array) -> NDArray[np.float64]:
        """The K numbers for each picture of a batch, (B, K)."""
        return self._selected(self.programs.outputs(x))

    def masked(self, masks: Array, fill: Array, shares: bool = False) -> NDArray[np.float64]:
        """The K numbers, or the classes' `shares`, where masks (N, H, W) let the picture through and else `fill`."""
        outputs = self.programs.masked(self.x, masks, fill)
        return self._selected(self.shares(outputs) if shares else outputs)

    def shares(self, outputs: Array) -> Array:
        """What classes get of 1: softmax, or sigmoid of a single one; what adds up to 1 already stays as it is."""
        if not self.classes:
            return outputs
        x = outputs.astype(np.float64)
        if x.shape[1] == 1:
            inside = bool(((self.outputs >= 0) & (self.outputs <= 1)).all())
            return outputs if inside else np.asarray(1 / (1 + np.exp(-x)), np.float32)
        if (self.outputs >= 0).all() and abs(float(self.outputs.sum()) - 1) < 1e-3:
            return outputs
        powers = np.exp(x - x.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)

    def gradients(self, rule: str | None = None) -> list[Array]:
        """The gradient (C, H, W) of each of the K numbers for the picture's pixels."""
        x = np.repeat(self.x, len(self.selections), 0)
        return list(self.programs.gradients(x, self.selections, rule)[0])

    def gradients_at(self, x: Array, k: int, size: int) -> Array:
        """The gradient of number k at each picture of a batch of at most `size`, which one program serves."""
        whole = np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), np.float32)]) if len(x) < size else x
        selections = np.repeat(self.selections[k : k + 1], size, 0)
        return self.programs.gradients(whole, selections)[0][: len(x)]

    def batch(self, count: int, kind: Literal["outputs", "gradients"]) -> int:
        """How many of `count` pictures to compute at a time."""
        return self.programs.batch(count, kind)

    def baseline(self, what: str | float | Array) -> Array:
        """An input (1, C, H, W) that shows nothing: "mean" (zeros), "black", "white", a number, or a given input."""
        if isinstance(what, str):
            if what == "mean":
                return np.zeros_like(self.x)
            if what not in ("black", "white"):
                raise ValueError(f"there is no baseline {what!r}; there are: mean, black, white, a number, an array")
            prepare = self.preprocessing or Preprocessing()
            pixels = np.full((1, *self.x.shape[2:], self.x.shape[1]), 0 if what == "black" else 255, np.uint8)
            return np.ascontiguousarray(prepare.normalize(pixels))
        given = np.asarray(what, np.float32)
        if given.ndim and given.shape not in (self.x.shape, self.x.shape[1:]):
            raise ValueError(f"a baseline is of the input's shape {self.x.shape[1:]}, not {given.shape}")
        return np.array(np.broadcast_to(given, self.x.shape))

    def map_layer(self, layer: str | Layer | None) -> Layer:
        """A layer with places; without a name the last of them on the way to what is explained."""
        layers, of = self.programs.layers, self.programs.of
        if layer is not None:
            return layers.map(layer)
        if of == layers.output:
            return layers.last_map
        before = [found for found in layers.maps() if found.call < of.call]
        if not before:
            raise ValueError(f"no layer with places runs before {of}")
        return before[-1]

    def _selected(self, outputs: Array) -> NDArray[np.float64]:
        rows = self.selections.reshape(len(self.selections), -1).astype(np.float64)
        found: NDArray[np.float64] = outputs.reshape(len(outputs), -1).astype(np.float64) @ rows.T
        return found
