"""The model file: weights, architecture, preprocessing, labels and metrics in one safetensors file, no code in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn
from ..data import Preprocessing
from . import architecture, tensors

FORMAT = 1
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class Model:
    """A network with all that is needed to use it: how pictures are prepared and what its outputs are called."""

    net: nn.Module
    labels: list[str] = field(default_factory=list)
    preprocessing: Preprocessing | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    task: str = "classify"

    @property
    def name(self) -> str:
        """Name of the architecture."""
        described = architecture.describe(self.net)
        return str(described.get("model", described.get("layer")))

    @property
    def input_size(self) -> tuple[int, int, int]:
        """Height, width and channels of the pictures that the network was trained on."""
        if self.preprocessing is None or self.preprocessing.size is None or self.preprocessing.channels is None:
            raise ValueError("this model does not say what size its input has")
        return (*self.preprocessing.size, self.preprocessing.channels)


def save(
    net: nn.Module | Model,
    path: str | os.PathLike[str],
    *,
    labels: Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
    metrics: Mapping[str, float] | None = None,
    half: bool = False,
) -> None:
    """Writes a network as a model file, atomically.

    Takes a `Model`, or a network with labels (the classes' names in order), preprocessing and metrics beside it. half:
    weights of float32 are written as float16, half as large; loading makes them float32 again. Raises
    ArchitectureError for a network whose architecture is code of the user's own, OSError if the disk is full.

    >>> import coolnn as cool, tempfile, os
    >>> net = cool.models.create("lenet5", num_classes=10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "digits.safetensors")
    ...     cool.save(net, path, labels=list("0123456789"))
    ...     cool.load(path).labels[3]
    '3'
    """
    model = net if isinstance(net, Model) else Model(net, list(labels), preprocessing, dict(metrics or {}))
    description = architecture.describe(model.net)
    header = {
        "kind": "model",
        "format": FORMAT,
        "architecture": description,
        "labels": model.labels,
        "preprocessing": None if model.preprocessing is None else model.preprocessing.to_json(),
        "metrics": model.metrics,
        "task": model.task,
    }
    state = {name: tensor.numpy() for name, tensor in model.net.state_dict().items()}
    _check_rebuilds(model.net, description, state)
    if half:
        state = {name: a.astype(np.float16) if a.dtype == np.float32 else a for name, a in state.items()}
    tensors.write(path, state, header)


def load(path: str | os.PathLike[str]) -> Model:
    """Reads a model file: the network in evaluation mode, with labels, preprocessing and metrics.

    Everything is checked before memory is taken: header, architecture, names and shapes. Raises FileNotFoundError or
    FileFormatError that names the file and what is wrong with it.
    """
    path = Path(path)
    arrays, header = tensors.read(path, "model")
    if header.get("format") != FORMAT:
        raise tensors.FileFormatError(
            f"{path} has format {header.get('format')}, this version reads format {FORMAT}; update coolnn"
        )
    labels, metrics = header.get("labels", []), header.get("metrics", {})
    if not (isinstance(labels, list) and all(isinstance(name, str) for name in labels)):
        raise tensors.FileFormatError(f"{path}: the labels are not a list of names")
    if not isinstance(metrics, dict):
        raise tensors.FileFormatError(f"{path}: the metrics are not a table")
    try:
        net = architecture.build(header.get("architecture"))
        net.load_state_dict(arrays)
        described = header.get("preprocessing")
        preprocessing = None if described is None else Preprocessing.from_json(described)
    except (ValueError, TypeError, KeyError) as error:
        raise tensors.FileFormatError(f"{path}: {error}") from error
    return Model(net.eval(), labels, preprocessing, metrics, str(header.get("task", "classify")))


def save_weights(net: nn.Module, path: str | os.PathLike[str]) -> None:
    """Writes only the weights of any network, by the names of its state dict, atomically."""
    tensors.write(path, {name: tensor.numpy() for name, tensor in net.state_dict().items()}, {"kind": "weights"})


def _check_rebuilds(net: nn.Module, description: Mapping[str, Any], state: Mapping[str, Array]) -> None:
    """A network that was changed after it was made would not come back: better to say so now than when it is needed."""
    twin = architecture.build(description)
    if repr(twin) != repr(net):
        raise architecture.ArchitectureError(
            "the network was changed after it was made, so its description no longer fits; "
            "build it from coolnn.nn layers as it is now, or save its weights alone with coolnn.formats.save_weights"
        )
    shapes = {name: tensor.shape for name, tensor in twin.state_dict().items()}
    if shapes != {name: array.shape for name, array in state.items()}:
        raise architecture.ArchitectureError("the network's weights do not have the shapes that its layers ask for")
