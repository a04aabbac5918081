"""How a network is built, as plain JSON values: a name in the model registry, or a tree of the library's layers."""

from __future__ import annotations

from typing import Any

from .. import models, nn

_LIMIT = 100_000  # layers; no real network comes near, a malicious file might
_DEPTH = 64


class ArchitectureError(ValueError):
    """A network that cannot be written down without code, or a description that makes no network."""


def describe(net: nn.Module) -> dict[str, Any]:
    """The description of a network made by `models.create` or of layers from `coolnn.nn`.

    Raises ArchitectureError for a class of the user's own that is not in the model registry: its code is not data.
    """
    if isinstance(net, models.Model) and net.recipe is not None:
        name, options = net.recipe
        return {"model": name, "options": _encode(options, net, 0)}
    return _encode_layer(net, 0)


def build(description: Any) -> nn.Module:
    """Makes the network of a description, its parameters without numbers; raises ArchitectureError if it makes none."""
    if not isinstance(description, dict):
        raise ArchitectureError("the description of the network is not a JSON object")
    count = [0]
    with nn.meta_parameters():
        try:
            if "model" in description:
                return models.create(str(description["model"]), **_decode(description.get("options", {}), count, 0))
            return _decode_layer(description, count, 0)
        except ArchitectureError:
            raise
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError, MemoryError) as error:
            raise ArchitectureError(f"the description of the network makes no network: {error}") from error


def _layer_classes() -> dict[str, type[nn.Module]]:
    return {
        name: value
        for name in nn.__all__
        if isinstance(value := getattr(nn, name), type) and issubclass(value, nn.Module) and value is not nn.Module
    }


def _encode_layer(module: nn.Module, depth: int) -> dict[str, Any]:
    kind = type(module)
    if _layer_classes().get(kind.__name__) is not kind:
        raise ArchitectureError(
            f"a network of the class {kind.__name__} cannot be saved: a model file holds no code; build it from "
            "coolnn.nn layers, or register it with @coolnn.models.register; its weights alone can be saved as "
            "coolnn.formats.save_weights(net, path)"
        )
    args, kwargs = module.arguments
    return {
        "layer": kind.__name__,
        "args": [_encode(value, module, depth + 1) for value in args],
        "kwargs": {key: _encode(value, module, depth + 1) for key, value in kwargs.items()},
    }


def _encode(value: Any, owner: nn.Module, depth: int) -> Any:
    if isinstance(value, nn.Module):
        return _encode_layer(value, depth)
    if isinstance(value, tuple | list):
        return [_encode(item, owner, depth) for item in value]
    if isinstance(value, dict):
        if "layer" in value:
            raise ArchitectureError(f"an argument of {type(owner).__name__} has a key 'layer', which is reserved")
        return {str(key): _encode(item, owner, depth) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ArchitectureError(
        f"an argument of {type(owner).__name__} is a {type(value).__name__}, which is not plain data"
    )


def _decode_layer(value: dict[str, Any], count: list[int], depth: int) -> nn.Module:
    count[0] += 1
    if count[0] > _LIMIT or depth > _DEPTH:
        raise ArchitectureError(f"the network has more than {_LIMIT} layers or is nested deeper than {_DEPTH}")
    kind = _layer_classes().get(str(value.get("layer")))
    if kind is None:
        raise ArchitectureError(f"the network has a layer {value.get('layer')!r}, which this version does not know")
    args = [_decode(item, count, depth + 1) for item in value.get("args", [])]
    kwargs = {str(key): _decode(item, count, depth + 1) for key, item in value.get("kwargs", {}).items()}
    return kind(*args, **kwargs)


def _decode(value: Any, count: list[int], depth: int) -> Any:
    if isinstance(value, dict):
        if "layer" in value:
            return _decode_layer(value, count, depth)
        return {key: _decode(item, count, depth) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_decode(item, count, depth) for item in value)
    return value
