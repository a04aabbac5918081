"""AlexNet in torchvision's form, that of "One weird trick" (Krizhevsky 2014, arXiv:1404.5997)."""

from __future__ import annotations

from .. import nn
from ..tensor import Tensor
from .registry import FeatureInfo, Model, ModelConfig, register


class AlexNet(Model):
    """Five convolutions, 6×6 adaptive pooling, three fully connected layers; 61,100,840 parameters.

    Input shape: (N, in_channels, H, W) with H, W ≥ 63. Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> with cool.nn.meta_parameters():
    ...     cool.models.create("alexnet").num_parameters()
    61100840
    """

    head = "classifier.6"
    feature_info = (
        FeatureInfo("features.1", 64, 4),
        FeatureInfo("features.4", 192, 8),
        FeatureInfo("features.11", 256, 16),
    )

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> None:
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[-2:]) < 63:
            raise ValueError(
                f"AlexNet needs pictures of 63×63 pixels or more, not {x.shape}; small_vgg takes small ones"
            )
        return self.classifier(self.flatten(self.avgpool(self.features(x))))  # type: ignore[no-any-return]


register(ModelConfig("alexnet", AlexNet))
