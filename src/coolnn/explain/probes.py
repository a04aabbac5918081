"""Linear probes: how much of something can be read off a layer by a linear classifier, and pictures to ask it with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Strengths of the ridge, as shares of the mean eigenvalue of the features' covariance.
_STRENGTHS = np.geomspace(1e-5, 1e2, 15)


class Probe(NamedTuple):
    """What a probe reached on pictures that it was not fitted to, and what guessing the commonest class reaches."""

    accuracy: float
    chance: float


def probe(features: Array, labels: Array, seed: int = 0) -> Probe:
    """A ridge classifier on features (N, C), fitted to half of the pictures of each class and tried on the others.

    Its strength is the one with the least leave-one-out error on the half that it is fitted to (Alain & Bengio 2016,
    arXiv:1610.01644, for linear probes). Raises ValueError for fewer than two classes of two pictures.

    >>> import coolnn as cool, numpy as np
    >>> from coolnn.explain.probes import probe
    >>> labels = np.arange(40) % 2
    >>> probe(np.stack([labels, np.ones(40)], 1) * 1.0, labels)
    Probe(accuracy=1.0, chance=0.5)
    """
    labels = np.asarray(labels)
    if labels.shape != (len(features),):
        raise ValueError(f"{len(features)} pictures have {labels.size} labels; give one for each")
    kinds, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(kinds) < 2 or counts.min() < 2:
        raise ValueError("a probe needs two classes or more, and two pictures or more of each")
    fit = _half(codes, seed)
    x = np.asarray(features, np.float64)
    mean, deviation = x[fit].mean(0), x[fit].std(0)
    x = (x - mean) / np.where(deviation > 1e-9 * max(float(deviation.max()), 1e-30), deviation, np.inf)
    goal = np.eye(len(kinds))[codes]
    weights = _ridge(x[fit], goal[fit] - goal[fit].mean(0))
    said = (x[~fit] @ weights + goal[fit].mean(0)).argmax(1)
    held = codes[~fit]
    return Probe(float((said == held).mean()), float(np.bincount(held).max() / len(held)))


def _half(codes: Array, seed: int) -> NDArray[np.bool_]:
    """Which pictures are fitted to: half of each class, at random."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(codes), bool)
    for code in np.unique(codes):
        places = rng.permutation(np.flatnonzero(codes == code))
        chosen[places[: len(places) // 2]] = True
    return chosen


def _ridge(x: Array, goal: Array) -> Array:
    """Weights (C, K) of the ridge whose leave-one-out error, in closed form, is least."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    power, target = s**2, u.T @ goal
    best, found = np.inf, np.zeros((x.shape[1], goal.shape[1]))
    for strength in _STRENGTHS * max(float(power.mean()), 1e-12):
        shrunk = power / (power + strength)
        rest = goal - u @ (shrunk[:, None] * target)
        left_out = rest / np.maximum(1 - (u**2 * shrunk).sum(1) - 1 / len(x), 1e-6)[:, None]
        error = float(np.square(left_out).mean())
        if error < best:
            best, found = error, vt.T @ ((s / (power + strength))[:, None] * target)
    return found


# --- pictures of edges and textures ----------------------------------------------------------------------------------

EDGES = 8
TEXTURES = ("fine grain", "coarse grain", "stripes", "plaid", "checks", "dots", "rings", "blobs")


def edges(size: tuple[int, int], count: int, seed: int = 0) -> tuple[Array, Array]:
    """Edges at 8 orientations, anywhere near the middle, of any contrast and blur, in some noise.

    Pictures float32 (count, H, W) of 0..1, and the numbers of their orientations.
    """
    rng = np.random.default_rng([seed, 0])
    labels = np.arange(count) % EDGES
    y, x = _places(size)
    out = np.empty((count, *size), np.float32)
    for i, label in enumerate(labels):
        angle = np.pi * label / EDGES + (np.pi if rng.random() < 0.5 else 0)  # light on either side
        across = x * np.sin(angle) + y * np.cos(angle) + rng.uniform(-0.25, 0.25) * min(size)
        wave = np.tanh(across / rng.uniform(0.5, 3))
        out[i] = 0.5 + 0.5 * rng.uniform(0.3, 0.9) * wave + rng.normal(0, 0.05, size)
    return np.clip(out, 0, 1), labels


def textures(size: tuple[int, int], count: int, seed: int = 0) -> tuple[Array, Array]:
    """Eight kinds of textures, each at random angles, places and contrasts: float32 (count, H, W) of 0..1, and kinds.

    All have the same mean and spread of contrasts, so that no single brightness tells them apart.
    """
    rng = np.random.default_rng([seed, 1])
    labels = np.arange(count) % len(TEXTURES)
    out = np.empty((count, *size), np.float32)
    for i, label in enumerate(labels):
        wave = _texture(TEXTURES[label], size, rng)
        wave = (wave - wave.mean()) / max(float(wave.std()), 1e-9)
        out[i] = 0.5 + rng.uniform(0.08, 0.2) * wave * (1 if rng.random() < 0.5 else -1)
    return np.clip(out, 0, 1), labels


def _places(size: tuple[int, int]) -> tuple[Array, Array]:
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    return y - size[0] // 2, x - size[1] // 2


def _texture(kind: str, size: tuple[int, int], rng: np.random.Generator) -> Array:
    y, x = _places(size)
    period, angle, phase = rng.uniform(6, 10), rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 2)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    a, b = 2 * np.pi * u / period + phase[0], 2 * np.pi * v / period + phase[1]
    if kind == "stripes":
        return np.asarray(np.cos(a))
    if kind == "plaid":
        return np.asarray(np.cos(a) + np.cos(b))
    if kind == "checks":
        return np.asarray(np.sign(np.cos(a)) * np.sign(np.cos(b)))
    if kind == "dots":
        return np.asarray((np.cos(a) + np.cos(b) > 1.2).astype(np.float64))
    if kind == "rings":
        near = np.hypot(
            (u + period * phase[0]) % (2 * period) - period, (v + period * phase[1]) % (2 * period) - period
        )
        return np.asarray(np.cos(2 * np.pi * near / period))
    radius = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])[None])
    centre = 0.3 if kind == "fine grain" else 0.12
    band = np.exp(-(((radius - centre) / 0.04) ** 2))
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal(size)) * band).real
    return np.asarray(np.sign(noise) if kind == "blobs" else noise)
