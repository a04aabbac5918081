"""Random and constant fillings of parameters, reproducible from `cool.manual_seed`.

All of them write in place, return the tensor and pass over tensors without numbers (`nn.meta_parameters`).
"""

from __future__ import annotations

import math

import numpy as np

from ..random import generator
from ..spec import Shape, storage_order
from ..tensor import Array, Tensor


def _fill(tensor: Tensor, array: Array | float) -> Tensor:
    tensor.numpy()[...] = array
    return tensor


def _stored(tensor: Tensor) -> Array:
    """The tensor's numbers as they lie in memory, so that they can be drawn in place."""
    return tensor.numpy().transpose(storage_order(tensor.ndim))


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Numbers spread evenly over [a, b).

    >>> import coolnn as cool
    >>> x = cool.nn.init.uniform_(cool.zeros(100), 2, 3)
    >>> float(x.min()) >= 2 and float(x.max()) <= 3
    True
    """
    if tensor.is_meta:
        return tensor
    numbers = _stored(tensor)
    generator().random(out=numbers, dtype=numbers.dtype.type)
    numbers *= numbers.dtype.type(b - a)
    numbers += numbers.dtype.type(a)
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Numbers of the normal distribution.

    >>> import coolnn as cool
    >>> abs(float(cool.nn.init.normal_(cool.zeros(10_000), mean=5).mean()) - 5) < 0.1
    True
    """
    if tensor.is_meta:
        return tensor
    numbers = _stored(tensor)
    generator().standard_normal(out=numbers, dtype=numbers.dtype.type)
    numbers *= numbers.dtype.type(std)
    if mean:
        numbers += numbers.dtype.type(mean)
    return tensor


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0) -> Tensor:
    """Numbers of the normal distribution that lie in [a, b]; those outside are drawn again.

    Raises ValueError where [a, b] has almost none of the distribution.

    >>> import coolnn as cool
    >>> float(cool.nn.init.trunc_normal_(cool.zeros(1000), std=0.02, a=-0.04, b=0.04).max()) <= 0.04
    True
    """
    inside = 0.5 * (math.erf((b - mean) / (std * math.sqrt(2))) - math.erf((a - mean) / (std * math.sqrt(2))))
    if inside < 1e-3:
        raise ValueError(f"[{a}, {b}] has only {inside:.2g} of the normal distribution with mean {mean}, std {std}")
    if tensor.is_meta:
        return tensor
    rng = generator()
    numbers = rng.normal(mean, std, tensor.size)
    outside = np.flatnonzero((numbers < a) | (numbers > b))
    while outside.size:
        numbers[outside] = rng.normal(mean, std, outside.size)
        outside = outside[(numbers[outside] < a) | (numbers[outside] > b)]
    return _fill(tensor, numbers.reshape(tensor.shape).clip(a, b))


def constant_(tensor: Tensor, value: float) -> Tensor:
    """The same number everywhere.

    >>> import coolnn as cool
    >>> cool.nn.init.constant_(cool.zeros(2), 3.0).tolist()
    [3.0, 3.0]
    """
    return tensor if tensor.is_meta else _fill(tensor, value)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros everywhere."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones everywhere."""
    return constant_(tensor, 1.0)


def fans(shape: Shape) -> tuple[int, int]:
    """How many numbers each output sums (fan in) and how many outputs each input reaches (fan out) for a weight.

    >>> import coolnn as cool
    >>> cool.nn.init.fans((64, 3, 7, 7))
    (147, 3136)
    """
    if len(shape) < 2:
        raise ValueError(f"fan in and fan out need a weight with at least 2 axes, not shape {shape}")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def gain(nonlinearity: str, a: float = 0.0) -> float:
    """The factor that keeps the size of activations through a nonlinearity (He et al. 2015, arXiv:1502.01852).

    `a` is the negative slope of "leaky_relu". Raises ValueError for names that it does not know.

    >>> import coolnn as cool
    >>> round(cool.nn.init.gain("relu"), 4)
    1.4142
    """
    known = {"linear": 1.0, "conv2d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + a * a))
    if nonlinearity not in known:
        raise ValueError(f"no gain for '{nonlinearity}'; known: leaky_relu, {', '.join(known)}")
    return known[nonlinearity]


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode is 'fan_in' or 'fan_out', not {mode!r}")
    fan = fans(tensor.shape)[mode == "fan_out"]
    return gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """Uniform numbers with the variance gain² / fan (He et al. 2015, arXiv:1502.01852).

    >>> import coolnn as cool
    >>> weight = cool.nn.init.kaiming_uniform_(cool.zeros(8, 3, 3, 3), nonlinearity="relu")
    >>> float(abs(weight).max()) <= (6 / 27) ** 0.5
    True
    """
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """Normal numbers with the variance gain² / fan (He et al. 2015, arXiv:1502.01852).

    >>> import coolnn as cool
    >>> cool.nn.init.kaiming_normal_(cool.zeros(8, 3, 3, 3), mode="fan_out").shape
    (8, 3, 3, 3)
    """
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Uniform numbers with the variance 2 gain² / (fan in + fan out) (Glorot & Bengio 2010).

    >>> import coolnn as cool
    >>> float(abs(cool.nn.init.xavier_uniform_(cool.zeros(3, 3))).max()) <= 1
    True
    """
    bound = gain * math.sqrt(6 / max(sum(fans(tensor.shape)), 1))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Normal numbers with the variance 2 gain² / (fan in + fan out) (Glorot & Bengio 2010).

    >>> import coolnn as cool
    >>> cool.nn.init.xavier_normal_(cool.zeros(3, 3)).shape
    (3, 3)
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2 / max(sum(fans(tensor.shape)), 1)))


def default_(weight: Tensor, bias: Tensor | None) -> None:
    """What PyTorch gives convolutions and linear layers: both uniform in ±1/√(fan in)."""
    bound = 1 / math.sqrt(max(fans(weight.shape)[0], 1))
    uniform_(weight, -bound, bound)
    if bias is not None:
        uniform_(bias, -bound, bound)
