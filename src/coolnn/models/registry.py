"""The list of networks by name: a table of configurations, each with the class that it is built from."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import fnmatch
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from ..nn import Module, meta_parameters
from ..tensor import Tensor
from . import transfer


class WithAuxiliary(NamedTuple):
    """What networks with auxiliary classifiers give in training: scores, those of the others, and their weight.

    The loss is that of `scores` plus `weight` times that of each of `auxiliary`; `cool.Trainer` does so.
    """

    scores: Tensor
    auxiliary: tuple[Tensor, ...]
    weight: float


class FeatureInfo(NamedTuple):
    """A stage whose output other networks build on: the module's path, its channels, input pixels per output pixel."""

    name: str
    channels: int
    stride: int


# What the pictures look like that networks are usually trained on; size and channels come from the network.
def imagenet(crop: int, resized: int, **changes: Any) -> Preprocessing:
    """Photographs with the shorter side brought to `resized` pixels, of which the middle `crop` are kept."""
    return Preprocessing(**{"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "keep": crop / resized, **changes})


IMAGENET = imagenet(224, 256)
CIFAR = Preprocessing(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
MNIST = Preprocessing(mean=(0.1307,), std=(0.3081,))


class Model(Module):
    """Base of the zoo's networks: a classifier that says what it takes and where its stages are.

    Input shape: (N, C, H, W). Output shape: (N, num_classes), scores before softmax.
    """

    name: str = ""
    num_classes: int
    #: (C, H, W) of the pictures that the network is made for.
    input_size: tuple[int, int, int]
    preprocessing: Preprocessing
    feature_info: tuple[FeatureInfo, ...] = ()
    #: Path of the last layer, which gives the scores; it is replaced where the classes are others.
    head: str = "fc"
    #: Attributes that hold auxiliary classifiers (None where the network was built without), and their last layers.
    auxiliary: tuple[str, ...] = ()
    auxiliary_heads: tuple[str, ...] = ()
    #: What `create` was called with: name and arguments. None for a network that was built by its class.
    recipe: tuple[str, dict[str, Any]] | None = None

    def own_key(self, key: str) -> str:
        """What a tensor of a published file is called here; the same name for most networks."""
        return key

    @classmethod
    def for_size(cls, size: int) -> dict[str, Any]:
        """Settings that a network for pictures of size × size needs."""
        return {"image_size": size} if "image_size" in inspect.signature(cls).parameters else {}


@dataclass(frozen=True)
class ModelConfig:
    """How a network of the zoo is built: `build(num_classes=, in_channels=, **settings)`, and for which pictures."""

    name: str
    build: Callable[..., Model]
    settings: Mapping[str, Any] = field(default_factory=dict)
    num_classes: int = 1000
    input_size: tuple[int, int, int] = (3, 224, 224)
    preprocessing: Preprocessing = IMAGENET


_REGISTRY: dict[str, ModelConfig] = {}


def register(*configs: ModelConfig) -> None:
    """Enters networks into the list; raises ValueError for a name that is taken.

    >>> import coolnn as cool
    >>> from coolnn.models import ModelConfig, LeNet5
    >>> cool.models.register(ModelConfig("my_lenet", LeNet5, num_classes=5, input_size=(1, 28, 28)))
    >>> cool.models.create("my_lenet").num_classes
    5
    >>> cool.models.unregister("my_lenet")
    """
    for config in configs:
        if config.name in _REGISTRY:
            raise ValueError(f"there is already a model named '{config.name}'")
        _REGISTRY[config.name] = config


def unregister(name: str) -> None:
    """Takes a network out of the list."""
    del _REGISTRY[get_config(name).name]


def list_models(pattern: str = "*") -> list[str]:
    """Names of all networks that match a pattern with * and ?.

    >>> import coolnn as cool
    >>> cool.models.list_models("vgg1?")
    ['vgg11', 'vgg13', 'vgg16', 'vgg19']
    """
    return [name for name in sorted(_REGISTRY) if fnmatch.fnmatchcase(name, pattern)]


def get_config(name: str) -> ModelConfig:
    """The configuration of a name; raises ValueError that suggests names if there is none."""
    if name not in _REGISTRY:
        key = name.lower().replace("-", "").replace("_", "")
        plain = {known.replace("_", ""): known for known in _REGISTRY}
        close = [plain[found] for found in difflib.get_close_matches(key, plain, n=3, cutoff=0.5)]
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(list_models())}"
        raise ValueError(f"no model is named '{name}'; {hint}")
    return _REGISTRY[name]


def create(
    name: str, num_classes: int | None = None, in_channels: int | None = None, weights: Any = None, **settings: Any
) -> Model:
    """Builds a network of the zoo; `num_classes`, `in_channels`: the network's own by default.

    weights: a file (see `formats.read_tensors`) or a mapping of names to arrays, published ones say; None draws new
    ones. With weights `num_classes` is the file's by default; where another number is wanted the last layer is new.
    Further settings go to the network's class (`dropout=0.2`). Raises ValueError for a name that is not known, and for
    weights that do not fit.

    >>> import coolnn as cool
    >>> net = cool.models.create("lenet5", num_classes=26)
    >>> net(cool.zeros(2, 1, 28, 28)).shape
    (2, 26)
    >>> cool.models.create("lenet5", num_classes=2, weights=net.state_dict()).fc3.weight.shape
    (2, 84)
    """
    config = get_config(name)
    state = None if weights is None else transfer.read(name, weights)
    with contextlib.nullcontext() if state is None else meta_parameters():
        net = _build(config, num_classes, in_channels, settings)
        classes = None if state is None or num_classes is not None else transfer.classes_in(net, state)
        if classes not in (None, net.num_classes):
            net = _build(config, classes, in_channels, settings)
    if state is None:
        return net
    return transfer.fit(net, state, "" if isinstance(weights, Mapping) else str(weights))


def _build(config: ModelConfig, num_classes: int | None, in_channels: int | None, settings: dict[str, Any]) -> Model:
    classes = config.num_classes if num_classes is None else num_classes
    channels = config.input_size[0] if in_channels is None else in_channels
    for value, what in ((classes, "num_classes"), (channels, "in_channels")):
        if value < 1:
            raise ValueError(f"{what} must be 1 or more, not {value}")
    height, width = config.input_size[1:]
    if "image_size" in settings:
        height = width = settings["image_size"]
    net = config.build(num_classes=classes, in_channels=channels, **{**config.settings, **settings})
    net.name, net.num_classes, net.input_size = config.name, classes, (channels, height, width)
    net.preprocessing = _prepared_for(config.preprocessing, channels, (height, width))
    net.recipe = (config.name, {"num_classes": classes, "in_channels": channels, **settings})
    return net


def _prepared_for(preprocessing: Preprocessing, channels: int, size: tuple[int, int]) -> Preprocessing:
    """The same at the size and with the channels of a network; where their number differs, the mean over all."""
    mean, std = preprocessing.mean, preprocessing.std
    if len(mean) != channels:
        mean, std = ((round(sum(v) / len(v), 4),) * channels for v in (mean, std))
    kept = channels if channels in (1, 3) else None
    return dataclasses.replace(preprocessing, size=size, channels=kept, mean=mean, std=std)


def for_size(name: str, size: int) -> dict[str, Any]:
    """What `create` has to be told so that a network takes pictures of size × size: nothing for most.

    >>> import coolnn as cool
    >>> cool.models.for_size("lenet5", 32), cool.models.for_size("resnet18", 96)
    ({'image_size': 32}, {})
    """
    build = get_config(name).build
    if isinstance(build, type) and issubclass(build, Model):
        return build.for_size(size)
    return {"image_size": size} if "image_size" in inspect.signature(build).parameters else {}


class _Enough(Exception):
    """All wanted stages have run."""


def features(net: Module, x: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Activations of inner modules by their paths, in one forward pass that ends at the last of them.

    `names`: paths such as "layer3" or "features.28"; those of `net.feature_info` by default. Gradients flow through.
    Raises KeyError for a path that is not there, ValueError where a module was not used.

    >>> import coolnn as cool
    >>> net = cool.models.create("resnet20")
    >>> {name: y.shape for name, y in cool.models.features(net, cool.zeros(1, 3, 32, 32)).items()}
    {'layer1': (1, 16, 32, 32), 'layer2': (1, 32, 16, 16), 'layer3': (1, 64, 8, 8)}
    """
    wanted = [info.name for info in getattr(net, "feature_info", ())] if names is None else list(names)
    if not wanted:
        raise ValueError(f"name the modules whose activations you want; {type(net).__name__} names no stages itself")
    found: dict[str, Tensor] = {}
    removers: list[Callable[[], None]] = []

    def keep(name: str) -> Callable[[Module, tuple[Any, ...], Any], None]:
        def hook(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
            found[name] = output
            if len(found) == len(set(wanted)):
                raise _Enough

        return hook

    try:
        for name in dict.fromkeys(wanted):
            removers.append(net.get_submodule(name).register_forward_hook(keep(name)))
        net(x)
    except _Enough:
        pass
    finally:
        for remove in removers:
            remove()
    unused = [name for name in wanted if name not in found]
    if unused:
        raise ValueError(f"these modules did not run in forward: {', '.join(unused)}")
    return {name: found[name] for name in wanted}
