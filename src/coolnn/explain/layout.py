"""Layered drawing of a directed graph (Sugiyama, Tagawa & Toda 1981): layers, few crossings, straight long edges."""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

#: Width of the lane that an edge takes where it passes a layer.
_LANE = 12.0
_SWEEPS = 12


@dataclass(eq=False)
class _Vertex:
    """A node, or the place where a long edge passes through a layer (node None)."""

    node: int | None
    size: float  # across the direction of drawing
    layer: int
    at: float = 0.0


@dataclass
class Layout:
    """Where things are: `centres` along and across the direction of drawing, `bends` of each edge between its ends."""

    centres: list[tuple[float, float]]
    bends: list[list[tuple[float, float]]]
    extent: tuple[float, float]
    ends: list[tuple[float, float]]  # for each edge the offsets, across, of its ends from the centres of its nodes


def arrange(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]], gap: float, space: float) -> Layout:
    """Places nodes of `sizes` (along, across) so that edges (from, to) go forward; the graph must have no cycle.

    `gap` is left between layers, `space` between neighbours in a layer.
    """
    layer_of = _layers(len(sizes), edges)
    vertices = [_Vertex(i, sizes[i][1], layer_of[i]) for i in range(len(sizes))]
    chains = [_chain(vertices, layer_of, a, b) for a, b in edges]
    links = [(a, b) for chain in chains for a, b in itertools.pairwise(chain)]
    before: list[list[int]] = [[] for _ in vertices]
    after: list[list[int]] = [[] for _ in vertices]
    for a, b in links:
        after[a].append(b)
        before[b].append(a)
    rows = _order(vertices, before, after)
    _across(vertices, rows, before, after, space)
    depth, along = [max((sizes[v][0] for v in row if vertices[v].node is not None), default=0.0) for row in rows], 0.0
    middles = []
    for thickness in depth:
        middles.append(along + thickness / 2)
        along += thickness + gap
    centres = [(middles[layer_of[i]], vertices[i].at) for i in range(len(sizes))]
    bends = [[(middles[vertices[v].layer], vertices[v].at) for v in chain[1:-1]] for chain in chains]
    width = max((v.at + v.size / 2 for v in vertices), default=0.0)
    return Layout(centres, bends, (along - gap if rows else 0.0, width), _ends(sizes, edges, chains, vertices))


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each node: after all that lead to it, and sources as near as can be to what they lead to."""
    after: list[list[int]] = [[] for _ in range(count)]
    degree = [0] * count
    for a, b in edges:
        after[a].append(b)
        degree[b] += 1
    sources = [i for i in range(count) if degree[i] == 0]
    layer, waiting = [0] * count, list(sources)
    done = 0
    while waiting:
        node = waiting.pop()
        done += 1
        for follower in after[node]:
            layer[follower] = max(layer[follower], layer[node] + 1)
            degree[follower] -= 1
            if degree[follower] == 0:
                waiting.append(follower)
    if done != count:
        raise ValueError("the graph has a cycle, so it cannot be drawn in layers")
    for node in sources:
        if after[node]:
            layer[node] = min(layer[follower] for follower in after[node]) - 1
    return layer


def _chain(vertices: list[_Vertex], layer_of: list[int], a: int, b: int) -> list[int]:
    """The vertices that an edge passes through, its ends included; adds those between."""
    chain = [a]
    for layer in range(layer_of[a] + 1, layer_of[b]):
        vertices.append(_Vertex(None, _LANE, layer))
        chain.append(len(vertices) - 1)
    return [*chain, b]


# --- order in each layer -----------------------------------------------------------------------------------------


def _order(vertices: list[_Vertex], before: list[list[int]], after: list[list[int]]) -> list[list[int]]:
    """Vertices of each layer in an order with few crossings: sweeps of barycentres, then exchanges of neighbours."""
    rows: list[list[int]] = [[] for _ in range(max((v.layer for v in vertices), default=-1) + 1)]
    for number in _walk(vertices, before, after):
        rows[vertices[number].layer].append(number)
    best, fewest = [list(row) for row in rows], _crossings(rows, after)
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        down = sweep % 2 == 0
        for row in rows[1:] if down else rows[-2::-1]:
            _by_barycentre(row, rows, before if down else after, vertices)
        _exchange(rows, before, after, vertices)
        count = _crossings(rows, after)
        if count < fewest:
            best, fewest = [list(row) for row in rows], count
    return best


def _walk(vertices: list[_Vertex], before: list[list[int]], after: list[list[int]]) -> list[int]:
    """All vertices, what belongs together near to each other: from the sinks back, depth first, inputs in order."""
    seen: set[int] = set()
    found: list[int] = []
    for root in [i for i in range(len(vertices)) if not after[i]]:
        stack = [root]
        while stack:
            vertex = stack.pop()
            if vertex not in seen:
                seen.add(vertex)
                found.append(vertex)
                stack += reversed(before[vertex])
    return found


def _places(row: Sequence[int]) -> dict[int, int]:
    return {vertex: place for place, vertex in enumerate(row)}


def _by_barycentre(row: list[int], rows: list[list[int]], neighbours: list[list[int]], vertices: list[_Vertex]) -> None:
    keys: dict[int, float] = {}
    cache: dict[int, dict[int, int]] = {}
    for place, vertex in enumerate(row):
        near = neighbours[vertex]
        if not near:
            keys[vertex] = float(place)
            continue
        layer = vertices[near[0]].layer
        if layer not in cache:
            cache[layer] = _places(rows[layer])
        keys[vertex] = sum(cache[layer][n] for n in near) / len(near)
    row.sort(key=lambda v: keys[v])


def _exchange(rows: list[list[int]], before: list[list[int]], after: list[list[int]], vertices: list[_Vertex]) -> None:
    for layer, row in enumerate(rows):
        above = _places(rows[layer - 1]) if layer else {}
        below = _places(rows[layer + 1]) if layer + 1 < len(rows) else {}
        for i in range(len(row) - 1):
            a, b = row[i], row[i + 1]
            now = _pairs(before[a], before[b], above) + _pairs(after[a], after[b], below)
            then = _pairs(before[b], before[a], above) + _pairs(after[b], after[a], below)
            if then < now:
                row[i], row[i + 1] = b, a


def _pairs(left: list[int], right: list[int], places: dict[int, int]) -> int:
    """Crossings between the edges of two neighbours."""
    return sum(places[a] > places[b] for a in left for b in right)


def _crossings(rows: list[list[int]], after: list[list[int]]) -> int:
    total = 0
    for row, following in itertools.pairwise(rows):
        places = _places(following)
        seen: list[int] = []
        for vertex in row:
            ends = sorted(places[n] for n in after[vertex])
            total += sum(len(seen) - bisect_left(seen, end + 1) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


# --- places across -----------------------------------------------------------------------------------------------


def _across(
    vertices: list[_Vertex], rows: list[list[int]], before: list[list[int]], after: list[list[int]], space: float
) -> None:
    """Each vertex as near to its neighbours' middle as its layer's order allows; long edges straight."""
    for row in rows:
        _settle(vertices, row, [0.0] * len(row), [1.0] * len(row), space)
    for sweep in range(2 * _SWEEPS):
        last = sweep >= _SWEEPS
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            wishes, weights = [], []
            for number in row:
                near = before[number] if sweep % 2 == 0 else after[number]
                if last or not near:
                    near = before[number] + after[number]
                straight = [60.0 if vertices[number].node is None and vertices[n].node is None else 1.0 for n in near]
                total = sum(straight)
                wishes.append(
                    sum(w * vertices[n].at for w, n in zip(straight, near, strict=True)) / total
                    if near
                    else vertices[number].at
                )
                weights.append(max(total, 0.1))
            _settle(vertices, row, wishes, weights, space)
    start = min((v.at - v.size / 2 for v in vertices), default=0.0)
    for vertex in vertices:
        vertex.at -= start


def _settle(vertices: list[_Vertex], row: list[int], wishes: list[float], weights: list[float], space: float) -> None:
    """Places as near to the wishes as the order and the distances allow (weighted isotonic regression)."""
    offsets, offset = [], 0.0
    for i, number in enumerate(row):
        if i:
            offset += (vertices[row[i - 1]].size + vertices[number].size) / 2 + space
        offsets.append(offset)
    blocks: list[list[float]] = []  # [mean of wishes, weight, count]
    for wish, weight, shift in zip(wishes, weights, offsets, strict=True):
        blocks.append([wish - shift, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            mean, mass, count = blocks.pop()
            first = blocks[-1]
            first[0] = (first[0] * first[1] + mean * mass) / (first[1] + mass)
            first[1] += mass
            first[2] += count
    i = 0
    for mean, _, count in blocks:
        for _ in range(int(count)):
            vertices[row[i]].at = mean + offsets[i]
            i += 1


def _ends(
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    chains: list[list[int]],
    vertices: list[_Vertex],
) -> list[tuple[float, float]]:
    """Edges that meet at a node end at places of their own along its side, in the order in which they come."""
    found = [[0.0, 0.0] for _ in edges]
    for side, inner in ((0, 1), (1, -2)):
        groups: dict[int, list[int]] = {}
        for number, edge in enumerate(edges):
            groups.setdefault(edge[side], []).append(number)
        for node, group in groups.items():
            group.sort(key=lambda number: vertices[chains[number][inner]].at)
            step = min(0.6 * sizes[node][1] / len(group), 16.0)
            for place, number in enumerate(group):
                found[number][side] = (place - (len(group) - 1) / 2) * step
    return [(a, b) for a, b in found]
