"""Taking up what was learned before: weights by name, with a new last layer where the classes are others, and frozen
stages."""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..nn import Module
from ..nn.module import fill, some

if TYPE_CHECKING:
    from .registry import Model

M = TypeVar("M", bound=Module)
State = Mapping[str, Any]

#: The word for all of a network but its last layers.
BACKBONE = "backbone"


# --- weights ---------------------------------------------------------------------------------------------------------


def read(name: str, source: Any) -> State:
    """The tensors of `weights=` by name: a mapping as it is, else what coolnn.formats reads for this network."""
    if isinstance(source, Mapping):
        return source
    # Files know networks, so their room stands above this one and is looked up when it is needed.
    formats = importlib.import_module(f"{__package__.rpartition('.')[0]}.formats")
    state: State = formats.weights_for(name, source)
    return state


def _heads(net: Model) -> list[str]:
    present = dict(net.named_modules())
    return [path for path in (net.head, *net.auxiliary_heads) if path in present]


def _inside(key: str, paths: Iterable[str]) -> bool:
    return any(key == path or key.startswith(f"{path}.") for path in paths)


def classes_in(net: Model, state: State) -> int | None:
    """How many classes the weights are for; None where they have no last layer."""
    for key, array in state.items():
        if net.own_key(key) == f"{net.head}.weight":
            return int(array.shape[0])
    return None


def fit(net: Model, state: State, where: str = "") -> Model:
    """Fills a network with weights by name; a last layer for other classes is left out and drawn anew.

    Auxiliary classifiers that the network was built without may be in `state`. `where`: the file that it is from, for
    messages. Raises ValueError that lists every name that is missing, not known or of another shape; the network is
    then as it was.
    """
    without = [path for path in net.auxiliary if getattr(net, path) is None]
    named = {net.own_key(key): array for key, array in state.items()}
    arrays = {key: array for key, array in named.items() if not _inside(key, without)}
    own = net.state_dict()
    wrong = {key for key, array in arrays.items() if key in own and tuple(array.shape) != own[key].shape}
    replaced = [path for path in _heads(net) if any(_inside(key, [path]) for key in wrong)]
    replaced = [path for path in replaced if _other_classes(net, arrays, path)]
    arrays = {key: array for key, array in arrays.items() if not _inside(key, replaced)}
    wrong = {key for key in wrong if key in arrays}
    missing = [
        key
        for key in own
        if key not in arrays and not _inside(key, replaced) and not key.endswith("num_batches_tracked")
    ]
    if complaint := _complaint(net, own, arrays, missing, [key for key in arrays if key not in own], wrong):
        raise ValueError(f"{where}: {complaint}" if where else complaint)
    net.load_state_dict(arrays, strict=False)
    for path in replaced:
        for module in net.get_submodule(path).modules():
            for parameter in module.parameters():
                fill(parameter, np.zeros(parameter.shape, parameter.dtype))
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    for buffer in net.buffers():  # counters of batches, which old files do not have
        if buffer.is_meta:
            fill(buffer, np.zeros(buffer.shape, buffer.dtype))
    return net


def _other_classes(net: Model, arrays: State, path: str) -> bool:
    """Whether the last layer at `path` differs in nothing but the number of classes."""
    key = f"{path}.weight"
    return key in arrays and tuple(arrays[key].shape[1:]) == net.get_submodule(path).weight.shape[1:]  # type: ignore[attr-defined]


def _complaint(
    net: Model, own: State, arrays: State, missing: list[str], unexpected: list[str], wrong: Iterable[str]
) -> str:
    """What keeps the weights from fitting, every name, and what to do; nothing if they fit."""
    shapes = [f"{key} (file {tuple(arrays[key].shape)}, network {own[key].shape})" for key in sorted(wrong)]
    problems = [
        f"{what}: {some(sorted(keys))}"
        for what, keys in (("missing", missing), ("not known", unexpected), ("of another shape", shapes))
        if keys
    ]
    if not problems:
        return ""
    if any(_inside(key, net.auxiliary) for key in missing):
        remedy = "the file has no auxiliary classifiers: pass aux_logits=False"
    elif shapes and not missing and not unexpected:
        remedy = "the weights are of such a network with other settings (in_channels, widths): pass the same"
    else:
        remedy = "the weights are of another network: compare their names with those of net.state_dict()"
    return f"these weights do not fit {net.name or type(net).__name__}; {'; '.join(problems)}; {remedy}"


# --- frozen stages ---------------------------------------------------------------------------------------------------


def freeze(net: M, *paths: str) -> M:
    """Keeps parts of a network as they are while the rest is trained; returns the network.

    paths: modules such as "features" or "layer1", with * and ? for several ("layer[12]"), or "backbone" for all but
    the last layer (`net.head`). Their parameters get no gradient, and they stay in evaluation, so that batch norm uses
    what it has learned and dropout does nothing. Raises ValueError for a path that is not there.

    >>> import coolnn as cool
    >>> net = cool.models.freeze(cool.models.create("resnet20"), "conv1", "bn1", "layer[12]")
    >>> net.num_parameters(), net.num_parameters(trainable_only=True)
    (269722, 204170)
    """
    for module in _chosen(net, paths):
        module.frozen = True
        module.eval()
        module.requires_grad_(False)
    return net


def unfreeze(net: M, *paths: str) -> M:
    """Takes `freeze` back, for the parts at `paths` or for all; returns the network.

    >>> import coolnn as cool
    >>> net = cool.models.freeze(cool.models.create("resnet20"), "backbone")
    >>> cool.models.unfreeze(net, "layer3").num_parameters(trainable_only=True)
    204170
    """
    for top in _chosen(net, paths) if paths else [net]:
        for module in top.modules():
            module.frozen = False
        top.requires_grad_(True)
        top.train(net.training)
    return net


def _chosen(net: Module, paths: Iterable[str]) -> list[Module]:
    """The modules at paths or patterns, each once, with all below them."""
    named = {path: module for path, module in net.named_modules() if path}
    found: dict[str, None] = {}
    for wanted in paths:
        if wanted == BACKBONE and BACKBONE not in named:
            matches = _backbone(net, named)
        else:
            matches = [path for path in named if path == wanted or fnmatch.fnmatchcase(path, wanted)]
        if not matches:
            parts = ", ".join(name for name, child in net.named_children() if any(True for _ in child.parameters()))
            raise ValueError(
                f"{type(net).__name__} has no part {wanted!r} that could be frozen; its parts: {parts}; "
                f"or {BACKBONE} for all but the last layer"
            )
        found.update(dict.fromkeys(matches))
    return list({id(below): below for path in found for below in named[path].modules()}.values())


def _backbone(net: Module, named: Mapping[str, Module]) -> list[str]:
    heads = [path for path in (getattr(net, "head", ""), *getattr(net, "auxiliary", ())) if path in named]
    if not heads:
        raise ValueError(f"{type(net).__name__} does not say which layer is its last (head); name the parts to freeze")
    around = {head[:place] for head in heads for place, letter in enumerate(head) if letter == "."}
    return [path for path in named if path not in around and not _inside(path, heads)]
