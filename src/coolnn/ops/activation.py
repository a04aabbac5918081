"""Activation functions."""

from __future__ import annotations

import numpy as np

from ..autograd import Call, apply
from ..spec import Spec
from ..tensor import Tensor
from .op import Array, Case, Op, S, define, function

__all__ = ["relu"]


class Relu(Op):
    """max(x, 0)."""

    name = "relu"
    onnx = "Relu"
    saves_inputs = ()
    saves_outputs = True

    def infer(self, x: Spec) -> Spec:
        return x

    def reference(self, x: Array) -> Array:
        return np.maximum(x, 0)

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor | None]:
        return (apply(RELU_GRAD, grad, call.outputs[0]),)


class ReluGrad(Op):
    """The upstream gradient where the output of ReLU is positive, else 0."""

    name = "relu_grad"
    saves_inputs = (1,)

    def infer(self, grad: Spec, y: Spec) -> Spec:
        return grad

    def reference(self, grad: Array, y: Array) -> Array:
        return np.where(y > 0, grad, 0)

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor | None, None]:
        return apply(RELU_GRAD, grad, call.inputs[1]), None


RELU = define(Relu)
RELU_GRAD = define(ReluGrad)


@function(Case(S(2, 3, 5, 7)), Case(S(1)), Case(S(0, 4)), torch="nn.functional.relu")
def relu(x: Tensor) -> Tensor:
    """Rectified linear unit, max(x, 0); its derivative at 0 is 0. Any shape in, the same shape out.

    >>> import coolnn as cool
    >>> cool.ops.relu(cool.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return apply(RELU, x)
