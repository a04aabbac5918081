"""Layers: what a network computes on its way, by name, for pictures of one size; found from a run, not from code."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..autograd import following
from ..models import receptive
from ..models.receptive import ReceptiveField
from ..nn import Module, evaluating
from ..tensor import Tensor, meta
from .trace import Trace, trace

#: Operations that bring a map to another size and learn nothing: the map before them is the same one, finer.
_RESAMPLING = {"max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "lp_pool2d", "resize2d"}


@dataclass(frozen=True)
class Layer:
    """What one module, at one of its uses, gives for one picture."""

    name: str  # dotted path of the module; " (use 2)" follows where it had run before
    kind: str  # its class
    shape: tuple[int, ...]  # without the batch: (channels, height, width), or (features,)
    call: int  # number of the operation that makes it, in the order of a run
    output: int  # which of the outputs of that operation it is

    @property
    def is_map(self) -> bool:
        """Whether it has places: more than one row or column."""
        return len(self.shape) == 3 and self.shape[1] * self.shape[2] > 1

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}, {'×'.join(map(str, self.shape))})"


class Layers:
    """The layers of a network in the order in which they run, for inputs of one shape (channels, height, width).

    Layers are told apart by what they give, not by where the code mentions them: a module that is used twice has two,
    and blocks, imported nodes and modules of the user's own are layers as well. Where the last module of a block gives
    what the block gives, the layer has the inner one's name and answers to both. Raises ValueError for a shape that
    the network does not take.

    >>> import coolnn as cool
    >>> layers = cool.explain.Layers(cool.models.create("lenet5"), (1, 28, 28))
    >>> layers["conv2"].shape
    (16, 10, 10)
    """

    def __init__(self, net: Module, input_shape: Sequence[int]) -> None:
        self.net, self.input_shape = net, tuple(input_shape)
        try:
            with evaluating(net):
                run = trace(net, meta(1, *input_shape))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{type(net).__name__} does not run on inputs of shape {self.input_shape}: {error}"
            ) from error
        self._by_name = _layers(run)
        #: All layers in the order in which they run, each once.
        self.all = sorted({(at.call, at.output): at for at in self._by_name.values()}.values(), key=lambda at: at.call)
        self.output = _layer(run, "output", type(net).__name__, run.outputs[0])
        self._last_map = _last_map(run)
        self._necks = _necks(run)
        fields = receptive.fields([step.call for step in run.steps], run.inputs)
        seen = [(step.number, i, fields.get(id(t))) for step in run.steps for i, t in enumerate(step.call.outputs)]
        self._fields = {(number, i): field for number, i, field in seen if field is not None}

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.all)

    def __getitem__(self, name: str | Layer) -> Layer:
        if isinstance(name, Layer):
            return name
        if name in ("output", ""):
            return self.output
        if name not in self._by_name:
            raise ValueError(f"there is no layer {name!r}; {self._say(name)}")
        return self._by_name[name]

    def maps(self) -> list[Layer]:
        """The layers that have places. Raises ValueError if there is none."""
        found = [layer for layer in self.all if layer.is_map]
        if not found:
            raise ValueError(f"{type(self.net).__name__} has no layer with places: it looks at no picture as a picture")
        return found

    def map(self, name: str | Layer) -> Layer:
        """A layer that must have places. Raises ValueError, with those that do, for another."""
        layer = self[name]
        if not layer.is_map:
            others = ", ".join(at.name for at in self.maps())
            raise ValueError(f"layer {layer} has no places any more; those that do: {others}")
        return layer

    @property
    def last_map(self) -> Layer:
        """The last map before the places vanish (pooled, flattened), at its finest: what class maps are made of."""
        if self._last_map is None:
            self.maps()
            raise ValueError(f"no map of {type(self.net).__name__} leads to its output")
        named = {(at.call, at.output): at for at in self.all}
        return named.get((self._last_map.call, self._last_map.output), self._last_map)

    def field(self, layer: str | Layer) -> ReceptiveField:
        """What the units of a layer see of the picture: `field.window((row, column))` for the one at a place.

        Where channels see differently much (joined by a concatenation), all that any of them sees. Raises ValueError
        for a layer that sees nothing of it.

        >>> import coolnn as cool
        >>> cool.explain.Layers(cool.models.create("lenet5"), (1, 28, 28)).field("conv2").window((0, 3))
        ((-2, 12), (4, 18))
        """
        at = self[layer]
        if (at.call, at.output) not in self._fields:
            raise ValueError(f"layer {at} does not depend on the picture")
        return self._fields[at.call, at.output]

    def stages(self) -> list[Layer]:
        """The last map of each size that all later ones come from: the steps of the hierarchy, from fine to coarse."""
        known = [at for at in self.maps() if at.call <= self.last_map.call]
        return list({at.shape[1:]: at for at in known if at.call in self._necks or at == self.last_map}.values())

    def _say(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._by_name, 3, 0.6)
        if close:
            return f"did you mean {' or '.join(map(repr, close))}?"
        names = [layer.name for layer in self.all]
        shown = ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")
        return f"it has: {shown}"


def tapped(net: Module, x: Tensor, layers: Sequence[Layer]) -> tuple[Tensor, list[Tensor]]:
    """Runs a network on a batch; its (first) output, and what the layers gave. Also inside functions to be compiled.

    >>> import coolnn as cool
    >>> net = cool.models.create("lenet5")
    >>> wanted = [cool.explain.Layers(net, (1, 28, 28))["conv2"]]
    >>> run = cool.compile(lambda x: cool.explain.tapped(net, x, wanted)[1])
    >>> run(cool.zeros(5, 1, 28, 28))[0].shape
    (5, 16, 10, 10)
    """
    with following() as calls:
        result = net(x)
    output = result if isinstance(result, Tensor) else result[0]
    return output, [calls[layer.call].outputs[layer.output] for layer in layers]


def _layers(run: Trace) -> dict[str, Layer]:
    kinds = {
        use.label: type(use.module).__name__ for step in run.steps for use in (step.use.chain() if step.use else ())
    }
    found: dict[str, Layer] = {}
    inner: dict[int, Layer] = {}
    # Inner modules are listed after the blocks around them: the longest path goes first.
    given = {label: tensor for label, tensor in run.layers().items() if label}
    for label in sorted(given, key=lambda label: -label.count(".")):
        tensor = given[label]
        if id(tensor) not in inner:
            inner[id(tensor)] = _layer(run, label, kinds[label], tensor)
        found[label] = inner[id(tensor)]
    return found


def _layer(run: Trace, name: str, kind: str, tensor: Tensor) -> Layer:
    made = run.maker(tensor)
    assert made is not None
    return Layer(name, kind, tensor.shape[1:], made[0].number, made[1])


def _last_map(run: Trace) -> Layer | None:
    """The last map on the way to the output that is not the output itself, with resampling behind it undone."""
    behind = {id(run.outputs[0])}
    for step in reversed(run.steps):
        if not any(id(t) in behind for t in step.call.outputs):
            continue
        behind.update(id(t) for t in step.call.inputs if t is not None)
        for index, tensor in enumerate(step.call.outputs):
            layer = Layer(run.name_of(tensor), "", tensor.shape[1:], step.number, index)
            on_the_way = id(tensor) in behind and tensor is not run.outputs[0]
            if on_the_way and layer.is_map and step.call.op.name not in _RESAMPLING:
                return layer
    return None


def _necks(run: Trace) -> set[int]:
    """The numbers of the operations after which everything later depends on nothing but what they gave."""
    made = {id(t): step.number for step in run.steps for t in step.call.outputs}
    last_use = {id(t): step.number for step in run.steps for t in step.call.inputs if t is not None}
    first = {id(t): -1 for t in run.inputs}
    spans = [(number, last_use[key]) for key, number in (first | made).items() if key in last_use]
    waiting = np.zeros(len(run.steps) + 1, int)  # how many results before each operation are still needed after it
    for begin, end in spans:
        waiting[max(begin + 1, 0) : end] += 1
    return {begin for begin, end in spans if begin >= 0 and waiting[begin] == 0 and end > begin}
