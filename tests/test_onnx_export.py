"""Networks written as ONNX files: every operation and every network of the zoo, run by ONNX Runtime."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import coolnn as cool
from coolnn import nn
from coolnn.ops.op import FUNCTIONS, Case, Sample

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from coolnn.formats.onnx import export  # noqa: E402

#: Single operations are exact but for the order of sums; float32 sums of some hundred products.
OPERATION = 2e-5
#: Whole networks: rounding of up to a hundred layers.
NETWORK = 1e-4


def run(path, *inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip([i.name for i in session.get_inputs()], inputs, strict=True)))


def agree(ours, theirs, tolerance):
    for mine, other in zip(ours, theirs, strict=True):
        mine = mine.numpy()
        assert mine.shape == other.shape
        assert mine.dtype == other.dtype
        assert np.array_equal(np.isnan(mine), np.isnan(other)) if mine.dtype.kind == "f" else True
        scale = np.abs(mine[np.isfinite(mine)]).max(initial=1e-6) if mine.dtype.kind == "f" else 1
        np.testing.assert_allclose(other, mine, atol=tolerance * scale, rtol=tolerance)


class Function(nn.Module):
    """A public function as a network: its first tensor is the input, the other ones are weights."""

    def __init__(self, call, case: Case, rng):
        self.call = call
        self.case = case
        self.weights = {}
        self.spec = None
        for key, value in [*enumerate(case.args), *case.kwargs.items()]:
            if isinstance(value, Sample):
                array = value.draw(rng)
                array = array.astype(np.float32) if array.dtype.kind == "f" else array
                if self.spec is None:
                    self.spec, self.first = cool.spec.Spec(array.shape, array.dtype), array
                    self.key = key
                else:
                    self.weights[key] = cool.from_numpy(array)

    def forward(self, x):
        given = {**self.weights, self.key: x}
        args = [given.get(i, value) for i, value in enumerate(self.case.args)]
        kwargs = {key: given.get(key, value) for key, value in self.case.kwargs.items()}
        result = self.call(*args, **kwargs)
        return list(result) if isinstance(result, tuple) else result


#: What no network in use contains: random numbers, losses, updates; and what ONNX has no operator for.
LEFT_OUT = {
    *("dropout", "dropout2d", "alpha_dropout", "max_pool2d_with_indices"),
    *(name for name, f in FUNCTIONS.items() if f.families[0] in ("loss", "update")),
}


def cases():
    for name, function in FUNCTIONS.items():
        if name not in LEFT_OUT:
            for number, case in enumerate(function.cases):
                yield pytest.param(function.call, case, id=f"{name}-{number}")


@pytest.mark.parametrize("call, case", list(cases()))
def test_every_operation(call, case, tmp_path):
    net = Function(call, case, np.random.default_rng(0))
    if net.spec is None or net.spec.size == 0 or case.kwargs.get("training") or any(v is True for v in case.args):
        pytest.skip("no input, or of training")
    if net.spec.dtype != np.float32:
        pytest.skip("networks take real numbers")
    path = tmp_path / "f.onnx"
    try:
        export(net, path, net.spec.shape, dynamic=False, check_parity=False)
    except ValueError as error:
        assert "has no ONNX form" in str(error)
        pytest.skip(str(error))
    result = net(cool.from_numpy(net.first))
    agree(result if isinstance(result, list) else [result], run(path, net.first), OPERATION)


def smallest_of_each_family():
    """The network with the fewest parameters of each file of the zoo."""
    smallest = {}
    for name in cool.models.list_models():
        with nn.meta_parameters():
            net = cool.models.create(name)
        family, size = type(net).__module__, net.num_parameters()
        smallest[family] = min(smallest.get(family, (size, name)), (size, name))
    return sorted({*(name for size, name in smallest.values() if size < 40e6), "lenet5_1998", "mobilenet_v3_small"})


@pytest.mark.parametrize("name", smallest_of_each_family())
def test_every_family_of_the_zoo(name, tmp_path):
    cool.manual_seed(0)
    net = cool.models.create(name)
    channels, height, width = net.input_size
    report = export(net, tmp_path / "net.onnx", (1, channels, min(height, 96), min(width, 96)))
    assert report.parity is not None
    assert report.parity.relative < NETWORK
    assert report.inputs["input"][:2] == ("batch", channels)
    if report.inputs["input"][2:] == ("height", "width"):
        x = np.random.default_rng(1).standard_normal((2, channels, 96, 107)).astype(np.float32)
        with cool.no_grad():
            agree([net.eval()(cool.from_numpy(x))], run(tmp_path / "net.onnx", x), NETWORK)


@pytest.mark.parametrize("fold", [False, True])
def test_other_batch_and_size_than_it_was_traced_at(fold, tmp_path):
    cool.manual_seed(0)
    net = cool.models.create("resnet20").train()
    net(cool.tensor(np.random.default_rng(0).standard_normal((8, 3, 32, 32)).astype(np.float32)))  # real statistics
    net.eval()
    report = export(net, tmp_path / "net.onnx", fold_batch_norm=fold)
    assert report.inputs == {"input": ("batch", 3, "height", "width")}
    assert report.outputs == {"output": ("batch", 10)}
    x = np.random.default_rng(1).standard_normal((3, 3, 41, 50)).astype(np.float32)
    with cool.no_grad():
        agree([net(cool.from_numpy(x))], run(tmp_path / "net.onnx", x), NETWORK)
    kinds = [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node]
    assert ("BatchNormalization" in kinds) != fold


def test_weights_keep_their_names(tmp_path):
    net = cool.models.create("resnet20")
    export(net, tmp_path / "net.onnx")
    names = {tensor.name for tensor in onnx.load(tmp_path / "net.onnx").graph.initializer}
    assert {name for name in net.state_dict() if not name.endswith("num_batches_tracked")} <= names


class Shapes(nn.Module):
    """Shapes that follow from the input in every way that networks use."""

    def __init__(self):
        self.conv = nn.Conv2d(4, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 8, 3, stride=2, padding=1)

    def forward(self, x):
        n, c, h, w = x.shape
        shuffled = x.reshape(n, 2, c // 2, h, w).permute(0, 2, 1, 3, 4).reshape(n, c, h, w)
        y = self.conv(shuffled).relu()
        up = cool.ops.interpolate(self.down(y), size=(h, w), mode="bilinear")
        half = cool.ops.interpolate(y, scale_factor=0.5)
        rows = y.reshape(n, -1, h * w).permute(0, 2, 1)
        left, right = cool.ops.chunk(up + y, 2, 1)
        return {"map": left * right, "rows": rows.mean(1), "half": cool.ops.local_response_norm(half, 3)}


def test_shapes_that_follow_the_input(tmp_path):
    net = Shapes()
    report = export(net, tmp_path / "net.onnx", (1, 4, 12, 20))
    assert report.outputs["map"] == ("batch", 4, "height", "width")
    assert report.outputs["half"][:2] == ("batch", 8)
    for shape in ((1, 4, 12, 20), (3, 4, 17, 9)):
        x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        with cool.no_grad():
            agree(net(cool.from_numpy(x)).values(), run(tmp_path / "net.onnx", x), OPERATION)


def test_static_shapes_and_several_inputs(tmp_path):
    class Two(nn.Module):
        def forward(self, a, b):
            return a + b, a

    report = export(Two(), tmp_path / "net.onnx", [(1, 2, 4, 4), (1, 2, 1, 1)], dynamic=False)
    assert report.inputs == {"input0": (1, 2, 4, 4), "input1": (1, 2, 1, 1)}
    assert list(report.outputs) == ["output0", "output1"]
    assert report.parity is not None and report.parity.absolute == 0


def test_labels_and_preprocessing_in_the_metadata(tmp_path):
    net = cool.models.create("lenet5", num_classes=3)
    prepare = cool.data.Preprocessing(size=(28, 28), channels=1)
    model = cool.formats.Model(net, ["a", "b", "c"], prepare)
    export(model, tmp_path / "net.onnx")
    found = {p.key: json.loads(p.value) for p in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert found["labels"] == ["a", "b", "c"]
    assert cool.data.Preprocessing.from_json(found["preprocessing"]) == prepare


def test_many_weights_go_to_a_second_file(tmp_path, monkeypatch):
    monkeypatch.setattr("coolnn.formats.onnx.exporter._INLINE_LIMIT", 1000)
    report = export(cool.models.create("lenet5"), tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx.data").stat().st_size > 1000
    assert report.parity is not None and report.parity.relative < NETWORK


def test_refuses_what_it_cannot_write(tmp_path):
    with pytest.raises(ValueError, match="does not say what it takes"):
        export(nn.Linear(2, 2), tmp_path / "net.onnx")
    with nn.meta_parameters(), pytest.raises(ValueError, match="has no numbers yet"):
        export(nn.Linear(2, 2), tmp_path / "net.onnx", (1, 2))

    class Odd(nn.Module):
        def forward(self, x):
            return cool.ops.max_pool2d_with_indices(x, 2)

    with pytest.raises(ValueError, match="has no ONNX form"):
        export(Odd(), tmp_path / "net.onnx", (1, 1, 4, 4))
    assert not list(tmp_path.iterdir())


def test_the_network_is_left_as_it_was(tmp_path):
    net = cool.models.create("resnet20").train()
    net.layer1.eval()
    before = {name: array.numpy().copy() for name, array in net.state_dict().items()}
    export(net, tmp_path / "net.onnx")
    assert net.training and not net.layer1.training and net.layer2.training
    assert all(np.array_equal(before[name], array.numpy()) for name, array in net.state_dict().items())


def test_is_there_without_an_import_of_its_own():
    code = "import sys, coolnn; coolnn.formats.onnx.load; assert 'onnx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_command_line(tmp_path, capsys):
    from coolnn.cli import main

    assert main(["export", "lenet5", str(tmp_path / "lenet5.onnx"), "--static"]) == 0
    assert "max. difference to ONNX Runtime" in capsys.readouterr().out
    assert main(["export", "lenet6", str(tmp_path / "x.onnx")]) == 2
    assert main(["export", "lenet5", str(tmp_path)]) == 2
