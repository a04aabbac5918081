"""Memory stays level when shapes and batch sizes vary, compiled and eager."""

from __future__ import annotations

import numpy as np
import pytest

import coolnn as cool
from coolnn import _core, machine, nn
from coolnn.autograd import no_grad
from coolnn.graph import compiled as graph_compiled

#: The largest picture and batch that come up.
LARGEST = (8, 3, 40, 40)


def shapes(count):
    """Random ones, the largest among the first, so that nothing later has a reason to take more."""
    rng = np.random.default_rng(0)
    yield LARGEST
    for _ in range(count - 1):
        yield (int(rng.integers(1, 9)), 3, *map(int, rng.integers(16, 41, 2)))


def network():
    cool.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.GlobalAvgPool2d(),
        nn.Linear(16, 4),
    )


def compiled_run():
    run = cool.compile(network().eval())
    return lambda x: run(x)


def compiled_step():
    net = network()
    step = cool.compile_step(net, optimizer=cool.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9))
    return lambda x: step(x, np.zeros(len(x), int))


def eager_run():
    net = network().eval()

    def run(x):
        with no_grad():
            net(cool.from_numpy(x))

    return run


def eager_step():
    net = network()
    optimizer = cool.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def step(x):
        optimizer.zero_grad()
        cool.ops.cross_entropy(net(cool.from_numpy(x)), cool.tensor(np.zeros(len(x), int))).backward()
        optimizer.step()

    return step


@pytest.mark.parametrize(
    ("make", "count"), [(compiled_run, 400), (compiled_step, 160), (eager_run, 300), (eager_step, 160)]
)
def test_a_thousand_shapes_take_no_more_memory_than_some(make, count):
    work = make()
    _core.trim_memory()
    _core.reset_memory_peak()
    pictures = np.random.default_rng(1).standard_normal(LARGEST).astype(np.float32)
    resident = held = 0
    for number, (n, c, h, w) in enumerate(shapes(count), start=1):
        work(pictures[:n, :c, :h, :w])
        if number == count // 4:  # by then the kernels' cache, Python's own memory and the pool have found their size
            resident, held = machine.resident_memory(), _core.memory_in_use() + _core.memory_kept()
    now = _core.memory_in_use() + _core.memory_kept()
    assert now <= 1.25 * _core.memory_peak() + (16 << 20)  # the bound that the pool keeps
    assert now <= 1.25 * held + (4 << 20)
    # What grows on: kernels prepared for shapes (their cache is bounded) and the cracks between them.
    assert machine.resident_memory() - resident < 24 << 20


def test_a_larger_arena_does_not_stand_beside_the_smaller_one():
    arena = graph_compiled.Arena()
    _core.trim_memory()
    before = _core.memory_in_use()
    for megabytes in (16, 64, 128):
        block = arena.of(megabytes << 20)
        del block
        held = _core.memory_in_use() + _core.memory_kept() - before
        assert held <= 1.25 * _core.memory_peak() + (16 << 20)
    _core.reset_memory_peak()
    arena.of(200 << 20)
    assert _core.memory_peak() - before < 240 << 20
