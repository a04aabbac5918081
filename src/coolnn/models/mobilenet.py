"""MobileNet v1 (Howard et al. 2017, arXiv:1704.04861) with timm's parameter names, v2 (Sandler et al. 2018,
arXiv:1801.04381) and v3 (Howard et al. 2019, arXiv:1905.02244) with torchvision's."""

from __future__ import annotations

from typing import Any

from .. import nn
from ..tensor import Tensor
from .blocks import ConvNorm, InvertedResidual, divisible, initialise
from .registry import FeatureInfo, Model, ModelConfig, imagenet, register

# --- v1 --------------------------------------------------------------------------------------------------------------

#: Channels, depth and first stride of the stages of v1.
V1_STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))


class SeparableBlock(nn.Module):
    """A depthwise 3×3 and a 1×1 convolution, each with batch norm and ReLU6.

    Input shape: (N, in_channels, H, W). Output shape: (N, channels, ⌈H/stride⌉, ⌈W/stride⌉).

    >>> import coolnn as cool
    >>> cool.models.mobilenet.SeparableBlock(4, 8, 2)(cool.zeros(1, 4, 6, 6)).shape
    (1, 8, 3, 3)
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        self.conv_dw = nn.Conv2d(in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(in_channels), nn.ReLU6()
        self.conv_pw = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(channels), nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv_dw(x)))
        return self.relu2(self.bn2(self.conv_pw(x)))  # type: ignore[no-any-return]


class MobileNetV1(Model):
    """MobileNet v1: a convolution and thirteen depthwise separable ones; 4.2 M parameters, 569 M multiply-adds.

    `width` scales all channels. Input shape: (N, in_channels, H, W). Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> cool.models.create("mobilenet_v1").num_parameters()
    4231976
    """

    head = "classifier"

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, width: float = 1.0, dropout: float = 0.0) -> None:
        channels = divisible(32 * width)
        self.conv_stem = nn.Conv2d(in_channels, channels, 3, 2, padding=1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(channels), nn.ReLU6()
        stages, info, total = [], [], 2
        for number, (wide, depth, stride) in enumerate(V1_STAGES):
            made, total = divisible(wide * width), total * stride
            first = SeparableBlock(channels, made, stride)
            stages.append(nn.Sequential(first, *(SeparableBlock(made, made, 1) for _ in range(depth - 1))))
            info.append(FeatureInfo(f"blocks.{number}", made, total))
            channels = made
        self.blocks, self.feature_info = nn.Sequential(*stages), tuple(info)
        self.pool, self.dropout = nn.GlobalAvgPool2d(), nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.relu(self.bn1(self.conv_stem(x))))
        return self.classifier(self.dropout(self.pool(x)))  # type: ignore[no-any-return]


# --- v2 --------------------------------------------------------------------------------------------------------------

#: Expansion, channels, depth and first stride of the stages of v2 (table 2 of the paper).
V2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class LinearBottleneck(nn.Module):
    """The inverted residual of v2, whose last convolution and batch norm have names of their own.

    Input shape: (N, in_channels, H, W). Output shape: (N, channels, ⌈H/stride⌉, ⌈W/stride⌉).

    >>> import coolnn as cool
    >>> cool.models.mobilenet.LinearBottleneck(8, 8, 1, 6)(cool.zeros(1, 8, 6, 6)).shape
    (1, 8, 6, 6)
    """

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int) -> None:
        expanded = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(ConvNorm(in_channels, expanded, 1, activation=nn.ReLU6))
        layers.append(ConvNorm(expanded, expanded, 3, stride, expanded, nn.ReLU6))
        layers += [nn.Conv2d(expanded, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.conv = nn.Sequential(*layers)
        self.shortcut = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


class MobileNetV2(Model):
    """MobileNet v2 of torchvision: a convolution, seventeen linear bottlenecks, a 1×1 convolution.

    `width` scales all channels. Input shape: (N, in_channels, H, W). Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> cool.models.create("mobilenet_v2").num_parameters()
    3504872
    """

    head = "classifier.1"

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, width: float = 1.0, dropout: float = 0.2) -> None:
        channels = divisible(32 * width)
        layers: list[nn.Module] = [ConvNorm(in_channels, channels, 3, 2, activation=nn.ReLU6)]
        ends, total = {}, 2  # the last block of each resolution
        for expansion, wide, depth, stride in V2_STAGES:
            made, total = divisible(wide * width), total * stride
            for i in range(depth):
                layers.append(LinearBottleneck(channels, made, stride if i == 0 else 1, expansion))
                channels = made
            ends[total] = FeatureInfo(f"features.{len(layers) - 1}", channels, total)
        last = divisible(1280 * max(1.0, width))
        layers.append(ConvNorm(channels, last, 1, activation=nn.ReLU6))
        self.features, self.feature_info = nn.Sequential(*layers), tuple(ends.values())
        self.pool = nn.GlobalAvgPool2d()
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)))  # type: ignore[no-any-return]


# --- v3 --------------------------------------------------------------------------------------------------------------

#: Kernel, expanded channels, channels, squeeze and excitation, hard-swish (else ReLU) and stride of each block, and the
#: width of the layer before the last (tables 1 and 2 of the paper).
V3_BLOCKS: dict[str, tuple[tuple[tuple[int, int, int, bool, bool, int], ...], int]] = {
    "large": (
        (
            (3, 16, 16, False, False, 1),
            (3, 64, 24, False, False, 2),
            (3, 72, 24, False, False, 1),
            (5, 72, 40, True, False, 2),
            (5, 120, 40, True, False, 1),
            (5, 120, 40, True, False, 1),
            (3, 240, 80, False, True, 2),
            (3, 200, 80, False, True, 1),
            (3, 184, 80, False, True, 1),
            (3, 184, 80, False, True, 1),
            (3, 480, 112, True, True, 1),
            (3, 672, 112, True, True, 1),
            (5, 672, 160, True, True, 2),
            (5, 960, 160, True, True, 1),
            (5, 960, 160, True, True, 1),
        ),
        1280,
    ),
    "small": (
        (
            (3, 16, 16, True, False, 2),
            (3, 72, 24, False, False, 2),
            (3, 88, 24, False, False, 1),
            (5, 96, 40, True, True, 2),
            (5, 240, 40, True, True, 1),
            (5, 240, 40, True, True, 1),
            (5, 120, 48, True, True, 1),
            (5, 144, 48, True, True, 1),
            (5, 288, 96, True, True, 2),
            (5, 576, 96, True, True, 1),
            (5, 576, 96, True, True, 1),
        ),
        1024,
    ),
}
_NORM: dict[str, Any] = {"eps": 1e-3, "momentum": 0.01}


class MobileNetV3(Model):
    """MobileNet v3 of torchvision: inverted residuals, some with squeeze and excitation, found by a search.

    `size`: "large" or "small". Input shape: (N, in_channels, H, W). Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> [cool.models.create(f"mobilenet_v3_{size}").num_parameters() for size in ("large", "small")]
    [5483032, 2542856]
    """

    head = "classifier.3"

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, size: str = "large", dropout: float = 0.2
    ) -> None:
        blocks, hidden = V3_BLOCKS[size]
        channels = 16
        layers: list[nn.Module] = [ConvNorm(in_channels, channels, 3, 2, activation=nn.Hardswish, **_NORM)]
        ends, total = {2: FeatureInfo("features.0", channels, 2)}, 2
        for kernel, expanded, made, squeeze, swish, stride in blocks:
            layers.append(
                InvertedResidual(
                    channels,
                    expanded,
                    made,
                    kernel,
                    stride,
                    squeezed=divisible(expanded // 4) if squeeze else None,
                    activation=nn.Hardswish if swish else nn.ReLU,
                    gate=nn.Hardsigmoid,
                    **_NORM,
                )
            )
            channels, total = made, total * stride
            ends[total] = FeatureInfo(f"features.{len(layers) - 1}", channels, total)
        layers.append(ConvNorm(channels, 6 * channels, 1, activation=nn.Hardswish, **_NORM))
        self.features, self.feature_info = nn.Sequential(*layers), tuple(ends.values())
        self.pool = nn.GlobalAvgPool2d()
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, hidden), nn.Hardswish(), nn.Dropout(dropout), nn.Linear(hidden, num_classes)
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)))  # type: ignore[no-any-return]


register(
    ModelConfig("mobilenet_v1", MobileNetV1, preprocessing=imagenet(224, 256, mean=(0.5,) * 3, std=(0.5,) * 3)),
    ModelConfig("mobilenet_v2", MobileNetV2, preprocessing=imagenet(224, 232)),
    ModelConfig("mobilenet_v3_large", MobileNetV3, {"size": "large"}, preprocessing=imagenet(224, 232)),
    ModelConfig("mobilenet_v3_small", MobileNetV3, {"size": "small"}),
)
