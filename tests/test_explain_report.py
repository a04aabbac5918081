"""`cool explain`: everything in one folder and one page, which holds all that it shows and says what it does not."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import coolnn as cool
from coolnn.cli import main
from coolnn.data import Preprocessing
from coolnn.tasks import explain

LABELS = ["zero", "<b>one</b>", 'two "quoted"', *"3456789"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a model, a few pictures, and two files that are none."""
    root = tmp_path_factory.mktemp("explain")
    cool.manual_seed(0)
    prepare = Preprocessing(size=(28, 28), channels=1, mean=(0.5,), std=(0.5,))
    cool.save(cool.models.create("lenet5"), root / "digits.safetensors", labels=LABELS, preprocessing=prepare)
    rng = np.random.default_rng(0)
    (root / "many").mkdir()
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (32, 30, 3), np.uint8)).save(root / "many" / f"{i}.png")
    Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8)).save(root / "a & b.png")
    (root / "many" / "broken.png").write_bytes(b"no picture")
    (root / "broken.jpg").write_bytes(b"")
    return root


def run(here, *words):
    return main(["explain", str(here / "digits.safetensors"), *map(str, words), "--quiet"])


class Page(HTMLParser):
    """A page taken apart; every tag that is opened must be closed in turn."""

    VOID = ("meta", "img", "br", "rect", "path", "line", "circle", "polyline", "polygon")

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.images, self.titles, self.focusable = [], [], [], [], [], 0
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        assert not any(name.startswith("on") for name in found)
        assert tag not in ("script", "link", "iframe")
        if tag not in self.VOID:
            self.open.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.focusable += "tabindex" in found
        if tag == "img":
            assert found["alt"]
            self.images.append(found["src"])

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)


@pytest.fixture(scope="module")
def whole(here):
    """A run with everything, on two pictures and two classes."""
    folder = here / "whole"
    words = ["--class", "zero", "--class", "4", "--methods", "grad_cam,gradient", "--channels", "2", "--top", "3"]
    words += ["--pictures", here / "many", "--preferred", "--steps", "3", "-o", folder]
    assert run(here, here / "a & b.png", here / "many" / "0.png", *words) == 0
    return folder


def test_the_page_holds_all_that_it_shows(whole):
    page = Page((whole / "report.html").read_text())
    assert page.images and all(source.startswith("data:image/") for source in page.images)
    assert page.links and all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(set(page.ids)) == len(page.ids)
    assert "prefers-color-scheme: dark" in (whole / "report.html").read_text()
    assert page.focusable >= 3  # what scrolls can be scrolled by keys


def test_the_page_has_a_section_for_everything_that_was_asked_for(whole):
    page = Page((whole / "report.html").read_text())
    assert page.titles == [
        "a & b.png",
        "Why “zero”: a & b.png",
        "Why “4”: a & b.png",
        "Feature maps: a & b.png",
        "0.png",
        "Why “zero”: 0.png",
        "Why “4”: 0.png",
        "Feature maps: 0.png",
        "What its units look for",
        "Filters",
        "The network",
        "How it was made",
    ]
    for said in ("Grad-CAM", "depends on the weights", "deletion 0.", "preferred", "1 could not be read", "conv2"):
        assert said in page.text, said
    assert "cool explain" in page.text and "--preferred" in page.text


def test_pictures_and_numbers_lie_beside_the_page(whole):
    names = {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()}
    assert {"report.html", "results.json", "filters.png", "a_b/picture.jpg", "a_b/grad_cam_zero.png"} <= names
    assert {"0/gradient_4.png", "0/maps_relu2.png", "patches_relu2.png", "preferred_relu2.png"} <= names
    assert not [name for name in names if ".part" in name]
    for name in names - {"report.html", "results.json"}:
        assert cool.data.read_image(whole / name).size
    results = json.loads((whole / "results.json").read_text())
    first = results["pictures"][0]
    assert [answer["score"] for answer in first["answers"]] == sorted(
        (answer["score"] for answer in first["answers"]), reverse=True
    )
    assert [(one["method"], one["label"]) for one in first["saliency"]] == [
        ("grad_cam", "zero"),
        ("gradient", "zero"),
        ("grad_cam", "4"),
        ("gradient", "4"),
    ]
    assert {"correlation", "passed"} <= set(first["saliency"][0]["randomization"])
    assert results["patches"]["pictures"] == 5 and len(results["patches"]["skipped"]) == 1
    assert len(results["patches"]["layers"]["relu2"]) == 16


def test_answers_are_those_of_predict(whole, here, capsys):
    main(["predict", str(here / "digits.safetensors"), str(here / "many" / "0.png"), "--top", "5", "--json"])
    predicted = json.loads(capsys.readouterr().out)[0]["answers"]
    found = json.loads((whole / "results.json").read_text())["pictures"][1]["answers"]
    assert [answer["label"] for answer in found] == [answer["label"] for answer in predicted]
    assert [a["score"] for a in found] == pytest.approx([a["score"] for a in predicted], rel=1e-5)


def test_without_checks_no_map_is_called_good(here, tmp_path, capsys):
    assert run(here, here / "a & b.png", "--methods", "gradient", "--no-checks", "-o", tmp_path / "out") == 0
    assert str(tmp_path / "out" / "report.html") in capsys.readouterr().out
    text = Page((tmp_path / "out" / "report.html").read_text()).text
    assert "was not checked" in text and "deletion" not in text and "✓" not in text
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert "randomization" not in results["pictures"][0]["saliency"][0]


def test_names_with_marks_of_html_are_shown_as_they_are(here, tmp_path):
    words = ["--methods", "gradient", "--no-checks", "--class", "<b>one</b>", "--class", 'two "quoted"']
    assert run(here, here / "a & b.png", *words, "-o", tmp_path) == 0
    page = Page((tmp_path / "report.html").read_text())
    assert "Why “<b>one</b>”: a & b.png" in "".join(page.titles)


def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_explained(here, tmp_path, capsys):
    words = ["--methods", "gradient", "--no-checks", "-o", tmp_path]
    assert run(here, here / "broken.jpg", here / "a & b.png", *words) == 1
    assert "broken.jpg cannot be read as a picture (it is empty)" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "results.json").read_text())["pictures"]) == 1
    assert run(here, here / "broken.jpg", "-o", tmp_path / "none") == 1
    assert "broken.jpg" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_nothing_is_written_before_everything_is_found(here, tmp_path, monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(explain, "feature_maps", stopped)
    assert run(here, here / "a & b.png", "--methods", "gradient", "--no-checks", "-o", tmp_path / "out") == 130
    assert "stopped" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_each_run_has_a_folder_of_its_own(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run(here, here / "a & b.png", "--methods", "gradient", "--no-checks") == 0
    assert sorted(path.name for path in (tmp_path / "runs" / "explain").iterdir()) == ["a_b", "a_b-2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "grad_cm"], "no method 'grad_cm'; did you mean 'grad_cam'?"),
        (["--class", "ten"], "no class 'ten'; "),
        (["--class", "17"], "no target 17: the output has 10 classes"),
        (["--layer", "conv9"], "no layer 'conv9'; did you mean 'conv"),
        (["--pictures", "nowhere"], "no folder nowhere; check the path"),
        (["--channels", "0"], "--channels must be 1 or more, not 0"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(here, tmp_path, capsys, words, said):
    assert run(here, here / "a & b.png", *words, "-o", tmp_path / "out") in (1, 2)
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_model_without_pictures_and_pictures_that_are_not_there_are_refused(here, capsys):
    assert run(here) == 2
    assert "name the pictures after the model" in capsys.readouterr().err
    assert run(here, here / "absent.png") == 1
    assert "absent.png" in capsys.readouterr().err


def test_the_hierarchy_is_tested_when_asked_and_its_verdict_stands_in_the_page(here, tmp_path):
    words = ["--methods", "gradient", "--no-checks", "--hierarchy", "--layer", "conv1", "--layer", "relu2"]
    assert run(here, here / "a & b.png", *words, "-o", tmp_path) == 0
    page = Page((tmp_path / "report.html").read_text())
    found = json.loads((tmp_path / "results.json").read_text())["hierarchy"]
    assert found["verdict"] in page.text and [stage["layer"] for stage in found["stages"]] == ["conv1", "relu2"]
    assert all(finding["claim"] in page.text for finding in found["findings"])
    assert (tmp_path / "tuning_conv1.svg").read_text().startswith("<svg")


def test_the_page_says_how_many_masks_rise_was_given(here, tmp_path):
    assert run(here, here / "a & b.png", "--methods", "rise", "--no-checks", "-o", tmp_path) == 0
    made = json.loads((tmp_path / "results.json").read_text())["pictures"][0]["saliency"][0]
    assert f"{made['settings']['samples']} random masks" in Page((tmp_path / "report.html").read_text()).text
