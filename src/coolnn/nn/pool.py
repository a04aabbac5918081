"""Pooling layers and layers that change the size of a picture."""

from __future__ import annotations

from .. import ops
from ..tensor import Tensor
from .conv import Pair, pair
from .module import Module

OptionalPair = int | tuple[int | None, int | None]


class MaxPool2d(Module):
    """The largest value of each window, channel by channel.

    Input shape: (N, C, H, W). Output shape: (N, C, oH, oW) with
    oH = ⌊(H + 2·padding - dilation·(kernel - 1) - 1) / stride⌋ + 1 (⌈⌉ with `ceil_mode`). The stride is the kernel by
    default.

    >>> import coolnn as cool
    >>> cool.nn.MaxPool2d(2)(cool.zeros(1, 8, 28, 28)).shape
    (1, 8, 14, 14)
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.stride = self.kernel_size if stride is None else pair(stride, "stride")
        self.padding, self.dilation = pair(padding, "padding"), pair(dilation, "dilation")
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return ops.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def extra_repr(self) -> str:
        return _window_repr(self.kernel_size, self.stride, self.padding)


class AvgPool2d(Module):
    """The mean of each window, channel by channel.

    Input shape: (N, C, H, W). Output shape: (N, C, oH, oW) with oH = ⌊(H + 2·padding - kernel) / stride⌋ + 1.
    `count_include_pad`: whether padding counts as zeros in the mean or is left out of it.

    >>> import coolnn as cool
    >>> cool.nn.AvgPool2d(2)(cool.ones(1, 1, 4, 4)).tolist()
    [[[[1.0, 1.0], [1.0, 1.0]]]]
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.stride = self.kernel_size if stride is None else pair(stride, "stride")
        self.padding = pair(padding, "padding")
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return _window_repr(self.kernel_size, self.stride, self.padding)


def _window_repr(kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> str:
    text = f"kernel_size={kernel_size}, stride={stride}"
    return text + (f", padding={padding}" if padding != (0, 0) else "")


class AdaptiveAvgPool2d(Module):
    """Means over windows chosen so that the output has the given size, whatever the input's.

    Input shape: (N, C, H, W). Output shape: (N, C, *output_size); None in a pair keeps that length.

    >>> import coolnn as cool
    >>> cool.nn.AdaptiveAvgPool2d(7)(cool.zeros(1, 8, 13, 9)).shape
    (1, 8, 7, 7)
    """

    def __init__(self, output_size: OptionalPair) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool2d(x, _resolve(self.output_size, x))

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(Module):
    """The largest values of windows chosen so that the output has the given size, whatever the input's.

    Input shape: (N, C, H, W). Output shape: (N, C, *output_size); None in a pair keeps that length.

    >>> import coolnn as cool
    >>> cool.nn.AdaptiveMaxPool2d((1, None))(cool.zeros(1, 8, 13, 9)).shape
    (1, 8, 1, 9)
    """

    def __init__(self, output_size: OptionalPair) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_max_pool2d(x, _resolve(self.output_size, x))

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


def _resolve(output_size: OptionalPair, x: Tensor) -> tuple[int, int]:
    height, width = (output_size, output_size) if isinstance(output_size, int) else output_size
    return x.shape[-2] if height is None else height, x.shape[-1] if width is None else width


class GlobalAvgPool2d(Module):
    """The mean of each channel over the whole picture (Lin et al. 2013, arXiv:1312.4400).

    Input shape: (N, C, H, W). Output shape: (N, C).

    >>> import coolnn as cool
    >>> cool.nn.GlobalAvgPool2d()(cool.zeros(2, 8, 7, 7)).shape
    (2, 8)
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.flatten(ops.adaptive_avg_pool2d(x, (1, 1)), 1)


class Upsample(Module):
    """Enlarges (or shrinks) a picture to a size or by a factor.

    Input shape: (N, C, H, W). Output shape: (N, C, *size) or (N, C, ⌊H·scale_factor⌋, ⌊W·scale_factor⌋).
    `mode`: "nearest" or "bilinear".

    >>> import coolnn as cool
    >>> cool.nn.Upsample(scale_factor=2, mode="bilinear")(cool.zeros(1, 3, 5, 5)).shape
    (1, 3, 10, 10)
    """

    def __init__(
        self,
        size: Pair | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
    ) -> None:
        if (size is None) == (scale_factor is None):
            raise ValueError(f"give either size or scale_factor: size={size}, scale_factor={scale_factor}")
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, x: Tensor) -> Tensor:
        return ops.interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        how = f"size={self.size}" if self.size is not None else f"scale_factor={self.scale_factor}"
        return f"{how}, mode={self.mode!r}"


class _Pad2d(Module):
    """Padding of (left, right, top, bottom) or the same on all sides."""

    mode: str

    def __init__(self, padding: int | tuple[int, int, int, int]) -> None:
        self.padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != 4:
            raise ValueError(f"padding is one number or (left, right, top, bottom), not {padding!r}")

    def forward(self, x: Tensor) -> Tensor:
        return ops.pad(x, self.padding, self.mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class ZeroPad2d(_Pad2d):
    """Adds zeros around the picture; padding is one number or (left, right, top, bottom).

    Input shape: (N, C, H, W). Output shape: (N, C, H + top + bottom, W + left + right).

    >>> import coolnn as cool
    >>> cool.nn.ZeroPad2d((1, 2, 0, 0))(cool.ones(1, 1, 1, 2)).tolist()
    [[[[0.0, 1.0, 1.0, 0.0, 0.0]]]]
    """

    mode = "constant"


class ReflectionPad2d(_Pad2d):
    """Mirrors the picture at its edge pixels; padding is one number or (left, right, top, bottom).

    Input shape: (N, C, H, W). Output shape: (N, C, H + top + bottom, W + left + right).

    >>> import coolnn as cool
    >>> cool.nn.ReflectionPad2d((2, 0, 0, 0))(cool.tensor([[[[1.0, 2.0, 3.0]]]])).tolist()
    [[[[3.0, 2.0, 1.0, 2.0, 3.0]]]]
    """

    mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """Repeats the edge pixels; padding is one number or (left, right, top, bottom).

    Input shape: (N, C, H, W). Output shape: (N, C, H + top + bottom, W + left + right).

    >>> import coolnn as cool
    >>> cool.nn.ReplicationPad2d((2, 0, 0, 0))(cool.tensor([[[[1.0, 2.0]]]])).tolist()
    [[[[1.0, 1.0, 1.0, 2.0]]]]
    """

    mode = "replicate"
