"""Writes what the tests of kernels and operations ask of the engine, with the answers, for a program without Python.

    python tests/kernel_cases.py FILE

`cpp/tests/run_cases.cpp` runs the file, also where only an emulator is at hand. Nothing is defined here: the problems
are those of the tests of kernels (which are run, but only write down what they would check), and every operation in
every case of the public functions, forward, backward and backward twice, with the reference's answer in float64.
"""

from __future__ import annotations

import struct
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import kernel_harness
import numpy as np
import pytest
import test_ops
from kernel_harness import Array, prepare, spec_of

from coolnn import _core, autograd
from coolnn.autograd import Call
from coolnn.ops import FUNCTIONS, OPS
from coolnn.spec import DTYPE_CODES, Spec, float32, float64, storage_order

# An emulator does some hundred million multiply-adds a second; larger problems are left to the processors at hand.
MOST_MACS = 60_000_000
MOST_BYTES = 1_000_000
# Where a test has a measure of its own (units in the last place, norms): coarse, but no wrong number passes. It is a
# part of the largest number in inputs and outputs, for where these measures are needed much may cancel.
RTOL_UNSTATED = 2e-4


class CaseFile:
    """A file of problems: numbers take eight bytes, texts and arrays stand behind their length."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.written: dict[str, int] = {}
        self.left_out = 0
        self._known: set[Any] = set()
        self._text("coolnn cases 1")

    def add(
        self,
        name: str,
        attributes: dict[str, Any],
        arrays: Sequence[Array | None],
        expected: Sequence[Array],
        rtols: Sequence[float],
        outputs: Sequence[Spec] | None = None,
        in_place: Sequence[int] | None = None,
    ) -> None:
        """Writes one problem, unless the engine has no kernel for it, it is known, or it is too large.

        Float32 outputs must meet `expected` within max|error| <= rtol · max|expected|, all others to the bit. Without
        `outputs` they are float32 where the expected is float64.
        """
        attributes = {key: value for key, value in attributes.items() if value is not None}
        inputs = [None if a is None else spec_of(a) for a in arrays]
        if outputs is None:
            outputs = [Spec(e.shape, float32 if e.dtype == float64 else e.dtype) for e in expected]
        winograd = _core.get_option("winograd")
        key = (name, repr(attributes), tuple(inputs), tuple(outputs), winograd, repr(in_place))
        # Where numbers are whole or few, or not all finite, they are what the problem is about.
        if all(a is None or (a.dtype == float32 and np.isfinite(a).all()) for a in arrays):
            if key in self._known:
                return
            self._known.add(key)
        if prepare(name, attributes, inputs, outputs) is None:
            return
        macs = OPS[name].macs(tuple(inputs), tuple(outputs), **attributes) if name in OPS else 0
        if macs > MOST_MACS or sum(s.nbytes for s in (*inputs, *outputs) if s is not None) > MOST_BYTES:
            self.left_out += 1
            return
        family = type(OPS[name]).__module__.rsplit(".", 1)[-1]
        self.written[family] = self.written.get(family, 0) + 1
        self._text(family)
        self._text(name)
        self._number(winograd)
        self._number(len(attributes))
        for label, value in attributes.items():
            self._text(label)
            self._attribute(value)
        self._number(len(arrays))
        for spec, array in zip(inputs, arrays, strict=True):
            self._number(spec is not None)
            if spec is not None and array is not None:
                self._spec(spec)
                self._array(array)
        self._number(len(outputs))
        for i, (spec, array, rtol) in enumerate(zip(outputs, expected, rtols, strict=True)):
            self._spec(spec)
            self._number(-1 if in_place is None else in_place[i])
            self.file.write(struct.pack("<d", rtol))
            self._array(array.astype(float64) if spec.dtype == float32 else array)

    def _number(self, value: int) -> None:
        self.file.write(struct.pack("<q", value))

    def _text(self, text: str) -> None:
        self._number(len(text.encode()))
        self.file.write(text.encode())

    def _attribute(self, value: Any) -> None:
        """One attribute, of the same kinds as the engine takes from Python (cpp/bindings.cpp)."""
        if isinstance(value, str):
            self._text("str")
            self._text(value)
        elif isinstance(value, tuple):
            real = any(isinstance(item, float) for item in value)
            self._text("floats" if real else "ints")
            self._number(len(value))
            self.file.write(struct.pack(f"<{len(value)}{'d' if real else 'q'}", *value))
        elif isinstance(value, float):
            self._text("float")
            self.file.write(struct.pack("<d", value))
        else:
            self._text("int")
            self._number(value)

    def _spec(self, spec: Spec) -> None:
        self._number(DTYPE_CODES[spec.dtype])
        self._number(len(spec.shape))
        for n in spec.shape:
            self._number(n)

    def _array(self, array: Array) -> None:
        stored = np.ascontiguousarray(array.transpose(storage_order(array.ndim))).tobytes()
        self._number(len(stored))
        self.file.write(stored)


# --- from the tests of kernels ---------------------------------------------------------------------------------------


def write_tests_of_kernels(file: CaseFile) -> None:
    """Every problem that the tests of kernels check."""

    def note(
        name: str,
        attributes: dict[str, Any],
        arrays: Sequence[Array | None],
        expected: Sequence[Array] | None,
        rtols: Sequence[float],
        outputs: Sequence[Spec],
        in_place: Sequence[int] | None,
    ) -> None:
        if expected is None:
            try:
                expected = exact(name, attributes, arrays)
            except IndexError:
                return  # places that are not there: such a test is about memory, and has no right answer
            rtols = [RTOL_UNSTATED * max(1, largest(arrays) / max(largest([e]), 1e-30)) for e in expected]
        file.add(name, attributes, arrays, expected, rtols, outputs, in_place)
        if name in FUSED and _core.get_option("winograd"):
            write_fused(file, name, attributes, arrays, outputs[0], RTOL_UNSTATED)

    kernel_harness.recorder = note
    tests = Path(__file__).parent
    files = [*sorted(tests.glob("test_kernels_*.py")), tests / "test_conv_backward.py"]
    # Only what goes through the harness is of use; the cache of failures is that of the real tests.
    outcome = pytest.main(["-q", "-x", "--no-header", "-p", "no:cacheprovider", *map(str, files)])
    kernel_harness.recorder = None
    if outcome != 0:
        raise SystemExit("a test of kernels failed while its problems were written down")


def exact(name: str, attributes: dict[str, Any], arrays: Sequence[Array | None]) -> list[Array]:
    """What the reference gives in float64 for these float32 numbers; beyond the range of float32 infinity."""
    inputs = [a.astype(float64) if a is not None and a.dtype == float32 else a for a in arrays]
    with np.errstate(all="ignore"):
        results = OPS[name].reference(*inputs, **attributes)
        outputs = [np.asarray(r) for r in (results if isinstance(results, tuple) else (results,))]
        return [np.where(np.isinf(single(o)), single(o), o) if o.dtype == float64 else o for o in outputs]


def largest(arrays: Sequence[Array | None]) -> float:
    """The largest finite number in some arrays."""
    real = [np.abs(a[np.isfinite(a)]) for a in arrays if a is not None and a.dtype.kind == "f"]
    return max((float(a.max(initial=0)) for a in real), default=0)


def single(array: Array) -> Array:
    """Real numbers rounded to float32, all others as they are."""
    return np.asarray(array.astype(float32) if array.dtype == float64 else array)


# --- from the cases of the public functions --------------------------------------------------------------------------


def calls_of(name: str, index: int) -> Iterator[Call]:
    """Every operation in one case, forward, in its derivative and in the derivative of that, in float64."""
    with autograd.record() as calls:
        test_ops.expected.__wrapped__(name, index)
        test_ops.Derivatives(name, index).second()
    for call in calls:
        if not call.in_place and not OPS[call.op.name].alias(*specs_of(call), **call.attributes):
            yield call


def specs_of(call: Call) -> list[Spec | None]:
    return [None if t is None else t.spec for t in call.inputs]


def write_functions(file: CaseFile) -> None:
    """Every operation in every case of the public functions."""
    for name, function in FUNCTIONS.items():
        for index in range(len(function.cases)):
            for call in calls_of(name, index):
                if call.attributes.get("dtype") == "float64":
                    continue  # a cast that in float32 is none
                arrays = [None if t is None else single(t.numpy()) for t in call.inputs]
                rtol = test_ops.GRADIENT_FACTOR * function.rtol
                expected = exact(call.op.name, call.attributes, arrays)
                file.add(call.op.name, call.attributes, arrays, expected, [rtol] * len(expected))
                if call.op.name in FUSED:
                    write_fused(file, call.op.name, call.attributes, arrays, call.outputs[0].spec, rtol)


FUSED = {"conv2d": "conv2d_fused", "linear": "linear_fused"}
CLAMPS = [(0.0, float("inf")), (-0.5, 0.75), (float("-inf"), float("inf"))]


def write_fused(
    file: CaseFile, name: str, attributes: dict[str, Any], arrays: Sequence[Array | None], output: Spec, rtol: float
) -> None:
    """A convolution or linear layer with what passes over the graph may put behind it."""
    residual = np.random.default_rng(1).standard_normal(output.shape).astype(float32)
    x, weight, bias = (*arrays, None)[:3]
    for low, high in CLAMPS:
        for added, pool in ((None, 1), (residual, 1), (None, 2)):
            more: dict[str, Any] = {"low": low, "high": high}
            if name == "conv2d":
                more |= {"pool": pool, "size_before_pool": output.shape[2:]}
            elif pool > 1:
                continue
            given = [x, weight, bias, added]
            expected = exact(FUSED[name], attributes | more, given)
            file.add(FUSED[name], attributes | more, given, expected, [rtol])


def main(path: str) -> None:
    with open(path, "wb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = CaseFile(stream)
        write_functions(file)
        write_tests_of_kernels(file)
    counts = ", ".join(f"{family} {n}" for family, n in sorted(file.written.items()))
    print(f"{sum(file.written.values())} problems ({counts}); {file.left_out} too large")


if __name__ == "__main__":
    main(sys.argv[1])
