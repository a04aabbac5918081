"""Times the steps of preferred pictures beside a Lucent-style loop in PyTorch, on the same network and numbers.

    python benchmarks/preferred_pictures.py [--layer 22] [--size 128] [--batch 4] [--seconds 10] [--threads 2]

VGG16's convolutions with random weights (speed does not depend on what they are). Both have the same objective (the
mean of a channel a picture), a Fourier parameterisation with decorrelated colours, shifts, scales and turns of the same
picture, and Adam. PyTorch's loop is written as Lucent's (torch.fft.irfft2; one affine grid_sample in place of four
transforms, which is faster), with the weights' gradients switched off; its layouts take turns with ours in one process.
Before anything is timed the objective and its gradient by the picture are compared.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import coolnn as cool
from coolnn.bench.timing import interleave
from coolnn.explain import Subject
from coolnn.explain.preferred import RECIPES, channel
from coolnn.explain.preferred.ascent import Ascent
from coolnn.explain.preferred.parameters import colour_axes
from coolnn.optim import Adam
from coolnn.tensor import from_numpy

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LAYOUTS = {"torch": torch.contiguous_format, "torch channels-last": torch.channels_last}


def ours(net: cool.nn.Module, layer: str, size: int, channels: list[int]) -> tuple[Any, Any]:
    """A function that makes one step, and the compiled step beneath it."""
    subject = Subject(net, size, "imagenet")
    objective, recipe = channel(layer, channels), RECIPES["modern"]
    ascent = Ascent(subject, objective, recipe, subject.size)
    draws = [np.random.default_rng(i) for i in range(len(channels))]
    numbers = from_numpy(recipe.parameterisation.start(draws, 3, subject.size))
    given = [from_numpy(array) for array in objective.given(subject.layers, len(channels))]
    adam = Adam([numbers], lr=recipe.lr)

    def step() -> None:
        matrices = from_numpy(recipe.transform.matrices(draws, subject.size))
        gradient, _, _ = ascent._compiled(numbers, matrices, *given)
        ascent._move(numbers, gradient, adam, 1)

    return step, ascent


def module(net: cool.nn.Module, layer: str, layout: Any) -> Any:
    """The network up to a layer in PyTorch."""
    layers: list[Any] = []
    for number, ours in enumerate(net):  # type: ignore[arg-type]
        if isinstance(ours, cool.nn.Conv2d):
            made = torch.nn.Conv2d(ours.in_channels, ours.out_channels, 3, padding=1)
            made.weight.data = torch.tensor(np.ascontiguousarray(ours.weight.numpy()))
            made.bias.data = torch.tensor(ours.bias.numpy())
            layers.append(made)
        else:
            layers.append(torch.nn.ReLU() if isinstance(ours, cool.nn.ReLU) else torch.nn.MaxPool2d(2, 2))
        if str(number) == layer:
            break
    return torch.nn.Sequential(*layers).requires_grad_(False).to(memory_format=layout)


def score(net: Any, picture: Any, wanted: Any) -> Any:
    """The objective of pictures in 0..1."""
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    return (net((picture - mean) / std).mean((2, 3)) * wanted).sum(1)


def lucent(net: Any, size: int, channels: list[int], width: int, layout: Any) -> Any:
    """A function that makes one step of a Lucent-style loop."""
    count = len(channels)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    scale = torch.tensor(size / np.maximum(frequency, 1 / size) / 4, dtype=torch.float32)[..., None]
    spectrum = torch.randn(count, 3, size, size // 2 + 1, 2, generator=torch.Generator().manual_seed(0)) * 0.01
    spectrum.requires_grad_(True)
    axes = torch.tensor(colour_axes())
    wanted = F.one_hot(torch.tensor(channels), width).float()
    adam = torch.optim.Adam([spectrum], lr=0.05)
    rng = np.random.default_rng(0)

    def step() -> None:
        adam.zero_grad()
        x = torch.fft.irfft2(torch.view_as_complex(spectrum * scale), s=(size, size))
        x = torch.sigmoid(torch.einsum("ij,njhw->nihw", axes, x))
        turn, zoom = np.deg2rad(rng.uniform(-6, 6, count)), 1 / rng.uniform(0.9, 1.1, count)
        shift = rng.uniform(-12 / size, 12 / size, (2, count))
        cos, sin = np.cos(turn) * zoom, np.sin(turn) * zoom
        theta = np.stack([np.stack([cos, -sin, shift[0]], 1), np.stack([sin, cos, shift[1]], 1)], 1)
        grid = F.affine_grid(torch.tensor(theta, dtype=torch.float32), x.shape, align_corners=False)
        x = F.grid_sample(x - 0.5, grid, align_corners=False) + 0.5
        loss = -score(net, x.contiguous(memory_format=layout), wanted).sum()
        loss.backward()
        adam.step()

    return step


def compare(net: cool.nn.Module, layer: str, size: int, channels: list[int], width: int) -> float:
    """How far apart the gradients by the picture are, as a share of their length."""
    rng = np.random.default_rng(0)
    picture = rng.random((len(channels), 3, size, size), np.float32)
    x = torch.tensor(picture, requires_grad=True)
    wanted = F.one_hot(torch.tensor(channels), width).float()
    score(module(net, layer, torch.contiguous_format), x, wanted).sum().backward()
    subject = Subject(net, size, "imagenet")
    at = subject.layers[layer]
    factor, offset = (from_numpy(v[None]) for v in subject.affine)
    objective = channel(layer, channels)
    given = [from_numpy(array) for array in objective.given(subject.layers, len(channels))]

    def value(p: cool.Tensor) -> cool.Tensor:
        _, (found,) = cool.explain.tapped(net, p * factor + offset, [at])
        return objective.value({layer: found}, iter(given)).sum()

    _, gradient = cool.compile_gradient(value)(picture)
    assert x.grad is not None
    theirs = x.grad.numpy()
    return float(np.linalg.norm(gradient.numpy() - theirs) / np.linalg.norm(theirs))


def main() -> None:
    """Prints medians in milliseconds a step, and PyTorch's over ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", default="22", help="number of VGG16's layer (22: relu4_3)")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=cool.get_num_threads())
    chosen = parser.parse_args()
    cool.set_num_threads(chosen.threads)
    torch.set_num_threads(chosen.threads)
    with cool.nn.meta_parameters():
        meta = cool.models.create("vgg16")
    made = [
        type(m)(m.in_channels, m.out_channels, 3, padding=1) if isinstance(m, cool.nn.Conv2d) else m
        for m in meta.features
    ]
    for layer in made:
        if isinstance(layer, cool.nn.Conv2d):
            cool.nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    net = cool.nn.Sequential(*made).eval()
    channels = list(range(chosen.batch))
    width = Subject(net, chosen.size, "imagenet").layers[chosen.layer].shape[0]
    print(f"gradients differ by {compare(net, chosen.layer, chosen.size, channels, width):.1e} of their length")
    runs = {"coolnn": ours(net, chosen.layer, chosen.size, channels)[0]}
    for name, layout in LAYOUTS.items():
        runs[name] = lucent(module(net, chosen.layer, layout), chosen.size, channels, width, layout)
    timings = interleave(runs, chosen.seconds, 3)
    for name, timing in timings.items():
        ratio = timing.median / timings["coolnn"].median
        print(f"{name:20} {timing.median * 1e3:8.1f} ms a step ({len(timing.seconds)} runs)   {ratio:.2f}")


if __name__ == "__main__":
    main()
