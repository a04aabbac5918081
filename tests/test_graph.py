"""Compiled programs: the same bits as eager execution, memory that never overlaps, weights that are seen to change."""

from __future__ import annotations

import numpy as np
import pytest

import coolnn as cool
from coolnn import graph
from coolnn.graph.memory import plan_memory
from coolnn.graph.program import Program
from coolnn.ops import Op, register

OPTIMIZERS = {
    "sgd": lambda p: cool.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "plain": lambda p: cool.optim.SGD(p, lr=0.01),
    "adamw": lambda p: cool.optim.AdamW(p, lr=1e-3),
    "rmsprop": lambda p: cool.optim.RMSprop(p, lr=1e-3, momentum=0.9),
}
# Every kind of network of the zoo, at the smallest size that it takes sensibly.
NETS = [("lenet5", 1, 28), ("lenet5_1998", 1, 28), ("small_vgg", 3, 32), ("small_resnet", 3, 32), ("resnet20", 3, 16)]


def pictures(channels, size, batch, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((batch, size, size, channels), np.float32).transpose(0, 3, 1, 2)
    return cool.from_numpy(images), cool.tensor(rng.integers(0, 10, batch))


def same(a, b):
    return all(np.array_equal(x.numpy(), y.numpy()) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("name", "channels", "size"), NETS)
def test_compiled_step_is_the_eager_step(name, channels, size, optimizer):
    def network():
        cool.manual_seed(0)
        net = cool.models.create(name, num_classes=10, in_channels=channels)
        return net, OPTIMIZERS[optimizer](net.parameters())

    batches = [pictures(channels, size, batch, seed) for seed, batch in enumerate([4, 4, 3, 4])]
    eager, eager_optimizer = network()
    cool.manual_seed(1)
    eager_losses = []
    for x, y in batches:
        eager_optimizer.zero_grad()
        loss = cool.ops.cross_entropy(eager(x), y)
        loss.backward()
        eager_optimizer.step()
        eager_losses.append(loss.item())
    net, net_optimizer = network()
    step = cool.compile_step(net, optimizer=net_optimizer)
    cool.manual_seed(1)
    losses = [step(x, y).item() for x, y in batches]
    if name == "lenet5":  # whose convolutions' gradients are summed in another order
        np.testing.assert_allclose(losses, eager_losses, rtol=1e-5)
        # Optimizers that divide a gradient by its own size turn the last bits of one that is nearly 0 into whole steps.
        steps = 5e-3 if optimizer in ("adamw", "rmsprop") else 1e-5
        for key, wanted in eager.state_dict().items():
            off, size = net.state_dict()[key].numpy() - wanted.numpy(), np.abs(wanted.numpy()).max()
            assert np.sqrt(np.mean(off**2)) < 1e-5 * size and np.abs(off).max() < steps * size, key
    else:
        assert losses == eager_losses
        assert same(eager.state_dict().values(), net.state_dict().values())


@pytest.mark.parametrize(("name", "channels", "size"), [*NETS, ("vgg11", 3, 32), ("resnet18", 3, 32)])
def test_compiled_network_is_the_eager_network(name, channels, size):
    net = cool.models.create(name, num_classes=10, in_channels=channels)
    x, _ = pictures(channels, size, 2)
    net(x)  # moves the running statistics, so that they are not trivial
    run = cool.compile(net)
    net.eval()
    wanted = net(x).numpy()
    # Batch norm's scale is multiplied with the weights and not with the sums, and constant weights may make another
    # tile size of Winograd's algorithm worth it: roundings differ, as much as they would for another order of sums.
    assert np.abs(run(x).numpy() - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert not net.training


def test_average_and_clipping_are_part_of_the_step():
    def network():
        cool.manual_seed(0)
        net = cool.models.create("small_resnet", num_classes=10, in_channels=3)
        return net, OPTIMIZERS["sgd"](net.parameters()), cool.optim.ExponentialMovingAverage(net, 0.9, warmup=True)

    x, y = pictures(3, 16, 4)
    eager, optimizer, eager_average = network()
    for _ in range(3):
        optimizer.zero_grad()
        cool.ops.cross_entropy(eager(x), y).backward()
        norm = cool.optim.clip_grad_norm_(eager.parameters(), 0.5)
        assert norm > 0.5
        optimizer.step()
        eager_average.update()
    net, optimizer, average = network()
    step = cool.compile_step(net, optimizer=optimizer, clip_norm=0.5, average=average)
    for _ in range(3):
        step(x, y)
    # The norm is summed in float32 here and in float64 there, so its last bits may differ.
    for name, tensor in eager_average.averages.items():
        np.testing.assert_allclose(average.averages[name].numpy(), tensor.numpy(), rtol=1e-4, atol=1e-5)
    assert average.updates == 3


def test_weights_are_seen_to_change():
    net = cool.nn.Sequential(cool.nn.Flatten(), cool.nn.Linear(4, 2))
    run = cool.compile(net)
    x, _ = pictures(1, 2, 3)
    before = run(x).numpy().copy()
    net[1].weight.copy_(net[1].weight.numpy() * 2)
    assert not np.array_equal(run(x).numpy(), before)
    assert np.array_equal(run(x).numpy(), net(x).numpy())


def test_results_are_fresh_memory():
    run = cool.compile(cool.nn.Sequential(cool.nn.ReLU(), cool.nn.Sigmoid()))
    first = run(cool.ones(3))
    kept = first.numpy().copy()
    run(cool.zeros(3))
    assert np.array_equal(first.numpy(), kept)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: [x],
        lambda x: [x.reshape(6)],
        lambda x: [x.reshape(6), x.reshape(3, 2) + 1],
        lambda x: [(x + 1).reshape(6)],
        lambda x: [(x + 1).reshape(6).reshape(3, 2), x * x],
        lambda x: [x + x.reshape(3, 2).T * 0 + 2 * x],
        lambda x: [cool.ops.relu(x + 1) * cool.ops.relu(x + 1)],
        lambda x: (lambda y: [y, cool.ops.relu(y), y.reshape(6)])(x * 3),
        lambda x: (lambda y: [cool.ops.concat([y, y], 0) + cool.ops.concat([y.T.T, y], 0)])(x * 3),
    ],
)
def test_names_for_the_same_memory(function):
    x = cool.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])
    program = Program(graph.trace(function, [cool.meta(2, 3)]))
    for _ in range(2):
        for got, wanted in zip(program.run([x]), function(x), strict=True):
            assert np.array_equal(got.numpy(), wanted.numpy())


def test_operation_without_kernel_runs_its_reference():
    class Cube(Op):
        name = "cube_for_graph_test"

        def infer(self, x):
            return x

        def reference(self, x):
            return x**3

        def vjp(self, call, grad):
            return (grad * 3 * call.inputs[0] ** 2,)

    cube = register(Cube)
    try:
        x = cool.tensor([[1.0, 2.0], [3.0, -1.0]])
        program = Program(graph.trace(lambda t: [cube(t + 1).sum()], [cool.meta(2, 2)]))
        assert program.run([x])[0].item() == cube(x + 1).sum().item()
    finally:
        cool.ops.OPS.pop("cube_for_graph_test")


def live_blocks(program):
    """(first step, last step, start, end) of every block of memory of a program, workspaces included."""
    layout, steps = program.layout, program.graph.steps
    spans = {}
    for number, step in enumerate(steps):
        for value in (*step.inputs, *step.outputs):
            root = value and layout.root(value)
            if root in layout.offsets:
                first, _, size = spans.get(root, (number, number, 0))
                spans[root] = (first, number, max(size, value.spec.nbytes))
    blocks = [(first, last, layout.offsets[v], layout.offsets[v] + size) for v, (first, last, size) in spans.items()]
    blocks += [(i, i, layout.workspaces[i], layout.workspaces[i] + b) for i, b in enumerate(program.workspaces) if b]
    return blocks


@pytest.mark.parametrize(("name", "channels", "size"), NETS)
def test_blocks_that_live_together_do_not_overlap(name, channels, size):
    net = cool.models.create(name, num_classes=10, in_channels=channels)
    step = cool.compile_step(net, optimizer=OPTIMIZERS["sgd"](net.parameters()))
    program = step._ready(*pictures(channels, size, 4))
    blocks = live_blocks(program)
    assert len(blocks) > 10
    for i, (first, last, start, end) in enumerate(blocks):
        assert end <= program.bytes
        for other_first, other_last, other_start, other_end in blocks[:i]:
            assert last < other_first or other_last < first or end <= other_start or other_end <= start
    # The block is hardly larger than what lives at the fullest moment.
    needed = max(
        sum(end - start for first, last, start, end in blocks if first <= number <= last)
        for number in range(len(program.graph.steps))
    )
    assert program.bytes <= 1.1 * needed


def test_unused_steps_are_dropped():
    program = Program(graph.trace(lambda x: ((x * 5).exp(), [x + 1])[1], [cool.meta(3)]))
    assert [step.op.name for step in program.graph.steps] == ["add"]


def test_plan_of_nothing():
    empty = graph.Graph([], [], [])
    assert plan_memory(empty, {}, []).size == 0


def test_dump_names_every_step():
    net = cool.models.create("lenet5")
    x, y = pictures(1, 28, 2)
    text = cool.compile(net).dump(x)
    assert text.count("conv2d") == 2 and "total" in text
    text = cool.compile_step(net, optimizer=OPTIMIZERS["sgd"](net.parameters())).dump(x, y)
    assert text.count("conv2d_backward") == 2 and text.count("matmul_update") == 3 and text.count("sgd_step") == 7


def test_looking_at_numbers_is_refused():
    with pytest.raises(RuntimeError, match="no numbers"):
        graph.trace(lambda x: [x * x.item()], [cool.meta(1)])
    with pytest.raises(RuntimeError, match="no recorded operation"):
        graph.trace(lambda x: [(x + 1).detach() * 2], [cool.meta(1)])


def test_wrong_shape_is_named():
    program = Program(graph.trace(lambda x: [x + 1], [cool.meta(3)]))
    with pytest.raises(ValueError, match=r"float32\[3\], not float32\[4\]"):
        program.run([cool.zeros(4)])
