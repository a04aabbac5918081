"""Forecasts: memory and time before a run, and refusing what cannot work."""

from __future__ import annotations

import json

import numpy as np
import pytest

import coolnn as cool
from coolnn import machine, models, nn, optim
from coolnn.bench import foresight
from coolnn.cli import main
from coolnn.data import ArrayDataset, Loader
from coolnn.graph import estimate, planner
from coolnn.train import TrainingError


@pytest.mark.parametrize(
    ("name", "batch", "train"),
    [
        ("lenet5", 64, True),
        ("resnet20", 32, True),
        ("resnet18", 4, True),
        ("resnet50", 1, False),
        ("alexnet", 2, False),
        ("small_vgg", 32, True),
    ],
)
def test_the_peak_memory_is_foreseen_within_a_tenth(name, batch, train):
    row = foresight.measure(name, batch, train, timed=False)
    assert row["foreseen_bytes"] == pytest.approx(row["bytes"], rel=0.1)


def test_planning_takes_no_memory_and_changes_nothing():
    net = cool.models.create("resnet20")
    optimizer = optim.Adam(net.parameters())
    before = {name: t.numpy().copy() for name, t in net.state_dict().items()}
    state = cool.random.get_state()
    in_use = cool._core.memory_in_use()
    plan = cool.forecast(net, (4096, 3, 32, 32), train=True, optimizer=optimizer, time=False)
    assert plan.memory.arena > 1 << 30 and cool._core.memory_in_use() - in_use < 1 << 20
    assert not optimizer.state and net.training and cool.random.get_state() == state
    assert all(np.array_equal(before[name], t.numpy()) for name, t in net.state_dict().items())
    weights = sum(p.spec.nbytes for p in net.parameters())
    assert plan.memory.optimizer == pytest.approx(2 * weights, rel=0.02)  # Adam keeps two numbers for each


def test_the_forecast_is_that_of_the_network_that_then_runs():
    with nn.meta_parameters():
        empty = models.create("resnet20")
    net = models.create("resnet20")
    plans = [cool.forecast(n, (8, 3, 32, 32), train=train, time=False) for n in (empty, net) for train in (False, True)]
    assert plans[0].memory.arena == plans[2].memory.arena and plans[1].memory.arena == plans[3].memory.arena
    compiled = cool.compile(net, (8, 3, 32, 32))
    assert plans[0].memory.arena == compiled.program(cool.meta(8, 3, 32, 32).spec).bytes


def test_largest():
    assert planner.largest(lambda n: n <= 37, 1000) == 37
    assert planner.largest(lambda n: False, 1000) == 0
    assert planner.largest(lambda n: True, 1000) == 999
    assert planner.largest(lambda n: True, 1) == 0


def small_trainer(batch):
    pictures = np.random.default_rng(0).integers(0, 255, (256, 32, 32, 3), np.uint8)
    loader = Loader(ArrayDataset(pictures, np.zeros(256, int), ["a", "b"]), batch)
    val = Loader(ArrayDataset(pictures[:8], np.zeros(8, int), ["a", "b"]), 8)
    return cool.Trainer(models.create("resnet20", 2), loader, val, epochs=1, quiet=True)


def test_a_training_that_does_not_fit_says_so_before_it_begins_and_what_would(monkeypatch):
    room = 100 << 20
    monkeypatch.setattr(machine, "available_memory", lambda: machine.Available(room, "container"))
    trainer = small_trainer(256)
    in_use = cool._core.memory_in_use()
    with pytest.raises(TrainingError, match=r"256×3×32×32 takes .* this container leaves 100 MiB") as error:
        trainer.fit()
    assert cool._core.memory_in_use() - in_use < 8 << 20 and trainer.step == 0
    best = int(str(error.value).split("batch_size=")[1].split()[0])
    assert 1 < best < 256
    small_trainer(best)._train_step(np.zeros((best, 3, 32, 32), np.float32), np.zeros(best, int))
    with pytest.raises(TrainingError, match=f"largest batch that fits is {best}"):
        small_trainer(best + 1).fit()
    monkeypatch.setattr(machine, "available_memory", lambda: machine.Available(0, "machine"))
    with pytest.raises(TrainingError, match="not even a batch of 1"):
        small_trainer(2).fit()


def test_the_time_is_that_of_the_plan():
    """Only the order of magnitude: other tests may run beside this one. docs/benchmarks.md has measurements."""
    net = models.create("lenet5")
    one, many = (cool.forecast(net, (n, 1, 28, 28), train=True).seconds for n in (1, 256))
    assert one is not None and many is not None
    assert 1e-5 < one < 0.1 and 2 * one < many < 10


def test_kernels_too_large_to_be_tried_are_calculated(monkeypatch):
    monkeypatch.setattr(estimate, "_SCRATCH", 1 << 16)
    net = models.create("lenet5")
    plan = cool.forecast(net, (64, 1, 28, 28))
    assert plan.seconds is not None and 1e-5 < plan.seconds < 1


def test_cool_plan(capsys, monkeypatch):
    assert main(["plan", "vgg19", "--batch", "8", "--train", "--memory"]) == 0
    text = capsys.readouterr().out
    assert "548 MiB" in text and "peak memory" in text and "time" not in text
    assert main(["plan", "lenet5", "--size", "32", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["input_shape"] == [1, 1, 32, 32] and plan["seconds"] > 0 and plan["fits"]
    monkeypatch.setattr(machine, "available_memory", lambda: machine.Available(3 << 30, "machine"))
    assert main(["plan", "vgg19", "--batch", "64", "--train", "--optimizer", "adam"]) == 1
    assert "largest batch that fits is" in capsys.readouterr().err
    assert main(["plan", "vgg99"]) == 2
