"""The work that `cool bench` measures, by name."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from .. import __version__, _core, machine, models, ops, optim
from ..data import ArrayDataset, Loader
from ..diagnosis import processor_name
from ..graph import compile, compile_step
from ..options import get_num_threads
from ..tensor import from_numpy
from . import peers, processes
from .peers import ROUNDED, Array, Setting
from .timing import Timing, interleave

EPOCH_PICTURES = 60_000  # MNIST's
#: A relu or a maximum near a tie may go the other way, and gradients with it: PyTorch's own float32 gradients of VGG19
#: are 1e-2 of the largest away from float64 ones.
GRADIENTS = 5e-2
_STYLE_TITLES = {
    "style": "style transfer, an iteration at {0} x {0}",
    "style-memory": "style transfer at {0} x {0}, peak memory",
    "style-loss": "style transfer at {0} x {0}, the loss after 100 steps of Adam",
    "paint": "a photograph of {0} x {0} painted in one pass",
}


@dataclass(frozen=True)
class Workload:
    """Something to measure: a network with its input, trained or run, or a matrix product."""

    kind: str  # train | infer | epoch | matmul | memory | start | style | style-memory | style-loss | paint
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
        if self.kind == "start":
            return "import, and import with a first prediction of LeNet-5"
        if self.kind in _STYLE_TITLES:
            return _STYLE_TITLES[self.kind].format(self.size)
        if self.kind == "epoch":
            return f"{self.model}, {EPOCH_PICTURES:,} pictures through the loader, batch {self.batch}"
        verb = {"train": "training step", "infer": "inference", "memory": "training step, peak memory"}[self.kind]
        return f"{self.model} {verb}, batch {self.batch}, {self.channels} x {self.size} x {self.size}"


WORKLOADS = {
    "vgg19": Workload("train", "vgg19", 8),
    "resnet18": Workload("train", "resnet18", 32),
    "resnet20": Workload("train", "resnet20", 32, 32, 3, 10),
    "lenet5": Workload("train", "lenet5", 64, 28, 1, 10),
    "lenet5-epoch": Workload("epoch", "lenet5", 64, 28, 1, 10),
    "vgg19-infer": Workload("infer", "vgg19"),
    "resnet50-infer": Workload("infer", "resnet50"),
    "mobilenet_v2-infer": Workload("infer", "mobilenet_v2"),
    "lenet5-infer": Workload("infer", "lenet5", 1, 28, 1, 10),
    "matmul": Workload("matmul", size=1024),
    "matmul-4096": Workload("matmul", size=4096),
    "vgg19-memory": Workload("memory", "vgg19", 8),
    "style": Workload("style", size=512),
    "style-memory": Workload("style-memory", size=512),
    "start": Workload("start"),
}
#: `cool bench zoo`: the canon, one picture at a time.
ZOO = {
    name: Workload("infer", name)
    for name in (
        *("vgg16", "vgg19", "resnet18", "resnet50", "squeezenet1_1"),
        *("mobilenet_v2", "efficientnet_lite0", "densenet121"),
    )
}
#: `cool bench styles`: style transfer, by optimisation and in one pass.
STYLES = {
    "style": WORKLOADS["style"],
    "style-memory": WORKLOADS["style-memory"],
    "style-loss": Workload("style-loss", size=128),
    **{f"paint-{size}": Workload("paint", size=size) for size in (256, 512, 1024, 1536, 2048)},
}


@dataclass
class Contest:
    """Everybody who does a piece of work, with the differences of their answers from ours."""

    ours: dict[str, Callable[[], Any]]
    others: list[Setting] = field(default_factory=list)
    differences: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    flops: float = 0.0

    def join(self, what: str, make: Callable[[], list[Setting]]) -> None:
        """Lets a peer take part, or notes why it cannot."""
        try:
            self.others += make()
        except NotImplementedError as error:
            self.notes.append(f"{what}: left out, it has no {error}")

    def check(self, title: str, answer: Array) -> None:
        """Compares the others' answers with ours; raises RuntimeError, so that a fast wrong one cannot win."""
        for setting in self.others:
            theirs = np.asarray(setting.run())
            self.differences[setting.name] = agree(f"{title}, {setting.name}", answer, theirs, setting.tolerance)


def agree(what: str, ours: Any, theirs: Any, bound: float) -> float:
    """The largest difference relative to the largest number; raises RuntimeError if it is not below the bound."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.shape != theirs.shape:
        raise RuntimeError(f"{what}: the results have shapes {ours.shape} and {theirs.shape}")
    difference = float(np.abs(ours - theirs).max() / max(float(np.abs(theirs).max()), 1e-30))
    if not difference < bound:
        raise RuntimeError(f"{what}: the results differ by {difference:.1e} (relative), more than {bound:.0e}")
    return difference


def run(
    workload: Workload, seconds: float = 10.0, others: Sequence[str] | None = None, least: int = 5, slow: bool = False
) -> dict[str, Any]:
    """Measures a workload here and with the peers (modules of `peers.PEERS`; all that are installed by default).

    The answers are compared before anything is timed. Gives medians in seconds, and for each peer the ratio of its
    time to ours and the difference of its answer. Raises RuntimeError if answers differ by more than the stated bound.
    """
    chosen = list(peers.installed()) if others is None else list(others)
    if workload.kind in processes.KINDS:
        return _described(workload, chosen) | processes.measure(workload, chosen)
    contest = _CONTESTS[workload.kind](workload, chosen, slow)
    runs = {**contest.ours, **{setting.name: setting.run for setting in contest.others}}
    timings = interleave(runs, seconds, least)
    ours = timings["coolnn"].median
    rows = [_row(name, timing, ours, contest) for name, timing in timings.items()]
    rivals = [timings[setting.name].median / ours for setting in contest.others if setting.same_precision]
    return _described(workload, chosen) | {
        "unit": "seconds",
        "rows": rows,
        "ratio": min(rivals, default=None),
        "runs": len(timings["coolnn"].seconds),
        "notes": contest.notes,
    }


def _row(name: str, timing: Timing, ours: float, contest: Contest) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "seconds": timing.median, "best_seconds": timing.best}
    row |= {"ratio": timing.median / ours, "difference": contest.differences.get(name)}
    row["float32"] = all(setting.same_precision for setting in contest.others if setting.name == name)
    if contest.flops:
        row["gflops"] = contest.flops / timing.median / 1e9
    return row


def _described(workload: Workload, chosen: Sequence[str]) -> dict[str, Any]:
    """What every result says of where it comes from."""
    versions = {peers.package_of(name): version for name, version in peers.installed().items() if name in chosen}
    return {
        "work": workload.title,
        "threads": get_num_threads(),
        "isa": _core.isa(),
        "processor": processor_name(),
        "peak_gflops": machine.peak_rate() / 1e9,
        "versions": {
            "coolnn": __version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            **versions,
        },
    }


# --- the kinds of work -----------------------------------------------------------------------------------------------


def _inputs(workload: Workload) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    shape = (workload.batch, workload.size, workload.size, workload.channels)
    images = rng.standard_normal(shape, np.float32).transpose(0, 3, 1, 2)
    return images, rng.integers(0, workload.classes, workload.batch)


def _network(workload: Workload) -> Any:
    return models.create(workload.model, num_classes=workload.classes, in_channels=workload.channels)


def _torch(chosen: Sequence[str]) -> Any:
    """The one peer that trains."""
    return cast(Any, peers.load("peer_torch")) if "peer_torch" in chosen else None


def _infer(workload: Workload, chosen: Sequence[str], slow: bool) -> Contest:
    images, _ = _inputs(workload)
    net = _network(workload).eval()
    x, compiled = from_numpy(images), compile(net)
    contest = Contest({"coolnn": lambda: compiled(x).numpy()})
    if _core.has_bf16():
        rounded = compile(net, precision="bf16")
        contest.others.append(Setting("coolnn bf16", lambda: rounded(x).numpy(), ROUNDED))
    for name in chosen:
        contest.join(
            peers.package_of(name),
            lambda name=name: peers.load(name).inferences(net, images, get_num_threads(), slow),  # type: ignore[misc]
        )
    contest.check(workload.title, compiled(x).numpy())
    return contest


def _train(workload: Workload, chosen: Sequence[str], slow: bool) -> Contest:
    lr = 1e-4  # small: the loss must stay a number for as long as the measurement takes
    images, labels = _inputs(workload)
    net = _network(workload)
    contest = Contest({})
    torch = _torch(chosen)
    if torch is not None:
        difference = _same_gradients(torch, net, images, labels, workload.title)
        threads = get_num_threads()
        contest.join("torch", lambda: torch.training_steps(net, images, labels, lr, threads, slow))
        contest.differences = {setting.name: difference for setting in contest.others}
    step = compile_step(net, optimizer=optim.SGD(net.parameters(), lr=lr, momentum=0.9))
    x, y = from_numpy(images), from_numpy(labels)
    contest.ours["coolnn"] = lambda: float(step(x, y))
    return contest


def _same_gradients(torch: Any, net: Any, images: Array, labels: Array, title: str) -> float:
    """Compares loss and all gradients with PyTorch's, in evaluation mode (no dropout); the largest difference."""
    from .portable import traced

    graph = traced(net, images.shape)
    loss, gradients = torch.loss_and_gradients(graph, images, labels)
    net.eval()
    ours = ops.cross_entropy(net(from_numpy(images)), from_numpy(labels))
    ours.backward()
    net.train()
    agree(title, ours.item(), loss, 1e-4)
    differences = [agree(title, tensor.grad.numpy(), theirs, GRADIENTS) for tensor, theirs in gradients.items()]
    for parameter in net.parameters():
        parameter.grad = None
    return max(differences)


def _matmul(workload: Workload, chosen: Sequence[str], slow: bool) -> Contest:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((workload.size, workload.size), np.float32) for _ in range(2))
    x, y = from_numpy(a), from_numpy(b)
    contest = Contest({"coolnn": lambda: ops.matmul(x, y)}, flops=2.0 * workload.size**3)
    contest.others = [Setting("numpy", lambda: a @ b)]
    torch = _torch(chosen)
    if torch is not None:
        contest.others += torch.products(a, b, get_num_threads())
    contest.check(workload.title, ops.matmul(x, y).numpy())
    return contest


def _epoch(workload: Workload, chosen: Sequence[str], slow: bool) -> Contest:
    """One pass over as many pictures as MNIST has (random ones: speed does not depend on what is on them)."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (EPOCH_PICTURES, workload.size, workload.size, workload.channels), np.uint8)
    labels = rng.integers(0, workload.classes, EPOCH_PICTURES)
    net = _network(workload)
    loader = Loader(ArrayDataset(pictures, labels), workload.batch, shuffle=True, drop_last=True)
    step = compile_step(net, optimizer=optim.SGD(net.parameters(), lr=1e-4, momentum=0.9))
    contest = Contest({"coolnn": lambda: sum(float(step(x, y)) for x, y in loader)})
    torch = _torch(chosen)
    if torch is not None:
        contest.others = torch.epochs(net, pictures, labels, workload.batch, get_num_threads())
    return contest


def _style(workload: Workload, chosen: Sequence[str], slow: bool) -> Contest:
    """An iteration of style transfer, by us and by PyTorch in both layouts, on the same goal."""
    from . import painting

    net, title = painting.vgg19(), workload.title
    contest = Contest({"coolnn": painting.iterations(net, workload.size)})
    if "peer_torch" in chosen:
        torch = cast(Any, importlib.import_module(f"{__package__}.torch_painting"))
        whole, start = painting.objective(net, workload.size)
        losses, gradient = whole(start)
        for layout in torch.LAYOUTS:
            given = net, workload.size, layout, get_num_threads()
            loss, theirs = torch.gradient(*given)
            agree(title, losses.total, loss, 1e-4)
            # Of all pixels together: a maximum near a tie that goes the other way is far off at one of them.
            apart = float(np.linalg.norm(gradient - theirs) / np.linalg.norm(theirs))
            if not apart < GRADIENTS / 5:
                raise RuntimeError(f"{title}, {layout}: the gradients differ by {apart:.1e} (relative)")
            contest.differences[layout] = apart
            contest.others.append(Setting(layout, torch.iterations(*given)))
    return contest


def _paint(workload: Workload, chosen: Sequence[str], slow: bool) -> Contest:
    from . import painting

    return Contest({"coolnn": painting.painter(workload.size)})


_CONTESTS = {"train": _train, "infer": _infer, "epoch": _epoch, "matmul": _matmul, "style": _style, "paint": _paint}
