"""Checkpoints: all that a run needs to go on as if it had never stopped, in one file without code."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..formats import tensors
from ..tensor import Tensor

_TENSOR = "$tensor"
_TUPLE = "$tuple"


def save(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Writes a nested state (dicts, lists, numbers, text, arrays, tensors) atomically."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    structure = _flatten(state, arrays, "")
    tensors.write(path, arrays, {"kind": "checkpoint", "format": 1, "state": structure})


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads back what `save` wrote, bit for bit; raises FileFormatError for anything else."""
    arrays, header = tensors.read(path, "checkpoint")
    try:
        state = _restore(header["state"], arrays)
    except (KeyError, TypeError) as error:
        raise tensors.FileFormatError(f"{path}: the checkpoint's content does not fit its header ({error})") from error
    if not isinstance(state, dict):
        raise tensors.FileFormatError(f"{path}: the checkpoint holds no state")
    return state


def _flatten(value: Any, arrays: dict[str, np.ndarray[Any, Any]], name: str) -> Any:
    if isinstance(value, Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {_TENSOR: name}
    if isinstance(value, dict):
        # Keys may be numbers (an optimizer counts its parameters), which JSON would turn into text: keep pairs.
        return {"$dict": [[k, _flatten(v, arrays, f"{name}.{k}" if name else str(k))] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_flatten(v, arrays, f"{name}.{i}") for i, v in enumerate(value)]}
    if isinstance(value, list):
        return [_flatten(v, arrays, f"{name}.{i}") for i, v in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _restore(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, list):
        return [_restore(v, arrays) for v in value]
    if isinstance(value, dict):
        if _TENSOR in value:
            return arrays[value[_TENSOR]]
        if _TUPLE in value:
            return tuple(_restore(v, arrays) for v in value[_TUPLE])
        return {k: _restore(v, arrays) for k, v in value["$dict"]}
    return value
