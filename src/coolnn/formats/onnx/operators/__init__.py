"""The operators of the standard, one file a family; each function is named as the operator that it computes."""

from . import (
    activation,
    arithmetic,
    convolution,
    elementwise,
    generate,
    indexing,
    linear,
    normalization,
    pooling,
    quantize,
    reduce,
    resize,
    shape,
    vision,
)
from .registry import NeedsNumbers, Operator, aside, numbers, operators_of

_FAMILIES = (
    *(elementwise, activation, arithmetic, convolution, pooling, normalization, linear, reduce),
    *(shape, generate, indexing, resize, vision, quantize),
)

#: Every operator by its name in the standard.
OPERATORS: dict[str, Operator] = {
    name: operator
    for family in _FAMILIES
    for name, operator in operators_of(family).items()
    if operator.call.__module__ == family.__name__ or operator.call.__module__.startswith("coolnn.ops")
}

__all__ = ["OPERATORS", "NeedsNumbers", "Operator", "aside", "numbers"]
