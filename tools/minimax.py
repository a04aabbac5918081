"""Prints the polynomial coefficients in cpp/simd.h and cpp/simd_math.h: minimax fits at 40 digits (needs mpmath).

Each fit makes the greatest weighted error of a polynomial as small as it can be, by Remez's exchange: solve for the
polynomial whose errors at n + 2 points are equal with alternating signs, move the points to where the errors are
greatest, repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp

mp.mp.dps = 40
Real = Any  # mpmath's numbers have no types
Function = Callable[[Real], Real]
GRID = 160


def extrema(errors: list[Real], count: int) -> list[int]:
    """The places of the greatest error of each sign in turn, `count` of them at most."""
    runs: list[list[int]] = [[0]]
    for i in range(1, len(errors)):
        if (errors[i] > 0) == (errors[i - 1] > 0):
            runs[-1].append(i)
        else:
            runs.append([i])
    places = [max(run, key=lambda i: abs(errors[i])) for run in runs]
    while len(places) > count:
        places.pop(0 if abs(errors[places[0]]) < abs(errors[places[-1]]) else -1)
    return places


def fit(f: Function, weight: Function, low: float, high: float, degree: int) -> tuple[list[Real], Real]:
    """Coefficients, lowest power first, and the greatest weighted error."""
    low, high = mp.mpf(low), mp.mpf(high)
    xs = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (k + mp.mpf(1) / 2) / GRID) for k in range(GRID)]
    rows = [[x**power * weight(x) for power in range(degree + 1)] for x in xs]
    values = [f(x) * weight(x) for x in xs]
    count = degree + 2
    places = [round((GRID - 1) * (1 - float(mp.cos(mp.pi * i / (count - 1)))) / 2) for i in range(count)]
    while True:
        system = mp.matrix([[*rows[place], (-1) ** i] for i, place in enumerate(places)])
        solution = mp.lu_solve(system, mp.matrix([values[place] for place in places]))
        coefficients = [solution[i] for i in range(degree + 1)]
        errors = [v - mp.fdot(row, coefficients) for v, row in zip(values, rows, strict=True)]
        moved = extrema(errors, count)
        if len(moved) < count or moved == places:
            return coefficients, max(abs(e) for e in errors)
        places = moved


def exp_rest(r: Real) -> Real:
    """(exp(r) - 1 - r) / r^2"""
    return (mp.exp(r) - 1 - r) / r**2 if r else mp.mpf(1) / 2


def log_rest(m: Real) -> Real:
    """(log(1 + m) - m + m^2 / 2) / m^3"""
    return (mp.log1p(m) - m + m * m / 2) / m**3 if m else mp.mpf(1) / 3


def erf_ratio(s: Real) -> Real:
    """erf(x) / x with x^2 = s"""
    return mp.erf(mp.sqrt(s)) / mp.sqrt(s)


def tanh_rest(s: Real) -> Real:
    """(tanh(x) / x - 1) / x^2 with x^2 = s"""
    return (mp.tanh(mp.sqrt(s)) / mp.sqrt(s) - 1) / s


# name, function, weight (which makes the error that of the final result), interval, degree
FITS: list[tuple[str, Function, Function, float, float, int]] = [
    ("exp", exp_rest, lambda r: r * r + mp.mpf("1e-9"), -0.3476, 0.3476, 5),
    ("log", log_rest, lambda m: abs(m**3 / mp.log1p(m)), 0.5**0.5 - 1, 2**0.5 - 1, 8),
    ("erf, small", erf_ratio, lambda s: 1 / erf_ratio(s), 0, 1, 6),
    ("erf, log of 1 - erf", lambda x: mp.log(mp.erfc(x)), lambda x: mp.erfc(x) + mp.mpf("1e-9"), 0.97, 4, 6),
    ("tanh, small", tanh_rest, lambda s: s + mp.mpf("1e-9"), 1e-5, 0.4, 4),
]

if __name__ == "__main__":
    for name, f, weight, low, high, degree in FITS:
        coefficients, error = fit(f, weight, low, high, degree)
        print(f"{name}: greatest error {float(error):.2g}; highest power first:")
        print("   ", ", ".join(mp.nstr(c, 10) for c in reversed(coefficients)))
