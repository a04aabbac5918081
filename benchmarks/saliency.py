"""Times Grad-CAM and occlusion against PyTorch: pytorch-grad-cam, Captum, and the same written by hand.

    python benchmarks/saliency.py [--model squeezenet1_1] [--size 224] [--threads 2] [--seconds 6] [--window 32]

Both run the same network with the same random weights on the same picture for the same class, PyTorch in both memory
layouts; the maps are compared before anything is timed. All take turns in one process; times are medians.
"pytorch-grad-cam" goes back to the weights of all layers, as that library does; "by hand" asks PyTorch only for the
gradient of the layer's map. Captum hides one window at a time, or a batch of them, whichever is faster.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import coolnn as cool
from coolnn.bench import peer_torch
from coolnn.bench.portable import folded
from coolnn.bench.timing import interleave
from coolnn.explain import Explainer, Layers

Run = Callable[[], Any]
TARGET = 1


class Twin(torch.nn.Module):  # type: ignore[misc]  # untyped
    """Our network in PyTorch, batch norm folded, the tapped layer's rectifier as a module for libraries to hook."""

    def __init__(self, net: cool.nn.Module, shape: tuple[int, ...], call: int, layout: Any) -> None:
        super().__init__()
        self.body = peer_torch.module_of(folded(net, (1, *shape))).to(memory_format=layout)
        rectifiers = [n for n in self.body.graph.nodes if n.target in (torch.relu, torch.nn.functional.relu)]
        self.tap = torch.nn.ReLU()
        self.body.add_module("tap", self.tap)
        last = rectifiers[call]
        last.op, last.target, last.kwargs = "call_module", "tap", {}
        for node in self.body.graph.nodes:
            if node.target is torch.reshape:
                node.kwargs = {"shape": (-1, *node.kwargs["shape"][1:])}
        self.body.recompile()

    def forward(self, x: Any) -> Any:
        return self.body(x)[0]


def by_hand(twin: Twin, x: Any) -> Any:
    """Grad-CAM with nothing computed that it does not need."""
    kept = []
    handle = twin.tap.register_forward_hook(lambda module, inputs, output: kept.append(output))
    try:
        score = twin(x)[0, TARGET]
    finally:
        handle.remove()
    (slope,) = torch.autograd.grad(score, kept)
    raw = (slope.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).relu()
    return torch.nn.functional.interpolate(raw, size=x.shape[2:], mode="bilinear").detach().numpy()[0, 0]


def grad_cam_library() -> Any:
    """pytorch-grad-cam; what it imports from torchvision is not used here, so that may be missing."""
    if importlib.util.find_spec("torchvision") is None:
        for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__dict__.update(dict.fromkeys(("Compose", "Normalize", "ToTensor", "resize")))
    import pytorch_grad_cam

    return pytorch_grad_cam


def unit(values: Any) -> Any:
    """A map brought to 0..1."""
    return (values - values.min()) / (np.ptp(values) or 1)


def report(title: str, runs: dict[str, Run], seconds: float, normalised: bool) -> None:
    """Compares the maps, measures, prints a table."""
    maps = {name: run() for name, run in runs.items()}
    ours = maps["coolnn"]
    for name, found in maps.items():
        a, b = (unit(ours), unit(found)) if normalised else (ours, found)
        difference = float(np.abs(a - b).max() / np.abs(b).max())
        if difference > 1e-3:
            raise SystemExit(f"{title}: the map of {name} differs by {difference:.1e}")
    timings = interleave(runs, seconds, 3)
    print(f"\n{title}\n| | ms | times ours |\n|---|---|---|")
    for name, timing in timings.items():
        print(f"| {name} | {timing.median * 1e3:.1f} | {timing.median / timings['coolnn'].median:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="squeezenet1_1")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--only", choices=("grad_cam", "occlusion"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    cool.set_num_threads(options.threads)
    cool.manual_seed(0)
    net = cool.models.create(options.model).eval()
    shape = (3, options.size, options.size)
    x = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)
    explain = Explainer(net)
    layer = Layers(net, shape).last_map
    twins = {name: Twin(net, shape, -1, layout).eval() for name, layout in peer_torch.LAYOUTS.items()}
    inputs = {name: torch.from_numpy(x).to(memory_format=layout) for name, layout in peer_torch.LAYOUTS.items()}

    if options.only != "occlusion":
        library = grad_cam_library()
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        runs: dict[str, Run] = {"coolnn": lambda: explain(x, "grad_cam", TARGET, layer=layer).map}
        for name, twin in twins.items():
            cam = library.GradCAM(twin, [twin.tap])
            wanted = [ClassifierOutputTarget(TARGET)]
            runs[f"pytorch-grad-cam, {name}"] = lambda cam=cam, x=inputs[name], wanted=wanted: cam(x, wanted)[0]
            runs[f"by hand, {name}"] = lambda twin=twin, x=inputs[name]: by_hand(twin, x)
        report(f"Grad-CAM, {options.model}, {options.size} pixels", runs, options.seconds, normalised=True)
    if options.only != "grad_cam":
        from captum.attr import Occlusion

        window, stride = options.window, options.window // 2
        runs = {"coolnn": lambda: explain(x, "occlusion", TARGET, window=window, stride=stride).map}
        for name, twin in twins.items():
            for at_once in (1, 8):

                def run(twin: Twin = twin, x: Any = inputs[name], at_once: int = at_once) -> Any:
                    with torch.inference_mode():
                        found = Occlusion(twin).attribute(
                            x, (3, window, window), (3, stride, stride), target=TARGET, perturbations_per_eval=at_once
                        )
                    return found.numpy()[0, 0]

                runs[f"Captum, {name}, {at_once} at once"] = run
        title = f"Occlusion, {options.model}, {options.size} pixels, window {window}, stride {stride}"
        report(title, runs, options.seconds, normalised=False)


if __name__ == "__main__":
    main()
