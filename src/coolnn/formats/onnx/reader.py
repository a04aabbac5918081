"""ONNX files as checked messages: nothing outside the model's folder is read, no size is believed unchecked."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from ...spec import boolean, float32, float64, int32, int64, uint8
from ..tensors import FileFormatError
from .package import onnx_package

Array = np.ndarray[Any, np.dtype[Any]]

#: Far more than any real network has; a malicious file may claim more.
MAX_NODES = 1_000_000
MAX_AXES = 8

#: Types that tensors here do not have are held in the next wider one.
HELD_AS: dict[str, np.dtype[Any]] = {
    **{name: float32 for name in ("FLOAT", "FLOAT16", "BFLOAT16")},
    **{name: float32 for name in ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT4E2M1")},
    **{name: int32 for name in ("INT8", "INT16", "UINT16", "INT32", "INT4", "UINT4", "INT2", "UINT2")},
    **{name: int64 for name in ("UINT32", "INT64", "UINT64")},
    "DOUBLE": float64,
    "UINT8": uint8,
    "BOOL": boolean,
}


class OnnxError(FileFormatError):
    """An ONNX file that is damaged, that asks for what is not allowed, or that needs what is not there."""


def held_as(elem_type: int, where: str) -> np.dtype[Any]:
    """The type in which numbers of an ONNX element type are held; raises OnnxError for text and the like."""
    onnx = onnx_package()
    try:
        name = onnx.TensorProto.DataType.Name(elem_type)
    except ValueError:
        name = f"number {elem_type}"
    if name not in HELD_AS:
        raise OnnxError(f"{where} is of type {name.lower()}; tensors of numbers and booleans are supported")
    return HELD_AS[name]


def read_message(path: str | os.PathLike[str]) -> Any:
    """The protobuf message of a file; raises FileNotFoundError, or OnnxError that says what is wrong with it."""
    onnx = onnx_package()
    path = Path(path)
    if path.is_dir():
        raise OnnxError(f"{path} is a folder, not a file")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    return parse(path.read_bytes(), str(path), onnx)


def parse(content: bytes, what: str, onnx: Any = None) -> Any:
    """The protobuf message of bytes."""
    onnx = onnx or onnx_package()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # the protobuf package has several errors of its own
        raise OnnxError(f"{what} is not a readable ONNX file; it may be truncated or of another kind") from error
    if not model.graph.node and not model.graph.output:
        raise OnnxError(f"{what} holds no network; it may be of another kind")
    return model


def array_of(tensor: Any, folder: Path | None, where: str) -> Array:
    """The numbers of a TensorProto in the type in which they are held, its claims checked before memory is taken.

    `folder`: where external data may lie; None where there is none. Raises OnnxError.
    """
    onnx = onnx_package()
    dtype = held_as(tensor.data_type, where)
    shape = tuple(tensor.dims)
    if len(shape) > MAX_AXES or any(n < 0 for n in shape):
        raise OnnxError(f"{where} has the shape {shape}; a tensor has at most {MAX_AXES} axes of lengths of 0 or more")
    count = math.prod(shape)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        tensor = _with_external(tensor, count, folder, where, onnx)
    elif count > 0 and not _has_at_least(tensor, count):
        raise OnnxError(f"{where} claims {count} numbers for its shape {shape} and holds fewer; the file is damaged")
    try:
        array = np.asarray(onnx.numpy_helper.to_array(tensor))
    except Exception as error:
        raise OnnxError(f"{where} cannot be read: {error}") from error
    if array.shape != shape:
        raise OnnxError(f"{where} holds numbers of shape {array.shape} and claims {shape}; the file is damaged")
    with np.errstate(all="ignore"):
        return np.array(array, dtype, order="K")


def _has_at_least(tensor: Any, count: int) -> bool:
    """Whether there are bytes for so many numbers (of at least a quarter of a byte each)."""
    held = len(tensor.raw_data) * 4
    for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        held = max(held, len(getattr(tensor, field)) * 4)
    return bool(held >= count)


def _with_external(tensor: Any, count: int, folder: Path | None, where: str, onnx: Any) -> Any:
    """A copy of the tensor with its numbers in it, read from the file beside the model that it names."""
    fields = {entry.key: entry.value for entry in tensor.external_data}
    location = fields.get("location", "")
    if folder is None:
        raise OnnxError(
            f"{where} lies in the file {location!r}, but the network was not read from a folder; use a path"
        )
    try:
        home = Path(os.path.realpath(folder))
        file = Path(os.path.realpath(home / location))
        there = file.is_file()
    except (OSError, ValueError):  # too long, or no name at all
        raise OnnxError(f"{where} names the file {location[:100]!r}, which cannot be; the file is damaged") from None
    if not location or os.path.isabs(location) or home not in file.parents:
        raise OnnxError(f"{where} names the file {location!r}, which is not in the model's folder; it is not read")
    if not there:
        raise OnnxError(f"{where} lies in the file {location!r}, which is not there; put it beside the model")
    bits = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * 8
    bits = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}.get(
        onnx.TensorProto.DataType.Name(tensor.data_type), bits
    )
    needed, size = -(-count * bits // 8), file.stat().st_size
    try:
        offset = int(fields.get("offset", 0))
        length = int(fields.get("length", needed))
    except ValueError:
        raise OnnxError(f"{where}: offset and length of its external data are not whole numbers") from None
    if length != needed or offset < 0 or offset + length > size:
        raise OnnxError(
            f"{where} claims bytes {offset} to {offset + length} of {location!r}, which has {size}; it needs {needed}"
        )
    filled = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    with file.open("rb") as stream:
        stream.seek(offset)
        filled.raw_data = stream.read(length)
    return filled
