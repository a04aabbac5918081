"""Runs the engine's kernels on NumPy arrays, below operations and tensors: what all tests of kernels share.

Arrays go in and come out in the shape that users see; storage order (channels-last for rank 4) is handled here. Every
buffer lies between guard zones and is aligned to 16 bytes only, as NumPy's memory may be: a kernel that writes outside
its output, or that reads outside an input and lets it count (the guards there are NaN), is caught.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from coolnn import _core
from coolnn.spec import DTYPE_CODES, Spec, logical_order, storage_order

Array = np.ndarray[Any, np.dtype[Any]]
GUARD = 80  # bytes on either side of a buffer

ISAS = _core.available_isas()
THREADS = (1, 2, 3)

# Set by kernel_cases.py, which takes down the problems instead of running them: name, attributes, inputs, what is
# expected (None: not known here), the tolerance of each output, the specs of outputs, and in_place.
recorder: Callable[[str, Any, Any, Any, Any, Any, Any], None] | None = None


class Guarded:
    """A buffer for the engine between two guard zones."""

    def __init__(self, spec: Spec, content: Array | None = None) -> None:
        self.spec = spec
        raw = np.full(spec.nbytes + 2 * GUARD + 64, 0xFF, np.uint8)
        start = GUARD + (-(raw.ctypes.data + GUARD)) % 64 + 16
        self.zones = raw[:start], raw[start + spec.nbytes :]
        self.bytes = raw[start : start + spec.nbytes]
        if content is not None:
            self.bytes[:] = (
                np.ascontiguousarray(content.transpose(storage_order(content.ndim))).reshape(-1).view(np.uint8)
            )
        self.buffer = _core.Buffer.borrow(self.bytes)

    def array(self) -> Array:
        """A copy of the content, in the shape that users see."""
        assert all((zone == 0xFF).all() for zone in self.zones), "a kernel wrote outside its buffer"
        order = storage_order(len(self.spec.shape))
        stored = self.bytes.view(self.spec.dtype).reshape([self.spec.shape[i] for i in order])
        return stored.transpose(logical_order(len(order))).copy()


def spec_of(array: Array) -> Spec:
    """Shape and type of an array."""
    return Spec(tuple(array.shape), array.dtype)


def as_spec(output: Any) -> Spec:
    """An output's spec from a Spec, an array like it, or a shape (then it is float32)."""
    if isinstance(output, Spec):
        return output
    return spec_of(output) if isinstance(output, np.ndarray) else Spec(tuple(output))


def prepare(
    name: str, attributes: dict[str, Any], inputs: Sequence[Spec | None], outputs: Sequence[Spec]
) -> _core.Kernel | None:
    """The kernel for these specs; None if the engine has none."""
    return _core.prepare(
        name,
        attributes,
        tuple(None if s is None else (DTYPE_CODES[s.dtype], s.shape) for s in inputs),
        tuple((DTYPE_CODES[s.dtype], s.shape) for s in outputs),
    )


def run(
    name: str,
    attributes: dict[str, Any],
    arrays: Sequence[Array | None],
    outputs: Sequence[Any],
    in_place: Sequence[int] | None = None,
) -> tuple[Array, ...]:
    """Runs a kernel once and gives its outputs; inputs must come through unharmed.

    `outputs` are Specs, arrays of the wanted shape and type, or shapes (float32). `in_place` names, for each output,
    the input whose buffer it shares.
    """
    specs = [as_spec(o) for o in outputs]
    kernel = prepare(name, attributes, [None if a is None else spec_of(a) for a in arrays], specs)
    shapes = [None if a is None else a.shape for a in arrays]
    assert kernel is not None, f"no kernel {name} {attributes} for {shapes} -> {[s.shape for s in specs]}"
    given = [None if a is None else Guarded(spec_of(a), a) for a in arrays]
    made: list[Guarded] = []
    for position, spec in enumerate(specs):
        shared = None if in_place is None else given[in_place[position]]
        made.append(Guarded(spec) if shared is None else shared)
    kernel.run_into(tuple(g and g.buffer for g in given), tuple(g.buffer for g in made))
    for guarded, array in zip(given, arrays, strict=True):
        if guarded is not None and array is not None and guarded not in made:
            assert guarded.array().tobytes() == array.copy().tobytes(), f"{name} changed one of its inputs"
    return tuple(guarded.array() for guarded in made)


@contextlib.contextmanager
def engine(isa: str | None = None, threads: int | None = None) -> Iterator[None]:
    """Sets the instruction set and the number of threads inside a `with` block."""
    before = _core.isa(), _core.num_threads()
    try:
        if isa is not None:
            _core.set_isa(isa)
        if threads is not None and threads != before[1]:
            _core.set_num_threads(threads)
        yield
    finally:
        _core.set_isa(before[0])
        if _core.num_threads() != before[1]:
            _core.set_num_threads(before[1])


def run_everywhere(
    name: str,
    attributes: dict[str, Any],
    arrays: Sequence[Array | None],
    outputs: Sequence[Any],
    in_place: Sequence[int] | None = None,
    threads: Sequence[int] = THREADS,
) -> dict[str, tuple[Array, ...]]:
    """Runs a kernel on every instruction set and number of threads: {instruction set: outputs}.

    Within an instruction set all numbers of threads must give the same bits.
    """
    results: dict[str, tuple[Array, ...]] = {}
    if recorder is not None:
        recorder(name, attributes, arrays, None, (), [as_spec(o) for o in outputs], in_place)
        return results
    for isa in ISAS:
        for count in threads:
            with engine(isa, count):
                got = run(name, attributes, arrays, outputs, in_place)
            first = results.setdefault(isa, got)
            for a, b in zip(first, got, strict=True):
                assert a.tobytes() == b.tobytes(), f"{name} on {isa}: {count} threads give other bits than {threads[0]}"
    return results


def relative_error(actual: Array, expected: Array) -> float:
    """max|error| / max|expected|, infinite if NaN or infinity are not at the same places."""
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    if actual.size == 0:
        return 0.0
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(expected)
    if not np.array_equal(actual[~finite], expected[~finite], equal_nan=True) or not np.isfinite(actual[finite]).all():
        return np.inf
    if not finite.any():
        return 0.0
    scale = np.abs(expected[finite]).max()
    error = np.abs(actual[finite] - expected[finite]).max()
    return float(error / scale) if scale > 0 else float(error)


def ulp_error(actual: Array, exact: Array) -> Array:
    """Error of float32 numbers in units in the last place of the exact (float64) ones; 0 where both are NaN."""
    exact = exact.astype(np.float64)
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        unit = np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, 1)).astype(np.float32)).astype(np.float64)
        error = np.abs(actual.astype(np.float64) - exact) / unit
    same = (actual == rounded) | (np.isnan(actual) & np.isnan(exact))
    return np.where(same, np.where(np.isfinite(error), error, 0), np.where(np.isnan(error), np.inf, error))


def check(
    name: str,
    attributes: dict[str, Any],
    arrays: Sequence[Array | None],
    expected: Sequence[Array] | Array,
    rtol: float = 1e-6,
    in_place: Sequence[int] | None = None,
    threads: Sequence[int] = THREADS,
    exact: bool = False,
) -> None:
    """Runs a kernel everywhere and compares its outputs with what is expected.

    Expected float64 stands for exact results of float32 outputs, to be met within `rtol`. Other types must be met to
    the bit, and so must float64 with `exact`, where the outputs are float64.
    """
    wanted = (expected,) if isinstance(expected, np.ndarray | np.generic) else tuple(expected)
    near = [w.dtype == np.float64 and not exact for w in wanted]
    specs = [Spec(w.shape, np.dtype(np.float32) if n else w.dtype) for w, n in zip(wanted, near, strict=True)]
    if recorder is not None:
        recorder(name, attributes, arrays, wanted, [rtol if n else 0.0 for n in near], specs, in_place)
        return
    for isa, outputs in run_everywhere(name, attributes, arrays, specs, in_place, threads).items():
        for index, (got, want) in enumerate(zip(outputs, wanted, strict=True)):
            shapes = [None if a is None else a.shape for a in arrays]
            label = f"{name} {attributes} on {isa}, output {index}, shapes {shapes}"
            if near[index]:
                error = relative_error(got, np.asarray(want))
                assert error <= rtol, f"{label}: error {error:.3g} is above {rtol:.3g}"
            else:
                np.testing.assert_array_equal(got, want, err_msg=label)
