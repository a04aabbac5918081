"""RegNet (Radosavovic et al. 2020, arXiv:2003.13678), X and Y, with torchvision's parameter names."""

from __future__ import annotations

import math
from itertools import groupby
from typing import Any

from .. import nn
from ..tensor import Tensor
from .blocks import ConvNorm, SqueezeExcitation, divisible, initialise
from .registry import FeatureInfo, Model, ModelConfig, imagenet, register


def stages_of(depth: int, initial: int, slope: float, step: float, group_width: int) -> list[tuple[int, int, int]]:
    """(width, depth, group width) of each stage of a design: block widths grow by a straight line, which is rounded to
    powers of `step` times `initial`, and those to whole groups.

    >>> import coolnn as cool
    >>> cool.models.regnet.stages_of(16, 48, 27.89, 2.09, 8)
    [(48, 1, 8), (104, 3, 8), (208, 6, 8), (440, 6, 8)]
    """
    powers = [round(math.log((initial + slope * i) / initial) / math.log(step)) for i in range(depth)]
    widths = [round(initial * step**power / 8) * 8 for power in powers]
    found = [(width, len(list(same))) for width, same in groupby(widths)]
    return [(divisible(width, min(group_width, width)), n, min(group_width, width)) for width, n in found]


class RegNetBlock(nn.Module):
    """1×1, grouped 3×3 and 1×1 convolutions of one width, squeeze and excitation in Y, and a shortcut.

    Input shape: (N, in_channels, H, W). Output shape: (N, channels, ⌈H/stride⌉, ⌈W/stride⌉).

    >>> import coolnn as cool
    >>> cool.models.regnet.RegNetBlock(8, 16, 2, 8, squeeze=True)(cool.zeros(1, 8, 6, 6)).shape
    (1, 16, 3, 3)
    """

    def __init__(self, in_channels: int, channels: int, stride: int, group_width: int, squeeze: bool) -> None:
        self.proj = None
        if in_channels != channels or stride != 1:
            self.proj = ConvNorm(in_channels, channels, 1, stride, activation=None)
        layers: dict[str, nn.Module] = {
            "a": ConvNorm(in_channels, channels, 1),
            "b": ConvNorm(channels, channels, 3, stride, channels // group_width),
        }
        if squeeze:
            layers["se"] = SqueezeExcitation(channels, round(in_channels / 4))
        self.f = nn.Sequential({**layers, "c": ConvNorm(channels, channels, 1, activation=None)})
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation((x if self.proj is None else self.proj(x)) + self.f(x))  # type: ignore[no-any-return]


class RegNet(Model):
    """RegNet of torchvision: four stages of blocks whose widths follow a line with a few parameters.

    `depth`, `initial`, `slope`, `step`, `group_width`: see `stages_of`; `squeeze`: Y (with) or X (without).
    Input shape: (N, in_channels, H, W). Output shape: (N, num_classes).

    >>> import coolnn as cool
    >>> cool.models.create("regnet_y_400mf").num_parameters()
    4344144
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        depth: int = 16,
        initial: int = 48,
        slope: float = 27.89,
        step: float = 2.09,
        group_width: int = 8,
        squeeze: bool = True,
    ) -> None:
        channels = 32
        self.stem = ConvNorm(in_channels, channels, 3, 2)
        stages, info = {}, []
        for number, (width, blocks, groups) in enumerate(stages_of(depth, initial, slope, step, group_width), 1):
            named = {}
            for i in range(blocks):
                named[f"block{number}-{i}"] = RegNetBlock(channels, width, 2 if i == 0 else 1, groups, squeeze)
                channels = width
            stages[f"block{number}"] = nn.Sequential(named)
            info.append(FeatureInfo(f"trunk_output.block{number}", width, 2 ** (number + 1)))
        self.trunk_output, self.feature_info = nn.Sequential(stages), tuple(info)
        self.pool = nn.GlobalAvgPool2d()
        self.fc = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.trunk_output(self.stem(x))))  # type: ignore[no-any-return]


#: Depth, initial width, slope, step and group width (appendix of the paper).
DESIGNS = {
    "x_400mf": (22, 24, 24.48, 2.54, 16),
    "x_800mf": (16, 56, 35.73, 2.28, 16),
    "x_1_6gf": (18, 80, 34.01, 2.25, 24),
    "x_3_2gf": (25, 88, 26.31, 2.25, 48),
    "x_8gf": (23, 80, 49.56, 2.88, 120),
    "x_16gf": (22, 216, 55.59, 2.1, 128),
    "x_32gf": (23, 320, 69.86, 2.0, 168),
    "y_400mf": (16, 48, 27.89, 2.09, 8),
    "y_800mf": (14, 56, 38.84, 2.4, 16),
    "y_1_6gf": (27, 48, 20.71, 2.65, 24),
    "y_3_2gf": (21, 80, 42.63, 2.66, 24),
    "y_8gf": (17, 192, 76.82, 2.19, 56),
    "y_16gf": (18, 200, 106.23, 2.48, 112),
    "y_32gf": (20, 232, 115.89, 2.53, 232),
}
for _name, _design in DESIGNS.items():
    _settings: dict[str, Any] = dict(zip(("depth", "initial", "slope", "step", "group_width"), _design, strict=True))
    _settings["squeeze"] = _name.startswith("y")
    register(ModelConfig(f"regnet_{_name}", RegNet, _settings, preprocessing=imagenet(224, 232)))
