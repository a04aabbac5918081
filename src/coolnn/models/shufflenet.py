"""ShuffleNet v2 (Ma et al. 2018, arXiv:1807.11164) with torchvision's parameter names."""

from __future__ import annotations

from collections.abc import Sequence

from .. import nn, ops
from ..tensor import Tensor
from .blocks import ConvNorm
from .registry import FeatureInfo, Model, ModelConfig, imagenet, register


def _depthwise(channels: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)
    return [conv, nn.BatchNorm2d(channels)]


def _pointwise(in_channels: int, channels: int) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]


class ShuffleUnit(nn.Module):
    """Half of the channels pass unchanged, half through three convolutions, then both are shuffled; with stride 2 both
    halves are convolutions of all channels.

    Input shape: (N, in_channels, H, W). Output shape: (N, channels, ⌈H/stride⌉, ⌈W/stride⌉).

    >>> import coolnn as cool
    >>> cool.models.shufflenet.ShuffleUnit(8, 16, 2)(cool.zeros(1, 8, 6, 6)).shape
    (1, 16, 3, 3)
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        half = channels // 2
        self.branch1 = nn.Sequential()
        if stride > 1:
            self.branch1 = nn.Sequential(*_depthwise(in_channels, stride), *_pointwise(in_channels, half))
        inner = in_channels if stride > 1 else half
        self.branch2 = nn.Sequential(*_pointwise(inner, half), *_depthwise(half, stride), *_pointwise(half, half))
        self.stride = stride
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = (x, x) if self.stride > 1 else ops.chunk(x, 2, 1)
        return self.shuffle(ops.concat([self.branch1(kept), self.branch2(changed)], 1))  # type: ignore[no-any-return]


class ShuffleNetV2(Model):
    """ShuffleNet v2 of torchvision: a convolution, three stages of shuffled units, a 1×1 convolution.

    `widths`: channels of the first convolution, the three stages and the last convolution.
    Input shape: (N, in_channels, H, W). Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> cool.models.create("shufflenet_v2_x1_0").num_parameters()
    2278604
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        widths: Sequence[int] = (24, 116, 232, 464, 1024),
        depths: Sequence[int] = (4, 8, 4),
    ) -> None:
        self.conv1 = ConvNorm(in_channels, widths[0], 3, stride=2)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.stage2, self.stage3, self.stage4 = (
            nn.Sequential(
                ShuffleUnit(widths[i], widths[i + 1], 2),
                *(ShuffleUnit(widths[i + 1], widths[i + 1], 1) for _ in range(depth - 1)),
            )
            for i, depth in enumerate(depths)
        )
        self.conv5 = ConvNorm(widths[3], widths[4], 1)
        self.pool = nn.GlobalAvgPool2d()
        self.fc = nn.Linear(widths[4], num_classes)
        stages = ("conv1", "stage2", "stage3", "stage4")
        self.feature_info = tuple(FeatureInfo(name, widths[i], 2 ** (i + 1 + (i > 0))) for i, name in enumerate(stages))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(x)))))
        return self.fc(self.pool(self.conv5(x)))  # type: ignore[no-any-return]


register(
    ModelConfig("shufflenet_v2_x0_5", ShuffleNetV2, {"widths": (24, 48, 96, 192, 1024)}),
    ModelConfig("shufflenet_v2_x1_0", ShuffleNetV2, {"widths": (24, 116, 232, 464, 1024)}),
    ModelConfig(
        "shufflenet_v2_x1_5", ShuffleNetV2, {"widths": (24, 176, 352, 704, 1024)}, preprocessing=imagenet(224, 232)
    ),
    ModelConfig(
        "shufflenet_v2_x2_0", ShuffleNetV2, {"widths": (24, 244, 488, 976, 2048)}, preprocessing=imagenet(224, 232)
    ),
)
