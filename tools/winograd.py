"""Computes the matrices of Winograd's convolution exactly and writes them to cpp/winograd_points.h.

`python tools/winograd.py` rewrites the header, `python tools/winograd.py --check` fails if it differs. All arithmetic
is in numbers a + b·√2 with fractions a and b, so nothing is rounded before the last step.

F(m, r) gives m outputs of a correlation with r taps from m + r - 1 multiplications: y = AT · ((G · g) ∘ (BT · d)).
It evaluates polynomials at m + r - 2 points and at infinity and interpolates (Toom and Cook): with
M(x) = Π(x - p), the row of a point p is (1, p, p², ...) / M'(p) in G, (1, p, p², ...) in A and the coefficients of
M(x) / (x - p) in BT. Points at 0 and in pairs ±p keep the matrices sparse; the pairs at √2/2 and √2 keep the rounding
error small (Barabasz et al., 2020, Error analysis and improving the accuracy of Winograd convolution).
"""

from __future__ import annotations

import argparse
import math
import pathlib
import sys
from dataclasses import dataclass
from fractions import Fraction

HEADER = pathlib.Path(__file__).resolve().parent.parent / "cpp" / "winograd_points.h"
TAPS = 3
DIGITS = 17  # more than a float can tell apart


@dataclass(frozen=True)
class Surd:
    """The number rational + root·√2."""

    rational: Fraction = Fraction(0)
    root: Fraction = Fraction(0)

    def __add__(self, other: Surd) -> Surd:
        return Surd(self.rational + other.rational, self.root + other.root)

    def __neg__(self) -> Surd:
        return Surd(-self.rational, -self.root)

    def __sub__(self, other: Surd) -> Surd:
        return self + -other

    def __mul__(self, other: Surd) -> Surd:
        return Surd(
            self.rational * other.rational + 2 * self.root * other.root,
            self.rational * other.root + self.root * other.rational,
        )

    def inverse(self) -> Surd:
        norm = self.rational**2 - 2 * self.root**2
        return Surd(self.rational / norm, -self.root / norm)

    def decimal(self) -> str:
        """Rounded to DIGITS decimals; the square root is taken of a whole number, so the last one is right."""
        scale = 10 ** (DIGITS + 3)
        root = math.isqrt(2 * (scale * self.root.numerator) ** 2) * (1 if self.root >= 0 else -1)
        value = self.rational + Fraction(root, scale * self.root.denominator)
        text = f"{'-' if value < 0 else ''}{self._digits(abs(value))}"
        return "0.0f" if text.lstrip("-") == "0.0" else text + "f"

    @staticmethod
    def _digits(value: Fraction) -> str:
        whole = round(value * 10**DIGITS)
        text = f"{whole // 10**DIGITS}.{whole % 10**DIGITS:0{DIGITS}d}".rstrip("0")
        return text + "0" if text.endswith(".") else text

    def __str__(self) -> str:
        if self.root == 0:
            return str(self.rational)
        numerator = {1: "√2", -1: "-√2"}.get(self.root.numerator, f"{self.root.numerator}√2")
        root = numerator if self.root.denominator == 1 else f"{numerator}/{self.root.denominator}"
        return root if self.rational == 0 else f"{self.rational} + {root}"


ZERO, ONE = Surd(), Surd(Fraction(1))
Matrix = list[list[Surd]]


def polynomial(roots: list[Surd]) -> list[Surd]:
    """Coefficients of Π(x - root), the constant one first."""
    coefficients = [ONE]
    for root in roots:
        shifted = [ZERO, *coefficients]
        scaled = [-root * c for c in coefficients] + [ZERO]
        coefficients = [a + b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


def powers(point: Surd, count: int) -> list[Surd]:
    values = [ONE]
    while len(values) < count:
        values.append(values[-1] * point)
    return values


def matrices(outputs: int, points: list[Surd]) -> tuple[Matrix, Matrix, Matrix]:
    """BT (n, n), G (n, TAPS) and AT (outputs, n) for the given finite points and infinity, n = outputs + TAPS - 1."""
    n = outputs + TAPS - 1
    assert len(points) == n - 1
    bt, g, a = [], [], []
    for i, point in enumerate(points):
        others = points[:i] + points[i + 1 :]
        slope = ONE
        for other in others:
            slope = slope * (point - other)
        bt.append([*polynomial(others), ZERO])
        g.append([slope.inverse() * power for power in powers(point, TAPS)])
        a.append(powers(point, outputs))
    bt.append(polynomial(points))
    g.append([ZERO] * (TAPS - 1) + [ONE])
    a.append([ZERO] * (outputs - 1) + [ONE])
    return bt, g, [list(column) for column in zip(*a, strict=True)]


def is_correlation(bt: Matrix, g: Matrix, at: Matrix) -> bool:
    """Whether AT · ((G · g) ∘ (BT · d)) is the correlation of d with g, for every d and g (it is bilinear)."""
    n, outputs = len(bt), len(at)
    for output in range(outputs):
        for tap in range(TAPS):
            for position in range(n):
                total = ZERO
                for k in range(n):
                    total = total + at[output][k] * g[k][tap] * bt[k][position]
                if total != (ONE if position == output + tap else ZERO):
                    return False
    return True


def pairs(*values: Surd) -> list[Surd]:
    """0, then each value with its negative: the order that the transforms in kernels/winograd_transform.h rely on."""
    return [ZERO, *(signed for value in values for signed in (value, -value))]


INSTANCES = {
    "WinogradF4": (4, pairs(Surd(root=Fraction(1, 2)), Surd(root=Fraction(1)))),
    "WinogradF2": (2, pairs(ONE)),
}


def render() -> str:
    """The text of cpp/winograd_points.h."""
    lines = [
        "// Generated by tools/winograd.py, where the mathematics is explained; do not edit.",
        "#pragma once",
        "",
        "namespace coolnn {",
    ]
    for name, (outputs, points) in INSTANCES.items():
        bt, g, at = matrices(outputs, points)
        assert is_correlation(bt, g, at)
        lines += [
            "",
            f"// F({outputs}x{outputs}, {TAPS}x{TAPS}) with the points {', '.join(map(str, points))} and infinity.",
            f"struct {name} {{",
            f"  static constexpr int OUTPUTS = {outputs};",
            f"  static constexpr int POINTS = {len(bt)};",
        ]
        for label, matrix in (("BT", bt), ("G", g), ("AT", at)):
            rows, columns = ("OUTPUTS" if label == "AT" else "POINTS"), (str(TAPS) if label == "G" else "POINTS")
            lines.append(f"  static constexpr float {label}[{rows}][{columns}] = {{")
            lines += [f"      {{{', '.join(value.decimal() for value in row)}}}," for row in matrix]
            lines.append("  };")
        lines.append("};")
    lines += ["", "}  // namespace coolnn", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail if the header is not what would be written")
    if parser.parse_args().check:
        if HEADER.read_text() != render():
            sys.exit(f"{HEADER} is not what tools/winograd.py writes; run it without --check")
    else:
        HEADER.write_text(render())


if __name__ == "__main__":
    main()
