"""Named arrays and a JSON header in one safetensors file: the ground under model files and checkpoints."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_bytes

Array = np.ndarray[Any, np.dtype[Any]]


_ENTRY = "coolnn"  # of the file's metadata


class FileFormatError(ValueError):
    """A file that is not what it should be: damaged, truncated, or of another kind."""


def is_safetensors(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as the format does: with the length of a JSON object, and that."""
    with open(path, "rb") as file:
        start = file.read(9)
        return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= os.fstat(file.fileno()).st_size


def write(path: str | os.PathLike[str], arrays: Mapping[str, Array], header: Mapping[str, Any]) -> None:
    """Writes arrays and a header atomically; the header's values are kept as JSON."""
    from safetensors.numpy import save

    # One entry: the library writes several in an order that changes, and equal networks should be equal files.
    metadata = {_ENTRY: json.dumps(header)}
    write_bytes(path, save({name: np.asarray(array, order="C") for name, array in arrays.items()}, metadata))


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Array], dict[str, Any]]:
    """Reads arrays and header of a file whose header says that it is of this kind ("model", "checkpoint").

    Raises FileNotFoundError, or FileFormatError that names the file, what is wrong with it and what to do.
    """
    arrays, header = read_any(path)
    found = header.get("kind")
    if found != kind:
        what = f"a coolnn {found}" if found else "a safetensors file of another program"
        raise FileFormatError(f"{path} is {what}, not a coolnn {kind}")
    return arrays, header


def read_any(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Reads arrays and header of any safetensors file; for one of another program the header is its metadata."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.is_dir():
        raise FileFormatError(f"{path} is a folder, not a file")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        # The library checks the header, every offset and every size against the file before it maps anything.
        with safe_open(path, framework="numpy") as file:
            header = _header(file.metadata() or {})
            names = list(file.keys())
            halves = {name for name in names if file.get_slice(name).get_dtype() == "BF16"}
            arrays = {name: file.get_tensor(name) for name in names if name not in halves}
        arrays |= _bfloat16(path, halves)
    except (SafetensorError, OSError, TypeError, ValueError, KeyError) as error:
        raise FileFormatError(
            f"{path} is not a readable safetensors file ({error}); it may be truncated or of another kind"
        ) from error
    return arrays, header


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a safetensors file says of itself, without its tensors; raises FileFormatError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return _header(file.metadata() or {})
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path} is not a readable safetensors file ({error})") from error


def _bfloat16(path: Path, names: set[str]) -> dict[str, Array]:
    """Tensors of the type bfloat16, which NumPy does not have, as float32: it is the upper half of one."""
    if not names:
        return {}
    from safetensors import deserialize

    return {
        name: (np.frombuffer(stored["data"], "<u2").astype(np.uint32) << np.uint32(16))
        .view(np.float32)
        .reshape(stored["shape"])
        for name, stored in deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
        if name in names
    }


def _header(metadata: Mapping[str, str]) -> dict[str, Any]:
    if _ENTRY not in metadata:
        return dict(metadata)
    header = json.loads(metadata[_ENTRY])
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    return header
