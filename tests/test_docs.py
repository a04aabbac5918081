"""Every example in a docstring runs and gives what it says."""

import doctest
import importlib
import pkgutil

import pytest

import coolnn
from coolnn import random
from coolnn.ops.register import OpFunction

MODULES = ["coolnn", *(module.name for module in pkgutil.walk_packages(coolnn.__path__, "coolnn."))]


@pytest.fixture(autouse=True)
def as_if_alone(tmp_path, monkeypatch):
    """Examples may write files, and change switches, without others noticing."""
    monkeypatch.chdir(tmp_path)
    state, threads = random.get_state(), coolnn.get_num_threads()
    yield
    random.set_state(state)
    coolnn.set_num_threads(threads)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith(("__main__", "._core"))])
def test_examples(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("coolnn"):
            raise
        pytest.skip(f"needs {error.name}, which is not installed")
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS, verbose=False)
    report = []
    for example in finder.find(module, name, globs={}):
        registered = set(coolnn.ops.OPS)
        coolnn.manual_seed(0)
        runner.run(example, out=report.append, clear_globs=True)
        for added in set(coolnn.ops.OPS) - registered:  # what an example registers is gone after it
            if isinstance(getattr(coolnn.ops, added, None), OpFunction):
                del coolnn.ops.OPS[added]
                delattr(coolnn.ops, added)
    assert runner.failures == 0, "".join(report)
