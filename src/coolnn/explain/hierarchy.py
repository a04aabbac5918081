"""The feature hierarchy, put to the test: edges first, then textures, then objects? With numbers, beside a control."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ops
from ..data import Preprocessing
from ..data.presets import Described
from ..formats import Model
from ..graph import compile
from ..nn import Module, evaluating
from ..tensor import Tensor, from_numpy
from .control import random_weights
from .layers import Layer, tapped
from .preferred.parameters import Fourier
from .probes import edges, probe, textures
from .receptive import field_box
from .stimuli import Stimuli
from .subject import Subject
from .tuning import LayerTuning, middle_of, present

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]

#: What a difference must be more than for a claim to hold; of a probe's, two standard errors if that is more.
_MARGIN = 0.05
_PROBES = 384  # pictures of edges, and of textures
_BATCH = 32
_NAN = float("nan")


@dataclass(frozen=True)
class Stage:
    """The figures of one layer; NaN where something was not asked or has no value.

    field: side of what a unit can see, in pixels; selectivity, modulation: of answers to gratings, medians over the
    channels (see `LayerTuning`); sparseness: of a picture's answers over the channels (Treves & Rolls 1991, as scaled
    by Vinje & Gallant 2000), 1: one channel alone answers; tolerance: correlation over pictures of a unit's answer with
    its answer to the same pictures shifted by a sixteenth; edges, textures, classes: what a linear probe reads off the
    channels' means; class_selectivity: (largest class mean - mean of the others) / their sum, mean over the channels
    (Morcos et al. 2018).
    """

    layer: str
    channels: int
    field: float
    selectivity: float
    modulation: float
    sparseness: float
    tolerance: float
    edges: float
    textures: float
    classes: float = _NAN
    class_selectivity: float = _NAN


@dataclass(frozen=True)
class Finding:
    """A claim of the hypothesis, whether it holds here, and the numbers that say so."""

    claim: str
    holds: bool
    evidence: str

    def __str__(self) -> str:
        return f"{'holds' if self.holds else 'does not hold'}: {self.claim} ({self.evidence})"


_COLUMNS = {
    "field": "field", "selectivity": "orientation", "modulation": "F1/F0", "sparseness": "sparse",
    "tolerance": "tolerance", "edges": "edges", "textures": "textures", "classes": "classes",
    "class_selectivity": "class sel.",
}  # fmt: skip


@dataclass(frozen=True)
class Hierarchy:
    """Figures of each stage of a network, of the same network with random weights, and what follows from them."""

    stages: list[Stage]
    control: list[Stage]
    findings: list[Finding]
    chance: dict[str, float]
    note: str = ""

    @property
    def supported(self) -> float:
        """The share of the claims that hold."""
        return sum(finding.holds for finding in self.findings) / len(self.findings)

    @property
    def verdict(self) -> str:
        """The result in one sentence; it can be that there is no such hierarchy."""
        held, total = sum(finding.holds for finding in self.findings), len(self.findings)
        if held == total:
            return f"A feature hierarchy: all {total} claims hold."
        if held > total / 2:
            return f"A feature hierarchy in part: {held} of {total} claims hold."
        if held:
            return f"Little of a feature hierarchy: {held} of {total} claims hold."
        return f"No feature hierarchy: none of {total} claims holds; the network does not differ from random weights."

    def table(self) -> str:
        """The figures of all stages, those of random weights beneath."""
        lines = [" " * 22 + "".join(f"{title:>12}" for title in _COLUMNS.values())]
        for title, rows in (("", self.stages), ("random weights", self.control)):
            lines += [title] if title else []
            for stage in rows:
                values = [getattr(stage, name) for name in _COLUMNS]
                lines.append(f"{stage.layer[-21:]:22}" + "".join(f"{_shown(v):>12}" for v in values))
        chance = ", ".join(f"{name} {value:.0%}" for name, value in self.chance.items())
        return "\n".join([*lines, f"guessing reaches: {chance}"])

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "verdict": self.verdict,
            "findings": [asdict(finding) for finding in self.findings],
            "stages": [asdict(stage) for stage in self.stages],
            "control": [asdict(stage) for stage in self.control],
            "chance": self.chance,
            "note": self.note,
        }

    def figure(self) -> Any:
        """A curve over the stages for each figure, random weights dashed, as a matplotlib figure.

        Raises ImportError, with the remedy, where matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("figures need matplotlib: pip install 'coolnn[plots]'; table() needs nothing") from error
        names = [name for name in _COLUMNS if any(math.isfinite(getattr(s, name)) for s in self.stages)]
        made = Figure(figsize=(11, 2.4 * -(-len(names) // 3)), layout="constrained")
        axes = np.atleast_1d(made.subplots(-(-len(names) // 3), 3)).reshape(-1)
        labels = [stage.layer.rsplit(".", 1)[-1] if len(stage.layer) > 9 else stage.layer for stage in self.stages]
        for at, name in zip(axes, names, strict=False):
            for rows, style in ((self.stages, "o-"), (self.control, "o--")):
                if rows:
                    at.plot(
                        range(len(rows)), [getattr(s, name) for s in rows], style, color="C0" if style == "o-" else "C7"
                    )
            at.set_xticks(range(len(labels)), labels)
            at.set_title(_COLUMNS[name])
        for at in axes[len(names) :]:
            at.set_axis_off()
        return made

    def __str__(self) -> str:
        parts = [self.verdict, *(f"- {finding}" for finding in self.findings), "", self.table(), self.note]
        return "\n".join(part for part in parts).rstrip()


def _shown(value: float) -> str:
    return "–" if not math.isfinite(value) else f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def hierarchy(
    model: Module | Model,
    pictures: Any = None,
    labels: Any = None,
    *,
    layers: Sequence[str] | None = None,
    stimuli: Stimuli | None = None,
    size: int | Sequence[int] | None = None,
    preprocessing: Preprocessing | Described | None = None,
    controls: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
) -> Hierarchy:
    """Tests on a network whether its stages see edges first, then textures, then objects.

    pictures: the user's, uint8 (N, H, W, C) or a list of pictures or files, 16 or more; without, noise with the
    spectrum and colours of photographs. labels: their classes (N,), without which nothing is said of objects. layers:
    by default the network's stages; size: of the pictures as the network sees them, a smaller one is faster. progress:
    called as (what, done, of). The control is the same network with random weights, drawn `controls` times (see
    `random_weights`); what is claimed must be clear against each. Raises ValueError for pictures and labels that do not
    go together, or a layer that is not there.

    >>> import coolnn as cool
    >>> from coolnn.explain import Stimuli
    >>> few = Stimuli(orientations=(0, 45, 90, 135), frequencies=(0.1, 0.2), phases=3)
    >>> found = cool.explain.hierarchy(cool.models.create("lenet5"), stimuli=few, controls=1)
    >>> [stage.layer for stage in found.stages]
    ['relu1', 'pool1', 'relu2']
    """
    subject = Subject(model, size, preprocessing)
    asked = subject.layers.stages() if layers is None else [subject.layers[name] for name in layers]
    if not asked:
        raise ValueError("name one layer or more")
    if controls < 1:
        raise ValueError(f"without a control nothing follows: controls is 1 or more, not {controls}")
    x, note = _seen(subject, pictures, labels, seed)
    tests = _Tests(subject, asked, x, None if labels is None else np.asarray(labels), stimuli or Stimuli(), seed)
    stages = tests.run("trained", progress)
    draws = []
    for number in range(controls):
        with random_weights(subject.net, x[:_BATCH], seed + number):
            draws.append(tests.run(f"random weights {number + 1}", progress))
    return Hierarchy(stages, _mean(draws), _findings(stages, draws, len(x)), tests.chance, note)


def _mean(draws: list[list[Stage]]) -> list[Stage]:
    """The mean figures over several draws of weights."""
    found = []
    for rows in zip(*draws, strict=True):
        figures = {name: float(np.mean([getattr(row, name) for row in rows])) for name in _COLUMNS}
        found.append(replace(rows[0], **figures))
    return found


def _seen(subject: Subject, pictures: Any, labels: Any, seed: int) -> tuple[Array, str]:
    """Pictures as the network takes them, and what is to be said of them."""
    if pictures is None:
        if labels is not None:
            raise ValueError("labels are of pictures: give these, too")
        draws = [np.random.default_rng([seed, i]) for i in range(64)]
        fourier = Fourier(deviation=0.5)
        numbers = from_numpy(fourier.start(draws, subject.channels, subject.size))
        noise = fourier.picture(numbers, subject.channels, subject.size).numpy() + 0.5
        return subject.take(noise), "Sparseness and tolerance are of noise with the spectrum of photographs: give some."
    x = subject.prepared(pictures)
    if len(x) < 16:
        raise ValueError(f"{len(x)} pictures say little; give 16 or more")
    if labels is not None and np.asarray(labels).shape != (len(x),):
        raise ValueError(f"{len(x)} pictures have {np.asarray(labels).size} labels; give one for each")
    return x, ""


class _Tests:
    """Everything that is asked of a network, the same for the trained one and its control."""

    def __init__(
        self, subject: Subject, layers: list[Layer], x: Array, labels: Array | None, stimuli: Stimuli, seed: int
    ) -> None:
        self.subject, self.layers, self.x, self.labels, self.seed = subject, layers, x, labels, seed
        self.stimuli = stimuli
        self.shifted = np.roll(x, max(1, x.shape[3] // 16), axis=3)
        self.edges, self.edge_labels = edges(subject.size, _PROBES, seed)
        self.textures, self.texture_labels = textures(subject.size, _PROBES, seed)
        self.fields = [max(field_box(subject.layers, layer).shape) for layer in layers]
        self.chance: dict[str, float] = {}

    def run(self, which: str, progress: Progress | None) -> list[Stage]:
        """The figures of all layers."""
        grey = [self.subject.take(np.repeat(p[:, None], self.subject.channels, 1)) for p in (self.edges, self.textures)]
        sets = {"pictures": self.x, "shifted pictures": self.shifted, "edges": grey[0], "textures": grey[1]}
        answers = {}
        for number, (what, x) in enumerate(sets.items()):
            if progress is not None:
                progress(f"{which}: {what}", number, len(sets) + 1)
            answers[what] = self._answers(x)
        if progress is not None:
            progress(f"{which}: gratings", len(sets), len(sets) + 1)
        responses, blank = present(self.subject, self.layers, self.stimuli, _BATCH)
        if progress is not None:
            progress(which, len(sets) + 1, len(sets) + 1)
        stages = []
        for i, layer in enumerate(self.layers):
            tuned = LayerTuning(layer, self.stimuli, responses[i].reshape(*self.stimuli.shape, -1), blank[i])
            stages.append(self._stage(i, layer, tuned, {what: found[i] for what, found in answers.items()}))
        return stages

    def _answers(self, x: Array) -> list[tuple[Array, Array]]:
        """For each layer the answers (N, C) of the middle units, and the channels' means."""

        def both(x: Tensor) -> list[Tensor]:
            _, found = tapped(self.subject.net, x, self.layers)
            return [part for t in found for part in (middle_of(t), _means(t))]

        run = compile(both)
        with evaluating(self.subject.net):
            parts = [run(from_numpy(x[i : i + _BATCH])) for i in range(0, len(x), _BATCH)]
        whole = [np.concatenate([part[i].numpy() for part in parts]) for i in range(2 * len(self.layers))]
        return list(zip(whole[::2], whole[1::2], strict=True))

    def _stage(self, i: int, layer: Layer, tuned: LayerTuning, answers: dict[str, tuple[Array, Array]]) -> Stage:
        units, means = answers["pictures"]
        edge = probe(answers["edges"][1], self.edge_labels, self.seed)
        texture = probe(answers["textures"][1], self.texture_labels, self.seed)
        self.chance |= {"edges": edge.chance, "textures": texture.chance}
        classes, class_selectivity = _NAN, _NAN
        if self.labels is not None:
            read = probe(means, self.labels, self.seed)
            self.chance["classes"] = read.chance
            classes, class_selectivity = read.accuracy, _class_selectivity(means, self.labels)
        summary = tuned.summary
        return Stage(
            layer.name,
            layer.shape[0],
            float(self.fields[i]),
            summary["selectivity"],
            summary["modulation"],
            _sparseness(units),
            _correlation(units, answers["shifted pictures"][0]),
            edge.accuracy,
            texture.accuracy,
            classes,
            class_selectivity,
        )


def _means(x: Tensor) -> Tensor:
    return x.mean((2, 3)) if x.ndim == 4 else ops.reshape(x, (x.shape[0], int(np.prod(x.shape[1:]))))


def _sparseness(answers: Array) -> float:
    """(1 - (mean r)² / mean r²) / (1 - 1 / n) over the channels, mean over the pictures that anything answers to."""
    rates = np.maximum(answers, 0).astype(np.float64)
    n, power = rates.shape[1], np.square(rates).mean(1)
    if n < 2 or not (power > 0).any():
        return _NAN
    rates, power = rates[power > 0], power[power > 0]
    return float(((1 - rates.mean(1) ** 2 / power) / (1 - 1 / n)).mean())


def _correlation(a: Array, b: Array) -> float:
    """The correlation over pictures of each channel's answers, mean over the channels that vary."""
    a, b = (v.astype(np.float64) - v.mean(0, dtype=np.float64) for v in (a, b))
    spread = np.sqrt(np.square(a).sum(0) * np.square(b).sum(0))
    known = spread > 1e-9 * max(float(spread.max(initial=0.0)), 1e-30)
    return float(((a * b).sum(0)[known] / spread[known]).mean()) if known.any() else _NAN


def _class_selectivity(means: Array, labels: Array) -> float:
    rates = np.maximum(means, 0).astype(np.float64)
    by_class = np.stack([rates[labels == kind].mean(0) for kind in np.unique(labels)])
    largest = by_class.max(0)
    others = (by_class.sum(0) - largest) / (len(by_class) - 1)
    known = largest + others > 0
    return float(((largest - others)[known] / (largest + others)[known]).mean()) if known.any() else _NAN


# --- what follows ----------------------------------------------------------------------------------------------------


def _findings(stages: list[Stage], draws: list[list[Stage]], pictures: int) -> list[Finding]:
    """The claims of the hypothesis that random weights do not fulfil by themselves."""
    held = {"textures": _PROBES // 2, "classes": pictures // 2}  # pictures that a probe is tried on

    def gain(rows: list[Stage], name: str) -> float:
        return float(getattr(rows[-1], name)) - float(getattr(rows[0], name))

    def clear(difference: float, name: str, terms: int) -> bool:
        """Whether a difference made of so many figures is more than chance."""
        error = 2 * math.sqrt(terms * 0.25 / held[name]) if name in held else 0.0
        return difference > max(_MARGIN, error)

    def grows(name: str, claim: str) -> Finding:
        own, others = gain(stages, name), [gain(rows, name) for rows in draws]
        return Finding(
            claim,
            clear(own, name, 2) and all(clear(own - other, name, 4) for other in others),
            f"{getattr(stages[0], name):.2f} → {getattr(stages[-1], name):.2f}, a gain of {own:+.2f}; "
            f"random weights {min(others):+.2f} to {max(others):+.2f}",
        )

    early = max(1, len(stages) // 2)
    own, *others = (max(s.selectivity for s in rows[:early]) for rows in (stages, *draws))
    findings = [
        Finding(
            "early stages are tuned to orientation, more than random weights are",
            own - max(others) > _MARGIN,
            f"median selectivity {own:.2f}; random weights {min(others):.2f} to {max(others):.2f}",
        ),
        grows("textures", "textures can be read off later stages better than off the first"),
        grows("tolerance", "answers bear shifts the better the later the stage"),
    ]
    if math.isfinite(stages[0].classes):
        more, *others = (gain(rows, "classes") - gain(rows, "edges") for rows in (stages, *draws))
        findings += [
            grows("classes", "classes can be read off later stages better than off the first"),
            grows("class_selectivity", "single channels tell classes apart the better the later the stage"),
            Finding(
                "from the first stage to the last, classes gain on edges",
                clear(more, "classes", 4) and all(clear(more - other, "classes", 8) for other in others),
                f"edges {stages[0].edges:.2f} → {stages[-1].edges:.2f}, "
                f"classes {stages[0].classes:.2f} → {stages[-1].classes:.2f}",
            ),
        ]
    return findings
