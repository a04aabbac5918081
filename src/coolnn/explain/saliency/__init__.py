"""Why this answer: what in a picture a network's answer rests on, and whether such a map means anything.

Called, `coolnn.explain.saliency(net, picture, method)` makes a map: see `explainer.saliency`.
"""

from ...callable_module import make_callable
from .checks import Perturbation, Randomization, perturbation, randomization, rank_correlation, ssim
from .explainer import Explainer
from .methods import METHODS
from .result import SaliencyMap
from .rules import backward_rule
from .target import Target

__all__ = [
    "METHODS",
    "Explainer",
    "Perturbation",
    "Randomization",
    "SaliencyMap",
    "Target",
    "backward_rule",
    "perturbation",
    "randomization",
    "rank_correlation",
    "ssim",
]

make_callable(__name__, "coolnn.explain.saliency.explainer:saliency")
