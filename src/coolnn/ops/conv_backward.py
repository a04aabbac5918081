"""The backward pass of a convolution as one operation, for compiled training steps.

Chain rules are made of single gradients, so that they can be differentiated again; a pass over the graph
(`coolnn.graph.passes`) joins those of one convolution to this operation, whose kernels read the upstream gradient once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..spec import Shape, Spec
from .activation import RELU
from .conv import CONV2D_INPUT_GRAD, CONV2D_WEIGHT_GRAD
from .op import OPS, Array, Op, define
from .pool import MAX_POOL2D_GRAD
from .reduce import SUM
from .window import Pair

RELU_GRAD = OPS[f"{RELU.name}_grad"]


class Conv2dBackward(Op):
    """The gradients of conv2d, or of conv2d, then relu, then max-pooling, for its input, filters and bias.

    Inputs: the gradient of the last of these operations; y, what the last of them gave, or None if there was no relu;
    the places of max-pooling, or None if there was none; the convolution's x (None if the filters' gradient is not
    wanted) and weight (None if the input's is not). `wants` says (0 or 1) which of the gradients of x, weight and bias
    are wanted: they are the outputs. `pool` holds the pooling's attributes: kernel (2), stride (2), padding (4) and
    dilation (2), one after the other. `geometry` is conv2d's: stride, padding, dilation and groups.
    """

    name = "conv2d_backward"

    def infer(
        self,
        grad: Spec,
        y: Spec | None,
        indices: Spec | None,
        x: Spec | None,
        weight: Spec | None,
        *,
        wants: tuple[int, int, int],
        input_size: Pair,
        kernel_size: Pair,
        output_size: Pair,
        pool: Shape,
        **geometry: Any,
    ) -> tuple[Spec, ...]:
        sent = Spec((*grad.shape[:2], *output_size), grad.dtype)
        found: list[Spec] = []
        if wants[0]:
            assert weight is not None
            found.append(CONV2D_INPUT_GRAD.infer(sent, weight, input_size=input_size, **geometry))
        if wants[1]:
            assert x is not None
            found.append(CONV2D_WEIGHT_GRAD.infer(x, sent, kernel_size=kernel_size, **geometry))
        if wants[2]:
            found.append(Spec(grad.shape[1:2], grad.dtype))
        return tuple(found)

    def reference(
        self,
        grad: Array,
        y: Array | None,
        indices: Array | None,
        x: Array | None,
        weight: Array | None,
        *,
        wants: tuple[int, int, int],
        input_size: Pair,
        kernel_size: Pair,
        output_size: Pair,
        pool: Shape,
        **geometry: Any,
    ) -> tuple[Array, ...]:
        if y is not None:
            grad = np.asarray(RELU_GRAD.reference(grad, y))
        if indices is not None:
            grad = MAX_POOL2D_GRAD.reference(grad, indices, input_size=output_size)
        found: list[Array] = []
        if wants[0]:
            assert weight is not None
            found.append(CONV2D_INPUT_GRAD.reference(grad, weight, input_size=input_size, **geometry))
        if wants[1]:
            assert x is not None
            found.append(CONV2D_WEIGHT_GRAD.reference(x, grad, kernel_size=kernel_size, **geometry))
        if wants[2]:
            found.append(np.asarray(SUM.reference(grad, (0, 2, 3), False)))
        return tuple(found)

    def macs(self, inputs: tuple[Any, ...], outputs: tuple[Spec, ...], **attributes: Any) -> int:
        grad, x, weight = inputs[0], inputs[3], inputs[4]
        filters = (
            weight.shape[1:] if weight is not None else (x.shape[1] // attributes["groups"], *attributes["kernel_size"])
        )
        pixels = int(np.prod((*grad.shape[:2], *attributes["output_size"])))
        return int(sum(attributes["wants"][:2]) * pixels * int(np.prod(filters)))


CONV2D_BACKWARD = define(Conv2dBackward)
