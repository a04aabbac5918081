"""Reading pickles without running them: containers, numbers and text; of all classes only those that are named here.

A pickle is a program for a stack machine; Python's own reader calls whatever it names. This one knows the instructions
that build plain data. A class or function in the file is looked up by its name in a table of the caller's, whose
entries make data of data; a name that is not in the table ends the reading.
"""

from __future__ import annotations

import pickletools
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

_STEPS = 10_000_000  # instructions; checkpoints of the largest networks have thousands, a malicious file might not
_DIGITS = 1 << 10  # bytes of a whole number
_FIELDS = 16  # of a tuple that is a key

_ARGUMENT = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
_NOTHING = frozenset(("PROTO", "FRAME"))
_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PLAIN = (str, bytes, int, float, complex, type(None))


class PickleError(ValueError):
    """Damage, or something in a pickle that is not plain data."""


class UnknownGlobal(PickleError):
    """A class or function that the reader does not know, by its `name`."""

    def __init__(self, name: str) -> None:
        super().__init__(f"it holds {name!r}, which is not plain data")
        self.name = name


@dataclass(frozen=True)
class Global:
    """A class or function of a pickle by its name, and what this reader makes in its place (None: it is only named)."""

    name: str
    make: Callable[..., Any] | None


class Fields(dict[str, Any]):
    """The attributes of an object of which only those are known: argparse.Namespace."""


def load(
    file: BinaryIO,
    known: Mapping[str, Callable[..., Any] | None],
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """The data of the pickle that begins at the file's place; leaves the file behind it.

    known: functions by dotted name that stand for the classes and functions in the pickle; persistent: what makes an
    object of a persistent id. An object of `known` with a method `set_state` is given its state. Raises UnknownGlobal
    for a name that is not known, PickleError for damage and for instructions that plain data do not need.

    >>> import io, pickle
    >>> from coolnn.formats import pickles
    >>> pickles.load(io.BytesIO(pickle.dumps({"lr": [0.1, 0.2]})), {})
    {'lr': [0.1, 0.2]}
    """
    machine = _Machine(known, persistent)
    try:
        return machine.run(file)
    except PickleError:
        raise
    # What the standard library's decoder of instructions, the stack and the functions of `known` raise for nonsense.
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, struct.error) as error:
        raise PickleError(f"its pickle is damaged ({error})") from error


class _Machine:
    """The stack, the marks on it and the memory of things to be used again."""

    def __init__(self, known: Mapping[str, Callable[..., Any] | None], persistent: Callable[[Any], Any] | None) -> None:
        self.known, self.persistent = known, persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: BinaryIO) -> Any:
        """All instructions to the one that ends the pickle."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of backslashes in texts that mean nothing
            for steps, (opcode, argument, _) in enumerate(pickletools.genops(file)):
                if steps > _STEPS:
                    raise PickleError(f"it has more than {_STEPS:,} instructions")
                if opcode.name == "STOP":
                    return self.pop()
                self.step(opcode.name, argument)
        raise PickleError("its pickle ends too early")

    def pop(self) -> Any:
        """The topmost thing; nothing below a mark is taken."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleError("its pickle takes more from the stack than is there")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        """All things above the last mark, which goes."""
        if not self.marks:
            raise PickleError("its pickle takes more from the stack than is there")
        mark = self.marks.pop()
        found = self.stack[mark:]
        del self.stack[mark:]
        return found

    def step(self, name: str, argument: Any) -> None:
        """One instruction."""
        if name in _ARGUMENT:
            if isinstance(argument, int) and argument.bit_length() > 8 * _DIGITS:
                raise PickleError(f"it holds a number of {argument.bit_length():,} bits")
            self.stack.append(argument)
        elif name in _VALUES:
            self.stack.append(_VALUES[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            items = [self.pop() for _ in range(_TUPLES[name])]
            self.stack.append(tuple(reversed(items)))
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            item = self.pop()
            self.stack.append(item)
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = item
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name not in _NOTHING:
            method = getattr(self, f"_{name.lower()}", None)
            if method is None:
                raise PickleError(f"its pickle uses the instruction {name}, which plain data do not need")
            method(argument)

    # --- the stack -----------------------------------------------------------------------------------------------

    def _mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def _pop(self, _: Any) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    def _pop_mark(self, _: Any) -> None:
        self.pop_to_mark()

    def _dup(self, _: Any) -> None:
        item = self.pop()
        self.stack += [item, item]

    # --- containers ----------------------------------------------------------------------------------------------

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.pop_to_mark()))

    def _list(self, _: Any) -> None:
        self.stack.append(self.pop_to_mark())

    def _frozenset(self, _: Any) -> None:
        self.stack.append(frozenset(check_key(item) for item in self.pop_to_mark()))

    def _dict(self, _: Any) -> None:
        items = self.pop_to_mark()
        self.stack.append({})
        self._fill(items)

    def _append(self, _: Any) -> None:
        self._extend([self.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self.pop_to_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.pop()
        if type(target) is not list:
            raise PickleError(f"its pickle appends to a {type(target).__name__}")
        target += items
        self.stack.append(target)

    def _additems(self, _: Any) -> None:
        items = self.pop_to_mark()
        target = self.pop()
        if type(target) is not set:
            raise PickleError(f"its pickle adds to a {type(target).__name__}")
        target.update(check_key(item) for item in items)
        self.stack.append(target)

    def _setitem(self, _: Any) -> None:
        value = self.pop()
        self._fill([self.pop(), value])

    def _setitems(self, _: Any) -> None:
        self._fill(self.pop_to_mark())

    def _fill(self, items: list[Any]) -> None:
        target = self.pop()
        if not isinstance(target, dict) or len(items) % 2:
            raise PickleError(f"its pickle sets {len(items)} keys and values of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[check_key(key)] = value
        self.stack.append(target)

    # --- classes and functions -------------------------------------------------------------------------------------

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._named(module, name)

    def _stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise PickleError("its pickle names a class by something that is no text")
        self._named(module, name)

    def _named(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        if full not in self.known:
            raise UnknownGlobal(full[:200])
        self.stack.append(Global(full, self.known[full]))

    def _reduce(self, _: Any) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global) or function.make is None or not isinstance(arguments, tuple):
            named = function.name if isinstance(function, Global) else type(function).__name__
            raise PickleError(f"its pickle calls a {named}, which is nothing to be called")
        self.stack.append(function.make(*arguments))

    _newobj = _reduce

    def _build(self, _: Any) -> None:
        state, target = self.pop(), self.pop()
        if isinstance(target, Fields) and isinstance(state, dict):
            target.update((str(key), value) for key, value in state.items())
        elif hasattr(target, "set_state"):
            target.set_state(state)
        elif not isinstance(target, dict):  # attributes of a dictionary: a state dict's versions of its modules
            raise PickleError(f"its pickle changes the attributes of a {type(target).__name__}")
        self.stack.append(target)

    def _persid(self, argument: Any) -> None:
        self.stack.append(argument)
        self._binpersid(None)

    def _binpersid(self, _: Any) -> None:
        if self.persistent is None:
            raise PickleError("its pickle refers to something outside of it")
        self.stack.append(self.persistent(self.pop()))


def check_key(value: Any) -> Any:
    """What may be a key: hashing it takes no longer than reading it did."""
    if isinstance(value, _PLAIN) or (
        isinstance(value, tuple) and len(value) <= _FIELDS and all(isinstance(item, _PLAIN) for item in value)
    ):
        return value
    raise PickleError(f"its pickle uses a {type(value).__name__} as a key")


def shown(value: Any) -> str:
    """A value of a pickle in a message: short, and in no time whatever it refers to."""
    if isinstance(value, tuple | list) and len(value) <= _FIELDS:
        return "(" + ", ".join(shown(item) if isinstance(item, _PLAIN) else "..." for item in value) + ")"
    if not isinstance(value, _PLAIN):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a huge number"
    return repr(value[:40] if isinstance(value, str | bytes) else value)
