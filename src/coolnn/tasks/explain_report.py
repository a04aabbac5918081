"""The report of `cool explain`: what was found, with captions that say how it was made and what it does not show."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ..explain import FeatureMaps, Hierarchy, graph, images
from ..explain.images import Picture
from ..explain.saliency import SaliencyMap
from ..models.summary import summary
from ..tensor import meta
from ..train.progress import duration
from . import plots, report

if TYPE_CHECKING:
    from .explain import Findings, Seen

_MAPS = 12  # feature maps of each layer
_FILTERS = 64

#: What a method is called, how its map is made, and what to bear in mind.
_METHODS = {
    "gradient": ("Gradient", "how the score changes with each pixel: noisy, and silent where the score is saturated"),
    "gradient_input": ("Gradient × input", "the gradient times the pixel: what is near the mean gets nothing"),
    "smooth_grad": ("SmoothGrad", "the mean gradient of copies with noise: less noisy, no more faithful"),
    "integrated_gradients": (
        "Integrated gradients",
        "gradients on the way from a baseline: they add up to the score's difference from it",
    ),
    "deconvnet": ("Deconvnet", "positive gradients sent back through every rectifier: patterns, hardly of one class"),
    "guided_backprop": ("Guided backprop", "the gradient without its negative parts: sharp, much of it plain edges"),
    "grad_cam": ("Grad-CAM", "the layer's channels, weighted by the class's gradient: where, as coarsely as the layer"),
    "grad_cam_pp": ("Grad-CAM++", "as Grad-CAM, with weights that do justice to several objects"),
    "layer_cam": ("Layer-CAM", "as Grad-CAM, weighted place by place"),
    "occlusion": ("Occlusion", "how far the score falls when a patch is covered: blind to things that work together"),
    "rise": ("RISE", "500 random masks, weighted by the score that they leave: another seed, another map"),
}
_MARKS = {"depends on the weights": ("✓", "good"), "depends on the weights in part": ("◐", "")}  # else ✗
_ABOUT_CHECKS = (
    "“Depends on the weights” says that the map becomes another when the weights are drawn at random (Adebayo "
    "et al. 2018); one that does not shows the picture, not what was learned. Deletion is the mean share of the class "
    "while the most important pixels are taken away first (small is good), insertion while they are shown first (large "
    "is good; Petsiuk et al. 2018); both judge a map by pictures unlike those that the network was trained on."
)


def page(findings: Findings, command: str) -> str:
    """The whole report."""
    parts: list[tuple[str, str, str]] = []  # anchor, title, section
    for seen in findings.pictures:
        parts += _of_picture(findings, seen)
    parts += _of_network(findings)
    parts.append(_how(findings, command))
    found = findings.pictures
    answers = {seen.path.name: f"{_short(seen.answers[0][0])} {seen.answers[0][1]:.0%}" for seen in found[:4]}
    figures = {**answers, "parameters": f"{findings.subject.net.num_parameters():,}"}
    if findings.patches is not None:
        figures["pictures searched"] = f"{findings.patches.seen:,}"
    count = f"{len(found)} pictures" if len(found) > 1 else found[0].path.name
    subtitle = f"{count}; made in {duration(findings.seconds)} by Cool Neural Networks"
    links = report.contents({anchor: title for anchor, title, _ in parts})
    return report.page(
        f"What {findings.model.name} sees", subtitle, figures, [links, *(section for _, _, section in parts)]
    )


# --- of each picture -------------------------------------------------------------------------------------------------


def _of_picture(findings: Findings, seen: Seen) -> list[tuple[str, str, str]]:
    name = seen.path.name
    parts = [_answers(findings, seen)]
    for number, maps in enumerate(seen.maps):
        if maps:
            anchor = f"why-{seen.name}-{number}"
            title = f"Why “{_short(maps[0].target.label)}”: {name}"
            parts.append((anchor, title, _saliency(findings, maps, title, anchor)))
    if seen.features:
        title = f"Feature maps: {name}"
        body = "".join(_features(maps) for maps in seen.features)
        note = (
            "What the units of each layer give for this picture, layer by layer from the pixels to the answer: the "
            f"{_MAPS} channels with the largest values, each scaled by its own largest value, which stands beside its "
            "number. A bright place says that a unit answers there, not that the network's answer rests on it."
        )
        parts.append((f"maps-{seen.name}", title, report.section(title, body, note, anchor=f"maps-{seen.name}")))
    return parts


def _answers(findings: Findings, seen: Seen) -> tuple[str, str, str]:
    picture = report.image(images.jpeg(seen.picture), f"{seen.path.name} as the network saw it")
    rows = "".join(
        f"<tr><td>{escape(label)}</td><td>{score:.1%}</td>"
        f"<td class='wide'><span class='bar' style='width:{100 * score:.1f}%'></span></td></tr>"
        for label, score in seen.answers
    )
    head = "<thead><tr><th scope='col'>answer</th><th scope='col'>score</th><th></th></tr></thead>"
    body = (
        f"<div class='beside'><div>{picture}</div><div class='table' tabindex='0'><table>{head}"
        f"<tbody>{rows}</tbody></table></div></div>"
    )
    height, width = seen.picture.shape[:2]
    note = (
        f"The picture as the network was given it, {width}×{height} pixels. Scores are shares of 1 among the "
        f"{max(len(findings.model.labels), len(seen.answers)):,} classes it knows (softmax): how sure it is among "
        "these, not how often such answers are right, and there is no answer “none of them”."
    )
    anchor = f"picture-{seen.name}"
    return anchor, seen.path.name, report.section(seen.path.name, body, note, anchor=anchor)


def _saliency(findings: Findings, maps: Sequence[SaliencyMap], title: str, anchor: str) -> str:
    """All methods side by side, each with what its checks say."""
    checked = findings.wishes.checks
    body = report.pictures([_map_figure(made, checked) for made in maps], 190)
    if checked:
        body += report.more("The checks in numbers", _check_table(maps))
    note = (
        "Where the score of this class comes from, by each method: colour is strong where it matters, blue where it "
        "speaks against. The methods answer different questions and need not agree. "
    )
    note += _ABOUT_CHECKS if checked else "Whether each map means anything was not checked (--no-checks)."
    return report.section(title, body, note, anchor=anchor)


def _map_figure(made: SaliencyMap, checked: bool) -> str:
    name, how = _METHODS.get(made.method, (made.method.replace("_", " "), ""))
    picture = report.image(images.jpeg(made.overlay(), 90), f"{name} for {made.target.label}")
    lines = [escape(how)] if how else []
    if made.layer is not None:
        lines.append(f"at layer {escape(made.layer)}")
    if checked:
        verdict = made.randomization.verdict.split(" (")[0]
        mark, kind = _MARKS.get(verdict, ("✗", "bad"))
        lines.append(f"<span class='{kind}'>{mark} {escape(verdict)}</span>")
        lines.append(f"deletion {made.perturbation.deletion:.2f}, insertion {made.perturbation.insertion:.2f}")
    return report.figure(picture, name, *lines)


def _check_table(maps: Sequence[SaliencyMap]) -> str:
    header = ["method", "layer", "rank correlation", "SSIM", "deletion", "insertion"]
    rows = [
        [
            _METHODS.get(made.method, (made.method, ""))[0],
            made.layer or "–",
            f"{made.randomization.correlation:.2f}",
            f"{made.randomization.ssim:.2f}",
            f"{made.perturbation.deletion:.3f}",
            f"{made.perturbation.insertion:.3f}",
        ]
        for made in maps
    ]
    small = "Rank correlation and SSIM: likeness to the maps of networks with random weights; near 0 is good."
    return report.table(header, rows) + f"<p class='note'>{small}</p>"


def _features(maps: FeatureMaps) -> str:
    shown = maps.pictures(_MAPS)
    described = shown.note.split(";")[0] if maps.values.ndim == 3 else shown.note
    figures = [
        report.figure(report.image(images.png(tile), f"{maps.layer.name}, channel {label}"), "", escape(label))
        for tile, label in zip(shown.pictures, shown.labels, strict=True)
    ]
    signs = " Blue is negative, red positive." if maps.signed else ""
    return f"<h3>{escape(str(maps.layer))}</h3><p class='note'>{escape(described)}.{signs}</p>" + report.pictures(
        figures, 66, "pixels"
    )


# --- of the network --------------------------------------------------------------------------------------------------


def _of_network(findings: Findings) -> list[tuple[str, str, str]]:
    parts = []
    if findings.patches is not None or findings.preferred:
        parts.append(("units", "What its units look for", _units(findings)))
    if findings.filters is not None:
        shown = findings.filters
        figures = [
            report.figure(report.image(images.png(tile), f"filter {label}"), "", label)
            for tile, label in zip(shown.pictures[:_FILTERS], shown.labels, strict=False)
        ]
        body = report.pictures(figures, 60, "pixels")
        section = report.section("Filters", body, f"{shown.title}. {shown.note}", anchor="filters")
        parts.append(("filters", "Filters", section))
    if findings.hierarchy is not None:
        parts.append(("hierarchy", "Edges, textures, objects?", _hierarchy(findings, findings.hierarchy)))
    parts.append(("network", "The network", _network(findings)))
    return parts


def _units(findings: Findings) -> str:
    """For each channel that is shown its preferred picture, and its patches with their deconvnet pictures."""
    body = []
    for layer in findings.layers:
        rows = "".join(_channel(findings, layer.name, number) for number in findings.channels[layer.name])
        body.append(f"<h3>{escape(str(layer))}</h3>{rows}")
    notes = [f"The channels of each layer that answer most strongly to {findings.pictures[0].path.name}."]
    if findings.preferred:
        notes.append(
            "Preferred pictures are made: noise, changed step by step until the channel answers strongly. They are one "
            "of many such pictures, more extreme than any photograph."
        )
    if findings.patches is not None:
        skipped = len(findings.patches.skipped)
        left_out = f" ({skipped} could not be read and were left out)" if skipped else ""
        notes.append(
            f"Patches are found: of {findings.patches.seen:,} pictures{left_out} those that the channel answers to "
            "most, each picture once, cut to all that the unit can see (grey beside the border); the number is the "
            "answer. Below each is what of it excites the unit, by a deconvnet (Zeiler & Fergus 2014), scaled by its "
            "own largest value. What no picture holds cannot show."
        )
    return report.section("What its units look for", "".join(body), " ".join(notes), anchor="units")


def _channel(findings: Findings, layer: str, channel: int) -> str:
    figures = []
    if layer in findings.preferred:
        made = findings.preferred[layer]
        picture = made.pictures[findings.channels[layer].index(channel)]
        alt = f"preferred picture of channel {channel} of {layer}"
        figures.append(report.figure(report.image(images.jpeg(picture, 90), alt), "", "preferred"))
    if findings.patches is not None:
        hits = findings.patches.hits(layer, channel)
        for hit, patch, excited in zip(hits, *findings.excited[layer, channel], strict=True):
            first = report.image(images.png(patch), f"patch of {hit.name}")
            second = report.image(images.png(excited), "what of it excites the unit")
            figures.append(report.figure(first + second, "", images.number(hit.value), hint=hit.name))
    silent = "" if figures else "<p class='note'>It answers to none of the pictures.</p>"
    return f"<h4>channel {channel}</h4>{silent}{report.pictures(figures, 84, 'pixels')}"


def patch_sheet(findings: Findings, layer: str) -> Picture:
    """The patches of the channels that are shown, above what of them excites the units, as one picture."""
    assert findings.patches is not None
    side, k = 96, findings.patches.k
    tiles: list[Picture] = []
    labels: list[str] = []
    for channel in findings.channels[layer]:
        patches, excited = findings.excited[layer, channel]
        names = [f"{channel}: {images.number(hit.value)}" for hit in findings.patches.hits(layer, channel)]
        empty = [np.full((side, side, 3), 255, np.uint8)] * (k - len(patches))
        for row, texts in ((patches, names or [f"{channel}: silent"]), (excited, [])):
            tiles += [images.fitted(tile, side) for tile in row] + empty
            labels += [*texts, *[""] * k][:k]
    return images.sheet(tiles, k, labels)


def _hierarchy(findings: Findings, found: Hierarchy) -> str:
    """What became of the hypothesis, with its numbers, and how the units of the first layer are tuned."""
    claims = "".join(
        f"<li><span class='{'good' if finding.holds else 'bad'}'>{'✓' if finding.holds else '✗'}</span> "
        f"{escape(finding.claim)} <span class='note'>({escape(finding.evidence)})</span></li>"
        for finding in found.findings
    )
    body = f"<p><b>{escape(found.verdict)}</b></p><ul>{claims}</ul><pre tabindex='0'>{escape(found.table())}</pre>"
    for tuned in findings.tuning:
        body += f"<h3>{escape(str(tuned.layer))}</h3><div class='drawing' tabindex='0'>{tuned.chart()}</div>"
    note = (
        "The hypothesis: first edges, then textures, then objects (Hubel & Wiesel 1962). Each claim must hold by more "
        "than chance, and by more than in the same network with random weights. Curves: answers of single units to "
        f"gratings of every orientation. {found.note}"
    )
    return report.section("Edges, textures, objects?", body, note.strip(), anchor="hierarchy")


def _network(findings: Findings) -> str:
    shape = (1, *findings.subject.input_shape)
    drawing = graph(findings.subject.net, meta(*shape), level="network", gradients=False).svg()
    table = summary(findings.subject.net, shape)
    body = (
        f"<div class='beside'><div class='drawing' tabindex='0'>{drawing}</div>"
        f"<pre tabindex='0'>{escape(str(table))}</pre></div>"
    )
    return report.section(
        "The network", body, "Its outermost parts, found from a run, and all of its layers.", anchor="network"
    )


def _how(findings: Findings, command: str) -> tuple[str, str, str]:
    wishes = findings.wishes
    rows = [
        ["classes explained", ", ".join(map(str, wishes.classes)) or "the network's answer"],
        ["layers", ", ".join(layer.name for layer in findings.layers)],
        ["seed", str(wishes.seed)],
        ["preprocessing", str(findings.model.preprocessing)],
        *[["left out", str(file)] for file in findings.skipped],
    ]
    body = report.table(["what", "how"], rows)
    if command:
        body += f"<p class='note'>Made by</p><pre tabindex='0'>{escape(command)}</pre>"
    return "how", "How it was made", report.section("How it was made", body, kind="settings", anchor="how")


def _short(label: str) -> str:
    return plots.short(label.split(",")[0], 28)
