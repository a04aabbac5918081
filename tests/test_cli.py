"""The command line: what is printed, how it ends, and that mistakes get one line with a remedy."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from pictures import shapes

import coolnn as cool
from coolnn import diagnosis
from coolnn.cli import VERBS, main
from coolnn.tasks import classify

QUICK = ["--size", "24", "--epochs", "1", "--batch", "8", "--model", "small_vgg", "--quiet"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli")
    shapes(root / "shapes", 8)
    run = classify.train(root / "shapes", runs=root / "runs", quiet=True, size=24, epochs=1, model="small_vgg")
    return root, run.folder


def call(capsys, *words):
    status = main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_overview_and_version(capsys):
    status, out, _ = call(capsys, "--help")
    assert status == 0 and all(verb in out for verb in VERBS)
    assert call(capsys, "--version")[1].split() == ["coolnn", cool.__version__]
    assert call(capsys)[0] == 2


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(capsys, verb):
    status, out, _ = call(capsys, verb, "--help")
    assert status == 0 and "examples:" in out and f"cool {verb}" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trian"], "did you mean 'train'"),
        (["train"], "name the data"),
        (["train", "x", "--resume", "y"], "one of the two"),
        (["train", "digits", "--lr", "fast"], "must be a number"),
        (["train", "digits", "--lr", "0"], "lr"),
        (["train", "digits", "--epochs", "0"], "1 or more"),
        (["train", "digits", "--val", "2"], "--val"),
        (["train", "digits", "--model", "resnet19"], "resnet1"),
        (["train", "digits", "--optimizer", "sdg"], "sgd"),
        (["train", "digits", "--mixup", "1", "--cutmix", "1"], "cutmix"),
        (["predict", "m", "p", "--top", "0"], "--top"),
        (["summary"], "--list"),
        (["summary", "vgg18"], "vgg1"),
        (["data", "get"], "needs a name"),
        (["data", "get", "imagenet"], "mnist"),
        (["bench", "everything"], "lenet5"),
    ],
)
def test_wrong_use_gets_one_line_and_status_2(capsys, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(capsys, *words)
    assert status == 2 and says in err and out == "" and len(err.splitlines()) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "no_such_folder"], "no_such_folder"),
        (["train", "--resume", "nothing"], "no run nothing"),
        (["predict", "no_model", "x.png"], "no_model"),
        (["eval", "no_model", "digits"], "no_model"),
        (["data", "info", "no_such_folder"], "no_such_folder"),
    ],
)
def test_failure_gets_one_line_and_status_1(capsys, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    status, _, err = call(capsys, *words)
    assert status == 1 and says in err and len(err.splitlines()) == 1 and "Traceback" not in err


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError):
        main(["predict", "no_model", "x.png", "--debug"])


def test_missing_data_says_what_to_do(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COOLNN_DATA", str(tmp_path))
    status, _, err = call(capsys, "train", "mnist")
    assert status == 1 and "cool data get mnist" in err and str(tmp_path) in err


def test_train_predict_eval_summary(capsys, tmp_path):
    shapes(tmp_path / "mine", 8)
    status, out, _ = call(capsys, "train", tmp_path / "mine", "--runs", tmp_path / "runs", "--json", *QUICK)
    results = json.loads(out)
    assert status == 0 and results["finished"] and results["classes"] == ["circle", "square", "stripes"]
    folder = tmp_path / "runs" / "classify" / "mine"
    status, out, _ = call(capsys, "predict", folder, tmp_path / "mine" / "circle", "--json", "--top", "2")
    rows = json.loads(out)
    assert status == 0 and len(rows) == 8 and len(rows[0]["answers"]) == 2
    status, out, _ = call(capsys, "predict", folder, tmp_path / "mine" / "*" / "0.jpg", "--csv")
    assert status == 0 and out.splitlines()[0] == "picture,rank,label,score,error" and len(out.splitlines()) == 4
    status, out, _ = call(capsys, "predict", folder / "model.safetensors", tmp_path / "mine" / "square" / "1.png")
    assert status == 0 and "1.png" in out and "%" in out
    status, out, _ = call(capsys, "eval", folder, tmp_path / "mine", "--json")
    assert status == 0 and 0 <= json.loads(out)["accuracy"] <= 1
    status, out, _ = call(capsys, "summary", folder)
    assert status == 0 and "Multiply-adds" in out


def test_bad_picture_among_good_ones(capsys, trained, tmp_path):
    root, folder = trained
    (tmp_path / "bad.png").write_bytes(b"no picture")
    status, out, err = call(capsys, "predict", folder, tmp_path / "bad.png", root / "shapes" / "circle" / "0.jpg")
    assert status == 1 and "bad.png" in err and "0.jpg" in out


def test_summary_of_names(capsys):
    status, out, _ = call(capsys, "summary", "vgg19")
    assert status == 0 and "143,667,240" in out
    assert json.loads(call(capsys, "summary", "lenet5", "--json")[1])["parameters"] == 61706
    status, out, _ = call(capsys, "summary", "lenet5", "--size", "32", "--channels", "3", "--classes", "2")
    assert status == 0 and "1×3×32×32" in out and "1×2" in out
    assert "resnet50" in call(capsys, "summary", "--list")[1].split()


def test_data_list_and_info(capsys, trained):
    status, out, _ = call(capsys, "data", "list")
    assert status == 0 and "cifar10" in out and "digits" in out
    status, out, _ = call(capsys, "data", "info", trained[0] / "shapes")
    assert status == 0 and "stripes" in out


def test_runs_that_cannot_be_kept(capsys, trained, tmp_path):
    (tmp_path / "file").write_text("in the way")
    status, _, err = call(capsys, "train", trained[0] / "shapes", "--runs", tmp_path / "file", *QUICK)
    assert status == 1 and "--runs" in err and len(err.splitlines()) == 1


def test_resume_takes_no_other_settings(capsys, trained):
    status, _, err = call(capsys, "train", "--resume", trained[1], "--epochs", "9")
    assert status == 2 and "--epochs" in err


def test_interrupt_keeps_a_checkpoint_and_says_how_to_go_on(trained, tmp_path):
    root, _ = trained
    command = [sys.executable, "-m", "coolnn", "train", str(root / "shapes"), "--runs", str(tmp_path)]
    options = ["--size", "24", "--epochs", "2000", "--batch", "8", "--model", "small_vgg"]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    folder = tmp_path / "classify" / "shapes"
    deadline = time.monotonic() + 60
    while not (folder / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in err + out and "Traceback" not in err
    assert (folder / "checkpoint.safetensors").exists() and (folder / "model.safetensors").exists()


def test_output_into_a_closed_pipe():
    command = f"{sys.executable} -m coolnn summary vgg19 | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60)
    assert "vgg19" in done.stdout and "Error" not in done.stderr


def test_start_loads_only_what_is_needed():
    """What takes time at the start is other packages: NumPy is needed, pictures and files are not."""
    heavy = {"PIL", "safetensors", "mlxtend", "torch", "asyncio", "urllib.request", "coolnn.data", "coolnn.models"}
    for start in ("import coolnn", "import coolnn.cli as c; c.main(['--help'])"):
        program = f"import sys; {start}; print('loaded:', *sys.modules)"
        out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
        assert not heavy & set(out.split("loaded:")[1].split())


def test_full_disk_says_so_and_leaves_what_was_there(capsys, trained, tmp_path, monkeypatch):
    root, _ = trained
    first = classify.train(root / "shapes", runs=tmp_path, quiet=True, size=24, epochs=1, model="small_vgg")
    before = {path: path.read_bytes() for path in first.folder.iterdir()}

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    status, _, err = call(capsys, "train", root / "shapes", "--runs", tmp_path, *QUICK)
    assert status == 1 and "disk is full" in err and len(err.splitlines()) == 1
    assert {path: path.read_bytes() for path in first.folder.iterdir()} == before
    assert [path.name for path in first.folder.parent.iterdir()] == ["shapes"]  # nothing half-made beside it


def test_training_that_diverges_leaves_nothing(capsys, trained, tmp_path):
    options = ["--lr", "1e30", "--optimizer", "sgd", "--runs", tmp_path]
    status, _, err = call(capsys, "train", trained[0] / "shapes", *options, *QUICK)
    assert status == 1 and "--lr" not in err and "1e+30" in err and "try 1e+29" in err
    assert list((tmp_path / "classify").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_names_that_are_no_text(capsys, tmp_path):
    shapes(tmp_path / "data", 6, kinds=("circle", "square"))
    os.rename(tmp_path / "data" / "circle", os.fsencode(tmp_path / "data") + b"/caf\xe9 <&>")
    status, _, err = call(capsys, "train", tmp_path / "data", "--runs", tmp_path, *QUICK)
    assert status == 0, err
    report = (tmp_path / "classify" / "data" / "report.html").read_text()
    assert "caf\\udce9 &lt;&amp;&gt;" in report
    status, out, _ = call(capsys, "predict", tmp_path / "classify" / "data", tmp_path / "data")
    assert status == 0 and len(out.splitlines()) == 12


def test_doctor(capsys, monkeypatch):
    monkeypatch.setattr(diagnosis, "_SECONDS", 0.0)
    status, out, _ = call(capsys, "doctor")
    assert status == 0 and cool.__version__ in out and "all is well" in out and "GFLOP/s" in out
    facts = json.loads(call(capsys, "doctor", "--json")[1])
    assert facts["ok"] and facts["numbers"] and len(facts["speed"]) == 3


def test_bench(capsys):
    status, out, err = call(capsys, "bench", "lenet5-infer", "--alone", "--seconds", "0.01")
    assert status == 0 and "lenet5" in out and "ms" in out and err == ""
    assert json.loads(call(capsys, "bench", "matmul", "--alone", "--seconds", "0.01", "--json", "-")[1])
