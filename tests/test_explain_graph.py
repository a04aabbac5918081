"""Drawings of computation graphs: values and gradients on the edges, layout, and the forms they are written in."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import coolnn as cool
from coolnn.explain.layout import arrange


def edges(drawing):
    """(source, target): (value, gradient) of all edges, by the names of the nodes."""
    names = [node.name or node.title for node in drawing.nodes]
    return {(names[e.source], names[e.target]): (e.value, e.gradient) for e in drawing.edges}


def circuit(x, y, z):
    return (x + y) * z


def neuron(w0, x0, w1, x1, b):
    return (w0 * x0 + w1 * x1 + b).sigmoid()


class Block(cool.nn.Module):
    def __init__(self):
        self.conv = cool.nn.Conv2d(4, 4, 3, padding=1)
        self.norm = cool.nn.BatchNorm2d(4)

    def forward(self, x):
        return (self.norm(self.conv(x)) + x).relu()


class Twice(cool.nn.Module):
    def __init__(self):
        self.stem = cool.nn.Conv2d(3, 4, 3)
        self.block = Block()
        self.head = cool.nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.block(self.block(self.stem(x))).mean((2, 3)))


def test_a_product():
    drawing = cool.graph(lambda x, y: x * y, x=4, y=-3)
    assert edges(drawing) == {("x", "a"): ("4", "-3"), ("y", "a"): ("-3", "4"), ("a", "output"): ("-12", "1")}


def test_a_circuit():
    drawing = cool.graph(circuit, x=-2, y=5, z=4)
    assert edges(drawing) == {
        ("x", "a"): ("-2", "4"),
        ("y", "a"): ("5", "4"),
        ("a", "b"): ("3", "4"),
        ("z", "b"): ("4", "3"),
        ("b", "output"): ("12", "1"),
    }


def test_a_neuron():
    found = edges(cool.graph(neuron, w0=2, x0=-1, w1=-3, x1=-2, b=-3))
    s = 1 / (1 + np.exp(-1.0))
    slope = s * (1 - s)
    for name, want in {"w0": -slope, "x0": 2 * slope, "w1": -2 * slope, "x1": -3 * slope, "b": slope}.items():
        ((_, gradient),) = [labels for (source, _), labels in found.items() if source == name]
        assert float(gradient) == pytest.approx(want, rel=1e-3)


def test_a_value_used_several_times_shows_each_part_and_the_sum():
    text = str(cool.graph(lambda x: x * x + x * 3, x=3))
    assert "gradient 9 = 3 + 3 + 3" in text


def test_zoom():
    net = Twice()
    x = np.ones((2, 3, 8, 8), np.float32)
    titles = {
        level: [n.title for n in cool.graph(net, x, level=level).nodes] for level in ("network", "layer", "operation")
    }
    assert titles["network"] == ["stem", "x", "block", "block (use 2)", "mean", "head", "output"]
    assert titles["layer"].count("add") == 2 and "block.norm (use 2)" in titles["layer"]
    assert "stem.weight" in titles["operation"] and titles["operation"].count("batch_norm") == 2
    assert titles["operation"].count("block.conv.weight") == 2  # drawn beside each use


def test_a_function_around_a_network_shows_its_layers():
    net, labels = Twice(), cool.tensor(np.array([0, 1]))
    drawing = cool.graph(lambda x: cool.ops.cross_entropy(net(x), labels), np.ones((2, 3, 8, 8), np.float32))
    assert "stem.weight" in [n.title for n in drawing.nodes]


def test_gradients_are_the_engines():
    net = Twice()
    x = cool.tensor(np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32), requires_grad=True)
    trace = cool.explain.trace(net, x)
    backward = cool.explain.Backward(trace, trace.output)
    net(x).sum().backward()
    for tensor, name in [(trace.inputs[0], "x"), *((p, n) for n, p in net.named_parameters())]:
        want = x.grad if name == "x" else tensor.grad
        np.testing.assert_array_equal(backward.total(tensor).numpy(), want.numpy(), err_msg=name)


@pytest.mark.parametrize("level", ["network", "layer", "operation"])
def test_svg_is_well_formed_and_nothing_lies_outside(level):
    drawing = cool.graph(Twice(), np.ones((2, 3, 8, 8), np.float32), level=level)
    root = ET.fromstring(drawing.svg())
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, w, h = (float(rect.attrib[k]) for k in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height


def test_names_are_escaped():
    function = lambda x: x + 1  # noqa: E731
    function.__name__ = '<script>"&'
    drawing = cool.graph(function, x=1)
    assert "<script>" not in drawing.svg() and "&lt;script&gt;" in drawing.html()
    assert '\\"&' in drawing.dot()
    ET.fromstring(drawing.svg())


def test_saved_by_its_ending(tmp_path):
    drawing = cool.graph(circuit, x=-2, y=5, z=4)
    for ending, start in {".svg": "<svg", ".html": "<!doctype", ".dot": "digraph", ".txt": "circuit"}.items():
        assert drawing.save(tmp_path / f"graph{ending}").read_text().startswith(start)
    with pytest.raises(ValueError, match=r"saved as \.svg"):
        drawing.save(tmp_path / "graph.bmp")


def test_wrong_use():
    with pytest.raises(ValueError, match="level must be one of network, layer, operation, not 'atom'"):
        cool.graph(circuit, x=1, y=2, z=3, level="atom")
    with pytest.raises(ValueError, match="nothing to draw"):
        cool.graph(lambda x: x, x=1)
    with pytest.raises(TypeError, match="returned no tensor but int"):
        cool.graph(lambda x: 3, x=1)
    with pytest.raises(TypeError, match="a network or a function"):
        cool.graph(3)


# --- layout ----------------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 14))
    pairs = list(itertools.combinations(range(count), 2))
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=24)) if pairs else []
    sizes = draw(st.lists(st.tuples(st.floats(5, 80), st.floats(5, 80)), min_size=count, max_size=count))
    return sizes, chosen


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_nothing_overlaps_and_edges_go_forward(graph):
    sizes, pairs = graph
    layout = arrange(sizes, pairs, gap=20, space=10)
    for a, b in pairs:
        assert layout.centres[a][0] + 10 < layout.centres[b][0]
    for i, j in itertools.combinations(range(len(sizes)), 2):
        (x, y), (u, v) = layout.centres[i], layout.centres[j]
        if abs(x - u) < 1e-9:
            assert abs(y - v) >= (sizes[i][1] + sizes[j][1]) / 2 + 10 - 1e-6
    for (_, y), (_, size) in zip(layout.centres, sizes, strict=True):
        assert y - size / 2 >= -1e-6 and y + size / 2 <= layout.extent[1] + 1e-6


def test_a_tree_is_drawn_without_crossings():
    # Two products whose inputs come in an order that would cross.
    pairs = [(0, 5), (2, 4), (1, 4), (3, 5), (4, 6), (5, 6)]
    layout = arrange([(10, 10)] * 7, pairs, 20, 10)
    for (a, b), (c, d) in itertools.combinations(pairs, 2):
        if layout.centres[a][0] == layout.centres[c][0]:
            first = layout.centres[a][1] - layout.centres[c][1]
            second = layout.centres[b][1] - layout.centres[d][1]
            assert first * second >= 0


def test_a_cycle_is_refused():
    with pytest.raises(ValueError, match="cycle"):
        arrange([(1, 1)] * 2, [(0, 1), (1, 0)], 1, 1)
