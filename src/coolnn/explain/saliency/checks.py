"""Whether a saliency map means anything: does it change with the weights, and do the places that it names matter?"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ... import nn
from ...tensor import from_numpy

if TYPE_CHECKING:
    from .question import Question
    from .result import SaliencyMap

Array = NDArray[Any]

#: Mean rank correlation with maps of random networks, from which on a map is said to change partly, and hardly.
_PARTLY, _HARDLY = 0.35, 0.65
_BLUR = 5 / 224  # standard deviation as a share of the picture's shorter side (Petsiuk et al.: 5 of 224 pixels)


# --- randomisation ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """The map after the weights of some modules were drawn anew, against the map before."""

    down_to: str  # the earliest module with random weights; all behind it have, too
    modules: int
    correlation: float  # of ranks (Spearman's)
    ssim: float


@dataclass(frozen=True)
class Randomization:
    """What becomes of a map when the network's weights become random, from the output backward."""

    stages: tuple[Stage, ...]
    correlation: float  # means over several networks whose weights are all random
    ssim: float

    @property
    def verdict(self) -> str:
        """What this says of the map, in words."""
        share = f"rank correlation {self.correlation:.2f}, SSIM {self.ssim:.2f} with maps of random networks"
        if abs(self.correlation) < _PARTLY:
            return f"depends on the weights ({share})"
        if abs(self.correlation) < _HARDLY:
            return f"depends on the weights in part ({share}): some of it shows the picture, not the network"
        return f"hardly depends on the weights ({share}): it shows the picture, not what the network learned"

    @property
    def passed(self) -> bool:
        """Whether the map depends on the weights."""
        return abs(self.correlation) < _PARTLY

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "passed": self.passed, "verdict": self.verdict}


def randomization(result: SaliencyMap, stages: int = 5, draws: int = 3) -> Randomization:
    """Makes a map anew with weights that become random from the output backward (Adebayo et al. 2018).

    arXiv:1810.03292. Weights are drawn from the normal distribution with mean and deviation of each parameter's own,
    in a copy of the network. stages: into how many steps the way from the output to the whole network is cut; draws:
    how many wholly random networks the verdict rests on. Raises ValueError for less than one of either.
    """
    if min(stages, draws) < 1:
        raise ValueError(f"a check has at least 1 stage and 1 draw, not {stages} and {draws}")
    from .explainer import Explainer

    twin = copy.deepcopy(result.explainer.net)
    explainer = Explainer(twin, preprocessing=result.explainer.preprocessing)

    def compared() -> tuple[float, float]:
        other = explainer(result.question.x, result.method, result.target.index, **result.settings)
        return rank_correlation(result.map, other.map), ssim(_unit(result), _unit(other))

    rng = np.random.default_rng([result.settings["seed"], 1])
    owners = [(name, module) for name, module in twin.named_modules() if any(True for _ in module.parameters(False))]
    owners.reverse()
    found: list[Stage] = []
    done = 0
    for end in sorted({len(owners) * (i + 1) // stages for i in range(stages)} - {0}):
        _draw([module for _, module in owners[done:end]], rng)
        found.append(Stage(owners[end - 1][0], end, *compared()))
        done = end
    wholly = [(found[-1].correlation, found[-1].ssim)] if found else [compared()]
    for _ in range(draws - 1):
        _draw([module for _, module in owners], rng)
        wholly.append(compared())
    correlation, similarity = np.mean(wholly, 0).tolist()
    return Randomization(tuple(found), correlation, similarity)


def _draw(modules: Sequence[nn.Module], rng: np.random.Generator) -> None:
    for module in modules:
        for parameter in module.parameters(recurse=False):
            now = parameter.numpy()
            drawn = now.mean() + now.std() * rng.standard_normal(now.shape, np.float32)
            parameter.copy_(from_numpy(drawn.astype(now.dtype)))


def _unit(result: SaliencyMap) -> Array:
    """A map scaled to 0..1, for SSIM."""
    values = np.nan_to_num(result.map.astype(np.float64))
    low, high = float(values.min()), float(values.max())
    unit: Array = (values - low) / ((high - low) or 1.0)
    return unit


def rank_correlation(a: Array, b: Array) -> float:
    """Spearman's correlation of two arrays of one size, ties sharing their mean rank; 0 where one is constant.

    >>> import coolnn as cool, numpy as np
    >>> round(cool.explain.saliency.rank_correlation(np.array([1, 2, 3]), np.array([1, 4, 9])), 6)
    1.0
    """
    first, second = (_ranks(np.nan_to_num(x).reshape(-1)) for x in (a, b))
    first, second = first - first.mean(), second - second.mean()
    both = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / both if both > 0 else 0.0


def _ranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Array = (last - (counts - 1) / 2)[inverse.reshape(-1)]
    return ranks


def ssim(a: Array, b: Array, window: int = 7) -> float:
    """The mean structural similarity of two maps with values 0..1 (Wang et al. 2004), over square windows.

    >>> import coolnn as cool, numpy as np
    >>> cool.explain.saliency.ssim(np.eye(9), np.eye(9))
    1.0
    """
    size = min(window, *a.shape)
    mean_a, mean_b = _means(a, size), _means(b, size)
    unbiased = size * size / max(size * size - 1, 1)
    var_a, var_b = (unbiased * (_means(x * x, size) - m * m) for x, m in ((a, mean_a), (b, mean_b)))
    both = unbiased * (_means(a * b, size) - mean_a * mean_b)
    c1, c2 = 0.01**2, 0.03**2
    share = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float((share / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


def _means(values: Array, size: int) -> Array:
    """The mean of each size x size window that lies inside."""
    sums = np.pad(np.asarray(values, np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    total: Array = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return total / (size * size)


# --- deletion and insertion ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Perturbation:
    """What becomes of the class's share when pixels are taken away, or shown, the most important ones first."""

    deletion: float  # area under its curve: small is good
    insertion: float  # large is good
    deleted: tuple[float, ...]  # the share after each step, beginning with the whole picture
    inserted: tuple[float, ...]  # beginning with the blurred picture

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def perturbation(result: SaliencyMap, steps: int = 56) -> Perturbation:
    """The deletion and insertion scores of a map (Petsiuk et al. 2018, arXiv:1806.07421), each a number of 0..1.

    Pixels are taken away in `steps` equal parts, the most important first, zeros taking their place in the network's
    input; and they are shown in a picture that was blurred. The score is the mean height of the curve of the class's
    share; for what is no class, of the number as a share of what it was. Where values are equal the order is drawn.
    Raises ValueError for less than one step.
    """
    if steps < 1:
        raise ValueError(f"pixels are taken away in 1 step or more, not {steps}")
    question = result.question
    h, w = result.map.shape
    order = np.random.default_rng([result.settings["seed"], 2]).permutation(h * w)
    order = order[np.argsort(-np.nan_to_num(result.map).reshape(-1)[order], kind="stable")]
    rank = np.empty(h * w, np.int64)
    rank[order] = np.arange(h * w)
    ends = np.linspace(0, h * w, steps + 1)
    hidden = (rank.reshape(h, w) < ends[:, None, None]).astype(np.float32)
    deleted = _curve(question, 1 - hidden, np.zeros_like(question.x))
    inserted = _curve(question, hidden, _blurred(question.x))
    return Perturbation(_area(deleted), _area(inserted), tuple(deleted.tolist()), tuple(inserted.tolist()))


def _curve(question: Question, masks: Array, fill: Array) -> Array:
    shares = question.masked(masks, fill, shares=True)[:, 0]
    return shares if question.classes else shares / (question.values[0] or 1.0)


def _area(curve: Array) -> float:
    return float((curve[:-1] + curve[1:]).mean() / 2)


def _blurred(x: Array) -> Array:
    """An input (1, C, H, W) without its details."""
    deviation = max(1.0, _BLUR * min(x.shape[2:]))
    radius = round(2 * deviation)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2)
    kernel /= kernel.sum()
    for axis in (2, 3):
        reach = [(radius, radius) if i == axis else (0, 0) for i in range(4)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, reach, mode="edge"), len(kernel), axis)
        x = np.asarray(windows @ kernel, np.float32)
    return x
