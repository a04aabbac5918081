"""The house rules that a program can check: who may import whom, and how long files get."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "coolnn"

# From the ground up; a room may use what stands before it. tensor, autograd and ops are one floor.
FLOORS = [
    {"_core", "spec", "callable_module"},
    {"tensor", "autograd", "ops", "random"},
    {"options", "gradcheck", "files", "machine", "verbose"},
    {"nn", "optim"},
    {"models", "data", "graph"},
    {"formats"},
    {"explain"},
    {"train"},
    {"tasks"},
    {"diagnosis", "bench"},
    {"cli", "__main__"},
]


def floor_of(room: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def imported_rooms(path: Path) -> set[str]:
    """The rooms of the package that a file imports, at the top or inside a function."""
    package = path.relative_to(PACKAGE).parts[:-1]
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or node.level == 0:
            continue
        base = package[: len(package) - (node.level - 1)]
        parts = (*base, *(node.module.split(".") if node.module else ()))
        rooms |= {parts[0]} if parts else {alias.name for alias in node.names}
    return rooms - {"__version__"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for imported in imported_rooms(path):
        assert floor_of(imported) <= floor_of(room), f"{room} imports {imported}, which stands above it"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_readable(path):
    assert len(path.read_text().splitlines()) <= 800
