"""The methods by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from . import activations, gradients, masking
from .question import Answer

Method = Callable[..., list[Answer]]

METHODS: dict[str, Method] = {
    function.__name__: function
    for function in (
        gradients.gradient,
        gradients.gradient_input,
        gradients.smooth_grad,
        gradients.integrated_gradients,
        gradients.deconvnet,
        gradients.guided_backprop,
        activations.grad_cam,
        activations.grad_cam_pp,
        activations.layer_cam,
        masking.occlusion,
        masking.rise,
    )
}


def method_name(name: str) -> str:
    """The name as in METHODS: "Grad-CAM++" is grad_cam_pp. Raises ValueError that lists them for an unknown one."""
    plain = name.lower().replace("++", "_pp").replace("-", "_").replace(" ", "_")
    if plain in METHODS:
        return plain
    close = difflib.get_close_matches(plain, METHODS, 1, 0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ValueError(f"there is no method {name!r}; {hint}there are: {', '.join(METHODS)}")


def check_settings(method: str, settings: Mapping[str, Any]) -> None:
    """Raises ValueError for a setting that the method does not have, with those that it has."""
    known = list(inspect.signature(METHODS[method]).parameters)[1:]
    for name in settings:
        if name not in known:
            what = f"its settings are: {', '.join(known)}" if known else "it has none"
            raise ValueError(f"{method} has no setting {name!r}; {what}")
