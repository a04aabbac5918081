"""What every peer looks like from here: a module with a name, a version, and the network in its settings."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np

from .. import nn

Array = np.ndarray[Any, np.dtype[Any]]

#: Largest difference, relative to the largest output, of peers that compute in float32 like us,
FLOAT32 = 1e-4
#: and of settings in which a peer rounds to fewer digits (bfloat16 has eight bits of them).
ROUNDED = 1e-1


@dataclass(frozen=True)
class Setting:
    """A peer in one of its settings, ready to run the work again and again."""

    name: str
    run: Callable[[], Any]
    tolerance: float = FLOAT32

    @property
    def same_precision(self) -> bool:
        """Whether it computes in float32, as we do."""
        return self.tolerance == FLOAT32


class Peer(Protocol):
    """A module of this package, one for each peer."""

    PACKAGE: str

    def inferences(self, net: nn.Module, images: Array, threads: int, slow: bool) -> list[Setting]:
        """The network in evaluation mode on these pictures, in every setting that may be the fastest.

        With `slow` also those that take minutes to make. Raises NotImplementedError that says what is missing.
        """


#: Modules, in the order of the table's columns.
PEERS = ("peer_torch", "peer_onnxruntime", "peer_openvino", "peer_ncnn")


def installed() -> dict[str, str]:
    """The peers that are here, by module, with the version of their package."""
    found = {}
    for module in PEERS:
        package = package_of(module)
        if importlib.util.find_spec(package) is not None:
            try:
                found[module] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                found[module] = "unknown"
    return found


def package_of(module: str) -> str:
    """The package of a peer's module."""
    return module.removeprefix("peer_")


def load(module: str) -> Peer:
    """The module of a peer; importing it imports the peer."""
    return cast(Peer, importlib.import_module(f"{__package__}.{module}"))


def missing() -> str:
    """One line that names the peers that are not installed; empty if all are."""
    names = [package_of(module) for module in PEERS if module not in installed()]
    return f"not installed: {', '.join(names)} (pip install them to compare)" if names else ""
