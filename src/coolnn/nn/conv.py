"""Layers with a learned weighted sum: convolution, transposed convolution, fully connected."""

from __future__ import annotations

from .. import ops
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter, new

Pair = int | tuple[int, int]
Padding = str | int | tuple[int, int] | tuple[int, int, int, int]


def pair(value: Pair, name: str) -> tuple[int, int]:
    """A number for both directions, or (vertical, horizontal), as a pair."""
    both = (value, value) if isinstance(value, int) else tuple(value)
    if len(both) != 2:
        raise ValueError(f"{name} is one number or a pair (vertical, horizontal), not {value!r}")
    return both


def _check_channels(in_channels: int, out_channels: int, groups: int) -> None:
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise ValueError(f"groups={groups} must divide both in_channels={in_channels} and out_channels={out_channels}")


class Conv2d(Module):
    """2-D convolution as networks mean it (the filter is not flipped).

    Input shape: (N, in_channels, H, W). Output shape: (N, out_channels, oH, oW) with
    oH = ⌊(H + padding - dilation·(kernel - 1) - 1) / stride⌋ + 1.
    `padding`: a number, a pair (vertical, horizontal), four sides (top, left, bottom, right), "valid" or "same"
    (oH = ⌈H / stride⌉). `padding_mode`: "zeros", "reflect" or "replicate". Initialised as in PyTorch.

    >>> import coolnn as cool
    >>> layer = cool.nn.Conv2d(3, 16, 3, padding="same")
    >>> layer
    Conv2d(3, 16, kernel_size=(3, 3), padding='same')
    >>> layer(cool.zeros(2, 3, 32, 32)).shape
    (2, 16, 32, 32)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        _check_channels(in_channels, out_channels, groups)
        if padding_mode not in ("zeros", "reflect", "replicate"):
            raise ValueError(f"padding_mode is 'zeros', 'reflect' or 'replicate', not {padding_mode!r}")
        if padding_mode != "zeros" and isinstance(padding, str):
            raise ValueError(f"padding_mode={padding_mode!r} needs padding as numbers, not {padding!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.stride, self.dilation = pair(stride, "stride"), pair(dilation, "dilation")
        self.padding, self.padding_mode = padding, padding_mode
        self.weight = Parameter(new(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = Parameter(new(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new weights."""
        init.default_(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros" and not isinstance(padding, str):
            top, left, bottom, right = _four(padding)
            x, padding = ops.pad(x, (left, right, top, bottom), self.padding_mode), 0
        return ops.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        parts += [f"stride={self.stride}"] if self.stride != (1, 1) else []
        parts += [f"padding={self.padding!r}"] if self.padding not in (0, (0, 0), "valid") else []
        parts += [f"dilation={self.dilation}"] if self.dilation != (1, 1) else []
        parts += [f"groups={self.groups}"] if self.groups != 1 else []
        parts += ["bias=False"] if self.bias is None else []
        parts += [f"padding_mode={self.padding_mode!r}"] if self.padding_mode != "zeros" else []
        return ", ".join(parts)


def _four(padding: int | tuple[int, ...]) -> tuple[int, int, int, int]:
    """Padding as (top, left, bottom, right)."""
    sides = (padding,) * 4 if isinstance(padding, int) else tuple(padding) * (1 if len(padding) == 4 else 2)
    if len(sides) != 4:
        raise ValueError(f"padding is one number, a pair or four sides (top, left, bottom, right), not {padding!r}")
    return sides


class ConvTranspose2d(Module):
    """Transposed convolution: the input gradient of a convolution used as a layer that enlarges.

    Input shape: (N, in_channels, H, W). Output shape: (N, out_channels, oH, oW) with
    oH = (H - 1)·stride - 2·padding + dilation·(kernel - 1) + output_padding + 1. Weight: (in, out / groups, kH, kW).

    >>> import coolnn as cool
    >>> cool.nn.ConvTranspose2d(8, 4, 2, stride=2)(cool.zeros(1, 8, 5, 5)).shape
    (1, 4, 10, 10)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
    ) -> None:
        _check_channels(in_channels, out_channels, groups)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.stride, self.dilation = pair(stride, "stride"), pair(dilation, "dilation")
        self.padding, self.output_padding = pair(padding, "padding"), pair(output_padding, "output_padding")
        self.weight = Parameter(new(in_channels, out_channels // groups, *self.kernel_size))
        self.bias = Parameter(new(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new weights."""
        init.default_(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
            + (f", padding={self.padding}" if self.padding != (0, 0) else "")
            + (f", output_padding={self.output_padding}" if self.output_padding != (0, 0) else "")
            + (f", groups={self.groups}" if self.groups != 1 else "")
            + (", bias=False" if self.bias is None else "")
        )


class Linear(Module):
    """Fully connected layer: y = x Wᵀ + b.

    Input shape: (..., in_features). Output shape: (..., out_features). Initialised as in PyTorch.

    >>> import coolnn as cool
    >>> cool.nn.Linear(20, 5)(cool.zeros(3, 20)).shape
    (3, 5)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(new(out_features, in_features))
        self.bias = Parameter(new(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new weights."""
        init.default_(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")
