"""Pictures of a training: curves and confusion matrix as SVG, filters and mistakes as bitmaps."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Array = np.ndarray[Any, np.dtype[Any]]

BLUE, ORANGE = "#2f6fb7", "#d9742b"
_FONT = "font-family='system-ui,sans-serif'"


def png(image: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


# --- curves ----------------------------------------------------------------------------------------------------------


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that divide [low, high] into about `count` parts."""
    raw = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = magnitude * next(s for s in (1, 2, 2.5, 5, 10) if s * magnitude >= raw - 1e-12)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _tick_text(tick: float, step: float, percent: bool) -> str:
    """A tick with as many decimals as the distance to the next one asks for."""
    if percent:
        return f"{tick * 100:.{max(0, -math.floor(math.log10(step * 100) + 1e-9))}f} %"
    if tick == 0:
        return "0"
    if not 1e-3 <= step < 1e5:
        digits = max(0, math.floor(math.log10(abs(tick))) - math.floor(math.log10(step)) + 1)
        mantissa, exponent = f"{tick:.{digits}e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{tick:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _range(values: Sequence[float], percent: bool) -> tuple[float, float]:
    """The part of the y axis that is shown: from zero where that costs little room, shares within 0 and 1."""
    low, high = min(values), max(values)
    if not percent and 0 < low < high * 0.5:
        low = 0.0
    pad = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    low, high = low - (0 if low == 0 and not percent else pad), high + pad
    return (max(low, 0.0), min(high, 1.0)) if percent else (low, high)


def line_chart(
    title: str, x: Sequence[float], series: Mapping[str, Sequence[float]], percent: bool = False, x_label: str = "epoch"
) -> str:
    """An SVG chart of one or more lines over the same x; axes and ticks are chosen from the values.

    The classes (paper, grid, ink, soft) let a page with the chart in it choose its colours.
    """
    width, height, left, right, top, bottom = 340, 230, 50, 14, 34, 40
    values = [v for line in series.values() for v in line if math.isfinite(v)] or [0.0]
    low, high = _range(values, percent)
    x_low, x_high = min(x), max(x)
    if x_low == x_high:
        x_low, x_high = x_low - 0.5, x_high + 0.5

    def px(value: float) -> float:
        return left + (value - x_low) / (x_high - x_low) * (width - left - right)

    def py(value: float) -> float:
        return top + (high - value) / (high - low) * (height - top - bottom)

    out = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' {_FONT} font-size='11'>",
        f"<title>{escape(title)}</title><rect class='paper' width='{width}' height='{height}' fill='#fff' rx='6'/>",
        f"<text class='ink' x='12' y='20' font-size='13' font-weight='600' fill='#222'>{escape(title)}</text>",
    ]
    ticks = _ticks(low, high)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else high - low
    for tick in ticks:
        out.append(
            f"<line class='grid' x1='{left}' x2='{width - right}' y1='{py(tick):.1f}' y2='{py(tick):.1f}' "
            f"stroke='#e6e6ea'/><text class='soft' x='{left - 6}' y='{py(tick) + 4:.1f}' text-anchor='end' "
            f"fill='#555'>{_tick_text(tick, step, percent)}</text>"
        )
    for tick in sorted({round(t) for t in _ticks(x_low, x_high, 6) if x_low <= round(t) <= x_high}):
        out.append(
            f"<text class='soft' x='{px(tick):.1f}' y='{height - 22}' text-anchor='middle' fill='#555'>{tick}</text>"
        )
    out.append(
        f"<text class='soft' x='{(left + width - right) / 2}' y='{height - 7}' text-anchor='middle' fill='#555'>"
        f"{escape(x_label)}</text>"
    )
    legend = float(width - right)
    for color, (name, line) in reversed(list(zip((BLUE, ORANGE), series.items(), strict=False))):
        points = [(px(a), py(b), b) for a, b in zip(x, line, strict=True) if math.isfinite(b)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b, _ in points)
        out.append(f"<polyline points='{path}' fill='none' stroke='{color}' stroke-width='2' stroke-linejoin='round'/>")
        radius = 2.6 if len(points) <= 40 else 1.2
        for a, b, value in points:
            text = f"{value:.2%}" if percent else f"{value:.4g}"
            out.append(
                f"<circle cx='{a:.1f}' cy='{b:.1f}' r='{radius}' fill='{color}'>"
                f"<title>{escape(f'{name}: {text}' if name else text)}</title></circle>"
            )
        if name:
            out.append(
                f"<text x='{legend:.0f}' y='20' text-anchor='end' fill='{color}' font-weight='600'>"
                f"{escape(name)}</text>"
            )
        legend -= 6.8 * len(name) + 12
    return "".join(out) + "</svg>"


def curves(history: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Charts of the log, by name: loss, accuracy and learning rate."""
    x = [float(row["epoch"]) for row in history]
    charts = {}
    for name in ("loss", "accuracy"):
        series = {
            word: [float(row[f"{kind}_{name}"]) for row in history]
            for kind, word in (("train", "training"), ("val", "validation"))
            if f"{kind}_{name}" in history[0]
        }
        charts[name] = line_chart(name.capitalize(), x, series, percent=name == "accuracy")
    charts["lr"] = line_chart("Learning rate", x, {"": [float(row["lr"]) for row in history]})
    return charts


# --- confusion matrix ------------------------------------------------------------------------------------------------


def short(name: str, length: int) -> str:
    """A name without its middle: names that go together often differ in their ends only."""
    tail = length // 2 - 1
    return name if len(name) <= length else name[: length - tail - 1] + "…" + name[-tail:]


def confusion_matrix(counts: Array, classes: Sequence[str]) -> str:
    """An SVG of counts[true, predicted]: right answers blue, wrong ones orange, darker for a larger share.

    Names are left out beyond 60 classes, counts beyond 30; pointing at a cell tells both.
    """
    n = len(classes)
    cell = max(6, min(44, 560 // n))
    text_size = min(11.0, max(7.0, cell * 0.62))
    shown = [short(name, 18) for name in classes] if n <= 60 else []
    longest = max((len(name) for name in shown), default=0)
    flat = longest * text_size * 0.6 < cell - 4  # short names stand upright over their columns
    left = 24 + (longest * text_size * 0.6 + 8 if shown else 0)
    top = 22 + ((text_size + 4 if flat else longest * text_size * 0.6 + 8) if shown else 0)
    side = n * cell
    width, height = left + side + 10, top + side + 10
    out = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height:.0f}' role='img' {_FONT} "
        f"font-size='{text_size:.1f}' style='width:100%;min-width:{min(width, 340):.0f}px;max-width:{width:.0f}px'>",
        f"<title>Confusion matrix</title><rect class='paper' width='{width:.0f}' height='{height:.0f}' fill='#fff' "
        f"rx='6'/><rect class='empty' x='{left:.1f}' y='{top:.1f}' width='{side}' height='{side}' fill='#f4f4f7'/>",
        f"<text class='soft' x='{left + side / 2:.1f}' y='14' font-size='11' text-anchor='middle' fill='#555'>"
        f"predicted</text><text class='soft' transform='translate(14,{top + side / 2:.1f}) rotate(-90)' "
        "font-size='11' text-anchor='middle' fill='#555'>true</text>",
    ]
    for i, name in enumerate(shown):
        middle = (i + 0.5) * cell
        down = text_size * 0.35
        out.append(
            f"<text class='ink' x='{left - 6:.1f}' y='{top + middle + down:.1f}' text-anchor='end' fill='#222'>"
            f"{escape(name)}</text>"
        )
        over = (
            f"x='{left + middle:.1f}' y='{top - 6:.1f}' text-anchor='middle'"
            if flat
            else f"transform='translate({left + middle + down:.1f},{top - 6:.1f}) rotate(-90)'"
        )
        out.append(f"<text class='ink' {over} fill='#222'>{escape(name)}</text>")
    out += _cells(counts, classes, cell, left, top)
    if cell >= 10:
        lines = "".join(
            f"M{left + i * cell:.1f} {top:.1f}v{side}M{left:.1f} {top + i * cell:.1f}h{side}" for i in range(1, n)
        )
        out.append(f"<path class='lines' d='{lines}' stroke='#fff' pointer-events='none'/>")
    return "".join(out) + "</svg>"


def _cells(counts: Array, classes: Sequence[str], cell: int, left: float, top: float) -> list[str]:
    out = []
    totals = np.maximum(counts.sum(1), 1)
    for i, j in np.argwhere(counts > 0):
        count = int(counts[i, j])
        share = count / totals[i]
        color, strength = (BLUE, share) if i == j else (ORANGE, min(1.0, share * 4))
        opacity = 0.12 + 0.88 * strength
        x, y = left + j * cell, top + i * cell
        out.append(
            f"<rect x='{x:.1f}' y='{y:.1f}' width='{cell}' height='{cell}' fill='{color}' fill-opacity='{opacity:.2f}'>"
            f"<title>{escape(classes[i])} taken for {escape(classes[j])}: {count} ({share:.1%})</title></rect>"
        )
        if len(classes) <= 30:
            text = str(count)
            size = min(11.0, (cell - 3) / (len(text) * 0.62))
            ink = "fill='#fff'" if opacity > 0.55 else "class='ink' fill='#222'"
            out.append(
                f"<text x='{x + cell / 2:.1f}' y='{y + cell / 2 + size * 0.35:.1f}' font-size='{size:.1f}' "
                f"text-anchor='middle' {ink} pointer-events='none'>{text}</text>"
            )
    return out


# --- bitmaps ---------------------------------------------------------------------------------------------------------


def filters(weights: Array) -> Image.Image:
    """The filters of a layer, weights (O, I, kH, kW), as a grid: colours for 3 inputs, else blue (-) to red (+)."""
    count, inputs, height, width = weights.shape
    count = min(count, 128)
    scale = max(1, 44 // max(height, width))
    tiles = []
    for one in weights[:count]:
        peak = float(np.abs(one).max()) or 1.0
        if inputs == 3:
            tile = np.clip(one.transpose(1, 2, 0) / peak * 0.5 + 0.5, 0, 1)
        else:
            value = one.mean(0) / (float(np.abs(one.mean(0)).max()) or 1.0)
            red = np.where(value < 0, 1 + value, 1.0)
            blue = np.where(value > 0, 1 - value, 1.0)
            tile = np.stack([red, np.minimum(red, blue), blue], -1)
        tiles.append(np.kron((tile * 255).astype(np.uint8), np.ones((scale, scale, 1), np.uint8)))
    columns = min(16, max(1, math.ceil(math.sqrt(count * 2))))
    rows = math.ceil(count / columns)
    gap, tile_h, tile_w = 4, height * scale, width * scale
    sheet = Image.new("RGB", (columns * (tile_w + gap) + gap, rows * (tile_h + gap) + gap), "white")
    for i, tile in enumerate(tiles):
        at = (gap + i % columns * (tile_w + gap), gap + i // columns * (tile_h + gap))
        sheet.paste(Image.fromarray(tile), at)
    return sheet


def fitted(image: Array, size: int = 120) -> Image.Image:
    """A picture (H, W, C) uint8 as RGB, enlarged or reduced to fit a square of `size`."""
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image[:, :, :3]).convert("RGB")
    scale = size / max(picture.size)
    method = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), method)


def captioned(picture: Image.Image, lines: Sequence[tuple[str, str]], size: int = 120) -> Image.Image:
    """A picture of at most `size` by `size`, with lines of (text, colour) below it."""
    font = ImageFont.load_default()
    card = Image.new("RGB", (size + 8, size + 10 + 13 * len(lines)), "white")
    card.paste(picture, (4 + (size - picture.width) // 2, 4 + (size - picture.height) // 2))
    draw = ImageDraw.Draw(card)
    for i, (text, color) in enumerate(lines):
        if not isinstance(font, ImageFont.FreeTypeFont):  # Pillow's bitmap fallback knows Latin-1 only
            text = text.encode("latin-1", "replace").decode("latin-1")
        ending = "…" if isinstance(font, ImageFont.FreeTypeFont) else "..."
        kept = text
        while len(kept) > 1 and draw.textlength(text, font=font) > size:
            kept = kept[:-1]
            text = kept + ending
        draw.text((4, size + 7 + 13 * i), text, fill=color, font=font)
    return card


def contact_sheet(cards: Sequence[Image.Image], columns: int = 8) -> Image.Image:
    """Pictures of one size side by side."""
    columns = min(columns, max(len(cards), 1))
    width = max((card.width for card in cards), default=8)
    height = max((card.height for card in cards), default=8)
    sheet = Image.new("RGB", (columns * width, max(1, math.ceil(len(cards) / columns)) * height), "white")
    for i, card in enumerate(cards):
        sheet.paste(card, (i % columns * width, i // columns * height))
    return sheet
