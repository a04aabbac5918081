"""DenseNet (Huang et al. 2016, arXiv:1608.06993) with torchvision's parameter names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .. import nn, ops
from ..tensor import Tensor
from .registry import FeatureInfo, Model, ModelConfig, register


class DenseLayer(nn.Module):
    """Batch norm, ReLU and 1×1 convolution, the same with 3×3; its few channels are joined to those that came in.

    Input shape: (N, in_channels, H, W). Output shape: (N, in_channels + growth, H, W).

    >>> import coolnn as cool
    >>> cool.models.densenet.DenseLayer(8, 4)(cool.zeros(1, 8, 5, 5)).shape
    (1, 12, 5, 5)
    """

    def __init__(self, in_channels: int, growth: int, dropout: float = 0.0) -> None:
        self.norm1, self.relu1 = nn.BatchNorm2d(in_channels), nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, 4 * growth, 1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(4 * growth), nn.ReLU()
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.relu1(self.norm1(x)))
        y = self.dropout(self.conv2(self.relu2(self.norm2(y))))
        return ops.concat([x, y], 1)


def _transition(in_channels: int, channels: int) -> nn.Sequential:
    """Half the channels at half the resolution."""
    return nn.Sequential(
        {
            "norm": nn.BatchNorm2d(in_channels),
            "relu": nn.ReLU(),
            "conv": nn.Conv2d(in_channels, channels, 1, bias=False),
            "pool": nn.AvgPool2d(2, 2),
        }
    )


class DenseNet(Model):
    """DenseNet-BC of torchvision: four blocks in which each layer sees the outputs of all before it.

    Input shape: (N, in_channels, H, W) with H, W ≥ 29. Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> with cool.nn.meta_parameters():
    ...     cool.models.create("densenet121").num_parameters()
    7978856
    """

    head = "classifier"

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        depths: Sequence[int] = (6, 12, 24, 16),
        growth: int = 32,
        width: int = 64,
        dropout: float = 0.0,
    ) -> None:
        layers: dict[str, nn.Module] = {
            "conv0": nn.Conv2d(in_channels, width, 7, 2, padding=3, bias=False),
            "norm0": nn.BatchNorm2d(width),
            "relu0": nn.ReLU(),
            "pool0": nn.MaxPool2d(3, 2, padding=1),
        }
        info = [FeatureInfo("features.relu0", width, 2)]
        for number, depth in enumerate(depths, 1):
            block = {f"denselayer{i + 1}": DenseLayer(width + i * growth, growth, dropout) for i in range(depth)}
            layers[f"denseblock{number}"] = nn.Sequential(block)
            width += depth * growth
            info.append(FeatureInfo(f"features.denseblock{number}", width, 2 ** (number + 1)))
            if number < len(depths):
                layers[f"transition{number}"] = _transition(width, width // 2)
                width //= 2
        layers["norm5"] = nn.BatchNorm2d(width)
        self.features, self.feature_info = nn.Sequential(layers), tuple(info)
        self.relu, self.pool = nn.ReLU(), nn.GlobalAvgPool2d()
        self.classifier = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        assert self.classifier.bias is not None
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.relu(self.features(x))))  # type: ignore[no-any-return]

    @classmethod
    def own_key(cls, key: str) -> str:
        """The published files were written when names could still hold dots: norm.1 is norm1."""
        return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", key)


register(
    ModelConfig("densenet121", DenseNet, {"depths": (6, 12, 24, 16)}),
    ModelConfig("densenet161", DenseNet, {"depths": (6, 12, 36, 24), "growth": 48, "width": 96}),
    ModelConfig("densenet169", DenseNet, {"depths": (6, 12, 32, 32)}),
    ModelConfig("densenet201", DenseNet, {"depths": (6, 12, 48, 32)}),
)
