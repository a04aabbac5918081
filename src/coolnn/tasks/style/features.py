"""What a picture looks like to VGG: its layers' activations, from which content and style are read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ... import data, models, nn
from ...data.errors import MissingDataError
from ...formats import FileFormatError, read_tensors, renamed
from ...formats.pretrained import describe_file
from ...models.vgg import STAGES
from ...tensor import Tensor

Array = np.ndarray[Any, np.dtype[Any]]
Pooling = Literal["max", "avg"]

#: The networks, by the number of their convolutions.
_STAGES = {"vgg16": STAGES["D"], "vgg19": STAGES["E"]}
#: How Keras, Caffe and those who follow them call the convolution number j of stage i; their pictures are Caffe's.
_BY_STAGE = re.compile(r"(?:block|conv)(\d)_(?:conv)?(\d)(?:_[12])?\.(weight|bias)")
_SUFFIXES = (".npz", ".safetensors", ".pth", ".pt")


class Features(nn.Module):
    """The convolutions of VGG up to the last layer asked for; takes pictures less their mean, RGB from 0 to 255.

    What the network wants of pixels (order and scale of the channels) is part of its first convolution here, so that
    a step of the optimiser means the same for weights of any origin. Input shape: (N, 3, H, W). Output: the activations
    of `layers` by name ("relu4_2": after the second convolution of the fourth stage, "conv4_2": before its ReLU).
    """

    def __init__(self, network: str, layers: Sequence[str], pooling: Pooling = "max") -> None:
        stages = stages_of(network)
        wanted = list(dict.fromkeys(layers))
        unknown = [name for name in wanted if name not in layer_names(network)]
        if unknown or not wanted:
            raise ValueError(
                f"{network} has no layer {(unknown or ['named'])[0]!r}; it has relu1_1 to relu5_{len(stages[4])}"
            )
        self.network, self.wanted, self.pooling = network, wanted, pooling
        self.mean = np.zeros(3, np.float32)
        last = max(layer_names(network).index(name) for name in wanted) // 2
        channels, count = 3, 0
        for stage, widths in enumerate(stages, 1):
            for place, width in enumerate(widths, 1):
                if count <= last:
                    setattr(self, f"conv{stage}_{place}", nn.Conv2d(channels, width, 3, padding=1))
                channels, count = width, count + 1
        self.pool = nn.MaxPool2d(2, 2) if pooling == "max" else nn.AvgPool2d(2, 2)

    @property
    def convolutions(self) -> dict[str, nn.Conv2d]:
        """The convolutions by name, in their order."""
        return {name: layer for name, layer in self.named_children() if isinstance(layer, nn.Conv2d)}

    def stride(self, layer: str) -> int:
        """Pixels of the picture per pixel of a layer."""
        return int(1 << (int(layer[-3]) - 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = dict(self.walk(x))
        return {name: found[name] for name in self.wanted}

    def walk(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The layers asked for, each as soon as it is computed. What is made of a layer at once goes backward together
        with it, too, and not before everything else, which would keep the gradients of all layers in memory."""
        stage = "1"
        for name, convolution in self.convolutions.items():
            if name[4] != stage:
                x, stage = self.pool(x), name[4]
            x = convolution(x)
            if name in self.wanted:
                yield name, x
            x = x.relu()
            if "relu" + name[4:] in self.wanted:
                yield "relu" + name[4:], x

    def prepare(self, images: Array) -> Array:
        """Pictures (H, W, 3) or (N, H, W, 3) of 0..255 as what the network takes, float32 (N, 3, H, W)."""
        batch = images[None] if images.ndim == 3 else images
        return np.ascontiguousarray(batch - self.mean, np.float32).transpose(0, 3, 1, 2)


def stages_of(network: str) -> tuple[tuple[int, ...], ...]:
    """Channels of the convolutions of each stage; raises ValueError for networks without a known use here."""
    if network not in _STAGES:
        raise ValueError(f"styles are read by vgg16 or vgg19, not {network!r}")
    return _STAGES[network]


def layer_names(network: str) -> list[str]:
    """All layers of a network in their order: conv1_1, relu1_1, conv1_2, ..."""
    stages = stages_of(network)
    return [
        f"{kind}{i}_{j}"
        for i, widths in enumerate(stages, 1)
        for j in range(1, len(widths) + 1)
        for kind in ("conv", "relu")
    ]


# --- weights ---------------------------------------------------------------------------------------------------------


def find_weights(network: str | None = None) -> tuple[str, Path]:
    """VGG19's or VGG16's weights on this computer, and which of the two they are; nothing is downloaded.

    Looks where `cool models get` puts them, and there for any file named after the network. Raises MissingDataError
    that says how to get them and what works without.
    """
    place = models.weights_folder()
    for name in ("vgg19", "vgg16") if network is None else (network,):
        try:
            return name, models.find_weights(name, place)
        except MissingDataError:
            pass
        for path in (*sorted(place.glob(f"{name}*")), *sorted(place.glob(f"*/{name}*"))):
            if path.suffix in _SUFFIXES and "_bn" not in path.name:
                return name, path
    wanted = network or "vgg19"
    published = models.published_weights(wanted)
    raise MissingDataError(
        f"style transfer by optimisation needs the weights of {wanted}, which are not here: run "
        f"`cool models get {wanted}` ({published.mebibytes:,.0f} MiB), or give a file of VGG16's or VGG19's weights "
        "(--weights FILE). Without them networks that have learned a style work: cool style PHOTO --model NAME|FILE"
    )


def load(
    layers: Iterable[str],
    network: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    pooling: Pooling = "max",
    preprocessing: data.Described | None = None,
) -> Features:
    """The convolutions of VGG with their weights, as far as the last of `layers`.

    weights: a file with torchvision's names (features.0.weight), Keras' (block1_conv1.weight) or Caffe's
    (conv1_1.weight), which is told from its names; None for what is on this computer. preprocessing: what the weights
    want of pixels where their names do not tell. Raises MissingDataError, FileFormatError, FileNotFoundError or
    ValueError.
    """
    if weights is None:
        network, path = find_weights(network)
    else:
        path = Path(weights)
    described = describe_file(path)
    arrays = read_tensors(path, described.key)
    if described.rename:
        arrays = renamed(arrays, described.rename)
    convolutions, caffe = _convolutions(arrays, path)
    found = f"vgg{len(convolutions) // 2 + 3}"
    if network is not None and network != found:
        raise FileFormatError(f"{path} holds the convolutions of {found}, not of {network}")
    with nn.meta_parameters():
        net = Features(found, list(layers), pooling)
    prepared = data.adapted(models.get_config(found).preprocessing, "caffe" if caffe else "imagenet")
    for change in (described.preprocessing, preprocessing):
        prepared = prepared if change is None else data.adapted(prepared, change)
    names = [name for name in layer_names(found) if name.startswith("conv")]
    state = dict(zip([f"{n}.{kind}" for n in names for kind in ("weight", "bias")], convolutions, strict=True))
    own = net.state_dict().keys()
    state = {name: np.asarray(array, np.float32) for name, array in state.items() if name in own}
    net.mean = _take_pixels(state, prepared)
    try:
        net.load_state_dict(state)
    except ValueError as error:
        raise FileFormatError(f"{path}: {error}") from error
    return net.eval().requires_grad_(False)


def _convolutions(arrays: Mapping[str, Array], path: Path) -> tuple[list[Array], bool]:
    """Weight and bias of each convolution in their order, and whether their names are those of Caffe's pictures."""
    found: dict[tuple[int, ...], Array] = {}
    caffe = False
    for name, array in arrays.items():
        by_stage = _BY_STAGE.fullmatch(name)
        by_number = re.fullmatch(r"(?:features\.)?(\d+)\.(weight|bias)", name)
        if by_stage:
            caffe = True
            found[int(by_stage[1]), int(by_stage[2]), by_stage[3] == "bias"] = array
        elif by_number and array.ndim in (1, 4):
            found[int(by_number[1]), by_number[2] == "bias"] = array
    ordered = [found[key] for key in sorted(found)]
    widths = {name: [w for stage in stages for w in stage] for name, stages in _STAGES.items()}
    kernels = [array.shape for array in ordered[::2]]
    if [shape[0] for shape in kernels] not in widths.values() or any(len(s) != 4 or s[2:] != (3, 3) for s in kernels):
        some = ", ".join(list(arrays)[:3])
        raise FileFormatError(
            f"{path} does not hold the 13 convolutions of VGG16 or the 16 of VGG19 (it has {some}, ...); names are "
            "expected as features.0.weight, block1_conv1.weight or conv1_1.weight"
        )
    return ordered, caffe


def _take_pixels(state: dict[str, Array], prepared: data.Preprocessing) -> Array:
    """Makes the first convolution take RGB of 0..255 less the mean, which is returned."""
    mean, std = (np.array(v, np.float32) * np.ones(3, np.float32) for v in (prepared.mean, prepared.std))
    weight = state["conv1_1.weight"] * (prepared.scale / std)[:, None, None]
    mean = mean / prepared.scale
    if prepared.order == "bgr":
        weight, mean = weight[:, ::-1], mean[::-1]
    state["conv1_1.weight"] = np.ascontiguousarray(weight, np.float32)
    return np.ascontiguousarray(mean, np.float32)
