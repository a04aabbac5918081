"""What a classification run leaves behind: tables, pictures and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_bytes, write_text
from ..formats import Model
from ..models.summary import summary
from ..train import Evaluation
from ..train.progress import duration
from . import plots, report

_MISTAKES = 32


def headline(plan: Any, splits: Any, net: Any, folder: Path) -> str:
    """The lines that a run begins with: what is trained on what, and where the results go."""
    parts = [f"{len(s):,} {k}" for k in ("train", "val", "test") if (s := getattr(splits, k)) is not None and len(s)]
    lines = [
        f"{plan.model} ({net.num_parameters():,} parameters) on {Path(plan.data).name}, {plan.size} x {plan.size}: "
        f"{len(splits.train.classes)} classes",
        f"{', '.join(parts)} pictures; results go to {folder}",
    ]
    if splits.val is None or not len(splits.val):
        lines.append("no pictures are kept for validation: the network of the last epoch is the result")
    return "\n".join(lines)


def results_table(results: Mapping[str, Any], folder: Path) -> str:
    """The end of a run for the terminal."""
    on = results["measured_on"]
    word = {"test": "test", "val": "validation", "train": "training"}[on]
    best = results["best"] or {}
    rows = [(f"{word} accuracy", f"{results[f'{on}_accuracy']:.2%}"), (f"{word} loss", f"{results[f'{on}_loss']:.4f}")]
    if on == "test" and "val_accuracy" in best:
        rows.append(("validation accuracy", f"{best['val_accuracy']:.2%}"))
    rows += [
        (
            ("best epoch", f"{results['best_epoch']} of {results['epochs']}")
            if "val_accuracy" in best
            else ("epochs", str(results["epochs"]))
        ),
        ("parameters", f"{results['parameters']:,}"),
        ("training time", duration(results["seconds"])),
        ("model", str(folder / "model.safetensors")),
        ("report", str(folder / "report.html")),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:{width}}  {value}" for name, value in rows]
    rule = "-" * max(len(line) for line in lines)
    skipped = results.get("skipped") or []
    notes = [f"{len(skipped)} unreadable files were left out, the first: {skipped[0]}"] if skipped else []
    return "\n".join([rule, *lines, rule, *notes])


def evaluation_table(result: Mapping[str, Any]) -> str:
    """The result of an evaluation for the terminal."""
    names = list(result["classes"])
    width = max([len("all"), len("class"), *(len(name) for name in names)])
    lines = [f"{'class':{width}}  {'pictures':>8}  {'right':>7}  {'share':>7}"]
    for name, row in result["classes"].items():
        share = row["right"] / row["pictures"]
        lines.append(f"{name:{width}}  {row['pictures']:>8,}  {row['right']:>7,}  {share:>7.2%}")
    right = sum(row["right"] for row in result["classes"].values())
    lines.append(f"{'all':{width}}  {result['pictures']:>8,}  {right:>7,}  {result['accuracy']:>7.2%}")
    lines.append(f"loss {result['loss']:.4f} ({result['split']} pictures)")
    if result["skipped"]:
        lines.append(f"{len(result['skipped'])} unreadable files were left out, the first: {result['skipped'][0]}")
    return "\n".join(lines)


def write(
    folder: Path,
    results: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    measured: Evaluation,
    dataset: Any,
    model: Model,
    plan: Mapping[str, Any],
) -> None:
    """Writes curves, confusion matrix, filters, mistakes and report.html into the run's folder."""
    on = {"test": "test", "val": "validation", "train": "training"}[results["measured_on"]]
    charts = plots.curves(history)
    for name, chart in charts.items():
        write_text(folder / f"{name}.svg", chart)
    confusion = plots.confusion_matrix(measured.confusion(), model.labels)
    write_text(folder / "confusion.svg", confusion)
    first = _first_filters(model)
    sections = [
        report.section("Curves", f"<div class='charts'>{''.join(charts.values())}</div>"),
        report.section(
            "Confusion matrix",
            f"<div class='matrix'>{confusion}</div>",
            f"Rows are the true classes of the {on} pictures, columns the answers; the diagonal is right.",
        ),
    ]
    mistakes, count = _worst_mistakes(measured, dataset, model)
    if mistakes:
        write_bytes(folder / "mistakes.png", _sheet(mistakes))
        sections.append(
            report.section(
                "Worst mistakes",
                report.gallery(mistakes),
                f"{count:,} of {len(measured.labels):,} {on} pictures are answered wrongly; here those with the lowest "
                "score for the true class (first line, blue), and what was answered instead (orange).",
            )
        )
    else:
        (folder / "mistakes.png").unlink(missing_ok=True)  # of an earlier report of this run
    if first is not None:
        write_bytes(folder / "filters.png", first)
        note = "The weights of the first convolution: red is positive, blue negative; in colour where the input is."
        sections.append(report.section("First layer's filters", report.image(first, "filters"), note, "filters"))
    sections += [
        report.section("Log", report.history_table(history, results["best_epoch"]), kind="log"),
        report.section("Network", f"<pre>{summary(model.net, _input_shape(model))}</pre>"),
        report.section("Settings", report.table(["setting", "value"], _setting_rows(plan)), kind="settings"),
        report.section(
            "Use it",
            f"<pre>cool predict {folder} picture.jpg\ncool eval {folder} pictures/\ncool summary {folder}</pre>",
        ),
    ]
    figures = {
        f"{on} accuracy": f"{measured.accuracy:.2%}",
        f"{on} loss": f"{measured.loss:.4f}",
        "parameters": f"{results['parameters']:,}",
        "training time": duration(results["seconds"]),
    }
    pictures = ", ".join(f"{number:,} {kind}" for kind, number in results["pictures"].items() if number)
    epochs = f"{results['epochs']} epochs"
    if "val_accuracy" in (results["best"] or {}):
        epochs = f"best epoch {results['best_epoch']} of {results['epochs']}"
    subtitle = f"{len(model.labels)} classes; {pictures} pictures; {epochs}"
    title = f"{results['model']} on {Path(str(results['data'])).name}"
    write_text(folder / "report.html", report.page(title, subtitle, figures, sections))


def _input_shape(model: Model) -> tuple[int, int, int, int]:
    height, width, channels = model.input_size
    return 1, channels, height, width


def _setting_rows(plan: Mapping[str, Any]) -> list[list[str]]:
    flat = {**{k: v for k, v in plan.items() if k != "settings"}, **plan["settings"]}
    return [[name.replace("_", " "), "–" if value is None else str(value)] for name, value in flat.items()]


def _first_filters(model: Model) -> bytes | None:
    """The filters of the first convolution, if the network has one."""
    for parameter in model.net.parameters():
        if parameter.ndim == 4 and parameter.shape[2] > 1:
            return plots.png(plots.filters(parameter.numpy()))
    return None


def _worst_mistakes(measured: Evaluation, dataset: Any, model: Model) -> tuple[list[report.Mistake], int]:
    """The wrongly answered pictures with the lowest score for their true class, and how many are wrong in all."""
    answers = measured.scores.argmax(1)
    wrong = np.flatnonzero(answers != measured.labels)
    truth = measured.scores[wrong, measured.labels[wrong]]
    found = []
    for i in wrong[np.argsort(truth, kind="stable")][:_MISTAKES]:
        true, answer = int(measured.labels[i]), int(answers[i])
        found.append(
            report.Mistake(
                plots.fitted(_displayable(dataset[int(i)][0])),
                model.labels[true],
                float(measured.scores[i, true]),
                model.labels[answer],
                float(measured.scores[i, answer]),
            )
        )
    return found, len(wrong)


def _sheet(mistakes: Sequence[report.Mistake]) -> bytes:
    cards = [
        plots.captioned(
            m.picture,
            [(f"is {m.true} ({m.true_score:.0%})", plots.BLUE), (f"not {m.answer} ({m.score:.0%})", plots.ORANGE)],
        )
        for m in mistakes
    ]
    return plots.png(plots.contact_sheet(cards))


def _displayable(image: Any) -> Any:
    if image.dtype == np.uint8:
        return image
    low, high = float(image.min()), float(image.max())
    return ((image - low) / max(high - low, 1e-9) * 255).astype(np.uint8)
