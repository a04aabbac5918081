"""The same networks in PyTorch: our traced graph, step by step in PyTorch's functions, in its fastest settings."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch._inductor.config as inductor
import torch.nn.functional as F

from .. import nn
from ..graph import Graph
from .peers import Array, Setting
from .portable import folded, traced

PACKAGE = "torch"


# --- our operations in PyTorch ---------------------------------------------------------------------------------------


def _padded(x: Any, padding: tuple[int, int, int, int], value: float = 0.0) -> tuple[Any, tuple[int, int]]:
    """PyTorch's layers pad both sides alike: what is left of (top, left, bottom, right) is laid on beforehand."""
    top, left, bottom, right = padding
    if top == bottom and left == right:
        return x, (top, left)
    return F.pad(x, (left, right, top, bottom), value=value), (0, 0)


def _conv2d(x: Any, weight: Any, bias: Any, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    x, both = _padded(x, padding)
    return F.conv2d(x, weight, bias, stride, both, dilation, groups)


def _more(x: Any, kernel: Any, stride: Any, padding: Any, output: Any, dilation: Any = (1, 1)) -> Any:
    """Padding with what windows of ceil_mode reach beyond it."""
    top, left, bottom, right = padding
    reach = [(output[i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 for i in (0, 1)]
    return (
        top,
        left,
        max(bottom, reach[0] - x.shape[2] - top),
        max(right, reach[1] - x.shape[3] - left),
    )


def _max_pool2d(x: Any, *, kernel_size: Any, stride: Any, padding: Any, dilation: Any, output_size: Any) -> Any:
    x, both = _padded(x, _more(x, kernel_size, stride, padding, output_size, dilation), -float("inf"))
    return F.max_pool2d(x, kernel_size, stride, both, dilation)


def _avg_pool2d(
    x: Any, *, kernel_size: Any, stride: Any, padding: Any, output_size: Any, count_include_pad: bool
) -> Any:
    top, left, bottom, right = padding
    if (top, left) != (bottom, right):
        raise NotImplementedError("average pooling with different padding on opposite sides")
    plain = all((x.shape[2 + i] + 2 * padding[i] - kernel_size[i]) // stride[i] + 1 == output_size[i] for i in (0, 1))
    return F.avg_pool2d(x, kernel_size, stride, (top, left), not plain, count_include_pad)


def _pad(x: Any, *, before: Any, after: Any, value: float) -> Any:
    sides = [side for pair in zip(before[::-1], after[::-1], strict=True) for side in pair]
    return F.pad(x, sides, value=value)


def _slice(x: Any, *, starts: Any, stops: Any, steps: Any) -> Any:
    return x[tuple(slice(*part) for part in zip(starts, stops, steps, strict=True))]


def _channel_affine(x: Any, scale: Any, shift: Any) -> Any:
    shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
    return x * scale.reshape(shape) + shift.reshape(shape)


def _batch_norm(x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    return F.batch_norm(x, None, None, weight, bias, True, 0.0, eps)


def _layer_norm(x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    return F.layer_norm(x, x.shape[1:], weight, bias, eps)


def _pixels_to_rows(x: Any) -> Any:
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _rows_to_pixels(x: Any, *, shape: Any) -> Any:
    n, c, h, w = shape
    return x.reshape(n, h, w, c).permute(0, 3, 1, 2)


CALLS: dict[str, Callable[..., Any]] = {
    "conv2d": _conv2d,
    "linear": F.linear,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "adaptive_avg_pool2d": F.adaptive_avg_pool2d,
    "adaptive_max_pool2d": F.adaptive_max_pool2d,
    "batch_norm": _batch_norm,
    "channel_affine": _channel_affine,
    "layer_norm": _layer_norm,
    "dropout": lambda x, state, *, p: F.dropout(x, p),
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
    "hardswish": F.hardswish,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "rsqrt": torch.rsqrt,
    "concat": lambda *xs, dim: torch.cat(xs, dim),
    "reshape": torch.reshape,
    "mean": lambda x, *, dims, keepdim: x.mean(dims, keepdim),
    "pad": _pad,
    "slice": _slice,
    "take": lambda x, indices, *, dim: x.index_select(dim, indices),
    "pixels_to_rows": _pixels_to_rows,
    "rows_to_pixels": _rows_to_pixels,
}


def module_of(graph: Graph) -> Any:
    """A PyTorch module that computes what a forward graph does, with copies of its weights.

    Raises NotImplementedError that names an operation that has no counterpart here.
    """
    root = torch.nn.Module()
    made = torch.fx.Graph()
    nodes: dict[Any, Any] = {value: made.placeholder(f"x{i}") for i, value in enumerate(graph.inputs)}
    for number, value in enumerate(graph.externals()):
        assert value.tensor is not None
        if value.tensor.is_meta:  # only for measuring
            content = torch.empty(value.spec.shape).normal_(0, 0.02)
        else:
            content = torch.from_numpy(np.array(value.tensor.numpy(), order="C"))
        name = f"weight{number}"
        if content.is_floating_point():
            root.register_parameter(name, torch.nn.Parameter(content, value.tensor.requires_grad))
        else:
            root.register_buffer(name, content)
        nodes[value] = made.get_attr(name)
    for step in graph.steps:
        if step.op.name not in CALLS:
            raise NotImplementedError(f"the operation {step.op.name} in PyTorch")
        inputs = tuple(None if value is None else nodes[value] for value in step.inputs)
        nodes[step.outputs[0]] = made.call_function(CALLS[step.op.name], inputs, dict(step.attributes))
    made.output(tuple(nodes[value] for value in graph.outputs))
    return torch.fx.GraphModule(root, made)


# --- settings --------------------------------------------------------------------------------------------------------


LAYOUTS = {"torch": torch.contiguous_format, "torch channels-last": torch.channels_last}


def inferences(net: nn.Module, images: Array, threads: int, slow: bool) -> list[Setting]:
    """Batch norm folded, in both layouts; with `slow` compiled with constant weights, too."""
    torch.set_num_threads(threads)
    graph = folded(net, images.shape)

    def setting(name: str, layout: Any, compiled: bool = False) -> Setting:
        module = module_of(graph).requires_grad_(False).to(memory_format=layout)
        x = torch.from_numpy(np.ascontiguousarray(images)).to(memory_format=layout)
        if compiled:
            inductor.freezing = True
            module = torch.compile(module)

        def run() -> Array:
            with torch.inference_mode():
                return module(x)[0].numpy()  # type: ignore[no-any-return]

        return Setting(name, run)

    found = [setting(name, layout) for name, layout in LAYOUTS.items()]
    return found + ([setting("torch compile", torch.channels_last, compiled=True)] if slow else [])


def training_steps(
    net: nn.Module,
    images: Array,
    labels: Array,
    lr: float,
    threads: int,
    slow: bool = False,
    layouts: Sequence[str] = tuple(LAYOUTS),
) -> list[Setting]:
    """One training step (cross-entropy, SGD with momentum), in both layouts; with `slow` compiled, too."""
    torch.set_num_threads(threads)
    graph = traced(net, images.shape, training=True)
    y = torch.from_numpy(labels)

    def setting(name: str, layout: Any, compiled: bool = False) -> Setting:
        module = module_of(graph).to(memory_format=layout)
        x = torch.from_numpy(np.ascontiguousarray(images)).to(memory_format=layout)
        weights = [p for p in module.parameters() if p.requires_grad]
        if compiled:
            inductor.freezing = False
            module = torch.compile(module)
        return Setting(name, _step(module, weights, x, y, lr))

    found = [setting(name, LAYOUTS[name]) for name in layouts]
    return found + ([setting("torch compile", torch.contiguous_format, compiled=True)] if slow else [])


def _step(module: Any, weights: list[Any], x: Any, y: Any, lr: float) -> Callable[[], float]:
    optimizer = torch.optim.SGD(weights, lr=lr, momentum=0.9, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(module(x)[0], y)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def loss_and_gradients(graph: Graph, images: Array, labels: Array) -> tuple[float, dict[Any, Array]]:
    """The loss of a forward graph and its derivatives for the weights, by the tensors that they belong to."""
    module = module_of(graph)
    loss = F.cross_entropy(module(torch.from_numpy(np.ascontiguousarray(images)))[0], torch.from_numpy(labels))
    loss.backward()
    found = {}
    for number, value in enumerate(graph.externals()):
        weight = getattr(module, f"weight{number}")
        if weight.grad is not None:
            found[value.tensor] = weight.grad.numpy()
    return float(loss.item()), found


def epochs(net: nn.Module, pictures: Array, labels: Array, batch: int, threads: int) -> list[Setting]:
    """One epoch of training: with PyTorch's DataLoader, and with batches taken from tensors by hand."""
    torch.set_num_threads(threads)
    graph = traced(net, (batch, *np.moveaxis(pictures, 3, 1).shape[1:]), training=True)
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().float().div(255)
    y = torch.from_numpy(labels)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch, shuffle=True, drop_last=True)

    def by_hand() -> Any:
        order = torch.randperm(len(x))
        for start in range(0, len(x) - batch + 1, batch):
            chosen = order[start : start + batch]
            yield x[chosen], y[chosen]

    def runner(batches: Callable[[], Any]) -> Callable[[], float]:
        module = module_of(graph)
        optimizer = torch.optim.SGD(module.parameters(), lr=1e-4, momentum=0.9, fused=True)

        def run() -> float:
            total = 0.0
            for images, targets in batches():
                optimizer.zero_grad()
                loss = F.cross_entropy(module(images)[0], targets)
                loss.backward()
                optimizer.step()
                total += float(loss.item())
            return total

        return run

    return [Setting("torch DataLoader", runner(lambda: loader)), Setting("torch by hand", runner(by_hand))]


def products(a: Array, b: Array, threads: int) -> list[Setting]:
    """The matrix product."""
    torch.set_num_threads(threads)
    x, y, out = torch.from_numpy(a), torch.from_numpy(b), torch.empty(len(a), b.shape[1])
    return [Setting("torch mm", lambda: torch.mm(x, y, out=out).numpy())]


def convolutions(arrays: Sequence[Array], direction: str, geometry: dict[str, Any], threads: int) -> list[Setting]:
    """One convolution's pass in both layouts: arrays are input, weight, bias and upstream gradient."""
    torch.set_num_threads(threads)
    top, left, bottom, right = geometry["padding"]
    if (top, left) != (bottom, right):
        raise NotImplementedError("a convolution with different padding on opposite sides in PyTorch")
    plain = (geometry["stride"], (top, left), geometry["dilation"], False, (0, 0), geometry["groups"])
    mask = [direction == "input_grad", direction == "weight_grad", False]

    def setting(name: str, layout: Any) -> Setting:
        bias = torch.from_numpy(arrays[2])
        x, w, g = (torch.from_numpy(arrays[i]).contiguous(memory_format=layout) for i in (0, 1, 3))

        def run() -> Array:
            if direction == "forward":
                return torch.ops.aten.convolution(x, w, bias, *plain).numpy()  # type: ignore[no-any-return]
            parts = torch.ops.aten.convolution_backward(g, x, w, [0], *plain, mask)
            return parts[0 if direction == "input_grad" else 1].numpy()  # type: ignore[no-any-return]

        return Setting(name, run)

    return [setting(name, layout) for name, layout in LAYOUTS.items()]
