"""Where every number comes from: graphs with values and gradients, outputs and gradients as sums.

Called, `coolnn.explain(y, index)` explains one number: see `explain_number`.
"""

from ..callable_module import make_callable
from . import images, preferred
from .backward import Backward
from .build import graph
from .control import random_weights
from .drawing import Drawing
from .field import Box
from .gradient import GradientExplanation, explain_gradient
from .hierarchy import Hierarchy, hierarchy
from .images import Pictures
from .layers import Layer, Layers, tapped
from .maps import FeatureMaps, convolutions, feature_maps, filters
from .numbers import Explanation, Part, Term
from .numbers import explain as explain_number
from .patches import Hit, TopPatches, top_patches
from .preferred import Preferred
from .receptive import Field, receptive_field
from .saliency import Explainer, SaliencyMap, backward_rule
from .stimuli import Stimuli
from .subject import Subject
from .trace import Trace, recording, trace
from .tuning import LayerTuning, Tuning, tuning

__all__ = [
    "Backward",
    "Box",
    "Drawing",
    "Explainer",
    "Explanation",
    "FeatureMaps",
    "Field",
    "GradientExplanation",
    "Hierarchy",
    "Hit",
    "Layer",
    "LayerTuning",
    "Layers",
    "Part",
    "Pictures",
    "Preferred",
    "SaliencyMap",
    "Stimuli",
    "Subject",
    "Term",
    "TopPatches",
    "Trace",
    "Tuning",
    "backward_rule",
    "convolutions",
    "explain_gradient",
    "explain_number",
    "feature_maps",
    "filters",
    "graph",
    "hierarchy",
    "images",
    "preferred",
    "random_weights",
    "receptive_field",
    "recording",
    "tapped",
    "top_patches",
    "trace",
    "tuning",
]

make_callable(__name__, "coolnn.explain:explain_number")
