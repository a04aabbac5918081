"""Randomness that can be repeated: a seed, and a counter of how often random numbers were drawn.

Every draw is a function of (seed, offset) alone, the offset growing by one a draw. There is no state between the
numbers of a draw (they come from the counter-based generator Philox), so they do not depend on the number of threads.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from .autograd import each_run
from .spec import int64
from .tensor import Tensor, from_numpy

_lock = threading.Lock()
_seed = 0
_offset = 0


def manual_seed(seed: int) -> None:
    """Starts the random numbers of this process anew: the same seed gives the same numbers. At the start it is 0.

    Raises ValueError for a seed below 0 or beyond 64 bits.

    >>> import coolnn as cool
    >>> cool.manual_seed(7)
    """
    set_state((seed, 0))


def get_state() -> tuple[int, int]:
    """Seed and offset: all that is needed to go on from here with the same random numbers.

    >>> import coolnn as cool
    >>> cool.manual_seed(7)
    >>> cool.random.get_state()
    (7, 0)
    """
    with _lock:
        return _seed, _offset


def set_state(state: tuple[int, int]) -> None:
    """Goes back to a state that `get_state` gave. Raises ValueError for numbers below 0 or beyond 64 bits."""
    global _seed, _offset
    seed, offset = (int(part) for part in state)
    for name, value in (("seed", seed), ("offset", offset)):
        if not 0 <= value < 1 << 64:
            raise ValueError(f"the {name} must be a whole number from 0 to 2^64 - 1, not {value}")
    with _lock:
        _seed, _offset = seed, offset


def _draw() -> tuple[int, int]:
    global _offset
    with _lock:
        state = _seed, _offset
        _offset = (_offset + 1) % (1 << 64)
    return state


def next_state() -> Tensor:
    """Seed and offset of the next draw as an int64 tensor of shape (2,), for operations that draw; counts the draw.

    >>> import coolnn as cool
    >>> cool.manual_seed(7)
    >>> cool.random.next_state().tolist(), cool.random.next_state().tolist()
    ([7, 0], [7, 1])
    """
    state = np.empty(2, np.uint64)

    def draw() -> None:
        state[:] = _draw()

    each_run(draw)
    return from_numpy(state.view(int64))


def generator() -> np.random.Generator:
    """A NumPy generator for the next draw, for initial weights, shuffling and augmentation; counts the draw.

    >>> import coolnn as cool
    >>> cool.manual_seed(7)
    >>> cool.random.generator().random(2).shape
    (2,)
    """
    return np.random.default_rng(_draw())


_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(seed: int, offset: int, count: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """`count` random words of 32 bits: Philox4x32-10 (Salmon et al., 2011) as the engine's kernels compute it.

    The key is the seed; the counter is (block, offset), 64 bits each, where block i gives words 4i to 4i + 3.

    >>> from coolnn.random import philox
    >>> [hex(word) for word in philox(0, 0, 2)]
    ['0x6627e8d5', '0xe169c58d']
    """
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    c0, c1 = blocks & _LOW, blocks >> _HALF
    c2, c3 = (np.full_like(blocks, part) for part in (offset & 0xFFFFFFFF, offset >> 32))
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        left, right = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1 = (right >> _HALF) ^ c1 ^ np.uint64(k0), right & _LOW
        c2, c3 = (left >> _HALF) ^ c3 ^ np.uint64(k1), left & _LOW
        k0, k1 = (k0 + _KEY_STEPS[0]) & 0xFFFFFFFF, (k1 + _KEY_STEPS[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32).reshape(-1)[:count]
