"""Operations that users add in Python, in one place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar, overload

from ..autograd import Call, apply_all
from ..spec import Spec
from ..tensor import Tensor
from .op import OPS, Array, Op, define
from .operands import as_tensor

__all__ = ["register"]

O = TypeVar("O", bound=type[Op])


class OpFunction:
    """An added operation as a function: tensors by position (None where one is left out), attributes by keyword."""

    def __init__(self, op: Op, origin: object) -> None:
        self.op = op
        self.origin = origin
        self.__name__ = op.name
        self.__doc__ = op.__doc__

    def __call__(self, *inputs: Any, **attributes: Any) -> Any:
        tensors = [None if x is None else as_tensor(x) for x in inputs]
        fixed = {key: tuple(value) if isinstance(value, list) else value for key, value in attributes.items()}
        outputs = apply_all(self.op, *tensors, **fixed)
        return outputs[0] if len(outputs) == 1 else outputs

    def __repr__(self) -> str:
        return f"<function of {self.op!r}>"


class PlainOp(Op):
    """An operation made of plain functions."""

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        vjp: Callable[..., Any] | None,
        infer: Callable[..., Any] | None,
    ) -> None:
        self.name = name
        self.saves_outputs = True
        self._forward, self._vjp, self._infer = forward, vjp, infer
        self.__doc__ = forward.__doc__

    def infer(self, *specs: Any, **attributes: Any) -> Spec | tuple[Spec, ...]:
        if self._infer is None:
            return super().infer(*specs, **attributes)
        result: Spec | tuple[Spec, ...] = self._infer(*specs, **attributes)
        return result

    def reference(self, *arrays: Any, **attributes: Any) -> Array | tuple[Array, ...]:
        result: Array | tuple[Array, ...] = self._forward(*arrays, **attributes)
        return result

    def vjp(self, call: Call, *grads: Any) -> tuple[Tensor | None, ...]:
        if self._vjp is None:
            return super().vjp(call, *grads)
        result: tuple[Tensor | None, ...] = self._vjp(call, *grads)
        return result


def _origin(thing: Any) -> tuple[str, str]:
    return thing.__module__, thing.__qualname__


def _make_room(name: str, origin: object) -> None:
    """Sees to it that a name is free; a definition that is run once more (in a notebook) replaces its forerunner."""
    family = sys.modules[__package__]
    known = getattr(family, name, None)
    if isinstance(known, OpFunction) and known.origin == origin:
        del OPS[name]
    elif name in OPS or known is not None:
        raise ValueError(f"the name '{name}' is taken: coolnn.ops has it already; give your operation another name")


@overload
def register(definition: O) -> OpFunction: ...
@overload
def register(
    definition: str,
    *,
    forward: Callable[..., Any],
    vjp: Callable[..., Any] | None = None,
    infer: Callable[..., Any] | None = None,
) -> OpFunction: ...


def register(
    definition: type[Op] | str,
    *,
    forward: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    infer: Callable[..., Any] | None = None,
) -> OpFunction:
    """Adds an operation that is written in Python and returns it as a function, also found as `coolnn.ops.<name>`.

    Decorates a class that derives from `Op` and has a `name` and a `reference` on NumPy arrays; with a chain rule `vjp`
    it can be differentiated. Without a shape rule `infer` the reference is run on zeros to see what comes out. Or, for
    something small, takes a name and these as functions: `forward(*arrays)` and `vjp(call, grad)`. Raises ValueError
    where the name is taken, TypeError for what is not a definition.

    >>> import coolnn as cool, numpy as np
    >>> @cool.ops.register
    ... class Mish(cool.ops.Op):
    ...     '''x · tanh(softplus(x)).'''
    ...     name = "mish"
    ...     def reference(self, x):
    ...         return x * np.tanh(np.logaddexp(0, x))
    ...     def vjp(self, call, grad):
    ...         (x,) = call.inputs
    ...         t = cool.ops.softplus(x).tanh()
    ...         return (grad * (t + x * x.sigmoid() * (1 - t * t)),)
    >>> x = cool.tensor([0.0, 2.0], requires_grad=True)
    >>> cool.gradcheck(cool.ops.mish, x)
    True
    >>> cube = cool.ops.register("cube", forward=lambda x: x**3, vjp=lambda call, grad: grad * 3 * call.inputs[0] ** 2)
    >>> cube(x).tolist()
    [0.0, 8.0]
    """
    if isinstance(definition, str):
        if forward is None:
            raise TypeError(f"register('{definition}') needs forward=, a function on NumPy arrays")
        name, origin = definition, _origin(forward)
        op: Op = PlainOp(definition, forward, vjp, infer)
    elif isinstance(definition, type) and issubclass(definition, Op):
        name, origin = getattr(definition, "name", ""), _origin(definition)
        if definition.reference is Op.reference:
            raise TypeError(f"operation {definition.__name__} needs a method reference(self, *arrays) on NumPy arrays")
        op = definition()
    else:
        raise TypeError(f"register takes a class that derives from coolnn.ops.Op, or a name, not {definition!r}")
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"an operation needs a name made of letters, digits and _, not {name!r}")
    _make_room(name, origin)
    function = OpFunction(define(op), origin)
    setattr(sys.modules[__package__], name, function)
    return function
