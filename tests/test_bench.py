"""Measuring: in turn, with answers compared first."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from coolnn import bench, diagnosis
from coolnn.bench import Workload, workloads

TORCH = importlib.util.find_spec("torch") is not None
SMALL = {
    "train": Workload("train", "lenet5", 2, 28, 1, 10),
    "infer": Workload("infer", "lenet5", 1, 28, 1, 10),
    "matmul": Workload("matmul", size=16),
}


def test_interleave_takes_turns():
    order = []
    timings = bench.interleave(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, seconds=0.0, least=3, pause=0.0
    )
    assert len(timings["a"].seconds) == len(timings["b"].seconds) == 3
    assert timings["a"].best <= timings["a"].median


@pytest.mark.parametrize("kind", SMALL)
def test_workloads_run(kind):
    result = bench.run(SMALL[kind], seconds=0.05)
    assert result["coolnn_seconds"] > 0 and result["work"]
    assert ("ratio" in result) == TORCH
    if TORCH:
        assert result["difference"] < 1e-2 and any(name.startswith("torch") for name in result["peers"])


def test_epoch_runs(monkeypatch):
    monkeypatch.setattr(workloads, "EPOCH_PICTURES", 20)
    result = bench.run(Workload("epoch", "lenet5", 8, 28, 1, 10), seconds=0.0)
    assert result["coolnn_seconds"] > 0


def test_wrong_answers_do_not_win():
    with pytest.raises(RuntimeError, match="differ"):
        workloads._agree("x", np.ones(3), np.ones(3) * 1.1, 1e-3)


def test_doctor_finds_the_machine_and_right_numbers():
    facts = diagnosis.facts()
    assert facts["instruction sets"] and facts["coolnn"]
    results = list(diagnosis.check_numbers())
    assert results and all(result["ok"] for result in results)
