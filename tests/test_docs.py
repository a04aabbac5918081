"""Every example in the docstrings runs and gives what it says."""

import doctest
import importlib
import pkgutil

import pytest

import coolnn

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(coolnn.__path__, "coolnn.")
    if not info.name.rsplit(".", 1)[-1].startswith("_")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    coolnn.manual_seed(0)
    report = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert report.failed == 0
