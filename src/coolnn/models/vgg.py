"""VGG (Simonyan & Zisserman 2014, arXiv:1409.1556) with torchvision's parameter names, and a small one of its kind."""

from __future__ import annotations

from .. import nn
from ..tensor import Tensor
from .blocks import initialise
from .registry import CIFAR, FeatureInfo, Model, ModelConfig, register

#: Channels of the 3×3 convolutions of each stage; a 2×2 max-pooling follows every stage. The paper's names.
STAGES: dict[str, tuple[tuple[int, ...], ...]] = {
    "A": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    "B": ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    "D": ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    "E": ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
    "small": ((32, 32), (64, 64), (128, 128)),
    "tiny": ((16,), (32,), (64,), (128,)),
}


def conv_stages(
    stages: tuple[tuple[int, ...], ...], in_channels: int, batch_norm: bool
) -> tuple[nn.Sequential, tuple[FeatureInfo, ...]]:
    """The convolutional part, and where each stage ends: at the last ReLU before its pooling."""
    layers: list[nn.Module] = []
    info = []
    for depth, stage in enumerate(stages):
        for channels in stage:
            layers.append(nn.Conv2d(in_channels, channels, 3, padding=1))
            layers += [nn.BatchNorm2d(channels)] if batch_norm else []
            layers.append(nn.ReLU())
            in_channels = channels
        info.append(FeatureInfo(f"features.{len(layers) - 1}", in_channels, 2**depth))
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers), tuple(info)


class VGG(Model):
    """VGG of torchvision: stages of 3×3 convolutions, 7×7 adaptive pooling, three fully connected layers.

    Input shape: (N, in_channels, H, W) with H, W ≥ 32. Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> with cool.nn.meta_parameters():
    ...     net = cool.models.create("vgg19")
    >>> net.num_parameters(), net.feature_info[-1]
    (143667240, FeatureInfo(name='features.35', channels=512, stride=16))
    """

    head = "classifier.6"

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        stages: str = "E",
        batch_norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        self.features, self.feature_info = conv_stages(STAGES[stages], in_channels, batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[-2:]) < 32:
            raise ValueError(f"VGG halves the picture five times, so it needs 32×32 pixels or more, not {x.shape}")
        return self.classifier(self.flatten(self.avgpool(self.features(x))))  # type: ignore[no-any-return]


class SmallVGG(Model):
    """Stages of 3×3 convolutions with batch normalization, global average pooling, one fully connected layer: for
    pictures of 32 to 64 pixels.

    small_vgg has six convolutions in three stages; tiny_vgg has four, each a stage, and dropout, for data sets of a few
    hundred pictures. Input shape: (N, in_channels, H, W) with H, W ≥ 8 (tiny_vgg 16). Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> [cool.models.create(name).num_parameters() for name in ("small_vgg", "tiny_vgg")]
    [289194, 99210]
    """

    head = "classifier"

    def __init__(
        self, num_classes: int = 10, in_channels: int = 3, stages: str = "small", dropout: float = 0.0
    ) -> None:
        self.features, self.feature_info = conv_stages(STAGES[stages], in_channels, batch_norm=True)
        self.pool = nn.GlobalAvgPool2d()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(STAGES[stages][-1][-1], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.pool(self.features(x))))  # type: ignore[no-any-return]


for _name, _stages in (("vgg11", "A"), ("vgg13", "B"), ("vgg16", "D"), ("vgg19", "E")):
    register(
        ModelConfig(_name, VGG, {"stages": _stages}),
        ModelConfig(f"{_name}_bn", VGG, {"stages": _stages, "batch_norm": True}),
    )
register(
    ModelConfig("small_vgg", SmallVGG, num_classes=10, input_size=(3, 32, 32), preprocessing=CIFAR),
    ModelConfig(
        "tiny_vgg",
        SmallVGG,
        {"stages": "tiny", "dropout": 0.2},
        num_classes=10,
        input_size=(3, 64, 64),
        preprocessing=CIFAR,
    ),
)
