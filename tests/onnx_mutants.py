"""Damaged and malicious ONNX files made from good ones; run as a program, it looks for crashes until it is stopped.

`python tests/onnx_mutants.py 600 findings/` tries for ten minutes; each file that stops the reader otherwise than with
its own error, or takes long, is kept in the folder.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from coolnn.formats.onnx import OnnxError, OnnxModule
from coolnn.formats.onnx.loader import build
from coolnn.formats.onnx.operators import OPERATORS
from coolnn.formats.onnx.reader import parse

#: Numbers at which sizes go wrong.
EDGES = [0, 1, -1, 2, 3, 7, 255, 2**15, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63)]


def seed_model() -> bytes:
    """A small network with a bit of everything: weights, shapes, attributes, a branch, a function, external data."""
    weights = {
        "w": np.ones((4, 2, 3, 3), np.float32),
        "one": np.ones(4, np.float32),
        "target": np.array([0, 2, -1], np.int64),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "yes": np.array(True),
        "index": np.array([0, -1], np.int64),
    }
    value = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Relu", ["r"], ["b"])], "branch", [], [value])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], strides=[1, 2], group=1),
        helper.make_node("BatchNormalization", ["c", "one", "one", "one", "one"], ["n"]),
        helper.make_node("MaxPool", ["n"], ["m"], kernel_shape=[2, 2], ceil_mode=1),
        helper.make_node("Resize", ["m", "", "scales"], ["r"], mode="linear"),
        helper.make_node("If", ["yes"], ["i"], then_branch=branch, else_branch=branch),
        helper.make_node("Shape", ["i"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["z"]),
        helper.make_node("Add", ["i", "z"], ["a"]),
        helper.make_node("F", ["a"], ["f"], domain="my"),
        helper.make_node("Gather", ["f", "index"], ["g"], axis=1),
        helper.make_node("Reshape", ["g", "target"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "seed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    graph.initializer[1].data_location = TensorProto.EXTERNAL
    graph.initializer[1].external_data.add(key="location", value="weights.bin")
    graph.initializer[1].ClearField("raw_data")
    function = helper.make_function(
        "my", "F", ["p"], ["q"], [helper.make_node("Abs", ["p"], ["q"])], [helper.make_opsetid("", 17)]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=9).SerializeToString()


SEED = seed_model()


def mutated_bytes(rng: np.random.Generator) -> bytes:
    """The seed with bytes changed, cut out, put in or cut off."""
    content = bytearray(SEED)
    for _ in range(rng.integers(1, 8)):
        at = int(rng.integers(len(content)))
        kind = rng.integers(5)
        if kind == 0:
            content[at] = int(rng.integers(256))
        elif kind == 1:
            del content[at : at + int(rng.integers(1, 20))]
        elif kind == 2:
            content[at:at] = bytes(rng.integers(0, 256, int(rng.integers(1, 12)), np.uint8))
        elif kind == 3:
            content[at:at] = content[at : at + int(rng.integers(1, 200))]
        elif len(content) > 2 and rng.random() < 0.2:
            del content[at:]
        if not content:
            break
    return bytes(content)


def mutated_model(rng: np.random.Generator) -> bytes:
    """The seed with fields changed in ways that its protobuf allows: the reader gets further than with bytes."""
    model = parse(SEED, "seed")
    graph, names = model.graph, ["x", "w", "one", "target", "scales", "c", "m", "i", "s", "a", "g", "y", ""]

    def pick(values):
        return values[int(rng.integers(len(values)))]

    for _ in range(rng.integers(1, 6)):
        node, tensor, kind = pick(graph.node), pick(graph.initializer), int(rng.integers(11))
        if kind == 0:
            node.op_type = pick(sorted(OPERATORS))
        elif kind == 1 and node.input:
            node.input[int(rng.integers(len(node.input)))] = pick(names)
        elif kind == 2:
            node.input.append(pick(names))
        elif kind == 3 and tensor.dims:
            tensor.dims[int(rng.integers(len(tensor.dims)))] = pick(EDGES)
        elif kind == 4:
            tensor.data_type = int(rng.integers(0, 28))
        elif kind == 5 and node.attribute:
            attribute = pick(node.attribute)
            if attribute.ints:
                attribute.ints[int(rng.integers(len(attribute.ints)))] = pick(EDGES)
            else:
                attribute.i = pick(EDGES)
        elif kind == 6:
            operator = OPERATORS.get(node.op_type)
            wish = pick(sorted(operator.attributes) or ["axis"]) if operator else "axis"
            node.attribute.append(helper.make_attribute(wish, pick([pick(EDGES), [pick(EDGES)] * 2, 0.5, "linear"])))
        elif kind == 7 and tensor.raw_data and tensor.data_type == TensorProto.INT64:
            tensor.raw_data = np.array([pick(EDGES) for _ in range(len(tensor.raw_data) // 8)], np.int64).tobytes()
        elif kind == 8:
            (entry,) = graph.initializer[1].external_data[:1] or [graph.initializer[1].external_data.add()]
            entry.value = pick(["../weights.bin", "/etc/hostname", "", "a\0b", "weights.bin", "." * 5000])
        elif kind == 9:
            model.functions[0].node[0].op_type, model.functions[0].node[0].domain = (
                pick(["F", "Relu"]),
                pick(["my", ""]),
            )
        elif kind == 10:
            graph.node.append(node)
    return model.SerializeToString()


def attempt(content: bytes, folder: Path | None) -> OnnxModule | None:
    """What is asked: of the reader a network or its own error, of the network a result or an error that says why."""
    try:
        net = build(parse(content, "mutant"), folder)
    except OnnxError:
        return None
    if [spec for spec, _ in net.input_specs] in ([(1, 2, 6, 6)], []):
        import coolnn as cool

        inputs = [cool.zeros(*shape, dtype=dtype) for shape, dtype in net.input_specs]
        try:
            with cool.no_grad(), np.errstate(all="ignore"):
                net(*inputs)
        except (ValueError, NotImplementedError):
            pass
    return net


def main() -> int:
    seconds, folder = float(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.bin").write_bytes(bytes(16))
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    rng = np.random.default_rng(time.time_ns())
    end, tried, found = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        content = (mutated_model if tried % 2 else mutated_bytes)(rng)
        (folder / "last.onnx").write_bytes(content)  # what a crash of the process leaves behind
        start, problem = time.process_time(), ""
        try:
            attempt(content, folder)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if time.process_time() - start > 5:
            problem += f" took {time.process_time() - start:.1f} s"
        if problem:
            found += 1
            (folder / f"finding{found}.onnx").write_bytes(content)
            print(f"finding {found}: {problem[:300]}", flush=True)
        tried += 1
    print(f"{tried} files, {found} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
