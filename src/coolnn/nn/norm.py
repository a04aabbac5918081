"""Normalization layers."""

from __future__ import annotations

from .. import ops
from ..autograd import each_run
from ..spec import int64
from ..tensor import Tensor
from .module import Module
from .parameter import Buffer, Parameter, new


class _BatchNorm(Module):
    rank: tuple[int, ...]
    shape_text: str

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(new(num_features, fill=1.0)) if affine else None
        self.bias = Parameter(new(num_features)) if affine else None
        self.running_mean = Buffer(new(num_features)) if track_running_stats else None
        self.running_var = Buffer(new(num_features, fill=1.0)) if track_running_stats else None
        self.num_batches_tracked = Buffer(new(dtype=int64)) if track_running_stats else None

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in self.rank or x.shape[1] != self.num_features:
            wanted = self.shape_text.format(self.num_features)
            raise ValueError(f"{type(self).__name__}({self.num_features}) takes {wanted}, not {x.shape}")
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None and not self.num_batches_tracked.is_meta:
            each_run(self._count)
            if self.momentum is None:  # the plain mean over all batches so far
                momentum = 1.0 / float(self.num_batches_tracked.numpy())
        return ops.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training or self.running_mean is None,
            momentum=momentum,
            eps=self.eps,
        )

    def _count(self) -> None:
        assert self.num_batches_tracked is not None
        count = self.num_batches_tracked.numpy()
        count += 1

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}"
            + (f", eps={self.eps}" if self.eps != 1e-5 else "")
            + (f", momentum={self.momentum}" if self.momentum != 0.1 else "")
            + (", affine=False" if not self.affine else "")
            + (", track_running_stats=False" if not self.track_running_stats else "")
        )


class BatchNorm2d(_BatchNorm):
    """Makes each channel's values over the batch have mean 0 and variance 1, then scales and shifts them by learned
    numbers; in evaluation by the running mean and variance (Ioffe & Szegedy 2015, arXiv:1502.03167).

    Input shape: (N, num_features, H, W). Output shape: the same. `momentum` is the weight of the newest batch;
    None keeps the plain mean over all batches.

    >>> import coolnn as cool
    >>> layer = cool.nn.BatchNorm2d(3)
    >>> layer(cool.ones(2, 3, 4, 4)).shape, round(float(layer.running_mean[0]), 3)
    ((2, 3, 4, 4), 0.1)
    """

    rank = (4,)
    shape_text = "(N, {}, H, W)"


class BatchNorm1d(_BatchNorm):
    """Batch normalization of features (Ioffe & Szegedy 2015, arXiv:1502.03167).

    Input shape: (N, num_features) or (N, num_features, L). Output shape: the same.

    >>> import coolnn as cool
    >>> cool.nn.BatchNorm1d(3).eval()(cool.ones(2, 3)).shape
    (2, 3)
    """

    rank = (2, 3)
    shape_text = "(N, {0}) or (N, {0}, L)"


class InstanceNorm2d(Module):
    """Makes each channel of each picture have mean 0 and variance 1 (Ulyanov et al. 2016, arXiv:1607.08022).

    Input shape: (N, num_features, H, W). Output shape: the same. Always uses the picture's own statistics.

    >>> import coolnn as cool
    >>> cool.nn.InstanceNorm2d(3)(cool.zeros(2, 3, 4, 4)).shape
    (2, 3, 4, 4)
    """

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False) -> None:
        self.num_features, self.eps, self.affine = num_features, eps, affine
        self.weight = Parameter(new(num_features, fill=1.0)) if affine else None
        self.bias = Parameter(new(num_features)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.num_features:
            raise ValueError(f"InstanceNorm2d({self.num_features}) takes (N, {self.num_features}, H, W), not {x.shape}")
        return ops.group_norm(x, self.num_features, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}" + (", affine=True" if self.affine else "")


class GroupNorm(Module):
    """Makes each group of channels of each picture have mean 0 and variance 1 (Wu & He 2018, arXiv:1803.08494).

    Input shape: (N, num_channels, ...). Output shape: the same.

    >>> import coolnn as cool
    >>> cool.nn.GroupNorm(2, 6)(cool.zeros(2, 6, 4, 4)).shape
    (2, 6, 4, 4)
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"num_groups={num_groups} must divide num_channels={num_channels}")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = Parameter(new(num_channels, fill=1.0)) if affine else None
        self.bias = Parameter(new(num_channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}"


class LayerNorm(Module):
    """Makes the last axes (those of `normalized_shape`) have mean 0 and variance 1 (Ba et al. 2016, arXiv:1607.06450).

    Input shape: (..., *normalized_shape). Output shape: the same.

    >>> import coolnn as cool
    >>> cool.nn.LayerNorm(8)(cool.zeros(2, 5, 8)).shape
    (2, 5, 8)
    """

    def __init__(
        self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, elementwise_affine: bool = True
    ) -> None:
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.weight = Parameter(new(*self.normalized_shape, fill=1.0)) if elementwise_affine else None
        self.bias = Parameter(new(*self.normalized_shape)) if elementwise_affine else None

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return str(self.normalized_shape)


class LayerNorm2d(Module):
    """Makes the channels of each pixel have mean 0 and variance 1 (ConvNeXt: Liu et al. 2022, arXiv:2201.03545).

    Input shape: (N, num_channels, H, W). Output shape: the same.

    >>> import coolnn as cool
    >>> cool.nn.LayerNorm2d(8)(cool.zeros(2, 8, 4, 5)).shape
    (2, 8, 4, 5)
    """

    def __init__(self, num_channels: int, eps: float = 1e-5, elementwise_affine: bool = True) -> None:
        self.num_channels, self.eps = num_channels, eps
        self.weight = Parameter(new(num_channels, fill=1.0)) if elementwise_affine else None
        self.bias = Parameter(new(num_channels)) if elementwise_affine else None

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm2d(x, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_channels}, eps={self.eps}"
