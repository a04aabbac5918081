"""PyTorch's files (.pth, .pt, .th), of version 1.6 and later (zip) and of before, read without PyTorch."""

from __future__ import annotations

import io
import math
import mmap
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import numpy as np

from . import pickles
from .pickles import Global, PickleError, shown
from .pickles_numpy import NUMPY

Array = np.ndarray[Any, np.dtype[Any]]

#: What the old format begins with, in the pickle's instruction for whole numbers.
LEGACY_NUMBER = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PROTOCOL = 1001
_AXES = 32
_EXPANDED = 1 << 16  # numbers that a tensor may have beyond those stored: by stride 0 it might claim any size

_STORAGES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
}
_DTYPES = {name: np.dtype(name).newbyteorder("<") for name in _STORAGES.values() if name != "bfloat16"}
_DTYPES |= {f"uint{bits}": np.dtype(f"<u{bits // 8}") for bits in (16, 32, 64)}
_DTYPES |= {"bfloat16": np.dtype("<u2")}  # NumPy has no such type: made float32 when it is read


@dataclass
class Storage:
    """Numbers in a row: where they lie in the file, once that is known."""

    key: str
    dtype: str | None  # None: bytes, to which the tensor gives a type
    count: int  # of elements
    content: memoryview | None = None
    whole: Storage | None = None  # of which this one is the part that begins at element `start`
    start: int = 0
    arrays: dict[str, Array] = field(default_factory=dict)

    def array(self, dtype: str) -> Array:
        """The elements, seen in the file where it holds them as NumPy has them."""
        if self.whole is not None:
            return self.whole.array(dtype)[self.start : self.start + self.count]
        if dtype not in self.arrays:
            if self.content is None:
                raise PickleError(f"the numbers of its storage {shown(self.key)} are not in the file")
            raw = np.frombuffer(self.content, _DTYPES[dtype])
            if dtype == "bfloat16":  # the upper half of a float32
                raw = (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
            elif dtype == "bool":  # any byte but 0 and 1 would be undefined
                raw = raw.view(np.uint8) != 0
            elif not raw.flags.aligned or not raw.dtype.isnative:
                raw = raw.astype(raw.dtype.newbyteorder("="))
            self.arrays[dtype] = raw
        return self.arrays[dtype]


@dataclass(frozen=True)
class Stored:
    """A tensor of the file: a part of a storage, with steps along its axes, in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str

    def array(self) -> Array:
        """The numbers as a read-only array; raises PickleError if they would lie outside of the storage."""
        have = self.storage.array(self.dtype)
        wanted = math.prod(self.shape)
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if wanted and last >= have.size:
            raise PickleError(f"its number {last} is beyond the {have.size} of the storage {shown(self.storage.key)}")
        if wanted > max(have.size, _EXPANDED):
            raise PickleError(f"its shape {self.shape} has more numbers than the {have.size} that are stored")
        if not wanted:
            return np.zeros(self.shape, have.dtype)
        steps = [step * have.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(have[self.offset :], self.shape, steps, writeable=False)


def open_zip(archive: zipfile.ZipFile, content: memoryview) -> Any:
    """What a file of the zip format holds, tensors as `Stored`; raises PickleError."""
    names = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
    if len(names) != 1:
        raise PickleError(f"it has {len(names)} entries data.pkl, not one")
    prefix = names[0].removesuffix("data.pkl")
    if f"{prefix}constants.pkl" in archive.namelist():
        raise PickleError("it is a TorchScript program, not weights; save its state_dict() from PyTorch")
    if f"{prefix}byteorder" in archive.namelist() and bytes(entry(archive, content, f"{prefix}byteorder")) != b"little":
        raise PickleError("it was written on a machine with the other order of bytes; save it again on this one")
    storages: dict[str, Storage] = {}

    def find(identity: Any) -> Storage:
        kind, dtype, key, count, view = _identity(identity)
        if key not in storages:
            lies = entry(archive, content, f"{prefix}data/{key}")
            if len(lies) != count * (_DTYPES[dtype].itemsize if dtype else 1):
                raise PickleError(f"its storage {shown(key)} has {len(lies)} bytes, not {count} elements of {kind}")
            storages[key] = Storage(key, dtype, count, lies)
        return _same(storages[key], dtype, count, view)

    return pickles.load(io.BytesIO(entry(archive, content, names[0])), _KNOWN, find)


def entry(archive: zipfile.ZipFile, content: memoryview, name: str) -> memoryview:
    """The bytes of an entry that is stored as it is, where they lie in the file; raises PickleError."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise PickleError(f"it has no entry {name}") from None
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise PickleError(f"its entry {name} is compressed; zip it again without compression (zip -0)")
    header = bytes(content[info.header_offset : info.header_offset + 30])
    if len(header) < 30 or header[:4] != b"PK\3\4":
        raise PickleError(f"its entry {name} does not begin where its directory says")
    start = info.header_offset + 30 + sum(struct.unpack("<HH", header[26:]))
    if info.file_size != info.compress_size or start + info.file_size > len(content):
        raise PickleError(f"its entry {name} is not whole")
    return content[start : start + info.file_size]


def open_legacy(file: mmap.mmap, content: memoryview) -> Any:
    """What a file of the format before PyTorch 1.6 holds, tensors as `Stored`; raises PickleError."""
    reader = cast(BinaryIO, file)
    reader.seek(0)
    _, protocol, system = (pickles.load(reader, {}) for _ in range(3))
    if protocol != _LEGACY_PROTOCOL:
        raise PickleError(f"its format has the number {shown(protocol)}, this reader knows {_LEGACY_PROTOCOL}")
    if not isinstance(system, dict):
        raise PickleError("it does not say which machine it was written on")
    storages: dict[str, Storage] = {}

    def find(identity: Any) -> Storage:
        _, dtype, key, count, view = _identity(identity)
        return _same(storages.setdefault(key, Storage(key, dtype, count)), dtype, count, view)

    root = pickles.load(reader, _KNOWN, find)
    keys = pickles.load(reader, {})
    if not isinstance(keys, list):
        raise PickleError("it does not list its storages")
    place = reader.tell()
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None or storage.content is not None:
            raise PickleError(f"it lists a storage {shown(key)} that none of its tensors uses, or lists it twice")
        size = storage.count * _DTYPES[storage.dtype or "uint8"].itemsize
        lies = content[place + 8 : place + 8 + size]
        if len(lies) != size or struct.unpack_from("<q", content, place)[0] != storage.count:
            raise PickleError(f"its storage {shown(key)} is not whole")
        storage.content = lies
        place += 8 + size
    return root


def _identity(identity: Any) -> tuple[str, str | None, str, int, Any]:
    """The parts of ("storage", type, key, device, number of elements, maybe a view of it)."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] not in ("storage", b"storage"):
        raise PickleError(f"it refers to {shown(identity)}, not to a storage")
    kind, key, count = identity[1], identity[2], identity[4]
    if not isinstance(kind, Global) or kind.name not in _STORAGE_NAMES:
        raise PickleError("it has a storage of no type")
    if not isinstance(key, str) or not _is_index(count):
        raise PickleError("it has a storage without a name, or of no size")
    return kind.name, _STORAGE_NAMES[kind.name], key, count, identity[5] if len(identity) == 6 else None


def _same(storage: Storage, dtype: str | None, count: int, view: Any) -> Storage:
    if (storage.dtype, storage.count) != (dtype, count):
        raise PickleError(f"it says two things about its storage {shown(storage.key)}")
    if view is None:
        return storage
    if not (isinstance(view, tuple) and len(view) == 3 and all(map(_is_index, view[1:])) and sum(view[1:]) <= count):
        raise PickleError(f"a part of its storage {shown(storage.key)} lies outside of it")
    return Storage(str(view[0]), dtype, view[2], whole=storage, start=view[1])


def _is_index(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Stored:
    if not isinstance(storage, Storage) or storage.dtype is None:
        raise PickleError("it has a tensor without a storage")
    return _stored(storage, offset, shape, strides, storage.dtype)


def _rebuild_typed(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Stored:
    if not isinstance(storage, Storage) or not isinstance(dtype, Global):
        raise PickleError("it has a tensor without a storage or a type")
    name = dtype.name.removeprefix("torch.")
    if storage.dtype is not None or name not in _DTYPES or storage.count % _DTYPES[name].itemsize:
        raise PickleError(f"it has a storage of {storage.count} bytes of type {dtype.name}")
    return _stored(storage, offset, shape, strides, name)


def _stored(storage: Storage, offset: Any, shape: Any, strides: Any, dtype: str) -> Stored:
    whole = isinstance(shape, tuple | list) and isinstance(strides, tuple | list)
    if not (whole and len(shape) == len(strides) <= _AXES and all(map(_is_index, (offset, *shape, *strides)))):
        raise PickleError(f"it has a tensor of the shape {shown(shape)} with strides {shown(strides)}")
    return Stored(storage, offset, tuple(shape), tuple(strides), dtype)


def _first(value: Any, *_: Any) -> Any:
    return value


def _of_type(function: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    """A tensor with a class or attributes of its own, which are left out."""
    if not isinstance(function, Global) or function.make is None or not isinstance(arguments, tuple):
        raise PickleError("it has a tensor of a class of its own")
    return function.make(*arguments)


def _set(items: Any = ()) -> set[Any]:
    return {pickles.check_key(item) for item in items}


def _dictionary(items: Any = (), *_: Any) -> dict[Any, Any]:
    pairs = items.items() if isinstance(items, dict) else items
    return {pickles.check_key(key): value for key, value in pairs}


_STORAGE_NAMES: dict[str, str | None] = {
    f"torch.{device}{name}Storage": dtype for name, dtype in _STORAGES.items() for device in ("", "cuda.")
}
_STORAGE_NAMES |= {"torch.storage.UntypedStorage": None, "torch.UntypedStorage": None}


_BUILTINS: dict[str, Callable[..., Any] | None] = {
    **dict.fromkeys(("list", "dict", "int", "float", "str")),
    "set": _set,
    "frozenset": lambda items=(): frozenset(_set(items)),
    "complex": lambda real, imaginary: complex(float(real), float(imaginary)),
}

_KNOWN: dict[str, Callable[..., Any] | None] = {
    **dict.fromkeys(_STORAGE_NAMES),
    **dict.fromkeys(f"torch.{name}" for name in _DTYPES),
    **dict.fromkeys(("torch.Tensor", "torch.nn.parameter.Parameter")),
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_tensor_v3": _rebuild_typed,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch.Size": lambda shape=(): tuple(shape),
    "torch.device": lambda *parts: ":".join(str(part) for part in parts),
    "collections.OrderedDict": _dictionary,
    "collections.Counter": _dictionary,
    "collections.defaultdict": lambda *_: {},
    **{f"{builtins}.{name}": made for builtins in ("builtins", "__builtin__") for name, made in _BUILTINS.items()},
    "argparse.Namespace": lambda *_: pickles.Fields(),
    **NUMPY,
}
