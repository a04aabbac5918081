"""Weights of any program by name: PyTorch's files, safetensors and npz, picked by what is in them, and never run."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from .. import nn
from . import pickles, tensors, torch_file
from .pickles import PickleError, UnknownGlobal
from .pickles_numpy import NUMPY, Numbers
from .tensors import Array, FileFormatError
from .torch_file import Stored

#: Where checkpoints keep the weights, in the order in which they are looked for.
STATES = (
    *("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params", "backbone"),
    *("state_dict_ema", "model_ema", "ema", "generator", "state"),
)
#: What programs that wrap a network put before all of its names.
WRAPPERS = ("module.", "_orig_mod.")

_UNPACKED, _UNPACKED_ANYWAY = 64, 256 << 20  # times a compressed file's size; bytes that any may have
_START = 512
_NPY_HEADER = 10_000

#: Files of other kinds that are taken for weights: how they begin, what they are, what to do.
_OTHERS = (
    (b"\x89HDF", "an HDF5 file of Keras", "save the weights as .npz or safetensors from there"),
    (b"\x93NUMPY", "a single array without a name", "save it with its name: np.savez(file, **{name: array})"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it: gunzip FILE"),
    (b"version https://git-lfs", "a pointer to a file in Git LFS", "fetch the file itself: git lfs pull"),
    (b"<!DOCTYPE", "a web page", "the download went wrong; fetch it again"),
    (b"<html", "a web page", "the download went wrong; fetch it again"),
    (b"\x08", "of another program, an ONNX file perhaps", "ONNX files are networks: open them as such"),
)


def read_tensors(path: str | os.PathLike[str], key: str | None = None) -> dict[str, Array]:
    """The arrays of a file of weights by name: PyTorch's (.pth, .pt, .th, new and old), safetensors, npz, coolnn's own.

    The kind is told from the content. Of a checkpoint with several entries the weights are found by their usual names
    ("state_dict", "model", ...), or `key` names the entry, dots for entries within entries; "module." before all names
    is taken away. Arrays have the types that the file has, bfloat16 becomes float32; where possible they are read-only
    views of the file, whose numbers are read when they are used. Nothing in a file is executed, and sizes and places
    are checked before memory is taken. Raises FileNotFoundError, or FileFormatError that names the file, the tensor and
    what to do.

    >>> import coolnn as cool, tempfile, os, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "weights.npz")
    ...     np.savez(path, **{"fc.weight": np.ones((2, 3), np.float16)})
    ...     {name: array.shape for name, array in cool.formats.read_tensors(path).items()}
    {'fc.weight': (2, 3)}
    """
    path = Path(path)
    if path.is_dir():
        raise FileFormatError(f"{path} is a folder, not a file")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    with _errors(path), open(path, "rb") as file:
        start = file.read(_START)
        if tensors.is_safetensors(path):
            return _unwrapped(tensors.read_any(path)[0])
        if not start:
            raise PickleError("it is empty")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _unwrapped(dict(_arrays(_open(file, start, mapped), key)))


def load_weights(
    net: nn.Module,
    path: str | os.PathLike[str],
    strict: bool = True,
    *,
    rename: Mapping[str, str | None] | None = None,
    key: str | None = None,
) -> nn.Module:
    """Reads weights into a network from any file that `read_tensors` reads; returns the network.

    rename: what the file's names or their beginnings are called in the network, see `renamed`; key: the entry of a
    checkpoint. strict=False loads what fits, as long as anything does. Raises FileNotFoundError, or FileFormatError
    that names the file and what does not fit; the network is then as it was.

    >>> import coolnn as cool, tempfile, os
    >>> net = cool.nn.Sequential(cool.nn.Linear(3, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "weights.safetensors")
    ...     cool.formats.save_weights(cool.nn.Linear(3, 2), path)
    ...     _ = cool.formats.load_weights(net, path, rename={"": "0"})
    """
    arrays = read_tensors(path, key)
    try:
        arrays = renamed(arrays, rename or {})
        names = net.state_dict().keys()
        if not any(name in names for name in arrays):
            raise ValueError(
                f"none of its names ({_some(arrays)}) is one of the network's ({_some(names)}); is it of another "
                "network? rename= says what names are called in it"
            )
        net.load_state_dict(arrays, strict)
    except ValueError as error:
        raise FileFormatError(f"{path}: {error}") from error
    return net


def renamed(arrays: Mapping[str, Array], rules: Mapping[str, str | None]) -> dict[str, Array]:
    """Arrays under other names: {"block1_conv1": "features.0"} makes features.0.weight of block1_conv1.weight.

    A rule is for a whole name or for its beginning up to a dot, "" for all; of several the longest counts; None leaves
    out. Raises ValueError for a rule that no name follows and for two arrays of one name.

    >>> import coolnn as cool
    >>> list(cool.formats.renamed({"a.w": 1, "a.b.w": 2, "c.w": 3}, {"a": "x", "a.b": "y", "c": None}))
    ['x.w', 'y.w']
    """
    followed: set[str] = set()
    found: dict[str, Array] = {}
    for name, array in arrays.items():
        parts = name.split(".")
        beginnings = (".".join(parts[:count]) for count in range(len(parts), -1, -1))
        rule = next((begin for begin in beginnings if begin in rules), None)
        new: str | None = name
        if rule is not None:
            followed.add(rule)
            begin = rules[rule]
            new = None if begin is None else ".".join(part for part in (begin, name[len(rule) :].lstrip(".")) if part)
        if new in found:
            raise ValueError(f"after renaming two tensors are called {new!r}, one of them was {name!r}")
        if new is not None:
            found[new] = array
    for rule in rules:
        if rule not in followed:
            raise ValueError(f"no tensor is called {rule!r} or begins so; there are: {_some(arrays)}")
    return found


def _some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    listed = list(names)
    more = f", ... {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(listed[:3]) + more


def _open(file: BinaryIO, start: bytes, mapped: mmap.mmap) -> Any:
    """What the file holds: dictionaries, lists and numbers, tensors among them."""
    content = memoryview(mapped)
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if any(name.rpartition("/")[2] == "data.pkl" for name in names):
                return torch_file.open_zip(archive, content)
            if names and all(name.endswith(".npy") for name in names):
                return {name.removesuffix(".npy"): _npy(archive, content, name) for name in names}
        raise PickleError("it is a zip file, but neither PyTorch's nor NumPy's")
    if start[:1] == b"\x80" and torch_file.LEGACY_NUMBER in start[:32]:
        return torch_file.open_legacy(mapped, content)
    if start[257:262] == b"ustar":
        raise PickleError("it is a tar file (PyTorch's format before 0.1.10?); save it again with a newer PyTorch")
    for begins, what, remedy in _OTHERS:
        if start.startswith(begins):
            raise PickleError(f"it is {what}; {remedy}")
    if start[:1] == b"\x80":
        return pickles.load(cast(BinaryIO, mapped), NUMPY)
    raise PickleError("it is no PyTorch file, safetensors or npz; it may be truncated or of another kind")


def _npy(archive: zipfile.ZipFile, content: memoryview, name: str) -> Array:
    """An array of an npz file: a view of it where it is stored as it is, else unpacked."""
    info = archive.getinfo(name)
    if info.compress_type == zipfile.ZIP_STORED:
        raw = torch_file.entry(archive, content, name)
    elif info.compress_type != zipfile.ZIP_DEFLATED:
        raise PickleError(f"its array {name} is compressed in a way that NumPy does not use; save it with np.savez")
    elif info.file_size > max(_UNPACKED_ANYWAY, _UNPACKED * len(content)):
        raise PickleError(f"its array {name} is said to have {info.file_size:,} bytes; save it with np.savez")
    else:
        with archive.open(name) as packed:  # reads no more than the size that was checked
            raw = memoryview(packed.read())
    file = io.BytesIO(raw[:_NPY_HEADER])
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, columns_first, dtype = read_header(file, _NPY_HEADER)
    except Exception as error:  # it parses the header as Python, and raises what the parser and the tokenizer raise
        raise PickleError(f"the header of its array {name} is damaged ({error})") from error
    if dtype.kind not in "biufc":
        raise PickleError(f"its array {name} is of type {dtype}, which is no number")
    numbers = raw[file.tell() :]
    if math.prod(shape) * dtype.itemsize != len(numbers) or len(shape) > 32:
        raise PickleError(f"its array {name} has {len(numbers):,} bytes, not {shape} numbers of type {dtype}")
    array = np.frombuffer(numbers, dtype)
    if not array.flags.aligned or not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    return array.reshape(shape, order="F" if columns_first else "C")


def _arrays(root: Any, key: str | None) -> Iterator[tuple[str, Array]]:
    """The arrays of a checkpoint's entry, which is looked for if it is not named."""
    node = _walk(root, key) if key is not None else _find(root)
    for name, value in node.items():
        if isinstance(name, str) and _is_array(value):
            try:
                yield name, _array(value)
            except PickleError as error:
                raise PickleError(f"tensor {pickles.shown(name)}: {error}") from error


def _is_array(value: Any) -> bool:
    return isinstance(value, Stored | np.ndarray) or (isinstance(value, Numbers) and value.array is not None)


def _array(value: Any) -> Array:
    if isinstance(value, Stored):
        return value.array()
    array = cast(Array, value.array if isinstance(value, Numbers) else value)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _walk(root: Any, key: str) -> dict[Any, Any]:
    node = root
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            inside = ", ".join(_entries(node)) or "no entries"
            raise PickleError(f"it has no entry {part!r} of {key!r}; there are: {inside}")
        node = node[part]
    if not _holds_arrays(node):
        raise PickleError(f"its entry {key!r} holds no tensors by name")
    return node  # type: ignore[no-any-return]


def _find(root: Any) -> dict[Any, Any]:
    """The dictionary with the weights: below a usual name, at the top, or the only one there is."""
    node = root
    for _ in range(4):
        if not isinstance(node, dict):
            break
        inner = {name: value for name, value in node.items() if isinstance(value, dict) and isinstance(name, str)}
        usual = [name for name in STATES if name in inner and (_holds_arrays(inner[name]) or _nests(inner[name]))]
        if not usual and _holds_arrays(node):
            return node
        holding = usual or [name for name, value in inner.items() if _holds_arrays(value) or _nests(value)]
        if not holding or (not usual and len(holding) > 1):
            break
        node = inner[holding[0]]
    if _is_array(root):
        raise PickleError("it holds one tensor, not tensors by name; save a state_dict()")
    if not isinstance(root, dict):
        raise PickleError(f"it holds {pickles.shown(root)}, not tensors by name; save a state_dict()")
    raise PickleError(
        f"it does not say which entry holds the weights; name one as key=: {', '.join(_entries(root)) or 'it has none'}"
    )


def _holds_arrays(node: Any) -> bool:
    return isinstance(node, dict) and any(_is_array(value) for value in node.values())


def _nests(node: dict[Any, Any]) -> bool:
    return any(_holds_arrays(value) for value in node.values())


def _entries(node: Any) -> list[str]:
    return [pickles.shown(name) for name in list(node)[:20]] if isinstance(node, dict) else []


def _unwrapped(arrays: dict[str, Array]) -> dict[str, Array]:
    """Names as the network itself has them."""
    while wrapper := next((w for w in WRAPPERS if arrays and all(name.startswith(w) for name in arrays)), None):
        arrays = {name.removeprefix(wrapper): array for name, array in arrays.items()}
    return arrays


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Names the file in every message, and says what to do about code in it."""
    try:
        yield
    except FileFormatError:
        raise
    except UnknownGlobal as error:
        raise FileFormatError(
            f"{path}: {error}; coolnn reads tensors, numbers and containers and runs nothing. Load the file where it "
            "was made and save the weights alone: torch.save(network.state_dict(), path)"
        ) from error
    except PickleError as error:
        raise FileFormatError(f"{path}: {error}") from error
    # zipfile and NumPy's reader of headers raise many types for damaged files.
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"{path} is damaged ({error}); fetch it again") from error
    except OSError as error:
        if error.errno not in (errno.EINVAL, None):  # those come of zip files: places before the beginning, say
            raise
        raise FileFormatError(f"{path} is damaged ({error}); fetch it again") from error
    except (EOFError, IndexError, OverflowError, RuntimeError, RecursionError, struct.error) as error:
        raise FileFormatError(f"{path} is damaged ({error}); fetch it again") from error
