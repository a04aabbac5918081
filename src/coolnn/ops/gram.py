"""Which channels of a picture go together: the Gram matrix, in which a painting's style shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Call, apply
from ..spec import Spec
from ..tensor import Tensor
from .arithmetic import add
from .linear import matmul
from .op import Array, Case, Op, S, define, function
from .shape import PIXELS_TO_ROWS, ROWS_TO_PIXELS, reshape, transpose
from .terms import Place, Products, Terms, grid, taken
from .window import need_pictures

__all__ = ["gram_matrix"]


class GramMatrix(Op):
    """g[n, a, b] = sum over pixels of x[n, a, h, w] · x[n, b, h, w]. One product fewer than its parts have backward."""

    name = "gram_matrix"
    saves_inputs = (0,)

    def infer(self, x: Spec) -> Spec:
        need_pictures("gram_matrix", input=x)
        return Spec((x.shape[0], x.shape[1], x.shape[1]), x.dtype)

    def reference(self, x: Array) -> Array:
        channels = x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])
        return np.asarray(channels @ channels.swapaxes(1, 2))

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        (n, a, b), size = place, call.inputs[0].shape[2:]
        factors = tuple(taken(call, "x", 0, grid(n, channel, *map(range, size))) for channel in (a, b))
        return Terms("sum", "Σ x · x of two channels", (Products("pixels", factors),))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        (x,) = call.inputs
        n, c, h, w = x.shape
        rows = reshape(apply(PIXELS_TO_ROWS, x), (n, h * w, c))
        # The matrix is symmetric in x, so both sides' gradients are one product with the gradient made symmetric.
        dx = matmul(rows, add(grad, transpose(grad, 1, 2)))
        return (apply(ROWS_TO_PIXELS, reshape(dx, (n * h * w, c)), shape=x.shape),)

    def macs(self, inputs: tuple[Any, ...], outputs: tuple[Spec, ...], **attributes: Any) -> int:
        return int(inputs[0].size) * int(inputs[0].shape[1])


GRAM_MATRIX = define(GramMatrix)


# Sums of up to some hundred products: rounding grows with the square root of their number.
@function(
    Case(S(1, 3, 4, 5)),
    Case(S(2, 17, 3, 4)),
    Case(S(1, 1, 1, 1)),
    Case(S(3, 33, 5, 2)),
    Case(S(0, 3, 2, 2)),
    rtol=5e-6,
)
def gram_matrix(x: Tensor) -> Tensor:
    """How much every two channels go together, wherever in the picture they do. x (N, C, H, W) -> (N, C, C).

    A sum over all pixels, not divided by anything. Raises ValueError for anything but pictures. Gatys, Ecker and Bethge
    2016, Image Style Transfer Using Convolutional Neural Networks.

    >>> import coolnn as cool
    >>> cool.ops.gram_matrix(cool.tensor([[[[1.0, 2.0]], [[0.0, 3.0]]]])).tolist()
    [[[5.0, 6.0], [6.0, 9.0]]]
    """
    return apply(GRAM_MATRIX, x)
