"""Numbers and shapes in few characters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..spec import Shape


def short(value: Any, digits: int = 4) -> str:
    """A number in a few characters: 4, -0.3935, 1.2e-07."""
    number = float(value)
    if math.isnan(number) or math.isinf(number):
        return str(number)
    if number == int(number) and abs(number) < 10**6:
        return str(int(number))
    return f"{number:.{digits}g}"


def exact(value: Any) -> str:
    """A number with as many digits as tell it from its neighbours of the same type."""
    scalar: Any = np.asarray(value)[()]
    if scalar.dtype.kind != "f":
        return str(scalar)
    if scalar == 0 or 1e-5 <= abs(scalar) < 1e16 or not np.isfinite(scalar):
        return np.format_float_positional(scalar, unique=True, trim="-")
    return np.format_float_scientific(scalar, unique=True, trim="-")


def shape_text(shape: Shape) -> str:
    """1×6×28×28, or "number"."""
    return "×".join(map(str, shape)) or "number"


def numbers_text(array: np.ndarray[Any, Any], limit: int = 4) -> str:
    """The numbers if there are few, else how far they reach: [1, 2, 3] or -0.4 … 2.3."""
    if array.size == 1:
        return short(array.reshape(-1)[0])
    if array.size == 0:
        return "none"
    if array.min() == array.max():
        return f"all {short(array.min())}"
    if array.size <= limit:
        return "[" + ", ".join(short(v, 3) for v in array.reshape(-1)) + "]"
    return f"{short(array.min(), 3)} … {short(array.max(), 3)}"


def place_text(place: tuple[int, ...]) -> str:
    """[0, 3, 12, 7]; nothing for a single number."""
    return "[" + ", ".join(map(str, place)) + "]" if place else ""
