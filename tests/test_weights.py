"""Weights that others published: where they come from, how they are got, described and used."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from pictures import shapes
from PIL import Image
from web import Server, server

import coolnn as cool
from coolnn import data, models
from coolnn.cli import main
from coolnn.formats import open_pretrained, pretrained, save_weights
from coolnn.models import published
from coolnn.tasks import classify

assert server  # a fixture

#: Before each test gets a data folder of its own.
REAL = Path(os.environ.get("COOLNN_DATA", "nowhere"))
WEIGHTS = REAL / "weights"
SQUEEZENET = WEIGHTS / "squeezenet1_1-imagenet" / "squeezenet1_1.safetensors"
SAMPLES = REAL / "photos" / "imagenet-samples"
needs_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="COOLNN_DATA has no weights")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COOLNN_DATA", str(tmp_path))
    return tmp_path


def call(capsys, *words):
    status = main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models.PUBLISHED)
def test_the_table_fits_the_zoo(name):
    known = models.published_weights(name)
    assert len(known.checksum) >= 8 and known.url.startswith("https://") and known.url.endswith(known.file)
    with cool.nn.meta_parameters():
        net = models.create(name, **({"aux_logits": True} if name == "googlenet" else {}))
    assert net.num_classes == len(data.class_names(known.publisher.classes))
    stored = sum(tensor.spec.nbytes for tensor in net.state_dict().values()) / 2**20
    # The publisher's file of wide_resnet50_2, of 263 MiB, and those of the RegNets count other things besides.
    assert known.mebibytes == pytest.approx(stored, rel=0.12, abs=0.3) or name.startswith("wide")


def test_networks_without_published_weights_say_so():
    with pytest.raises(ValueError, match="no published weights of lenet5"):
        models.find_weights("lenet5")
    with pytest.raises(ValueError, match="did you mean vgg1"):
        models.published_weights("vgg18")


def test_missing_weights_say_what_to_run_and_where_to_put_them(folder):
    with pytest.raises(data.MissingDataError, match=rf"cool models get vgg19.*548.1 MiB.*vgg19-dcbb.*{folder}/weights"):
        models.create("vgg19", weights="default")
    (folder / "weights" / "from a friend").mkdir(parents=True)
    by_hand = folder / "weights" / "from a friend" / "vgg19-dcbb9e9d.pth"
    by_hand.write_bytes(b"")
    assert models.find_weights("vgg19") == by_hand and models.available_weights()["vgg19"]


# --- getting them -----------------------------------------------------------------------------------------------------


@pytest.fixture
def offered(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Weights of resnet20, published by a server on this computer."""
    cool.manual_seed(3)
    save_weights(models.create("resnet20"), tmp_path / "made")
    content = (tmp_path / "made").read_bytes()
    known = models.PUBLISHED["resnet20"]
    name = f"resnet20-{hashlib.sha256(content).hexdigest()[:8]}.th"
    server.files[name] = content
    monkeypatch.setitem(
        published.PUBLISHED, "resnet20", replace(known, file=name, publisher=replace(known.publisher, base=server.url))
    )
    return content


def test_get_goes_on_where_it_broke_off_and_checks(server, offered, folder, capsys):
    server.break_after = 100_000
    status, _, err = call(capsys, "models", "get", "resnet20")
    assert status == 1 and "could not be downloaded" in err and server.url in err and str(folder / "weights") in err
    status, out, _ = call(capsys, "models", "get", "resnet20")
    path = models.find_weights("resnet20")
    assert status == 0 and str(path) in out and path.read_bytes() == offered
    assert server.requests[-1][1] == "bytes=100000-" and [file.name for file in path.parent.iterdir()] == [path.name]
    call(capsys, "models", "get", "resnet20")
    assert len(server.requests) == 2
    net = models.create("resnet20", num_classes=3, weights="default")
    cool.manual_seed(3)
    assert np.array_equal(net.conv1.weight.numpy(), models.create("resnet20").conv1.weight.numpy())


def test_what_came_damaged_is_not_kept(server, offered, folder, capsys):
    server.files = {name: offered[:-1] + b"!" for name in server.files}
    status, _, err = call(capsys, "models", "get", "resnet20")
    assert status == 1 and "SHA-256" in err and not list((folder / "weights").iterdir())


def test_list_and_info(capsys, folder):
    status, out, _ = call(capsys, "models", "list")
    assert status == 0 and all(name in out for name in models.list_models()) and str(folder / "weights") in out
    rows = json.loads(call(capsys, "models", "list", "resnet*", "--json")[1])
    assert rows["resnet18"]["sha256"] == "f37072fd" and not rows["resnet18"]["here"] and "vgg11" not in rows
    assert not rows["resnet110"]["published"]
    status, out, _ = call(capsys, "models", "info", "vgg19")
    assert status == 0 and "143,667,240" in out and "vgg19-dcbb9e9d.pth" in out and "cool models get vgg19" in out
    facts = json.loads(call(capsys, "models", "info", "lenet5", "--json")[1])
    assert facts["parameters"] == 61706 and facts["weights"] == {"published": False}
    assert "none known" in call(capsys, "models", "info", "lenet5")[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["get"], "needs the name"),
        (["get", "vgg18"], "vgg1"),
        (["list", "x*"], "no network matches"),
        (["put"], "list"),
    ],
)
def test_wrong_use_of_models(capsys, words, says):
    status, out, err = call(capsys, "models", *words)
    assert status == 2 and says in err and not out and len(err.splitlines()) == 1


# --- what files do not say --------------------------------------------------------------------------------------------


def test_a_description_beside_the_file_says_what_it_does_not(tmp_path):
    cool.manual_seed(0)
    net = models.create("resnet20", num_classes=3).eval()
    path = tmp_path / "weights.npz"
    np.savez(path, **{f"net/{key}".replace("/", "."): value.numpy() for key, value in net.state_dict().items()})
    description = {
        "model": "resnet20",
        "rename": {"net": ""},
        "labels": ["a", "b", "c"],
        "preprocessing": {"like": "caffe", "size": 48},
    }
    Path(f"{path}.json").write_text(json.dumps(description))
    model = open_pretrained(weights=path)
    assert model.labels == ["a", "b", "c"] and model.input_size == (48, 48, 3) and not model.net.training
    assert model.preprocessing is not None and model.preprocessing.order == "bgr"
    x = cool.tensor(np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32))
    assert np.array_equal(model.net(x).numpy(), net(x).numpy())
    assert open_pretrained(weights=path, labels=list("xyz"), preprocessing="unit").labels == ["x", "y", "z"]
    assert classify.open_model(path).labels == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not a description"),
        ("[]", "no object"),
        ('{"modle": "x"}', "an entry 'modle'"),
        ('{"model": 3}', "model is a int"),
        ('{"labels": [1]}', "labels are neither"),
        ('{"rename": {"a": 1}}', "no text"),
        ('{"rename": {"a": "b"}}', "no tensor is called 'a'"),
        ('{"preprocessing": {"sized": 3}}', "no field 'sized'"),
        ('{"labels": ["only one"]}', "1 labels for 10 classes"),
        ("[" * 100_000, "not a description"),
    ],
)
def test_wrong_descriptions_are_named(tmp_path, text, says):
    save_weights(models.create("resnet20"), tmp_path / "w")
    (tmp_path / "w.json").write_text(text)
    with pytest.raises(ValueError, match=says):
        open_pretrained("resnet20", tmp_path / "w")


def test_weights_alone_need_a_network_and_fitting_labels(tmp_path):
    save_weights(models.create("resnet20"), tmp_path / "w")
    with pytest.raises(ValueError, match="name the network"):
        open_pretrained(weights=tmp_path / "w")
    with pytest.raises(FileNotFoundError, match="none"):
        open_pretrained("resnet20", tmp_path / "none")
    with pytest.raises(ValueError, match="do not fit lenet5; missing"):
        open_pretrained("lenet5", tmp_path / "w")
    with pytest.raises(ValueError, match="1000 labels for 10"):
        open_pretrained("resnet20", tmp_path / "w", labels="imagenet")
    (tmp_path / "names.txt").write_text("\n".join("abcdefghij"))
    assert open_pretrained("resnet20", tmp_path / "w", labels=tmp_path / "names.txt").labels == list("abcdefghij")


def test_preprocessing_in_words():
    base = data.Preprocessing(size=(224, 224), channels=3, keep=0.875)
    assert data.adapted(base, {"size": 448}).keep == 1.0 and data.adapted(base, {"size": [10, 20]}).size == (10, 20)
    assert data.adapted(base, '{"mode": "stretch"}').mode == "stretch"
    assert pretrained.label_names("digits", 10)[3] == "3"
    for described, says in [
        ("cafe", "imagenet, centred, unit, caffe"),
        ("none.json", "cannot be read"),
        ("{oops", "not JSON"),
        ({"mean": "grey"}, "mean"),
        ({"size": "big"}, "number of pixels"),
        ({"std": [0, 1, 1]}, "std"),
        ({"scale": "x"}, "scale is a number"),
    ]:
        with pytest.raises(ValueError, match=says):
            data.adapted(base, described)


def test_what_a_file_says_of_its_input_holds(tmp_path):
    net = models.create("resnet20")
    state = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    for text, expected in [
        ("BGR, 0..255, minus mean [104,117,123], 40x48", ((40, 48), "bgr", 1.0, (104, 117, 123))),
        ("RGB 0..255 less the mean [1.5, 2, 3]", ((32, 32), "rgb", 1.0, (1.5, 2, 3))),
        ("a photograph", ((32, 32), "rgb", 1 / 255, net.preprocessing.mean)),
    ]:
        (tmp_path / "w").write_bytes(safetensors.numpy.save(state, {"input": text}))
        found = open_pretrained("resnet20", tmp_path / "w").preprocessing
        assert (found.size, found.order, found.scale, found.mean) == expected
        assert open_pretrained("resnet20", tmp_path / "w", preprocessing="unit").preprocessing.mean == (0, 0, 0)


@needs_weights
def test_squeezenet_says_itself_what_it_wants():
    model = open_pretrained("squeezenet1_1", SQUEEZENET)
    assert right_answers(model) == (38, 53)


# --- fine-tuning ------------------------------------------------------------------------------------------------------


def test_training_from_weights(tmp_path, capsys):
    """The frozen part is the file's, bit for bit; a run that is resumed needs the file no more."""
    shapes(tmp_path / "shapes", 8)
    start = models.create("resnet20", num_classes=7)
    save_weights(start, tmp_path / "w.safetensors")
    words = ["--model", "resnet20", "--weights", tmp_path / "w.safetensors", "--freeze", "backbone", "--size", "32"]
    more = ["--preprocessing", "centred", "--epochs", "2", "--batch", "4", "--quiet", "--runs", tmp_path / "runs"]
    assert call(capsys, "train", tmp_path / "shapes", *words, *more)[0] == 0
    run = tmp_path / "runs" / "classify" / "shapes"
    trained = classify.open_model(run)
    assert trained.preprocessing is not None and trained.preprocessing.mean == (0.5, 0.5, 0.5)
    assert trained.net.linear.weight.shape == (3, 64) and trained.labels == ["circle", "square", "stripes"]
    for name, tensor in start.state_dict().items():
        if not name.startswith("linear"):
            assert np.array_equal(tensor.numpy(), trained.net.state_dict()[name].numpy()), name
    (tmp_path / "w.safetensors").unlink()
    assert classify.resume(run, quiet=True).results["epochs"] == 2


@needs_weights
def test_a_head_for_cats_on_squeezenet(tmp_path, monkeypatch):
    """Small pictures and few epochs, to be quick; docs/training.md has what the recipe itself reaches."""
    monkeypatch.setenv("COOLNN_DATA", str(REAL))
    more = {"size": 96, "epochs": 5, "quiet": True, "runs": tmp_path}
    run = classify.train("cats64", model="squeezenet1_1", weights=SQUEEZENET, freeze=["features"], **more)
    assert run.results["test_accuracy"] >= 0.85  # two thirds of these pictures are cats; the features tell them apart


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--model", "resnet20", "--preprocessing", "unit"], 1, "preprocessing is that of weights"),
        (["--model", "resnet20", "--weights", "none.pth"], 1, "none.pth"),
        (["--model", "resnet20", "--weights", "default"], 1, "cool models get resnet20"),
        (["--model", "resnet20", "--weights", "w", "--freeze", "hands"], 1, "no part 'hands'"),
    ],
)
def test_wrong_use_of_weights_in_training(capsys, tmp_path, monkeypatch, words, status, says):
    monkeypatch.chdir(tmp_path)
    shapes(tmp_path / "shapes", 4)
    save_weights(models.create("resnet20"), "w")
    got, out, err = call(capsys, "train", "shapes", *words, "--quiet")
    assert got == status and says in err and not out and len(err.splitlines()) == 1
    assert not list(tmp_path.glob("runs/classify/*"))


def test_class_names():
    names = data.class_names("imagenet")
    assert len(set(names)) == 1000 and names[517] == "crane (n03126707)" and data.wordnet_ids()[999] == "n15075141"
    with pytest.raises(data.DataError, match="no class names of 'coco'"):
        data.class_names("coco")


# --- pictures ---------------------------------------------------------------------------------------------------------


def right_answers(model: cool.formats.Model) -> tuple[int, int]:
    """How many of the sample photographs have their class first, and among the first five."""
    pictures = classify.find_pictures([str(SAMPLES)])
    ids = data.wordnet_ids()
    first = five = 0
    for row, path in zip(classify.predict(model, pictures, top=5, batch_size=20), pictures, strict=True):
        name = model.labels[ids.index(path.name.split("_")[0])]
        answers = [answer["label"] for answer in row["answers"]]
        first += answers[0] == name
        five += name in answers
    return first, five


@needs_weights
def test_squeezenet_scores_its_reference():
    assert right_answers(open_pretrained("squeezenet1_1", SQUEEZENET, preprocessing="caffe", size=227)) == (38, 53)


@needs_weights
def test_resnet20_scores_its_reference(monkeypatch):
    monkeypatch.setenv("COOLNN_DATA", str(REAL))
    model = classify.open_model("resnet20")
    assert classify.evaluate_on(model, "cifar10", "test")["accuracy"] == pytest.approx(0.915, abs=1e-9)


@pytest.mark.skipif(published.packaged_weights() is None, reason="the extra imagenet is not installed")
class TestWhatThePackageBrings:
    """Photographs are named with nothing but an installation."""

    def test_accuracy(self):
        if not SAMPLES.is_dir():
            pytest.skip("COOLNN_DATA has no photos")
        assert right_answers(classify.open_model()) == (54, 59)

    def test_command(self, capsys, tmp_path):
        Image.new("RGB", (300, 200), "orange").save(tmp_path / "a.png")
        (tmp_path / "notes.txt").write_text("no picture")
        status, out, err = call(capsys, "predict", tmp_path / "a.png")
        assert status == 0 and not err and len(out.splitlines()) == 5 and out.count("a.png") == 1 and "%" in out
        status, out, err = call(capsys, "predict", tmp_path / "a.png", tmp_path / "notes.txt", "--top", "2")
        assert status == 1 and "notes.txt cannot be read as a picture" in err and len(out.splitlines()) == 2
        rows = json.loads(call(capsys, "predict", tmp_path / "a.png", "--model", "efficientnet_lite0", "--json")[1])
        assert len(rows[0]["answers"]) == 5 and rows[0]["answers"][0]["label"] in data.class_names("imagenet")


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["model.safetensors"], 2, "name the pictures"),
        (["a.png", "--model", "vgg19"], 1, "cool models get vgg19"),
        (["a.png", "--model", "vgg18"], 1, "vgg18"),
        (["a.png", "--weights", "none.pth"], 1, "none.pth"),
        (["a.png", "--model", "resnet20", "--weights", "a.png"], 1, "a.png"),
        (["a.png", "--model", "resnet20", "--weights", "w", "--preprocessing", "cafe"], 1, "caffe"),
        (["nothing.png"], 1, "nothing.png"),
    ],
)
def test_wrong_use_of_predict(capsys, tmp_path, monkeypatch, words, status, says):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (30, 20)).save("a.png")
    save_weights(models.create("resnet20"), "w")
    got, out, err = call(capsys, "predict", *words)
    assert got == status and says in err and not out and len(err.splitlines()) == 1
