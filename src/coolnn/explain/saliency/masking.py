"""Methods that hide parts of the picture and see what becomes of the number."""

from __future__ import annotations

import math

import numpy as np

from .question import Answer, Array, Question


def occlusion(
    question: Question,
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    fill: str | float | Array = "mean",
) -> list[Answer]:
    """How much the number falls where a window covers the picture (Zeiler and Fergus 2014, arXiv:1311.2901).

    window, stride: in pixels, or (height, width); None for an eighth of the picture, and half of the window. A pixel
    gets the mean of the windows over it. fill: what covers, see `integrated_gradients`' baseline. raw: (rows, columns)
    of the windows. Raises ValueError for a window larger than the picture.
    """
    h, w = question.x.shape[2:]
    high, wide = _pair(window, (max(1, h // 8), max(1, w // 8)), "window")
    down, right = _pair(stride, (max(1, high // 2), max(1, wide // 2)), "stride")
    if high > h or wide > w:
        raise ValueError(f"a window of {high}x{wide} pixels does not fit into a picture of {h}x{w}")
    rows = [down * i for i in range(math.ceil((h - high) / down) + 1)]
    columns = [right * i for i in range(math.ceil((w - wide) / right) + 1)]
    masks = np.ones((len(rows), len(columns), h, w), np.float32)
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            masks[i, j, top : top + high, left : left + wide] = 0
    scores = question.masked(masks.reshape(-1, h, w), question.baseline(fill))
    drops = (question.values - scores).reshape(len(rows), len(columns), -1)
    answers = []
    for k in range(drops.shape[2]):
        total, count = np.zeros((h, w)), np.zeros((h, w))
        for i, top in enumerate(rows):
            for j, left in enumerate(columns):
                total[top : top + high, left : left + wide] += drops[i, j, k]
                count[top : top + high, left : left + wide] += 1
        mean = (total / np.maximum(count, 1)).astype(np.float32)  # a stride larger than the window leaves gaps
        answers.append(Answer(mean, drops[:, :, k].astype(np.float32), True))
    return answers


def rise(
    question: Question, samples: int = 2000, cells: int = 7, keep: float = 0.5, fill: str | float | Array = "mean"
) -> list[Answer]:
    """The mean of random soft masks, each weighted by the class's share under it (Petsiuk et al. 2018).

    arXiv:1806.07421. cells: of the coarse grid along a side; keep: the share of cells that stay. The map is the share
    to be expected where a pixel is seen. raw: the map. Raises ValueError for numbers that make no masks.
    """
    if samples < 1 or cells < 1 or not 0 < keep < 1:
        raise ValueError(
            f"rise takes 1 sample and 1 cell or more, and keeps a share between 0 and 1; not {samples}, {cells}, {keep}"
        )
    h, w = question.x.shape[2:]
    rng = np.random.default_rng(question.seed)
    down, across = _stretch(cells, h), _stretch(cells, w)
    fills = question.baseline(fill)
    total = np.zeros((len(question.selections), h, w))
    for start in range(0, samples, 256):
        count = min(256, samples - start)
        grids = (rng.random((count, cells, cells)) < keep).astype(np.float32)
        tops = rng.integers(0, down.shape[0] - h + 1, count)
        lefts = rng.integers(0, across.shape[0] - w + 1, count)
        masks = np.empty((count, h, w), np.float32)
        for i, (grid, top, left) in enumerate(zip(grids, tops, lefts, strict=True)):
            masks[i] = down[top : top + h] @ grid @ across[left : left + w].T
        shares = question.masked(masks, fills, shares=True)
        total += np.tensordot(shares.T, masks, 1)
    maps = (total / (samples * keep)).astype(np.float32)
    return [Answer(m, m, False) for m in maps]


def _stretch(cells: int, length: int) -> Array:
    """(longer, cells) matrix that makes a smooth line of cells, one cell longer than `length` to be shifted in."""
    cell = math.ceil(length / cells)
    size = (cells + 1) * cell
    at = np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)
    found: Array = np.maximum(1 - np.abs(at[:, None] - np.arange(cells)), 0).astype(np.float32)
    return found


def _pair(value: int | tuple[int, int] | None, default: tuple[int, int], what: str) -> tuple[int, int]:
    pair = default if value is None else (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"{what} is a number of pixels from 1 up, or (height, width), not {value!r}")
    return pair[0], pair[1]
