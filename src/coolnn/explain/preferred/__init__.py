"""What a unit looks for: pictures that a unit, channel, class or direction answers to most strongly.

Called, `coolnn.explain.preferred(model, layer, channels)` makes them: see `preferred_pictures`.
"""

from ...callable_module import make_callable
from .api import Preferred, preferred_pictures
from .ascent import RECIPES, Recipe
from .objectives import Objective, channel, direction, diversity, logit, unit
from .parameters import Fourier, Pixels
from .regularise import Regulariser
from .transforms import Transform

__all__ = [
    "RECIPES",
    "Fourier",
    "Objective",
    "Pixels",
    "Preferred",
    "Recipe",
    "Regulariser",
    "Transform",
    "channel",
    "direction",
    "diversity",
    "logit",
    "preferred_pictures",
    "unit",
]

make_callable(__name__, "coolnn.explain.preferred:preferred_pictures")
