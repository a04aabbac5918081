"""Random numbers that depend only on (seed, epoch, place in the epoch), never on who asks first.

Everything random about data comes from here, out of NumPy's counter-based Philox generator (Salmon et al., "Parallel
random numbers: as easy as 1, 2, 3", 2011). So a picture is augmented the same way whether it is drawn alone or in a
batch, on one thread or many, in a run without a break or in one that was resumed in the middle of an epoch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

# Philox yields four words a counter step; a sample owns a page of _STEPS steps, and further pages when it needs more.
_STEPS = 8
_WORDS = 4 * _STEPS
# The third word of the counter keeps the uses apart.
_SAMPLES, _ORDER, _BATCHES, _SPLIT = 0, 1, 2, 3


def _philox(seed: int, epoch: int, place: int, page: int, use: int) -> np.random.Philox:
    if not 0 <= seed < 2**64:
        raise DataError(f"a seed is a whole number from 0 to 2**64 - 1, not {seed}")
    if epoch < 0:
        raise DataError(f"epochs count from 0, not {epoch}")
    return np.random.Philox(key=np.array([seed, epoch], np.uint64), counter=np.array([place, page, use, 0], np.uint64))


def permutation(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """The order of `n` things in an epoch: the ranks of `n` random words, (n,) int64.

    >>> import coolnn as cool
    >>> sorted(cool.data.permutation(seed=0, epoch=3, n=4).tolist())
    [0, 1, 2, 3]
    """
    return np.argsort(_philox(seed, epoch, 0, 0, _ORDER).random_raw(n), kind="stable")


def stable_words(seed: int, n: int, salt: str) -> NDArray[np.uint64]:
    """A random word for each of the things 0..n-1, the same however many follow, (n,) uint64."""
    return _philox(seed, 0, 0, int.from_bytes(salt.encode()[:8], "little"), _SPLIT).random_raw(n)


def batch_generator(seed: int, epoch: int, batch: int) -> np.random.Generator:
    """NumPy's generator for what is drawn once a batch, such as the shares of Mixup."""
    return np.random.Generator(_philox(seed, epoch, 0, batch, _BATCHES))


class Draws:
    """Random numbers for `count` samples at places `start`, `start + 1`, ... of an epoch.

    Each call gives one number a sample; the k-th call gives the k-th number of each sample's own sequence.

    >>> import coolnn as cool
    >>> many = cool.data.Draws(seed=7, start=0, count=5).uniform()
    >>> alone = cool.data.Draws(seed=7, start=3, count=1).uniform()
    >>> bool(many[3] == alone[0])
    True
    """

    def __init__(self, seed: int = 0, epoch: int = 0, start: int = 0, count: int = 1) -> None:
        self.seed, self.epoch, self.start, self.count = seed, epoch, start, count
        self._words = np.empty((count, 0), np.uint64)
        self._next = 0

    def _column(self) -> NDArray[np.uint64]:
        page, word = divmod(self._next, _WORDS)
        if word == 0:
            stream = _philox(self.seed, self.epoch, self.start * _STEPS, page, _SAMPLES)
            self._words = stream.random_raw(self.count * _WORDS).reshape(self.count, _WORDS)
        self._next += 1
        return self._words[:, word]

    def uniform(self, low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
        """Numbers from [low, high), (count,) float64."""
        unit = (self._column() >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return low + (high - low) * unit

    def bernoulli(self, p: float) -> NDArray[np.bool_]:
        """True with probability `p`, (count,) booleans."""
        return self.uniform() < p

    def integers(self, low: int, high: int) -> NDArray[np.int64]:
        """Whole numbers from `low` to `high - 1`, (count,) int64."""
        return np.minimum(low + np.floor(self.uniform() * (high - low)).astype(np.int64), high - 1)
