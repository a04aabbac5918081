"""Inception v3 (Szegedy et al. 2015, arXiv:1512.00567) with torchvision's parameter names.

torchvision's published weights want pixels from -1 to 1 (its transform_input); here that is part of the preprocessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .. import nn, ops
from ..tensor import Tensor
from .googlenet import BasicConv2d, initialise
from .registry import FeatureInfo, Model, ModelConfig, WithAuxiliary, imagenet, register


class Layer(NamedTuple):
    """A convolution of a branch: its name, channels, kernel, and stride (with stride 2 there is no padding)."""

    name: str
    channels: int
    kernel: int | tuple[int, int]
    stride: int = 1


#: Layers one after the other; the last place may be several layers side by side, and the first word a pooling.
Branch = tuple[Layer | tuple[Layer, ...] | str, ...]


def _chain(name: str, channels: Sequence[int], kernels: Sequence[int | tuple[int, int]], stride: int = 1) -> Branch:
    """Layers with numbered names; the stride is that of the last."""
    last = len(channels) - 1
    return tuple(
        Layer(f"{name}_{i + 1}", c, k, stride if i == last else 1)
        for i, (c, k) in enumerate(zip(channels, kernels, strict=True))
    )


_ROW, _COLUMN = (1, 7), (7, 1)


def _a(pooled: int) -> tuple[Branch, ...]:
    return (
        (Layer("branch1x1", 64, 1),),
        _chain("branch5x5", (48, 64), (1, 5)),
        _chain("branch3x3dbl", (64, 96, 96), (1, 3, 3)),
        ("mean", Layer("branch_pool", pooled, 1)),
    )


def _b() -> tuple[Branch, ...]:
    return ((Layer("branch3x3", 384, 3, 2),), _chain("branch3x3dbl", (64, 96, 96), (1, 3, 3), 2), ("max",))


def _c(inner: int) -> tuple[Branch, ...]:
    return (
        (Layer("branch1x1", 192, 1),),
        _chain("branch7x7", (inner, inner, 192), (1, _ROW, _COLUMN)),
        _chain("branch7x7dbl", (inner, inner, inner, inner, 192), (1, _COLUMN, _ROW, _COLUMN, _ROW)),
        ("mean", Layer("branch_pool", 192, 1)),
    )


def _d() -> tuple[Branch, ...]:
    return (
        _chain("branch3x3", (192, 320), (1, 3), 2),
        _chain("branch7x7x3", (192, 192, 192, 192), (1, _ROW, _COLUMN, 3), 2),
        ("max",),
    )


def _e() -> tuple[Branch, ...]:
    def split(name: str) -> tuple[Layer, ...]:
        return Layer(f"{name}a", 384, (1, 3)), Layer(f"{name}b", 384, (3, 1))

    return (
        (Layer("branch1x1", 320, 1),),
        (Layer("branch3x3_1", 384, 1), split("branch3x3_2")),
        (*_chain("branch3x3dbl", (448, 384), (1, 3)), split("branch3x3dbl_3")),
        ("mean", Layer("branch_pool", 192, 1)),
    )


#: The modules of mixed branches in order.
MIXED: dict[str, tuple[Branch, ...]] = {
    **{"Mixed_5b": _a(32), "Mixed_5c": _a(64), "Mixed_5d": _a(64), "Mixed_6a": _b()},
    **{"Mixed_6b": _c(128), "Mixed_6c": _c(160), "Mixed_6d": _c(160), "Mixed_6e": _c(192)},
    **{"Mixed_7a": _d(), "Mixed_7b": _e(), "Mixed_7c": _e()},
}


class Mixed(nn.Module):
    """Branches of convolutions side by side, their outputs joined along the channels.

    `branches`: see MIXED. Input shape: (N, in_channels, H, W). Output shape: (N, `channels`, H, W), or half the
    resolution where branches end with stride 2.

    >>> import coolnn as cool
    >>> from coolnn.models.inception import MIXED, Mixed
    >>> Mixed(192, MIXED["Mixed_5b"])(cool.zeros(1, 192, 5, 5)).shape
    (1, 256, 5, 5)
    """

    def __init__(self, in_channels: int, branches: tuple[Branch, ...]) -> None:
        self.branches = branches
        self.channels = 0
        self.mean, self.max = nn.AvgPool2d(3, 1, padding=1), nn.MaxPool2d(3, 2)
        for branch in branches:
            channels = in_channels
            for part in map(_side_by_side, branch):
                for layer in part:
                    if isinstance(layer, Layer):
                        setattr(self, layer.name, _convolution(channels, layer))
                channels = sum(channels if isinstance(layer, str) else layer.channels for layer in part)
            self.channels += channels

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for branch in self.branches:
            ends = [x]
            for part in map(_side_by_side, branch):
                ends = [getattr(self, layer if isinstance(layer, str) else layer.name)(ends[0]) for layer in part]
            outputs += ends
        return ops.concat(outputs, 1)


def _side_by_side(part: Layer | tuple[Layer, ...] | str) -> tuple[Layer | str, ...]:
    return (part,) if isinstance(part, str | Layer) else part


def _convolution(in_channels: int, layer: Layer) -> BasicConv2d:
    height, width = (layer.kernel, layer.kernel) if isinstance(layer.kernel, int) else layer.kernel
    padding = (height // 2, width // 2) if layer.stride == 1 else 0
    return BasicConv2d(in_channels, layer.channels, (height, width), stride=layer.stride, padding=padding)


class InceptionHead(nn.Module):
    """A second classifier in the middle of the network, which helps its training.

    Input shape: (N, in_channels, H, W) with H, W ≥ 17. Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> cool.models.inception.InceptionHead(16, 10)(cool.zeros(2, 16, 17, 17)).shape
    (2, 10)
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        self.pool = nn.AvgPool2d(5, 3)
        self.conv0, self.conv1 = BasicConv2d(in_channels, 128, 1), BasicConv2d(128, 768, 5)
        self.mean = nn.GlobalAvgPool2d()
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < 17:
            raise ValueError(
                "the auxiliary classifier of Inception v3 needs pictures of 299×299 pixels or more in training; for "
                'smaller ones build the network without it: create("inception_v3", aux_logits=False)'
            )
        return self.fc(self.mean(self.conv1(self.conv0(self.pool(x)))))  # type: ignore[no-any-return]


class InceptionV3(Model):
    """Inception v3 of torchvision: five convolutions, then eleven modules of branches with factorised convolutions.

    With `aux_logits` there is one more classifier, and in training the output is `WithAuxiliary`.
    Input shape: (N, in_channels, H, W) with H, W ≥ 75. Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> with cool.nn.meta_parameters():
    ...     cool.models.create("inception_v3").num_parameters()
    27161264
    """

    auxiliary = ("AuxLogits",)
    auxiliary_heads = ("AuxLogits.fc",)
    feature_info = (
        FeatureInfo("Conv2d_2b_3x3", 64, 2),
        FeatureInfo("Conv2d_4a_3x3", 192, 4),
        FeatureInfo("Mixed_5d", 288, 8),
        FeatureInfo("Mixed_6e", 768, 16),
        FeatureInfo("Mixed_7c", 2048, 32),
    )

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, aux_logits: bool = True, dropout: float = 0.5
    ) -> None:
        self.Conv2d_1a_3x3 = BasicConv2d(in_channels, 32, 3, stride=2)
        self.Conv2d_2a_3x3, self.Conv2d_2b_3x3 = BasicConv2d(32, 32, 3), BasicConv2d(32, 64, 3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = BasicConv2d(64, 80, 1), BasicConv2d(80, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        channels = 192
        for name, branches in MIXED.items():
            if name == "Mixed_7a":
                self.AuxLogits = InceptionHead(channels, num_classes) if aux_logits else None
            mixed = Mixed(channels, branches)
            setattr(self, name, mixed)
            channels = mixed.channels
        self.pool, self.dropout = nn.GlobalAvgPool2d(), nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self, 0.1)
        if self.AuxLogits is not None:
            nn.init.trunc_normal_(self.AuxLogits.conv1.conv.weight, std=0.01)
            nn.init.trunc_normal_(self.AuxLogits.fc.weight, std=0.001)

    @classmethod
    def for_size(cls, size: int) -> dict[str, bool]:
        """Below 299 pixels the auxiliary classifier has too little to look at."""
        return {} if size >= 299 else {"aux_logits": False}

    def forward(self, x: Tensor) -> Tensor | WithAuxiliary:
        x = self.maxpool1(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = middle = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        for name in MIXED:
            x = getattr(self, name)(x)
            middle = x if name == "Mixed_6e" else middle
        scores = self.fc(self.dropout(self.pool(x)))
        if self.AuxLogits is None or not self.training:
            return scores  # type: ignore[no-any-return]
        return WithAuxiliary(scores, (self.AuxLogits(middle),), 0.4)


register(
    ModelConfig(
        "inception_v3",
        InceptionV3,
        input_size=(3, 299, 299),
        preprocessing=imagenet(299, 342, mean=(0.5,) * 3, std=(0.5,) * 3),
    ),
)
