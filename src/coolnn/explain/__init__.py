"""Where every number comes from: graphs with values and gradients, outputs and gradients as sums."""

from .backward import Backward
from .build import graph
from .drawing import Drawing
from .trace import Trace, recording, trace

__all__ = ["Backward", "Drawing", "Trace", "graph", "recording", "trace"]
