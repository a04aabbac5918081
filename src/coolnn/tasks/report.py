"""report.html: one self-contained page that shows a run, readable without a network or a server."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Any

from PIL import Image

from . import plots

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>$title</title>
<style>
:root { --ink:#1d2330; --soft:#5d6675; --line:#e3e6ec; --paper:#fff; --ground:#f5f6f9; --accent:#2f6fb7;
  --wrong:#b8571b }
@media (prefers-color-scheme: dark) {
  :root { --ink:#e8eaf0; --soft:#a3abba; --line:#363c49; --paper:#20242d; --ground:#171a21; --accent:#7fb2ea;
    --wrong:#f0a06a } }
* { box-sizing:border-box }
body { margin:0; background:var(--ground); color:var(--ink); font:15px/1.5 system-ui,sans-serif }
main { max-width:1040px; margin:0 auto; padding:28px 20px 60px }
h1 { font-size:26px; margin:0 0 2px } h2 { font-size:18px; margin:0 0 12px }
.sub, .note { color:var(--soft) } .note { font-size:13px; margin:8px 0 0 }
section { background:var(--paper); border:1px solid var(--line); border-radius:10px; padding:18px 20px;
  margin-top:18px }
.figures { display:grid; grid-template-columns:repeat(auto-fit,minmax(150px,1fr)); gap:12px; margin-top:18px }
.figure { background:var(--paper); border:1px solid var(--line); border-radius:10px; padding:12px 16px }
.figure { min-width:0; overflow-wrap:anywhere }
.figure b { display:block; font-size:24px; color:var(--accent) } .figure span { color:var(--soft); font-size:13px }
.charts { display:grid; grid-template-columns:repeat(auto-fit,minmax(300px,1fr)); gap:14px }
.charts svg { width:100%; height:auto; border:1px solid var(--line); border-radius:6px }
.matrix { overflow-x:auto } .matrix svg { height:auto }
svg .paper { fill:var(--paper) } svg .empty { fill:var(--ground) } svg .ink { fill:var(--ink) }
svg .soft { fill:var(--soft) } svg .grid { stroke:var(--line) } svg .lines { stroke:var(--paper) }
img { max-width:100%; height:auto; border-radius:6px }
.filters img { image-rendering:pixelated; background:#fff }
.gallery { display:grid; grid-template-columns:repeat(auto-fill,minmax(108px,1fr)); gap:14px 10px }
.gallery.wide { grid-template-columns:repeat(auto-fill,minmax(146px,1fr)) }
.gallery figure { margin:0; font-size:12px; line-height:1.35; text-align:center }
.gallery span { display:flex; height:108px; align-items:center; justify-content:center; margin-bottom:4px }
.gallery img { max-height:108px }
.gallery div { display:flex; justify-content:center; gap:5px; white-space:nowrap }
.gallery b { overflow:hidden; text-overflow:ellipsis; font-weight:600 } .gallery i { font-style:normal; opacity:.8 }
.true { color:var(--accent) } .answer { color:var(--wrong) }
.table { overflow-x:auto } table { border-collapse:collapse; font-size:13px; width:100% }
th, td { text-align:right; padding:4px 10px; border-bottom:1px solid var(--line); white-space:nowrap }
th:first-child, td:first-child { text-align:left } th { color:var(--soft); font-weight:600 }
.log .table { max-height:520px; overflow-y:auto } .log th { position:sticky; top:0; background:var(--paper) }
.settings table { width:auto } .settings td { text-align:left }
tr.best td { color:var(--accent); font-weight:600 }
nav { margin-top:18px; display:flex; flex-wrap:wrap; gap:6px 16px } a { color:var(--accent) }
a:focus-visible, summary:focus-visible, [tabindex]:focus-visible { outline:2px solid var(--accent); outline-offset:2px }
h3 { font-size:15px; margin:20px 0 8px } h2 + h3 { margin-top:0 } h4 { font-size:13px; margin:14px 0 4px }
summary { cursor:pointer; margin-top:14px }
.pictures { display:grid; grid-template-columns:repeat(auto-fill,minmax(var(--width),1fr)); gap:12px; margin:8px 0 }
.pictures figure { margin:0; min-width:0 } .pictures img { display:block; width:100%; margin-bottom:3px }
.pictures.pixels img { image-rendering:pixelated }
figcaption { font-size:12.5px; line-height:1.4; overflow-wrap:anywhere } figcaption b { display:block }
figcaption span { display:block; color:var(--soft) } figcaption .good { color:var(--accent) }
.good { color:var(--accent) } .bad { color:var(--wrong) } figcaption .bad { color:var(--wrong) }
.beside { display:flex; flex-wrap:wrap; gap:18px; align-items:flex-start } .beside > :first-child { flex:0 1 240px }
.beside > :last-child { flex:1 1 300px; min-width:0 } td.wide { width:45% }
.bar { display:block; height:10px; border-radius:3px; min-width:1px; background:var(--accent) }
.drawing { overflow-x:auto } .drawing svg { max-width:none }
@media (max-width:600px) { main { padding:18px 10px 40px } section { padding:14px 12px } }
pre { font-size:12.5px; background:var(--ground); border:1px solid var(--line); border-radius:6px; padding:10px 12px;
  overflow-x:auto; margin:0 }
</style></head><body><main>
<h1>$title</h1><div class="sub">$subtitle</div>
<div class="figures">$figures</div>
$sections
</main></body></html>
""")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], best: int | None = None) -> str:
    """An HTML table of text cells; row number `best` stands out."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr{' class=best' if i == best else ''}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for i, row in enumerate(rows)
    )
    return f"<div class='table' tabindex='0'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def image(content: bytes, description: str) -> str:
    """A picture inside the page: the bytes of a PNG or JPEG file."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    data = base64.b64encode(content).decode()
    return f"<img alt='{escape(description, quote=True)}' src='data:image/{kind};base64,{data}'>"


def figure(content: str, title: str = "", *lines: str, hint: str = "") -> str:
    """Pictures with what they are below: a title and small lines, which may hold marks of HTML."""
    below = "".join([f"<b>{escape(title)}</b>" if title else "", *(f"<span>{line}</span>" for line in lines)])
    shown = f" title='{escape(hint, quote=True)}'" if hint else ""
    return f"<figure{shown}>{content}<figcaption>{below}</figcaption></figure>"


def pictures(figures: Sequence[str], width: int = 150, kind: str = "") -> str:
    """Figures side by side, as many in a row as fit, each at least so many pixels wide."""
    return f"<div class='pictures {kind}' style='--width:{width}px'>{''.join(figures)}</div>"


def more(title: str, body: str) -> str:
    """What is shown when it is asked for."""
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def contents(sections: Mapping[str, str]) -> str:
    """Links to the sections: their titles by their anchors."""
    links = "".join(f"<a href='#{anchor}'>{escape(title)}</a>" for anchor, title in sections.items())
    return f"<nav aria-label='Contents'>{links}</nav>"


@dataclass(frozen=True)
class Mistake:
    """A picture that was answered wrongly: its class with its score, and the answer with its own."""

    picture: Image.Image
    true: str
    true_score: float
    answer: str
    score: float


def gallery(mistakes: Sequence[Mistake]) -> str:
    """Pictures side by side, each with the true class and the answer below it."""

    def line(kind: str, name: str, score: float) -> str:
        shown = f"<b>{escape(plots.short(name, 20))}</b><i>{score:.0%}</i>"
        return f"<div class='{kind}' title='{escape(name, quote=True)}'>{shown}</div>"

    figures = "".join(
        f"<figure><span>{image(plots.png(m.picture), f'{m.true}, answered {m.answer}')}</span>"
        f"{line('true', m.true, m.true_score)}{line('answer', m.answer, m.score)}</figure>"
        for m in mistakes
    )
    wide = any(len(name) > 10 for m in mistakes for name in (m.true, m.answer))
    return f"<div class='gallery{' wide' if wide else ''}'>{figures}</div>"


def section(title: str, body: str, note: str = "", kind: str = "", anchor: str = "") -> str:
    """A part of the page with a heading; the note says in small print what is to be seen; links lead to the anchor."""
    small = f"<p class='note'>{escape(note)}</p>" if note else ""
    name = f" id='{anchor}'" if anchor else ""
    return f"<section class='{kind}'{name}><h2>{escape(title)}</h2>{body}{small}</section>"


def page(title: str, subtitle: str, figures: Mapping[str, str], sections: Sequence[str]) -> str:
    """The whole page: heading, the few figures that matter, then the sections."""
    cards = "".join(f"<div class='figure'><b>{escape(v)}</b><span>{escape(k)}</span></div>" for k, v in figures.items())
    return _PAGE.substitute(title=escape(title), subtitle=escape(subtitle), figures=cards, sections="\n".join(sections))


def history_table(history: Sequence[Mapping[str, Any]], best_epoch: int) -> str:
    """The log as a table, the best epoch marked."""
    names = {
        "train_loss": "train loss",
        "train_accuracy": "train acc.",
        "val_loss": "val. loss",
        "val_accuracy": "val. acc.",
    }
    columns = ["epoch", "lr", *[key for key in names if key in history[0]]]
    rows = [
        [
            f"{row[key]:.2%}" if key.endswith("accuracy") else str(row[key]) if key == "epoch" else f"{row[key]:.4g}"
            for key in columns
        ]
        for row in history
    ]
    best = next((i for i, row in enumerate(history) if row["epoch"] == best_epoch), None)
    return table([names.get(key, key) for key in columns], rows, best)
