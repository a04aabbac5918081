"""Pictures seen through an affine map: turned, scaled, shifted, with the gradient for the pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..autograd import Call, apply
from ..spec import Spec
from ..tensor import Tensor
from .op import Array, Case, Op, S, define, function
from .terms import Place, Products, Terms, constant, taken
from .window import Pair, need_one_type, need_pictures, pair

__all__ = ["affine_sample"]


def _neighbours(matrix: Array, size: Pair, source: Pair) -> tuple[Array, Array, Array]:
    """For each pixel of the result the rows and columns (4, h, w) of its four neighbours, and their weights.

    Neighbours outside have weight 0, and stand at place 0.
    """
    v, u = np.meshgrid(np.arange(size[0], dtype=np.float64), np.arange(size[1], dtype=np.float64), indexing="ij")
    m = matrix.astype(np.float64)
    at = [m[1, 0] * u + m[1, 1] * v + m[1, 2], m[0, 0] * u + m[0, 1] * v + m[0, 2]]
    # Far outside is as good as just outside, and NaN is outside too.
    at = [np.fmin(np.fmax(a, -2.0), n + 1.0) for a, n in zip(at, source, strict=True)]
    whole = [np.floor(a).astype(np.int64) for a in at]
    part = [a - w for a, w in zip(at, whole, strict=True)]
    rows, columns = (np.stack([w + d for d in steps]) for w, steps in zip(whole, _CORNERS, strict=True))
    weights = np.stack(
        [(part[0] if i else 1 - part[0]) * (part[1] if j else 1 - part[1]) for i, j in zip(*_CORNERS, strict=True)]
    )
    inside = (rows >= 0) & (rows < source[0]) & (columns >= 0) & (columns < source[1])
    return np.where(inside, rows, 0), np.where(inside, columns, 0), np.where(inside, weights, 0.0)


_CORNERS = ((0, 0, 1, 1), (0, 1, 0, 1))  # rows and columns that the neighbours are further on


class AffineSample(Op):
    """Bilinear samples at the places that a matrix a picture gives; 0 outside."""

    name = "affine_sample"
    saves_inputs = (1,)

    def infer(self, x: Spec, matrices: Spec, *, size: Pair) -> Spec:
        need_one_type("affine_sample", input=x, matrices=matrices)
        if matrices.shape != (x.shape[0], 2, 3):
            raise ValueError(
                f"affine_sample: {x.shape[0]} pictures need matrices of shape ({x.shape[0]}, 2, 3), "
                f"not {matrices.shape}"
            )
        return Spec((*x.shape[:2], *size), x.dtype)

    def reference(self, x: Array, matrices: Array, *, size: Pair) -> Array:
        out = np.zeros((*x.shape[:2], *size), x.dtype)
        if x.size:
            for i, matrix in enumerate(matrices):
                rows, columns, weights = _neighbours(matrix, size, x.shape[2:])
                out[i] = (x[i][:, rows, columns] * weights).sum(1)
        return out

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        n, c, v, u = place
        x = call.inputs[0]
        rows, columns, weights = _neighbours(call.inputs[1].numpy()[n], call.attributes["size"], x.shape[2:])
        places = [(n, c, int(rows[k, v, u]), int(columns[k, v, u])) for k in range(4)]
        factors = (taken(call, "x", 0, places), constant("weight", weights[:, v, u]))
        return Terms("sum", "Σ weight · x", (Products("neighbours", factors),))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor, None]:
        x, matrices = call.inputs
        return apply(AFFINE_SAMPLE_GRAD, grad, matrices, input_size=x.shape[2:]), None


class AffineSampleGrad(Op):
    """Each upstream gradient sent back to the pixels that its own was made of: the transpose of affine_sample."""

    name = "affine_sample_grad"
    saves_inputs = (1,)

    def infer(self, grad: Spec, matrices: Spec, *, input_size: Pair) -> Spec:
        return Spec((*grad.shape[:2], *input_size), grad.dtype)

    def reference(self, grad: Array, matrices: Array, *, input_size: Pair) -> Array:
        out = np.zeros((*grad.shape[:2], *input_size), grad.dtype)
        if out.size:
            for i, matrix in enumerate(matrices):
                rows, columns, weights = _neighbours(matrix, grad.shape[2:], input_size)
                for c in range(grad.shape[1]):
                    np.add.at(out[i, c], (rows, columns), (grad[i, c] * weights).astype(grad.dtype))
        return out

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        n, c, row, column = place
        grad = call.inputs[0]
        rows, columns, weights = _neighbours(call.inputs[1].numpy()[n], grad.shape[2:], call.attributes["input_size"])
        k, v, u = np.nonzero((rows == row) & (columns == column) & (weights != 0))
        places = [(n, c, int(a), int(b)) for a, b in zip(v, u, strict=True)]
        factors = (taken(call, "grad", 0, np.array(places).reshape(-1, 4)), constant("share", weights[k, v, u]))
        return Terms("sum", "Σ share · upstream gradient", (Products("pixels", factors),))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor, None]:
        return apply(AFFINE_SAMPLE, grad, call.inputs[1], size=call.inputs[0].shape[2:]), None


AFFINE_SAMPLE = define(AffineSample)
AFFINE_SAMPLE_GRAD = define(AffineSampleGrad)

# Exact in float32, so that both precisions look at the same places.
_TURNED = np.array([[[0.875, -0.25, 1.25], [0.25, 1.125, -1.375]], [[1.25, 0.125, -2.75], [-0.1875, 0.625, 1.875]]])


@function(
    Case(S(2, 3, 6, 7), _TURNED),
    Case(S(2, 1, 6, 7), _TURNED, (5, 9)),
    Case(S(2, 17, 4, 5), _TURNED, 8),
    Case(S(2, 3, 40, 33), _TURNED, (37, 50)),
    Case(S(1, 2, 3, 3), np.array([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])),
    Case(S(1, 2, 3, 3), np.array([[[1.0, 0.0, 1e9], [0.0, float("nan"), 0.0]]])),
    Case(S(0, 2, 3, 3), np.zeros((0, 2, 3))),
    rtol=1e-6,
)
def affine_sample(x: Tensor, matrices: Tensor | Array, size: int | Sequence[int] | None = None) -> Tensor:
    """Pictures through an affine map each, bilinearly: pixel (column, row) is x at matrix · (column, row, 1).

    x (N, C, H, W), matrices (N, 2, 3) -> (N, C, *size), by default of the size of x. Columns and rows count from the
    middle of the first pixel; outside of the picture there is 0. The matrices are not differentiated: they say what is
    looked at. Raises ValueError where there are not as many matrices as pictures.

    >>> import coolnn as cool
    >>> x = cool.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> cool.ops.affine_sample(x, [[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]]).tolist()
    [[[[1.5, 2.5, 1.5]]]]
    """
    need_pictures("affine_sample", input=x.spec)
    if not isinstance(matrices, Tensor):
        matrices = Tensor.from_array(np.array(matrices, x.dtype))
    return apply(AFFINE_SAMPLE, x, matrices, size=x.shape[2:] if size is None else pair(size, "size"))
