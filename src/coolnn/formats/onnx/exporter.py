"""Networks as ONNX files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import nn
from ...files import atomic_writer
from ...graph import Step
from ...spec import Spec, float32
from ..model_file import Model
from .emit import batch_norm_of, conv_node, write_step
from .package import onnx_package
from .parity import Parity, parity
from .probe import Lengths, NotDynamic, Probes, constant, probes
from .writer import Array, Writer, identifier

#: Of mid-2022: every program in use reads it, and it has all that networks here are made of.
OPSET, IR_VERSION = 17, 8

#: A protobuf message cannot be larger than 2 GiB; beyond this weights go to a file of their own.
_INLINE_LIMIT = 2**31 - 2**24


@dataclass(frozen=True)
class Export:
    """What an export wrote: the file, its inputs and outputs (dynamic lengths by name), and how well it agrees."""

    path: Path
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]
    nodes: int
    bytes: int
    parity: Parity | None  # None where ONNX Runtime is not installed

    def __str__(self) -> str:
        def listed(values: dict[str, tuple[int | str, ...]]) -> str:
            return ", ".join(f"{name} [{', '.join(map(str, shape))}]" for name, shape in values.items())

        lines = [
            f"{self.path}  {self.bytes / 1e6:.1f} MB, ONNX opset {OPSET}, {self.nodes} nodes, checked",
            f"  input   {listed(self.inputs)}",
            f"  output  {listed(self.outputs)}",
            f"  parity  {self.parity or 'not measured: pip install onnxruntime'}",
        ]
        return "\n".join(lines)


def export(
    net: nn.Module | Model,
    path: str | os.PathLike[str],
    input_shape: Sequence[int] | Sequence[Sequence[int]] | None = None,
    *,
    dynamic: bool | str = True,
    fold_batch_norm: bool = False,
    labels: Sequence[str] = (),
    preprocessing: Any = None,
    check_parity: bool = True,
) -> Export:
    """Writes a network, as it is in evaluation, as an ONNX file (opset 17), atomically.

    `input_shape`: of the input, or of each of several; a network of the zoo knows its own. `dynamic`: True leaves batch
    and picture size open where the network allows, "batch" the batch alone, False nothing. `fold_batch_norm` puts the
    numbers of batch norms into the convolutions before them. Labels and preprocessing (a `data.Preprocessing`; a
    `formats.Model` has its own) go to the metadata as JSON. The file passes ONNX's checker with full shape inference
    and is run by ONNX Runtime, where that is installed, on random inputs beside this network. More than 2 GiB of
    weights go to a second file, `path` + ".data". Raises ValueError for an operation that has no ONNX form,
    ImportError without the package onnx.

    >>> import coolnn as cool, tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = cool.formats.onnx.export(cool.models.create("lenet5"), os.path.join(folder, "lenet5.onnx"))
    >>> report.inputs, report.outputs
    ({'input': ('batch', 1, 28, 28)}, {'output': ('batch', 10)})
    """
    onnx_package()
    if isinstance(net, Model):
        labels, preprocessing, net = net.labels or labels, preprocessing or net.preprocessing, net.net
    if dynamic not in (True, False, "batch"):
        raise ValueError(f'dynamic must be True, "batch" or False, not {dynamic!r}')
    specs = _input_specs(net, input_shape)
    _check_numbers(net)
    writer, graph = _written(net, specs, dynamic, fold_batch_norm)
    details = {"labels": list(labels), "preprocessing": None if preprocessing is None else preprocessing.to_json()}
    model = _model(writer, graph, {name: value for name, value in details.items() if value})
    size = _save(writer, model, Path(path))
    measured = parity(net, path, specs) if check_parity else None
    return Export(Path(path), graph.inputs, graph.outputs, len(writer.nodes), size, measured)


def _input_specs(net: nn.Module, input_shape: Any) -> list[Spec]:
    if input_shape is None:
        size = getattr(net, "input_size", None)
        if size is None:
            raise ValueError(f"{type(net).__name__} does not say what it takes; give input_shape=(1, 3, 224, 224), say")
        input_shape = (1, *size)
    shapes = [input_shape] if all(isinstance(n, int) for n in input_shape) else input_shape
    return [Spec(tuple(int(n) for n in shape), float32) for shape in shapes]


def _check_numbers(net: nn.Module) -> None:
    for name, tensor in net.state_dict().items():
        if tensor.is_meta:
            raise ValueError(f"{name} has no numbers yet; load weights before the network is exported")


@dataclass(frozen=True)
class _Ends:
    """Names and shapes of what goes in and comes out."""

    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]
    specs: dict[str, Spec]


def _written(net: nn.Module, specs: list[Spec], dynamic: bool | str, fold: bool) -> tuple[Writer, _Ends]:
    """The graph, for as many sizes as the network allows of those asked for."""
    kinds = {True: ["size", "batch", ""], "batch": ["batch", ""], False: [""]}[dynamic]
    for kind in kinds:
        try:
            found = probes(net, specs, kind)
            writer = Writer(found, _weight_names(net))
            return writer, _write(writer, found, net, fold)
        except NotDynamic:
            if not kind:
                raise
        except ValueError:  # of the network itself: it does not take other sizes
            if not kind:
                raise
    raise AssertionError("the last kind returns or raises")


def _weight_names(net: nn.Module) -> dict[int, str]:
    return {id(tensor._buffer): name for name, tensor in reversed(net.state_dict().items())}


def _write(writer: Writer, found: Probes, net: nn.Module, fold: bool) -> _Ends:
    lengths: dict[Lengths, str] = {}
    inputs: dict[str, tuple[int | str, ...]] = {}
    specs: dict[str, Spec] = {}
    wished = getattr(net, "input_names", None) or _numbered("input", len(found.graph.inputs))
    for i, (value, wish) in enumerate(zip(found.graph.inputs, wished, strict=True)):
        name = writer.unique(identifier(wish))
        writer.define(value, name)
        mark = str(i) if i else ""
        words = ["batch", f"channels{mark}", f"height{mark}", f"width{mark}"]
        inputs[name] = _open_shape(found.shape(value), lengths, words)
        specs[name] = value.spec
    given = getattr(net, "output_names", None) or found.output_names
    names = [(value, writer.unique(identifier(wish))) for value, wish in zip(found.graph.outputs, given, strict=True)]
    folded = _foldable(writer) if fold else {}
    for step in found.graph.steps:
        if not step.in_place and writer.depends(step) and step not in folded.values():
            if step in folded:
                _fold(writer, step, folded[step])
            else:
                write_step(writer, step)
    outputs = {}
    for value, name in names:
        outputs[name] = _open_shape(found.shape(value), lengths, [f"{name}_{i}" for i in range(8)])
        specs[name] = value.spec
    _name_outputs(writer, names)
    return _Ends(inputs, outputs, specs)


def _numbered(word: str, count: int) -> list[str]:
    return [word] if count == 1 else [f"{word}{i}" for i in range(count)]


def _open_shape(shape: tuple[Lengths, ...], known: dict[Lengths, str], words: list[str]) -> tuple[int | str, ...]:
    """Constant lengths as numbers; the others by name, equal ones by the same."""
    return tuple(
        length[0] if constant(length) else known.setdefault(length, words[axis]) for axis, length in enumerate(shape)
    )


def _name_outputs(writer: Writer, names: list[tuple[Any, str]]) -> None:
    """Gives the results the names that the graph's outputs have."""
    made = {output for node in writer.nodes for output in node.output}
    renamed: dict[str, str] = {}
    for value, wanted in names:
        current = writer.name(value)
        if current in made and current not in renamed:
            renamed[current] = wanted
        else:  # an input or a constant as it is, or one result twice
            writer.nodes.append(writer.onnx.helper.make_node("Identity", [current], [wanted], name=f"{wanted}_copy"))
    for node in writer.nodes:
        for field in (node.input, node.output):
            field[:] = [renamed.get(name, name) for name in field]


# --- batch norm in convolutions --------------------------------------------------------------------------------------


def _foldable(writer: Writer) -> dict[Step, Step]:
    """Convolutions whose result goes nowhere but through a batch norm, with that."""
    found = {}
    for step in writer.probes.graph.steps:
        if step.op.name != "conv2d" or step.outputs[0] in writer.probes.graph.outputs:
            continue
        readers = writer.consumers.get(step.outputs[0], [])
        if len(readers) == 1 and readers[0].op.name == "channel_affine" and readers[0].inputs[0] is step.outputs[0]:
            constants = (*step.inputs[1:], *readers[0].inputs[1:])
            if all(value is None or writer.numbers(value) is not None for value in constants):
                found[step] = readers[0]
    return found


def _fold(writer: Writer, conv: Step, affine: Step) -> None:
    x, weight, bias = conv.inputs
    scale, shift = (np.asarray(writer.numbers(value), np.float64) for value in affine.inputs[1:])
    found = batch_norm_of(writer, affine)
    if found is not None:  # from the statistics themselves, in double precision
        (gamma, beta, average, variance), eps = found
        numbers = [
            None if v is None else np.asarray(writer.numbers(v), np.float64) for v in (gamma, beta, average, variance)
        ]
        scale = (1.0 if numbers[0] is None else numbers[0]) / np.sqrt(numbers[3] + eps)  # type: ignore[operator]
        shift = (0.0 if numbers[1] is None else numbers[1]) - numbers[2] * scale  # type: ignore[operator]
    filters = np.asarray(writer.numbers(weight), np.float64)
    start = 0.0 if bias is None else np.asarray(writer.numbers(bias), np.float64)
    dtype = affine.outputs[0].spec.dtype
    stem = writer.name(weight).removesuffix(".weight")
    writer.initializers.pop(writer.name(weight), None) if _only_here(writer, weight) else None
    names = [writer.unique(f"{stem}.folded_weight"), writer.unique(f"{stem}.folded_bias")]
    writer.initializers[names[0]] = (filters * scale[:, None, None, None]).astype(dtype)
    writer.initializers[names[1]] = (start * scale + shift).astype(dtype)
    writer.define(affine.outputs[0], conv_node(writer, conv, [writer.name(x), *names]))


def _only_here(writer: Writer, value: Any) -> bool:
    return len(writer.consumers.get(value, [])) == 1


# --- the file --------------------------------------------------------------------------------------------------------


def _model(writer: Writer, ends: _Ends, metadata: dict[str, Any]) -> Any:
    """The protobuf message without the numbers of its initializers."""
    helper = writer.onnx.helper

    def described(shapes: dict[str, tuple[int | str, ...]]) -> list[Any]:
        return [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(ends.specs[name].dtype), list(shape))
            for name, shape in shapes.items()
        ]

    from ... import __version__

    graph = helper.make_graph(writer.nodes, "coolnn", described(ends.inputs), described(ends.outputs))
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="coolnn")
    model.producer_version = __version__
    helper.set_model_props(model, {name: json.dumps(value) for name, value in metadata.items()})
    return model


def _used(writer: Writer) -> dict[str, Array]:
    """The initializers that some node reads."""
    read = {name for node in writer.nodes for name in node.input}
    return {name: array for name, array in writer.initializers.items() if name in read}


def _save(writer: Writer, model: Any, path: Path) -> int:
    """Writes the file, with the numbers in it or, where there are too many, beside it; returns its bytes."""
    onnx, arrays = writer.onnx, _used(writer)
    if sum(array.nbytes for array in arrays.values()) > _INLINE_LIMIT:
        return _save_beside(onnx, model, path, arrays)
    for name, array in arrays.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array, order="C"), name))
    content = model.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    with atomic_writer(path) as file:
        file.write(content)
    return len(content)


def _save_beside(onnx: Any, model: Any, path: Path, arrays: dict[str, Array]) -> int:
    """The numbers in a file of their own, named in the model's."""
    beside = path.with_name(path.name + ".data")
    offset = 0
    with atomic_writer(beside) as file:
        for name, array in arrays.items():
            if array.nbytes < 1024:  # shapes among them, which a checker wants to read
                model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array, order="C"), name))
                continue
            content = np.asarray(array, order="C")
            tensor = onnx.TensorProto(name=name, dims=array.shape, data_location=onnx.TensorProto.EXTERNAL)
            tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            for key, value in (("location", beside.name), ("offset", offset), ("length", content.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
            model.graph.initializer.append(tensor)
            file.write(content.data)
            offset += content.nbytes
    message = model.SerializeToString()
    with atomic_writer(path) as file:
        file.write(message)
    onnx.checker.check_model(str(path), full_check=True)
    return offset + len(message)
