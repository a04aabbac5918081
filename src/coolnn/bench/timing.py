"""Timing in turn, so that what slows the machine slows everybody."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of each counted run."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one: the figure to quote."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """The shortest."""
        return min(self.seconds)


#: The threads of some libraries go on spinning for up to so long after their work is done, and would slow whoever
#: comes next.
PAUSE = 0.25
#: Shorter work is repeated inside a measurement until it takes about this long.
SHORTEST = 0.02


def interleave(
    runs: Mapping[str, Callable[[], object]], seconds: float = 5.0, least: int = 5, pause: float = PAUSE
) -> dict[str, Timing]:
    """Times callables in turn, A B C A B C ..., for about `seconds` and at least `least` rounds, after a warm-up.

    Before each turn there is a pause, and one run that is not counted if the work is short.
    """
    repeats = {}
    for name, run in runs.items():
        run()
        start = time.perf_counter()
        run()
        repeats[name] = max(1, min(10_000, round(SHORTEST / max(time.perf_counter() - start, 1e-7))))
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < least:
        for name, run in runs.items():
            time.sleep(pause)
            if repeats[name] > 1:
                run()
            start = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            times[name].append((time.perf_counter() - start) / repeats[name])
    return {name: Timing(tuple(values)) for name, values in times.items()}
