"""The control of everything that is said of a trained network: the same network with random weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..autograd import no_grad
from ..nn import BatchNorm1d, BatchNorm2d, Module, evaluating
from ..nn.init import fans
from ..tensor import from_numpy

Array = NDArray[Any]


@contextlib.contextmanager
def random_weights(net: Module, x: Array, seed: int = 0) -> Iterator[None]:
    """Inside the `with` block a network has random weights, as at the start of a training; afterwards its own again.

    Weights of convolutions and linear layers are drawn as He et al. 2015 do, their biases are zero, batch norm has the
    statistics of `x`, pictures (N, C, H, W) as the network takes them. All other parameters stay.

    >>> import coolnn as cool, numpy as np
    >>> net = cool.models.create("lenet5")
    >>> before = net.conv1.weight.numpy().copy()
    >>> with cool.explain.random_weights(net, np.zeros((1, 1, 28, 28), np.float32)):
    ...     bool((net.conv1.weight.numpy() == before).any())
    False
    >>> bool((net.conv1.weight.numpy() == before).all())
    True
    """
    tensors = [*net.parameters(), *(buffer for _, buffer in net.named_buffers())]
    kept = [tensor.numpy().copy() for tensor in tensors]
    norms = [m for m in net.modules() if isinstance(m, BatchNorm1d | BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    rng = np.random.default_rng(seed)
    with evaluating(net):
        try:
            for module in net.modules():
                _draw(module, rng)
            for norm in norms:
                norm.momentum = 1.0
                norm.train()
            if norms:
                with no_grad():
                    net(from_numpy(x))
            net.eval()
            yield
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
            for tensor, array in zip(tensors, kept, strict=True):
                tensor.copy_(array)


def _draw(module: Module, rng: np.random.Generator) -> None:
    """New weights for the parameters that are the module's own."""
    own = dict(module.named_parameters(recurse=False))
    learns = [p for p in own.values() if p.ndim >= 2]
    for name, parameter in own.items():
        if parameter.ndim >= 2:
            deviation = np.sqrt(2 / max(fans(parameter.shape)[0], 1))
            parameter.copy_(rng.standard_normal(parameter.shape, np.float32) * np.float32(deviation))
        elif name == "bias" and (learns or isinstance(module, BatchNorm1d | BatchNorm2d)):
            parameter.copy_(np.zeros(parameter.shape, np.float32))
        elif name == "weight" and isinstance(module, BatchNorm1d | BatchNorm2d):
            parameter.copy_(np.ones(parameter.shape, np.float32))
