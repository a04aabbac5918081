"""COOLNN_VERBOSE: every step of eager runs and of plans, on stderr."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

import coolnn as cool
from coolnn import verbose
from coolnn.verbose import StepReport

PROGRAM = """
import coolnn as cool
net = cool.models.create("lenet5").eval()
x = cool.zeros(2, 1, 28, 28)
eager = net(x)
print("---", file=__import__("sys").stderr)
cool.compile(net)(x)
"""


def run(value):
    environment = os.environ | {"COOLNN_VERBOSE": value}
    words = [sys.executable, "-c", PROGRAM]
    return subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stderr


def test_every_step_of_eager_runs_and_of_plans_is_printed():
    eager, compiled = run("1").split("---\n")
    assert eager.splitlines()[0].startswith("coolnn: ") and verbose.HEADER in eager
    for lines in (eager, compiled):
        convolutions = [line for line in lines.splitlines() if line.startswith("conv2d")]
        assert len(convolutions) == 2 and all("2x16x" in c or "2x6x" in c for c in convolutions)
        assert all(c.endswith("%") for c in convolutions)
        assert sum(line.startswith("linear") for line in lines.splitlines()) == 3


def test_without_it_nothing_is_printed():
    assert run("") == "---\n" and run("0") == "---\n"


def test_it_can_be_switched(capsys):
    x = cool.ones(3)
    verbose.start()
    try:
        cool.ops.exp(x)
    finally:
        verbose.stop()
    cool.ops.exp(x)
    assert capsys.readouterr().err.count("\nexp ") == 1


def test_the_share_of_the_peak(monkeypatch):
    monkeypatch.setattr(cool.machine, "peak_rate", lambda: 100e9)
    report = StepReport("conv2d", "direct", (1, 2, 3, 4), 25_000_000, 1 << 20, 1e-3)
    assert report.share_of_peak == 0.5
    assert str(report).split() == ["conv2d", "direct", "1x2x3x4", "1.00", "1.000", "50.0", "50%"]
    assert StepReport("relu", "vector", (), 0, 0, 1e-3).share_of_peak is None


def test_dump_shows_the_share_of_the_peak():
    run = cool.compile(cool.models.create("lenet5"))
    lines = run.dump(np.zeros((1, 1, 28, 28), np.float32)).splitlines()
    assert lines[0] == verbose.HEADER and lines[1].endswith("%") and lines[-1].startswith("total")
    assert {len(line) for line in lines[:2]} == {len(verbose.HEADER)}
