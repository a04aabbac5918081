"""Operations: every function here takes and gives tensors and can be differentiated.

Names, argument order and meaning are those of PyTorch's functional API wherever it has the same operation.
"""

from .activation import *
from .op import FUNCTIONS, OPS, Case, Cost, Function, Op, S, Sample, define, function
