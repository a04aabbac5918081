"""The work that `cool bench` measures, by name."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import __version__, _core, models, ops, optim
from ..data import ArrayDataset, Loader
from ..graph import compile, compile_step
from ..options import get_num_threads
from ..tensor import from_numpy
from .timing import interleave

Array = np.ndarray[Any, np.dtype[Any]]

EPOCH_PICTURES = 60_000  # MNIST's


@dataclass(frozen=True)
class Workload:
    """Something to measure: a network with its input, trained or run, or a matrix product."""

    kind: str  # train | infer | epoch | matmul
    model: str = ""
    batch: int = 1
    size: int = 224
    channels: int = 3
    classes: int = 1000

    @property
    def title(self) -> str:
        """What is measured, in words."""
        if self.kind == "matmul":
            return f"matrix product {self.size} x {self.size} x {self.size}"
        if self.kind == "epoch":
            return f"{self.model}, {EPOCH_PICTURES:,} pictures through the loader, batch {self.batch}"
        verb = "training step" if self.kind == "train" else "inference"
        return f"{self.model} {verb}, batch {self.batch}, {self.channels} x {self.size} x {self.size}"


WORKLOADS = {
    "lenet5": Workload("train", "lenet5", 64, 28, 1, 10),
    "vgg19": Workload("train", "vgg19", 8),
    "lenet5-infer": Workload("infer", "lenet5", 1, 28, 1, 10),
    "vgg19-infer": Workload("infer", "vgg19", 1),
    "lenet5-epoch": Workload("epoch", "lenet5", 64, 28, 1, 10),
    "matmul": Workload("matmul", size=1024),
}


def run(workload: Workload, seconds: float = 10.0, peers: bool = True, least: int = 5) -> dict[str, Any]:
    """Measures a workload here and, if PyTorch is installed, there; the medians in seconds and the ratio.

    The answers are compared before anything is timed, so that a fast wrong one cannot win. Raises RuntimeError if they
    differ.
    """
    peers = peers and importlib.util.find_spec("torch") is not None
    if peers:
        import torch

        torch.set_num_threads(get_num_threads())
    runs, difference = _RUNNERS[workload.kind](workload, peers)
    timings = interleave(runs, seconds, least)
    ours = timings.pop("coolnn")
    eager = timings.pop("coolnn eager", None)
    result: dict[str, Any] = {
        "work": workload.title,
        "coolnn_seconds": ours.median,
        "coolnn_eager_seconds": eager and eager.median,
        "peers": {name: timing.median for name, timing in timings.items()},
        "threads": get_num_threads(),
        "isa": _core.isa(),
        "versions": {"coolnn": __version__, "numpy": np.__version__, "python": platform.python_version()},
        "runs": len(ours.seconds),
    }
    if peers:
        result["ratio"] = min(result["peers"].values()) / ours.median
        result["difference"] = difference
        result["versions"]["torch"] = torch.__version__
    return result


def _agree(what: str, ours: Any, theirs: Any, bound: float) -> float:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    difference = float(np.abs(ours - theirs).max() / max(float(np.abs(theirs).max()), 1e-30))
    if not difference < bound:
        raise RuntimeError(f"{what}: the results differ by {difference:.1e} (relative), more than {bound:.0e}")
    return difference


def _inputs(workload: Workload) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    shape = (workload.batch, workload.size, workload.size, workload.channels)
    images = rng.standard_normal(shape, np.float32).transpose(0, 3, 1, 2)
    return images, rng.integers(0, workload.classes, workload.batch)


def _network(workload: Workload) -> Any:
    return models.create(workload.model, num_classes=workload.classes, in_channels=workload.channels)


def _train(workload: Workload, peers: bool) -> tuple[dict[str, Callable[[], Any]], float]:
    lr = 1e-4  # small: the loss must stay a number for as long as the measurement takes
    images, labels = _inputs(workload)
    net = _network(workload)
    runs: dict[str, Callable[[], Any]] = {}
    difference = 0.0
    if peers:
        from . import peer_torch

        difference = _same_gradients(net, images, labels, workload.title)
        runs |= peer_torch.training_steps(net, images, labels, lr)
    step = compile_step(net, optimizer=optim.SGD(net.parameters(), lr=lr, momentum=0.9))
    x, y = from_numpy(images), from_numpy(labels)
    eager_net = _network(workload)
    eager_optimizer = optim.SGD(eager_net.parameters(), lr=lr, momentum=0.9)

    def eager() -> float:
        eager_optimizer.zero_grad()
        loss = ops.cross_entropy(eager_net(x), y)
        loss.backward()
        eager_optimizer.step()
        return float(loss)

    return {"coolnn": lambda: float(step(x, y)), "coolnn eager": eager, **runs}, difference


def _same_gradients(net: Any, images: Array, labels: Array, title: str) -> float:
    """Compares loss and first-layer gradient with PyTorch's, in evaluation mode (no dropout)."""
    import torch

    from . import peer_torch

    twin = peer_torch.mirror(net).eval()
    loss = torch.nn.functional.cross_entropy(
        twin(torch.from_numpy(np.ascontiguousarray(images))), torch.from_numpy(labels)
    )
    loss.backward()
    net.eval()
    ours = ops.cross_entropy(net(from_numpy(images)), from_numpy(labels))
    ours.backward()
    gradient = next(iter(net.parameters())).grad.numpy()
    net.train()
    for parameter in net.parameters():
        parameter.grad = None
    _agree(title, ours.item(), loss.item(), 1e-4)
    # Through 19 layers of float32 with ReLUs that may flip, gradients agree to about three digits.
    return _agree(title, gradient, next(iter(twin.parameters())).grad.numpy(), 1e-2)


def _infer(workload: Workload, peers: bool) -> tuple[dict[str, Callable[[], Any]], float]:
    images, _ = _inputs(workload)
    net = _network(workload).eval()
    x = from_numpy(images)
    compiled = compile(net)

    def forward() -> Array:
        return compiled(x).numpy()

    runs: dict[str, Callable[[], Any]] = {"coolnn": forward}
    difference = 0.0
    if peers:
        from . import peer_torch

        others = peer_torch.inferences(net, images)
        difference = max(_agree(workload.title, forward(), other(), 1e-4) for other in others.values())
        runs |= others
    return runs, difference


def _matmul(workload: Workload, peers: bool) -> tuple[dict[str, Callable[[], Any]], float]:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((workload.size, workload.size), np.float32) for _ in range(2))
    x, y = from_numpy(a), from_numpy(b)
    runs: dict[str, Callable[[], Any]] = {"coolnn": lambda: ops.matmul(x, y), "numpy": lambda: a @ b}
    difference = _agree(workload.title, ops.matmul(x, y).numpy(), a @ b, 1e-5)
    if peers:
        import torch

        ta, tb = torch.from_numpy(a), torch.from_numpy(b)
        runs["torch mm"] = lambda: torch.mm(ta, tb)
    return runs, difference


def _epoch(workload: Workload, peers: bool) -> tuple[dict[str, Callable[[], Any]], float]:
    """One pass over as many pictures as MNIST has (random ones: speed does not depend on what is on them)."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (EPOCH_PICTURES, workload.size, workload.size, workload.channels), np.uint8)
    labels = rng.integers(0, workload.classes, EPOCH_PICTURES)
    net = _network(workload)
    runs: dict[str, Callable[[], Any]] = {}
    if peers:
        from . import peer_torch

        runs = peer_torch.epochs(net, pictures, labels, workload.batch)
    loader = Loader(ArrayDataset(pictures, labels), workload.batch, shuffle=True)
    step = compile_step(net, optimizer=optim.SGD(net.parameters(), lr=1e-4, momentum=0.9))

    def epoch() -> float:
        return sum(float(step(x, y)) for x, y in loader)

    return {"coolnn": epoch, **runs}, 0.0


_RUNNERS = {"train": _train, "infer": _infer, "epoch": _epoch, "matmul": _matmul}
