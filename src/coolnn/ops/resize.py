"""Nearest and bilinear resizing."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from ..autograd import Call, apply
from ..spec import Spec, float32
from ..tensor import Tensor
from .op import Array, Case, Op, S, define, function
from .terms import Place, Terms, separable
from .window import Pair, need_pictures, pair

__all__ = ["interpolate"]

_MODES = ("nearest", "bilinear")


@functools.lru_cache(maxsize=256)
def _samples(length: int, count: int, mode: str, align_corners: bool, scale: float) -> Array:
    """(count, length) matrix that makes `count` pixels of an axis of `length`."""
    matrix = np.zeros((count, length))
    for i in range(count):
        if mode == "nearest":
            # In float32 as everywhere else, or a position that rounds to a whole number would be another pixel here.
            matrix[i, min(int(np.floor(float32.type(i) * float32.type(scale))), length - 1)] = 1
            continue
        position = i * scale if align_corners else max((i + 0.5) * scale - 0.5, 0.0)
        left = min(int(position), length - 1)
        right = min(left + 1, length - 1)
        matrix[i, left] += 1 - (position - left)
        matrix[i, right] += position - left
    return matrix


class Resize2d(Op):
    """Another size: a matrix for the rows and one for the columns; `scale` is input pixels per output pixel."""

    name = "resize2d"
    onnx = "Resize"
    saves_inputs = ()

    def infer(self, x: Spec, *, size: Pair, mode: str, align_corners: bool, scale: tuple[float, float]) -> Spec:
        return Spec((*x.shape[:2], *size), x.dtype)

    def reference(self, x: Array, *, size: Pair, mode: str, align_corners: bool, scale: tuple[float, float]) -> Array:
        rows, columns = self.matrices(x.shape[2:], size, mode, align_corners, scale)
        return np.asarray(rows.astype(x.dtype) @ x @ columns.T.astype(x.dtype))

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        rows, columns = self.matrices(call.inputs[0].shape[2:], **call.attributes)
        return separable(call, place, rows, columns)

    @staticmethod
    def matrices(
        input_size: Sequence[int], size: Sequence[int], mode: str, align_corners: bool, scale: tuple[float, float]
    ) -> list[Array]:
        """The matrices (oh, h) and (ow, w) with output = rows · input · columnsᵀ."""
        return [_samples(input_size[i], size[i], mode, align_corners, scale[i]) for i in (0, 1)]

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        rest = {key: value for key, value in call.attributes.items() if key != "size"}
        return (apply(RESIZE2D_GRAD, grad, input_size=call.inputs[0].shape[2:], **rest),)


class Resize2dGrad(Op):
    """Each upstream gradient sent back to the pixels that its own was made of: the transpose of resize2d."""

    name = "resize2d_grad"
    saves_inputs = ()

    def infer(
        self, grad: Spec, *, input_size: Pair, mode: str, align_corners: bool, scale: tuple[float, float]
    ) -> Spec:
        return Spec((*grad.shape[:2], *input_size), grad.dtype)

    def reference(
        self, grad: Array, *, input_size: Pair, mode: str, align_corners: bool, scale: tuple[float, float]
    ) -> Array:
        rows, columns = Resize2d.matrices(input_size, grad.shape[2:], mode, align_corners, scale)
        return np.asarray(rows.T.astype(grad.dtype) @ grad @ columns.astype(grad.dtype))

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        rows, columns = Resize2d.matrices(size=call.inputs[0].shape[2:], **call.attributes)
        return separable(call, place, rows.T, columns.T, "share")

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor]:
        rest = {key: value for key, value in call.attributes.items() if key != "input_size"}
        return (apply(RESIZE2D, grad, size=call.inputs[0].shape[2:], **rest),)


RESIZE2D = define(Resize2d)
RESIZE2D_GRAD = define(Resize2dGrad)


def _output_and_scale(
    x: Tensor, size: int | Sequence[int] | None, factor: float | Sequence[float] | None, align_corners: bool
) -> tuple[Pair, tuple[float, float]]:
    """The output's size, and input pixels per output pixel along each axis."""
    lengths = x.shape[2:]
    if (size is None) == (factor is None):
        raise ValueError(f"interpolate needs either size or scale_factor, not size={size}, scale_factor={factor}")
    if size is not None:
        out = pair(size, "size")
        scales = [length / n for length, n in zip(lengths, out, strict=True)]
    else:
        factors = [factor, factor] if isinstance(factor, int | float) else list(factor or ())
        if len(factors) != 2 or min(factors) <= 0:
            raise ValueError(f"scale_factor must be one number or two (height, width), above 0, not {factor}")
        out = (math.floor(lengths[0] * factors[0]), math.floor(lengths[1] * factors[1]))
        if min(out) < 1:
            raise ValueError(f"scale_factor={factor} leaves no pixel of a picture of {lengths[0]}×{lengths[1]}")
        scales = [1 / f for f in factors]
    if align_corners:
        scales = [(length - 1) / (n - 1) if n > 1 else 0.0 for length, n in zip(lengths, out, strict=True)]
    return out, (float(scales[0]), float(scales[1]))


# Positions are float32 numbers: their rounding, about 1e-7 of an axis' length, is the weights' error.
@function(
    Case(S(2, 3, 4, 5), (8, 10)),
    Case(S(1, 17, 5, 7), scale_factor=2),
    Case(S(1, 2, 5, 7), scale_factor=2.6),
    Case(S(1, 2, 7, 9), (3, 20), mode="nearest"),
    Case(S(1, 3, 4, 5), (8, 10), mode="bilinear"),
    Case(S(1, 16, 9, 7), (4, 13), mode="bilinear"),
    Case(S(1, 5, 6, 6), scale_factor=0.5, mode="bilinear"),
    Case(S(1, 5, 6, 5), scale_factor=(1.3, 2), mode="bilinear"),
    Case(S(1, 3, 4, 5), 9, mode="bilinear", align_corners=True),
    Case(S(1, 3, 4, 5), (1, 7), mode="bilinear", align_corners=True),
    Case(S(1, 1, 1, 1), (3, 2), mode="bilinear"),
    Case(S(0, 2, 3, 3), 6),
    torch="nn.functional.interpolate",
    rtol=1e-5,
)
def interpolate(
    x: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Pictures in another size, given as `size` or as a factor. x (N, C, H, W) -> (N, C, H', W').

    `mode` is "nearest" or "bilinear"; with `align_corners` (bilinear only) the centres of the corner pixels stay in
    place, else the corners of the picture. Raises ValueError unless one of `size` and `scale_factor` is given.

    >>> import coolnn as cool
    >>> cool.ops.interpolate(cool.tensor([[[[1.0, 2.0]]]]), size=(1, 4)).tolist()
    [[[[1.0, 1.0, 2.0, 2.0]]]]
    """
    need_pictures("interpolate", input=x.spec)
    if mode not in _MODES:
        raise ValueError(f'interpolate: mode must be "nearest" or "bilinear", not "{mode}"')
    if align_corners and mode == "nearest":
        raise ValueError('interpolate: align_corners has no meaning with mode="nearest"; use mode="bilinear"')
    if min(x.shape[2:]) < 1:
        raise ValueError(f"interpolate: input of shape {x.shape} has no pixels")
    out, scale = _output_and_scale(x, size, scale_factor, bool(align_corners))
    return apply(RESIZE2D, x, size=out, mode=mode, align_corners=bool(align_corners), scale=scale)
