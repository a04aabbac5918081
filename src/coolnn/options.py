"""Choices that hold inside a `with` block: which instruction set and which algorithms the engine may use."""

from __future__ import annotations

import contextlib
import operator
import os
import warnings
from collections.abc import Iterator

from . import _core, autograd


@contextlib.contextmanager
def options(*, isa: str | None = None, winograd: bool | None = None, threads: int | None = None) -> Iterator[None]:
    """Inside `with options(...)` the engine is held to these choices; what is not named stays as it is.

    isa: "baseline", "avx2", "avx512" or "neon", as far as the machine has it (`coolnn doctor` lists them);
    winograd: whether 3×3 convolutions may use Winograd's algorithm; threads: how many threads work at most.
    Raises ValueError for an instruction set that is not there. Results are the same bits on any number of threads.

    >>> import coolnn as cool
    >>> with cool.options(winograd=False):
    ...     y = cool.ops.conv2d(cool.ones(1, 1, 3, 3), cool.ones(1, 1, 3, 3))
    >>> float(y)
    9.0
    """
    before = (_core.isa(), _core.get_option("winograd"), _core.num_threads())

    def enter(isa: str | None, winograd: int | None, threads: int | None) -> None:
        if isa is not None and isa != _core.isa():
            _core.set_isa(isa)
            autograd.clear_kernel_cache()
        if winograd is not None and int(winograd) != _core.get_option("winograd"):
            _core.set_option("winograd", int(winograd))
            autograd.clear_kernel_cache()
        if threads is not None and threads != _core.num_threads():
            set_num_threads(threads)

    enter(isa, winograd, threads)
    try:
        yield
    finally:
        enter(*before)


def set_num_threads(n: int) -> None:
    """Sets how many threads work at most; 0 means all cores that this process may use.

    Raises TypeError for what is no whole number, ValueError below 0 and above 1024.

    >>> import coolnn as cool
    >>> cool.set_num_threads(0)
    """
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError(f"the number of threads must be a whole number, not {n!r}") from None
    if not 0 <= n <= _core.MAX_THREADS:
        raise ValueError(f"the number of threads must be 0 (all cores) to {_core.MAX_THREADS}, not {n}")
    _core.set_num_threads(n)
    autograd.clear_kernel_cache()  # kernels have scratch memory for the threads that they were prepared for


def get_num_threads() -> int:
    """How many threads work at most.

    >>> import coolnn as cool
    >>> cool.get_num_threads() >= 1
    True
    """
    return _core.num_threads()


def check_environment() -> None:
    """Warns of a COOLNN_THREADS that names no number of threads; the engine then takes all cores, as for 0."""
    text = os.environ.get("COOLNN_THREADS", "")
    number = text.isascii() and text.isdigit() and len(text) < 10
    if text and not (number and int(text) <= _core.MAX_THREADS):
        warnings.warn(
            f"COOLNN_THREADS={text!r} is no number of threads from 1 to {_core.MAX_THREADS} (0: all cores), so all "
            f"{_core.num_threads()} cores that this process may use are taken; correct or unset it",
            RuntimeWarning,
            stacklevel=2,
        )


check_environment()
