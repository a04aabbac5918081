"""The computation graph as a thing of its own: traced from a function, laid out in memory, run in one call.

Called, `coolnn.graph(f, x=4)` draws the graph of a function: see `coolnn.explain.graph`.
"""

from ..callable_module import make_callable
from .compiled import Compiled, CompiledGradient, CompiledStep, compile, compile_gradient, compile_step
from .graph import Graph, Step, Value, trace
from .precision import PrecisionError
from .program import Arena

__all__ = [
    "Arena",
    "Compiled",
    "CompiledGradient",
    "CompiledStep",
    "Graph",
    "PrecisionError",
    "Step",
    "Value",
    "compile",
    "compile_gradient",
    "compile_step",
    "trace",
]

make_callable(__name__, "coolnn.explain:graph")
