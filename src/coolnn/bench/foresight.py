"""How well memory and time are foreseen: the planner's figures beside what happens, each in a process of its own."""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import numpy as np

from .. import machine, models, nn, optim
from ..graph import compile, compile_step
from ..graph.planner import forecast
from .processes import ask

#: What `cool bench plan` goes through: network, pictures, and whether it is a training step.
CASES = (
    *(("lenet5", 64, True), ("resnet20", 32, True), ("resnet18", 8, True), ("vgg19", 4, True)),
    *(("mobilenet_v2", 8, True), ("densenet121", 4, True)),
    *((name, 1, False) for name in ("lenet5", "alexnet", "vgg19", "resnet18", "resnet50", "squeezenet1_1")),
    *((name, 1, False) for name in ("mobilenet_v2", "efficientnet_lite0", "densenet121", "shufflenet_v2_x1_0")),
    *(("resnet50", 8, False), ("vgg16", 4, False), ("convnext_tiny", 1, False), ("regnet_y_400mf", 4, False)),
)


def measure(model: str, batch: int, train: bool, timed: bool = True) -> dict[str, Any]:
    """Foreseen and real bytes and, with `timed`, seconds of a run or a training step."""
    code = f"from coolnn.bench import foresight; print(foresight.report{(model, batch, train, timed)!r})"
    return {"model": model, "batch": batch, "train": train, **json.loads(ask(code))}


def report(model: str, batch: int, train: bool, timed: bool) -> str:
    """What `measure` tells, as JSON; in a process that has done nothing yet."""
    with nn.meta_parameters():
        empty = models.create(model)
    shape = (batch, *empty.input_size)
    plan = forecast(empty, shape, train=train, time=False)
    net = models.create(model)
    images, labels = np.random.default_rng(0).random(shape, np.float32), np.zeros(batch, np.int64)
    if train:
        step = compile_step(net, optimizer=optim.SGD(net.parameters(), lr=1e-4, momentum=0.9))
    else:
        network = compile(net)

    def run() -> float:
        start = time.perf_counter()
        if train:
            step(images, labels)
        else:
            network(images)
        return time.perf_counter() - start

    run(), run()
    found: dict[str, Any] = {"foreseen_bytes": plan.memory.total, "bytes": machine.peak_memory()}
    if timed:
        found["foreseen_seconds"] = forecast(empty, shape, train=train).seconds
        times = [run() for _ in range(2)]
        while sum(times) < 2 or len(times) < 5:
            times.append(run())
        found["seconds"] = statistics.median(times)
    return json.dumps(found)
