"""Batches for training and evaluation, prepared ahead in threads, the same on any number of them."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset, Indices
from .draws import Draws, batch_generator, permutation
from .errors import DataError
from .image import Pixels, check_image
from .mix import Mix
from .preprocessing import Preprocessing, stack
from .transforms import Transform, as_transform

# Pictures up to so many bytes are changed a batch at a time; larger ones one by one, each while it is in the cache.
_SMALL = 16 << 10


class Batch(NamedTuple):
    """images: float32 (N, C, H, W), channels-last in memory; labels: int64 (N,), after a mix float32 (N, classes)."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64] | NDArray[np.float32]


class Loader:
    """Batches of a data set.

    transform: one or several, random or not, for the pictures; preprocessing: for them and for later use alike
    (default: pixels as 0..1, size unchanged); mix: Mixup or CutMix. seed: fixes order and augmentation. drop_last:
    leaves out a last batch that is not full. workers: threads that prepare batches ahead, None for as many as suit
    (none for arrays without augmentation, one for arrays with, one a core for files); prefetch: batches ahead of the
    one in use.

    Batch b of epoch e depends on (seed, e, b, batch_size) alone: not on the number of threads, nor on whether the epoch
    began with batch 0. Iterating gives epoch 0, then 1, and so on; `epoch(e, start_batch=b)` gives a given one, from a
    given batch. A failure while a picture is read or changed is raised where the batch would have come, naming the
    file.

    >>> import coolnn as cool, numpy as np
    >>> data = cool.data.ArrayDataset(np.zeros((10, 8, 8, 3), np.uint8), [0, 1] * 5)
    >>> loader = cool.data.Loader(data, batch_size=4, shuffle=True, transform=cool.data.RandomCrop(8, padding=1))
    >>> [batch.images.shape for batch in loader]
    [(4, 3, 8, 8), (4, 3, 8, 8), (2, 3, 8, 8)]
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 64,
        *,
        shuffle: bool = False,
        transform: Transform | Iterable[Transform] | None = None,
        preprocessing: Preprocessing | None = None,
        mix: Mix | None = None,
        seed: int = 0,
        drop_last: bool = False,
        workers: int | None = None,
        prefetch: int = 2,
    ) -> None:
        if batch_size < 1:
            raise DataError(f"a batch needs at least 1 picture, not {batch_size}")
        if workers is not None and workers < 0:
            raise DataError(f"workers is a number of threads, 0 or more, not {workers}")
        if prefetch < 1:
            raise DataError(f"prefetch is a number of batches, at least 1, not {prefetch}")
        if drop_last and 0 < len(dataset) < batch_size:
            raise DataError(
                f"{dataset.name} has {len(dataset)} pictures, fewer than batch_size={batch_size}, and drop_last would "
                "leave no batch; use a smaller batch_size"
            )
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle
        self.transform, self.mix, self.seed, self.drop_last = as_transform(transform), mix, seed, drop_last
        self.preprocessing = preprocessing if preprocessing is not None else _default(dataset)
        self.workers = workers if workers is not None else self._suitable_workers()
        self.prefetch = prefetch
        self._epochs = 0

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Generator[Batch, None, None]:
        self._epochs += 1
        return self.epoch(self._epochs - 1)

    def order(self, epoch: int) -> Indices:
        """Which picture comes when in an epoch, int64 (N,)."""
        n = len(self.dataset)
        return permutation(self.seed, epoch, n) if self.shuffle else np.arange(n, dtype=np.int64)

    def epoch(self, epoch: int = 0, start_batch: int = 0) -> Generator[Batch, None, None]:
        """The batches of an epoch from `start_batch` on."""
        if not 0 <= start_batch <= len(self):
            raise DataError(f"an epoch has batches 0 to {len(self) - 1}; it cannot start at {start_batch}")
        order = self.order(epoch)
        numbers = range(start_batch, len(self))
        if self.workers == 0:
            return (self._batch(order, epoch, number, None) for number in numbers)
        return self._ahead(order, epoch, numbers)

    def batch(self, epoch: int, number: int) -> Batch:
        """One batch of an epoch."""
        return self._batch(self.order(epoch), epoch, number, None)

    def _suitable_workers(self) -> int:
        if not len(self.dataset) or self.dataset.gather(np.zeros(1, np.int64)) is None:
            return available_cores()
        return 1 if self.transform is not None or self.mix is not None else 0

    def _ahead(self, order: Indices, epoch: int, numbers: range) -> Generator[Batch, None, None]:
        """Batches prepared in threads; whatever ends the iteration also ends the threads."""
        stop = threading.Event()
        pool = ThreadPoolExecutor(self.workers, "coolnn-data")
        waiting: deque[Future[Batch]] = deque()
        to_come = iter(numbers)
        try:
            for _ in range(max(self.prefetch, self.workers) + 1):
                self._submit(pool, waiting, order, epoch, to_come, stop)
            while waiting:
                batch = waiting.popleft().result()
                self._submit(pool, waiting, order, epoch, to_come, stop)
                yield batch
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _submit(
        self,
        pool: ThreadPoolExecutor,
        waiting: deque[Future[Batch]],
        order: Indices,
        epoch: int,
        to_come: Iterator[int],
        stop: threading.Event,
    ) -> None:
        number = next(to_come, None)
        if number is not None:
            waiting.append(pool.submit(self._batch, order, epoch, number, stop))

    def _batch(self, order: Indices, epoch: int, number: int, stop: threading.Event | None) -> Batch:
        start = number * self.batch_size
        indices = order[start : start + self.batch_size]
        images, labels = self._pictures(indices, epoch, start, stop)
        x = self.preprocessing.normalize(images)
        if self.mix is None:
            return Batch(x, labels)
        generator = batch_generator(self.seed, epoch, number)
        return Batch(*self.mix(x, labels, len(self.dataset.classes), generator))

    def _pictures(
        self, indices: Indices, epoch: int, start: int, stop: threading.Event | None
    ) -> tuple[Pixels, NDArray[np.int64]]:
        """Pictures at `indices`, changed and prepared, (N, H, W, C), and their labels."""
        gathered = self.dataset.gather(indices)
        if gathered is not None:
            labels = self.dataset.labels[indices]
            samples: list[Pixels] | Pixels = gathered
        else:
            pairs = []
            for index in indices.tolist():
                if stop is not None and stop.is_set():
                    raise DataError("the loader was stopped")  # nobody waits for this batch any more
                pairs.append(self._sample(index))
            samples = [image for image, _ in pairs]
            labels = np.array([label for _, label in pairs], np.int64)
            if len({image.shape for image in samples}) == 1 and samples[0].nbytes <= _SMALL:
                samples = np.stack(samples)
        return self._change(samples, indices, epoch, start), labels

    def _sample(self, index: int) -> tuple[Pixels, int]:
        try:
            image, label = self.dataset[index]
            return check_image(image), label
        except Exception as error:
            raise DataError(f"{self.dataset.describe(index)} could not be loaded: {error}") from error

    def _change(self, samples: list[Pixels] | Pixels, indices: Indices, epoch: int, start: int) -> Pixels:
        prepare, transform = self.preprocessing.prepare, self.transform
        if isinstance(samples, np.ndarray) and (transform is None or samples[0].nbytes <= _SMALL):
            if transform is not None:
                samples = transform.apply(samples, Draws(self.seed, epoch, start, len(samples)))
            return prepare(samples)
        ready = []
        for place, (image, index) in enumerate(zip(samples, indices.tolist(), strict=True), start=start):
            try:
                if transform is not None:
                    image = transform.apply(image[None], Draws(self.seed, epoch, place, 1))[0]
                ready.append(prepare(image))
            except Exception as error:
                raise DataError(f"{self.dataset.describe(index)} could not be prepared: {error}") from error
        return stack(ready)


def _default(dataset: Dataset) -> Preprocessing:
    floats = len(dataset) > 0 and dataset[0][0].dtype != np.uint8
    return Preprocessing(scale=1.0 if floats else 1 / 255)


def available_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
