"""Functions of a model, and operators that the standard defines by others, replaced by what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .operators import Operator
from .package import onnx_package
from .reader import MAX_NODES, OnnxError

_STANDARD = ("", "ai.onnx")


def without_functions(model: Any, operators: Mapping[str, Operator]) -> Any:
    """The model with calls of functions replaced by their bodies; raises OnnxError where that has no end."""
    local = {(function.domain, function.name): function for function in model.functions}
    _check_size(model, local)
    onnx = onnx_package()
    composed = [
        ("", kind)
        for kind in {node.op_type for node in _all_nodes(model.graph, 0) if node.domain in _STANDARD}
        if kind not in operators and kind not in ("If", "Loop") and _composed(onnx, kind)
    ]
    if not local and not composed:
        return model
    chosen = [*local, *composed]
    try:
        return onnx.inliner.inline_selected_functions(model, chosen, inline_schema_functions=bool(composed))
    except Exception as error:
        raise OnnxError(f"the functions of the model cannot be resolved: {error}") from error


def _composed(onnx: Any, kind: str) -> bool:
    """Whether the standard defines an operator by others."""
    try:
        schema = onnx.defs.get_schema(kind)
    except Exception:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


def _all_nodes(graph: Any, depth: int) -> list[Any]:
    if depth > 50:
        raise OnnxError("graphs are nested deeper than 50 levels")
    nodes = list(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                nodes += _all_nodes(attribute.g, depth + 1)
    return nodes


def _check_size(model: Any, local: Mapping[tuple[str, str], Any]) -> None:
    """Raises OnnxError for functions that call themselves, or that would come to more nodes than any network has."""
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Any, within: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in local:
                if key in within or len(within) > 100:
                    raise OnnxError(f"the function {node.op_type} calls itself, or functions are nested too deeply")
                if key not in sizes:
                    sizes[key] = size(_all_nodes(local[key], 0), (*within, key))
                total += sizes[key]
            total += 1
            if total > MAX_NODES:
                raise OnnxError(f"the network has more than {MAX_NODES:,} nodes")
        return total

    size(_all_nodes(model.graph, 0), ())
