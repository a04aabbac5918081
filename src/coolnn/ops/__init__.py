"""Operations: every function here takes and gives tensors and can be differentiated.

Names, argument order and meaning are those of PyTorch's functional API wherever it has the same operation.
"""

from .activation import *
from .affine import *
from .arithmetic import *
from .conv import *
from .dropout import *
from .elementwise import *
from .fused import *
from .gram import *
from .index import *
from .linear import *
from .logic import *
from .loss import *
from .normalization import *
from .op import FUNCTIONS as FUNCTIONS
from .op import OPS as OPS
from .op import Case as Case
from .op import Cost as Cost
from .op import Function as Function
from .op import Op as Op
from .op import S as S
from .op import Sample as Sample
from .op import define as define
from .op import function as function
from .operands import *
from .order import *
from .pad import *
from .pool import *
from .reduce import *
from .register import *
from .resize import *
from .scatter import *
from .shape import *
from .softmax import *
from .trigonometry import *
from .update import *
