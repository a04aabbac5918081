"""Pictures for tests: folders of shapes that a small network can tell apart, in all the kinds that people have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def draw(kind: str, rng: np.random.Generator) -> Image.Image:
    """A bright circle or square, or stripes, on a dark ground; sizes and colours vary."""
    width, height = (int(v) for v in rng.integers(40, 90, 2))
    image = Image.new("RGB", (width, height), tuple(int(v) for v in rng.integers(0, 90, 3)))
    pen = ImageDraw.Draw(image)
    color = tuple(int(v) for v in rng.integers(150, 255, 3))
    side = min(width, height) * 0.5
    box = (width / 4, height / 4, width / 4 + side, height / 4 + side)
    if kind == "circle":
        pen.ellipse(box, fill=color)
    elif kind == "square":
        pen.rectangle(box, fill=color)
    else:
        for x in range(0, width, 10):
            pen.rectangle((x, 0, x + 4, height), fill=color)
    return image


def shapes(
    root: Path, count: int = 12, seed: int = 0, kinds: tuple[str, ...] = ("circle", "square", "stripes")
) -> Path:
    """A folder for each kind with `count` pictures of several formats; returns the root."""
    rng = np.random.default_rng(seed)
    for kind in kinds:
        (root / kind).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            image = draw(kind, rng)
            if i % 5 == 1:
                image = image.convert("L")
            elif i % 5 == 2:
                image = image.convert("P")
            elif i % 5 == 3:
                image.putalpha(200)
            image.save(root / kind / f"{i}.{'jpg' if i % 5 == 0 else 'png'}")
    return root
