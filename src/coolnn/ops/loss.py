"""Losses."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..autograd import Call, apply, is_grad_enabled
from ..spec import Shape, Spec, int64
from ..tensor import Operand, Tensor, from_numpy
from .activation import softplus
from .arithmetic import add, eq, mul, ne, sub, where
from .elementwise import abs, clip, neg, square
from .index import GATHER, TAKE
from .op import Array, Case, Op, S, define, function
from .operands import as_tensor, cast, real
from .reduce import mean
from .reduce import sum as sum_over
from .shape import PIXELS_TO_ROWS, permute, reshape
from .softmax import log_softmax, log_softmax_array, softmax
from .terms import Place, Products, Terms, constant, grid, taken

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]

_REDUCTIONS = ("mean", "sum", "none")

#: The label that counts nothing, unless another one is named; PyTorch's.
IGNORED = -100


def _check_reduction(name: str, reduction: str) -> None:
    if reduction not in _REDUCTIONS:
        raise ValueError(f'{name}: reduction must be "mean", "sum" or "none", not "{reduction}"')


def _rows(x: Tensor) -> Tensor:
    """Scores (C), (N, C) or (N, C, ...) as (rows, C)."""
    if x.ndim == 2:
        return x
    if x.ndim == 4:
        return apply(PIXELS_TO_ROWS, x)
    if x.ndim == 1:
        return reshape(x, (1, x.shape[0]))
    classes = x.shape[1]
    last = permute(x, (0, *range(2, x.ndim), 1))
    return reshape(last, (math.prod(last.shape[:-1]), classes))


# --- labels ----------------------------------------------------------------------------------------------------------


def _labels(name: str, scores: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """The labels as one int64 axis, after checks of their shape and values; also checks the classes' weights."""
    if not scores.ndim:
        raise ValueError(f"{name}: scores must be (C), (N, C) or (N, C, ...), not a single number")
    classes = scores.shape[0 if scores.ndim == 1 else 1]
    if classes == 0:
        raise ValueError(f"{name}: scores of shape {scores.shape} have no classes; one at least is needed")
    wanted = () if scores.ndim == 1 else (scores.shape[0], *scores.shape[2:])
    if target.shape != wanted:
        raise ValueError(
            f"{name}: scores of shape {scores.shape}, for {classes} classes, want labels of shape {wanted}, "
            f"not {target.shape}"
        )
    if target.dtype.kind not in "iu":
        raise TypeError(f"{name}: labels must be whole numbers, not {target.dtype.name}; convert them with .long()")
    if weight is not None:
        if weight.shape != (classes,) or weight.dtype != scores.dtype:
            wanted_weight = Spec((classes,), scores.dtype)
            raise ValueError(f"{name}: weight must be one number for each class, {wanted_weight}, not {weight.spec}")
        if weight.requires_grad:
            raise RuntimeError(f"{name} has no gradient for the classes' weights; pass weight.detach()")
    labels = cast(target, int64)
    if labels.ndim != 1:
        labels = reshape(labels, (labels.size,))
    if not labels.is_meta:
        check_labels(name, labels.numpy(), target.shape, classes, ignore_index)
    return labels


def check_labels(name: str, labels: Array, shape: Shape, classes: int, ignore_index: int) -> None:
    """Raises ValueError that names the first label, and its place in `shape`, that is no class."""
    if labels.view(np.uint64).max(initial=0) < classes or not labels.size:  # as unsigned, negative numbers are huge
        return
    bad = ((labels < 0) | (labels >= classes)) & (labels != ignore_index)
    if bad.any():
        first = int(bad.argmax())
        place = [int(i) for i in np.unravel_index(first, shape)]
        raise ValueError(
            f"{name}: label {labels[first]} at {place} is no class: the scores have {classes} classes, 0 to "
            f"{classes - 1} (ignore_index is {ignore_index})"
        )


@functools.lru_cache(maxsize=64)
def _class_numbers(classes: int) -> Tensor:
    return from_numpy(np.arange(classes, dtype=int64))


# --- cross-entropy ---------------------------------------------------------------------------------------------------


def _goal_arrays(
    target: Array, weight: Array | None, classes: int, dtype: Any, label_smoothing: float, ignore_index: int
) -> tuple[Array, Array]:
    """For each row the weighted probabilities that the label asks for (N, C), and the label's weight (N)."""
    kept = (target != ignore_index).astype(dtype)
    weights = np.ones(classes, dtype) if weight is None else weight
    hot = (target[:, None] == np.arange(classes)) * kept[:, None] * weights
    goal = (1 - label_smoothing) * hot + label_smoothing / classes * kept[:, None] * weights
    return goal, hot.sum(axis=1)


def _goal_of(call: Call, first: int = 0) -> tuple[Array, Array]:
    """`_goal_arrays` of a call, whose inputs from `first` on are logits, target and weight."""
    logits, target, weight = call.inputs[first : first + 3]
    smoothing, ignored = call.attributes["label_smoothing"], call.attributes["ignore_index"]
    weights = None if weight is None else weight.numpy().astype(np.float64)
    return _goal_arrays(target.numpy(), weights, logits.shape[1], np.float64, smoothing, ignored)


class CrossEntropy(Op):
    """-sum over classes of goal · log_softmax(logits); the goal is 1 for the label, smoothed and weighted as asked."""

    name = "cross_entropy"
    onnx = "SoftmaxCrossEntropyLoss"

    def infer(
        self,
        logits: Spec,
        target: Spec,
        weight: Spec | None,
        *,
        label_smoothing: float,
        ignore_index: int,
        reduction: str,
    ) -> Spec:
        return Spec(target.shape if reduction == "none" else (), logits.dtype)

    def reference(
        self,
        logits: Array,
        target: Array,
        weight: Array | None,
        *,
        label_smoothing: float,
        ignore_index: int,
        reduction: str,
    ) -> Array:
        goal, weights = _goal_arrays(target, weight, logits.shape[1], logits.dtype, label_smoothing, ignore_index)
        losses = -np.where(goal != 0, goal * log_softmax_array(logits, 1), 0).sum(axis=1)
        if reduction == "none":
            return np.asarray(losses)
        return np.asarray(losses.sum() / weights.sum() if reduction == "mean" else losses.sum())

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        goal, weights = _goal_of(call)
        if call.attributes["reduction"] == "none":
            goal = np.where(np.arange(len(goal))[:, None] == place[0], goal, 0)
        elif call.attributes["reduction"] == "mean":
            with np.errstate(all="ignore"):
                goal = goal / weights.sum()  # 0 / 0 is nan, as the mean over no labels is
        rows = np.flatnonzero((goal != 0).any(axis=1))
        x = call.inputs[0].numpy().astype(np.float64)[rows]
        log_sums = x.max(axis=1, initial=-np.inf) + np.log(np.exp(x - x.max(axis=1, keepdims=True)).sum(axis=1))
        where = np.argwhere(goal != 0)
        wanted = (taken(call, "logits", 0, where), constant("-goal", -goal[goal != 0]))
        normalizers = (constant("log Σ exp(logits)", log_sums), constant("goal of the row", goal[rows].sum(axis=1)))
        also = taken(call, "logits", 0, grid(rows.tolist(), range(goal.shape[1])))
        groups = (Products("labels", wanted), Products("rows", normalizers))
        return Terms("sum", "Σ goal · (log Σ exp(logits) - logit)", groups, also=(also,))

    def vjp(self, call: Call, grad: Tensor) -> tuple[Tensor, None, None]:
        logits, target, weight = call.inputs
        if not is_grad_enabled():
            return apply(CROSS_ENTROPY_GRAD, grad, logits, target, weight, **call.attributes), None, None
        # The gradient is itself to be differentiated: the same in steps that have chain rules of their own.
        smoothing, reduction = call.attributes["label_smoothing"], call.attributes["reduction"]
        kept = reshape(cast(ne(target, call.attributes["ignore_index"]), logits.dtype), (-1, 1))
        kept = kept if weight is None else mul(kept, weight)
        labels = eq(reshape(target, (-1, 1)), _class_numbers(logits.shape[1]))
        hot = mul(cast(labels, logits.dtype), kept)
        goal = add(mul(hot, 1 - smoothing), mul(kept, smoothing / max(logits.shape[1], 1)))
        slope = sub(mul(softmax(logits, 1), sum_over(goal, 1, keepdim=True)), goal)
        if reduction == "mean":
            grad = grad / sum_over(hot)
        return mul(slope, reshape(grad, (-1, 1)) if reduction == "none" else grad), None, None


class CrossEntropyGrad(Op):
    """The gradient of cross_entropy for the logits: softmax minus goal, for each row."""

    name = "cross_entropy_grad"

    def infer(self, grad: Spec, logits: Spec, target: Spec, weight: Spec | None, **attributes: Any) -> Spec:
        return logits

    def reference(
        self,
        grad: Array,
        logits: Array,
        target: Array,
        weight: Array | None,
        *,
        label_smoothing: float,
        ignore_index: int,
        reduction: str,
    ) -> Array:
        goal, weights = _goal_arrays(target, weight, logits.shape[1], logits.dtype, label_smoothing, ignore_index)
        slope = np.exp(log_softmax_array(logits, 1)) * goal.sum(axis=1, keepdims=True) - goal
        if reduction == "none":
            return np.asarray(slope * grad[:, None])
        return np.asarray(slope * (grad / weights.sum()) if reduction == "mean" else slope * grad)

    def terms(self, call: Call, place: Place, output: int = 0) -> Terms:
        goal, weights = _goal_of(call, 1)
        row = call.inputs[1].numpy()[place[0]].astype(np.float64)
        slope = np.exp(log_softmax_array(row, 0)[place[1]]) * goal[place[0]].sum() - goal[place]
        reduction = call.attributes["reduction"]
        if reduction == "mean":
            slope = slope / weights.sum()
        grad = taken(call, "grad", 0, [place[:1] if reduction == "none" else ()])
        also = taken(call, "logits", 1, grid(place[0], range(len(row))))
        factors = (grad, constant("(softmax - goal) / rows" if reduction == "mean" else "softmax - goal", slope, 1))
        return Terms("sum", "grad · (softmax - goal)", (Products("grad", factors),), also=(also,))


CROSS_ENTROPY = define(CrossEntropy)
CROSS_ENTROPY_GRAD = define(CrossEntropyGrad)


def _labels_of(*shape: int, classes: int, low: int = 0) -> Any:
    return S(*shape, kind="integers", low=low, high=classes)


def _positive(*shape: int) -> Any:
    return S(*shape, kind="uniform", low=0.1, high=2.0)


@function(
    Case(S(4, 10), _labels_of(4, classes=10)),
    Case(S(33, 17), _labels_of(33, classes=17), reduction="sum"),
    Case(S(5, 3), _labels_of(5, classes=3), reduction="none"),
    Case(S(10), _labels_of(classes=10)),
    Case(S(1, 1), _labels_of(1, classes=1)),
    Case(S(6, 5), _labels_of(6, classes=5), _positive(5), fixed=(2,)),
    Case(S(12, 5), _labels_of(12, classes=5, low=-1), _positive(5), ignore_index=-1, fixed=(2,)),
    Case(S(12, 4), _labels_of(12, classes=4), ignore_index=2, label_smoothing=0.1),
    Case(S(6, 5), _labels_of(6, classes=5), _positive(5), label_smoothing=0.2, fixed=(2,)),
    Case(S(6, 5), _labels_of(6, classes=5), _positive(5), reduction="none", label_smoothing=0.2, fixed=(2,)),
    Case(S(2, 3, 4, 5), _labels_of(2, 4, 5, classes=3, low=-1), ignore_index=-1),
    Case(S(2, 3, 4, 5), _labels_of(2, 4, 5, classes=3), reduction="none"),
    Case(S(2, 3, 4), _labels_of(2, 4, classes=3)),
    Case(S(0, 3), _labels_of(0, classes=3), reduction="sum"),
    Case(S(3, 2), np.array([-100, -100, -100]), gradient=False, torch=False),
    Case(S(3, 20, kind="uniform", low=-80, high=80), _labels_of(3, classes=20)),
    Case(S(4, 5), _positive(4, 5)),
    Case(S(4, 5), _positive(4, 5), _positive(5), label_smoothing=0.1, fixed=(2,)),
    Case(S(2, 3, 4, 5), _positive(2, 3, 4, 5), reduction="none"),
    Case(S(5), _positive(5), reduction="sum"),
    torch="nn.functional.cross_entropy",
    rtol=2e-6,
)
def cross_entropy(
    input: Tensor,
    target: Operand,
    weight: Tensor | None = None,
    ignore_index: int = IGNORED,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """How surprised the softmax of scores is by the labels: -log of the probability that it gives to each label.

    input (N, C), (N, C, H, W), ... or (C), scores before softmax; target: class numbers (N), (N, H, W), ... or (), or
    probabilities in the shape of the input. `weight` (C) counts classes more or less, labels of `ignore_index` count
    nothing, `label_smoothing` spreads that share of each label evenly over all classes. The mean is weighted by the
    labels' classes (nan over none). -> (), or the target's shape with reduction="none". Raises ValueError for a label
    that is no class. Smoothing: Szegedy et al. 2016, Rethinking the Inception Architecture.

    >>> import coolnn as cool
    >>> loss = cool.ops.cross_entropy(cool.zeros(2, 10), cool.tensor([3, 7]))
    >>> print(f"{loss:.4f}")
    2.3026
    """
    target = as_tensor(target)
    _check_reduction("cross_entropy", reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing must be from 0 to 1, not {label_smoothing}")
    if target.dtype.kind == "f" and target.shape == input.shape:
        return _soft_cross_entropy(input, target, weight, reduction, float(label_smoothing))
    labels = _labels("cross_entropy", input, target, weight, ignore_index)
    loss = apply(
        CROSS_ENTROPY,
        _rows(input),
        labels,
        weight,
        label_smoothing=float(label_smoothing),
        ignore_index=ignore_index,
        reduction=reduction,
    )
    return loss if reduction != "none" or target.ndim == 1 else reshape(loss, target.shape)


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    """Cross-entropy with probabilities as target."""
    axis = 0 if input.ndim == 1 else 1
    classes = input.shape[axis]
    if label_smoothing > 0:
        target = add(mul(target, 1 - label_smoothing), label_smoothing / max(classes, 1))
    if weight is not None:
        if weight.shape != (classes,):
            raise ValueError(f"cross_entropy: weight must have shape {(classes,)}, not {weight.shape}")
        target = mul(target, reshape(weight, (classes, *[1] * (input.ndim - axis - 1))))
    losses = neg(sum_over(mul(log_softmax(input, axis), target), axis))
    return _reduced(losses, reduction)


@function(
    Case(S(4, 10), _labels_of(4, classes=10)),
    Case(S(6, 5), _labels_of(6, classes=5), _positive(5), fixed=(2,)),
    Case(S(2, 3, 4, 5), _labels_of(2, 4, 5, classes=3, low=-1), ignore_index=-1, reduction="none"),
    Case(S(7), _labels_of(classes=7), reduction="sum"),
    torch="nn.functional.nll_loss",
)
def nll_loss(
    input: Tensor, target: Operand, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """The negative of the number at each label: cross-entropy for what is a logarithm of probabilities already.

    Arguments and result as in `cross_entropy`, with class numbers as target.

    >>> import coolnn as cool
    >>> float(cool.ops.nll_loss(cool.tensor([[-1.0, -3.0]]), cool.tensor([1])))
    3.0
    """
    target = as_tensor(target)
    _check_reduction("nll_loss", reduction)
    labels = _labels("nll_loss", input, target, weight, ignore_index)
    kept = ne(labels, ignore_index)
    labels = where(kept, labels, 0)
    weights = cast(kept, input.dtype)
    if weight is not None:
        weights = mul(weights, apply(TAKE, weight, labels, dim=0))
    picked = reshape(apply(GATHER, _rows(input), reshape(labels, (-1, 1)), dim=1), labels.shape)
    losses = neg(mul(picked, weights))
    if reduction == "none":
        return reshape(losses, target.shape)
    return sum_over(losses) / sum_over(weights) if reduction == "mean" else sum_over(losses)


# --- losses of differences -------------------------------------------------------------------------------------------


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    return mean(losses) if reduction == "mean" else sum_over(losses)


def _difference(name: str, input: Operand, target: Operand, reduction: str) -> Tensor:
    """input - target, of the same shape."""
    _check_reduction(name, reduction)
    input, target = real(input), real(target)
    _check_shapes(name, input, target)
    return sub(input, target)


def _check_shapes(name: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise ValueError(
            f"{name}: input has shape {input.shape}, target {target.shape}; they must be equal (use reshape, or "
            "unsqueeze for a missing axis), because broadcasting here is nearly always a mistake"
        )


def _pairs(**more: Any) -> tuple[Case, ...]:
    return (
        Case(S(4, 5), S(4, 5), **more),
        Case(S(2, 3, 4, 5), S(2, 3, 4, 5), reduction="none", **more),
        Case(S(7), S(7), reduction="sum", **more),
        Case(S(), S(), **more),
    )


@function(*_pairs(), torch="nn.functional.mse_loss")
def mse_loss(input: Operand, target: Operand, reduction: str = "mean") -> Tensor:
    """The mean (or sum, or none of both) of squared differences. Two equal shapes -> () or that shape.

    >>> import coolnn as cool
    >>> float(cool.ops.mse_loss(cool.tensor([1.0, 2.0]), cool.tensor([1.0, 4.0])))
    2.0
    """
    return _reduced(square(_difference("mse_loss", input, target, reduction)), reduction)


@function(*_pairs(), torch="nn.functional.l1_loss")
def l1_loss(input: Operand, target: Operand, reduction: str = "mean") -> Tensor:
    """The mean (or sum, or none of both) of absolute differences. Two equal shapes -> () or that shape.

    >>> import coolnn as cool
    >>> float(cool.ops.l1_loss(cool.tensor([1.0, 2.0]), cool.tensor([1.0, 4.0])))
    1.0
    """
    return _reduced(abs(_difference("l1_loss", input, target, reduction)), reduction)


@function(*_pairs(), *_pairs(delta=0.5), torch="nn.functional.huber_loss", rtol=2e-6)
def huber_loss(input: Operand, target: Operand, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Half the squared difference below `delta`, and a straight line with the same slope above.

    Two equal shapes -> () or that shape. Raises ValueError unless delta > 0. Huber 1964, Robust estimation of a
    location parameter.

    >>> import coolnn as cool
    >>> float(cool.ops.huber_loss(cool.tensor([0.0]), cool.tensor([3.0])))
    2.5
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be above 0, not {delta}")
    distance = abs(_difference("huber_loss", input, target, reduction))
    near = clip(distance, max=float(delta))
    return _reduced(mul(near, sub(distance, mul(near, 0.5))), reduction)


@function(*_pairs(), *_pairs(beta=0.5), *_pairs(beta=0.0)[:1], torch="nn.functional.smooth_l1_loss", rtol=2e-6)
def smooth_l1_loss(input: Operand, target: Operand, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """`huber_loss` divided by `beta`: `l1_loss` with a round bottom of that half-width.

    Two equal shapes -> () or that shape. Raises ValueError unless beta >= 0. Girshick 2015, Fast R-CNN.

    >>> import coolnn as cool
    >>> float(cool.ops.smooth_l1_loss(cool.tensor([0.0]), cool.tensor([3.0])))
    2.5
    """
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta must be 0 or more, not {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    return mul(huber_loss(input, target, reduction, beta), 1 / beta)


@function(
    Case(S(4, 5), S(4, 5, kind="uniform", low=0, high=1)),
    Case(S(2, 3, 4, 5), S(2, 3, 4, 5, kind="uniform", low=0, high=1), reduction="none"),
    Case(S(4, 5), S(4, 5, kind="uniform", low=0, high=1), _positive(4, 5), reduction="sum", fixed=(2,)),
    Case(S(4, 5), S(4, 5, kind="uniform", low=0, high=1), pos_weight=_positive(5), fixed=("pos_weight",)),
    Case(S(9, kind="uniform", low=-15, high=15), S(9, kind="uniform", low=0, high=1)),
    torch="nn.functional.binary_cross_entropy_with_logits",
    rtol=2e-6,
)
def binary_cross_entropy_with_logits(
    input: Operand,
    target: Operand,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of yes-or-no questions: scores before sigmoid against probabilities from 0 to 1.

    input and target of equal shape -> () or that shape; `weight` scales each loss, `pos_weight` the share of "yes"
    (both broadcast). Raises ValueError where shapes differ.

    >>> import coolnn as cool
    >>> loss = cool.ops.binary_cross_entropy_with_logits(cool.tensor([0.0]), cool.tensor([1.0]))
    >>> print(f"{loss:.4f}")
    0.6931
    """
    _check_reduction("binary_cross_entropy_with_logits", reduction)
    x, t = real(input), real(target)
    _check_shapes("binary_cross_entropy_with_logits", x, t)
    # -t·log(sigmoid(x)) - (1 - t)·log(1 - sigmoid(x)), where -log(sigmoid(x)) = softplus(-x).
    surprise = softplus(neg(x))
    if pos_weight is not None:
        surprise = mul(surprise, add(mul(t, sub(pos_weight, 1.0)), 1.0))
    losses = add(mul(sub(1.0, t), x), surprise)
    if weight is not None:
        losses = mul(losses, weight)
    return _reduced(losses, reduction)
