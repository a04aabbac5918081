"""Dropout."""

from __future__ import annotations

import numpy as np

from .. import random
from ..autograd import Call, apply
from ..spec import Spec, boolean, int64, logical_order, storage_order
from ..tensor import Operand, Tensor
from .op import Array, Case, Op, S, define, function
from .operands import cast, real
from .terms import Place, Products, Terms, constant, taken

__all__ = ["dropout"]


def _scale(p: float) -> float:
    """What the kept numbers are multiplied by, so that the expected value stays."""
    return 1 / (1 - p) if p < 1 else 0.0


def _typed(call: Call, scale: float) -> float:
    """The scale in the type of the numbers, as it multiplies them."""
    return float(call.inputs[0].dtype.type(scale))


class Dropout(Op):
    """Numbers set to 0 with probability p, the others divided by 1 - p; also the mask, true where a number was kept.

    Which are kept depends on the state (seed, offset) and the place in memory alone.
    """

    name = "dropout"
    onnx = "Dropout"
    saves_inputs = ()
    saves_outputs = (1,)

    def infer(self, x: Spec, state: Spec, p: float) -> tuple[Spec, Spec]:
        return x, Spec(x.shape, boolean)

    def reference(self, x: Array, state: Array, p: float) -> tuple[Array, Array]:
        seed, offset = (int(part) for part in state.view(np.uint64))
        order = storage_order(x.ndim)
        kept = random.philox(seed, offset, x.size) >= np.uint64(int(p * 2**32))
        mask = kept.reshape([x.shape[i] for i in order]).transpose(logical_order(x.ndim))
        return np.where(mask, x * x.dtype.type(_scale(p)), 0), mask

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        kept = bool(call.outputs[1].numpy()[place])
        scale = _scale(call.attributes["p"]) if kept else 0.0
        if output == 1:
            return Terms("function", "kept or not: drawn by chance", value=float(kept))
        x = taken(call, "x", 0, [place])
        factors = (x, constant("kept" if kept else "dropped", _typed(call, scale), 1))
        return Terms("sum", "x · 1 / (1 - p)" if kept else "x · 0", (Products("x", factors),))

    def vjp(self, call: Call, grad: Tensor, mask_grad: None) -> tuple[Tensor, None]:
        return apply(DROPOUT_GRAD, grad, call.outputs[1], **call.attributes), None


class DropoutGrad(Op):
    """The upstream gradient where the number was kept, divided by 1 - p."""

    name = "dropout_grad"
    saves_inputs = (1,)

    def infer(self, grad: Spec, mask: Spec, p: float) -> Spec:
        return grad

    def reference(self, grad: Array, mask: Array, p: float) -> Array:
        return np.where(mask, grad * grad.dtype.type(_scale(p)), 0)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        kept = bool(call.inputs[1].numpy()[place])
        scale = _typed(call, _scale(call.attributes["p"]) if kept else 0.0)
        factors = (taken(call, "grad", 0, [place]), constant("kept" if kept else "dropped", scale, 1))
        return Terms("sum", "grad · 1 / (1 - p)" if kept else "grad · 0", (Products("grad", factors),))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor, None]:
        return apply(DROPOUT_GRAD, grad, call.inputs[1], **call.attributes), None


DROPOUT = define(Dropout)
DROPOUT_GRAD = define(DropoutGrad)


_STATE = np.array([1, 2])


@function(
    Case(S(2, 3, 4, 5), 0.5, True, _STATE),
    Case(S(33), 0.1, True, _STATE),
    Case(S(6, 5), 1.0, True, _STATE),
    Case(S(0, 4), 0.5, True, _STATE),
    Case(S(6, 5), 0.5, False),
)
def dropout(x: Operand, p: float = 0.5, training: bool = True, state: Operand | None = None) -> Tensor:
    """Sets each number to 0 with probability p and divides the others by 1 - p; without `training` it does nothing.

    (Srivastava et al., 2014.) Any shape in, the same shape out. The draw is the next one of `coolnn.random`, or the one
    of `state`, two whole numbers (seed, offset), to repeat it. Raises ValueError for a p outside 0 to 1.

    >>> import coolnn as cool
    >>> cool.manual_seed(0)
    >>> y = cool.ops.dropout(cool.ones(1000), 0.25)
    >>> kept = y.numpy() > 0
    >>> 700 < int(kept.sum()) < 800, f"{float(y.numpy().max()):.4f}"
    (True, '1.3333')
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout needs a probability p from 0 to 1, not {p}")
    x = real(x)
    if not training or p == 0:
        return x
    draw = random.next_state() if state is None else cast(state, int64)
    if draw.shape != (2,):
        raise ValueError(f"the state of a draw is two whole numbers, seed and offset, not shape {draw.shape}")
    return apply(DROPOUT, x, draw, p=float(p))
