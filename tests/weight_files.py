"""Small files of weights of every kind, PyTorch's made by hand as PyTorch makes them: for tests and for fuzzing."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def unicode(text: str) -> bytes:
    """The instruction for a text."""
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def whole(number: int) -> bytes:
    """The instruction for a whole number."""
    return b"\x8a\x08" + struct.pack("<q", number)


def group(*items: bytes) -> bytes:
    """The instructions for a tuple."""
    return b"(" + b"".join(items) + b"t"


def tensor(
    key: str, shape: tuple[int, ...], count: int, offset: int = 0, strides: Any = None, kind: str = "Float"
) -> bytes:
    """The instructions that make a tensor."""
    if strides is None:
        strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    storage = group(
        *(unicode("storage"), f"ctorch\n{kind}Storage\n".encode(), unicode(key), unicode("cpu"), whole(count))
    )
    numbers = [group(*map(whole, values)) for values in (shape, strides)]
    arguments = group(storage + b"Q", whole(offset), *numbers, b"\x89", b"}")
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def state(**tensors: bytes) -> bytes:
    """The pickle of a dictionary."""
    items = b"".join(unicode(name) + value for name, value in tensors.items())
    return b"\x80\x02}(" + items + b"u."


def zipped_bytes(pickled: bytes, compression: int = zipfile.ZIP_STORED, **storages: Array) -> bytes:
    """A file of PyTorch 1.6 and later."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, array in storages.items():
            archive.writestr(f"archive/data/{key}", array.tobytes())
    return file.getvalue()


def legacy_bytes(pickled: bytes, **storages: Array) -> bytes:
    """A file of PyTorch before 1.6."""
    begin = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    body = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in storages.values())
    return b"".join(begin) + pickled + pickle.dumps(list(storages), 2) + body


def zipped(path: Path, *arguments: Any, **storages: Array) -> Path:
    """Writes `zipped_bytes`."""
    path.write_bytes(zipped_bytes(*arguments, **storages))
    return path


def legacy(path: Path, *arguments: Any, **storages: Array) -> Path:
    """Writes `legacy_bytes`."""
    path.write_bytes(legacy_bytes(*arguments, **storages))
    return path


WRITERS: dict[str, Callable[..., Path]] = {"zip": zipped, "legacy": legacy}
SIX = np.arange(6, dtype="<f4")


def samples() -> dict[str, list[bytes]]:
    """Small files of each kind."""
    halves, others = tensor("b", (3,), 3, kind="BFloat16"), pickle.dumps([1, {}], 2)[2:-1]
    pickled = state(w=tensor("a", (2, 3), 6), half=halves, args=others)
    stored = {"a": SIX, "b": np.array([1, 2, 3], "<u2")}
    npz = [io.BytesIO(), io.BytesIO()]
    np.savez(npz[0], **stored)
    np.savez_compressed(npz[1], **stored)
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    return {
        "torch-zip": [zipped_bytes(pickled, **stored)],
        "torch-legacy": [legacy_bytes(pickled, **stored)],
        "npz": [file.getvalue() for file in npz],
        "safetensors": [struct.pack("<Q", len(header)) + header + SIX.tobytes()],
        "pickle": [pickle.dumps({"a": SIX, "b": np.float32(2), "c": [1, {2}]}, protocol) for protocol in (2, 4, 5)],
    }
