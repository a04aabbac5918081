"""SqueezeNet (Iandola et al. 2016, arXiv:1602.07360), versions 1.0 and 1.1, with torchvision's parameter names."""

from __future__ import annotations

from .. import nn, ops
from ..tensor import Tensor
from .registry import FeatureInfo, Model, ModelConfig, register

#: Channels and kernel of the first convolution, then squeezed channels of each fire module; "M" is a max-pooling.
VERSIONS: dict[str, tuple[int, int, tuple[int | str, ...]]] = {
    "1.0": (96, 7, ("M", 16, 16, 32, "M", 32, 48, 48, 64, "M", 64)),
    "1.1": (64, 3, ("M", 16, 16, "M", 32, 32, "M", 48, 48, 64, 64)),
}


class Fire(nn.Module):
    """A 1×1 convolution to few channels, then a 1×1 and a 3×3 convolution to four times as many each, side by side.

    Input shape: (N, in_channels, H, W). Output shape: (N, 8 squeezed, H, W).

    >>> import coolnn as cool
    >>> cool.models.squeezenet.Fire(32, 4)(cool.zeros(1, 32, 5, 5)).shape
    (1, 32, 5, 5)
    """

    def __init__(self, in_channels: int, squeezed: int) -> None:
        self.squeeze, self.squeeze_activation = nn.Conv2d(in_channels, squeezed, 1), nn.ReLU()
        self.expand1x1, self.expand1x1_activation = nn.Conv2d(squeezed, 4 * squeezed, 1), nn.ReLU()
        self.expand3x3, self.expand3x3_activation = nn.Conv2d(squeezed, 4 * squeezed, 3, padding=1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        one = self.expand1x1_activation(self.expand1x1(x))
        return ops.concat([one, self.expand3x3_activation(self.expand3x3(x))], 1)


class SqueezeNet(Model):
    """SqueezeNet of torchvision: a convolution, eight fire modules, a 1×1 convolution to the classes and their means.

    Input shape: (N, in_channels, H, W) with H, W ≥ 21 (version 1.1: 17). Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> cool.models.create("squeezenet1_1").num_parameters()
    1235496
    """

    head = "classifier.1"

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, version: str = "1.1", dropout: float = 0.5
    ) -> None:
        channels, kernel, parts = VERSIONS[version]
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, kernel, stride=2), nn.ReLU()]
        stride = 2
        info = []
        for part in parts:
            if isinstance(part, int):
                layers.append(Fire(channels, part))
                channels = 8 * part
            else:
                info.append(FeatureInfo(f"features.{len(layers) - 1}", channels, stride))
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
                stride *= 2
        self.features = nn.Sequential(*layers)
        self.feature_info = (*info, FeatureInfo(f"features.{len(layers) - 1}", channels, stride))
        last = nn.Conv2d(channels, num_classes, 1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), last, nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.flatten = nn.Flatten()
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(last.weight, 0.0, 0.01)

    def forward(self, x: Tensor) -> Tensor:
        return self.flatten(self.classifier(self.features(x)))  # type: ignore[no-any-return]


register(
    ModelConfig("squeezenet1_0", SqueezeNet, {"version": "1.0"}),
    ModelConfig("squeezenet1_1", SqueezeNet, {"version": "1.1"}),
)
