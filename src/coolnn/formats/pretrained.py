"""Networks of the zoo with weights from a file: what the file does not say is in a description beside it, or is asked.

A file FILE of weights may have a description FILE.json: a JSON object with any of `model` (a name of the zoo),
`preprocessing` (see `coolnn.data.adapted`), `labels` (the classes' names, or "imagenet", "cifar10", "digits"), `rename`
(see `coolnn.formats.renamed`) and `key` (the entry of a checkpoint).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .. import data, models
from ..data.presets import Described
from . import tensors
from .model_file import Model
from .tensors import Array, FileFormatError
from .weights import read_tensors, renamed

#: Asks for the weights that others have published, see `coolnn.models.find_weights`.
DEFAULT = "default"
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Description:
    """What a file of weights does not say itself."""

    model: str | None = None
    preprocessing: str | Mapping[str, Any] | None = None
    labels: str | Sequence[str] | None = None
    rename: Mapping[str, str | None] | None = None
    key: str | None = None


def describe_file(path: str | os.PathLike[str]) -> Description:
    """The description beside a file of weights (its name and ".json"), or an empty one; raises FileFormatError."""
    beside = Path(f"{os.fspath(path)}.json")
    if not beside.is_file():
        return Description()
    try:
        if beside.stat().st_size > _LARGEST:
            raise ValueError("it is larger than a description could be")
        values = json.loads(beside.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{beside} is not a description of weights ({error})") from error
    known = {field.name for field in fields(Description)}
    if not isinstance(values, dict) or set(values) - known:
        found = f"an entry {sorted(set(values) - known)[0]!r}" if isinstance(values, dict) else "no object"
        raise FileFormatError(f"{beside} has {found}; a description has: {', '.join(sorted(known))}")
    for name, kinds in (("model", str), ("preprocessing", (str, dict)), ("rename", dict), ("key", str)):
        if values.get(name) is not None and not isinstance(values[name], kinds):
            raise FileFormatError(f"{beside}: {name} is a {type(values[name]).__name__}")
    _check_labels(values.get("labels"), str(beside))
    if not all(value is None or isinstance(value, str) for value in (values.get("rename") or {}).values()):
        raise FileFormatError(f"{beside}: rename has names that are no text")
    return Description(**values)


def weights_for(model: str, source: str | os.PathLike[str]) -> dict[str, Array]:
    """The weights that `models.create(model, weights=source)` asks for: a file's, or "default" for the published ones.

    What the description beside the file says of names holds. Raises FileNotFoundError, FileFormatError, or
    MissingDataError that says how to get the published weights.
    """
    path = models.find_weights(model) if source == DEFAULT else Path(source)
    described = describe_file(path)
    arrays = read_tensors(path, described.key)
    try:
        return renamed(arrays, described.rename or {})
    except ValueError as error:
        raise FileFormatError(f"{path}.json: {error}") from error


def open_pretrained(
    model: str | None = None,
    weights: str | os.PathLike[str] = DEFAULT,
    *,
    preprocessing: Described | None = None,
    size: int | None = None,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
) -> Model:
    """A network of the zoo with weights, ready for use: evaluation mode, preprocessing, names of the classes.

    weights: a file, or "default" for the published ones. What is not given comes from the description beside the file,
    else from what is known of published weights, else from the network's entry in the zoo. size: side of the pictures,
    where the network takes other sizes. Raises ValueError for a name that is not known, FileFormatError or
    MissingDataError that names the file.

    >>> import coolnn as cool, tempfile, os
    >>> net = cool.models.create("resnet20")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "weights.safetensors")
    ...     cool.formats.save_weights(net, path)
    ...     model = cool.formats.open_pretrained("resnet20", path, labels="cifar10")
    >>> model.labels[:2], model.input_size
    (['airplane', 'automobile'], (32, 32, 3))
    """
    path = None if weights == DEFAULT else Path(weights)
    if path is not None and not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    described = Description() if path is None else describe_file(path)
    model = model or described.model
    if model is None:
        raise ValueError(
            f"{path} holds weights without a network; name the network (vgg16, resnet50, ... cool models list)"
        )
    path = path or models.find_weights(model)
    net = models.create(model, weights=path, **(models.for_size(model, size) if size else {}))
    wanted = labels if labels is not None else described.labels
    known = models.PUBLISHED.get(model)
    if wanted is None and known is not None and (known.file == path.name or net.num_classes == 1000):
        wanted = known.publisher.classes
    prepared = preprocessing_for(net, path, preprocessing, size)
    return Model(net.eval(), label_names(wanted, net.num_classes), prepared)


def preprocessing_for(
    net: models.Model,
    weights: str | os.PathLike[str],
    preprocessing: Described | None = None,
    size: int | None = None,
) -> data.Preprocessing:
    """What weights want of pictures: the network's entry in the zoo, changed by what is known of the file.

    In this order: what is known of published files, what the file says of its input, the description beside it,
    `preprocessing`, `size`.
    """
    path = models.find_weights(net.name) if weights == DEFAULT else Path(weights)
    known = models.PUBLISHED.get(net.name)
    prepared = net.preprocessing
    for change in (
        known.publisher.preprocessing if known is not None and known.file == path.name else None,
        stated_input(path),
        describe_file(path).preprocessing,
        preprocessing,
        {"size": size} if size else None,
    ):
        prepared = prepared if change is None else data.adapted(prepared, change)
    return prepared


def stated_input(path: Path) -> dict[str, Any] | None:
    """What a safetensors file says of its input in words, "BGR, 0..255, minus mean [104, 117, 123], 227x227" say."""
    if not tensors.is_safetensors(path):
        return None
    text = tensors.read_metadata(path).get("input", "")
    means = re.search(r"mean\s*\[([\d.,\s]+)\]", text) if isinstance(text, str) else None
    if means is None or "0..255" not in text:
        return None
    values = [float(value) for value in re.findall(r"\d+(?:\.\d+)?", means[1])]
    fields: dict[str, Any] = {"like": "caffe", "mean": values, "std": [1.0] * len(values)}
    fields["order"] = "bgr" if "BGR" in text else "rgb"
    size = re.search(r"\b(\d{2,4})x(\d{2,4})\b", text)
    return {**fields, "size": [int(size[1]), int(size[2])]} if size else fields


def label_names(labels: str | os.PathLike[str] | Sequence[str] | None, count: int) -> list[str]:
    """Names of `count` classes: those of "imagenet", "cifar10" or "digits", of a file with a name a line, or a list.

    None gives no names. Raises ValueError if they are not as many.
    """
    if labels is None:
        return []
    if not isinstance(labels, str | os.PathLike):
        names = [str(name) for name in labels]
    elif Path(labels).is_file():
        names = Path(labels).read_text("utf-8", "replace").splitlines()
    else:
        names = data.class_names(os.fspath(labels))
    if len(names) != count:
        raise ValueError(f"there are {len(names)} labels for {count} classes")
    return names


def _check_labels(labels: Any, where: str) -> None:
    whole = isinstance(labels, list) and all(isinstance(name, str) for name in labels)
    if labels is not None and not isinstance(labels, str) and not whole:
        raise FileFormatError(f"{where}: labels are neither a name nor a list of names")
