"""What the package promises to whoever installs it, read from its files: nothing is built here."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

import coolnn as cool

ROOT = Path(__file__).parent.parent
if not (ROOT / "pyproject.toml").exists():
    pytest.skip("not a working tree", allow_module_level=True)

PROJECT = (ROOT / "pyproject.toml").read_text()
ALLOWED = {"numpy": "numpy", "pillow": "PIL", "safetensors": "safetensors"}
#: Looked for at run time, with words of what to install; never needed.
OPTIONAL = {"mlxtend", "tensorboard", "torch", "matplotlib", "onnx", "onnxruntime", "openvino", "ncnn"}


def test_three_dependencies_and_no_more():
    listed = re.search(r"^dependencies = \[(.*?)\]", PROJECT, re.S | re.M)
    assert listed is not None
    assert {re.match(r"[a-z]+", name).group() for name in re.findall(r'"(.*?)"', listed[1])} == set(ALLOWED)


def test_versions_agree():
    assert re.search(r'^version = "(.*?)"', PROJECT, re.M)[1] == cool.__version__


def test_the_command_is_there():
    assert 'cool = "coolnn.cli:main"' in PROJECT


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=lambda p: p.stem)
def test_nothing_else_is_imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        for name in names:
            top = name.split(".")[0]
            assert top in sys.stdlib_module_names | set(ALLOWED.values()) | OPTIONAL | {"coolnn"}, name


def test_optional_packages_are_imported_where_they_are_used():
    # A peer's modules are imported as a whole only where the peer is there (bench/peers.py).
    bench = ROOT / "src/coolnn/bench"
    for path in {*(ROOT / "src").rglob("*.py")} - {*bench.glob("peer_*.py"), *bench.glob("torch_*.py")}:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0):
                text = ast.unparse(node)
                assert not any(re.search(rf"\b{name}\b", text) for name in OPTIONAL), f"{path.name}: {text}"


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "ARCHITECTURE.md", "CONTRIBUTING.md", "Makefile"])
def test_what_a_visitor_looks_for(name):
    assert (ROOT / name).stat().st_size > 10


def test_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test", "lint", "bench", "build"):
        assert re.search(rf"^{target}:", makefile, re.M)
