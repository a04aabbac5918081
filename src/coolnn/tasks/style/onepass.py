"""Painting photographs and frames in one pass, with a trained network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ... import machine
from ...data import resize_image
from ...data.errors import DataError
from ...formats import Model
from ...graph import Compiled
from ...graph.planner import largest, mebibytes
from ...nn.parameter import without_numbers
from ...spec import Spec
from ...tensor import from_numpy
from . import pictures
from .network import open_style
from .pictures import Picture

Array = np.ndarray[Any, np.dtype[Any]]

_SHARE = 0.8
#: The network halves sides twice, so they are multiples of this,
_BLOCK = 4
#: and so many pixels along the edges, where it sees mirrored strokes, are painted beyond the picture and cut off.
BORDER = 16
#: Differences of two frames, of 0..255, from which on they count as different.
_MOTION = 12.0


class Painter:
    """Paints pictures in a trained style: `paint(picture)` gives a picture of the same size.

    style: a name of `trained_styles()`, a model file, or the folder of a training. Memory is asked about before a
    picture is painted; programs are kept for the sizes seen last, so that frames of one size take one call each.

    >>> import numpy as np
    >>> from coolnn.formats import Model
    >>> from coolnn.tasks import style
    >>> from coolnn.tasks.style.network import PIXELS
    >>> painter = style.Painter(Model(style.stylizer(8, blocks=1), preprocessing=PIXELS))
    >>> painter(np.zeros((50, 70, 3), np.uint8)).shape
    (50, 70, 3)
    """

    def __init__(self, style: str | os.PathLike[str] | Model) -> None:
        self.model = style if isinstance(style, Model) else open_style(style)
        assert self.model.preprocessing is not None  # open_style checks
        self._pixels = self.model.preprocessing
        self._run = Compiled(self.model.net)
        self._known: set[tuple[int, int]] = set()

    def __call__(self, picture: Picture, size: int | None = None) -> Array:
        """A picture (a file or uint8 (H, W, 3)) painted, uint8; size: longer side of the result.

        Raises ImageError or DataError for what cannot be painted.
        """
        image = pictures.read(picture)
        if size is not None:
            image = pictures.longer_side(image, size)
        h, w = image.shape[:2]
        wide = np.pad(image, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="reflect")
        wide = pictures.whole_blocks(wide, _BLOCK)
        self._check(wide.shape[0], wide.shape[1])
        painted = self._run(from_numpy(self._pixels([wide]))).numpy()
        return np.asarray(self._pixels.denormalize(painted)[0][BORDER : BORDER + h, BORDER : BORDER + w])

    def bytes(self, height: int, width: int) -> int:
        """Memory that a pass of the network takes for a picture of this size, its border included."""
        with without_numbers(self.model.net.parameters()):
            program = self._run.make(Spec((1, 3, height, width)), planned=True)
        return program.bytes + 8 * 3 * 4 * height * width

    def _check(self, height: int, width: int) -> None:
        """Raises DataError for pictures that do not fit into memory."""
        free = machine.available_memory()
        if (height, width) in self._known or free is None:
            return
        limit, need = int(free.bytes * _SHARE), self.bytes(height, width)
        if need > limit:
            longer = max(height, width)
            fits = largest(
                lambda n: self.bytes(*(_whole(s * 64 * n // longer + 2 * BORDER) for s in (height, width))) <= limit,
                longer // 64,
            )
            size = f"{width - 2 * BORDER}×{height - 2 * BORDER}"
            raise DataError(
                f"painting {size} pixels takes {mebibytes(need)} and {mebibytes(limit)} may be taken; "
                f"choose a size of {64 * fits} or less"
            )
        self._known.add((height, width))

    def frames(self, frames: Iterable[Picture], size: int | None = None, steady: float = 0.0) -> Iterator[Array]:
        """Paints the frames of a film one after the other; only one is in memory.

        steady: 0 to below 1, how much of the frame before stays where the film itself stays the same, which keeps
        strokes from flickering; 0.7 is usual. Raises ValueError for another number.
        """
        if not 0 <= steady < 1:
            raise ValueError(f"steady is a number from 0 to below 1, not {steady}")
        before: Array | None = None
        shown: Array | None = None
        for frame in frames:
            image = pictures.read(frame, "the frame")
            if size is not None:
                image = pictures.longer_side(image, size)
            painted = self(image).astype(np.float32)
            if steady and before is not None and shown is not None and before.shape == image.shape:
                keep = steady * _unchanged(before, image)
                painted += keep * (shown - painted)
            before, shown = image, painted
            yield np.rint(painted).astype(np.uint8)


def _whole(side: int) -> int:
    return -(-side // _BLOCK) * _BLOCK


def _unchanged(before: Array, now: Array) -> Array:
    """Where two frames are alike: 1, falling to 0 where they differ, noise aside; (H, W, 1)."""
    h, w = now.shape[:2]
    difference = np.abs(now.astype(np.float32) - before).max(2, keepdims=True)
    small = resize_image(difference, (max(1, h // 4), max(1, w // 4)))
    smooth = resize_image(small, (h, w))
    return np.asarray(np.exp(-np.square(smooth / _MOTION)), np.float32)


def paint_files(
    painter: Painter,
    sources: Iterable[Path],
    targets: Iterable[Path],
    size: int | None = None,
    steady: float | None = None,
) -> Iterator[tuple[Path, Path | None, str]]:
    """Paints files into files one after the other: (source, target, "") for each, or (source, None, what is wrong).

    steady: as for `Painter.frames`, for files that are the frames of a film; one that cannot be read then ends it.
    """
    pairs = list(zip(sources, targets, strict=True))
    if steady is not None:
        painted = painter.frames((source for source, _ in pairs), size, steady)
        for (source, target), image in zip(pairs, painted, strict=True):
            pictures.write(target, image)
            yield source, target, ""
        return
    for source, target in pairs:
        try:
            pictures.write(target, painter(source, size))
        except DataError as error:
            yield source, None, str(error)
            continue
        yield source, target, ""
