"""Checks chain rules against differences of function values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import autograd
from .spec import float64
from .tensor import Tensor, tensor, zeros

Array = np.ndarray[Any, np.dtype[Any]]


class GradcheckError(RuntimeError):
    """A chain rule and the differences of the function's values do not agree."""


class _Worst(NamedTuple):
    """The element of a Jacobian where the two differ most."""

    input: int
    output: int
    row: int  # place in the flattened output
    column: int  # place in the flattened input


def gradcheck(
    fn: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether the gradients of `fn(*inputs)` are the slopes that its values show, for every output by every input.

    Real inputs are taken to float64, the others go to `fn` as they are. Gradients are checked for the inputs that
    require them, or for all real ones if none does; they may differ by atol + rtol · |slope|. Raises GradcheckError
    that names the worst element and likely causes, or returns False if `raise_exception` is False.

    >>> import coolnn as cool
    >>> cool.gradcheck(lambda x, y: x * y.exp(), (cool.tensor([1.0, 2.0]), cool.tensor([0.5, -0.5])))
    True
    """
    arguments, checked = _prepare(inputs)
    outputs = _evaluate(fn, arguments)
    again = _evaluate(fn, arguments)
    problem = None
    if not outputs:
        problem = "the function has no output of real numbers, so there is nothing to differentiate"
    elif not all(np.array_equal(a.numpy(), b.numpy(), equal_nan=True) for a, b in zip(outputs, again, strict=True)):
        problem = (
            "two calls with the same inputs gave different values: the function draws random numbers or keeps state; "
            "fix the draw inside it (for dropout: pass state)"
        )
    else:
        problem = _compare(fn, arguments, checked, eps, atol, rtol)
    if problem is not None and raise_exception:
        raise GradcheckError(problem)
    return problem is None


def _prepare(inputs: Any) -> tuple[list[Any], list[int]]:
    """Copies of the arguments, real tensors in float64, and which of them to check."""
    given = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    real = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.dtype.kind == "f"]
    checked = [i for i in real if given[i].requires_grad] or real
    if not checked:
        raise ValueError("gradcheck needs at least one input that is a tensor of float32 or float64")
    for i in real:
        given[i] = tensor(given[i], dtype=float64, requires_grad=i in checked)
    return given, checked


def _evaluate(fn: Callable[..., Any], arguments: list[Any]) -> list[Tensor]:
    """The real outputs of the function."""
    result = fn(*arguments)
    outputs = [result] if isinstance(result, Tensor) else list(result)
    return [y for y in outputs if y.dtype.kind == "f"]


def _analytic(outputs: list[Tensor], inputs: list[Tensor]) -> list[list[Array]]:
    """The Jacobian of each output by each input, row by row from the chain rules."""
    jacobians = []
    for output in outputs:
        rows = [np.zeros((output.size, x.size)) for x in inputs]
        for row in range(output.size if output.requires_grad else 0):
            start = zeros(*output.shape, dtype=output.dtype)
            start.numpy()[np.unravel_index(row, output.shape)] = 1.0
            found = autograd.grad(output, inputs, start, retain_graph=True, allow_unused=True)
            for matrix, gradient in zip(rows, found, strict=True):
                if gradient is not None:
                    matrix[row] = gradient.numpy().reshape(-1)
        jacobians.append(rows)
    return jacobians


def _values(fn: Callable[..., Any], arguments: list[Any], input: int, column: int, step: float) -> list[Array]:
    """The flattened outputs with one element of one input moved by `step`."""
    array = arguments[input].numpy()
    place = np.unravel_index(column, array.shape)
    before = array[place]
    array[place] = before + step
    try:
        return [y.numpy().astype(float64).reshape(-1) for y in _evaluate(fn, arguments)]
    finally:
        array[place] = before


def _numeric(
    fn: Callable[..., Any], arguments: list[Any], outputs: list[Tensor], input: int, eps: float
) -> list[Array]:
    """The Jacobian of each output by one input, column by column from central differences."""
    size = arguments[input].size
    jacobian = [np.zeros((y.size, size)) for y in outputs]
    for column in range(size):
        above = _values(fn, arguments, input, column, eps)
        below = _values(fn, arguments, input, column, -eps)
        for matrix, high, low in zip(jacobian, above, below, strict=True):
            matrix[:, column] = (high - low) / (2 * eps)
    return jacobian


def _compare(
    fn: Callable[..., Any], arguments: list[Any], checked: list[int], eps: float, atol: float, rtol: float
) -> str | None:
    """None if all agrees, else what is wrong."""
    outputs = _evaluate(fn, arguments)
    analytic = _analytic(outputs, [arguments[i] for i in checked])
    worst: tuple[float, _Worst, Array, Array] | None = None
    for position, input in enumerate(checked):
        for index, slopes in enumerate(_numeric(fn, arguments, outputs, input, eps)):
            gradient = analytic[index][position]
            with np.errstate(all="ignore"):
                excess = np.abs(gradient - slopes) / (atol + rtol * np.abs(slopes))
            excess[~np.isfinite(excess)] = np.inf  # a gradient or value that is not a number
            if excess.size and (worst is None or excess.max() > worst[0]):
                row, column = np.unravel_index(int(excess.argmax()), excess.shape)
                worst = float(excess.max()), _Worst(input, index, int(row), int(column)), gradient, slopes
    if worst is None or worst[0] <= 1:
        return None
    return _report(fn, arguments, outputs, *worst[1:], eps)


def _report(
    fn: Callable[..., Any],
    arguments: list[Any],
    outputs: list[Tensor],
    worst: _Worst,
    gradient: Array,
    slopes: Array,
    eps: float,
) -> str:
    x, y = arguments[worst.input], outputs[worst.output]
    place_in = tuple(int(i) for i in np.unravel_index(worst.column, x.shape))
    place_out = tuple(int(i) for i in np.unravel_index(worst.row, y.shape))
    lines = [
        f"the gradient of output {worst.output} by input {worst.input} is wrong, worst at output element "
        f"{list(place_out)} and input element {list(place_in)} (where the input is {x.numpy()[place_in]:.6g}):",
        f"  analytic (from the chain rule)  {gradient[worst.row, worst.column]:.8g}",
        f"  numeric (from differences)      {slopes[worst.row, worst.column]:.8g}",
    ]
    return "\n".join(lines + [f"  hint: {hint}" for hint in _hints(fn, arguments, y, worst, gradient, slopes, eps)])


def _hints(
    fn: Callable[..., Any], arguments: list[Any], y: Tensor, worst: _Worst, gradient: Array, slopes: Array, eps: float
) -> list[str]:
    """Likely causes."""
    hints = []
    middle, above, below = (
        _values(fn, arguments, worst.input, worst.column, step)[worst.output][worst.row] for step in (0, eps, -eps)
    )
    right, left = (above - middle) / eps, (middle - below) / eps
    if y.dtype != float64:
        hints.append(
            f"the output is {y.dtype.name}, whose rounding is larger than differences over {eps:g}; something inside "
            "the function is not float64 (pass weights as inputs, or use .double())"
        )
    elif not np.isfinite([right, left]).all():
        hints.append("the function is not finite here; choose inputs inside its domain")
    elif abs(right - left) > 0.01 * max(abs(right), abs(left)) + 1e-3:
        hints.append(
            f"the slope is {left:.6g} to the left and {right:.6g} to the right: a kink or jump lies within {eps:g} of "
            "this input (as at 0 of relu, or between equal values of a maximum); choose inputs away from it"
        )
    elif not gradient.any():
        hints.append(
            "the whole gradient is 0: the chain rule returned None or zeros, or detach(), numpy() or no_grad() cut "
            "the graph"
        )
    else:
        large = np.abs(slopes) > 1e-3 * np.abs(slopes).max()
        ratios = gradient[large] / slopes[large]
        if len(ratios) > 1 and np.isfinite(ratios).all() and np.ptp(ratios) < 1e-3 * abs(ratios[0]):
            hints.append(f"every element is {ratios[0]:.6g} times what it should be: a factor is off in the chain rule")
        elif gradient.shape[0] == gradient.shape[1] and np.allclose(gradient.T, slopes, 1e-3, 1e-5):
            hints.append("the Jacobian is transposed: the chain rule multiplies from the wrong side")
    return hints
