"""Losses as modules."""

from __future__ import annotations

from .. import ops
from ..tensor import Tensor
from .module import Module
from .parameter import Buffer


class CrossEntropyLoss(Module):
    """Mean of -log(probability of the right class), from scores before softmax.

    Input shape: scores (N, C) or (N, C, H, W); targets (N,) or (N, H, W), int64 class numbers. Output shape: (), or the
    targets' with reduction="none". `weight` (C,): weight of each class; targets equal to `ignore_index` do not count.

    >>> import coolnn as cool
    >>> loss = cool.nn.CrossEntropyLoss()(cool.zeros(2, 10), cool.tensor([3, 7]))
    >>> round(float(loss), 4)
    2.3026
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        self.weight = None if weight is None else Buffer(weight)
        self.ignore_index, self.reduction, self.label_smoothing = ignore_index, reduction, label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return ops.cross_entropy(
            logits,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class BCEWithLogitsLoss(Module):
    """Cross-entropy of independent yes/no targets, from scores before the sigmoid.

    Input shape: scores and targets (numbers from 0 to 1) of one shape. Output shape: (), or that shape with
    reduction="none". `weight` scales each term, `pos_weight` the terms of "yes" (both broadcast).

    >>> import coolnn as cool
    >>> round(float(cool.nn.BCEWithLogitsLoss()(cool.zeros(3), cool.ones(3))), 4)
    0.6931
    """

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean", pos_weight: Tensor | None = None) -> None:
        self.weight = None if weight is None else Buffer(weight)
        self.pos_weight = None if pos_weight is None else Buffer(pos_weight)
        self.reduction = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return ops.binary_cross_entropy_with_logits(
            logits, target, weight=self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class _Loss(Module):
    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction


class MSELoss(_Loss):
    """Mean of the squared differences.

    Input shape: predictions and targets of one shape. Output shape: (), or that shape with reduction="none".

    >>> import coolnn as cool
    >>> float(cool.nn.MSELoss()(cool.tensor([1.0, 3.0]), cool.tensor([0.0, 0.0])))
    5.0
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ops.mse_loss(prediction, target, reduction=self.reduction)


class L1Loss(_Loss):
    """Mean of the absolute differences.

    Input shape: predictions and targets of one shape. Output shape: (), or that shape with reduction="none".

    >>> import coolnn as cool
    >>> float(cool.nn.L1Loss()(cool.tensor([1.0, -3.0]), cool.tensor([0.0, 0.0])))
    2.0
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ops.l1_loss(prediction, target, reduction=self.reduction)


class HuberLoss(_Loss):
    """Half the squared difference up to `delta`, a straight line beyond it (Huber 1964).

    Input shape: predictions and targets of one shape. Output shape: (), or that shape with reduction="none".

    >>> import coolnn as cool
    >>> float(cool.nn.HuberLoss()(cool.tensor([3.0]), cool.tensor([0.0])))
    2.5
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = float(delta)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ops.huber_loss(prediction, target, reduction=self.reduction, delta=self.delta)
