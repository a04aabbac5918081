"""Plots: well-formed, with every value, for few and many classes."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from coolnn.tasks import plots


def texts(svg):
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")]


@pytest.mark.parametrize("epochs", [1, 2, 40])
@pytest.mark.parametrize("validation", [False, True])
def test_curves(epochs, validation):
    history = [
        {"epoch": i + 1, "lr": 0.1 / (i + 1), "train_loss": 2 / (i + 1), "train_accuracy": 1 - 1 / (i + 2)}
        | ({"val_loss": 2.1 / (i + 1), "val_accuracy": 0.5} if validation else {})
        for i in range(epochs)
    ]
    charts = plots.curves(history)
    assert set(charts) == {"loss", "accuracy", "lr"}
    for chart in charts.values():
        ElementTree.fromstring(chart)
    assert ("validation" in texts(charts["loss"])) == validation
    assert charts["loss"].count("<circle") == epochs * (1 + validation)


@pytest.mark.parametrize("values", [[0.0], [1.0, 1.0], [5.0, float("nan"), 3.0], [1e-9, 1e-8], [1e6, 2e6]])
def test_any_values_have_a_chart(values):
    chart = plots.line_chart("x", list(range(len(values))), {"a": values})
    assert "nan" not in chart
    ElementTree.fromstring(chart)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.0, 1.0], ["0", "0.2", "1.0"]),
        ([1e-3, 0.0], ["1e-3", "5e-4", "2.5e-4"]),
        ([1e-3], ["1e-3", "9.8e-4"]),
        ([1e7, 2e7], ["1e7", "2e7"]),
    ],
)
def test_ticks_tell_values_apart(values, shown):
    ticks = texts(plots.line_chart("x", list(range(len(values))), {"": values}))
    assert set(shown) <= set(ticks)


def test_long_names_lose_their_middle():
    assert plots.short("breed of dog, number 7", 10) == "breed…er 7"
    assert plots.short("cat", 10) == "cat"


@pytest.mark.parametrize("classes", [2, 3, 12, 13, 40, 200])
def test_confusion_matrix(classes):
    counts = np.diag(np.arange(1, classes + 1)) + np.eye(classes, k=1, dtype=int)
    names = [f"<class & {i}> with quite a long name" for i in range(classes)]
    svg = plots.confusion_matrix(counts, names)
    assert svg.count("<rect") == 2 + np.count_nonzero(counts)  # the paper, the empty matrix, the cells
    assert svg.count("taken for") == np.count_nonzero(counts)
    assert ("2" in texts(svg)) == (classes <= 30)


@pytest.mark.parametrize("shape", [(6, 1, 5, 5), (64, 3, 3, 3), (1, 2, 7, 7), (200, 4, 3, 3), (3, 3, 100, 100)])
def test_filters(shape):
    sheet = plots.filters(np.random.default_rng(0).standard_normal(shape))
    assert sheet.width <= 1700 and sheet.height <= 1700
    assert Image.open(io.BytesIO(plots.png(sheet))).size == sheet.size


def test_filters_of_zeros():
    assert plots.filters(np.zeros((2, 1, 3, 3))).getpixel((6, 6)) == (255, 255, 255)


@pytest.mark.parametrize("shape", [(28, 28, 1), (1, 1, 3), (400, 10, 3), (64, 64, 4)])
def test_captions_stay_inside(shape):
    captions = [("a very long caption that cannot fit at all", "#000"), ("ä–…", "#000"), ("\udcff", "#000")]
    card = plots.captioned(plots.fitted(np.zeros(shape, np.uint8)), captions)
    assert card.width == 128
    sheet = plots.contact_sheet([card] * 11)
    assert sheet.width == 8 * card.width and sheet.height == 2 * card.height
