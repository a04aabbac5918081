"""Style transfer by optimisation of the pixels (Gatys et al. 2016), coarse to fine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ... import _core, data, machine, optim
from ...data.errors import DataError
from ...formats import FileFormatError
from ...graph import Compiled
from ...graph.planner import mebibytes
from ...tensor import from_numpy
from ...train import checkpoint
from ...train.progress import Progress
from . import colour, features, pictures
from .losses import CONTENT_LAYERS, STYLE_LAYERS
from .objective import Activations, Goal, Losses, Objective, Region, Whole, as_input, roots
from .pictures import Picture
from .tiles import BLOCK, Tiled, reach

Array = np.ndarray[Any, np.dtype[Any]]

#: The share of the free memory that a run may plan with.
_SHARE = 0.8
#: The smallest picture that coarse to fine begins with, and the largest that is optimised at once if memory allows.
_COARSEST = 192
_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Settings:
    """How a picture is made; raises ValueError for values out of range.

    size: longer side of the result in pixels, or (height, width). iterations: at the coarsest of `levels`, each of
    which has twice the size of the one before; the next has half as many, and so on. init: "content", "noise", or a
    picture's file. colours: whose the result has, see `colour`. style_scale: size of the style pictures as a share of
    the result's; smaller gives finer strokes. Weights are of relative losses: a style loss of 1 is a picture without
    any correlation of channels, a content loss of 1 one without any content.
    """

    size: int | tuple[int, int] = 512
    iterations: int = 300
    levels: int | None = None  # None: as many as begin with 192 pixels or more
    optimizer: str = "lbfgs"
    lr: float = 5.0  # of Adam, in steps of 0..255
    content_weight: float = 0.05
    style_weight: float = 1.0
    smooth_weight: float = 5e-6
    style_scale: float = 1.0
    init: str = "content"
    colours: colour.Colours = "style"
    pooling: features.Pooling = "max"
    content_layers: tuple[str, ...] = CONTENT_LAYERS
    style_layers: tuple[str, ...] = STYLE_LAYERS
    history: int = 10  # of L-BFGS
    seed: int = 0
    tile: int | None = None  # window's side; None: only if memory asks for it

    def __post_init__(self) -> None:
        sides = self.size if isinstance(self.size, tuple) else (self.size,)
        if len(sides) > 2 or min(sides) < pictures.SMALLEST or max(sides) > pictures.LARGEST:
            raise ValueError(f"size is from {pictures.SMALLEST} to {pictures.LARGEST} pixels, not {self.size}")
        for name, known in (
            ("optimizer", ("lbfgs", "adam")),
            ("colours", ("style", "luminance", "histogram")),
            ("pooling", ("max", "avg")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is one of {', '.join(known)}, not {getattr(self, name)!r}")
        if self.iterations < 1 or (self.levels is not None and self.levels < 1) or self.history < 1:
            raise ValueError("iterations, levels and history must be 1 or more")
        if not (self.lr > 0 and 0.05 <= self.style_scale <= 20):
            raise ValueError(
                f"lr must be above 0 and style_scale from 0.05 to 20, not {self.lr} and {self.style_scale}"
            )
        for name in ("content_weight", "style_weight", "smooth_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        if not self.content_layers and not self.style_layers:
            raise ValueError("name a layer of the content or of the style")


@dataclass(frozen=True)
class Result:
    """What came of it: the picture (H, W, 3), the losses at the end of each level, and the time."""

    image: Array
    losses: Losses
    history: tuple[Losses, ...]
    seconds: float
    interrupted: bool = False


@dataclass(frozen=True)
class Need:
    """What a picture of (height, width) needs: bytes beside those taken now, in windows of `tile` pixels or whole."""

    size: tuple[int, int]
    bytes: int
    tile: int | None
    available: machine.Available | None

    def __str__(self) -> str:
        h, w = self.size
        how = "" if self.tile is None else f", in tiles of {self.tile} pixels"
        free = "" if self.available is None else f" of {mebibytes(self.available.bytes)} free"
        return f"{w}×{h} pixels need {mebibytes(self.bytes)}{free}{how}"


class Minimiser(Protocol):
    """Gives the next place of a vector, and can be stopped and resumed."""

    def step(self, x: Array, value: float, gradient: Array) -> Array: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class _Adam:
    """Adam on a picture."""

    def __init__(self, lr: float, shape: tuple[int, ...]) -> None:
        self._x = from_numpy(np.zeros(shape, np.float32))
        self._adam = optim.Adam([self._x], lr=lr)

    def step(self, x: Array, value: float, gradient: Array) -> Array:
        self._x.copy_(x)
        self._x.grad = from_numpy(gradient)
        self._adam.step()
        return self._x.numpy().copy()

    def state_dict(self) -> dict[str, Any]:
        return self._adam.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._adam.load_state_dict(state)


Preview = Callable[[Array, int], None]


class Transfer:
    """A style transfer with all that it needs, ready to `run`.

    content: a picture (a file or uint8 (H, W, 3)); styles: one or several, with `shares` of how much each counts;
    masks: for each style a picture that is white where the style goes in the content, style_masks: one that is white
    where it is taken from in the style (None: everywhere). weights, network: see `features.load`. Raises ImageError or
    DataError for pictures that cannot be used, MissingDataError that says how to get weights, ValueError.
    """

    def __init__(
        self,
        content: Picture,
        styles: Sequence[Picture],
        settings: Settings | None = None,
        *,
        shares: Sequence[float] | None = None,
        masks: Sequence[Picture | None] | None = None,
        style_masks: Sequence[Picture | None] | None = None,
        network: str | None = None,
        weights: str | os.PathLike[str] | None = None,
        preprocessing: data.Described | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.content = pictures.read(content, "the content")
        self.styles = [pictures.read(style, "the style") for style in styles]
        if not self.styles:
            raise DataError("name a style picture, or several")
        count = len(self.styles)
        self.shares = _as_many("shares", shares, count, 1.0)
        if min(self.shares) < 0 or sum(self.shares) <= 0:
            raise ValueError(f"shares of styles must be 0 or more, and one above 0, not {self.shares}")
        self.masks = _as_many("masks", masks, count, None)
        self.style_masks = _as_many("style masks", style_masks, count, None)
        size = self.settings.size
        self.size = size if isinstance(size, tuple) else pictures.scaled(self.content.shape[:2], size)
        # Read once, so that a mask that cannot be read is known before the work begins.
        self.masks = [None if m is None else pictures.read_mask(m, self.size) for m in self.masks]
        self.style_masks = [
            None if m is None else pictures.read_mask(m, s.shape[:2])
            for m, s in zip(self.style_masks, self.styles, strict=True)
        ]
        self.start = None
        if self.settings.init not in ("content", "noise"):
            self.start = pictures.read(self.settings.init, "the picture to begin with")
        layers = (*self.settings.content_layers, *self.settings.style_layers)
        self.net = features.load(layers, network, weights, self.settings.pooling, preprocessing)

    # --- what will be done -------------------------------------------------------------------------------------------

    def level_sizes(self) -> list[tuple[int, int]]:
        """(height, width) of the pictures, from coarse to fine."""
        sizes = [self.size]
        while max(sizes[0]) >= 2 * _COARSEST if self.settings.levels is None else len(sizes) < self.settings.levels:
            h, w = sizes[0]
            if min(h, w) < 2 * pictures.SMALLEST:
                break
            sizes.insert(0, (round(h / 2), round(w / 2)))
        return sizes

    def iterations(self) -> list[int]:
        """Iterations of each level."""
        least = min(self.settings.iterations, 30)
        return [max(self.settings.iterations >> level, least) for level in range(len(self.level_sizes()))]

    def need(self) -> Need:
        """What the largest level needs; raises DataError if not even tiles fit."""
        free = machine.available_memory()
        limit = None if free is None else int(free.bytes * _SHARE)
        goal, content = self._planned_goal(), np.empty((*self.size, 0))
        if self.settings.tile is None:
            whole = self._bytes(Whole(goal, content, planned=True), 0)
            if limit is None or whole <= limit:
                return Need(self.size, whole, None, free)
        padded = np.empty((*(-(-n // BLOCK) * BLOCK for n in self.size), 0))
        least = 4 * reach(self.net)
        top = self.settings.tile or min(2048, max(padded.shape[:2]))
        sides = (
            [self.settings.tile]
            if self.settings.tile
            else [s for s in (2048, 1536, 1024, 768, 512, least) if least <= s <= top]
        )
        smallest = 0
        for side in sides:
            side = max(-(-side // BLOCK) * BLOCK, 3 * reach(self.net))
            tiled = Tiled(goal, padded, side, planned=True)
            smallest = self._bytes(tiled, tiled.kept_bytes)
            if limit is None or smallest <= limit or self.settings.tile:
                return Need(self.size, smallest, side, free)
        raise DataError(
            f"a picture of {self.size[1]}×{self.size[0]} pixels needs {mebibytes(smallest)} even in tiles, and "
            f"{mebibytes(limit or 0)} may be taken; choose a smaller size, a shorter history or the optimizer adam"
        )

    def _bytes(self, objective: Objective, kept: int) -> int:
        """Memory of a run of an objective: the engine's, weights, and vectors of the optimizer."""
        programs = objective.programs()
        own = {id(parameter) for parameter in self.net.parameters()}
        outside = sum(v.spec.nbytes for p in programs for v in p.outside if v.tensor is None or id(v.tensor) not in own)
        picture = 12 * self.size[0] * self.size[1]
        vectors = 2 * self.settings.history + 6 if self.settings.optimizer == "lbfgs" else 7
        return max(program.bytes for program in programs) + outside + kept + vectors * picture

    def _planned_goal(self) -> Goal:
        """The goal, with Gram matrices and masks that stand for the true ones."""
        channels = {
            layer: self.net.convolutions["conv" + layer[4:]].out_channels for layer in self.settings.style_layers
        }
        grams = {layer: np.ones((1, n, n), np.float32) for layer, n in channels.items()}
        regions = [Region(grams, mask, 1.0) for mask, _ in self._groups(self.size)]
        return self._goal(regions)

    def _goal(self, regions: Sequence[Region]) -> Goal:
        chosen = self.settings
        content = dict.fromkeys(chosen.content_layers, chosen.content_weight / max(len(chosen.content_layers), 1))
        style = dict.fromkeys(chosen.style_layers, chosen.style_weight / max(len(chosen.style_layers), 1))
        return Goal(self.net, regions, content if chosen.content_weight else {}, style, chosen.smooth_weight)

    def _groups(self, size: tuple[int, int]) -> list[tuple[Array | None, list[int]]]:
        """Masks at a size, each with the numbers of its styles; styles without a mask are one group."""
        together = [i for i, mask in enumerate(self.masks) if mask is None]
        groups: list[tuple[Array | None, list[int]]] = [(None, together)] if together else []
        for i, mask in enumerate(self.masks):
            if mask is not None:
                groups.append((pictures.read_mask(np.rint(mask * 255).astype(np.uint8), size), [i]))
        return groups

    # --- the work ----------------------------------------------------------------------------------------------------

    def run(
        self,
        *,
        preview: Preview | None = None,
        preview_every: int = 0,
        state: str | os.PathLike[str] | None = None,
        quiet: bool = True,
    ) -> Result:
        """Makes the picture. preview: called with a picture uint8 (H, W, 3) and the iteration's number.

        state: a file in which the work is kept every minute and when it is stopped (Ctrl-C); where it exists, the work
        goes on from there to the same bits. It is removed at the end. Raises FileFormatError for the state of another
        work, FloatingPointError where the losses leave the numbers.
        """
        return _Run(self, preview, preview_every, None if state is None else Path(state), quiet).run()

    def fingerprint(self) -> str:
        """What tells this work from others: everything that the result depends on."""
        digest = hashlib.sha256(json.dumps(dataclasses.asdict(self.settings), sort_keys=True).encode())
        digest.update(json.dumps([self.net.network, self.shares, self.size]).encode())
        for array in (self.content, *self.styles, *self.masks, *self.style_masks, self.start, self.net.mean):
            digest.update(b"-" if array is None else repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        digest.update(next(iter(self.net.parameters())).numpy().tobytes())
        return digest.hexdigest()

    def content_at(self, size: tuple[int, int]) -> Array:
        """The content at a size, without colour where only luminance is painted; (H, W, 3), 0..255."""
        image = pictures.resize(self.content, size)
        return colour.grey(image) if self.settings.colours == "luminance" else image

    def first(self, size: tuple[int, int]) -> Array:
        """The picture to begin with, prepared."""
        if self.settings.init == "noise":
            noise = np.random.default_rng(self.settings.seed).standard_normal((*size, 3), np.float32)
            return noise * np.float32(20)
        image = self.content_at(size)
        if self.start is not None:
            image = pictures.resize(self.start, size)
        return image.astype(np.float32) - self.net.mean

    def regions(self, size: tuple[int, int]) -> list[Region]:
        """The styles' Gram matrices for a result of this size, with the masks that say where they go."""
        grams = [self._grams(i, max(size)) for i in range(len(self.styles))]
        found = []
        for mask, members in self._groups(size):
            share = sum(self.shares[i] for i in members)
            if share > 0:
                mixed: dict[str, Array] = {}
                for layer in self.settings.style_layers:
                    parts = [grams[i][layer] * np.float32(self.shares[i] / share) for i in members]
                    mixed[layer] = np.sum(parts, axis=0)
                found.append(Region(mixed, mask, 1.0 if mask is None else share))
        return found

    def _grams(self, number: int, longer: int) -> dict[str, Array]:
        """The Gram matrices of a style picture at the size that goes with a result's."""
        style, chosen = self.styles[number], self.settings
        size = pictures.scaled(style.shape[:2], round(longer * chosen.style_scale))
        image = pictures.resize(style, size)
        if chosen.colours == "luminance":
            image = colour.match_luminance(image, self.content)
        elif chosen.colours == "histogram":
            image = colour.match_histogram(image, self.content)
        layers = chosen.style_layers
        if not layers:
            return {}
        mask = self.style_masks[number]
        whole = Goal(
            self.net,
            [Region({}, None if mask is None else pictures.read_mask(np.rint(mask * 255).astype(np.uint8), size))],
            {},
            dict.fromkeys(layers, 1.0),
            0.0,
        )
        found = gram_sums(whole, image.astype(np.float32) - self.net.mean)
        _core.trim_memory()  # what that took, weights packed for it too, makes room for the optimisation
        return found


def gram_sums(goal: Goal, picture: Array) -> dict[str, Array]:
    """Gram matrices (1, C, C) of a picture of any size, in bounded memory."""
    h, w = picture.shape[:2]
    if max(h, w) <= 1024:
        mask = goal.regions[0].mask
        masks = [] if mask is None else [from_numpy(roots(mask, goal.net.stride(layer))) for layer in goal.style]
        found = Compiled(Activations(goal.net, (), list(goal.style)))(as_input(picture), *masks)
        return {layer: matrix.numpy() for layer, matrix in zip(goal.style, found, strict=True)}
    h, w = h // BLOCK * BLOCK, w // BLOCK * BLOCK
    region = goal.regions[0]
    cut = dataclasses.replace(goal, regions=[Region({}, None if region.mask is None else region.mask[:h, :w])])
    sums = Tiled(cut, picture[:h, :w], 1024).grams(picture[:h, :w])
    return {layer: matrix.astype(np.float32) for layer, matrix in zip(goal.style, sums, strict=True)}


def _as_many(what: str, given: Sequence[Any] | None, count: int, default: Any) -> list[Any]:
    values = [default] * count if given is None else list(given)
    if len(values) != count:
        raise ValueError(f"there are {len(values)} {what} for {count} styles; give one for each")
    return values


class _Run:
    """One run of a transfer, through its levels."""

    def __init__(self, job: Transfer, preview: Preview | None, every: int, state: Path | None, quiet: bool) -> None:
        self.job, self.preview, self.every, self.path, self.quiet = job, preview, every, state, quiet
        self.sizes, self.iterations = job.level_sizes(), job.iterations()
        self.level, self.done = 0, 0  # iterations of this level
        self.picture: Array | None = None
        self.history: list[Losses] = []
        self.minimiser_state: dict[str, Any] | None = None
        self.saved = time.monotonic()

    def run(self) -> Result:
        """All levels, from where an earlier run stopped."""
        started = time.monotonic()
        self._load()
        need = self.job.need()
        if not self.quiet:
            print(f"{need}; {self._plan()}", file=sys.stderr, flush=True)
        work = [n * h * w for n, (h, w) in zip(self.iterations, self.sizes, strict=True)]
        behind = sum(work[: self.level]) + self.done * self.sizes[self.level][0] * self.sizes[self.level][1]
        bar = Progress(sum(work), "painting", "it", quiet=self.quiet, done=behind)
        losses = Losses(np.nan, np.nan, np.nan, np.nan)
        interrupted = False
        try:
            while self.level < len(self.sizes):
                losses = self._one_level(bar, need)
                self.level, self.done, self.minimiser_state = self.level + 1, 0, None
                self.history.append(losses)
        except KeyboardInterrupt:
            interrupted = True
            if self.path is not None and self.picture is not None:
                self._save()
        if interrupted and self.path is None:
            bar.abandon()
            raise KeyboardInterrupt
        bar.finish(_text(losses) if not interrupted else "stopped")
        if not interrupted and self.path is not None:
            self.path.unlink(missing_ok=True)
        assert self.picture is not None
        return Result(
            self._finished(self.picture, self.job.size),
            losses,
            tuple(self.history),
            time.monotonic() - started,
            interrupted,
        )

    def _plan(self) -> str:
        parts = [f"{n} iterations at {w}×{h}" for n, (h, w) in zip(self.iterations, self.sizes, strict=True)]
        return ", ".join(parts)

    def _one_level(self, bar: Progress, need: Need) -> Losses:
        job, size = self.job, self.sizes[self.level]
        tile = need.tile if need.tile is not None and max(size) > need.tile else None
        inner = size if tile is None else (-(-size[0] // BLOCK) * BLOCK, -(-size[1] // BLOCK) * BLOCK)
        content = _padded(job.content_at(size).astype(np.float32) - job.net.mean, inner)
        regions = [
            region if region.mask is None else dataclasses.replace(region, mask=_padded(region.mask, inner))
            for region in job.regions(size)
        ]
        goal = job._goal(regions)
        objective: Objective = Whole(goal, content) if tile is None else Tiled(goal, content, tile)
        minimiser = self._minimiser(content.shape)
        if self.minimiser_state is not None and self.picture is not None:
            minimiser.load_state_dict(self.minimiser_state)
            picture = self.picture
        elif self.picture is None:
            picture = _padded(job.first(size), inner)
        else:
            picture = _padded(pictures.resize(self.picture, size), inner)
        losses = Losses(np.nan, np.nan, np.nan, np.nan)
        for number in range(self.done, self.iterations[self.level]):
            losses, gradient = objective(picture)
            if not np.isfinite(losses.total):
                raise FloatingPointError(f"the loss is {losses.total} after {number} iterations; choose a smaller lr")
            picture = minimiser.step(picture, losses.total, gradient)
            self.picture, self.done, self.minimiser_state = picture, number + 1, minimiser.state_dict()
            bar.update(
                size[0] * size[1], 1, f"{size[1]}×{size[0]} {self.done}/{self.iterations[self.level]} {_text(losses)}"
            )
            self._between(picture)
        if isinstance(minimiser, optim.LBFGS) and minimiser.place is not None:
            picture = minimiser.place.reshape(picture.shape)  # the last step has not been judged
        self.picture = picture[: size[0], : size[1]]
        return losses

    def _minimiser(self, shape: tuple[int, ...]) -> Minimiser:
        if self.job.settings.optimizer == "adam":
            return _Adam(self.job.settings.lr, shape)
        return optim.LBFGS(self.job.settings.history, first_step=5.0)

    def _between(self, picture: Array) -> None:
        """What is done between iterations: previews, and keeping the state."""
        total = sum(self.iterations[: self.level]) + self.done
        if self.preview is not None and self.every and total % self.every == 0:
            self.preview(self._finished(picture, self.sizes[self.level]), total)
        if self.path is not None and time.monotonic() - self.saved > _CHECKPOINT_SECONDS:
            self._save()

    def _finished(self, picture: Array, size: tuple[int, int]) -> Array:
        """A picture of 0..255 in the colours that were asked for."""
        image = np.clip(picture[: size[0], : size[1]] + self.job.net.mean, 0, 255)
        if self.job.settings.colours == "luminance":
            image = colour.with_colours_of(image, pictures.resize(self.job.content, image.shape[:2]))
        return np.rint(image).astype(np.uint8)

    def _save(self) -> None:
        assert self.path is not None
        state = {
            "work": self.job.fingerprint(),
            "level": self.level,
            "done": self.done,
            "picture": self.picture,
            "minimiser": self.minimiser_state,
            "history": [tuple(losses) for losses in self.history],
        }
        checkpoint.save(self.path, state)
        self.saved = time.monotonic()

    def _load(self) -> None:
        if self.path is None or not self.path.exists():
            return
        state = checkpoint.load(self.path)
        if state.get("work") != self.job.fingerprint():
            raise FileFormatError(
                f"{self.path} is the state of another work, of other pictures or settings; remove it to begin anew"
            )
        self.level, self.done, self.picture = state["level"], state["done"], state["picture"]
        self.minimiser_state = state["minimiser"]
        self.history = [Losses(*losses) for losses in state["history"]]


def _padded(image: Array, size: tuple[int, int]) -> Array:
    """A picture or mask mirrored at its right and lower edge up to a size."""
    more = [(0, size[0] - image.shape[0]), (0, size[1] - image.shape[1])] + [(0, 0)] * (image.ndim - 2)
    return np.pad(image, more, mode="symmetric") if any(after for _, after in more) else image


def _text(losses: Losses) -> str:
    return f"content {losses.content:.4f} style {losses.style:.5f} smooth {losses.smooth:.5f}"


def transfer(content: Picture, style: Picture | Sequence[Picture], **options: Any) -> Result:
    """Paints a photograph like a picture, or like several: the short way to `Transfer(...).run()`.

    options: fields of `Settings`, and the arguments of `Transfer` and of `Transfer.run` by their names. The result's
    `image` is uint8 (H, W, 3).
    """
    fields = {field.name for field in dataclasses.fields(Settings)}
    to_run = {name: options.pop(name) for name in ("preview", "preview_every", "state", "quiet") if name in options}
    settings = Settings(**{name: options.pop(name) for name in list(options) if name in fields})
    several = isinstance(style, list | tuple)
    styles: Sequence[Picture] = style if several else [style]  # type: ignore[list-item, assignment]
    return Transfer(content, styles, settings, **options).run(**to_run)
