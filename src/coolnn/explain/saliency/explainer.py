"""Explainer: one network with its pictures' preprocessing and its classes' names, asked again and again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import nn
from ...data import Preprocessing
from ...formats import Model
from ..layers import Layer
from .methods import METHODS, check_settings, method_name
from .pictures import prepared
from .programs import Programs
from .question import Question
from .result import SaliencyMap
from .target import Target, Wanted, answer_of, index_of, name_of, selection

#: Shapes of input, and layers that are explained, whose programs are kept.
_KEPT = 4


class Explainer:
    """Why a network answers what it does: saliency maps by many methods, compiled once and asked for many pictures.

    net: a network, or a Model, which knows how pictures are prepared and what its classes are called. preprocessing,
    labels: in place of the Model's; a network of one's own takes pixels of 0..1 at the picture's own size. The network
    is not changed, and the same question has the same answer at every run.

    >>> import coolnn as cool, numpy as np
    >>> explain = cool.explain.Explainer(cool.models.create("lenet5"), labels=list("0123456789"))
    >>> picture = np.random.default_rng(0).integers(0, 255, (28, 28), np.uint8)
    >>> explain(picture, "layer_cam", layer="conv1", target="7").raw.shape
    (28, 28)
    """

    def __init__(
        self,
        net: nn.Module | Model,
        *,
        preprocessing: Preprocessing | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        model = net if isinstance(net, Model) else Model(net)
        self.net = model.net
        own = getattr(self.net, "preprocessing", None)  # that of the zoo's networks
        self.preprocessing = preprocessing or model.preprocessing or (own if isinstance(own, Preprocessing) else None)
        self.labels = list(model.labels if labels is None else labels)
        self._programs: dict[tuple[tuple[int, ...], str | Layer], Programs] = {}

    def __call__(
        self,
        picture: Any,
        method: str = "grad_cam",
        target: Wanted | None = None,
        *,
        of: str | Layer = "output",
        seed: int = 0,
        **settings: Any,
    ) -> SaliencyMap:
        """The map of one method for one target; arguments and errors as those of `saliency`."""
        return self.several(picture, [target], method, of=of, seed=seed, **settings)[0]

    def several(
        self,
        picture: Any,
        targets: Sequence[Wanted | None],
        method: str = "grad_cam",
        *,
        of: str | Layer = "output",
        seed: int = 0,
        **settings: Any,
    ) -> list[SaliencyMap]:
        """The maps for several targets, which share the work that does not depend on the target."""
        method = method_name(method)
        check_settings(method, settings)
        if not targets:
            raise ValueError("name at least one target; None stands for the network's answer")
        x, seen = prepared(picture, self.net, self.preprocessing)
        programs = self.programs(x.shape[1:], of)
        shape, is_answer = programs.of.shape, programs.of == programs.layers.output
        labels = self.labels if is_answer else []
        known = programs.outputs(x) if None in targets else None
        answer = () if known is None else answer_of(known[0])
        indices = [answer if wanted is None else index_of(wanted, shape, labels) for wanted in targets]
        selections = np.stack([selection(index, shape) for index in indices])
        question = Question(programs, x, selections, is_answer and len(shape) == 1, self.preprocessing, seed, known)
        answers = METHODS[method](question, **settings)
        shares = question.shares(question.outputs)[0]
        maps = []
        made = {"of": programs.of.name, "seed": seed, **settings}
        for k, found in enumerate(answers):
            index, score = indices[k], float(question.values[k])
            probability = float(shares[index]) if question.classes else None
            target = Target(index, name_of(index, labels, programs.of.name), score, probability)
            maps.append(
                SaliencyMap(
                    method=method,
                    map=np.ascontiguousarray(found.map, np.float32),
                    raw=found.raw,
                    target=target,
                    picture=seen,
                    signed=found.signed,
                    layer=found.layer,
                    details=found.details,
                    settings=made,
                    explainer=self,
                    question=dataclasses.replace(question, selections=selections[k : k + 1]),
                )
            )
        return maps

    def programs(self, shape: Sequence[int], of: str | Layer = "output") -> Programs:
        """The compiled programs for inputs of a shape (C, H, W); those that were not used for longest are forgotten."""
        key = (tuple(shape), of)
        found = self._programs.pop(key) if key in self._programs else Programs(self.net, shape, of)
        self._programs[key] = found
        while len(self._programs) > _KEPT:
            del self._programs[next(iter(self._programs))]
        return found


def saliency(
    net: nn.Module | Model,
    picture: Any,
    method: str = "grad_cam",
    target: Wanted | None = None,
    *,
    of: str | Layer = "output",
    seed: int = 0,
    **settings: Any,
) -> SaliencyMap:
    """What in a picture a network's answer rests on: a map of the picture, with what is needed to judge it.

    picture: a path, a PIL image, an array (H, W[, C]) of uint8 or of floats 0..1, or an input (1, C, H, W). method: one
    of `cool.explain.saliency.METHODS`; settings: that method's own, such as `layer` for Grad-CAM. target: a class's
    number or name, None for the network's answer. of: the layer whose numbers are explained in place of the output's,
    target then being a channel, or (channel, row, column). For many pictures make an `Explainer`.

    Raises ValueError that says what there is for a method, class, layer or setting that is not, DataError for what is
    no picture, FileNotFoundError for a file that is not there.

    >>> import coolnn as cool, numpy as np
    >>> picture = np.random.default_rng(0).integers(0, 255, (28, 28), np.uint8)
    >>> found = cool.explain.saliency(cool.models.create("lenet5"), picture, target=3)
    >>> found.map.shape, found.layer, found.raw.shape
    ((28, 28), 'relu2', (10, 10))
    >>> 0 <= found.perturbation.deletion <= 1
    True
    """
    return Explainer(net)(picture, method, target, of=of, seed=seed, **settings)
