"""What several families are built of: convolution with batch norm, squeeze and excitation, inverted residuals."""

from __future__ import annotations

from typing import Any

from .. import nn
from ..tensor import Tensor


def divisible(channels: float, divisor: int = 8) -> int:
    """The multiple of `divisor` that is nearest to a scaled number of channels and not below nine tenths of it.

    >>> import coolnn as cool
    >>> [cool.models.blocks.divisible(channels) for channels in (3, 12, 18, 35.2)]
    [8, 16, 24, 32]
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def initialise(net: nn.Module, linear_std: float | None = 0.01) -> None:
    """torchvision's usual start: convolutions after He et al., linear layers normal with `linear_std` (None: as made).

    Biases of both start at 0.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear) and linear_std is not None:
            nn.init.normal_(module.weight, 0.0, linear_std)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm and an activation (None: none), of names 0, 1, 2.

    Input shape: (N, in_channels, H, W). Output shape: (N, channels, ⌈H/stride⌉, ⌈W/stride⌉) for odd kernels.
    `settings` go to the batch norm.

    >>> import coolnn as cool
    >>> cool.models.blocks.ConvNorm(3, 8, 3, stride=2)(cool.zeros(1, 3, 9, 8)).shape
    (1, 8, 5, 4)
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] | None = nn.ReLU,
        **settings: Any,
    ) -> None:
        conv = nn.Conv2d(in_channels, channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        layers = [conv, nn.BatchNorm2d(channels, **settings)]
        super().__init__(*layers, *([] if activation is None else [activation()]))


class SqueezeExcitation(nn.Module):
    """Scales each channel by a number from 0 to 1 that two small layers make of all channels' means (Hu et al. 2017,
    arXiv:1709.01507).

    Input shape: (N, channels, H, W). Output shape: the same.

    >>> import coolnn as cool
    >>> cool.models.blocks.SqueezeExcitation(8, 2)(cool.zeros(1, 8, 5, 5)).shape
    (1, 8, 5, 5)
    """

    def __init__(
        self,
        channels: int,
        squeezed: int,
        activation: type[nn.Module] = nn.ReLU,
        gate: type[nn.Module] = nn.Sigmoid,
    ) -> None:
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.activation = nn.Conv2d(channels, squeezed, 1), activation()
        self.fc2, self.scale_activation = nn.Conv2d(squeezed, channels, 1), gate()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x)))))  # type: ignore[no-any-return]


class InvertedResidual(nn.Module):
    """1×1 to more channels, a depthwise convolution, squeeze and excitation, 1×1 to few channels; a shortcut around
    them where shapes allow it (Sandler et al. 2018, arXiv:1801.04381; with squeeze: Howard et al. 2019).

    Input shape: (N, in_channels, H, W). Output shape: (N, channels, ⌈H/stride⌉, ⌈W/stride⌉).
    `squeezed`: channels inside of squeeze and excitation, None for none. `drop`: probability that training leaves the
    block out for a picture. `settings` go to the batch norms.

    >>> import coolnn as cool
    >>> block = cool.models.blocks.InvertedResidual(8, 48, 8, 3, 1, squeezed=2)
    >>> block(cool.zeros(1, 8, 5, 5)).shape
    (1, 8, 5, 5)
    """

    def __init__(
        self,
        in_channels: int,
        expanded: int,
        channels: int,
        kernel_size: int,
        stride: int,
        squeezed: int | None = None,
        activation: type[nn.Module] = nn.ReLU,
        squeeze_activation: type[nn.Module] = nn.ReLU,
        gate: type[nn.Module] = nn.Sigmoid,
        drop: float = 0.0,
        **settings: Any,
    ) -> None:
        layers: list[nn.Module] = []
        if expanded != in_channels:
            layers.append(ConvNorm(in_channels, expanded, 1, activation=activation, **settings))
        layers.append(ConvNorm(expanded, expanded, kernel_size, stride, expanded, activation, **settings))
        if squeezed is not None:
            layers.append(SqueezeExcitation(expanded, squeezed, squeeze_activation, gate))
        layers.append(ConvNorm(expanded, channels, 1, activation=None, **settings))
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = nn.StochasticDepth(drop)
        self.shortcut = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return self.stochastic_depth(y) + x if self.shortcut else y
