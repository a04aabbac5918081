"""Where it all began: which orientation and spatial frequency each unit answers to, as in the cat's cortex.

Hubel & Wiesel 1962 (Receptive fields, binocular interaction and functional architecture in the cat's visual cortex, J.
Physiol. 160) moved bars over receptive fields; sine gratings came with Campbell, Cooper & Enroth-Cugell 1969.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ops
from ..data import Preprocessing
from ..data.presets import Described
from ..formats import Model
from ..graph import Compiled, compile
from ..nn import Module, evaluating
from ..tensor import Tensor, from_numpy
from .charts import small_charts
from .layers import Layer, tapped
from .stimuli import Stimuli
from .subject import Subject

Array = NDArray[Any]
Progress = Callable[[int, int], None]

#: A channel answers where its peak is at least this share of the layer's median peak.
_ANSWERS = 0.01


@dataclass(frozen=True)
class LayerTuning:
    """The answers of a layer's middle units, one a channel, and what they are tuned to.

    responses: (orientations, frequencies, phases, channels); blank: to a grey picture (channels,). All arrays of
    figures are (channels,), NaN for channels that do not answer.
    """

    layer: Layer
    stimuli: Stimuli
    responses: Array
    blank: Array

    @cached_property
    def rates(self) -> Array:
        """How much more than to grey each unit answers, not below 0: (orientations, frequencies, phases, channels)."""
        return np.asarray(np.maximum(self.responses - self.blank, 0))

    @cached_property
    def mean_rates(self) -> Array:
        """The mean over the phases (F0): (orientations, frequencies, channels)."""
        return np.asarray(self.rates.mean(2, dtype=np.float64))

    @cached_property
    def peak(self) -> Array:
        """The largest mean rate of each channel."""
        return np.asarray(self.mean_rates.max((0, 1)))

    @cached_property
    def answers(self) -> NDArray[np.bool_]:
        """Which channels answer to any of these stimuli at all."""
        some = self.peak[self.peak > 0]
        return np.asarray(self.peak > (_ANSWERS * float(np.median(some)) if len(some) else 0.0))

    @cached_property
    def _best(self) -> tuple[Array, Array]:
        """The places of each channel's best orientation and frequency."""
        o, f, c = self.mean_rates.shape
        return np.unravel_index(self.mean_rates.reshape(o * f, c).argmax(0), (o, f))

    @property
    def orientation_curves(self) -> Array:
        """Mean rates over orientations, at each channel's best frequency: (orientations, channels)."""
        return np.asarray(self.mean_rates[:, self._best[1], np.arange(len(self.blank))])

    @property
    def frequency_curves(self) -> Array:
        """Mean rates over frequencies, at each channel's best orientation: (frequencies, channels)."""
        return np.asarray(self.mean_rates[self._best[0], :, np.arange(len(self.blank))].T)

    @cached_property
    def _circular(self) -> Array:
        """Σ r(θ) exp(2iθ) / Σ r(θ) over the orientations."""
        turns = np.exp(2j * np.deg2rad(np.array(self.stimuli.orientations)))
        curves = self.orientation_curves
        with np.errstate(all="ignore"):
            return self._known((turns[:, None] * curves).sum(0) / curves.sum(0))

    def _known(self, values: Array) -> Array:
        return np.where(self.answers, values, np.nan)

    @property
    def orientation(self) -> Array:
        """The preferred orientation in degrees, 0..180: the direction of the circular mean."""
        return np.asarray(np.rad2deg(np.angle(self._circular)) / 2 % 180)

    @property
    def selectivity(self) -> Array:
        """Orientation selectivity 0..1: |Σ r(θ) exp(2iθ)| / Σ r(θ), one minus the circular variance.

        Of Ringach, Shapley & Hawken 2002 (Orientation selectivity in macaque V1: diversity and laminar dependence, J.
        Neurosci. 22). 0: answers to all orientations alike; 1: to one alone.
        """
        return np.asarray(np.abs(self._circular))

    @property
    def bandwidth(self) -> Array:
        """Half the width in degrees of the orientation curve at half its height; NaN where it stays above."""
        angles = np.array(self.stimuli.orientations)
        if len(angles) < 3:
            return np.full(len(self.blank), np.nan)
        widths = [_half_width(angles, curve, 180.0) for curve in self.orientation_curves.T]
        return self._known(np.array(widths))

    @property
    def frequency(self) -> Array:
        """The preferred spatial frequency in cycles a pixel."""
        return self._known(np.array(self.stimuli.frequencies)[self._best[1]])

    @property
    def modulation(self) -> Array:
        """F1 / F0 at the best stimulus: how much the answer goes up and down as the stripes move by.

        Above 1 a simple cell, below a complex one (Skottun et al. 1991, Classifying simple and complex cells on the
        basis of response modulation, Vision Res. 31); 0 for a unit to which the phase is all the same.
        """
        o, f = self._best
        best = self.rates[o, f, :, np.arange(len(self.blank))]
        turns = np.exp(-2j * np.pi * np.arange(self.stimuli.phases) / self.stimuli.phases)
        with np.errstate(all="ignore"):
            return self._known(2 * np.abs((best * turns).mean(1)) / best.mean(1))

    @property
    def summary(self) -> dict[str, float]:
        """Medians over the channels that answer; NaN if none does."""
        figures = {name: getattr(self, name) for name in ("selectivity", "bandwidth", "frequency", "modulation")}
        found = {name: float(np.nanmedian(v)) if np.isfinite(v).any() else float("nan") for name, v in figures.items()}
        return {"answering": float(self.answers.mean()), **found}

    def chart(self, channels: Sequence[int] | None = None, count: int = 12) -> str:
        """Orientation curves as small SVG charts: of these channels, or of the most selective ones."""
        if channels is None:
            order = np.argsort(-np.nan_to_num(self.selectivity * self.peak / max(self.peak.max(), 1e-30)))
            channels = [int(c) for c in order[:count] if self.answers[c]]
        curves = self.orientation_curves
        series = [(f"{c}: {self.selectivity[c]:.2f}", curves[:, c]) for c in channels]
        return small_charts(f"{self.layer.name}: answer by orientation", self.stimuli.orientations, series, "°")

    def __str__(self) -> str:
        s = self.summary
        return (
            f"{self.layer.name}: {s['answering']:.0%} of {len(self.blank)} channels answer; selectivity "
            f"{s['selectivity']:.2f}, bandwidth {s['bandwidth']:.0f}°, {s['frequency']:.2f} cycles a pixel, F1/F0 "
            f"{s['modulation']:.2f} (medians)"
        )


def _half_width(angles: Array, curve: Array, period: float) -> float:
    """Half of the width of a circular curve at half its height, between samples on straight lines."""
    top, n = int(curve.argmax()), len(curve)
    half = curve[top] / 2
    if not half > 0:
        return float("nan")
    total = 0.0
    for way in (1, -1):
        before_angle, before = 0.0, float(curve[top])
        for step in range(1, n):
            i = (top + way * step) % n
            angle = float((way * (angles[i] - angles[top])) % period)
            if curve[i] <= half:
                total += before_angle + (before - half) / (before - float(curve[i])) * (angle - before_angle)
                break
            before_angle, before = angle, float(curve[i])
        else:
            return float("nan")
    return total / 2


@dataclass(frozen=True)
class Tuning:
    """The tuning of several layers, by name, in the order in which they run."""

    layers: dict[str, LayerTuning]
    stimuli: Stimuli

    def __getitem__(self, name: str) -> LayerTuning:
        if name not in self.layers:
            raise ValueError(f"layer {name!r} was not tried; there are: {', '.join(self.layers)}")
        return self.layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __str__(self) -> str:
        return "\n".join(str(found) for found in self.layers.values())

    def figure(self) -> Any:
        """Orientation curves of each layer's most selective channels, and all selectivities, as a matplotlib figure.

        Raises ImportError, with the remedy, where matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("figures need matplotlib: pip install 'coolnn[plots]'; chart() needs nothing") from error
        made = Figure(figsize=(8, 2.2 * len(self.layers)), layout="constrained")
        axes = np.atleast_2d(made.subplots(len(self.layers), 2))
        for (left, right), found in zip(axes, self.layers.values(), strict=True):
            best = np.argsort(-np.nan_to_num(found.selectivity))[:6]
            left.plot(self.stimuli.orientations, found.orientation_curves[:, best])
            left.set(title=found.layer.name, xlabel="orientation (degrees)", ylabel="answer")
            right.hist(found.selectivity[found.answers], bins=np.linspace(0, 1, 21))
            right.set(xlabel="orientation selectivity", ylabel="channels")
        return made


def tuning(
    model: Module | Model,
    layers: Sequence[str] | str | None = None,
    stimuli: Stimuli | None = None,
    *,
    size: int | Sequence[int] | None = None,
    preprocessing: Preprocessing | Described | None = None,
    batch: int = 32,
    progress: Progress | None = None,
) -> Tuning:
    """Tuning curves of the units in the middle of layers, one of every channel, for gratings or bars.

    layers: their names; by default the network's stages, see `Layers.stages`. stimuli: see `Stimuli`. size,
    preprocessing: see `Subject`; a smaller size is faster, as long as it holds the receptive fields. progress: called
    as (stimuli shown, all). Raises ValueError for a layer that is not there.

    >>> import coolnn as cool
    >>> from coolnn.explain import Stimuli
    >>> found = cool.explain.tuning(cool.models.create("lenet5"), "conv1", Stimuli(frequencies=(0.1, 0.2), phases=4))
    >>> found["conv1"].selectivity.shape
    (6,)
    """
    subject = Subject(model, size, preprocessing)
    stimuli = stimuli or Stimuli()
    names = [layers] if isinstance(layers, str) else layers
    asked = subject.layers.stages() if names is None else [subject.layers[name] for name in names]
    responses, blank = present(subject, asked, stimuli, batch, progress)
    return Tuning(
        {
            layer.name: LayerTuning(layer, stimuli, r.reshape(*stimuli.shape, -1), b)
            for layer, r, b in zip(asked, responses, blank, strict=True)
        },
        stimuli,
    )


def middle_units(subject: Subject, layers: Sequence[Layer]) -> Compiled:
    """A compiled function from pictures to the answers (N, C) of the units in the middle of each layer."""

    def answers(x: Tensor) -> list[Tensor]:
        _, found = tapped(subject.net, x, layers)
        return [middle_of(tensor) for tensor in found]

    return compile(answers)


def middle_of(x: Tensor) -> Tensor:
    """The answers (N, C) of the units in the middle of what a layer gave; of a layer without places, all of them."""
    if x.ndim == 4:
        return ops.reshape(x[:, :, x.shape[2] // 2, x.shape[3] // 2], (x.shape[0], x.shape[1]))
    return ops.reshape(x, (x.shape[0], int(np.prod(x.shape[1:]))))


def present(
    subject: Subject, layers: Sequence[Layer], stimuli: Stimuli, batch: int, progress: Progress | None = None
) -> tuple[list[Array], list[Array]]:
    """The answers to all stimuli (stimuli, C), and to grey (C,), for each layer."""
    if batch < 1:
        raise ValueError(f"batch is 1 or more, not {batch}")
    run = middle_units(subject, layers)
    found: list[list[Array]] = [[] for _ in layers]
    grey = np.full((1, *subject.size), 0.5, np.float32)
    shown = 0
    with evaluating(subject.net):
        for pictures in (grey, *stimuli.pictures(subject.size, batch)):
            x = subject.take(np.repeat(pictures[:, None], subject.channels, axis=1))
            for answers, tensor in zip(found, run(from_numpy(x)), strict=True):
                answers.append(tensor.numpy())
            shown += len(pictures)
            if progress is not None:
                progress(shown - 1, len(stimuli))
    return [np.concatenate(answers[1:]) for answers in found], [answers[0][0] for answers in found]
