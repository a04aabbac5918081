"""Training a network that paints in one pass: a style, a folder of photographs, and VGG as the judge."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__, data, nn, optim
from ...autograd import no_grad
from ...data.errors import DataError, ImageError
from ...files import write_json
from ...formats import FileFormatError
from ...graph import CompiledStep
from ...random import manual_seed
from ...tensor import Tensor, from_numpy
from ...train import checkpoint
from ...train.progress import Progress
from . import features, losses, pictures
from .network import PIXELS, STEP, open_style, save_style, stylizer, trained_styles

Array = np.ndarray[Any, np.dtype[Any]]

MODEL_FILE, CHECKPOINT_FILE, ARGS_FILE = "model.safetensors", "checkpoint.safetensors", "args.json"
#: Where the style and the content are read in training (Johnson et al. 2016).
STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
CONTENT_LAYER = "relu3_3"
#: So many pixels along the edges are painted, but not judged: VGG sees grey beyond a picture's edge, and a network
#: that is judged there learns to paint a frame against it.
MARGIN = 16
#: A run that is killed loses at most this many seconds of work.
_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Recipe:
    """How a style is trained; raises ValueError for values out of range."""

    steps: int = 1200
    batch: int = 2
    size: int = 256  # side of the square crops
    style_size: int = 512  # longer side of the style picture: larger gives larger strokes on the photographs
    lr: float = 2e-3  # falls to nothing along a cosine
    content_weight: float = 1.0
    style_weight: float = 10.0
    smooth_weight: float = 1e-4
    width: int = 32
    blocks: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 1), ("size", 64), ("style_size", 64), ("width", 4), ("blocks", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, not {getattr(self, name)}")
        if self.size % 4:
            raise ValueError(f"size must be a multiple of 4, not {self.size}")
        if not self.lr > 0 or min(self.content_weight, self.style_weight, self.smooth_weight) < 0:
            raise ValueError("lr must be above 0, and weights of losses 0 or more")


@dataclass(frozen=True)
class Run:
    """A training run: its folder, the steps done, and whether it was stopped before its end."""

    folder: Path
    steps: int
    interrupted: bool

    @property
    def model(self) -> Path:
        """The trained network's file."""
        return self.folder / MODEL_FILE


def train(
    style: str | os.PathLike[str],
    photos: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    recipe: Recipe | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    start: str | os.PathLike[str] | None = None,
    samples: Sequence[str | os.PathLike[str]] = (),
    sample_every: int = 500,
    quiet: bool = False,
) -> Run:
    """Trains a network to paint photographs like `style`, a picture, and keeps it in `folder`.

    photos: folders of photographs (a few hundred are enough), searched through and through. A folder in which the same
    training was stopped is gone on with, to the same bits as if it had not been. start: a trained style of the same
    width and depth to begin with, which saves half of the steps. samples: photographs that are painted after every
    `sample_every` steps, for looking at; one of `photos` if none are given. weights: see `features.load`. Raises
    DataError, MissingDataError, FileFormatError, or ValueError for a folder that holds another training.
    """
    job = _Job(Path(folder), str(style), [str(p) for p in photos], recipe or Recipe(), weights, start)
    job.samples = [Path(p) for p in samples] or job.photos[:1]
    job.sample_every = sample_every
    return job.run(quiet)


def resume(folder: str | os.PathLike[str], *, quiet: bool = False) -> Run:
    """Goes on with the training that is described in a run's folder."""
    path = Path(folder) / ARGS_FILE
    if not path.exists():
        raise FileNotFoundError(f"there is no training of a style in {folder}")
    try:
        args = json.loads(path.read_text("utf-8"))
        recipe = Recipe(**args["recipe"])
        job = _Job(Path(folder), args["style"], args["photos"], recipe, args["weights"], args["start"])
        job.samples, job.sample_every = [Path(p) for p in args["samples"]], int(args["sample_every"])
    except (KeyError, TypeError) as error:
        raise FileFormatError(f"{path} is not the description of a style's training ({error})") from error
    return job.run(quiet)


class Judge:
    """Losses of painted pictures: content beside the photographs, style beside the style's Gram matrices."""

    def __init__(self, net: features.Features, style: Array, recipe: Recipe) -> None:
        self.net, self.recipe = net, recipe
        self._shift = from_numpy((127.5 - net.mean).reshape(1, 3, 1, 1).astype(np.float32))
        with no_grad():
            found = net(from_numpy(net.prepare(style)))
            self._targets = {layer: losses.gram(found[layer]).numpy() for layer in STYLE_LAYERS}

    def __call__(self, painted: Tensor, photos: Tensor) -> Tensor:
        """The sum of the weighted losses; both pictures as the network takes and gives them."""
        inner = slice(MARGIN, -MARGIN)
        ours, theirs = (x[:, :, inner, inner] * STEP + self._shift for x in (painted, photos))
        wanted = self.net(theirs)[CONTENT_LAYER]
        terms = [losses.roughness(ours) * self.recipe.smooth_weight]
        for layer, activation in self.net.walk(ours):
            if layer == CONTENT_LAYER:
                content = losses.squared_distance(activation, wanted) / (wanted.square().sum() + 1e-6)
                terms.append(content * self.recipe.content_weight)
            if layer in STYLE_LAYERS:
                style = losses.style_distance(losses.gram(activation), self._targets[layer])
                terms.append(style * (self.recipe.style_weight / len(STYLE_LAYERS)))
        return losses.total(terms)


class Photos:
    """Random square crops of photographs: picture number i of a training depends on (seed, i) alone."""

    def __init__(self, files: Sequence[Path], size: int, seed: int) -> None:
        self.files, self.size, self.seed = files, size, seed
        self._order: tuple[int, Array] = (-1, np.empty(0, np.int64))

    def batch(self, step: int, count: int) -> Array:
        """The pictures of a step, as the network takes them, float32 (N, 3, size, size)."""
        return PIXELS.normalize(np.stack([self._crop(step * count + i) for i in range(count)]))

    def _crop(self, number: int) -> Array:
        for attempt in range(20):  # files that cannot be read are passed over
            place = number + attempt * 7919
            rng = np.random.default_rng((self.seed, number, attempt))
            try:
                image = data.read_image(self._file(place), 3, min_side=self.size)
            except (ImageError, OSError):
                continue
            return self._cut(image, rng)
        raise DataError(f"of twenty photographs none could be read, the last was {self._file(place)}")

    def _file(self, number: int) -> Path:
        epoch, place = divmod(number, len(self.files))
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self.seed, epoch, 0, 1)).permutation(len(self.files))
        return self.files[int(self._order[1][place])]

    def _cut(self, image: Array, rng: np.random.Generator) -> Array:
        h, w = image.shape[:2]
        side = min(h, w) * rng.uniform(0.6, 1.0)
        top, left = rng.uniform(0, h - side), rng.uniform(0, w - side)
        cut = data.resize_image(image, (self.size, self.size), (left, top, left + side, top + side))
        return cut[:, ::-1] if rng.random() < 0.5 else cut


class _Job:
    """A training with all that it needs."""

    samples: Sequence[Path]
    sample_every: int

    def __init__(
        self,
        folder: Path,
        style: str,
        photos: Sequence[str],
        recipe: Recipe,
        weights: str | os.PathLike[str] | None,
        start: str | os.PathLike[str] | None = None,
    ) -> None:
        self.folder, self.style, self.recipe = folder, style, recipe
        self.places, self.weights = photos, None if weights is None else str(weights)
        self.photos = find_photos(photos)
        picture = pictures.read(style)
        net = features.load([*STYLE_LAYERS, CONTENT_LAYER], weights=weights)
        self.judge = Judge(net, pictures.longer_side(picture, recipe.style_size), recipe)
        self.source = Photos(self.photos, recipe.size, recipe.seed)
        manual_seed(recipe.seed)
        self.net = stylizer(recipe.width, recipe.blocks)
        self.start = start
        if start is not None:
            self._begin_with(open_style(start).net)
        self.optimizer = optim.Adam(self.net.parameters(), lr=recipe.lr)
        self.step = CompiledStep(self.net, self.judge, self.optimizer)
        self.done, self.loss = 0, float("nan")

    def _begin_with(self, net: nn.Module) -> None:
        """Takes over the weights of a trained style."""
        try:
            self.net.load_state_dict(net.state_dict())
        except ValueError as error:
            raise ValueError(
                f"{self.start} has not the width {self.recipe.width} and {self.recipe.blocks} blocks: {error}"
            ) from error

    def _start_name(self) -> str | None:
        """The style that this one began with, as it is found again."""
        if self.start is None or os.fspath(self.start) in trained_styles():
            return None if self.start is None else os.fspath(self.start)
        return str(Path(self.start).resolve())

    def describe(self) -> dict[str, Any]:
        """All that defines the training, as it is kept in args.json."""
        return {
            "style": str(Path(self.style).resolve()),
            "photos": [str(Path(place).resolve()) for place in self.places],
            "recipe": dataclasses.asdict(self.recipe),
            "weights": self.weights and str(Path(self.weights).resolve()),
            "start": self._start_name(),
            "samples": [str(Path(path).resolve()) for path in self.samples],
            "sample_every": self.sample_every,
            "coolnn": __version__,
        }

    def run(self, quiet: bool) -> Run:
        """Trains (on) until the end or until Ctrl-C."""
        self._open()
        recipe = self.recipe
        bar = Progress(recipe.steps, "painting", "img", quiet=quiet, done=self.done)
        saved = time.monotonic()
        with _stop_signal() as stopped:
            while self.done < recipe.steps and not stopped():
                self._one()
                bar.update(1, recipe.batch, f"loss {self.loss:.3f}")
                if self.done % self.sample_every == 0 or self.done == recipe.steps:
                    self._sample()
                if time.monotonic() - saved > _CHECKPOINT_SECONDS:
                    self._save()
                    saved = time.monotonic()
            self._save()
        interrupted = self.done < recipe.steps
        bar.finish(
            f"{'stopped at' if interrupted else 'done'}: step {self.done} of {recipe.steps}, loss {self.loss:.3f}"
        )
        return Run(self.folder, self.done, interrupted)

    def _one(self) -> None:
        """One step of the training."""
        recipe = self.recipe
        share = self.done / recipe.steps
        warm = min(1.0, (self.done + 1) / 50)
        self.optimizer.param_groups[0]["lr"] = recipe.lr * warm * 0.5 * (1 + np.cos(np.pi * share))
        x = from_numpy(self.source.batch(self.done, recipe.batch))
        loss = float(self.step(x, x))
        if not np.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} after {self.done} steps; train with a smaller lr")
        # A running mean, the same after a training was resumed.
        self.loss = loss if np.isnan(self.loss) else 0.98 * self.loss + 0.02 * loss
        self.done += 1

    def _open(self) -> None:
        """Begins a folder, or takes over what it holds."""
        described = self.describe()
        path = self.folder / CHECKPOINT_FILE
        if path.exists():
            state = checkpoint.load(path)
            if any(state.get(name) != described[name] for name in ("recipe", "style", "start")):
                raise ValueError(
                    f"{self.folder} holds the training of another style or with other settings; name another folder"
                )
            self.net.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.done, self.loss = int(state["done"]), float(state["loss"])
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / ARGS_FILE, described)

    def _save(self) -> None:
        """Writes the checkpoint and the network as it is now."""
        described = self.describe()
        state = {
            "net": dict(self.net.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "done": self.done,
            "loss": self.loss,
            **{name: described[name] for name in ("recipe", "style", "start")},
        }
        checkpoint.save(self.folder / CHECKPOINT_FILE, state)
        save_style(self.net, self.folder / MODEL_FILE, {"steps": self.done, "loss": self.loss})

    def _sample(self) -> None:
        """Paints the samples with the network as it is now."""
        for number, path in enumerate(self.samples):
            image = pictures.whole_blocks(pictures.longer_side(pictures.read(path), 512), 4)
            with no_grad():
                painted = PIXELS.denormalize(self.net(from_numpy(PIXELS([image]))).numpy())[0]
            pictures.write(self.folder / "samples" / f"{number}_{self.done:06d}.jpg", painted)


def find_photos(places: Sequence[str]) -> list[Path]:
    """All pictures in folders; raises DataError if there are none."""
    found: list[Path] = []
    for place in places:
        if not Path(place).is_dir():
            raise DataError(f"there is no folder {place}; --photos takes folders of photographs")
        found += [Path(place) / name for name in data.picture_files(Path(place))]
    if not found:
        raise DataError(f"there are no pictures in {', '.join(places)}")
    return found


@contextmanager
def _stop_signal() -> Iterator[Callable[[], bool]]:
    """Ctrl-C asks to stop after the present step; a second one stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
