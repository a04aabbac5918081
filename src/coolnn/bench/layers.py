"""Convolutions of networks as lists of shapes: files with one readable line for each, and how fast each of them is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core, machine, models, nn
from ..ops.conv import output_size
from ..options import get_num_threads
from ..spec import Shape, Spec, storage_order
from .peers import Array, Setting
from .portable import traced
from .timing import interleave
from .workloads import agree

PASSES = ("forward", "input_grad", "weight_grad")
#: Largest difference of a pass from PyTorch's, relative to its largest number: filter gradients are the longest sums.
BOUNDS = {"forward": 1e-4, "input_grad": 1e-4, "weight_grad": 5e-4}
_COLUMNS = ("n", "ic", "ih", "iw", "oc", "kh", "kw", "stride", "pad", "groups", "dilation", "count", "name")


@dataclass(frozen=True)
class Layer:
    """A convolution: n pictures of ic × ih × iw, oc filters of kh × kw; `count` times in its network."""

    n: int
    ic: int
    ih: int
    iw: int
    oc: int
    kh: int
    kw: int
    stride: tuple[int, int]
    pad: tuple[int, int, int, int]  # top, left, bottom, right
    groups: int
    dilation: tuple[int, int]
    count: int = 1
    name: str = ""

    @property
    def shapes(self) -> tuple[Shape, Shape, Shape]:
        """Of input, weight and output."""
        size = output_size((self.ih, self.iw), (self.kh, self.kw), self.stride, self.pad, self.dilation)
        return (
            (self.n, self.ic, self.ih, self.iw),
            (self.oc, self.ic // self.groups, self.kh, self.kw),
            (self.n, self.oc, *size),
        )

    @property
    def geometry(self) -> dict[str, Any]:
        """The attributes of the operation."""
        return {"stride": self.stride, "padding": self.pad, "dilation": self.dilation, "groups": self.groups}

    @property
    def macs(self) -> int:
        """Multiply-adds of a pass."""
        _, weight, output = self.shapes
        return Spec(output).size * Spec(weight).size // self.oc

    def line(self) -> str:
        """The line of a file."""
        cells = [_short(getattr(self, name)) for name in _COLUMNS]
        return " ".join(cell.rjust(8 if 6 < i < 11 else 5) for i, cell in enumerate(cells[:-1])) + f"  {self.name}"


def _short(value: Any) -> str:
    """Numbers as they are, equal ones of a tuple once: 1, 0x3, 1x1x2x2."""
    if isinstance(value, tuple):
        value = value[:2] if value[:2] == value[2:] else value
        value = value[:1] if len(set(value)) == 1 else value
        return "x".join(map(str, value))
    return str(value)


def sizes(text: str, count: int) -> Any:
    """The numbers of "1", "0x3" or "1x1x2x2", repeated until there are `count`."""
    parts = tuple(int(part) for part in text.split("x"))
    return parts * (count // len(parts))


def layers_of(model: str, size: int | None = None) -> list[Layer]:
    """The different convolutions of a network of the zoo for one picture, in the order of their first use.

    >>> from coolnn.bench import layers
    >>> print(layers.layers_of("lenet5")[0].line())
        1     1    28    28     6     5     5        1        2        1        1     1  conv1
    """
    with nn.meta_parameters():
        net = models.create(model, **({} if size is None else models.for_size(model, size)))
    channels, height, width = net.input_size
    names = {id(tensor): name.rpartition(".")[0] for name, tensor in net.named_parameters()}
    found: dict[Layer, Layer] = {}  # without count and name, and with them
    for step in traced(net, (1, channels, size or height, size or width)).steps:
        if step.op.name != "conv2d":
            continue
        x, weight = step.inputs[:2]
        assert x is not None and weight is not None
        n, ic, ih, iw = x.spec.shape
        oc, _, kh, kw = weight.spec.shape
        a = step.attributes
        layer = Layer(n, ic, ih, iw, oc, kh, kw, a["stride"], a["padding"], a["groups"], a["dilation"])
        before = found.get(layer, replace(layer, count=0, name=names.get(id(weight.tensor), "")))
        found[layer] = replace(before, count=before.count + 1)
    return list(found.values())


def write_layers(title: str, layers: Iterable[Layer]) -> str:
    """The text of a file."""
    header = " ".join(name.rjust(8 if 6 < i < 11 else 5) for i, name in enumerate(_COLUMNS[:-1]))
    return "\n".join([f"# {title}", f"#{header[1:]}  {_COLUMNS[-1]}", *(layer.line() for layer in layers)]) + "\n"


def read_layers(path: str | Path) -> list[Layer]:
    """The layers of a file; raises ValueError that quotes a line that is none."""
    found = []
    for number, line in enumerate(Path(path).read_text().splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = line.split()
        plain = r"\d+"
        sized = r"\d+(x\d+){0,3}"
        patterns = [plain] * 7 + [sized] * 2 + [plain, sized, plain]
        if len(cells) not in (12, 13) or not all(map(re.fullmatch, patterns, cells)):
            raise ValueError(f"{path}, line {number}: this is no layer: {line!r}; the columns are {' '.join(_COLUMNS)}")
        n, ic, ih, iw, oc, kh, kw = map(int, cells[:7])
        stride, pad, dilation = (sizes(cells[i], count) for i, count in ((7, 2), (8, 4), (10, 2)))
        more = (int(cells[9]), dilation, int(cells[11]), "".join(cells[12:]))
        found.append(Layer(n, ic, ih, iw, oc, kh, kw, stride, pad, *more))
    return found


# --- measuring -------------------------------------------------------------------------------------------------------


def _problem(layer: Layer, direction: str) -> tuple[str, dict[str, Any], tuple[int | None, ...], int]:
    """Operation, attributes, and which of input, weight, bias and output gradient go in and come out."""
    x, weight, _ = layer.shapes
    if direction == "forward":
        return "conv2d", layer.geometry, (0, 1, 2), 3
    if direction == "input_grad":
        return "conv2d_input_grad", {"input_size": x[2:], **layer.geometry}, (3, 1), 0
    return "conv2d_weight_grad", {"kernel_size": weight[2:], **layer.geometry}, (0, 3), 1


def kernel_call(layer: Layer, direction: str, arrays: Sequence[Array]) -> tuple[str, Callable[[], Array]]:
    """The algorithm chosen for a pass, and a call of its kernel on these arrays (input, weight, bias, gradient)."""
    name, attributes, given, made = _problem(layer, direction)
    inputs = [arrays[i] for i in given if i is not None]
    shape = arrays[made].shape
    kernel = _core.prepare(name, attributes, tuple((0, a.shape) for a in inputs), ((0, shape),))
    if kernel is None:
        raise RuntimeError(f"the engine has no kernel for {name} of {layer.line()}")
    buffers = tuple(_stored(a) for a in inputs)
    result = _core.Buffer(Spec(shape).nbytes)
    order = storage_order(len(shape))
    view = np.frombuffer(memoryview(result), np.float32).reshape([shape[i] for i in order])

    def run() -> Array:
        kernel.run_into(buffers, (result,))
        return view.transpose(0, 3, 1, 2)

    return kernel.algorithm, run


def _stored(array: Array) -> _core.Buffer:
    buffer = _core.Buffer(array.nbytes)
    stored = array.transpose(storage_order(array.ndim))
    np.frombuffer(memoryview(buffer), np.float32)[:] = np.ascontiguousarray(stored).reshape(-1)
    return buffer


def draw(layer: Layer) -> list[Array]:
    """Random input, weight, bias and gradient for a layer."""
    rng = np.random.default_rng(0)
    x, weight, output = layer.shapes
    scale = np.float32(1 / np.sqrt(Spec(weight).size / layer.oc))
    return [
        rng.standard_normal(x, np.float32),
        rng.standard_normal(weight, np.float32) * scale,
        rng.standard_normal(layer.oc, np.float32),
        rng.standard_normal(output, np.float32),
    ]


def measure(layer: Layer, direction: str, torch: Any, seconds: float) -> dict[str, Any]:
    """Times one pass of a layer beside PyTorch (its module of this package, or None), answers compared first."""
    arrays = draw(layer)
    algorithm, ours = kernel_call(layer, direction, arrays)
    others: list[Setting] = []
    if torch is not None:
        others = torch.convolutions(arrays, direction, layer.geometry, get_num_threads())
    title = f"{layer.name} {direction}"
    difference = max((agree(title, ours(), o.run(), BOUNDS[direction]) for o in others), default=None)
    timings = interleave({"coolnn": ours, **{o.name: o.run for o in others}}, seconds, 3, pause=0.02)
    best = timings["coolnn"].median
    rivals = [timing.median for name, timing in timings.items() if name != "coolnn"]
    return {
        "layer": " ".join(layer.line().split()),
        "name": layer.name,
        "pass": direction,
        "count": layer.count,
        "algorithm": algorithm,
        "seconds": best,
        "gflops": 2e-9 * layer.macs / best,
        "share_of_peak": 2 * layer.macs / best / machine.peak_rate(),
        "peers": {name: timing.median for name, timing in timings.items() if name != "coolnn"},
        "ratio": min(rivals) / best if rivals else None,
        "difference": difference,
    }
