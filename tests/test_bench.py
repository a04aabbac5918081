"""Measuring: in turn, with answers compared first."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

import coolnn as cool
from coolnn import bench, diagnosis, models, nn
from coolnn.bench import Workload, peers, processes, workloads
from coolnn.cli import main
from coolnn.cli.bench import markdown, table

TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not TORCH, reason="PyTorch is not installed")
SMALL = {
    "train": Workload("train", "lenet5", 2, 28, 1, 10),
    "infer": Workload("infer", "lenet5", 1, 28, 1, 10),
    "matmul": Workload("matmul", size=16),
}
# Together they have every operation of the zoo.
FAMILIES = (
    *("lenet5", "resnet20", "squeezenet1_1", "densenet121", "mobilenet_v3_small", "shufflenet_v2_x0_5"),
    *("efficientnet_lite0", "googlenet", "convnext_tiny"),
)


def pictures(net, size=None):
    channels, height, width = net.input_size
    shape = (1, channels, size or height, size or width)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_interleave_takes_turns():
    order = []
    timings = bench.interleave(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, seconds=0.0, least=3, pause=0.0
    )
    assert len(timings["a"].seconds) == len(timings["b"].seconds) == 3
    assert timings["a"].best <= timings["a"].median


@pytest.mark.parametrize("kind", SMALL)
def test_workloads_run(kind):
    result = bench.run(SMALL[kind], seconds=0.0, least=1)
    rows = {row["name"]: row for row in result["rows"]}
    assert rows["coolnn"]["seconds"] > 0 and result["work"] and result["peak_gflops"] > 0
    for name, row in rows.items():
        if not name.startswith("coolnn"):
            assert row["ratio"] > 0 and row["difference"] < (1e-2 if row["float32"] else peers.ROUNDED)
    if TORCH:
        assert result["ratio"] == min(r["ratio"] for n, r in rows.items() if n != "coolnn" and r["float32"])


@pytest.mark.parametrize("kind", ["style", "style-loss", "style-memory", "paint"])
def test_style_transfer_is_measured(kind, monkeypatch):
    # The same goal in PyTorch: losses and gradients are compared before an iteration is timed.
    monkeypatch.setattr(processes, "STYLE_STEPS", 3)
    result = bench.run(Workload(kind, size=64), seconds=0.0, least=1, others=["peer_torch"] if TORCH else [])
    unit = result["unit"]
    assert all(row[unit] > 0 for row in result["rows"]) and result["rows"][0]["name"] == "coolnn"
    if TORCH and kind != "paint":
        assert {row["name"] for row in result["rows"]} >= {"coolnn", "torch"}
    if TORCH and kind == "style-loss":
        assert result["ratio"] == pytest.approx(1, abs=0.01)  # what the two differ by in their sums' order
    assert "64 x 64" in table(result) and "64 x 64" in markdown(result)


def test_epoch_runs(monkeypatch):
    monkeypatch.setattr(workloads, "EPOCH_PICTURES", 20)
    result = bench.run(Workload("epoch", "lenet5", 8, 28, 1, 10), seconds=0.0, least=1)
    assert result["rows"][0]["seconds"] > 0


def test_wrong_answers_do_not_win():
    with pytest.raises(RuntimeError, match="differ by 9"):
        workloads.agree("x", np.ones(3), np.ones(3) * 1.1, 1e-3)
    with pytest.raises(RuntimeError, match="shapes"):
        workloads.agree("x", np.ones(3), np.ones((3, 1)), 1e-3)


def test_peers_that_are_not_there_are_named_in_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert peers.installed() == {}
    assert peers.missing() == "not installed: torch, onnxruntime, openvino, ncnn (pip install them to compare)"
    assert bench.run(SMALL["infer"], seconds=0.0, least=1)["ratio"] is None


def test_a_peer_that_cannot_is_left_out_with_the_reason():
    class Odd(nn.Module):
        input_size = (1, 4, 4)

        def forward(self, x):
            return cool.ops.softplus(x).reshape(1, 16)

    contest = workloads.Contest({})
    for module in peers.installed():
        if module in ("peer_torch", "peer_ncnn"):
            contest.join(module, lambda m=module: peers.load(m).inferences(Odd(), np.ones((1, 1, 4, 4)), 1, False))
    assert not contest.others and all("softplus" in note for note in contest.notes)


@needs_torch
@pytest.mark.parametrize("name", FAMILIES)
def test_pytorch_runs_the_same_network(name):
    net = models.create(name).eval()
    x = pictures(net)
    ours = cool.compile(net)(x).numpy()
    for setting in peers.load("peer_torch").inferences(net, x, 1, False):
        workloads.agree(name, ours, setting.run(), peers.FLOAT32)


@needs_torch
@pytest.mark.parametrize("name", ["lenet5", "resnet20", "mobilenet_v3_small"])
def test_pytorch_trains_the_same_network(name):
    """With the state of batch norms fixed and without dropout; every weight's gradient is compared."""
    net = models.create(name)
    images = np.repeat(pictures(net), 2, axis=0)
    assert (
        workloads._same_gradients(peers.load("peer_torch"), net, images, np.array([1, 2]), name) < workloads.GRADIENTS
    )
    (_, last) = peers.load("peer_torch").training_steps(net, images, np.array([1, 2]), 0.01, 1)
    losses = [last.run() for _ in range(3)]
    assert np.isfinite(losses).all() and len(set(losses)) == 3  # weights move


@pytest.mark.skipif("peer_ncnn" not in peers.installed(), reason="ncnn is not installed")
@pytest.mark.parametrize("name", ["lenet5", "squeezenet1_1", "mobilenet_v2", "densenet121"])
def test_ncnn_runs_the_same_network(name):
    net = models.create(name).eval()
    x = np.moveaxis(np.moveaxis(pictures(net), 1, 3).copy(), 3, 1)  # channels-last in memory, as from a loader
    (setting,) = peers.load("peer_ncnn").inferences(net, x, 1, False)
    workloads.agree(name, cool.compile(net)(x).numpy(), setting.run(), peers.FLOAT32)


@pytest.mark.parametrize("name", [name for name in ("peer_onnxruntime", "peer_openvino") if name in peers.installed()])
def test_programs_that_read_onnx_run_the_same_network(name):
    net = models.create("resnet20").eval()
    x = pictures(net)
    for setting in peers.load(name).inferences(net, x, 1, False):
        workloads.agree(name, cool.compile(net)(x).numpy(), setting.run(), setting.tolerance)


def test_memory_is_that_of_a_process():
    result = bench.run(Workload("memory", "lenet5", 8, 28, 1, 10), others=[])
    (row,) = result["rows"]
    assert 20 << 20 < row["bytes"] < 1 << 30 and result["unit"] == "bytes"


@needs_torch
def test_memory_of_pytorch_is_measured_alike():
    assert 20 << 20 < processes._peak("torch", Workload("memory", "lenet5", 8, 28, 1, 10)) < 2 << 30


def test_the_command(capsys, tmp_path):
    file = tmp_path / "results.json"
    words = ["bench", "lenet5-infer", "matmul", "--alone", "--seconds", "0.001", "--threads", "1", "--json", str(file)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "1 thread, " in out and "% of peak" in out
    assert [result["work"].split()[0] for result in json.loads(file.read_text())] == ["lenet5", "matrix"]
    cool.set_num_threads(0)
    assert main(["bench", "matmul", "--seconds", "0.001", "--rounds", "1", "--markdown", "--peers", "ncnn"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("| matrix product 1024 x 1024 x 1024 | ")
    assert main(["bench", "kernels", "--of", "lenet5", "--batch", "2", "--pass", "forward", "--seconds", "0.01"]) == 0
    assert "conv2" in capsys.readouterr().out
    for words in (["lenet7"], ["kernels"], ["lenet5", "--peers", "matlab"], ["lenet5", "--seconds", "0"]):
        assert main(["bench", *words]) == 2


def test_doctor_finds_the_machine_and_right_numbers():
    facts = diagnosis.facts()
    assert facts["instruction sets"] and facts["coolnn"]
    results = list(diagnosis.check_numbers())
    assert results and all(result["ok"] for result in results)
