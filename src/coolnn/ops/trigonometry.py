"""Circular and hyperbolic functions beyond sine and cosine, and the inverses of all."""

from __future__ import annotations

import numpy as np

from ..autograd import apply
from ..tensor import Operand, Tensor
from .elementwise import Unary
from .op import Case, S, define, function
from .operands import real

__all__ = ["acos", "acosh", "asin", "asinh", "atan", "atanh", "cosh", "sinh", "tan"]

TAN = define(Unary("tan", np.tan, lambda g, y: g * (y * y + 1.0), "y", "Tan"))
ASIN = define(Unary("asin", np.arcsin, lambda g, x: g / (1.0 - x * x).sqrt(), "x", "Asin"))
ACOS = define(Unary("acos", np.arccos, lambda g, x: -(g / (1.0 - x * x).sqrt()), "x", "Acos"))
ATAN = define(Unary("atan", np.arctan, lambda g, x: g / (x * x + 1.0), "x", "Atan"))
SINH: Unary = define(Unary("sinh", np.sinh, lambda g, x: g * apply(COSH, x), "x", "Sinh"))
COSH: Unary = define(Unary("cosh", np.cosh, lambda g, x: g * apply(SINH, x), "x", "Cosh"))
ASINH = define(Unary("asinh", np.arcsinh, lambda g, x: g / (x * x + 1.0).sqrt(), "x", "Asinh"))
ACOSH = define(Unary("acosh", np.arccosh, lambda g, x: g / (x * x - 1.0).sqrt(), "x", "Acosh"))
ATANH = define(Unary("atanh", np.arctanh, lambda g, x: g / (1.0 - x * x), "x", "Atanh"))

_ANY = (Case(S(2, 3, 5, 7, kind="uniform", low=-1.4, high=1.4)), Case(S()), Case(S(0, 4)))
_WITHIN = (Case(S(2, 3, 5, 7, kind="uniform", low=-0.9, high=0.9)), Case(S(0, 4)))
_ABOVE = (Case(S(2, 3, 5, 7, kind="uniform", low=1.1, high=4.0)), Case(S(0, 4)))


@function(*_ANY, torch="tan", rtol=2e-6)
def tan(x: Operand) -> Tensor:
    """The tangent of an angle in radians, element by element.

    >>> import coolnn as cool
    >>> cool.ops.tan(cool.tensor([0.0])).tolist()
    [0.0]
    """
    return apply(TAN, real(x))


@function(*_WITHIN, torch="asin")
def asin(x: Operand) -> Tensor:
    """The angle in radians whose sine is x, element by element: nan outside -1 to 1.

    >>> import coolnn as cool
    >>> cool.ops.asin(cool.tensor([0.0])).tolist()
    [0.0]
    """
    return apply(ASIN, real(x))


@function(*_WITHIN, torch="acos")
def acos(x: Operand) -> Tensor:
    """The angle in radians whose cosine is x, element by element: nan outside -1 to 1.

    >>> import coolnn as cool
    >>> cool.ops.acos(cool.tensor([1.0])).tolist()
    [0.0]
    """
    return apply(ACOS, real(x))


@function(*_ANY, torch="atan")
def atan(x: Operand) -> Tensor:
    """The angle in radians, from -pi/2 to pi/2, whose tangent is x, element by element.

    >>> import coolnn as cool
    >>> cool.ops.atan(cool.tensor([0.0])).tolist()
    [0.0]
    """
    return apply(ATAN, real(x))


@function(*_ANY, torch="sinh")
def sinh(x: Operand) -> Tensor:
    """The hyperbolic sine, element by element.

    >>> import coolnn as cool
    >>> cool.ops.sinh(cool.tensor([0.0])).tolist()
    [0.0]
    """
    return apply(SINH, real(x))


@function(*_ANY, torch="cosh")
def cosh(x: Operand) -> Tensor:
    """The hyperbolic cosine, element by element.

    >>> import coolnn as cool
    >>> cool.ops.cosh(cool.tensor([0.0])).tolist()
    [1.0]
    """
    return apply(COSH, real(x))


@function(*_ANY, torch="asinh")
def asinh(x: Operand) -> Tensor:
    """The inverse of the hyperbolic sine, element by element.

    >>> import coolnn as cool
    >>> cool.ops.asinh(cool.tensor([0.0])).tolist()
    [0.0]
    """
    return apply(ASINH, real(x))


@function(*_ABOVE, torch="acosh")
def acosh(x: Operand) -> Tensor:
    """The inverse of the hyperbolic cosine, element by element: nan below 1.

    >>> import coolnn as cool
    >>> cool.ops.acosh(cool.tensor([1.0])).tolist()
    [0.0]
    """
    return apply(ACOSH, real(x))


@function(*_WITHIN, torch="atanh")
def atanh(x: Operand) -> Tensor:
    """The inverse of the hyperbolic tangent, element by element: nan outside -1 to 1.

    >>> import coolnn as cool
    >>> cool.ops.atanh(cool.tensor([0.0])).tolist()
    [0.0]
    """
    return apply(ATANH, real(x))
