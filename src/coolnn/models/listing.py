"""The zoo as a table: what every network takes and costs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..nn import meta_parameters
from .registry import create, list_models
from .summary import count_text, summary


class Entry(NamedTuple):
    """A network of the zoo: its name and class, parameters, multiply-adds for one picture, (C, H, W) of that picture,
    size of a photograph's shorter side before the crop, and the path of the last layer."""

    name: str
    family: str
    parameters: int
    macs: int
    input_size: tuple[int, int, int]
    resized: int
    head: str


def table(pattern: str = "*") -> list[Entry]:
    """The networks whose names match a pattern with * and ?, from shapes alone: no weights are made.

    >>> import coolnn as cool
    >>> entry = cool.models.table("vgg19")[0]
    >>> entry.family, entry.parameters, f"{entry.macs / 1e9:.2f} G"
    ('VGG', 143667240, '19.63 G')
    """
    return [_entry(name) for name in list_models(pattern)]


def _entry(name: str) -> Entry:
    with meta_parameters():
        net = create(name)
    found = summary(net)
    height = net.input_size[1]
    resized = round(height / net.preprocessing.keep)
    return Entry(name, type(net).__name__, found.parameters, found.macs, net.input_size, resized, net.head)


def markdown(entries: Iterable[Entry]) -> str:
    """The table in Markdown, as the documentation has it.

    >>> import coolnn as cool
    >>> print(cool.models.listing.markdown(cool.models.table("resnet18")))
    | name | class | parameters | multiply-adds | picture | shorter side before the crop | last layer |
    |---|---|---:|---:|---|---:|---|
    | resnet18 | ResNet | 11,689,512 | 1.814 G | 3×224×224 | 256 | fc |
    """
    lines = ["| name | class | parameters | multiply-adds | picture | shorter side before the crop | last layer |"]
    lines.append("|---|---|---:|---:|---|---:|---|")
    for e in entries:
        picture = "×".join(map(str, e.input_size))
        cells = (e.name, e.family, f"{e.parameters:,}", count_text(e.macs), picture, str(e.resized), e.head)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
