"""Backward rules of rectifiers that show more than the gradient: deconvnet and guided backpropagation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from ... import ops
from ...autograd import Call, chain_rule
from ...tensor import Tensor

#: Operations that let positive numbers pass and hold negative ones back, whatever they were made for.
_RECTIFIERS = {"relu", "relu6", "leaky_relu", "silu", "gelu", "hardswish"}

Gradients = tuple[Tensor | None, ...]


def rectifies(call: Call) -> bool:
    """Whether this use of an operation is a rectifier: a ReLU, one of its relatives, or what cuts off below 0."""
    if call.op.name == "clip":
        return bool(call.attributes["min"] == 0)
    if call.op.name == "maximum":  # of a value and the constant 0, as other programs write a ReLU
        fixed = [t for t, needed in zip(call.inputs, call.needs, strict=True) if not needed]
        return len(fixed) == 1 and fixed[0].size == 1 and not fixed[0].is_meta and fixed[0].item() == 0
    return call.op.name in _RECTIFIERS


def _deconvnet(call: Call, grad: Tensor) -> Gradients:
    positive = ops.relu(grad)
    return tuple(positive if needed else None for needed in call.needs)


def _guided(call: Call, grad: Tensor) -> Gradients:
    return tuple(None if found is None else ops.relu(found) for found in call.op.vjp(call, grad))


#: How a rectifier hands a gradient back, by name.
RULES: dict[str, Callable[[Call, Tensor], Gradients]] = {"deconvnet": _deconvnet, "guided": _guided}


@contextlib.contextmanager
def backward_rule(name: str) -> Iterator[None]:
    """Inside the `with` block gradients pass rectifiers by another rule; in functions to be compiled as well.

    "deconvnet": the rectifier is applied to the gradient, whatever its input was (Zeiler & Fergus 2014,
    arXiv:1311.2901); "guided": positive parts of the gradient pass where the input was positive (Springenberg et al.
    2015, arXiv:1412.6806). All other operations keep their own rule: max-pooling hands the gradient to where the
    maximum was, convolution is transposed. Raises ValueError for another name.

    >>> import coolnn as cool
    >>> x = cool.tensor([-1.0, 2.0, 3.0], requires_grad=True)
    >>> y = (x.relu() * cool.tensor([1.0, -1.0, 1.0])).sum()
    >>> with cool.explain.backward_rule("deconvnet"):
    ...     cool.grad(y, x)[0].tolist()
    [1.0, 0.0, 1.0]
    """
    if name not in RULES:
        raise ValueError(f"there is no backward rule {name!r}; there are: {', '.join(RULES)}")
    rule = RULES[name]
    with chain_rule(lambda call, *grads: rule(call, grads[0]) if rectifies(call) else call.op.vjp(call, *grads)):
        yield
