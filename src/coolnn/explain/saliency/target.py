"""Which number of the output is explained: by class, by name, by channel, by place."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

#: A class's number or name, a channel's number, or an index of the output such as (channel, row, column).
Wanted = int | str | tuple[int, ...]


@dataclass(frozen=True)
class Target:
    """The number that is explained: which of the output's it is, what it is called, and what it is for the picture."""

    index: tuple[int, ...]  # (class,), (channel,) for a channel's mean over its places, or (channel, row, column)
    label: str
    score: float
    #: The share that the class gets of 1 (softmax); None for what is no class.
    probability: float | None

    def __str__(self) -> str:
        return self.label + (f" ({self.probability:.0%})" if self.probability is not None else f" ({self.score:.3g})")


def answer_of(output: Array) -> tuple[int, ...]:
    """The index of the largest class of an output (without the batch), or of the channel that is largest on average."""
    if output.ndim not in (1, 3):
        raise ValueError(f"an output of shape {output.shape} has no one answer; give the target as an index of it")
    return (int(np.argmax(output if output.ndim == 1 else output.mean((1, 2)))),)


def index_of(wanted: Wanted, shape: tuple[int, ...], labels: Sequence[str]) -> tuple[int, ...]:
    """The index that is wanted of an output of this shape (without the batch).

    Raises ValueError, with what there is, for a name that is not known or a number that is too large.
    """
    if isinstance(wanted, str):
        return (_named(wanted, labels, shape),)
    index = tuple(int(i) for i in wanted) if isinstance(wanted, tuple | list) else (int(wanted),)
    whole = len(index) == len(shape) or (len(index) == 1 and len(shape) == 3)
    if not whole or not all(-size <= i < size for i, size in zip(index, shape, strict=False)):
        what = f"{shape[0]} classes" if len(shape) == 1 else f"shape {shape}"
        raise ValueError(f"there is no target {wanted!r}: the output has {what}, counted from 0")
    return tuple(i % size for i, size in zip(index, shape, strict=False))


def _named(name: str, labels: Sequence[str], shape: tuple[int, ...]) -> int:
    if not labels:
        raise ValueError(
            f"there is no class {name!r}, because the classes have no names; give a number from 0 to {shape[0] - 1}"
        )
    if len(labels) != shape[0]:
        raise ValueError(f"there are {len(labels)} names for {shape[0]} outputs; give the target as a number")
    names = [label.casefold() for label in labels]
    plain = name.strip().casefold()
    found = [i for i, label in enumerate(names) if label == plain or plain in (s.strip() for s in label.split(","))]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise ValueError(f"several classes are named {name!r}: {', '.join(map(str, found))}; give one of these numbers")
    close = difflib.get_close_matches(plain, names, 3, 0.6) or [label for label in names if plain in label][:3]
    if close:
        hint = f"did you mean {' or '.join(repr(labels[names.index(label)]) for label in close)}?"
    else:
        more = f" and {len(labels) - 10} more" if len(labels) > 10 else ""
        hint = f"there are: {', '.join(labels[:10])}{more}"
    raise ValueError(f"there is no class {name!r}; {hint}")


def selection(index: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Weights of the output's numbers that make the one that is asked for: a channel's is the mean of its places."""
    weights = np.zeros(shape, np.float32)
    weights[index] = 1 / math.prod(shape[len(index) :])
    return weights


def name_of(index: tuple[int, ...], labels: Sequence[str], of: str) -> str:
    """What a target is called: the class's name, or the place in the layer."""
    if len(index) == 1 and index[0] < len(labels):
        return labels[index[0]]
    numbers = ", ".join(map(str, index))
    return numbers if of == "output" else f"{of}[{numbers}]"
