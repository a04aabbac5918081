"""The same networks in PyTorch, each in the settings in which it may be fastest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import models, nn

#: Networks whose parts run one after the other, in the order in which they are defined.
_CHAINS = (nn.Sequential, models.LeNet5, models.AlexNet, models.VGG)

Array = np.ndarray[Any, np.dtype[Any]]


def mirror(module: nn.Module) -> Any:
    """The PyTorch twin of a network of ours: the same layers with the same weights.

    Works for layers with a PyTorch layer of the same name and arguments, in `Sequential`s and in those networks of the
    zoo that run their parts one after the other. Raises NotImplementedError for others.
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
    if isinstance(module, nn.GlobalAvgPool2d):
        return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    if not children and hasattr(torch.nn, type(module).__name__):
        args, kwargs = module.arguments
        return getattr(torch.nn, type(module).__name__)(*args, **kwargs)
    if not isinstance(module, _CHAINS):
        raise NotImplementedError(f"no PyTorch twin is known for {type(module).__name__}")
    return torch.nn.Sequential(OrderedDict((name, _mirror(child, torch)) for name, child in children))


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
            return float(loss.item())

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
                total += float(loss.item())
            return total

        runs[f"torch {name}"] = run
    return runs
