"""The same networks in PyTorch, each in the settings in which it may be fastest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import nn

Array = np.ndarray[Any, np.dtype[Any]]


def mirror(module: nn.Module) -> Any:
    """The PyTorch twin of a network of ours: the same layers with the same weights.

    Works for trees of layers with a PyTorch layer of the same name and arguments, and for networks whose forward is
    that of torchvision's (features, pooling, flatten, classifier).
    """
    import torch

    twin = _mirror(module, torch)
    state = {
        name: torch.from_numpy(np.array(tensor.numpy(), order="C")) for name, tensor in module.state_dict().items()
    }
    twin.load_state_dict(state)
    return twin


def _mirror(module: nn.Module, torch: Any) -> Any:
    children = list(module.named_children())
    if not children:
        args, kwargs = module.arguments
        return getattr(torch.nn, type(module).__name__)(*args, **kwargs)
    if isinstance(module, nn.Sequential):
        return torch.nn.Sequential(*[_mirror(child, torch) for _, child in children])
    names = [name for name, _ in children]
    if names != [name for name in ("features", "avgpool", "classifier") if name in names]:
        raise NotImplementedError(f"no PyTorch twin is known for {type(module).__name__}")

    class Twin(torch.nn.Module):  # type: ignore[misc]  # torch is optional, so its types are unknown
        def forward(self, x: Any) -> Any:
            for name in names:
                if name == "classifier":
                    x = torch.flatten(x, 1)
                x = getattr(self, name)(x)
            return x

    twin = Twin()
    for name, child in children:
        setattr(twin, name, _mirror(child, torch))
    return twin


def training_steps(net: nn.Module, images: Array, labels: Array, lr: float) -> dict[str, Callable[[], float]]:
    """One training step (SGD with momentum) in PyTorch's settings: default layout and channels-last."""
    import torch

    steps: dict[str, Callable[[], float]] = {}
    for name in ("default", "channels_last"):
        twin = mirror(net).train()
        x, y = torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels)
        if name == "channels_last":
            twin, x = twin.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(twin.parameters(), lr=lr, momentum=0.9)

        def step(twin: Any = twin, x: Any = x, y: Any = y, optimizer: Any = optimizer) -> float:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(twin(x), y)
            loss.backward()
            optimizer.step()
            return float(loss)

        steps[f"torch {name}"] = step
    return steps


def inferences(net: nn.Module, images: Array) -> dict[str, Callable[[], Array]]:
    """One forward pass in PyTorch's settings: default layout and channels-last."""
    import torch

    runs: dict[str, Callable[[], Array]] = {}
    for name in ("default", "channels_last"):
        twin = mirror(net).eval()
        x = torch.from_numpy(np.ascontiguousarray(images))
        if name == "channels_last":
            twin, x = twin.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)

        def run(twin: Any = twin, x: Any = x) -> Array:
            with torch.inference_mode():
                return twin(x).numpy()  # type: ignore[no-any-return]

        runs[f"torch {name}"] = run
    return runs


def epochs(net: nn.Module, pictures: Array, labels: Array, batch: int) -> dict[str, Callable[[], float]]:
    """One epoch of training in PyTorch: with its DataLoader, and with batches taken from tensors by hand."""
    import torch

    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().float().div(255)
    y = torch.from_numpy(labels)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch, shuffle=True)

    def by_hand() -> Any:
        order = torch.randperm(len(x))
        for start in range(0, len(x), batch):
            chosen = order[start : start + batch]
            yield x[chosen], y[chosen]

    runs: dict[str, Callable[[], float]] = {}
    for name, batches in (("DataLoader", lambda: loader), ("by hand", by_hand)):
        twin = mirror(net).train()
        optimizer = torch.optim.SGD(twin.parameters(), lr=1e-4, momentum=0.9)

        def run(twin: Any = twin, optimizer: Any = optimizer, batches: Callable[[], Any] = batches) -> float:
            total = 0.0
            for images, targets in batches():
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(twin(images), targets)
                loss.backward()
                optimizer.step()
                total += float(loss)
            return total

        runs[f"torch {name}"] = run
    return runs
