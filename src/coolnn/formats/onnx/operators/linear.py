"""Matrix products."""

from __future__ import annotations

from collections import Counter

from .... import ops
from ....autograd import apply
from ....ops.linear import LINEAR
from ....ops.linear import MATMUL as PRODUCT
from ....tensor import Tensor


def MatMul(a: Tensor, b: Tensor) -> Tensor:
    if a.dtype.kind != "f":
        return ops.cast(ops.matmul(ops.cast(a, "float64"), ops.cast(b, "float64")), a.dtype)
    return ops.matmul(a, b)


def Gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    broadcast: int = 0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    if a.dtype.kind != "f":
        real = [t if t is None else ops.cast(t, "float64") for t in (a, b, c)]
        assert real[0] is not None and real[1] is not None
        y = Gemm(real[0], real[1], real[2], alpha=alpha, beta=beta, transA=transA, transB=transB)
        return ops.cast(y, a.dtype)
    if alpha == beta == 1 and transB and not transA and a.ndim == 2 and c is not None and c.shape == b.shape[:1]:
        return apply(LINEAR, a, b, c)
    y = apply(PRODUCT, a, b, transpose_a=bool(transA), transpose_b=bool(transB))
    y = y if alpha == 1 else y * alpha
    return y if c is None else y + (c if beta == 1 else c * beta)


def MatMulInteger(
    a: Tensor, b: Tensor, a_zero_point: Tensor | None = None, b_zero_point: Tensor | None = None
) -> Tensor:
    # In double precision: exact for whole numbers.
    left, right = ops.cast(a, "float64"), ops.cast(b, "float64")
    if a_zero_point is not None:
        left = left - (a_zero_point if a_zero_point.ndim != 1 else a_zero_point.reshape(-1, 1))
    if b_zero_point is not None:
        right = right - b_zero_point
    return ops.cast(ops.matmul(left, right), "int32")


def Einsum(*operands: Tensor, equation: str) -> Tensor:
    """Products of all operands, two at a time, and sums over the letters that the result does not have."""
    left, _, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ValueError(f"equation {equation!r} has {len(terms)} operands, there are {len(operands)}")
    letters = [_spelled(term, x.ndim) for term, x in zip(terms, operands, strict=True)]
    if "->" in equation:
        wanted = _spelled(right, len(right.replace("...", "")) + max(map(_dots, letters), default=0))
    else:
        counts = Counter(letter for term in letters for letter in term)
        wanted = sorted(l for l in counts if l.startswith("."))
        wanted += sorted(l for l, count in counts.items() if count == 1 and not l.startswith("."))
    diagonal = [_diagonal(x, term) for x, term in zip(operands, letters, strict=True)]
    result, have = diagonal[0]
    for x, term in diagonal[1:]:
        every = [*dict.fromkeys([*have, *term])]
        result, have = _spread(result, have, every) * _spread(x, term, every), every
    summed = [i for i, letter in enumerate(have) if letter not in wanted]
    if summed:
        result, have = ops.sum(result, tuple(summed)), [l for l in have if l in wanted]
    return result.permute(tuple(have.index(letter) for letter in wanted)) if have else result


def _dots(term: list[str]) -> int:
    return sum(letter.startswith(".") for letter in term)


def _spelled(term: str, rank: int) -> list[str]:
    """The letter of each axis; those that ... stands for are .0, .1, ... counted from the last."""
    before, dots, after = term.partition("...")
    if not dots:
        return list(term)
    count = rank - len(before) - len(after)
    return [*before, *(f".{i}" for i in reversed(range(count))), *after]


def _diagonal(x: Tensor, letters: list[str]) -> tuple[Tensor, list[str]]:
    """Without repeated letters: the numbers whose places along both axes are the same."""
    for letter in [l for l, count in Counter(letters).items() if count > 1]:
        while letters.count(letter) > 1:
            first = letters.index(letter)
            second = letters.index(letter, first + 1)
            n = x.shape[first]
            order = [i for i in range(x.ndim) if i not in (first, second)]
            rest = tuple(x.shape[i] for i in order)
            x = x.permute((first, second, *order)).reshape(n * n, *rest)[:: n + 1]
            letters = [letter, *(letters[i] for i in order)]
    return x, letters


def _spread(x: Tensor, letters: list[str], every: list[str]) -> Tensor:
    """The axes in the order of `every`, with length 1 for letters that are not there."""
    order = [letters.index(letter) for letter in every if letter in letters]
    x = x.permute(tuple(order)) if order else x
    lengths = iter(x.shape)
    return x.reshape(tuple(next(lengths) if letter in letters else 1 for letter in every))


def Det(x: Tensor) -> Tensor:
    """By expansion along the first row: exact enough, and differentiable, for the small matrices of networks."""
    n = x.shape[-1]
    if x.ndim < 2 or x.shape[-2] != n or n > 6:
        raise ValueError(f"Det takes square matrices of at most 6 × 6, not shape {x.shape}")
    if n == 1:
        return x[..., 0, 0]
    total: Tensor | None = None
    for column in range(n):
        rest = [i for i in range(n) if i != column]
        part = x[..., 0, column] * Det(ops.take(x[..., 1:, :], rest, x.ndim - 1)) * (-1.0) ** column
        total = part if total is None else total + part
    assert total is not None
    return total
