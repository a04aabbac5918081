"""Drawings of graphs: as SVG, as text and as DOT. What is drawn comes from `build`, its places from `layout`."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ..files import atomic_writer
from .layout import Layout, arrange

#: Points per character of the two sizes of text; a little more than the average, so that boxes hold their text.
_TITLE, _SMALL = 7.6, 6.4
_RADIUS = 19.0
#: Length of the part of an edge in which it changes its lane.
_BEND = 40.0


@dataclass
class Node:
    """A box or a circle: an operation, a layer, something given, or the result."""

    title: str
    kind: str  # input | parameter | constant | op | module | output
    lines: tuple[str, ...] = ()
    name: str = ""  # how the text names what comes out of it
    hint: str = ""  # what a pointer resting on it shows
    gradient: str = ""  # of all that leaves it together

    @property
    def is_round(self) -> bool:
        """Whether it is drawn as a circle: operations with a short sign."""
        return self.kind == "op" and len(self.title) <= 4 and not self.lines

    def size(self) -> tuple[float, float]:
        """Width and height."""
        if self.is_round:
            return 2 * _RADIUS, 2 * _RADIUS
        width = max(len(self.title) * _TITLE, *(len(line) * _SMALL for line in self.lines), 14.0) + 22
        return width, 28 + 15 * len(self.lines)


@dataclass
class Edge:
    """What goes from one node to another: its value, and the gradient that comes back along it."""

    source: int
    target: int
    value: str = ""
    gradient: str = ""
    hint: str = ""
    shape: str = ""


@dataclass
class Drawing:
    """A graph that can be looked at: it shows itself in notebooks, prints as text, and `save` writes it to a file."""

    title: str
    nodes: list[Node]
    edges: list[Edge]
    level: str
    note: str = ""
    across: bool = True  # from left to right, else downward

    # --- forms -------------------------------------------------------------------------------------------------------

    def svg(self) -> str:
        """The drawing as an SVG document, in the colours (light or dark) of whoever looks at it."""
        return _svg(self)

    def dot(self) -> str:
        """The graph in the language of Graphviz."""
        lines = ["digraph {", f'  label="{_quoted(self.title)}"; rankdir={"LR" if self.across else "TB"};']
        for number, node in enumerate(self.nodes):
            label = "\\n".join(map(_quoted, (node.title, *node.lines)))
            shape = "circle" if node.is_round else "ellipse" if node.kind in _GIVEN else "box"
            lines.append(f'  n{number} [label="{label}", shape={shape}];')
        for edge in self.edges:
            label = "\\n".join(map(_quoted, filter(None, (edge.value, edge.gradient and f"∇ {edge.gradient}"))))
            lines.append(f'  n{edge.source} -> n{edge.target} [label="{label}"];')
        return "\n".join([*lines, "}"]) + "\n"

    def text(self) -> str:
        """One line for each node: its name, what it is made of, its value and its gradient."""
        rows: list[tuple[str, str, str, str]] = []
        order = [n for n, node in enumerate(self.nodes) if node.kind in _GIVEN]
        order += [n for n, node in enumerate(self.nodes) if node.kind not in (*_GIVEN, "output")]
        seen: set[str] = set()
        for number in order:
            node = self.nodes[number]
            if node.kind == "constant" or node.name in seen:  # a parameter is drawn once for each use
                continue
            seen.add(node.name)
            out = next((e for e in self.edges if e.source == number), None)
            rows.append((node.name, self._formula(number), out.value if out else "", self._gradient(number)))
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
        lines = [self.title]
        for name, formula, value, gradient in rows:
            line = f"  {name:<{widths[0]}}  {formula:<{widths[1]}}  {value:>{widths[2]}}"
            lines.append((line + (f"   gradient {gradient}" if gradient else "")).rstrip())
        return "\n".join([*lines, *([self.note] if self.note else [])])

    def _formula(self, number: int) -> str:
        node = self.nodes[number]
        if node.kind in _GIVEN:
            return ""
        sources = [self.nodes[e.source].name for e in self.edges if e.target == number]
        if node.title in _INFIX and len(sources) == 2:
            return f"= {sources[0]} {node.title} {sources[1]}"
        title = node.lines[0] if node.kind == "module" else node.title
        return f"= {title}({', '.join(sources)})"

    def _gradient(self, number: int) -> str:
        parts = [e.gradient for e in self.edges if e.source == number and e.gradient]
        whole = self.nodes[number].gradient
        return f"{whole} = {' + '.join(parts)}" if len(parts) > 1 and " … " not in whole else whole

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the drawing to a file; its ending says how: .svg, .html, .dot (or .gv), .txt."""
        target = Path(path)
        forms = {".svg": self.svg, ".html": self.html, ".dot": self.dot, ".gv": self.dot, ".txt": self.text}
        if target.suffix.lower() not in forms:
            raise ValueError(f"a drawing is saved as {', '.join(forms)}, not as '{target.name}'")
        with atomic_writer(target) as file:
            file.write(forms[target.suffix.lower()]().encode())
        return target

    def html(self) -> str:
        """A page that holds the drawing."""
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(self.title)}</title>'
            f"<style>{_PAGE}</style><body>{self.svg()}</body></html>\n"
        )

    def _repr_svg_(self) -> str:
        return self.svg()

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return self.text()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


_GIVEN = ("input", "parameter", "constant")
_INFIX = ("+", "−", "×", "÷")

# --- SVG ---------------------------------------------------------------------------------------------------------

_PAGE = "body{margin:24px;background:#fff}@media(prefers-color-scheme:dark){body{background:#16181d}}"

_STYLE = """
.cg{--ink:#1c2330;--soft:#667085;--line:#98a2b3;--paper:#ffffff;--grad:#c81e3a;--op:#eef2ff;--opl:#4f63d2;
--mod:#eaf6f1;--modl:#2b8a66;--in:#fff6e5;--inl:#c98a14;--par:#f3f0fa;--parl:#8466c4;--out:#1c2330;--outt:#ffffff;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;font-size:13px}
@media(prefers-color-scheme:dark){.cg{--ink:#e6e9ef;--soft:#98a2b3;--line:#5d6678;--paper:#16181d;--grad:#ff7b8f;
--op:#232a4a;--opl:#8b9bf4;--mod:#17352b;--modl:#55c79c;--in:#3a2e14;--inl:#e0ac4c;--par:#2d2640;--parl:#b49bea;
--out:#e6e9ef;--outt:#16181d}}
.cg text{fill:var(--ink);text-anchor:middle;dominant-baseline:central}
.cg .s{font-size:11px;fill:var(--soft)}.cg .t{font-weight:600}
.cg .w{fill:none;stroke:var(--line);stroke-width:1.4}.cg .a{fill:var(--line)}
.cg .v,.cg .g{font-size:11.5px;font-variant-numeric:tabular-nums;paint-order:stroke;stroke:var(--paper);
stroke-width:4px;stroke-linejoin:round}.cg .g{fill:var(--grad)}
.cg .op{fill:var(--op);stroke:var(--opl)}.cg .module{fill:var(--mod);stroke:var(--modl)}
.cg .input{fill:var(--in);stroke:var(--inl)}.cg .parameter,.cg .constant{fill:var(--par);stroke:var(--parl)}
.cg .output{fill:var(--out);stroke:var(--out)}.cg .ot{fill:var(--outt)}
.cg .b{stroke-width:1.4}.cg .h{font-size:14px;font-weight:600;text-anchor:start}.cg .n{text-anchor:start}
"""

_MARGIN = 18.0


def _svg(drawing: Drawing) -> str:
    sizes = [node.size() for node in drawing.nodes]
    turned = sizes if drawing.across else [(h, w) for w, h in sizes]
    widest = max((_SMALL * len(text) for e in drawing.edges for text in (e.value, e.gradient)), default=0.0)
    gap = widest + _BEND + 24 if drawing.across else 76.0
    space = 30.0 if drawing.across else min(widest, 120.0) + 16
    layout = arrange(turned, [(e.source, e.target) for e in drawing.edges], gap, space)
    top = 34.0 if drawing.title else 0.0
    painter = _Painter(drawing, layout, sizes, top)
    body = [painter.edge(number) for number in range(len(drawing.edges))]
    body += [painter.node(number) for number in range(len(drawing.nodes))]
    body += [painter.label(number) for number in range(len(drawing.edges))]
    along, across = layout.extent
    width, height = (along, across) if drawing.across else (across, along)
    side = 0.0 if drawing.across else painter.overhang()
    width = max(width + 2 * _MARGIN + side, 9.0 * len(drawing.title), _SMALL * len(drawing.note) + 2 * _MARGIN)
    height += 2 * _MARGIN + top + (22 if drawing.note else 0)
    if drawing.title:
        body.append(f'<text class="h" x="{_MARGIN}" y="{_MARGIN + 4:g}">{escape(drawing.title)}</text>')
    if drawing.note:
        body.append(f'<text class="s n" x="{_MARGIN}" y="{height - 16:g}">{escape(drawing.note)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cg" role="img" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}"><title>{escape(drawing.title)}</title><style>{_STYLE}</style>'
        + "".join(body)
        + "</svg>\n"
    )


class _Painter:
    """Turns places along and across into SVG."""

    def __init__(self, drawing: Drawing, layout: Layout, sizes: list[tuple[float, float]], top: float) -> None:
        self.drawing, self.layout, self.sizes, self.top = drawing, layout, sizes, top
        self.fan_out: dict[int, int] = {}
        for edge in drawing.edges:
            self.fan_out[edge.source] = self.fan_out.get(edge.source, 0) + 1

    def overhang(self) -> float:
        """Room on the right for labels of a drawing that goes downward."""
        return max((_SMALL * (len(e.value) + len(e.gradient) + 2) / 2 for e in self.drawing.edges), default=0.0)

    def point(self, along: float, across: float) -> tuple[float, float]:
        x, y = (along, across) if self.drawing.across else (across, along)
        return x + _MARGIN, y + _MARGIN + self.top

    def node(self, number: int) -> str:
        node, (x, y) = self.drawing.nodes[number], self.point(*self.layout.centres[number])
        width, height = self.sizes[number]
        hint = f"<title>{escape(node.hint)}</title>" if node.hint else ""
        if node.is_round:
            shape = f'<circle class="b {node.kind}" cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS:g}"/>'
        else:
            corner = height / 2 if node.kind in (*_GIVEN, "output") and not node.lines else 7
            shape = (
                f'<rect class="b {node.kind}" x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" '
                f'height="{height:.1f}" rx="{corner:g}"/>'
            )
        first = y - 7.5 * len(node.lines)
        style = "t ot" if node.kind == "output" else "t"
        texts = [f'<text class="{style}" x="{x:.1f}" y="{first:.1f}">{escape(node.title)}</text>']
        texts += [
            f'<text class="s" x="{x:.1f}" y="{first + 15 * (i + 1):.1f}">{escape(line)}</text>'
            for i, line in enumerate(node.lines)
        ]
        return f"<g>{hint}{shape}{''.join(texts)}</g>"

    def route(self, number: int) -> list[tuple[float, float]]:
        """The points of an edge, in places along and across."""
        edge, (leave, arrive) = self.drawing.edges[number], self.layout.ends[number]
        (a, at_a), (b, at_b) = self.layout.centres[edge.source], self.layout.centres[edge.target]
        start = (a + self.reach(edge.source, leave), at_a + leave)
        end = (b - self.reach(edge.target, arrive) - 5, at_b + arrive)
        return [start, *self.layout.bends[number], end]

    def reach(self, node: int, offset: float) -> float:
        """From the centre of a node to its border, in the direction of drawing."""
        if self.drawing.nodes[node].is_round:
            return float((_RADIUS**2 - min(abs(offset), _RADIUS) ** 2) ** 0.5)
        return self.sizes[node][0 if self.drawing.across else 1] / 2

    def knee(self, number: int) -> tuple[list[tuple[float, float]], int]:
        """The points of an edge with one more, where it bends, and where its straight part (the label's) begins.

        The only edge of a node is straight first; where several leave a node they part first.
        """
        points = self.route(number)
        if self.fan_out[self.drawing.edges[number].source] == 1:
            (a, at_a), (b, _) = points[:2]
            return [points[0], (b - min(_BEND, 0.5 * (b - a)), at_a), *points[1:]], 0
        (a, _), (b, at_b) = points[-2:]
        return [*points[:-1], (a + min(_BEND, 0.5 * (b - a)), at_b), points[-1]], len(points) - 1

    def edge(self, number: int) -> str:
        points, _ = self.knee(number)
        x, y = self.point(*points[0])
        path = [f"M{x:.1f} {y:.1f}"]
        for (a, at_a), (b, at_b) in itertools.pairwise(points):
            bend = 0.45 * (b - a)
            (x1, y1), (x2, y2), (x3, y3) = self.point(a + bend, at_a), self.point(b - bend, at_b), self.point(b, at_b)
            path.append(f"C{x1:.1f} {y1:.1f} {x2:.1f} {y2:.1f} {x3:.1f} {y3:.1f}")
        end, at = points[-1]
        tip = [self.point(end + 5, at), self.point(end - 3, at - 3.6), self.point(end - 3, at + 3.6)]
        arrow = " ".join(f"{px:.1f},{py:.1f}" for px, py in tip)
        return f'<path class="w" d="{"".join(path)}"/><polygon class="a" points="{arrow}"/>'

    def label(self, number: int) -> str:
        """Value above and gradient below the edge (beside it in a drawing that goes downward)."""
        edge = self.drawing.edges[number]
        rows = [(kind, text) for kind, text in (("v", edge.value), ("g", edge.gradient)) if text]
        if not rows:
            return ""
        points, first = self.knee(number)
        (a, at_a), (b, at_b) = points[first : first + 2]
        x, y = self.point((a + b) / 2, (at_a + at_b) / 2)
        hint = f"<title>{escape(edge.hint)}</title>" if edge.hint else ""
        crowded = first > 0 and sum(e.target == edge.target for e in self.drawing.edges) > 1
        if not self.drawing.across:
            top = y - 7 * (len(rows) - 1)
            meets = sum(e.target == edge.target for e in self.drawing.edges) > 1
            left = meets and self.layout.ends[number][1] < 0
            x, anchor = (x - 8, "end") if left else (x + 8, "start")
            texts = [
                f'<text class="{k}" style="text-anchor:{anchor}" x="{x:.1f}" y="{top + 14 * i:.1f}">{escape(t)}</text>'
                for i, (k, t) in enumerate(rows)
            ]
        elif crowded:  # in one line, or the labels of edges that arrive side by side would lie on each other
            spans = "".join(f'<tspan class="{k}" dx="{6 * i}">{escape(t)}</tspan>' for i, (k, t) in enumerate(rows))
            upper = self.layout.ends[number][1] <= 0
            texts = [f'<text class="v" x="{x:.1f}" y="{y - 9 if upper else y + 9.5:.1f}">{spans}</text>']
        else:
            places = {"v": y - 9, "g": y + 9.5}
            texts = [f'<text class="{k}" x="{x:.1f}" y="{places[k]:.1f}">{escape(t)}</text>' for k, t in rows]
        return f"<g>{hint}{''.join(texts)}</g>"
