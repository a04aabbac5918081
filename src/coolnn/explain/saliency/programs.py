"""The compiled programs that all methods are made of: outputs, gradients, class maps, and outputs under masks."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ... import nn, ops
from ...autograd import grad, set_grad_enabled
from ...graph import Compiled
from ...nn import evaluating
from ...tensor import Tensor
from ..layers import Layer, Layers, tapped
from .rules import backward_rule

Array = NDArray[np.float32]
Weighting = Literal["grad_cam", "grad_cam++", "layer_cam"]

#: Bytes of a batch's intermediate results; more pictures at a time gain little, and caches are small.
_BATCH_BYTES = 400 << 20
_BATCH = 16


class ClassMaps(NamedTuple):
    """What a layer's map says of K numbers of the output."""

    raw: Array  # (K, h, w), at the layer's resolution
    maps: Array  # (K, H, W), at the picture's
    outputs: Array  # of the network, (1, …)


class Programs:
    """What a network computes for one shape of input, compiled when first asked for; the network stays as it is.

    `of` is the layer whose numbers are explained, "output" as a rule. Pictures are (B, C, H, W), selections (K, …) are
    weights for the numbers of `of`: 1 for a class, 0 for all others.
    """

    def __init__(self, net: nn.Module, shape: Sequence[int], of: str | Layer = "output") -> None:
        self.net = net
        self.layers = Layers(net, shape)
        self.shape = self.layers.input_shape
        self.of = self.layers[of]
        self._made: dict[Any, Compiled] = {}
        sizes = [math.prod(layer.shape) for layer in self.layers] or [0]
        self._bytes = {"outputs": 12 * max(sizes), "gradients": 8 * sum(sizes)}

    def batch(self, count: int, kind: Literal["outputs", "gradients"]) -> int:
        """How many of so many pictures to compute at a time: equal batches, so that little of the last is lost."""
        most = max(1, min(_BATCH, _BATCH_BYTES // max(self._bytes[kind], 1)))
        return math.ceil(count / math.ceil(count / most))

    def outputs(self, x: Array) -> Array:
        """What `of` gives for a batch, (B, …)."""
        return _numpy(self._program("outputs", lambda x: self._run(x, [])[0])(x))

    def gradients(self, x: Array, selections: Array, rule: str | None = None) -> tuple[Array, Array]:
        """The gradient of each picture's selected number for its pixels, and the outputs; B selections for B pictures.

        rule: how rectifiers hand gradients back, see `backward_rule`; None for the derivative.
        """

        def run(x: Tensor, selections: Tensor) -> list[Tensor]:
            output, _ = self._run(x, [], wanted=True)
            with contextlib.nullcontext() if rule is None else backward_rule(rule):
                found = grad((output * selections).sum(), x, allow_unused=True)[0]
            return [x * 0.0 if found is None else found, output]

        gradient, output = self._program(("gradients", rule), run)(x, selections)
        return _numpy(gradient), _numpy(output)

    def class_maps(self, x: Array, selections: Array, layer: Layer, weighting: Weighting) -> ClassMaps:
        """The class maps of one picture for K selections, by one run of the network."""

        def run(x: Tensor, selections: Tensor) -> list[Tensor]:
            output, (features,) = self._run(x, [layer], wanted=True)
            found = []
            for k in range(selections.shape[0]):
                score = (output * selections[k : k + 1]).sum()
                slope = grad(score, features, retain_graph=True, allow_unused=True)[0]
                if slope is None:
                    raise ValueError(f"layer {layer} does not lead to {self.of}; choose one that runs before it")
                found.append(_WEIGHTINGS[weighting](features, slope))
            raw = ops.concat(found, 0) if len(found) > 1 else found[0]
            return [raw, ops.interpolate(raw, size=self.shape[1:], mode="bilinear"), output]

        raw, maps, output = self._program(("class maps", layer, weighting), run)(x, selections)
        return ClassMaps(_numpy(raw)[:, 0], _numpy(maps)[:, 0], _numpy(output))

    def masked(self, x: Array, masks: Array, fill: Array) -> Array:
        """What `of` gives where of picture x (1, C, H, W) is left what masks (N, H, W) of 0..1 show; (N, …).

        The rest is that of `fill`, which is (1, C, H, W) too.
        """

        def run(x: Tensor, fill: Tensor, masks: Tensor) -> Tensor:
            return self._run(x * masks + fill * (1.0 - masks), [])[0]

        program = self._program("masked", run)
        size = self.batch(len(masks), "outputs")
        found = []
        for start in range(0, len(masks), size):
            part = masks[start : start + size]
            whole = np.concatenate([part, np.ones((size - len(part), *part.shape[1:]), np.float32)])
            found.append(_numpy(program(x, fill, whole[:, None]))[: len(part)])
        return np.concatenate(found)

    def _run(self, x: Tensor, taps: Sequence[Layer], wanted: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Runs the network in evaluation mode; what `of` gave, and what the tapped layers did."""
        with evaluating(self.net), set_grad_enabled(wanted):
            x.requires_grad = wanted
            output, found = tapped(self.net, x, [*taps, self.of])
        return (output if self.of == self.layers.output else found[-1]), found[: len(taps)]

    def _program(self, key: Any, function: Callable[..., Any]) -> Compiled:
        if key not in self._made:

            def wanting(*inputs: Tensor) -> Any:  # whether or not whoever asks for a map wants gradients
                with set_grad_enabled(True):
                    return function(*inputs)

            self._made[key] = Compiled(wanting)
        return self._made[key]


def _grad_cam(features: Tensor, slope: Tensor) -> Tensor:
    return (slope.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).relu()


def _grad_cam_pp(features: Tensor, slope: Tensor) -> Tensor:
    square = slope.square()
    below = 2.0 * square + features.sum((2, 3), keepdim=True) * square * slope
    # Where there is no slope there is nothing to share out; a vanishing sum would give a share without bound.
    shares = ops.where(ops.eq(slope, 0.0), 0.0, square / (below + 1e-6))
    return ((shares * slope.relu()).sum((2, 3), keepdim=True) * features).sum(1, keepdim=True).relu()


def _layer_cam(features: Tensor, slope: Tensor) -> Tensor:
    return (slope.relu() * features).sum(1, keepdim=True).relu()


_WEIGHTINGS: dict[Weighting, Callable[[Tensor, Tensor], Tensor]] = {
    "grad_cam": _grad_cam,
    "grad_cam++": _grad_cam_pp,
    "layer_cam": _layer_cam,
}


def _numpy(tensor: Tensor) -> Array:
    return np.array(tensor.numpy(), np.float32)
