"""The ONNX standard's own suite against the backend, and files that were damaged in every way."""

from __future__ import annotations

import sys
import unittest
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")

sys.path.insert(0, str(Path(__file__).parent))

import onnx_conformance as suite
import onnx_mutants as mutants
from onnx import helper

from coolnn.formats.onnx import backend

DOCUMENT = Path(__file__).parent.parent / "docs" / "onnx.md"


def not_passing(kind, convolutional_only):
    """Names of the cases of a kind that do not pass, and how many there are."""
    count, names = 0, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in suite.load_model_tests(kind=kind):
            if convolutional_only and not suite.is_convolutional(case):
                continue
            count += 1
            if suite.outcome(case)[0] != "passed":
                names.append(case.name)
    return count, names


@pytest.mark.parametrize("kind", ["pytorch-converted", "pytorch-operator", "real"])
def test_networks_of_the_suite(kind):
    assert not_passing(kind, False)[1] == []


def test_single_operators_of_convolutional_networks():
    count, names = not_passing("node", True)
    assert count > 800
    unexplained = [name for name in names if f"`{name}`" not in DOCUMENT.read_text()]
    assert not unexplained


def test_the_backend_interface():
    node = helper.make_node("Add", ["a", "b"], ["c"])
    (c,) = backend.run_node(node, [np.array([1, 2], np.float32), np.array([3], np.float32)])
    assert c.tolist() == [4, 5]
    assert backend.supports_device("CPU") and not backend.supports_device("CUDA")
    strange = helper.make_graph(
        [helper.make_node("Strange", [], ["y"])], "g", [], [helper.make_empty_tensor_value_info("y")]
    )
    assert not backend.is_compatible(helper.make_model(strange))


def test_the_suites_own_runner_takes_the_backend():
    from onnx.backend.test import BackendTest

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = BackendTest(backend, __name__).include("test_relu").include("test_Conv2d_cpu").test_suite
        result = unittest.TestResult()
        cases.run(result)
    assert result.testsRun and not result.failures and not result.errors


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32 - 1), st.sampled_from([mutants.mutated_bytes, mutants.mutated_model]))
def test_damaged_files_meet_the_readers_own_error(tmp_path_factory, seed, mutate):
    folder = tmp_path_factory.getbasetemp()
    (folder / "weights.bin").write_bytes(bytes(16))
    mutants.attempt(mutate(np.random.default_rng(seed)), folder)
