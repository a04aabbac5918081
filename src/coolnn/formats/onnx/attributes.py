"""A node's attributes as Python values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .package import onnx_package
from .reader import OnnxError, array_of


def attribute_value(attribute: Any, folder: Path | None, where: str) -> Any:
    """A number, text, list, array, or the message of a graph; raises OnnxError for other kinds."""
    kinds = onnx_package().AttributeProto
    what = f"attribute {attribute.name!r} of {where}"
    if attribute.ref_attr_name:
        raise OnnxError(f"{what} refers to {attribute.ref_attr_name!r} of a function that it is not in")
    plain = {kinds.FLOAT: "f", kinds.INT: "i", kinds.GRAPH: "g"}
    if attribute.type in plain:
        return getattr(attribute, plain[attribute.type])
    if attribute.type == kinds.STRING:
        return attribute.s.decode("utf-8", "replace")
    if attribute.type == kinds.TENSOR:
        return array_of(attribute.t, folder, what)
    if attribute.type == kinds.FLOATS:
        return tuple(attribute.floats)
    if attribute.type == kinds.INTS:
        return tuple(attribute.ints)
    if attribute.type == kinds.STRINGS:
        return tuple(s.decode("utf-8", "replace") for s in attribute.strings)
    raise OnnxError(f"{what} is of a kind that is not supported")
