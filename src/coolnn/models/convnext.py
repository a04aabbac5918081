"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545) with torchvision's parameter names."""

from __future__ import annotations

from collections.abc import Sequence

from .. import nn, ops
from ..tensor import Tensor
from .registry import FeatureInfo, Model, ModelConfig, imagenet, register


class PointwiseLinear(nn.Linear):
    """A fully connected layer on the channels of every pixel: a 1×1 convolution with a matrix as its weight.

    Input shape: (N, in_features, H, W). Output shape: (N, out_features, H, W).

    >>> import coolnn as cool
    >>> layer = cool.models.convnext.PointwiseLinear(4, 8)
    >>> layer(cool.zeros(1, 4, 3, 3)).shape, layer.weight.shape
    ((1, 8, 3, 3), (8, 4))
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv2d(x, self.weight.reshape(*self.weight.shape, 1, 1), self.bias)


class ConvNeXtBlock(nn.Module):
    """A depthwise 7×7 convolution, layer norm over channels, four times as many channels and back, a shortcut.

    Input shape: (N, channels, H, W). Output shape: the same. What is added is scaled by learned numbers that start at
    `layer_scale`, and left out with probability `drop` in training.

    >>> import coolnn as cool
    >>> cool.models.convnext.ConvNeXtBlock(8)(cool.zeros(1, 8, 7, 7)).shape
    (1, 8, 7, 7)
    """

    def __init__(self, channels: int, layer_scale: float = 1e-6, drop: float = 0.0) -> None:
        self.layer_scale = nn.Parameter(nn.parameter.new(channels, 1, 1, fill=layer_scale))
        self.block = nn.Sequential(  # 1 and 6 are permutations in torchvision, which has pixels of channels elsewhere
            {
                "0": nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
                "2": nn.LayerNorm2d(channels, eps=1e-6),
                "3": PointwiseLinear(channels, 4 * channels),
                "4": nn.GELU(),
                "5": PointwiseLinear(4 * channels, channels),
            }
        )
        self.stochastic_depth = nn.StochasticDepth(drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.stochastic_depth(self.layer_scale * self.block(x)) + x  # type: ignore[no-any-return]


class ConvNeXt(Model):
    """ConvNeXt of torchvision: four stages of blocks that bring to convolutions what was learned from transformers.

    Input shape: (N, in_channels, H, W) with H, W ≥ 32. Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> with cool.nn.meta_parameters():
    ...     cool.models.create("convnext_tiny").num_parameters()
    28589128
    """

    head = "classifier.2"

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        widths: Sequence[int] = (96, 192, 384, 768),
        depths: Sequence[int] = (3, 3, 9, 3),
        stochastic_depth: float = 0.1,
        layer_scale: float = 1e-6,
    ) -> None:
        norm = nn.LayerNorm2d(widths[0], eps=1e-6)
        layers: list[nn.Module] = [nn.Sequential(nn.Conv2d(in_channels, widths[0], 4, stride=4), norm)]
        number, info = 0, []
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if i:
                before = widths[i - 1]
                down = nn.Conv2d(before, width, 2, stride=2)
                layers.append(nn.Sequential(nn.LayerNorm2d(before, eps=1e-6), down))
            drops = [stochastic_depth * (number + k) / (sum(depths) - 1) for k in range(depth)]
            layers.append(nn.Sequential(*(ConvNeXtBlock(width, layer_scale, drop) for drop in drops)))
            info.append(FeatureInfo(f"features.{len(layers) - 1}", width, 4 * 2**i))
            number += depth
        self.features, self.feature_info = nn.Sequential(*layers), tuple(info)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        last = widths[-1]
        self.classifier = nn.Sequential(nn.LayerNorm2d(last, eps=1e-6), nn.Flatten(), nn.Linear(last, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)))  # type: ignore[no-any-return]


register(
    ModelConfig("convnext_tiny", ConvNeXt, preprocessing=imagenet(224, 236)),
    ModelConfig(
        "convnext_small",
        ConvNeXt,
        {"depths": (3, 3, 27, 3), "stochastic_depth": 0.4},
        preprocessing=imagenet(224, 230),
    ),
)
