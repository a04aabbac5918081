"""Why a network answers what it does: pictures and one report about a network and some pictures of one's own."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, ops
from ..autograd import no_grad
from ..data import DataError, MissingDataError, Skipped, picture_files
from ..explain import (
    FeatureMaps,
    Hierarchy,
    Layer,
    LayerTuning,
    Pictures,
    Preferred,
    Subject,
    TopPatches,
    feature_maps,
    filters,
    hierarchy,
    top_patches,
    tuning,
)
from ..explain.images import Picture, jpeg, png
from ..explain.preferred import preferred_pictures
from ..explain.saliency import METHODS, Explainer, SaliencyMap
from ..explain.saliency.methods import method_name
from ..files import write_bytes, write_json
from ..formats import Model
from ..tensor import from_numpy
from ..train.progress import Progress
from . import explain_report

TASK = "explain"
_ANSWERS = 5
#: A quarter of the usual masks of RISE: with its checks, which make it again, it took longer than all others.
_SETTINGS: dict[str, dict[str, Any]] = {"rise": {"samples": 500}}
_SAMPLE, _FEWEST = 160, 16  # pictures on which the hierarchy is tested, and for which there must be so many a class


@dataclass(frozen=True)
class Wishes:
    """What is looked at.

    methods: of saliency, by name (None: all); classes: that are explained, by name or number (none: the answer);
    layers: by name (none: the last map of each size); channels: of each layer, in detail; folder: of pictures to find
    top patches in, `patches` for each channel; preferred: make pictures that the channels look for; hierarchy: test
    whether later layers see more than edges; checks: ask of every map whether it means anything.
    """

    methods: Sequence[str] | None = None
    classes: Sequence[str | int] = ()
    layers: Sequence[str] = ()
    channels: int = 6
    folder: Path | None = None
    patches: int = 6
    preferred: bool = False
    steps: int | None = None
    hierarchy: bool = False
    checks: bool = True
    seed: int = 0


@dataclass
class Seen:
    """One picture: as the network saw it, what it answered, and why."""

    name: str  # of its files, told apart from those of the others
    path: Path
    picture: Picture
    answers: list[tuple[str, float]]
    maps: list[list[SaliencyMap]] = field(default_factory=list)  # for each class that is explained, by method
    features: list[FeatureMaps] = field(default_factory=list)


@dataclass
class Findings:
    """All that was found, before anything is written."""

    model: Model
    subject: Subject
    wishes: Wishes
    layers: list[Layer]
    pictures: list[Seen] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    filters: Pictures | None = None
    channels: dict[str, list[int]] = field(default_factory=dict)  # shown of each layer
    patches: TopPatches | None = None
    excited: dict[tuple[str, int], tuple[list[Picture], list[Picture]]] = field(default_factory=dict)
    preferred: dict[str, Preferred] = field(default_factory=dict)
    hierarchy: Hierarchy | None = None
    tuning: list[LayerTuning] = field(default_factory=list)  # of the first layers, which the hypothesis calls edges
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain data."""
        return {
            "coolnn": __version__,
            "model": self.model.name,
            "layers": [layer.name for layer in self.layers],
            "pictures": [
                {
                    "picture": str(seen.path),
                    "answers": [{"label": label, "score": score} for label, score in seen.answers],
                    "saliency": [made.to_dict(self.wishes.checks) for maps in seen.maps for made in maps],
                }
                for seen in self.pictures
            ],
            "skipped": [str(file) for file in self.skipped],
            "channels": self.channels,
            "hierarchy": None if self.hierarchy is None else self.hierarchy.to_dict(),
            "patches": None if self.patches is None else self.patches.to_dict(),
            "seconds": round(self.seconds, 1),
        }


def explain(
    model: Model,
    pictures: Sequence[Path],
    folder: Path,
    wishes: Wishes | None = None,
    *,
    command: str = "",
    quiet: bool = False,
) -> Findings:
    """Looks at a network with some pictures and writes pictures, numbers and report.html into a folder.

    Nothing is written before everything is found, and each file appears whole or not at all. A picture that cannot be
    read is listed in the result's `skipped`. Raises ValueError that says what there is for a method, class or layer
    that is not, DataError or MissingDataError for a folder without pictures, ValueError where no picture can be read.
    """
    job = _Job(model, wishes or Wishes(), quiet)
    findings = job.run(pictures)
    write(findings, folder, command)
    return findings


class _Job:
    """The steps from a network and pictures to findings, with their progress."""

    def __init__(self, model: Model, wishes: Wishes, quiet: bool) -> None:
        self.model, self.wishes, self.quiet = model, wishes, quiet
        self.subject = Subject(model)
        known = self.subject.layers
        layers = [known[name] for name in wishes.layers] or (known.stages() if any(at.is_map for at in known) else [])
        self.methods = [method_name(name) for name in (METHODS if wishes.methods is None else wishes.methods)]
        self.explainer = Explainer(model)
        self.found = Findings(model, self.subject, wishes, list(dict.fromkeys(layers)))

    def run(self, pictures: Sequence[Path]) -> Findings:
        """Everything, in turn."""
        began, found = time.monotonic(), self.found
        for path in pictures:
            try:
                found.pictures.append(self._read(path))
            except (OSError, ValueError) as error:
                found.skipped.append(Skipped(str(path), str(error)))
        if not found.pictures:
            raise ValueError(found.skipped[0].reason if found.skipped else "name a picture to explain")
        try:
            found.filters = filters(self.subject.net, order=self.subject.preprocessing.order)
        except ValueError:  # a network without convolutions
            found.filters = None
        for seen in found.pictures:
            self._explain(seen)
        for layer in found.layers:
            first = next(maps for maps in found.pictures[0].features if maps.layer == layer)
            found.channels[layer.name] = first.strongest()[: self.wishes.channels]
        if self.wishes.folder is not None:
            self._find_patches(self.wishes.folder)
        if self.wishes.preferred:
            self._make_preferred()
        if self.wishes.hierarchy:
            self._test_hierarchy()
        found.seconds = time.monotonic() - began
        return found

    def _read(self, path: Path) -> Seen:
        """A picture with the network's answers."""
        assert self.model.preprocessing is not None  # open_model checks
        pixels = self.model.preprocessing.read(str(path))
        with no_grad():
            x = from_numpy(self.model.preprocessing.normalize(pixels[None]))
            scores = ops.softmax(self.subject.net(x), 1).numpy()[0]
        labels = self.model.labels
        best = np.argsort(-scores, kind="stable")[:_ANSWERS]
        answers = [(labels[i] if i < len(labels) else str(i), float(scores[i])) for i in best]
        shown = pixels if pixels.shape[2] == 3 else np.repeat(pixels[:, :, :1], 3, 2)
        return Seen(_name(path, {seen.name for seen in self.found.pictures}), path, shown, answers)

    def _explain(self, seen: Seen) -> None:
        """Saliency maps with their checks, and feature maps."""
        classes: list[Any] = list(self.wishes.classes) or [None]
        steps = len(self.methods) * (1 + len(classes) * self.wishes.checks)
        with Progress(steps, seen.name, "", quiet=self.quiet) as progress:
            found: list[list[SaliencyMap]] = []
            for method in self.methods:
                progress.show(method)
                settings = _SETTINGS.get(method, {})
                found.append(self.explainer.several(seen.path, classes, method, seed=self.wishes.seed, **settings))
                progress.update(1, 0, method)
                for made in found[-1] if self.wishes.checks else ():
                    progress.show(f"{method}, checked")
                    _ = made.randomization, made.perturbation  # they are kept
                    progress.update(1, 0, f"{method}, checked")
            seen.maps = [list(maps) for maps in zip(*found, strict=True)]
            assert self.model.preprocessing is not None
            x = self.model.preprocessing(str(seen.path))
            seen.features = feature_maps(self.subject.net, x, self.found.layers)
            label, score = seen.answers[0]
            progress.finish(f"{label} ({score:.0%})")

    def _find_patches(self, folder: Path) -> None:
        found = self.found
        with Progress(1, "top patches", quiet=self.quiet) as progress:

            def moved(done: int, total: int) -> None:
                progress.total = total
                progress.update(done - progress.done, done - progress.done, f"{done:,} of {total:,}")

            found.patches = top_patches(self.model, folder, found.layers, self.wishes.patches, progress=moved)
            progress.finish(f"{found.patches.seen:,} pictures")
        with Progress(sum(map(len, found.channels.values())), "deconvnets", "", quiet=self.quiet) as progress:
            for layer, channels in found.channels.items():
                for channel in channels:
                    shown = found.patches.patches(layer, channel), found.patches.deconvnet(layer, channel)
                    found.excited[layer, channel] = shown
                    progress.update(1, 0, f"{layer}, channel {channel}")
            progress.finish(f"of {len(found.excited)} channels")

    def _make_preferred(self) -> None:
        found = self.found
        with Progress(len(found.channels), "preferred pictures", "", quiet=self.quiet) as progress:
            for layer, channels in found.channels.items():
                progress.show(layer)
                made = preferred_pictures(self.model, layer, channels, steps=self.wishes.steps, seed=self.wishes.seed)
                found.preferred[layer] = made
                progress.update(1, 0, layer)
            progress.finish(f"of {sum(map(len, found.channels.values()))} channels")

    def _test_hierarchy(self) -> None:
        with Progress(1, "hierarchy", "", quiet=self.quiet) as progress:

            def moved(what: str, done: int, total: int) -> None:
                progress.done, progress.total = done, total
                progress.update(0, 0, what)

            known = self.subject.layers
            names = [layer.name for layer in self.found.layers if layer.is_map]
            if len(names) < 2:  # one layer is no hierarchy
                names = [layer.name for layer in known.stages()]
            pictures, labels = self._sample()
            self.found.hierarchy = hierarchy(
                self.model, pictures, labels, layers=names, seed=self.wishes.seed, progress=moved
            )
            self.found.tuning = list(tuning(self.model, names[:1]).layers.values())
            progress.finish(self.found.hierarchy.verdict)

    def _sample(self) -> tuple[list[Path] | None, list[int] | None]:
        """Some of the pictures in the folder, if there are enough, and their classes where each has a folder."""
        found = self.found.patches
        if self.wishes.folder is None or found is None:
            return None, None
        unreadable = {file.path for file in found.skipped}
        names = [n for n in picture_files(self.wishes.folder) if str(self.wishes.folder / n) not in unreadable]
        names = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, _SAMPLE).astype(int))]
        if len(names) < _FEWEST:
            return None, None
        classes = [name.rpartition("/")[0] for name in names]
        known = sorted(set(classes))
        told_apart = 2 <= len(known) <= len(names) // _FEWEST
        labels = [known.index(name) for name in classes] if told_apart else None
        return [self.wishes.folder / name for name in names], labels


def _name(path: Path, taken: set[str]) -> str:
    """A name for a picture's files, and for its place in the report."""
    plain = stem = re.sub(r"[^\w.-]+", "_", path.stem).strip("._") or "picture"
    number = 1
    while plain in taken:
        number += 1
        plain = f"{stem}-{number}"
    return plain


def new_folder(runs: Path, picture: Path) -> Path:
    """runs/explain/<picture>, or with a number behind it, if that is there: nothing is written over."""
    taken = {entry.name for entry in (runs / TASK).iterdir()} if (runs / TASK).is_dir() else set()
    return runs / TASK / _name(picture, taken)


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Raises MissingDataError or DataError unless it is a folder with pictures."""
    if not os.path.isdir(folder):
        raise MissingDataError(f"there is no folder {os.fspath(folder)}; check the path")
    if not picture_files(Path(folder)):
        raise DataError(f"the folder {os.fspath(folder)} holds no pictures")


# --- writing ---------------------------------------------------------------------------------------------------------


def write(findings: Findings, folder: Path, command: str = "") -> None:
    """Writes the findings into a folder: pictures, results.json and, last, report.html."""
    for name, content in files(findings).items():
        write_bytes(folder / name, content)
    write_json(folder / "results.json", findings.to_dict())
    write_bytes(folder / "report.html", explain_report.page(findings, command).encode("utf-8", "backslashreplace"))


def files(findings: Findings) -> dict[str, bytes]:
    """The pictures by their file names."""
    made: dict[str, bytes] = {}
    for seen in findings.pictures:
        made[f"{seen.name}/picture.jpg"] = jpeg(seen.picture)
        for maps in seen.maps:
            for one in maps:
                tail = f"_{_plain(one.target.label)}" if len(seen.maps) > 1 else ""
                made[f"{seen.name}/{one.method}{tail}.png"] = png(one.overlay())
        for shown in seen.features:
            made[f"{seen.name}/maps_{_plain(shown.layer.name)}.png"] = png(shown.pictures().sheet())
    if findings.filters is not None:
        made["filters.png"] = png(findings.filters.sheet())
    for name, made_pictures in findings.preferred.items():
        made[f"preferred_{_plain(name)}.png"] = png(made_pictures.sheet())
    for tuned in findings.tuning:
        made[f"tuning_{_plain(tuned.layer.name)}.svg"] = tuned.chart().encode()
    if findings.patches is not None:
        for layer in findings.layers:
            made[f"patches_{_plain(layer.name)}.png"] = png(explain_report.patch_sheet(findings, layer.name))
    return made


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:60] or "_"
