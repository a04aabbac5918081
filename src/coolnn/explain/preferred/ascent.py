"""Activation maximisation: pictures changed by the gradient of an objective, one compiled call a step."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import ops
from ...autograd import Call, chain_rule, grad
from ...graph import compile
from ...nn import evaluating
from ...ops.affine import affine_sample
from ...optim import Adam
from ...tensor import Tensor, from_numpy
from ..layers import tapped
from ..saliency.rules import rectifies
from ..subject import Subject
from .objectives import Objective
from .parameters import Fourier, Parameterisation, Pixels
from .regularise import Regulariser
from .transforms import Transform

Array = NDArray[Any]
#: Called after each step with the steps done, all steps, and the objective's mean over the pictures.
Progress = Callable[[int, int, float], None]

#: Pixels of all pictures of a batch together, which bounds the memory of a step.
_PIXELS = 1 << 18


@dataclass(frozen=True)
class Recipe:
    """How preferred pictures are made: what is changed, by how much, and what keeps it a picture.

    lr: of Adam on the numbers of the parameterisation; with `normalised` the step is the gradient divided by its root
    mean square, times lr, as plain gradient ascent has it. Raises ValueError for values out of range.
    """

    parameterisation: Parameterisation = field(default_factory=Fourier)
    transform: Transform = field(default_factory=Transform)
    regulariser: Regulariser | None = None
    steps: int = 256
    lr: float = 0.05
    normalised: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.lr > 0:
            raise ValueError(f"steps must be 1 or more and lr above 0, not {self.steps} and {self.lr}")
        if self.regulariser is not None and not isinstance(self.parameterisation, Pixels):
            raise ValueError("a regulariser works on pixels: choose the parameterisation Pixels(bounded=False) with it")


#: "modern": Fourier basis, colours as in photographs, random transforms (Olah et al. 2017). "classic": pixels with
#: decay, blur and clipping (Yosinski et al. 2015, the third and the first row of their table in one).
RECIPES = {
    "modern": Recipe(Fourier(), Transform(jitter=6, scale=(0.9, 1.1), rotation=6)),
    "classic": Recipe(
        Pixels(bounded=False),
        regulariser=Regulariser(decay=1e-4, blur=0.5, blur_every=4, small_norm=20),
        steps=200,
        lr=0.03,
        normalised=True,
    ),
}


class Ascent:
    """The pictures of one objective structure, made ready: `run` for any pictures that share it.

    Programs are kept, so that other channels of the same layers in batches of the same size are not compiled again.
    """

    def __init__(self, subject: Subject, objective: Objective, recipe: Recipe, size: tuple[int, int]) -> None:
        self.subject, self.recipe, self.size = subject, recipe, size
        self._names = objective.layers()
        self._layers = [subject.layers[name] for name in self._names]
        self._objective = objective
        factor, offset = subject.affine
        self._factor, self._offset = from_numpy(factor[None]), from_numpy(offset[None] + factor[None] * 0.5)
        self._order = np.arange(subject.channels)[::-1].copy() if subject.preprocessing.order == "bgr" else None
        self._compiled = compile(self._step)
        self._rescuing = compile(self._rescue)

    # --- a step, as a function of the numbers that are changed --------------------------------------------------------

    def _seen(self, numbers: Tensor, matrices: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
        """The objective's values (N,), and the pictures."""
        picture = self.recipe.parameterisation.picture(numbers, self.subject.channels, self.size)
        seen = affine_sample(picture, matrices, self.recipe.transform.seen(self.size))
        if self._order is not None:
            seen = ops.take(seen, self._order, 1)
        _, found = tapped(self.subject.net, seen * self._factor + self._offset, self._layers)
        return self._objective.value(dict(zip(self._names, found, strict=True)), iter(given)), picture

    def _step(self, numbers: Tensor, *others: Tensor) -> list[Tensor]:
        """The gradient of minus the objective by the numbers, its values, and the pictures."""
        numbers.requires_grad = True
        values, picture = self._seen(numbers, *others)
        (down,) = grad(-values.sum(), numbers)
        assert down is not None  # the numbers take part, or grad raises
        return [down, values, picture]

    def _rescue(self, numbers: Tensor, *others: Tensor) -> list[Tensor]:
        """The same, with a gradient that rectifiers do not stop where they stop all of it."""
        with chain_rule(_past_rectifiers):
            return self._step(numbers, *others)

    # --- the work ----------------------------------------------------------------------------------------------------

    def run(
        self, objective: Objective, draws: Sequence[np.random.Generator], progress: Progress | None = None
    ) -> tuple[Array, Array, Array]:
        """Pictures float (N, H, W, C) of 0..1, their objective seen as they are (N,), and its history (steps, N)."""
        recipe, count = self.recipe, len(draws)
        numbers = from_numpy(recipe.parameterisation.start(draws, self.subject.channels, self.size))
        given = [from_numpy(array) for array in objective.given(self.subject.layers, count)]
        adam = None if recipe.normalised else Adam([numbers], lr=recipe.lr)
        history = np.empty((recipe.steps, count), np.float32)
        with evaluating(self.subject.net):
            for step in range(1, recipe.steps + 1):
                matrices = from_numpy(recipe.transform.matrices(draws, self.size))
                gradient, values, _ = self._compiled(numbers, matrices, *given)
                if not np.abs(gradient.numpy().reshape(count, -1)).max(1).all():
                    gradient, values, _ = self._rescuing(numbers, matrices, *given)
                history[step - 1] = values.numpy()
                if not np.isfinite(history[step - 1]).all():
                    raise FloatingPointError(f"the objective left the numbers in step {step}; take a smaller lr")
                self._move(numbers, gradient, adam, step)
                if progress is not None:
                    progress(step, recipe.steps, float(history[step - 1].mean()))
            still = from_numpy(recipe.transform.still(count, self.size))
            _, values, pictures = self._compiled(numbers, still, *given)
        return np.clip(pictures.numpy().transpose(0, 2, 3, 1) + 0.5, 0, 1), values.numpy().copy(), history

    def _move(self, numbers: Tensor, gradient: Tensor, adam: Adam | None, step: int) -> None:
        """Changes the numbers by one step against the gradient of the loss."""
        if adam is not None:
            numbers.grad = gradient
            adam.step()
            return
        down = gradient.numpy()
        power = np.sqrt(np.square(down, dtype=np.float64).mean((1, 2, 3), keepdims=True))
        moved = numbers.numpy() - np.float32(self.recipe.lr) * (down / np.maximum(power, 1e-30)).astype(np.float32)
        if self.recipe.regulariser is not None:
            moved = self.recipe.regulariser(moved, down, step)
        numbers.copy_(np.clip(moved, -0.5, 0.5))


def _past_rectifiers(call: Call, *grads: Any) -> tuple[Tensor | None, ...]:
    """The usual chain rule; where a rectifier would stop all of a picture's gradient, what would raise it passes.

    So a unit that is silent at the start can begin to answer; as in Lucid's redirected gradients of ReLU.
    """
    usual = call.op.vjp(call, *grads)
    if not rectifies(call) or usual[0] is None:
        return usual
    passed, axes = usual[0], tuple(range(1, usual[0].ndim))
    silent = ops.abs(passed).sum(axes, keepdim=True) == 0
    raising = ops.minimum(grads[0] - passed, 0.0)  # the loss falls where the number rises
    return (ops.where(silent, raising, passed), *usual[1:])


def batches(count: int, size: tuple[int, int], batch: int | None) -> list[tuple[int, int]]:
    """Spans of the pictures that are made together, as equal as can be: most are of one size."""
    most = batch or max(1, _PIXELS // (size[0] * size[1]))
    parts = math.ceil(count / most)
    bounds = [round(i * count / parts) for i in range(parts + 1)]
    return list(itertools.pairwise(bounds))


def make(
    subject: Subject,
    objective: Objective,
    count: int,
    recipe: Recipe,
    size: tuple[int, int],
    batch: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Array, Array, Array, float]:
    """Pictures (N, H, W, C) of 0..1, values, history (steps, N) and seconds; see `coolnn.explain.preferred`."""
    started = time.perf_counter()
    ascent = Ascent(subject, objective, recipe, size)
    spans = batches(count, size, batch)
    found = []
    for number, (start, stop) in enumerate(spans):
        draws = [np.random.default_rng([seed, i]) for i in range(start, stop)]
        report = None if progress is None else _shifted(progress, number, len(spans))
        found.append(ascent.run(objective.part(start, stop), draws, report))
    pictures, values, history = zip(*found, strict=True)
    seconds = time.perf_counter() - started
    return np.concatenate(pictures), np.concatenate(values), np.concatenate(history, axis=1), seconds


def _shifted(progress: Progress, number: int, total: int) -> Progress:
    """Progress of batch `number` as progress of all."""

    def report(done: int, steps: int, value: float) -> None:
        progress(number * steps + done, total * steps, value)

    return report
