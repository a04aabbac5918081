"""The whole job, from a folder of pictures to answers: what is written, that it agrees, that it survives."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from pictures import shapes
from PIL import Image

import coolnn as cool
from coolnn import _core
from coolnn.data import DataError
from coolnn.tasks import classify

QUICK = {"size": 24, "epochs": 2, "batch_size": 8, "model": "small_vgg"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    (shapes(root / "shapes") / "circle" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return classify.train(root / "shapes", runs=root / "runs", quiet=True, **QUICK), root


def test_run_leaves_everything_behind(run):
    run, _ = run
    files = {path.name for path in run.folder.iterdir()}
    assert files >= {
        "model.safetensors", "checkpoint.safetensors", "args.json", "results.json", "results.csv", "report.html",
        "loss.svg", "accuracy.svg", "lr.svg", "confusion.svg", "filters.png",
    }  # fmt: skip
    assert not [name for name in files if name.endswith(".part")]
    results = json.loads((run.folder / "results.json").read_text())
    assert results["finished"] and results["classes"] == ["circle", "square", "stripes"]
    assert results == json.loads(json.dumps(run.results))
    assert any("broken.jpg" in name for name in results["skipped"])
    with open(run.folder / "results.csv") as file:
        assert len(list(csv.DictReader(file))) == 2
    assert json.loads((run.folder / "args.json").read_text())["settings"]["epochs"] == 2


def test_report_is_one_page_by_itself(run):
    page = (run[0].folder / "report.html").read_text()
    for heading in ("Curves", "Confusion matrix", "First layer", "Log", "Network", "Settings"):
        assert heading in page
    links = re.findall(r"(?:src|href)=['\"]([^'\"]+)", page)
    assert links and all(link.startswith("data:") for link in links)
    assert page.count("<svg") == page.count("</svg>") == 4


def test_table_names_what_matters(run):
    table = run[0].table()
    assert "test accuracy" in table and "report.html" in table and "left out" in table


def test_answers_are_those_of_the_network(run):
    run, root = run
    model = classify.open_model(run.folder)
    paths = classify.find_pictures([str(root / "shapes" / "square")])
    rows = list(classify.predict(model, paths, top=3, batch_size=5))
    assert [row["picture"] for row in rows] == [str(path) for path in paths]
    for row, path in zip(rows[:3], paths, strict=False):
        with cool.no_grad():
            scores = cool.ops.softmax(model.net(cool.from_numpy(model.preprocessing(str(path)))), 1).numpy()[0]
        for answer in row["answers"]:
            assert answer["score"] == pytest.approx(scores[model.labels.index(answer["label"])], rel=1e-4, abs=1e-6)
        assert sum(answer["score"] for answer in row["answers"]) == pytest.approx(1, abs=1e-5)


def test_answers_may_be_rounded_where_the_processor_can(run):
    run, root = run
    model, paths = classify.open_model(run.folder), classify.find_pictures([str(root / "shapes" / "square")])
    if not _core.has_bf16():
        with pytest.raises(ValueError, match="needs a processor that multiplies bfloat16 numbers"):
            next(classify.predict(model, paths, precision="bf16"))
        return
    rounded = list(classify.predict(model, paths, top=3, batch_size=5, precision="bf16"))
    for row, exact in zip(rounded, classify.predict(model, paths, top=3), strict=True):
        scores = {answer["label"]: answer["score"] for answer in exact["answers"]}
        assert row["picture"] == exact["picture"]
        assert {a["label"]: a["score"] for a in row["answers"]} == pytest.approx(scores, abs=0.05)


def test_unreadable_picture_does_not_stop_the_others(run):
    run, root = run
    paths = [root / "shapes/circle/broken.jpg", root / "shapes/circle/0.jpg", root / "none.png"]
    rows = list(classify.predict(classify.open_model(run.folder), paths))
    assert "error" in rows[0] and rows[1]["answers"] and "error" in rows[2]


def test_evaluation_counts_by_class(run):
    run, root = run
    result = classify.evaluate_on(classify.open_model(run.folder), str(root / "shapes"), "all")
    assert result["pictures"] == sum(row["pictures"] for row in result["classes"].values())
    right = sum(row["right"] for row in result["classes"].values())
    assert result["accuracy"] == pytest.approx(right / result["pictures"])
    assert "circle" in classify.evaluation_table(result)


def test_parts_are_the_same_for_every_seed(run, tmp_path):
    """Or evaluating a network on the test pictures would measure it on some that it was trained on."""
    run, root = run
    other = classify.train(root / "shapes", runs=tmp_path, quiet=True, seed=7, val=0.2, **QUICK)
    model = classify.open_model(other.folder)
    for part, name in (("test", "test_accuracy"), ("val", None)):
        again = classify.evaluate_on(model, str(root / "shapes"), part, val=classify.validation_share(other.folder))
        assert again["pictures"] == other.results["pictures"][part]
        assert again["accuracy"] == (other.results[name] if name else other.results["best"]["val_accuracy"])
    assert again["pictures"] != run.results["pictures"]["val"]
    with pytest.raises(ValueError, match="kept none for validation"):
        classify.evaluate_on(model, str(root / "shapes"), "val", val=0.0)


def test_evaluation_on_other_classes_is_refused(run, tmp_path):
    with pytest.raises(DataError, match="stars"):
        shapes(tmp_path, 3, kinds=("circle", "stars"))
        classify.evaluate_on(classify.open_model(run[0].folder), str(tmp_path))


def test_same_seed_same_files(run, tmp_path):
    again = classify.train(run[1] / "shapes", runs=tmp_path, quiet=True, workers=3, **QUICK)
    for name in ("model.safetensors", "results.csv"):
        assert (again.folder / name).read_bytes() == (run[0].folder / name).read_bytes()


def test_runs_are_never_overwritten(run):
    run, root = run
    second = classify.train(root / "shapes", runs=root / "runs", quiet=True, **QUICK | {"epochs": 1})
    assert second.folder.name == "shapes-2"


KILLED = """
import os, signal, sys
from coolnn.tasks import classify
from coolnn.train import trainer
trainer.CHECKPOINT_SECONDS = 0.0
step, done = trainer.Trainer._train_step, [0]
def counted(self, *args):
    done[0] += 1
    if done[0] == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *args)
trainer.Trainer._train_step = counted
classify.train(sys.argv[1], runs=sys.argv[2], quiet=True, size=24, epochs=2, batch_size=8, model="small_vgg")
"""


def test_killed_run_resumes_to_the_same_model(run, tmp_path):
    run, root = run
    done = subprocess.run([sys.executable, "-c", KILLED, str(root / "shapes"), str(tmp_path)], timeout=120)
    assert done.returncode == -signal.SIGKILL
    resumed = classify.resume("shapes", runs=tmp_path, quiet=True)
    for name in ("model.safetensors", "results.csv"):
        assert (resumed.folder / name).read_bytes() == (run.folder / name).read_bytes()


def test_named_pictures_are_found(tmp_path):
    shapes(tmp_path, 2)
    (tmp_path / "circle" / "notes.txt").write_text("no picture")
    assert len(classify.find_pictures([str(tmp_path)])) == 6
    assert len(classify.find_pictures([str(tmp_path / "*" / "1.png")])) == 3
    for nothing in ("none.png", "none*.png"):
        with pytest.raises(FileNotFoundError, match="none"):
            classify.find_pictures([str(tmp_path / nothing)])


@pytest.mark.parametrize("kinds", [(), ("circle",)])
def test_folder_with_no_or_one_class_is_refused(tmp_path, kinds):
    shapes(tmp_path / "data", 4, kinds=kinds) if kinds else (tmp_path / "data").mkdir()
    with pytest.raises(DataError):
        classify.train(tmp_path / "data", runs=tmp_path / "runs", quiet=True, **QUICK)
    assert not list((tmp_path / "runs").glob("*/*"))


def test_class_of_unreadable_files_is_named(tmp_path):
    shapes(tmp_path / "data", 4, kinds=("circle", "square"))
    for path in (tmp_path / "data" / "square").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="square"):
        classify.train(tmp_path / "data", runs=tmp_path / "runs", quiet=True, **QUICK)


def test_sixteen_bits_and_rotation_are_handled(run, tmp_path):
    ramp = np.linspace(0, 65535, 40 * 50).reshape(40, 50).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    turned = Image.new("RGB", (60, 30), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    rows = list(classify.predict(classify.open_model(run[0].folder), [tmp_path / "deep.png", tmp_path / "turned.jpg"]))
    assert all(row["answers"] for row in rows)
