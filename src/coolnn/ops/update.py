"""Optimizers' updates of weights, one fused kernel each.

They work in place and outside the graph: the functions below overwrite the parameter and the optimizer's memory of it.
What changes from step to step comes as a float32 tensor `hyper`, so that the prepared kernel stays the same.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from ..autograd import Call, apply_into
from ..spec import Spec
from ..tensor import Tensor
from .linear import MATMUL
from .op import OPS, Array, Op, define
from .terms import Place, Terms, elementwise

__all__ = ["adam_step", "ema_step", "rmsprop_step", "sgd_step"]


class SgdStep(Op):
    """Gradient descent, with momentum (Sutskever et al., 2013) if there is a buffer."""

    name = "sgd_step"

    def infer(
        self, param: Spec, grad: Spec, buffer: Spec | None, hyper: Spec, **attributes: object
    ) -> tuple[Spec, ...]:
        return (param,) if buffer is None else (param, buffer)

    def reference(
        self,
        param: Array,
        grad: Array,
        buffer: Array | None,
        hyper: Array,
        momentum: float,
        dampening: float,
        weight_decay: float,
        nesterov: bool,
        first: bool,
    ) -> tuple[Array, ...]:
        rate, grad_scale = hyper
        grad = grad * grad_scale + weight_decay * param
        if buffer is None:
            return (param - rate * grad,)
        buffer = grad if first else momentum * buffer + (1 - dampening) * grad
        return param - rate * (grad + momentum * buffer if nesterov else buffer), buffer

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return elementwise(call, place, output, "Gradient descent", whole=(3,))


class AdamStep(Op):
    """Adam (Kingma and Ba, 2014), or AdamW if the weight decay is decoupled (Loshchilov and Hutter, 2017)."""

    name = "adam_step"

    def infer(self, param: Spec, grad: Spec, m: Spec, v: Spec, hyper: Spec, **attributes: object) -> tuple[Spec, ...]:
        return param, m, v

    def reference(
        self,
        param: Array,
        grad: Array,
        m: Array,
        v: Array,
        hyper: Array,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        decoupled: bool,
    ) -> tuple[Array, ...]:
        rate, grad_scale, correction1, correction2 = hyper
        grad = grad * grad_scale
        if decoupled:
            param = param * (1 - rate * weight_decay)
        else:
            grad = grad + weight_decay * param
        m = beta1 * m + (1 - beta1) * grad
        v = beta2 * v + (1 - beta2) * grad * grad
        return param - rate / correction1 * m / (np.sqrt(v / correction2) + eps), m, v

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return elementwise(call, place, output, "Adam", whole=(4,))


class RmspropStep(Op):
    """RMSprop (Tieleman and Hinton, 2012), with momentum if there is a buffer."""

    name = "rmsprop_step"

    def infer(
        self, param: Spec, grad: Spec, square: Spec, buffer: Spec | None, hyper: Spec, **attributes: object
    ) -> tuple[Spec, ...]:
        return (param, square) if buffer is None else (param, square, buffer)

    def reference(
        self,
        param: Array,
        grad: Array,
        square: Array,
        buffer: Array | None,
        hyper: Array,
        alpha: float,
        eps: float,
        weight_decay: float,
        momentum: float,
    ) -> tuple[Array, ...]:
        rate, grad_scale = hyper
        grad = grad * grad_scale + weight_decay * param
        square = alpha * square + (1 - alpha) * grad * grad
        step = grad / (np.sqrt(square) + eps)
        if buffer is None:
            return param - rate * step, square
        buffer = momentum * buffer + step
        return param - rate * buffer, square, buffer

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return elementwise(call, place, output, "RMSprop", whole=(4,))


class EmaStep(Op):
    """The exponential moving average of a parameter."""

    name = "ema_step"

    def infer(self, average: Spec, param: Spec, hyper: Spec) -> Spec:
        return average

    def reference(self, average: Array, param: Array, hyper: Array) -> Array:
        return np.asarray(hyper[0] * average + (1 - hyper[0]) * param)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        return elementwise(call, place, output, "The exponential moving average of a parameter", whole=(2,))


class MatmulUpdate(Op):
    """An optimizer's step with a matrix product as the gradient, which nobody else sees: made by a pass over a graph.

    Inputs: the product's two, then those of the step without the gradient. `update` names the step; the attributes are
    the product's and the step's.
    """

    name = "matmul_update"

    def infer(self, a: Spec, b: Spec, *others: Spec | None, update: str, **attributes: Any) -> tuple[Spec, ...]:
        product, step = _split(attributes)
        made = OPS[update].infer(others[0], MATMUL.infer(a, b, **product), *others[1:], **step)
        return cast("tuple[Spec, ...]", made)

    def reference(self, a: Array, b: Array, *others: Array | None, update: str, **attributes: Any) -> tuple[Array, ...]:
        product, step = _split(attributes)
        made = OPS[update].reference(others[0], MATMUL.reference(a, b, **product), *others[1:], **step)
        return cast("tuple[Array, ...]", made)

    def macs(self, inputs: tuple[Any, ...], outputs: tuple[Spec, ...], **attributes: Any) -> int:
        return MATMUL.macs(inputs, outputs, **_split(attributes)[0])


def _split(attributes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The product's attributes and the others."""
    own = ("transpose_a", "transpose_b")
    return {k: attributes[k] for k in own}, {k: v for k, v in attributes.items() if k not in own}


SGD_STEP = define(SgdStep)
ADAM_STEP = define(AdamStep)
RMSPROP_STEP = define(RmspropStep)
EMA_STEP = define(EmaStep)
MATMUL_UPDATE = define(MatmulUpdate)


def sgd_step(
    param: Tensor,
    grad: Tensor,
    buffer: Tensor | None,
    hyper: Tensor,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    first: bool = False,
) -> None:
    """One step of gradient descent in place; `hyper` is [learning rate, factor for the gradient].

    `buffer` collects the momentum, where there is any; on the `first` step it is filled.

    >>> import coolnn as cool
    >>> w = cool.tensor([1.0])
    >>> cool.ops.sgd_step(w, cool.tensor([2.0]), None, cool.tensor([0.25, 1.0]))
    >>> w.tolist()
    [0.5]
    """
    apply_into(
        SGD_STEP,
        (param, grad, buffer, hyper),
        (param,) if buffer is None else (param, buffer),
        momentum=momentum,
        dampening=dampening,
        weight_decay=weight_decay,
        nesterov=nesterov,
        first=first,
    )


def adam_step(
    param: Tensor,
    grad: Tensor,
    m: Tensor,
    v: Tensor,
    hyper: Tensor,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """One step of Adam in place; `hyper` is [learning rate, factor for the gradient, 1 - beta1^t, 1 - beta2^t].

    `m` and `v` are the averages of the gradient and of its square, zeros at first; t counts from 1; `decoupled` makes
    it AdamW.

    >>> import coolnn as cool
    >>> w, m, v = cool.tensor([1.0]), cool.zeros(1), cool.zeros(1)
    >>> cool.ops.adam_step(w, cool.tensor([2.0]), m, v, cool.tensor([0.5, 1.0, 0.1, 0.001]))
    >>> round(float(w), 4)
    0.5
    """
    apply_into(
        ADAM_STEP,
        (param, grad, m, v, hyper),
        (param, m, v),
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        weight_decay=weight_decay,
        decoupled=decoupled,
    )


def rmsprop_step(
    param: Tensor,
    grad: Tensor,
    square: Tensor,
    buffer: Tensor | None,
    hyper: Tensor,
    *,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
) -> None:
    """One step of RMSprop in place; `hyper` is [learning rate, factor for the gradient].

    `square` is the average of the gradient's square and `buffer`, if there is one, the momentum; zeros at first.

    >>> import coolnn as cool
    >>> w, square = cool.tensor([1.0]), cool.zeros(1)
    >>> cool.ops.rmsprop_step(w, cool.tensor([2.0]), square, None, cool.tensor([0.05, 1.0]))
    >>> round(float(w), 4)
    0.5
    """
    apply_into(
        RMSPROP_STEP,
        (param, grad, square, buffer, hyper),
        (param, square) if buffer is None else (param, square, buffer),
        alpha=alpha,
        eps=eps,
        weight_decay=weight_decay,
        momentum=momentum,
    )


def ema_step(average: Tensor, param: Tensor, hyper: Tensor) -> None:
    """Moves `average` toward `param` in place; `hyper` is [decay]: average = decay · average + (1 - decay) · param.

    >>> import coolnn as cool
    >>> average = cool.tensor([1.0])
    >>> cool.ops.ema_step(average, cool.tensor([3.0]), cool.tensor([0.75]))
    >>> average.tolist()
    [1.5]
    """
    apply_into(EMA_STEP, (average, param, hyper), (average,))
