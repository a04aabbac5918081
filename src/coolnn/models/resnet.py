"""Residual networks (He et al. 2015, arXiv:1512.03385): torchvision's form, and that for CIFAR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn, ops
from ..tensor import Tensor
from .registry import CIFAR, FeatureInfo, Model, ModelConfig, imagenet, register


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut around them; `groups` and `group_width` are of bottlenecks only.

    Input shape: (N, in_channels, H, W). Output shape: (N, channels, H/stride, W/stride).

    >>> import coolnn as cool
    >>> cool.models.resnet.BasicBlock(8, 8)(cool.zeros(1, 8, 6, 6)).shape
    (1, 8, 6, 6)
    """

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        group_width: int = 64,
    ) -> None:
        if (groups, group_width) != (1, 64):
            raise ValueError(f"basic blocks have no groups: groups={groups}, group_width={group_width}")
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(channels), nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = downsample
        self.relu2 = nn.ReLU()

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The normalization that ends the block."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu2(y + (x if self.downsample is None else self.downsample(x)))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions with a shortcut around them; the stride is in the 3×3, as in torchvision.

    The 3×3 has `groups`, each of group_width / 64 times the channels (ResNeXt, Wide ResNet).

    Input shape: (N, in_channels, H, W). Output shape: (N, 4 channels, H/stride, W/stride).

    >>> import coolnn as cool
    >>> cool.models.resnet.Bottleneck(16, 4)(cool.zeros(1, 16, 6, 6)).shape
    (1, 16, 6, 6)
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        group_width: int = 64,
    ) -> None:
        inner = channels * group_width // 64 * groups
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(inner), nn.ReLU()
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(inner), nn.ReLU()
        self.conv3 = nn.Conv2d(inner, channels * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * 4)
        self.downsample = downsample
        self.relu3 = nn.ReLU()

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The normalization that ends the block."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu3(y + (x if self.downsample is None else self.downsample(x)))  # type: ignore[no-any-return]


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


def initialise(net: nn.Module, zero_init_residual: bool) -> None:
    """torchvision's start for ResNet: convolutions after He et al.; blocks that begin as identities, if wanted."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif zero_init_residual and isinstance(module, BasicBlock | Bottleneck) and module.last_norm.weight is not None:
            nn.init.zeros_(module.last_norm.weight)


class ResNet(Model):
    """ResNet of torchvision: a 7×7 convolution, four stages of residual blocks, global average pooling.

    Input shape: (N, in_channels, H, W) with H, W ≥ 32. Output shape: (N, num_classes).
    `groups`, `group_width`: of the 3×3 convolutions in bottlenecks; 32 groups of 4 is ResNeXt (Xie et al. 2016,
    arXiv:1611.05431), one of 128 Wide ResNet (Zagoruyko & Komodakis 2016, arXiv:1605.07146).
    `zero_init_residual`: the last normalization of each block starts at 0, so that blocks begin as identities.

    >>> import coolnn as cool
    >>> with cool.nn.meta_parameters():
    ...     [cool.models.create(name).num_parameters() for name in ("resnet18", "resnet50")]
    [11689512, 25557032]
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        block: str = "basic",
        depths: Sequence[int] = (2, 2, 2, 2),
        groups: int = 1,
        group_width: int = 64,
        zero_init_residual: bool = False,
    ) -> None:
        made, inner = BLOCKS[block], (groups, group_width)
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, padding=3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(64), nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = _stage(made, 64, 64, depths[0], 1, *inner)
        self.layer2 = _stage(made, 64 * made.expansion, 128, depths[1], 2, *inner)
        self.layer3 = _stage(made, 128 * made.expansion, 256, depths[2], 2, *inner)
        self.layer4 = _stage(made, 256 * made.expansion, 512, depths[3], 2, *inner)
        self.avgpool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.fc = nn.Linear(512 * made.expansion, num_classes)
        self.feature_info = (
            FeatureInfo("relu", 64, 2),
            *(FeatureInfo(f"layer{i + 1}", 64 * 2**i * made.expansion, 4 * 2**i) for i in range(4)),
        )
        initialise(self, zero_init_residual)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.flatten(self.avgpool(x)))  # type: ignore[no-any-return]


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    in_channels: int,
    channels: int,
    depth: int,
    stride: int,
    groups: int,
    group_width: int,
) -> nn.Sequential:
    """Blocks of one resolution; the first one changes resolution and channels, and so does its shortcut."""
    out_channels = channels * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    inner: dict[str, Any] = {"groups": groups, "group_width": group_width}
    first = block(in_channels, channels, stride, downsample, **inner)
    return nn.Sequential(first, *(block(out_channels, channels, **inner) for _ in range(depth - 1)))


class PaddedShortcut(nn.Module):
    """Every `stride`-th pixel, and channels of zeros on both sides: the paper's shortcut without weights (option A).

    Input shape: (N, C, H, W). Output shape: (N, channels, ⌈H/stride⌉, ⌈W/stride⌉).

    >>> import coolnn as cool
    >>> cool.models.resnet.PaddedShortcut(16, 2)(cool.zeros(1, 8, 6, 6)).shape
    (1, 16, 3, 3)
    """

    def __init__(self, channels: int, stride: int) -> None:
        self.channels, self.stride = channels, stride

    def forward(self, x: Tensor) -> Tensor:
        more = self.channels - x.shape[1]
        before = more // 2
        return ops.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, more - before))

    def extra_repr(self) -> str:
        return f"channels={self.channels}, stride={self.stride}"


class CifarResNet(Model):
    """ResNet for pictures of 32 to 64 pixels: a 3×3 convolution and three stages of basic blocks.

    Shortcuts have no weights (option A of the paper). Input shape: (N, in_channels, H, W) with H, W ≥ 8.
    Output shape: (N, num_classes). Parameter names are those of the well-known PyTorch versions.

    >>> import coolnn as cool
    >>> cool.models.create("resnet20").num_parameters()
    269722
    """

    head = "linear"

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        depths: Sequence[int] = (3, 3, 3),
        widths: Sequence[int] = (16, 32, 64),
        zero_init_residual: bool = False,
    ) -> None:
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(widths[0]), nn.ReLU()
        self.layer1 = _padded_stage(widths[0], widths[0], depths[0], 1)
        self.layer2 = _padded_stage(widths[0], widths[1], depths[1], 2)
        self.layer3 = _padded_stage(widths[1], widths[2], depths[2], 2)
        self.pool = nn.GlobalAvgPool2d()
        self.linear = nn.Linear(widths[2], num_classes)
        self.feature_info = tuple(FeatureInfo(f"layer{i + 1}", widths[i], 2**i) for i in range(3))
        initialise(self, zero_init_residual)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.linear(self.pool(self.layer3(self.layer2(self.layer1(x)))))  # type: ignore[no-any-return]


def _padded_stage(in_channels: int, channels: int, depth: int, stride: int) -> nn.Sequential:
    shortcut = PaddedShortcut(channels, stride) if stride != 1 or in_channels != channels else None
    first = BasicBlock(in_channels, channels, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(depth - 1)))


_BOTTLENECKS: dict[str, dict[str, Any]] = {
    "resnet50": {"depths": (3, 4, 6, 3)},
    "resnet101": {"depths": (3, 4, 23, 3)},
    "resnet152": {"depths": (3, 8, 36, 3)},
    "resnext50_32x4d": {"depths": (3, 4, 6, 3), "groups": 32, "group_width": 4},
    "resnext101_32x8d": {"depths": (3, 4, 23, 3), "groups": 32, "group_width": 8},
    "resnext101_64x4d": {"depths": (3, 4, 23, 3), "groups": 64, "group_width": 4},
    "wide_resnet50_2": {"depths": (3, 4, 6, 3), "group_width": 128},
    "wide_resnet101_2": {"depths": (3, 4, 23, 3), "group_width": 128},
}
register(
    ModelConfig("resnet18", ResNet, {"depths": (2, 2, 2, 2)}),
    ModelConfig("resnet34", ResNet, {"depths": (3, 4, 6, 3)}),
    # The published weights of all networks with bottlenecks are of torchvision's later training recipe.
    *(
        ModelConfig(name, ResNet, {"block": "bottleneck", **settings}, preprocessing=imagenet(224, 232))
        for name, settings in _BOTTLENECKS.items()
    ),
)

_SMALL: dict[str, Any] = {"num_classes": 10, "input_size": (3, 32, 32), "preprocessing": CIFAR}
register(
    *(
        ModelConfig(f"resnet{6 * depth + 2}", CifarResNet, {"depths": (depth,) * 3}, **_SMALL)
        for depth in (3, 5, 7, 9, 18)
    ),
    ModelConfig("small_resnet", CifarResNet, {"depths": (1, 1, 1), "widths": (32, 64, 128)}, **_SMALL),
)
