"""GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842) with torchvision's parameter names.

torchvision's published weights want pixels from -1 to 1 (its transform_input); here that is part of the preprocessing.
"""

from __future__ import annotations

from typing import Any

from .. import nn, ops
from ..tensor import Tensor
from .registry import FeatureInfo, Model, ModelConfig, WithAuxiliary, imagenet, register


class BasicConv2d(nn.Module):
    """Convolution without bias, batch norm with eps 0.001, ReLU.

    Input shape: (N, in_channels, H, W). Output shape: that of the convolution, to which `settings` go.

    >>> import coolnn as cool
    >>> cool.models.googlenet.BasicConv2d(3, 8, 3, stride=2)(cool.zeros(1, 3, 9, 9)).shape
    (1, 8, 4, 4)
    """

    def __init__(self, in_channels: int, channels: int, kernel_size: nn.conv.Pair, **settings: Any) -> None:
        self.conv = nn.Conv2d(in_channels, channels, kernel_size, bias=False, **settings)
        self.bn, self.relu = nn.BatchNorm2d(channels, eps=1e-3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))  # type: ignore[no-any-return]


def initialise(net: nn.Module, std: float) -> None:
    """All weights of the truncated normal distribution."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=std)


#: Channels of an inception module: 1×1; before 3×3, 3×3; before the second 3×3, the second 3×3; after pooling.
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class Inception(nn.Module):
    """Four branches side by side: 1×1; 1×1 and 3×3; 1×1 and 3×3 again (5×5 in the paper); max-pooling and 1×1.

    Input shape: (N, in_channels, H, W). Output shape: (N, sum of the branches' channels, H, W).

    >>> import coolnn as cool
    >>> cool.models.googlenet.Inception(16, 4, 2, 4, 2, 4, 4)(cool.zeros(1, 16, 5, 5)).shape
    (1, 16, 5, 5)
    """

    def __init__(
        self, in_channels: int, one: int, three_in: int, three: int, five_in: int, five: int, pool: int
    ) -> None:
        self.branch1 = BasicConv2d(in_channels, one, 1)
        self.branch2 = nn.Sequential(BasicConv2d(in_channels, three_in, 1), BasicConv2d(three_in, three, 3, padding=1))
        self.branch3 = nn.Sequential(BasicConv2d(in_channels, five_in, 1), BasicConv2d(five_in, five, 3, padding=1))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), BasicConv2d(in_channels, pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        return ops.concat([branch(x) for branch in (self.branch1, self.branch2, self.branch3, self.branch4)], 1)


class GoogLeNetHead(nn.Module):
    """A second classifier in the middle of the network, which helps its training.

    Input shape: (N, in_channels, H, W). Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> cool.models.googlenet.GoogLeNetHead(16, 10)(cool.zeros(1, 16, 14, 14)).shape
    (1, 10)
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv, self.flatten = BasicConv2d(in_channels, 128, 1), nn.Flatten()
        self.fc1, self.relu, self.dropout = nn.Linear(2048, 1024), nn.ReLU(), nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.fc1(self.flatten(self.conv(self.pool(x)))))
        return self.fc2(self.dropout(x))  # type: ignore[no-any-return]


class GoogLeNet(Model):
    """GoogLeNet of torchvision, with batch norm: nine inception modules of four branches each.

    With `aux_logits` there are two more classifiers, and in training the output is `WithAuxiliary`.
    Input shape: (N, in_channels, H, W). Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> cool.models.create("googlenet").num_parameters()
    6624904
    """

    auxiliary = ("aux1", "aux2")
    auxiliary_heads = ("aux1.fc2", "aux2.fc2")
    feature_info = (
        FeatureInfo("conv1", 64, 2),
        FeatureInfo("conv3", 192, 4),
        FeatureInfo("inception3b", 480, 8),
        FeatureInfo("inception4e", 832, 16),
        FeatureInfo("inception5b", 1024, 32),
    )

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, aux_logits: bool = False, dropout: float = 0.2
    ) -> None:
        def pool(size: int) -> nn.MaxPool2d:
            return nn.MaxPool2d(size, 2, ceil_mode=True)

        self.conv1, self.maxpool1 = BasicConv2d(in_channels, 64, 7, stride=2, padding=3), pool(3)
        self.conv2, self.conv3, self.maxpool2 = BasicConv2d(64, 64, 1), BasicConv2d(64, 192, 3, padding=1), pool(3)
        channels = 192
        for name, widths in MODULES.items():
            setattr(self, f"inception{name}", Inception(channels, *widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.maxpool3, self.maxpool4 = pool(3), pool(2)
        self.aux1 = GoogLeNetHead(512, num_classes) if aux_logits else None
        self.aux2 = GoogLeNetHead(528, num_classes) if aux_logits else None
        self.pool, self.dropout = nn.GlobalAvgPool2d(), nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self, 0.01)

    def forward(self, x: Tensor) -> Tensor | WithAuxiliary:
        run = self.get_submodule
        x = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(x)))))
        x = self.maxpool3(run("inception3b")(run("inception3a")(x)))
        x = middle = run("inception4a")(x)
        for name in "bcd":
            x = run(f"inception4{name}")(x)
        later = x
        x = self.maxpool4(run("inception4e")(x))
        x = run("inception5b")(run("inception5a")(x))
        scores = self.fc(self.dropout(self.pool(x)))
        if self.aux1 is None or self.aux2 is None or not self.training:
            return scores  # type: ignore[no-any-return]
        return WithAuxiliary(scores, (self.aux1(middle), self.aux2(later)), 0.3)


register(
    ModelConfig("googlenet", GoogLeNet, preprocessing=imagenet(224, 256, mean=(0.5,) * 3, std=(0.5,) * 3)),
)
