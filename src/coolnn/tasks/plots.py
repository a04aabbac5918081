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


def line_chart(
    title: str, x: Sequence[float], series: Mapping[str, Sequence[float]], percent: bool = False, x_label: str = "epoch"
) -> str:
    """An SVG chart of one or more lines over the same x; axes and ticks are chosen from the values."""
    width, height, left, right, top, bottom = 460, 280, 58, 14, 34, 42
    values = [v for line in series.values() for v in line if math.isfinite(v)] or [0.0]
    low, high = min(values), max(values)
    if not percent:
        low = min(low, 0.0) if low < high * 0.5 else low
    pad = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    low, high = low - (pad if percent or low > 0 else 0), high + pad
    if percent:
        low, high = max(low, 0.0), min(high, 1.0)
    x_low, x_high = min(x), max(x)
    if x_low == x_high:
        x_low, x_high = x_low - 0.5, x_high + 0.5

    def px(value: float) -> float:
        return left + (value - x_low) / (x_high - x_low) * (width - left - right)

    def py(value: float) -> float:
        return top + (high - value) / (high - low) * (height - top - bottom)

    out = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' {_FONT} font-size='11'>",
        f"<title>{escape(title)}</title><rect width='{width}' height='{height}' fill='#fff' rx='6'/>",
        f"<text x='{left}' y='20' font-size='13' font-weight='600' fill='#222'>{escape(title)}</text>",
    ]
    ticks = _ticks(low, high)
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9)) if len(ticks) > 1 else 2
    for tick in ticks:
        text = f"{tick * 100:.{max(decimals - 2, 0)}f} %" if percent else f"{tick:.{decimals}f}"
        out.append(
            f"<line x1='{left}' x2='{width - right}' y1='{py(tick):.1f}' y2='{py(tick):.1f}' stroke='#e6e6ea'/>"
            f"<text x='{left - 6}' y='{py(tick) + 4:.1f}' text-anchor='end' fill='#555'>{text}</text>"
        )
    for tick in sorted({round(t) for t in _ticks(x_low, x_high, 6) if x_low <= round(t) <= x_high}):
        out.append(f"<text x='{px(tick):.1f}' y='{height - 24}' text-anchor='middle' fill='#555'>{tick}</text>")
    out.append(
        f"<text x='{(left + width - right) / 2}' y='{height - 8}' text-anchor='middle' fill='#555'>"
        f"{escape(x_label)}</text>"
    )
    legend = width - right
    for color, (name, line) in reversed(list(zip((BLUE, ORANGE), series.items(), strict=False))):
        points = [(px(a), py(b)) for a, b in zip(x, line, strict=True) if math.isfinite(b)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        out.append(f"<polyline points='{path}' fill='none' stroke='{color}' stroke-width='2' stroke-linejoin='round'/>")
        for (a, b), value in zip(points, [v for v in line if math.isfinite(v)], strict=True):
            text = f"{value:.2%}" if percent else f"{value:.4f}"
            out.append(
                f"<circle cx='{a:.1f}' cy='{b:.1f}' r='2.4' fill='{color}'>"
                f"<title>{escape(name)}: {text}</title></circle>"
            )
        out.append(
            f"<text x='{legend}' y='20' text-anchor='end' fill='{color}' font-weight='600'>{escape(name)}</text>"
        )
        legend -= 8 * len(name) + 8
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
    charts["lr"] = line_chart("Learning rate at the end of the epoch", x, {"lr": [float(row["lr"]) for row in history]})
    return charts


# --- confusion matrix ------------------------------------------------------------------------------------------------


def confusion_matrix(counts: Array, classes: Sequence[str]) -> str:
    """An SVG of counts[true, predicted]: right answers blue, wrong ones orange, darker for a larger share."""
    n = len(classes)
    cell = 44 if n <= 12 else max(6, 560 // n)
    text_size = 11 if n <= 12 else min(10, cell * 0.6)
    shown = [name if len(name) <= 18 else name[:17] + "…" for name in classes]
    label = 20 + (max(len(name) for name in shown) * 6.4 if n <= 60 else 0)
    size = n * cell
    width, height = label + size + 12, label + size + 34
    out = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height:.0f}' role='img' {_FONT} "
        f"font-size='{text_size}' style='max-width:{max(width, 260):.0f}px'>",
        f"<title>Confusion matrix</title><rect width='{width:.0f}' height='{height:.0f}' fill='#fff' rx='6'/>",
        f"<text x='{label + size / 2}' y='14' text-anchor='middle' fill='#555'>predicted</text>",
        f"<text transform='translate(12,{label + 20 + size / 2}) rotate(-90)' text-anchor='middle' fill='#555'>"
        "true</text>",
    ]
    totals = np.maximum(counts.sum(1), 1)
    top = label + 20
    for i in range(n):
        if n <= 60:
            middle = top + (i + 0.5) * cell + text_size * 0.35
            out.append(
                f"<text x='{label - 6}' y='{middle:.1f}' text-anchor='end' fill='#222'>{escape(shown[i])}</text>"
            )
            x = label + (i + 0.5) * cell
            out.append(
                f"<text transform='translate({x + text_size * 0.35:.1f},{top - 6}) rotate(-90)' fill='#222'>"
                f"{escape(shown[i])}</text>"
            )
        for j in range(n):
            count = int(counts[i, j])
            share = count / totals[i]
            color, strength = (BLUE, share) if i == j else (ORANGE, min(1.0, share * 4))
            opacity = 0.0 if count == 0 else 0.12 + 0.88 * strength
            out.append(
                f"<rect x='{label + j * cell:.1f}' y='{top + i * cell:.1f}' width='{cell - 1}' height='{cell - 1}' "
                f"rx='2' fill='{color if count else '#f4f4f7'}' fill-opacity='{opacity if count else 1:.2f}'>"
                f"<title>{escape(classes[i])} taken for {escape(classes[j])}: {count} ({share:.1%})</title></rect>"
            )
            if n <= 30 and count:
                ink = "#fff" if opacity > 0.55 else "#222"
                out.append(
                    f"<text x='{label + (j + 0.5) * cell:.1f}' y='{top + (i + 0.5) * cell + text_size * 0.35:.1f}' "
                    f"text-anchor='middle' fill='{ink}' pointer-events='none'>{count}</text>"
                )
    return "".join(out) + "</svg>"


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


def captioned(image: Array, lines: Sequence[tuple[str, str]], size: int = 120) -> Image.Image:
    """A picture (H, W, C) uint8, enlarged or reduced to fit `size`, with lines of (text, colour) below it."""
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image[:, :, :3]).convert("RGB")
    scale = size / max(picture.size)
    method = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), method)
    font = ImageFont.load_default()
    card = Image.new("RGB", (size + 8, size + 10 + 13 * len(lines)), "white")
    card.paste(picture, (4 + (size - picture.width) // 2, 4 + (size - picture.height) // 2))
    draw = ImageDraw.Draw(card)
    for i, (text, color) in enumerate(lines):
        while len(text) > 1 and draw.textlength(text, font=font) > size:
            text = text[:-2] + "…" if _can_draw(font, "…") else text[:-1]
        draw.text((4, size + 7 + 13 * i), text, fill=color, font=font)
    return card


def _can_draw(font: Any, text: str) -> bool:
    try:
        font.getmask(text)
    except UnicodeEncodeError:  # Pillow's bitmap fallback knows Latin-1 only
        return False
    return isinstance(font, ImageFont.FreeTypeFont)


def contact_sheet(cards: Sequence[Image.Image], columns: int = 8) -> Image.Image:
    """Pictures of one size side by side."""
    columns = min(columns, max(len(cards), 1))
    width = max((card.width for card in cards), default=8)
    height = max((card.height for card in cards), default=8)
    sheet = Image.new("RGB", (columns * width, max(1, math.ceil(len(cards) / columns)) * height), "white")
    for i, card in enumerate(cards):
        sheet.paste(card, (i % columns * width, i // columns * height))
    return sheet
