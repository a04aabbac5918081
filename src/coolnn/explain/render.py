"""Explanations as text and as HTML."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .text import exact, place_text, short

if TYPE_CHECKING:
    from .gradient import GradientExplanation
    from .numbers import Explanation, Part, Term

#: Tables show this many rows, the largest ones if there are more.
SHOWN = 24


def _rows(terms: list[Term]) -> tuple[list[tuple[int, Term]], list[Term]]:
    """The terms to show, with their numbers, and the others."""
    numbered = list(enumerate(terms))
    if len(terms) <= SHOWN:
        return numbered, []
    largest = sorted(numbered, key=lambda pair: -abs(pair[1].value))
    shown = {number for number, _ in largest[: SHOWN // 2]}
    return [pair for pair in numbered if pair[0] in shown], [t for n, t in numbered if n not in shown]


def _part_text(part: Part) -> str:
    where = " (padding)" if part.is_padding else place_text(part.place) if part.place is not None else ""
    return f"{part.name}{where} {short(part.value, 6)}"


def _facts(why: Explanation) -> list[tuple[str, str]]:
    """What is said above the table."""
    facts = [("engine", f"{why.engine_text()} ({why.tensor.dtype.name})")]
    if why.kind == "given":
        return facts
    what = {"sum": "exact sum", "choice": "chosen", "function": "in float64"}[why.kind]
    facts.append((what, exact(np.float64(why.exact))))
    facts.append(("difference", short(why.difference, 3)))
    if why.padding:
        facts.append(("padding", f"{why.padding} of {len(why.terms)} terms lie in it"))
    for name, box in why.window.items():
        facts.append((f"{name} read", f"{box} of {why.source(name)}"))
    for name, box in why.field.items():
        facts.append((f"sees {name}", str(box)))
    return facts


# --- text --------------------------------------------------------------------------------------------------------


def _columns(rows: list[list[str]], indent: str = "  ") -> list[str]:
    """Rows with columns of equal width: numbers to the right, the second column, which is text, to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    return [
        (
            indent
            + "  ".join(
                cell.ljust(w) if i == 1 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
        ).rstrip()
        for row in rows
    ]


def explanation_text(why: Explanation) -> str:
    """The explanation for `print`."""
    lines = [why.title(), f"  = {why.formula}"]
    facts = _facts(why)
    width = max(len(name) for name, _ in facts)
    lines += [f"  {name:<{width}}  {text}" for name, text in facts]
    shown, rest = _rows(why.terms)
    table = [[f"{n}", " · ".join(map(_part_text, t.factors)), short(t.value, 6), short(t.so_far, 6)] for n, t in shown]
    if table:
        lines += _columns([["term", "factors", "value", "sum so far"], *table])
    if rest:
        lines.append(f"  … and {len(rest)} smaller terms, together {short(sum(t.value for t in rest), 6)}")
    if why.kind != "sum" and why.influences:
        head = ["", "depends on", "derivative"] if why.kind == "function" else ["", "chosen among", ""]
        listed = [
            [str(n), _part_text(part), "" if slope is None else short(slope, 6)]
            for n, (part, slope) in enumerate(why.influences[:SHOWN])
        ]
        lines += _columns([head, *listed])
        if len(why.influences) > SHOWN:
            lines.append(f"  … and {len(why.influences) - SHOWN} more")
    return "\n".join(lines)


def gradient_text(why: GradientExplanation) -> str:
    """The explanation of a gradient for `print`."""
    lines = [why.title(), f"  engine              {why.engine_text()} ({why.tensor.dtype.name})"]
    lines.append(f"  float64             {exact(np.float64(why.exact))}")
    lines.append(f"  finite difference   {exact(np.float64(why.finite_difference))}  {why.verdict}")
    lines.append("  chain rule, from the result back:")
    lines += _columns([[str(n), f"{link.label}  {link.rule}"] for n, link in enumerate(why.chain)], "    ")
    for identity in why.identities:
        lines.append(f"  {identity.name}: {identity.statement}")
        lines.append(f"    the plane by this formula differs from the engine's by at most {short(identity.error, 3)}")
    if len(why.parts) > 1:
        lines.append(f"  used {len(why.parts)} times; the parts of the gradient add up:")
    for part in why.parts:
        lines += ["  " + line for line in explanation_text(part).split("\n")]
    return "\n".join(lines)


# --- HTML --------------------------------------------------------------------------------------------------------

_STYLE = """
.cx{font:13px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:#1c2330;background:#fff;padding:14px 18px;
border:1px solid #e2e6ee;border-radius:10px;max-width:960px;--p:43,138,102;--m:200,30,58}
.cx h3{margin:0 0 2px;font-size:15px}.cx h4{margin:14px 0 4px;font-size:13px}.cx .f{color:#667085;margin:0 0 10px}
.cx dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 14px;margin:0 0 12px}.cx dt{color:#667085}
.cx dd{margin:0;font-variant-numeric:tabular-nums}
.cx table{font:inherit;color:inherit;border-collapse:collapse;font-variant-numeric:tabular-nums}
.cx th{text-align:right;color:#667085;font-weight:500;padding:2px 8px;border-bottom:1px solid #e2e6ee}
.cx td{text-align:right;padding:2px 8px}.cx td small{color:#667085}
.cx .w{display:flex;flex-wrap:wrap;gap:8px 10px;align-items:center;
margin:6px 0 12px}.cx .w td{padding:3px 5px;min-width:40px;text-align:center;border:1px solid #e2e6ee;font-size:11px}
.cx .l td{text-align:left}.cx figure{margin:4px 0 12px;display:inline-block}
.cx figcaption{color:#667085;font-size:11.5px}
.cx figure rect{fill:none;stroke:#c81e3a;stroke-width:2;vector-effect:non-scaling-stroke}
.cx .w td.o{color:#98a2b3;background:repeating-linear-gradient(45deg,transparent 0 4px,rgba(128,128,128,.18) 4px 5px)}
.cx .w caption{caption-side:top;color:#667085;font-size:11.5px;padding-bottom:2px}.cx .s{font-size:18px;color:#667085}
.cx .ok{color:#2b8a66;font-weight:600}.cx .no{color:#c81e3a;font-weight:600}
@media(prefers-color-scheme:dark){.cx{color:#e6e9ef;background:#16181d;border-color:#333a47}
.cx th,.cx .w td{border-color:#333a47}
.cx .f,.cx dt,.cx th,.cx td small,.cx .w caption,.cx .s{color:#98a2b3}.cx .ok{color:#55c79c}.cx .no{color:#ff7b8f}}
"""


def _page(body: str) -> str:
    return f'<div class="cx"><style>{_STYLE}</style>{body}</div>'


def explanation_html(why: Explanation) -> str:
    """The explanation as a piece of HTML that needs nothing else."""
    return _page(_explanation_body(why))


def _explanation_body(why: Explanation) -> str:
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in _facts(why))
    head = f'<h3>{escape(why.title())}</h3><p class="f">= {escape(why.formula)}</p><dl>{facts}</dl>'
    parts = [head, _pictures(why), _windows(why)]
    shown, rest = _rows(why.terms)
    if shown:
        rows = "".join(
            f"<tr><td><small>{number}</small></td>{''.join(map(_factor_cell, term.factors))}"
            f"<td>{escape(short(term.value, 6))}</td><td><small>{escape(short(term.so_far, 6))}</small></td></tr>"
            for number, term in shown
        )
        # Groups (products, bias) may have different numbers of factors.
        most = max(len(term.factors) for _, term in shown)
        rows = "".join(_padded(row, most) for row in rows.split("</tr>") if row)
        head = "".join(f"<th>{name}</th>" for name in ("term", *[""] * most, "value", "sum so far"))
        parts.append(f"<table><tr>{head}</tr>{rows}</table>")
    if rest:
        together = short(sum(term.value for term in rest), 6)
        parts.append(f'<p class="f">… and {len(rest)} smaller terms, together {together}</p>')
    if why.kind != "sum" and why.influences:
        name = "derivative" if why.kind == "function" else ""
        rows = "".join(
            f"<tr>{_factor_cell(part)}<td>{'' if slope is None else escape(short(slope, 6))}</td></tr>"
            for part, slope in why.influences[:SHOWN]
        )
        what = "depends on" if why.kind == "function" else "chosen among"
        parts.append(f"<h4>{what}</h4><table><tr><th>number</th><th>{name}</th></tr>{rows}</table>")
        if len(why.influences) > SHOWN:
            parts.append(f'<p class="f">… and {len(why.influences) - SHOWN} more</p>')
    return "".join(parts)


def _padded(row: str, most: int) -> str:
    """A row of the table with as many factors as the longest has."""
    missing = most + 3 - row.count("<td>")
    value = row.rfind("<td>", 0, row.rfind("<td>"))
    return row[:value] + "<td></td>" * missing + row[value:] + "</tr>"


def _factor_cell(part: Part) -> str:
    where = "padding" if part.is_padding else place_text(part.place) if part.place is not None else ""
    return f"<td>{escape(short(part.value, 6))} <small>{escape(part.name)}{escape(where)}</small></td>"


def _pictures(why: Explanation) -> str:
    """The receptive field, drawn in the pictures that were put in."""
    blocks = []
    for tensor in why.trace.inputs:
        name = why.trace.name_of(tensor)
        box = why.field.get(name)
        if box is None or tensor.ndim != 4 or tensor.shape[1] not in (1, 3) or why.kind == "given":
            continue
        height, width = tensor.shape[2:]
        (_, _, top, left), (_, _, rows, columns) = box.first, box.shape
        scale = max(min(280 / max(height, width), 6), 0.25)
        caption = f"what it sees of {escape(name)}: {rows}×{columns} of {height}×{width} pixels"
        blocks.append(
            f'<figure><svg width="{width * scale:.0f}" height="{height * scale:.0f}" viewBox="0 0 {width} {height}">'
            f'<image width="{width}" height="{height}" style="image-rendering:pixelated" '
            f'href="{_png(tensor.numpy()[box.first[0]])}"/>'
            f'<rect x="{left}" y="{top}" width="{columns}" height="{rows}"/></svg>'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    return "".join(blocks)


def _png(picture: np.ndarray[Any, Any]) -> str:
    """A picture (channels, height, width) as a data address, from its smallest number, black, to its largest, white."""
    low, high = float(picture.min()), float(picture.max())
    grey = ((picture - low) * (255 / (high - low) if high > low else 0.0)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey[0] if len(grey) == 1 else grey.transpose(1, 2, 0)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _windows(why: Explanation) -> str:
    """The window, the filter and their products as three tables beside each other, for the channel that adds most."""
    layers = _planes(why)
    if not layers:
        return ""
    blocks = []
    for title, planes in layers:
        tables = [_plane(name, values, outside) for name, values, outside in planes]
        blocks.append(f'<h4>{escape(title)}</h4><div class="w">{tables[0]}<span class="s">·</span>{tables[1]}')
        blocks.append(f'<span class="s">=</span>{tables[2]}</div>')
    return "".join(blocks)


Plane = tuple[str, np.ndarray[Any, Any], np.ndarray[Any, Any]]


def _planes(why: Explanation) -> list[tuple[str, list[Plane]]]:
    """Of a convolution, for up to three input channels, those that add most: (title, window, filter, products)."""
    if why.operation not in ("conv2d", "conv2d_fused") or why.step is None:
        return []
    group = why.groups[0]
    channels, height, width = why.step.call.inputs[1].shape[1:]
    if height * width == 1 or height > 11 or width > 11:
        return []
    seen, filters = (factor.values.reshape(channels, height, width) for factor in group.factors[:2])
    places = group.factors[0].places
    assert places is not None
    outside = (places < 0).any(axis=1).reshape(channels, height, width)
    products = seen * filters
    order = np.argsort(-np.abs(products.sum((1, 2))), kind="stable")[:3]
    none = np.zeros((height, width), bool)
    return [
        (
            f"input channel {c}: adds {short(products[c].sum(), 6)}",
            [("window", seen[c], outside[c]), ("filter", filters[c], none), ("products", products[c], outside[c])],
        )
        for c in map(int, order)
    ]


def _plane(name: str, values: np.ndarray[Any, Any], outside: np.ndarray[Any, Any]) -> str:
    scale = float(np.abs(values).max()) or 1.0
    rows = []
    for line, hidden in zip(values, outside, strict=True):
        cells = []
        for value, padding in zip(line, hidden, strict=True):
            share = 0.75 * abs(float(value)) / scale if np.isfinite(value) else 0.0
            colour = f"rgba(var({'--p' if value >= 0 else '--m'}),{share:.2f})"
            style = ' class="o"' if padding else f' style="background:{colour}"'
            cells.append(f"<td{style}>{escape(short(value, 3))}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><caption>{escape(name)}</caption>{''.join(rows)}</table>"


def gradient_html(why: GradientExplanation) -> str:
    """The explanation of a gradient as a piece of HTML that needs nothing else."""
    mark = "ok" if why.agrees else "no"
    facts = (
        f"<dt>engine</dt><dd>{escape(why.engine_text())} ({why.tensor.dtype.name})</dd>"
        f"<dt>float64</dt><dd>{exact(np.float64(why.exact))}</dd>"
        f"<dt>finite difference</dt><dd>{exact(np.float64(why.finite_difference))} "
        f'<span class="{mark}">{escape(why.verdict)}</span></dd>'
    )
    chain = "".join(
        f"<tr><td><small>{n}</small></td><td>{escape(link.label)}</td><td>{escape(link.rule)}</td></tr>"
        for n, link in enumerate(why.chain)
    )
    identities = "".join(
        f"<h4>{escape(i.name)}</h4><p>{escape(i.statement)}<br>The plane by this formula differs from the engine's by "
        f"at most {escape(short(i.error, 3))}.</p>"
        for i in why.identities
    )
    parts = "".join(f"<h4>part {n + 1} of {len(why.parts)}</h4>{_explanation_body(p)}" for n, p in enumerate(why.parts))
    return _page(
        f"<h3>{escape(why.title())}</h3><dl>{facts}</dl><h4>chain rule, from the result back</h4>"
        f'<table class="l">{chain}</table>'
        f"{identities}{parts}"
    )
