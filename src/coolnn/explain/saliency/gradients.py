"""Methods that follow a number of the output back to the pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .question import Answer, Array, Question


def gradient(question: Question) -> list[Answer]:
    """How much the number changes with each pixel; the map is the largest of the channels (Simonyan et al. 2014).

    arXiv:1312.6034. raw: (C, H, W).
    """
    return [Answer(strongest(g), g, False) for g in question.gradients()]


def gradient_input(question: Question) -> list[Answer]:
    """The gradient times the input, summed over channels: what each pixel gives to a linear network's number.

    Shrikumar et al. 2016, arXiv:1605.01713. raw: (C, H, W).
    """
    return [_contribution(g * question.x[0]) for g in question.gradients()]


def smooth_grad(question: Question, samples: int = 32, noise: float = 0.15) -> list[Answer]:
    """The mean gradient over noisy copies of the picture (Smilkov et al. 2017, arXiv:1706.03825).

    noise: its standard deviation, as a share of the input's range. raw: (C, H, W). Raises ValueError for less than one
    sample or negative noise.
    """
    if samples < 1 or noise < 0:
        raise ValueError(f"smooth_grad takes 1 sample or more, and noise from 0 up, not {samples} and {noise}")
    deviation = noise * float(np.ptp(question.x))
    rng = np.random.default_rng(question.seed)

    def copies(count: int) -> Array:
        return question.x + np.float32(deviation) * rng.standard_normal((count, *question.x.shape[1:]), np.float32)

    found = _mean_gradients(question, np.full(samples, 1 / samples), copies)
    return [Answer(strongest(g), g, False) for g in found]


def integrated_gradients(question: Question, steps: int = 50, baseline: str | float | Array = "mean") -> list[Answer]:
    """The gradient along the straight way from a baseline, times that way (Sundararajan et al. 2017, arXiv:1703.01365).

    What all pixels get adds up to the change of the number on that way, but for what `steps` points (Gauss and
    Legendre's) leave of the integral: `details` tell that gap. baseline: "mean" for zeros in the network's input (the
    training data's mean), "black", "white", a number for all of the input, or an input (C, H, W). raw: (C, H, W).
    """
    if steps < 1:
        raise ValueError(f"integrated_gradients takes 1 step or more, not {steps}")
    start = question.baseline(baseline)
    points, weights = np.polynomial.legendre.leggauss(steps)
    places = iter(((points + 1) / 2).astype(np.float32))

    def way(count: int) -> Array:
        share = np.array([next(places) for _ in range(count)], np.float32)[:, None, None, None]
        return start + share * (question.x - start)

    mean = _mean_gradients(question, weights / 2, way)
    before = question.scores(start)[0]
    answers = []
    for k, g in enumerate(mean):
        answer = _contribution(g * (question.x - start)[0])
        change = float(question.values[k] - before[k])
        total = float(answer.raw.sum(dtype=np.float64))
        answer.details.update(
            {"change": change, "sum": total, "gap": abs(total - change), "relative_gap": _share(total - change, change)}
        )
        answers.append(answer)
    return answers


def deconvnet(question: Question) -> list[Answer]:
    """Backward with rectifiers that cut the gradient itself off below 0 (Zeiler and Fergus 2014, arXiv:1311.2901).

    raw: (C, H, W).
    """
    return [Answer(strongest(g), g, False) for g in question.gradients("deconvnet")]


def guided_backprop(question: Question) -> list[Answer]:
    """Backward with rectifiers that let only positive gradients of positive inputs pass (Springenberg et al. 2015).

    arXiv:1412.6806. raw: (C, H, W).
    """
    return [Answer(strongest(g), g, False) for g in question.gradients("guided")]


def strongest(raw: Array) -> Array:
    """The largest magnitude over the channels, (C, H, W) to (H, W)."""
    found: Array = np.abs(raw).max(0)
    return found


def _contribution(raw: Array) -> Answer:
    return Answer(raw.sum(0), raw, True)


def _share(gap: float, whole: float) -> float:
    return abs(gap) / max(abs(whole), 1e-30)


def _mean_gradients(question: Question, weights: NDArray[np.float64], pictures: Callable[[int], Array]) -> list[Array]:
    """Weighted sums of the gradients at so many pictures, which come in batches; one for each target."""
    totals = np.zeros((len(question.selections), *question.x.shape[1:]))
    size = question.batch(len(weights), "gradients")
    for start in range(0, len(weights), size):
        part = weights[start : start + size]
        x = pictures(len(part))
        for k, total in enumerate(totals):
            total += np.tensordot(part, question.gradients_at(x, k, size), 1)
    return list(totals.astype(np.float32))
