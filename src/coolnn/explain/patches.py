"""What units answer to: for every channel the patches of one's own pictures that excite it most, found in one pass.

Each patch comes with what of it excites the unit, as a deconvnet shows it (Zeiler & Fergus 2014, arXiv:1311.2901).
"""

from __future__ import annotations

import dataclasses
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ops
from ..autograd import grad
from ..data import (
    DataError,
    Dataset,
    Described,
    FolderDataset,
    ImageError,
    Loader,
    MissingDataError,
    Preprocessing,
    Skipped,
    picture_files,
    read_image,
)
from ..data.image import Pixels, check_image
from ..formats import Model
from ..graph import Compiled, compile
from ..nn import Module, evaluating
from ..tensor import Tensor
from . import images
from .images import Array, Picture, Pictures
from .layers import Layer, tapped
from .saliency import backward_rule
from .subject import Subject

#: Where pictures come from: a folder (with all below it), files, or a data set.
Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Dataset
#: Called with how many pictures are done, and of how many.
Progress = Callable[[int, int], None]

_BATCH = 8  # pictures at a time: as fast as larger batches, and half a gigabyte less memory for VGG at 224 pixels
_AT_ONCE = 12  # most pictures that a deconvnet's gradient is taken of at a time
_GREY = 127  # beside a patch at the border of its picture


@dataclass(frozen=True)
class Hit:
    """The strongest answer of a channel in one picture: how strong, in which file, and where in the layer's map."""

    value: float
    picture: int  # its number in the order of the pass
    name: str  # its file
    place: tuple[int, int] | None  # row and column; None where the layer has no places


class TopPatches:
    """The `k` strongest answers of every channel of some layers, and the patches of the pictures that they are to.

    Made by `top_patches`. `skipped` lists the files that could not be read, `seen` counts the others, `seconds` is what
    the pass took.
    """

    def __init__(self, subject: Subject, layers: Sequence[Layer], source: _Numbered, k: int) -> None:
        self.subject, self.layers, self.k = subject, list(layers), k
        self.seen, self.seconds = 0, 0.0
        self._source = source
        self._best = {layer: _Best(layer.shape[0], k) for layer in layers}
        self._fields = {layer: subject.layers.field(layer) for layer in layers}
        self._deconvnets: dict[Layer, Compiled] = {}

    @property
    def skipped(self) -> list[Skipped]:
        """Files that could not be read, by path."""
        return self._source.unreadable

    def hits(self, layer: str | Layer, channel: int) -> list[Hit]:
        """The strongest answers of a channel, at most one a picture, the strongest first; silence (0) is none.

        Raises ValueError for a layer that was not looked at, and for a channel that it does not have.
        """
        at = self._layer(layer)
        best, width = self._best[at], at.shape[-1]
        if not 0 <= channel < at.shape[0]:
            raise ValueError(f"layer {at} has channels 0 to {at.shape[0] - 1}, not {channel}")
        found = []
        for value, number, place in zip(*(a[channel].tolist() for a in best.columns()), strict=True):
            if number >= 0 and value != 0:
                where = divmod(place, width) if len(at.shape) == 3 else None
                found.append(Hit(value, number, self._source.describe(number), where))
        return found

    def strongest(self, layer: str | Layer, count: int = 8) -> list[int]:
        """The channels with the strongest answers, the strongest first."""
        peaks = self._best[self._layer(layer)].values[:, 0]
        return [int(i) for i in np.argsort(-peaks, kind="stable")[:count] if np.isfinite(peaks[i])]

    def patches(self, layer: str | Layer, channel: int) -> list[Picture]:
        """For each hit the pixels that the unit can see (all it can see: its receptive field), beside the border grey.

        All have one size. They are cut from the picture as the network was given it.
        """
        at, hits = self._layer(layer), self.hits(layer, channel)
        return [self._cut(images.picture(self._source.pixels(hit.picture)), at, hit, _GREY) for hit in hits]

    def deconvnet(self, layer: str | Layer, channel: int) -> list[Picture]:
        """For each hit what of its patch excites the unit, on grey: see `coolnn.explain.backward_rule`.

        The gradient of the unit by the pixels, where rectifiers pass back what is positive alone; scaled by its largest
        magnitude. It shows which pattern the unit was excited by, not how strongly, nor what it would not answer to.
        """
        at, hits = self._layer(layer), self.hits(layer, channel)
        if not hits:
            return []
        found = []
        for hit, gradient in zip(hits, self._gradients(at, channel, hits), strict=True):
            part = self._cut(gradient, at, hit, 0.0)
            peak = float(np.percentile(np.abs(part), 99.5)) or float(np.abs(part).max()) or 1.0
            found.append(images.picture(part / peak * 0.5 + 0.5))
        return found

    def pictures(
        self, layer: str | Layer, channels: Sequence[int] | None = None, deconvnet: bool = True, side: int = 96
    ) -> Pictures:
        """The patches of some channels (None: the 8 with the strongest answers) as one sheet.

        A row of patches for each channel, below it the row of their deconvnet pictures.
        """
        at = self._layer(layer)
        shown: list[Picture] = []
        labels: list[str] = []
        empty = np.full((side, side, 3), 255, np.uint8)
        for channel in self.strongest(at) if channels is None else channels:
            hits = self.hits(at, channel)
            names = [f"{channel}: {images.number(hit.value)}" for hit in hits] or [f"{channel}: silent"]
            for row, texts in ((self.patches, names), (self.deconvnet, [""] * self.k)):
                if row == self.deconvnet and not deconvnet:
                    continue
                tiles = [images.fitted(tile, side) for tile in row(at, channel)]
                shown += tiles + [empty] * (self.k - len(tiles))
                labels += [*texts, *([""] * self.k)][: self.k]
        note = (
            f"The {self.k} pictures out of {self.seen:,} that each channel of {at.name} answers to most, cut to what "
            "its unit can see; below, what of them excites it, by a deconvnet. What no picture holds cannot show."
        )
        return Pictures(shown, labels, f"{at}: top {self.k} patches", note, self.k)

    def to_dict(self) -> dict[str, Any]:
        """All hits as plain data, by layer and channel."""
        return {
            "pictures": self.seen,
            "skipped": [str(file) for file in self.skipped],
            "layers": {
                at.name: [
                    [{"picture": hit.name, "value": hit.value, "place": hit.place} for hit in self.hits(at, channel)]
                    for channel in range(at.shape[0])
                ]
                for at in self.layers
            },
        }

    def _take(self, peaks: Sequence[Tensor], numbers: NDArray[np.int64]) -> None:
        """Takes up what the program gave for a batch, of the pictures that could be read."""
        good = np.flatnonzero(numbers >= 0)
        self.seen += len(good)
        waiting = iter(peaks)
        for layer in self.layers:
            values = next(waiting).numpy().reshape(-1, layer.shape[0])[good]
            mapped = len(layer.shape) == 3
            places = next(waiting).numpy().reshape(-1, layer.shape[0])[good] if mapped else np.zeros(values.shape, int)
            self._best[layer].take(values, numbers[good], places)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _layer(self, layer: str | Layer) -> Layer:
        at = self.subject.layers[layer]
        if at not in self._best:
            raise ValueError(
                f"layer {at.name!r} was not looked at; these were: {', '.join(a.name for a in self.layers)}"
            )
        return at

    def _gradients(self, layer: Layer, channel: int, hits: Sequence[Hit]) -> Array:
        """The deconvnet's gradients by the whole pictures, (N, H, W, C) in the order of the pixels' channels."""
        size = -(-self.k // -(-self.k // _AT_ONCE))  # in parts of one size, so that one program serves all
        run = self._deconvnets.setdefault(layer, compile(_projection(self.subject.net, layer)))
        found = []
        for first in range(0, len(hits), size):
            some = hits[first : first + size]
            pixels = np.stack([self._source.pixels(hit.picture) for hit in some])
            x = _padded(self.subject.preprocessing.normalize(pixels), size)
            unit = np.zeros((size, *layer.shape), np.float32)
            for i, hit in enumerate(some):
                unit[(i, channel, *(hit.place or ()))] = 1.0
            with evaluating(self.subject.net):
                found.append(run(x, unit).numpy()[: len(some)])
        gradients = np.concatenate(found).transpose(0, 2, 3, 1)
        return gradients[..., ::-1] if self.subject.preprocessing.order == "bgr" else gradients

    def _cut(self, picture: Array, layer: Layer, hit: Hit, outside: float) -> Array:
        """The part of a picture (H, W, C) that a unit sees; what lies beyond the border is `outside`."""
        if hit.place is None:
            return picture
        spans = [
            # A field larger than the picture shows all of it, but no more.
            (0, length) if end - begin >= length else (begin, end)
            for (begin, end), length in zip(self._fields[layer].window(hit.place), picture.shape[:2], strict=True)
        ]
        inside = [
            (max(begin, 0), min(end, length)) for (begin, end), length in zip(spans, picture.shape[:2], strict=True)
        ]
        around = [(b - begin, end - e) for (begin, end), (b, e) in zip(spans, inside, strict=True)]
        part = picture[inside[0][0] : inside[0][1], inside[1][0] : inside[1][1]]
        return np.pad(part, (*around, (0, 0)), constant_values=outside)


def top_patches(
    model: Module | Model,
    pictures: Source,
    layers: Sequence[str | Layer] | None = None,
    k: int = 9,
    *,
    preprocessing: Preprocessing | Described | None = None,
    batch_size: int = _BATCH,
    workers: int | None = None,
    progress: Progress | None = None,
) -> TopPatches:
    """For every channel of some layers the `k` patches of one's own pictures that it answers to most, in one pass.

    model: a network or a `formats.Model`; pictures: a folder with all below it, a list of files, or a data set; layers:
    names (None: the last map of each size, from fine to coarse). Of each picture a channel counts once, where it
    answers most. Pictures stream through the compiled network; of each map only the largest value of every channel and
    its place leave it, so that memory does not grow with the number of pictures, and the pass takes as long as plain
    inference. preprocessing: what the network wants of pixels (None: what the model says); batch_size: pictures at a
    time; workers: threads that read them, see `Loader`; progress: called with (pictures done, of how many).

    Files that cannot be read are left out and listed in the result's `skipped`. Raises DataError or MissingDataError
    where there is no readable picture, ValueError for a layer that is not there or k below 1.

    >>> import coolnn as cool, numpy as np
    >>> photos = cool.data.ArrayDataset(np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8), [0] * 20)
    >>> found = cool.explain.top_patches(cool.models.create("lenet5"), photos, ["conv1"], k=3)
    >>> [patch.shape for patch in found.patches("conv1", channel=0)]
    [(5, 5, 3), (5, 5, 3), (5, 5, 3)]
    """
    if k < 1:
        raise ValueError(f"k is how many patches of each channel are kept, at least 1, not {k}")
    subject = Subject(model, preprocessing=preprocessing)
    known = subject.layers
    wanted = list(dict.fromkeys(known.stages() if layers is None else [known[layer] for layer in layers]))
    prepare = dataclasses.replace(subject.preprocessing, size=subject.size, channels=subject.channels)
    source = _Numbered(pictures, prepare)
    found = TopPatches(subject, wanted, source, k)
    began = time.perf_counter()
    loader = Loader(source, min(batch_size, len(source)), preprocessing=prepare, workers=workers)
    run = compile(_peaks(subject.net, wanted))
    with evaluating(subject.net):
        for number, batch in enumerate(loader):
            found._take(run(_padded(batch.images, loader.batch_size)), batch.labels.astype(np.int64))
            if progress is not None:
                progress(min((number + 1) * loader.batch_size, len(source)), len(source))
    if not found.seen:
        raise DataError(f"no picture could be read; the first one: {source.unreadable[0]}")
    found.seconds = time.perf_counter() - began
    return found


# --- the pass --------------------------------------------------------------------------------------------------------


def _peaks(net: Module, layers: Sequence[Layer]) -> Callable[[Tensor], list[Tensor]]:
    """A function to be compiled: for each layer the largest value of every channel, and its place in the plane."""

    def peaks(x: Tensor) -> list[Tensor]:
        _, found = tapped(net, x, layers)
        results: list[Tensor] = []
        for tensor in found:
            if tensor.ndim == 4:
                results += ops.max_pool2d_with_indices(tensor, tensor.shape[2:])
            else:
                results.append(tensor)
        return results

    return peaks


def _projection(net: Module, layer: Layer) -> Callable[[Tensor, Tensor], Tensor]:
    """A function to be compiled: what the deconvnet sends back to the pixels from the units chosen by a mask."""

    def projection(x: Tensor, unit: Tensor) -> Tensor:
        x.requires_grad = True
        _, (found,) = tapped(net, x, [layer])
        with backward_rule("deconvnet"):
            gradient = grad((found * unit).sum(), x)[0]
        assert gradient is not None  # the layer comes from the picture, or tapped would not have found it
        return gradient

    return projection


def _padded(x: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """A last batch filled up with zeros, so that the program for full ones serves it too."""
    if len(x) == size:
        return x
    whole = np.zeros((size, *x.transpose(0, 2, 3, 1).shape[1:]), np.float32).transpose(0, 3, 1, 2)
    whole[: len(x)] = x
    return whole


class _Best:
    """The k largest values of every channel so far, with the picture and the place of each."""

    def __init__(self, channels: int, k: int) -> None:
        self.values = np.full((channels, k), -np.inf, np.float32)
        self.pictures = np.full((channels, k), -1, np.int64)
        self.places = np.zeros((channels, k), np.int64)

    def columns(self) -> tuple[Array, Array, Array]:
        """Values, pictures and places, each (channels, k)."""
        return self.values, self.pictures, self.places

    def take(self, values: Array, pictures: Array, places: Array) -> None:
        """Takes up values and places (N, channels) of N pictures; of equal ones the earlier stay."""
        k = self.values.shape[1]
        better = np.flatnonzero((values > self.values[:, -1]).any(0))  # few, once some pictures are seen; nan is none
        if not len(better):
            return
        numbers = np.broadcast_to(pictures, (len(better), len(pictures)))
        new = (np.where(np.isnan(values), -np.inf, values)[:, better].T, numbers, places[:, better].T)
        joined = [np.concatenate([old[better], more], 1) for old, more in zip(self.columns(), new, strict=True)]
        order = np.argsort(-joined[0], axis=1, kind="stable")[:, :k]
        for own, both in zip(self.columns(), joined, strict=True):
            own[better] = np.take_along_axis(both, order, 1)


class _Numbered(Dataset):
    """Pictures from anywhere, each with its number for a label, ready for the network; what cannot be read has -1."""

    def __init__(self, source: Source, preprocessing: Preprocessing) -> None:
        self._data = source if isinstance(source, Dataset) and not isinstance(source, FolderDataset) else None
        self._files = [] if self._data is not None else _files(source)
        self._prepare = preprocessing.prepare
        self._channels = preprocessing.channels or 3
        assert preprocessing.size is not None
        self._blank = np.zeros((*preprocessing.size, self._channels), np.uint8)
        self._side = 2 * math.ceil(max(preprocessing.size) / preprocessing.keep)  # shrinking stays smooth
        self._skipped: dict[int, Skipped] = {}
        self._lock = threading.Lock()
        self.name = self._data.name if self._data is not None else "pictures"
        if not len(self):
            raise DataError(f"{self.name} holds no pictures")

    def __len__(self) -> int:
        return len(self._files) if self._data is None else len(self._data)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        try:
            return self.pixels(index), index
        except (OSError, ValueError) as error:
            reason = error.reason if isinstance(error, ImageError) else str(error)
            with self._lock:
                self._skipped.setdefault(index, Skipped(self.describe(index), reason))
            return self._blank, -1

    def pixels(self, index: int) -> Pixels:
        """A picture as the network is given it, before its numbers are scaled: uint8 (H, W, C) as a rule."""
        if self._data is not None:
            return self._prepare(check_image(self._data[index][0]))
        return self._prepare(read_image(self._files[index], self._channels, self._side))

    @property
    def unreadable(self) -> list[Skipped]:
        """What could not be read so far, by number."""
        with self._lock:
            return [self._skipped[index] for index in sorted(self._skipped)]

    def describe(self, index: int) -> str:
        """The file, or what the data set calls the picture."""
        return str(self._files[index]) if self._data is None else self._data.describe(index)


def _files(source: Any) -> list[Path]:
    """The files of a folder, of a data set of folders, or those that are listed."""
    if isinstance(source, FolderDataset):
        return [source.path(i) for i in range(len(source))]
    if isinstance(source, str | os.PathLike):
        folder = Path(source)
        if not folder.exists():
            raise MissingDataError(f"there is no folder {folder}; check the path")
        found = [folder / name for name in picture_files(folder)] if folder.is_dir() else [folder]
        if not found:
            raise DataError(f"the folder {folder} holds no pictures")
        return found
    return [Path(path) for path in source]
