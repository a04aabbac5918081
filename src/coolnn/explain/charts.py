"""Small line charts as SVG, many beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_BLUE = "#2f6fb7"


def small_charts(
    title: str, x: Sequence[float], series: Sequence[tuple[str, Array]], unit: str = "", columns: int = 4
) -> str:
    """One small chart for each (name, values over x), from 0 up, as an SVG text."""
    width, height, gap, top = 150, 92, 10, 30
    columns = max(1, min(columns, len(series)))
    rows = -(-len(series) // columns)
    whole = (columns * (width + gap) + gap, top + rows * (height + gap))
    out = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {whole[0]} {whole[1]}' width='{whole[0]}' role='img' "
        "font-family='system-ui,sans-serif' font-size='10'>",
        f"<title>{escape(title)}</title><rect class='paper' width='{whole[0]}' height='{whole[1]}' fill='#fff'/>",
        f"<text class='ink' x='{gap}' y='19' font-size='13' font-weight='600' fill='#222'>{escape(title)}</text>",
    ]
    low, high = min(x), max(x)
    for i, (name, values) in enumerate(series):
        left, up = gap + i % columns * (width + gap), top + i // columns * (height + gap)
        peak = float(np.max(values)) if len(values) and np.max(values) > 0 else 1.0
        at = [
            (left + 6 + (a - low) / max(high - low, 1e-12) * (width - 12), up + 62 - max(float(b), 0.0) / peak * 44)
            for a, b in zip(x, values, strict=True)
        ]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in at)
        out.append(
            f"<text class='ink' x='{left + 6}' y='{up + 11}' fill='#222'>{escape(name)}</text>"
            f"<line class='grid' x1='{left + 6}' x2='{left + width - 6}' y1='{up + 62}' y2='{up + 62}' stroke='#ccc'/>"
            f"<polyline points='{line}' fill='none' stroke='{_BLUE}' stroke-width='2' stroke-linejoin='round'/>"
            f"<text class='soft' x='{left + 6}' y='{up + 75}' fill='#555'>{low:g}{unit}</text>"
            f"<text class='soft' x='{left + width - 6}' y='{up + 75}' text-anchor='end' fill='#555'>{high:g}{unit}"
            "</text>"
        )
    return "".join(out) + "</svg>"
