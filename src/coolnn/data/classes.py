"""Names of the classes that published networks know, in the order of their outputs."""

from __future__ import annotations

from functools import cache

from .binary import CIFAR10_CLASSES, DIGITS
from .errors import DataError


@cache
def _imagenet() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """WordNet's id of each of ImageNet's 1,000 classes, and what the thing is called."""
    from importlib.resources import files  # takes longer to load than this file to read

    lines = (files(__package__) / "imagenet_classes.txt").read_text("utf-8").splitlines()
    rows = (line.split(" ", 1) for line in lines)
    return tuple((wordnet, tuple(name.strip() for name in names.split(","))) for wordnet, names in rows)


def class_names(name: str) -> list[str]:
    """Names of the classes of "imagenet", "cifar10" or "digits", one each, no two the same.

    >>> import coolnn as cool
    >>> cool.data.class_names("imagenet")[:3]
    ['tench', 'goldfish', 'great white shark']
    """
    if name == "imagenet":
        names = [names[0] for _, names in _imagenet()]
        # A few words mean two things (crane, the bird and the machine): those get a second name or their id.
        seconds = [f"{known[0]} ({known[1] if len(known) > 1 else wordnet})" for wordnet, known in _imagenet()]
        return [second if names.count(first) > 1 else first for first, second in zip(names, seconds, strict=True)]
    if name in ("cifar10", "digits"):
        return list(CIFAR10_CLASSES if name == "cifar10" else DIGITS)
    raise DataError(f"there are no class names of {name!r}; there are those of imagenet, cifar10 and digits")


def wordnet_ids() -> list[str]:
    """WordNet's ids of ImageNet's 1,000 classes, in their order: what its folders and files are called.

    >>> import coolnn as cool
    >>> cool.data.wordnet_ids()[0]
    'n01440764'
    """
    return [wordnet for wordnet, _ in _imagenet()]
