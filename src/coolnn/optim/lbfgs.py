"""L-BFGS for functions of one long vector, such as a picture: one evaluation a step, no parameters, no tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

_CHUNK = 4096  # products that are summed in float32


class LBFGS:
    """Minimises a function by gradients and their last few changes (Nocedal 1980; Liu & Nocedal 1989).

    `x = minimiser.step(x, value, gradient)`, as often as wanted: the function's value and gradient at x in, the next
    place out, all of the shape of the first x. A step that raised the value by Armijo's measure is taken back and tried
    again at a part of its length, so `best` only falls. `history`: how many changes are kept, two vectors each.
    `first_step`: length of the first step, the largest change of a number in it. Results do not depend on threads.
    Raises ValueError for a history below 1.

    >>> import numpy as np, coolnn as cool
    >>> minimiser, x = cool.optim.LBFGS(), np.array([5.0, -3.0], np.float32)
    >>> scale = np.array([1.0, 20.0], np.float32)
    >>> for _ in range(30):
    ...     x = minimiser.step(x, float((scale * x * x).sum()), 2 * scale * x)
    >>> bool(np.abs(x).max() < 1e-3)
    True
    """

    def __init__(self, history: int = 10, first_step: float = 1.0) -> None:
        if history < 1:
            raise ValueError(f"L-BFGS needs a history of 1 or more, not {history}")
        self.history, self.first_step = history, first_step
        self.best = np.inf
        #: How x changed, how the gradient did, and the product of the two; oldest first.
        self._pairs: list[tuple[Array, Array, float]] = []
        self._place: Array | None = None  # the best x, with its gradient, and the step from there that is being tried
        self._gradient: Array | None = None
        self._direction: Array | None = None
        self._slope, self._length = 0.0, 1.0

    def step(self, x: Array, value: float, gradient: Array) -> Array:
        """The place to try next, after the function's value and gradient at the one tried now."""
        shape, x, gradient = x.shape, x.reshape(-1), np.array(gradient, np.float32).reshape(-1)
        if self._direction is not None and not value <= self.best + 1e-4 * self._length * self._slope:
            return self._shorter(value).reshape(shape)
        if self._place is not None and self._gradient is not None:
            self._remember(x - self._place, gradient - self._gradient)
        self.best, self._place, self._gradient = value, np.array(x, np.float32), gradient
        direction = self._downhill(gradient)
        slope = dot(gradient, direction)
        if not slope < 0:  # what is kept misleads, by rounding or by a bend of the function: begin anew
            self._pairs = []
            direction, slope = -gradient, -dot(gradient, gradient)
        self._direction, self._slope, self._length = direction, slope, 1.0
        if not self._pairs:
            self._length = self.first_step / max(float(np.abs(direction).max()), 1e-30)
        return (self._place + np.float32(self._length) * direction).reshape(shape)

    @property
    def place(self) -> Array | None:
        """The best place so far, as a vector."""
        return self._place

    def _shorter(self, value: float) -> Array:
        """A place on the same line, nearer: where a parabola through what is known is lowest, within bounds."""
        assert self._place is not None and self._direction is not None
        rise = value - self.best - self._length * self._slope
        part = -self._slope * self._length / (2 * rise) if np.isfinite(rise) and rise > 0 else 0.1
        self._length *= min(max(part, 0.1), 0.5)
        if self._length < 1e-10:  # nothing lower lies on this line as far as the numbers tell
            self._direction, self._pairs = None, []
            return self._place
        return self._place + np.float32(self._length) * self._direction

    def _remember(self, move: Array, turn: Array) -> None:
        """Keeps a change, unless the function bends down along it."""
        product = dot(move, turn)
        if product > 1e-10 * dot(turn, turn):
            self._pairs = [*self._pairs, (move, turn, product)][-self.history :]

    def _downhill(self, gradient: Array) -> Array:
        """-H·gradient by the two-loop recursion, H the inverse Hessian as the history has it."""
        q = -gradient
        shares = []
        for move, turn, product in reversed(self._pairs):
            shares.append(dot(move, q) / product)
            q -= np.float32(shares[-1]) * turn
        if self._pairs:
            _, turn, product = self._pairs[-1]
            q *= np.float32(product / dot(turn, turn))
        for (move, turn, product), share in zip(self._pairs, reversed(shares), strict=True):
            q += np.float32(share - dot(turn, q) / product) * move
        return q

    def state_dict(self) -> dict[str, Any]:
        """All that the next steps depend on."""
        return {
            "pairs": list(self._pairs),
            "best": float(self.best),
            "place": self._place,
            "gradient": self._gradient,
            "direction": self._direction,
            "slope": self._slope,
            "length": self._length,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a state."""
        self._pairs = [(move, turn, float(product)) for move, turn, product in state["pairs"]]
        self.best, self._place, self._gradient = state["best"], state["place"], state["gradient"]
        self._direction, self._slope, self._length = state["direction"], state["slope"], state["length"]


def dot(a: Array, b: Array) -> float:
    """The sum of products of two float32 vectors, the same on any number of threads."""
    whole = a.size - a.size % _CHUNK
    parts = np.einsum("ij,ij->i", a[:whole].reshape(-1, _CHUNK), b[:whole].reshape(-1, _CHUNK))
    return float(parts.sum(dtype=np.float64)) + float(np.einsum("i,i->", a[whole:], b[whole:]))
