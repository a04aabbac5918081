"""How exactly products are computed, and what a lesser precision changes of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from .. import _core

#: In float32; or, with the operands of products rounded to bfloat16 where that is faster, summed in float32.
Precision = Literal["float32", "bf16"]


def check_precision(precision: str) -> None:
    """Raises ValueError for a precision that does not exist, or that this processor does not have."""
    if precision not in get_args(Precision):
        raise ValueError(f"there is no precision {precision!r}; choose from: {', '.join(get_args(Precision))}")
    if precision == "bf16" and not _core.has_bf16():
        raise ValueError(
            "precision='bf16' needs a processor that multiplies bfloat16 numbers (AVX512-BF16), not capped by "
            f"COOLNN_ISA; the kernels in use are {_core.isa()}: leave out precision, or pass 'float32'"
        )


@dataclass(frozen=True)
class PrecisionError:
    """What rounding changes of the answers of a network, in comparison with float32."""

    #: The root mean square of the differences, relative to that of the answers in float32.
    relative: float
    #: The largest difference, relative to the largest answer.
    largest: float
    #: The share of rows (pictures; pixels of them) whose largest score is at the same place; None for other answers.
    agreement: float | None

    def __str__(self) -> str:
        same = "" if self.agreement is None else f", the same best answer for {self.agreement:.1%}"
        return f"relative error {self.relative:.1e}, at most {self.largest:.1e} of the largest number{same}"


def compare(rounded: Sequence[np.ndarray[Any, Any]], exact: Sequence[np.ndarray[Any, Any]]) -> PrecisionError:
    """The error of several answers beside those in float32; scores lie along the second axis of the first answer."""
    pairs = [(r.astype(np.float64), e.astype(np.float64)) for r, e in zip(rounded, exact, strict=True)]
    difference = sum(float(((r - e) ** 2).sum()) for r, e in pairs)
    size = sum(float((e**2).sum()) for _, e in pairs)
    most = max((float(np.abs(r - e).max() / max(np.abs(e).max(), 1e-300)) for r, e in pairs if e.size), default=0.0)
    first, reference = pairs[0]
    scores = first.ndim >= 2 and first.shape[1] > 1 and first.size > 0
    agreement = float((first.argmax(1) == reference.argmax(1)).mean()) if scores else None
    return PrecisionError((difference / max(size, 1e-300)) ** 0.5, most, agreement)
