"""What a process of its own is asked for: its peak memory, how long it takes until it has answered, its last loss."""

from __future__ import annotations

import importlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import machine, models, nn, optim
from ..graph import compile_step
from ..options import get_num_threads

if TYPE_CHECKING:
    from .workloads import Workload

#: The kinds of work that are measured here, with the unit of their figures.
KINDS = {"memory": "bytes", "style-memory": "bytes", "style-loss": "loss", "start": "seconds"}
#: How often a start is measured; the middle one counts.
STARTS = 7
#: Steps of Adam after which the losses of style transfer are compared.
STYLE_STEPS = 100
_PREDICTION = "; cool.compile(cool.models.create('lenet5'))(cool.zeros(1, 1, 28, 28)).numpy()"
_STARTS = {
    "coolnn import": "import coolnn",
    "coolnn import and prediction": "import coolnn as cool" + _PREDICTION,
    "torch import": "import torch",
}


def measure(workload: Workload, chosen: Sequence[str]) -> dict[str, Any]:
    """The rows of a result: a figure for each program, and its ratio to ours."""
    programs = ["coolnn"] + ["torch"] * ("peer_torch" in chosen)
    unit = KINDS[workload.kind]
    if workload.kind == "start":
        found = {name: start_seconds(code) for name, code in _STARTS.items() if name.split()[0] in programs}
    elif workload.kind == "memory":
        found = {name: _peak(name, workload) for name in programs}
    else:
        names = programs + ["torch channels-last"] * ("torch" in programs)
        call = "style_bytes({!r}, {})" if unit == "bytes" else f"style_loss({{!r}}, {{}}, {STYLE_STEPS})"
        found = {name: _asked(call.format(name, workload.size)) for name in names}
    ours = next(iter(found.values()))
    rows = [
        {"name": name, unit: value, "ratio": value / ours, "difference": None, "float32": True}
        for name, value in found.items()
    ]
    rivals = [value / ours for name, value in found.items() if not name.startswith("coolnn")]
    return {"unit": unit, "rows": rows, "ratio": min(rivals, default=None), "notes": []}


def start_seconds(code: str, times: int = STARTS) -> float:
    """How long a fresh interpreter takes for a line of code, without its own start: the median of some runs.

    A first run that is not counted compiles what is not compiled yet, as an installation does.
    """
    timed = f"import time; begin = time.perf_counter(); {code}; print(time.perf_counter() - begin)"
    with tempfile.TemporaryDirectory(prefix="coolnn-bench-") as folder:
        own = {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""} if "coolnn" in code else {}
        ask(timed, own)
        return statistics.median(float(ask(timed, own)) for _ in range(times))


def _peak(name: str, workload: Workload) -> float:
    words = (name, workload.model, workload.batch, workload.size, workload.channels, workload.classes)
    return _asked(f"step_bytes{words!r}")


def _asked(call: str) -> float:
    """The value of a call of one of this module's functions, in a process of its own."""
    return float(ask(f"from {__package__} import processes; print(processes.{call})"))


def ask(code: str, variables: Mapping[str, str] | None = None) -> str:
    """The last line that a fresh interpreter prints for some code; raises RuntimeError if it fails."""
    threads = str(get_num_threads())
    environment = os.environ | {"COOLNN_THREADS": threads, "OMP_NUM_THREADS": threads} | dict(variables or {})
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"a measuring process failed: {(run.stderr.splitlines() or ['no message'])[-1]}")
    return run.stdout.splitlines()[-1]


def step_bytes(name: str, model: str, batch: int, size: int, channels: int, classes: int) -> int:
    """Peak memory of this process with three training steps (SGD with momentum), ours or PyTorch's.

    PyTorch's network is made from ours without numbers; all that the process had before it loaded PyTorch, the
    interpreter included, does not count.
    """
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, channels, size, size), np.float32)
    labels = rng.integers(0, classes, batch)
    if name == "coolnn":
        net = models.create(model, classes, channels)
        step = compile_step(net, optimizer=optim.SGD(net.parameters(), lr=1e-4, momentum=0.9))
        for _ in range(3):
            step(images, labels)
        return machine.peak_memory()
    with nn.meta_parameters():
        net = models.create(model, classes, channels)
    before = machine.resident_memory()
    torch = importlib.import_module(f"{__package__}.peer_torch")
    (setting,) = torch.training_steps(net, images, labels, 1e-4, get_num_threads(), layouts=("torch channels-last",))
    for _ in range(3):
        setting.run()
    return machine.peak_memory() - before


def style_bytes(name: str, size: int) -> int:
    """Peak memory of this process with three iterations of style transfer, ours or PyTorch's in a layout.

    All that the process had before it loaded PyTorch, the interpreter and the weights included, does not count there.
    """
    from . import painting

    if name == "coolnn":
        run = painting.iterations(painting.vgg19(), size)
        painting.run_once(run, 3)
        return machine.peak_memory()
    net = painting.vgg19()
    before = machine.resident_memory()
    torch = importlib.import_module(f"{__package__}.torch_painting")
    painting.run_once(torch.iterations(net, size, name, get_num_threads()), 3)
    return machine.peak_memory() - before


def style_loss(name: str, size: int, steps: int) -> float:
    """The loss after so many steps of Adam on a picture, ours or PyTorch's in a layout."""
    from . import painting

    net = painting.vgg19()
    if name == "coolnn":
        run = painting.iterations(net, size)
    else:
        run = importlib.import_module(f"{__package__}.torch_painting").iterations(net, size, name, get_num_threads())
    return painting.run_once(run, steps + 1)[-1]
