"""Runs the ONNX standard's own suite (onnx.backend.test) and counts what passes: `make conformance`.

A case is unsupported where the network is refused with a message, and failed where it runs and gives other numbers or
stops. --list names the cases that do not pass with their reasons; a word picks the cases whose names contain it.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

from coolnn.formats.onnx import OnnxError, backend

KINDS = ("node", "pytorch-converted", "pytorch-operator", "simple", "real")

#: Operators of convolutional networks, beside which the node cases also have those of text, speech, trees and training.
CONVOLUTIONAL = """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Celu CenterCropPad Clip Concat Constant
    ConstantOfShape Conv ConvInteger ConvTranspose CumSum DeformConv DepthToSpace DequantizeLinear Div Dropout
    DynamicQuantizeLinear Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Identity
    If InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
    LpNormalization LpPool MatMul MatMulInteger Max MaxPool MaxUnpool Mean Min Mish Mod Mul Neg NonMaxSuppression
    NonZero Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear Range Reciprocal ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
    RoiAlign Round ScatterElements ScatterND Selu Shape Sigmoid Sign Size Slice Softmax Softplus Softsign SpaceToDepth
    Split Sqrt Squeeze Sub Sum Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze Upsample Where Xor
"""


def model_of(case: Any) -> Any:
    """The model of a case: in memory, in a folder, or, of the real ones, in the package without its weights."""
    if case.model is not None:
        return case.model
    if case.url is not None:
        return onnx.load(Path(onnx.__file__).parents[1] / case.url)
    return onnx.load(os.path.join(case.model_dir, "model.onnx"))


def data_of(case: Any, model: Any) -> list[tuple[Any, Any]]:
    """(inputs, outputs) of a case as arrays."""
    if case.data_sets is not None:
        return list(case.data_sets)
    if case.url is not None:
        inside = {tensor.name for tensor in model.graph.initializer}
        inputs = [
            Runner.generate_dummy_data(value, name=case.name) for value in model.graph.input if value.name not in inside
        ]
        wanted = onnx.load_tensor(str(Path(onnx.__file__).parents[1] / case.url).replace(".onnx", "_output_0.pb"))
        return [(inputs, [onnx.numpy_helper.to_array(wanted)])]
    found = []
    for folder in sorted(Path(case.model_dir).glob("test_data_set_*")):
        sides = []
        for side in ("input", "output"):
            files = sorted(folder.glob(f"{side}_*.pb"), key=lambda p: int(p.stem.rsplit("_", 1)[1]))
            sides.append([onnx.numpy_helper.to_array(onnx.load_tensor(file)) for file in files])
        found.append((sides[0], sides[1]))
    return found


def is_convolutional(case: Any) -> bool:
    """Whether a node case is of an operator of convolutional networks, as such and not written out by others."""
    model = model_of(case)
    kinds = {node.op_type for node in model.graph.node}
    standard = all(node.domain == "" for node in model.graph.node)
    return standard and kinds <= set(CONVOLUTIONAL.split()) and not case.name.endswith("_expanded")


def outcome(case: Any) -> tuple[str, str]:
    """("passed" | "failed" | "unsupported", reason) of a case."""
    try:
        model = model_of(case)
        data = data_of(case, model)
        try:
            ready = backend.prepare(model)
        except OnnxError as error:
            return "unsupported", str(error)
        for inputs, outputs in data:
            given, wanted = ([x if isinstance(x, list) else as_array(x) for x in side] for side in (inputs, outputs))
            Runner.assert_similar_outputs(wanted, ready.run(given), case.rtol, case.atol)
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}"
    return "passed", ""


def as_array(x: Any) -> Any:
    """The numbers of what a case holds."""
    return onnx.numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else np.asarray(x)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="only cases whose names contain this")
    parser.add_argument("--list", action="store_true", help="name the cases that do not pass, with the reason")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for kind in KINDS:
        for case in load_model_tests(kind=kind):
            if options.word not in case.name:
                continue
            result, reason = outcome(case)
            counts[kind][result] += 1
            ours = kind == "node" and is_convolutional(case)
            if ours:
                counts["node, convolutional"][result] += 1
            if options.list and result != "passed":
                mark = "*" if ours or kind != "node" else " "
                print(f"{mark} {result:11} {case.name}: {' '.join(reason.split())[:160]}")
    print(f"{'category':20} {'passed':>7} {'failed':>7} {'unsupported':>12}")
    for kind, count in counts.items():
        print(f"{kind:20} {count['passed']:7} {count['failed']:7} {count['unsupported']:12}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
