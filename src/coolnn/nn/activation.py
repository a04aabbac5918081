"""Layers without weights that act on each number, and other small ones."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..tensor import Tensor, ones
from .module import Module


class ReLU(Module):
    """max(x, 0). Any shape in, the same shape out. `inplace` is accepted for PyTorch's sake and changes nothing.

    >>> import coolnn as cool
    >>> cool.nn.ReLU()(cool.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class ReLU6(Module):
    """min(max(x, 0), 6). Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.nn.ReLU6()(cool.tensor([-1.0, 2.0, 9.0])).tolist()
    [0.0, 2.0, 6.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu6(x)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope · x. Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.nn.LeakyReLU(0.5)(cool.tensor([-1.0, 2.0])).tolist()
    [-0.5, 2.0]
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = float(negative_slope)

    def forward(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return str(self.negative_slope)


class Sigmoid(Module):
    """1 / (1 + e⁻ˣ). Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.nn.Sigmoid()(cool.zeros(1)).tolist()
    [0.5]
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


class Tanh(Module):
    """Hyperbolic tangent. Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.nn.Tanh()(cool.zeros(1)).tolist()
    [0.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


class SiLU(Module):
    """x · sigmoid(x), also called swish. Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.nn.SiLU()(cool.zeros(1)).tolist()
    [0.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return ops.silu(x)


class GELU(Module):
    """x · Φ(x) with the normal distribution's Φ (Hendrycks & Gimpel 2016, arXiv:1606.08415).

    `approximate`: "none" or "tanh". Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.nn.GELU()(cool.zeros(1)).tolist()
    [0.0]
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return ops.gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        return "" if self.approximate == "none" else f"approximate={self.approximate!r}"


class Hardswish(Module):
    """x · relu6(x + 3) / 6 (Howard et al. 2019, arXiv:1905.02244). Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.nn.Hardswish()(cool.tensor([0.0, 4.0])).tolist()
    [0.0, 4.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return ops.hardswish(x)


class Hardsigmoid(Module):
    """relu6(x + 3) / 6: from 0 to 1 in a straight line (Howard et al. 2019, arXiv:1905.02244). Any shape, the same out.

    >>> import coolnn as cool
    >>> cool.nn.Hardsigmoid()(cool.tensor([-4.0, 0.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu6(x + 3.0) * (1 / 6)


class Softplus(Module):
    """log(1 + e^(beta·x)) / beta, and x itself where beta·x > threshold. Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> round(float(cool.nn.Softplus()(cool.zeros(1))), 4)
    0.6931
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = float(beta), float(threshold)

    def forward(self, x: Tensor) -> Tensor:
        return ops.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softmax(Module):
    """Positive numbers with sum 1 along `dim`. Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.nn.Softmax(dim=1)(cool.zeros(1, 4)).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Identity(Module):
    """Gives its input back; takes the place of a layer that is not wanted.

    >>> import coolnn as cool
    >>> cool.nn.Identity()(cool.ones(2)).tolist()
    [1.0, 1.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        return x


class Flatten(Module):
    """Joins the axes from start_dim to end_dim into one.

    Input shape: (N, ...). Output shape: (N, product of the rest).

    >>> import coolnn as cool
    >>> cool.nn.Flatten()(cool.zeros(2, 3, 4, 5)).shape
    (2, 60)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.flatten(x, self.start_dim, self.end_dim)


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"p is a probability from 0 to 1, not {p}")
        self.p = float(p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout(_Dropout):
    """In training sets each number to 0 with probability p and divides the rest by 1 - p; in evaluation does nothing.

    Any shape in, the same shape out. Reproducible from `cool.manual_seed` (Srivastava et al. 2014, JMLR 15).

    >>> import coolnn as cool
    >>> cool.nn.Dropout(0.5).eval()(cool.ones(2)).tolist()
    [1.0, 1.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, self.training)


class Dropout2d(_Dropout):
    """Dropout of whole channels (Tompson et al. 2014, arXiv:1411.4280).

    Input shape: (N, C, H, W). Output shape: the same.

    >>> import coolnn as cool
    >>> cool.nn.Dropout2d(0.5)(cool.ones(2, 4, 3, 3)).shape
    (2, 4, 3, 3)
    """

    def forward(self, x: Tensor) -> Tensor:
        return _drop_whole(x, x.shape[:2], self.p) if self.training else x


class StochasticDepth(_Dropout):
    """Dropout of all that was computed for a picture: at the end of a residual block it leaves the block out for the
    picture, with probability p (Huang et al. 2016, arXiv:1603.09382).

    Input shape: (N, ...). Output shape: the same.

    >>> import coolnn as cool
    >>> cool.nn.StochasticDepth(0.2)(cool.ones(2, 4, 3, 3)).shape
    (2, 4, 3, 3)
    """

    def forward(self, x: Tensor) -> Tensor:
        return _drop_whole(x, x.shape[:1], self.p) if self.training else x


def _drop_whole(x: Tensor, leading: tuple[int, ...], p: float) -> Tensor:
    """Dropout of all numbers together that share their first axes."""
    if p == 0:
        return x
    kept = ops.dropout(ones(*leading, *(1,) * (x.ndim - len(leading)), dtype=x.dtype), p, True)
    return x * kept


class ChannelShuffle(Module):
    """Deals the channels anew: one of each group in turn (Zhang et al. 2017, arXiv:1707.01083).

    Input shape: (N, C, H, W), C a multiple of `groups`. Output shape: the same.

    >>> import coolnn as cool
    >>> x = cool.tensor([[[[0.0]], [[1.0]], [[2.0]], [[3.0]]]])
    >>> cool.nn.ChannelShuffle(2)(x).flatten().tolist()
    [0.0, 2.0, 1.0, 3.0]
    """

    def __init__(self, groups: int) -> None:
        if groups < 1:
            raise ValueError(f"groups must be 1 or more, not {groups}")
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] % self.groups:
            raise ValueError(f"groups={self.groups} must divide the channels of an input of shape {x.shape}")
        return ops.take(x, np.arange(x.shape[1]).reshape(self.groups, -1).T.reshape(-1), 1)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
