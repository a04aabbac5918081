"""EfficientNet (Tan & Le 2019, arXiv:1905.11946): B0 to B4 with torchvision's parameter names, and the Lite ones of the
same authors, without squeeze and excitation, with timm's names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from .. import nn
from ..tensor import Tensor
from .blocks import ConvNorm, InvertedResidual, divisible, initialise
from .registry import FeatureInfo, Model, ModelConfig, imagenet, register

#: Expansion, kernel, first stride, channels and depth of the stages of B0.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class _Block(NamedTuple):
    stage: int
    in_channels: int
    channels: int
    expanded: int
    kernel: int
    stride: int
    drop: float  # grows from 0 to `stochastic_depth` with depth


def _blocks(
    in_channels: int, width: float, depth: float, stochastic_depth: float, ends_scaled: bool = True
) -> Iterator[_Block]:
    """The blocks of all stages; in the Lite networks the first and the last stage keep their depth."""
    depths = [math.ceil(n * depth) if ends_scaled or 0 < i < len(STAGES) - 1 else n for i, (*_, n) in enumerate(STAGES)]
    number, total = 0, sum(depths)
    for stage, (expansion, kernel, stride, wide, _) in enumerate(STAGES):
        channels = divisible(wide * width)
        for i in range(depths[stage]):
            expanded = divisible(in_channels * expansion)
            first = stride if i == 0 else 1
            yield _Block(stage, in_channels, channels, expanded, kernel, first, stochastic_depth * number / total)
            in_channels = channels
            number += 1


def _stage_ends(blocks: list[_Block], path: str, offset: int) -> tuple[FeatureInfo, ...]:
    """The last stage of each resolution."""
    ends, stride = {}, 2
    for block in blocks:
        stride *= block.stride
        ends[stride] = FeatureInfo(f"{path}.{block.stage + offset}", block.channels, stride)
    return tuple(ends.values())


def _initialise(net: nn.Module) -> None:
    initialise(net, linear_std=None)
    for module in net.modules():
        if isinstance(module, nn.Linear):
            bound = module.out_features**-0.5
            nn.init.uniform_(module.weight, -bound, bound)


class EfficientNet(Model):
    """EfficientNet of torchvision: inverted residuals with squeeze and excitation, scaled by `width` and `depth`.

    In training, blocks are left out at random, the deeper the more often, up to `stochastic_depth`.
    Input shape: (N, in_channels, H, W). Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> cool.models.create("efficientnet_b0").num_parameters()
    5288548
    """

    head = "classifier.1"

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: float = 1.0,
        depth: float = 1.0,
        dropout: float = 0.2,
        stochastic_depth: float = 0.2,
    ) -> None:
        stem = divisible(32 * width)
        blocks = list(_blocks(stem, width, depth, stochastic_depth))
        stages: list[list[nn.Module]] = [[] for _ in STAGES]
        for b in blocks:
            squeezed = max(1, b.in_channels // 4)
            stages[b.stage].append(
                InvertedResidual(
                    *(b.in_channels, b.expanded, b.channels, b.kernel, b.stride),
                    squeezed=squeezed,
                    activation=nn.SiLU,
                    squeeze_activation=nn.SiLU,
                    drop=b.drop,
                )
            )
        last = blocks[-1].channels
        self.features = nn.Sequential(
            ConvNorm(in_channels, stem, 3, 2, activation=nn.SiLU),
            *(nn.Sequential(*stage) for stage in stages),
            ConvNorm(last, 4 * last, 1, activation=nn.SiLU),
        )
        self.feature_info = _stage_ends(blocks, "features", 1)
        self.pool = nn.GlobalAvgPool2d()
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * last, num_classes))
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)))  # type: ignore[no-any-return]


# --- Lite ------------------------------------------------------------------------------------------------------------


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class LiteBlock(nn.Module):
    """The block of EfficientNet-Lite; 1×1 to more channels (but in the first block), depthwise, 1×1 to few, ReLU6.

    Padding is TensorFlow's "same". Input shape: (N, in_channels, H, W).
    Output shape: (N, channels, ⌈H/stride⌉, ⌈W/stride⌉).

    >>> import coolnn as cool
    >>> cool.models.efficientnet.LiteBlock(8, 48, 8, 3, 1)(cool.zeros(1, 8, 6, 6)).shape
    (1, 8, 6, 6)
    """

    def __init__(
        self, in_channels: int, expanded: int, channels: int, kernel_size: int, stride: int, drop: float = 0.0
    ) -> None:
        # timm numbers the batch norms, and calls a projection that follows an expansion conv_pwl.
        self.expands = expanded != in_channels
        if self.expands:
            self.conv_pw, self.bn1 = nn.Conv2d(in_channels, expanded, 1, bias=False), _norm(expanded)
            self.relu1 = nn.ReLU6()
        depthwise = nn.Conv2d(expanded, expanded, kernel_size, stride, "same", groups=expanded, bias=False)
        project = nn.Conv2d(expanded, channels, 1, bias=False)
        if self.expands:
            self.conv_dw, self.bn2, self.relu2 = depthwise, _norm(expanded), nn.ReLU6()
            self.conv_pwl, self.bn3 = project, _norm(channels)
        else:
            self.conv_dw, self.bn1, self.relu1 = depthwise, _norm(expanded), nn.ReLU6()
            self.conv_pw, self.bn2 = project, _norm(channels)
        self.stochastic_depth = nn.StochasticDepth(drop)
        self.shortcut = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        if self.expands:
            y = self.relu1(self.bn1(self.conv_pw(x)))
            y = self.bn3(self.conv_pwl(self.relu2(self.bn2(self.conv_dw(y)))))
        else:
            y = self.bn2(self.conv_pw(self.relu1(self.bn1(self.conv_dw(x)))))
        return self.stochastic_depth(y) + x if self.shortcut else y  # type: ignore[no-any-return]


class EfficientNetLite(Model):
    """EfficientNet-Lite: made for phones, with ReLU6 and neither squeeze and excitation nor a scaled first layer.

    Weights with the names of timm and of EfficientNet-PyTorch load.
    Input shape: (N, in_channels, H, W). Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> cool.models.create("efficientnet_lite0").num_parameters()
    4652008
    """

    head = "classifier"

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: float = 1.0,
        depth: float = 1.0,
        dropout: float = 0.2,
        stochastic_depth: float = 0.2,
    ) -> None:
        self.conv_stem, self.bn1 = nn.Conv2d(in_channels, 32, 3, 2, "same", bias=False), _norm(32)
        self.relu1 = nn.ReLU6()
        blocks = list(_blocks(32, width, depth, stochastic_depth, ends_scaled=False))
        stages: list[list[nn.Module]] = [[] for _ in STAGES]
        for b in blocks:
            stages[b.stage].append(LiteBlock(b.in_channels, b.expanded, b.channels, b.kernel, b.stride, b.drop))
        self.blocks = nn.Sequential(*(nn.Sequential(*stage) for stage in stages))
        self.feature_info = _stage_ends(blocks, "blocks", 0)
        self.conv_head, self.bn2 = nn.Conv2d(blocks[-1].channels, 1280, 1, bias=False), _norm(1280)
        self.relu2, self.pool, self.dropout = nn.ReLU6(), nn.GlobalAvgPool2d(), nn.Dropout(dropout)
        self.classifier = nn.Linear(1280, num_classes)
        self._places = [(b.stage, b.expanded != b.in_channels) for b in blocks]
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.relu1(self.bn1(self.conv_stem(x))))
        x = self.relu2(self.bn2(self.conv_head(x)))
        return self.classifier(self.dropout(self.pool(x)))  # type: ignore[no-any-return]

    def own_key(self, key: str) -> str:
        """The names of EfficientNet-PyTorch have underscores, and count blocks through all stages."""
        if not key.startswith("_"):
            return key
        found = re.fullmatch(r"_blocks\.(\d+)\._(\w+)\.(\w+)", key)
        if found is None:
            layer, kind = key[1:].split(".", 1)
            return f"{ {'bn0': 'bn1', 'bn1': 'bn2', 'fc': 'classifier'}.get(layer, layer) }.{kind}"
        number = int(found[1])
        if number >= len(self._places):
            return key
        stage, expands = self._places[number]
        before = sum(s < stage for s, _ in self._places)
        names = {"expand_conv": "conv_pw", "depthwise_conv": "conv_dw", "project_conv": "conv_pwl"}
        names |= {"bn0": "bn1", "bn1": "bn2", "bn2": "bn3"} if expands else {"project_conv": "conv_pw"}
        return f"blocks.{stage}.{number - before}.{names.get(found[2], found[2])}.{found[3]}"


_SCALED = {  # width, depth, dropout, size of the picture, size before the crop
    "b0": (1.0, 1.0, 0.2, 224, 256),
    "b1": (1.0, 1.1, 0.2, 240, 255),
    "b2": (1.1, 1.2, 0.3, 288, 288),
    "b3": (1.2, 1.4, 0.3, 300, 320),
    "b4": (1.4, 1.8, 0.4, 380, 384),
}
_LITE = {
    "lite0": (1.0, 1.0, 0.2, 224, 256),
    "lite1": (1.0, 1.1, 0.2, 240, 272),
    "lite2": (1.1, 1.2, 0.3, 260, 292),
    "lite3": (1.2, 1.4, 0.3, 280, 312),
    "lite4": (1.4, 1.8, 0.3, 300, 332),
}
#: TensorFlow's (pixel - 127) / 128.
_CENTRED = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}

for _kind, _table, _centre in ((EfficientNet, _SCALED, {}), (EfficientNetLite, _LITE, _CENTRED)):
    for _name, (_width, _depth, _dropout, _size, _resized) in _table.items():
        # torchvision trained B1 anew, on pictures made smaller in the plain way.
        _scale = {"interpolation": "bilinear" if _name == "b1" else "bicubic", **_centre}
        register(
            ModelConfig(
                f"efficientnet_{_name}",
                _kind,
                {"width": _width, "depth": _depth, "dropout": _dropout},
                input_size=(3, _size, _size),
                preprocessing=imagenet(_size, _resized, **_scale),
            )
        )
