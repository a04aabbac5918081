"""Methods that weigh a layer's channels by what they mean to a number of the output: class activation maps."""

from __future__ import annotations

from ..layers import Layer
from .programs import Weighting
from .question import Answer, Question


def grad_cam(question: Question, layer: str | Layer | None = None) -> list[Answer]:
    """The channels' sum, each weighted by its mean gradient; what is positive of it (Selvaraju et al. 2017).

    arXiv:1610.02391. layer: a layer that has places; None for the last before they vanish. raw: (h, w) of the layer.
    """
    return _class_maps(question, layer, "grad_cam")


def grad_cam_pp(question: Question, layer: str | Layer | None = None) -> list[Answer]:
    """Grad-CAM with a weight for each place, for several things of one class in a picture (Chattopadhyay et al. 2018).

    arXiv:1710.11063. layer and raw as in `grad_cam`.
    """
    return _class_maps(question, layer, "grad_cam++")


def layer_cam(question: Question, layer: str | Layer | None = None) -> list[Answer]:
    """Every place of every channel weighted by its own positive gradient, for finer layers too (Jiang et al. 2021).

    IEEE Transactions on Image Processing 30. layer and raw as in `grad_cam`.
    """
    return _class_maps(question, layer, "layer_cam")


def _class_maps(question: Question, layer: str | Layer | None, weighting: Weighting) -> list[Answer]:
    at = question.map_layer(layer)
    found = question.programs.class_maps(question.x, question.selections, at, weighting)
    question.known = found.outputs
    return [Answer(m, raw, False, layer=at.name) for m, raw in zip(found.maps, found.raw, strict=True)]
