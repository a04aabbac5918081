"""MNASNet (Tan et al. 2018, arXiv:1807.11626) with torchvision's parameter names."""

from __future__ import annotations

from .. import nn
from ..tensor import Tensor
from .blocks import divisible, initialise
from .registry import IMAGENET, FeatureInfo, Model, ModelConfig, imagenet, register

#: Channels, kernel, first stride, expansion and depth of the stages.
STAGES = ((24, 3, 2, 3, 3), (40, 5, 2, 3, 3), (80, 5, 2, 6, 3), (96, 3, 1, 6, 2), (192, 5, 2, 6, 4), (320, 3, 1, 6, 1))
_MOMENTUM = 3e-4


def _conv_norm(
    in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True
) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(channels, momentum=_MOMENTUM), *([nn.ReLU()] if relu else [])]


class MnasBlock(nn.Module):
    """An inverted residual in one flat list of layers.

    Input shape: (N, in_channels, H, W). Output shape: (N, channels, ⌈H/stride⌉, ⌈W/stride⌉).

    >>> import coolnn as cool
    >>> cool.models.mnasnet.MnasBlock(8, 8, 3, 1, 6)(cool.zeros(1, 8, 6, 6)).shape
    (1, 8, 6, 6)
    """

    def __init__(self, in_channels: int, channels: int, kernel_size: int, stride: int, expansion: int) -> None:
        expanded = in_channels * expansion
        self.layers = nn.Sequential(
            *_conv_norm(in_channels, expanded, 1),
            *_conv_norm(expanded, expanded, kernel_size, stride, expanded),
            *_conv_norm(expanded, channels, 1, relu=False),
        )
        self.shortcut = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y + x if self.shortcut else y


class MNASNet(Model):
    """MNASNet of torchvision: inverted residuals found by a search for speed on a phone; `width` scales all channels.

    Input shape: (N, in_channels, H, W). Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> cool.models.create("mnasnet1_0").num_parameters()
    4383312
    """

    head = "classifier.1"

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, width: float = 1.0, dropout: float = 0.2) -> None:
        stem, channels = divisible(32 * width), divisible(16 * width)
        layers = [
            *_conv_norm(in_channels, stem, 3, 2),
            *_conv_norm(stem, stem, 3, groups=stem),
            *_conv_norm(stem, channels, 1, relu=False),
        ]
        ends, total = {2: FeatureInfo(f"layers.{len(layers) - 1}", channels, 2)}, 2
        for wide, kernel, stride, expansion, depth in STAGES:
            made, total = divisible(wide * width), total * stride
            first = MnasBlock(channels, made, kernel, stride, expansion)
            rest = (MnasBlock(made, made, kernel, 1, expansion) for _ in range(depth - 1))
            layers.append(nn.Sequential(first, *rest))
            ends[total] = FeatureInfo(f"layers.{len(layers) - 1}", made, total)
            channels = made
        layers += _conv_norm(channels, 1280, 1)
        self.layers, self.feature_info = nn.Sequential(*layers), tuple(ends.values())
        self.pool = nn.GlobalAvgPool2d()
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(1280, num_classes))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.layers(x)))  # type: ignore[no-any-return]


for _name, _width, _pictures in (
    ("mnasnet0_5", 0.5, IMAGENET),
    ("mnasnet0_75", 0.75, imagenet(224, 232)),
    ("mnasnet1_0", 1.0, IMAGENET),
    ("mnasnet1_3", 1.3, imagenet(224, 232)),
):
    register(ModelConfig(_name, MNASNet, {"width": _width}, preprocessing=_pictures))
