"""How pictures are prepared for networks of well-known origin, by name, and changes of it in words or JSON."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import DataError
from .preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

_SCALED = {"scale": 1 / 255, "order": "rgb"}

#: What networks of an origin want of pixels; size and crop are the network's own.
PRESETS: dict[str, dict[str, Any]] = {
    "imagenet": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, **_SCALED},  # PyTorch's
    "centred": {"mean": (0.5,) * 3, "std": (0.5,) * 3, **_SCALED},  # TensorFlow's: -1 to 1
    "unit": {"mean": (0.0,) * 3, "std": (1.0,) * 3, **_SCALED},  # 0 to 1
    "caffe": {  # blue first, 0 to 255 less the mean
        **{"mean": (104.0, 117.0, 123.0), "std": (1.0,) * 3, "scale": 1.0, "order": "bgr", "interpolation": "bicubic"}
    },
}

#: What may be said of the preprocessing of a network: a preset's name, JSON, a file of JSON, or values by name.
Described = str | os.PathLike[str] | Mapping[str, Any]


def adapted(base: Preprocessing, described: Described) -> Preprocessing:
    """`base` with what is described changed: the name of a preset, fields of `Preprocessing` (with "like" for a preset
    to begin with), the same as JSON text, or a JSON file.

    size may be one number for a square; unless keep is given, the picture's shorter side is brought to as many pixels
    more than the crop as `base` says, in proportion to its size (224 of 256 becomes 227 of 256).
    Raises DataError that says what is not known.

    >>> import coolnn as cool
    >>> base = cool.data.Preprocessing(size=(224, 224), channels=3, keep=224 / 256)
    >>> wanted = cool.data.adapted(base, {"like": "caffe", "size": 227})
    >>> wanted.order, wanted.mean, round(256 * wanted.keep)
    ('bgr', (104.0, 117.0, 123.0), 227)
    """
    fields = dict(described) if isinstance(described, Mapping) else _read(described)
    like = fields.pop("like", None)
    if like is not None:
        fields = {**_preset(like), **fields}
    known = {field.name for field in dataclasses.fields(Preprocessing)}
    if unknown := sorted(set(fields) - known):
        raise DataError(f"preprocessing has no field {unknown[0]!r}; it has: like, {', '.join(sorted(known))}")
    if "size" in fields:
        fields["size"] = _size(fields["size"])
        if base.size is not None and fields["size"] is not None and "keep" not in fields:
            fields["keep"] = min(1.0, base.keep * min(fields["size"]) / min(base.size))
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    try:
        return dataclasses.replace(base, **values)
    except TypeError as error:
        raise DataError(f"the preprocessing {fields} has values of the wrong kind ({error})") from error


def _preset(name: Any) -> dict[str, Any]:
    if name not in PRESETS:
        raise DataError(f"there is no preprocessing named {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]


def _size(value: Any) -> tuple[int, int] | None:
    sides = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, list | tuple) else value
    if sides is not None and not (
        isinstance(sides, tuple) and len(sides) == 2 and all(isinstance(side, int) for side in sides)
    ):
        raise DataError(f"size is a number of pixels, or (height, width), not {value!r}")
    return sides


def _read(described: str | os.PathLike[str]) -> dict[str, Any]:
    """Fields of a preset's name, of JSON text or of a JSON file."""
    text = os.fspath(described)
    if text in PRESETS:
        return dict(PRESETS[text])
    if not text.lstrip().startswith("{"):
        if not text.endswith(".json") and not Path(text).is_file():
            _preset(text)
        try:
            text = Path(text).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"the preprocessing {described} cannot be read ({error})") from error
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the preprocessing {described} is not JSON ({error})") from error
    if not isinstance(fields, dict):
        raise DataError(f"the preprocessing {described} is not a JSON object")
    return fields
