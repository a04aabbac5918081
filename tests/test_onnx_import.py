"""ONNX files as networks: agreement with ONNX Runtime, training, compiling, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import coolnn as cool
from coolnn import nn

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from coolnn.formats.onnx import OnnxError, OnnxModule, export, load  # noqa: E402
from coolnn.formats.onnx.loader import build  # noqa: E402

FLOAT = TensorProto.FLOAT


def model_of(nodes, inputs, outputs, constants=(), opset=17, functions=(), **more):
    """A model of nodes; inputs and outputs as {name: shape}, constants as {name: array}."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()],
    )
    opsets = [helper.make_opsetid("", opset), *more.pop("opsets", [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=functions, **more)


def theirs(model, *inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    content = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip([i.name for i in session.get_inputs()], inputs, strict=True)))


def ours(net, *inputs):
    with cool.no_grad():
        result = net(*[cool.from_numpy(x) for x in inputs])
    return [y.numpy() for y in (result if isinstance(result, tuple) else (result,))]


def agree(found, wanted, tolerance=1e-5):
    for mine, other in zip(found, wanted, strict=True):
        assert mine.shape == other.shape
        assert np.abs(mine - other).max(initial=0) <= tolerance * np.abs(other).max(initial=1e-6)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# --- real networks ---------------------------------------------------------------------------------------------------

REAL = {
    "ultraface-rfb-320": (1, 3, 240, 320),
    "fastestdet": (1, 3, 352, 352),
    "ultralight-simplepose": (1, 3, 256, 192),
}


def real(name):
    path = Path(os.environ.get("COOLNN_DATA", "/nowhere")) / "weights" / "onnx" / f"{name}.onnx"
    if not path.exists():
        pytest.skip("needs COOLNN_DATA, a folder with weights/onnx")
    return path


@pytest.mark.parametrize("name", REAL)
def test_real_networks_agree_with_onnx_runtime(name, tmp_path):
    path, x = real(name), random(*REAL[name])
    net, wanted = load(path), theirs(str(path), x)
    agree(ours(net, x), wanted, 1e-4)
    result = cool.compile(net)(x)
    agree([y.numpy() for y in (result if isinstance(result, tuple) else (result,))], wanted, 1e-4)
    report = export(net, tmp_path / "again.onnx")
    assert report.parity.relative < 1e-4
    assert list(report.outputs) == list(net.output_names)


# --- out and in again ------------------------------------------------------------------------------------------------


def round_trip(net, path, **options):
    export(net, path, check_parity=False, **options)
    return load(path)


def test_a_network_comes_back_with_its_weights_and_trains_the_same(tmp_path):
    cool.manual_seed(0)
    net = cool.models.create("resnet20")
    back = round_trip(net, tmp_path / "net.onnx")
    assert isinstance(back, OnnxModule) and not back.training
    weights = dict(net.named_parameters())
    assert dict(back.named_parameters()).keys() == weights.keys()
    x, y = random(4, 3, 32, 32), np.array([1, 2, 3, 4])
    agree(ours(back, x), ours(net.eval(), x))
    for other in (net.train(), back.train()):  # batch norms look at the batch and move their statistics
        cool.ops.cross_entropy(other(cool.from_numpy(x)), cool.from_numpy(y)).backward()
    for name, parameter in back.named_parameters():
        wanted = weights[name].grad.numpy()
        assert np.abs(parameter.grad.numpy() - wanted).max() <= 1e-4 * max(np.abs(wanted).max(), 1e-3), name
    mean = "layer1.0.bn1.running_mean"
    agree([back.state_dict()[mean].numpy()], [net.state_dict()[mean].numpy()])


def test_an_imported_network_learns_in_compiled_steps(tmp_path):
    cool.manual_seed(0)
    net = round_trip(cool.models.create("tiny_vgg"), tmp_path / "net.onnx").train()
    step = cool.compile_step(net, optimizer=cool.optim.SGD(net.parameters(), lr=0.05, momentum=0.9))
    x, y = random(8, 3, 32, 32), np.arange(8)
    losses = [float(step(x, y)) for _ in range(12)]
    assert losses[-1] < 0.3 * losses[0]


def test_inner_values_by_the_names_of_nodes(tmp_path):
    net = round_trip(cool.models.create("lenet5"), tmp_path / "net.onnx")
    node = next(name for name, module in net.named_children() if module.kind == "MaxPool")
    assert cool.models.features(net, cool.zeros(1, 1, 28, 28), [node])[node].ndim == 4


def test_other_sizes_compile_to_programs_of_their_own(tmp_path):
    net = round_trip(cool.models.create("resnet20"), tmp_path / "net.onnx")
    run = cool.compile(net)
    for shape in ((1, 3, 32, 32), (3, 3, 45, 38)):
        agree([run(random(*shape)).numpy()], ours(net, random(*shape)))


def test_folded_batch_norms_come_back_as_convolutions(tmp_path):
    net = cool.models.create("small_resnet").eval()
    back = round_trip(net, tmp_path / "net.onnx", fold_batch_norm=True)
    assert not any("BatchNormalization" in module.kind for module in back.children())
    agree(ours(back, random(2, 3, 32, 32)), ours(net, random(2, 3, 32, 32)))


# --- shapes that are computed ----------------------------------------------------------------------------------------


def test_shapes_computed_from_shapes_are_known_while_tracing(tmp_path):
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["n"], axis=0),
        helper.make_node("Unsqueeze", ["n", "axis"], ["first"]),
        helper.make_node("Mul", ["first", "two"], ["rows"]),
        helper.make_node("Concat", ["rows", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Add", ["x", "zeros"], ["z"]),
    ]
    constants = {"zero": np.int64(0), "axis": np.array([0]), "two": np.array([2]), "rest": np.array([-1])}
    model = model_of(nodes, {"x": ["n", 4, "h", "w"]}, {"y": None, "z": None}, constants)
    net = build(model)
    run = cool.compile(net)
    for shape in ((1, 4, 2, 3), (5, 4, 3, 3)):
        x = random(*shape)
        agree(ours(net, x), theirs(model, x))
        agree([y.numpy() for y in run(x)], theirs(model, x))
    assert [step.op.name for step in run.program(cool.meta(1, 4, 2, 3).spec).graph.steps] == ["reshape", "add"]
    assert export(net, tmp_path / "again.onnx", (1, 4, 6, 6)).parity.absolute == 0


def test_what_follows_from_numbers_runs_eagerly_and_says_so_when_compiled():
    nodes = [helper.make_node("NonZero", ["x"], ["places"]), helper.make_node("Cast", ["places"], ["y"], to=FLOAT)]
    net = build(model_of(nodes, {"x": [None]}, {"y": None}))
    assert ours(net, np.array([0, 2, 3], np.float32))[0].tolist() == [[1, 2]]
    with pytest.raises(ValueError, match="runs eagerly but cannot be compiled"):
        cool.compile(net)(np.array([0, 2, 3], np.float32))


def test_branches_and_loops():
    def graph(kind, output):
        value = helper.make_tensor_value_info(output, FLOAT, None)
        return helper.make_graph([helper.make_node(kind, ["x"], [output])], kind, [], [value])

    branch = helper.make_node("If", ["c"], ["y"], then_branch=graph("Neg", "a"), else_branch=graph("Abs", "b"))
    for condition in (True, False):
        model = model_of([branch], {"x": [3]}, {"y": [3]}, {"c": np.array(condition)})
        x = random(3)
        agree(ours(build(model), x), theirs(model, x))
        agree([cool.compile(build(model))(x).numpy()], theirs(model, x))

    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Add", ["v", "x"], ["w"]), helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("v", FLOAT, [3])],
        [info("on", TensorProto.BOOL, []), info("w", FLOAT, [3])],
    )
    loop = helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)
    model = model_of([loop], {"x": [3]}, {"y": [3]}, {"count": np.int64(4)})
    agree(ours(build(model), x), [5 * x])
    agree([cool.compile(build(model))(x).numpy()], [5 * x])


# --- operators beside the standard's suite ---------------------------------------------------------------------------


def test_quantised_networks_are_computed_with_real_numbers():
    rng = np.random.default_rng(0)
    constants = {
        "xs": np.float32(0.02),
        "xz": np.uint8(128),
        "w": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "ws": rng.uniform(0.001, 0.01, 4).astype(np.float32),
        "wz": np.zeros(4, np.int8),
        "b": random(4),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "xs", "xz"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["d", "wd", "b"], ["y"], pads=[1, 1, 1, 1]),
    ]
    model = model_of(nodes, {"x": [1, 3, 8, 8]}, {"y": None}, constants)
    x, net = random(1, 3, 8, 8), build(model)
    agree(ours(net, x), theirs(model, x), 1e-5)
    assert {name for name, _ in net.named_parameters()} == {"wd", "b"}  # real filters, which can be trained


SAMPLING = [("nearest", rounding) for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")]


@pytest.mark.parametrize("frame", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
@pytest.mark.parametrize(("mode", "rounding"), [*SAMPLING, ("linear", "floor"), ("cubic", "floor")])
def test_resize_as_onnx_runtime(frame, mode, rounding):
    for size in ((7, 9), (3, 4), (12, 5)):
        settings = {"mode": mode, "coordinate_transformation_mode": frame, "nearest_mode": rounding}
        nodes = [helper.make_node("Resize", ["x", "", "", "size"], ["y"], **settings)]
        model = model_of(nodes, {"x": [1, 2, 6, 5]}, {"y": None}, {"size": np.array([1, 2, *size])}, opset=18)
        agree(ours(build(model), random(1, 2, 6, 5)), theirs(model, random(1, 2, 6, 5)))


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutions_of_all_dimensions_have_gradients(kind, rank):
    shape = (4, 2, *[3] * rank)
    settings = {"strides": [2] * rank, "pads": [1] * 2 * rank, "group": 2}
    weight = random(*shape, seed=1)
    model = model_of([helper.make_node(kind, ["x", "w"], ["y"], **settings)], {"x": None}, {"y": None}, {"w": weight})
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", FLOAT, [1, 4, *[5] * rank]))
    x, net = random(1, 4, *[5] * rank), build(model)
    agree(ours(net, x), theirs(model, x), 2e-5)
    small = cool.tensor(random(1, 4, *[3] * rank)[:, :, :2].astype(np.float64))
    net.astype("float64")
    net.input_specs = ((None, small.dtype),)
    assert cool.gradcheck(lambda t: net(t).sum(), small)


def test_samples_have_gradients_to_picture_and_grid():
    from coolnn.formats.onnx.operators.vision import GridSample

    picture = cool.tensor(random(1, 2, 4, 5).astype(np.float64))
    grid = cool.tensor(np.random.default_rng(1).uniform(-0.8, 0.8, (1, 2, 2, 2)))
    for mode in ("linear", "cubic"):
        assert cool.gradcheck(lambda p, g, m=mode: GridSample(p, g, mode=m), (picture, grid))


# --- what is refused, and what can be done ---------------------------------------------------------------------------


def test_a_missing_operator_is_named_with_what_can_be_done(tmp_path):
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="before"),
        helper.make_node("Strange", ["r"], ["y"], name="odd_one", domain="my.company", factor=3.0),
    ]
    model = model_of(nodes, {"x": [2]}, {"y": [2]}, opsets=[helper.make_opsetid("my.company", 1)])
    path = tmp_path / "odd.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(OnnxError, match=r"odd\.onnx.*'odd_one'.*Strange of my\.company.*outputs=\['r'\]"):
        load(path)
    assert ours(load(path, outputs=["r"]), np.array([-1, 1], np.float32))[0].tolist() == [0, 1]
    net = load(path, operators={"my.company.Strange": lambda x, *, factor: x * factor})
    assert ours(net, np.array([-1, 1], np.float32))[0].tolist() == [0, 3]


def test_functions_of_the_model_are_put_in(tmp_path):
    function = helper.make_function(
        "my", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    call = helper.make_node("Twice", ["x"], ["y"], domain="my")
    model = model_of([call], {"x": [2]}, {"y": [2]}, functions=[function], opsets=[helper.make_opsetid("my", 1)])
    assert ours(build(model), np.array([1, 2], np.float32))[0].tolist() == [2, 4]


def test_functions_without_end_are_refused():
    def function(name, *calls):
        nodes = [helper.make_node(call, ["a"], [f"b{i}"], domain="my") for i, call in enumerate(calls)]
        return helper.make_function("my", name, ["a"], ["b0"], nodes, [helper.make_opsetid("my", 1)])

    call = helper.make_node("F0", ["x"], ["y"], domain="my")
    opsets = [helper.make_opsetid("my", 1)]
    itself = model_of([call], {"x": [2]}, {"y": [2]}, functions=[function("F0", "F0")], opsets=opsets)
    with pytest.raises(OnnxError, match="calls itself"):
        build(itself)
    many = [function(f"F{i}", *[f"F{i + 1}"] * 10) for i in range(20)]  # 10^20 nodes
    with pytest.raises(OnnxError, match="more than"):
        build(model_of([call], {"x": [2]}, {"y": [2]}, functions=many, opsets=opsets))


def test_wrong_inputs_are_named():
    net = build(model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 3, 4, 4]}, {"y": None}))
    with pytest.raises(ValueError, match=r"input 'x' is float32\[1, 3, 4, 4\]"):
        net(cool.zeros(3, 4))
    with pytest.raises(ValueError, match="this network takes x; 2 inputs"):
        net(cool.zeros(1, 3, 4, 4), cool.zeros(1))
    conv = model_of(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="c")], {"x": None}, {"y": None}, {"w": random(4, 3, 3, 3)}
    )
    with pytest.raises(ValueError, match=r"node c \(Conv\) with inputs float32\[1, 2, 4, 4\]"):
        build(conv)(cool.zeros(1, 2, 4, 4))


def with_external(folder, location, offset=0, length=None, shape=(4,)):
    """A model whose weight lies in another file."""
    model = model_of(
        [helper.make_node("Mul", ["x", "w"], ["y"])], {"x": [4]}, {"y": [4]}, {"w": np.zeros(4, np.float32)}
    )
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.dims[:] = shape
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_is_read_from_the_models_folder_only(tmp_path):
    home, outside = tmp_path / "home", tmp_path / "secret.bin"
    (home / "inner").mkdir(parents=True)
    outside.write_bytes(bytes(64))
    (home / "inner" / "weights.bin").write_bytes(np.arange(8, dtype=np.float32).tobytes())
    net = load(with_external(home, "inner/weights.bin", 8, 16))
    assert net.state_dict()["w"].tolist() == [2, 3, 4, 5]
    (home / "link").symlink_to(outside)
    (home / "door").symlink_to(tmp_path)
    for location in ("../secret.bin", str(outside), "link", "door/secret.bin", "", ".", "inner/../../secret.bin"):
        with pytest.raises(OnnxError, match=r"not in the model's folder|not there"):
            load(with_external(home, location))
    (home / "within").symlink_to(home / "inner")
    load(with_external(home, "within/weights.bin"))


@pytest.mark.parametrize(
    "claim", [{"offset": 30}, {"offset": -1}, {"length": 10**15}, {"offset": "x"}, {"shape": (2**40, 2**20)}]
)
def test_claims_about_external_data_are_checked(tmp_path, claim):
    (tmp_path / "weights.bin").write_bytes(bytes(32))
    with pytest.raises(OnnxError):
        load(with_external(tmp_path, "weights.bin", **claim))


def test_claims_about_sizes_are_checked_before_memory_is_taken():
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    model = model_of([node], {"x": [4]}, {"y": [4]}, {"w": np.zeros(4, np.float32)})
    for dims in ((2**31, 2**31), (5,), (3,), (-4,), (1,) * 9):
        model.graph.initializer[0].dims[:] = dims
        with pytest.raises(OnnxError, match="'w'"):
            build(model)
    huge = model_of([helper.make_node("ConstantOfShape", ["s"], ["y"])], {}, {"y": None}, {"s": np.array([2**40])})
    with pytest.raises(ValueError, match="is not made"):
        build(huge)()


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "net.onnx"
    export(cool.models.create("lenet5"), path, check_parity=False)
    content = path.read_bytes()
    for damaged in (b"", b"hello", content[: len(content) // 2], b"\x80" * 100):
        path.write_bytes(damaged)
        with pytest.raises(OnnxError, match=r"net\.onnx"):
            load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.onnx")
    with pytest.raises(OnnxError, match="folder"):
        load(tmp_path)


def test_graphs_that_do_not_hang_together_are_refused():
    relu = helper.make_node("Relu", ["q"], ["y"])
    with pytest.raises(OnnxError, match="takes 'q', which nothing before it makes"):
        build(model_of([relu], {"x": [2]}, {"y": [2]}))
    with pytest.raises(OnnxError, match="is made by no node"):
        build(model_of([helper.make_node("Relu", ["x"], ["z"])], {"x": [2]}, {"y": [2]}))
    twice = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])]
    with pytest.raises(OnnxError, match="which is there already"):
        build(model_of(twice, {"x": [2]}, {"y": [2]}))
    with pytest.raises(OnnxError, match="lacks its attribute 'to'"):
        build(model_of([helper.make_node("Cast", ["x"], ["y"])], {"x": [2]}, {"y": [2]}))
    with pytest.raises(OnnxError, match="has an attribute 'shine'"):
        build(model_of([helper.make_node("Relu", ["x"], ["y"], shine=1)], {"x": [2]}, {"y": [2]}))


def test_what_damaging_files_has_found(tmp_path):
    """Files that once met another error than the reader's own."""
    relu = helper.make_node("Relu", ["x"], ["y"], name="odd_name")
    content = model_of([relu], {"x": [2]}, {"y": [2]}).SerializeToString()
    no_text = content.replace(b"odd_name", b"odd\xff\xfeame")
    value = helper.make_tensor_value_info("a", FLOAT, None)
    branch = helper.make_graph([helper.make_node("Neg", ["x"], ["a"])], "branch", [], [value])
    files = [no_text]
    for inputs in ([""], ["c", "c"], []):
        node = helper.make_node("If", inputs, ["y"], then_branch=branch, else_branch=branch)
        files.append(model_of([node], {"x": [2]}, {"y": [2]}, {"c": np.array(True)}).SerializeToString())
    for content in files:
        (tmp_path / "odd.onnx").write_bytes(content)
        with pytest.raises(OnnxError):
            load(tmp_path / "odd.onnx")
    for location in ("a\0b", "." * 5000):
        with pytest.raises(OnnxError, match="cannot be"):
            load(with_external(tmp_path, location))


class Wrapper(nn.Module):
    """A network around an imported one, as when its features are used for another task."""

    def __init__(self, inner):
        self.inner = inner
        self.head = nn.Linear(10, 2)

    def forward(self, x):
        return self.head(self.inner(x))


def test_an_imported_network_is_a_part_like_any_other(tmp_path):
    net = Wrapper(round_trip(cool.models.create("lenet5"), tmp_path / "a.onnx"))
    assert any(name.startswith("inner.") for name in net.state_dict())
    report = export(net, tmp_path / "b.onnx", (1, 1, 28, 28))
    assert report.outputs == {"output": ("batch", 2)}
    assert report.parity.relative < 1e-5
