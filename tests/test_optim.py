"""Optimizers against plain formulas and PyTorch, exact resuming, schedules, clipping, averages."""

import json
import math

import numpy as np
import pytest

import coolnn as cool
from coolnn import nn, optim


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


SHAPES = ((4, 3), (5,), (2, 3, 3, 3))

OPTIMIZERS = {
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd momentum": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.02}),
    "sgd nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.02}),
    "adam": ("Adam", {"lr": 0.05, "betas": (0.8, 0.95)}),
    "adam decay": ("Adam", {"lr": 0.05, "weight_decay": 0.1}),
    "adamw": ("AdamW", {"lr": 0.05, "weight_decay": 0.1}),
    "rmsprop": ("RMSprop", {"lr": 0.05, "alpha": 0.9}),
    "rmsprop momentum": ("RMSprop", {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1}),
}


def make(name, **changes):
    """Parameters of several shapes with their optimizer."""
    kind, settings = OPTIMIZERS[name]
    parameters = [nn.Parameter(numbers(*shape, seed=i)) for i, shape in enumerate(SHAPES)]
    return parameters, getattr(optim, kind)(parameters, **{**settings, **changes})


def set_gradients(parameters, step, wrap=cool.tensor):
    for i, parameter in enumerate(parameters):
        parameter.grad = wrap(numbers(*parameter.shape, seed=100 * step + i))


# --- steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_agree_with_pytorch(name):
    torch = pytest.importorskip("torch")
    kind, settings = OPTIMIZERS[name]
    ours, optimizer = make(name)
    theirs = [torch.nn.Parameter(torch.tensor(p.numpy().copy())) for p in ours]
    other = getattr(torch.optim, kind)(theirs, **settings)
    for step in range(5):
        set_gradients(ours, step)
        set_gradients(theirs, step, torch.tensor)
        optimizer.step()
        other.step()
    for mine, yours in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.numpy(), yours.detach().numpy(), rtol=2e-5, atol=2e-6)


def plain_sgd(p, g, state, lr, momentum=0, dampening=0, weight_decay=0, nesterov=False):
    g = g + weight_decay * p
    if momentum:
        state["b"] = momentum * state["b"] + (1 - dampening) * g if "b" in state else g
        g = g + momentum * state["b"] if nesterov else state["b"]
    return p - lr * g


def plain_adam(p, g, state, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, decoupled=False):
    t = state["t"] = state.get("t", 0) + 1
    p, g = (p - lr * weight_decay * p, g) if decoupled else (p, g + weight_decay * p)
    state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
    state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g * g
    m, v = state["m"] / (1 - betas[0] ** t), state["v"] / (1 - betas[1] ** t)
    return p - lr * m / (np.sqrt(v) + eps)


def plain_rmsprop(p, g, state, lr, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0):
    g = g + weight_decay * p
    state["v"] = alpha * state.get("v", 0) + (1 - alpha) * g * g
    state["b"] = momentum * state.get("b", 0) + g / (np.sqrt(state["v"]) + eps)
    return p - lr * state["b"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_follow_the_formulas(name):
    kind, settings = OPTIMIZERS[name]
    plain = {"SGD": plain_sgd, "Adam": plain_adam, "AdamW": plain_adam, "RMSprop": plain_rmsprop}[kind]
    extra = {"decoupled": True} if kind == "AdamW" else {}
    parameters, optimizer = make(name)
    expected = [p.numpy().astype(np.float64) for p in parameters]
    states = [{} for _ in expected]
    for step in range(5):
        set_gradients(parameters, step)
        for i, parameter in enumerate(parameters):
            expected[i] = plain(expected[i], parameter.grad.numpy() * 0.5, states[i], **settings, **extra)
        optimizer.step(grad_scale=0.5)
    for parameter, wanted in zip(parameters, expected, strict=True):
        np.testing.assert_allclose(parameter.numpy(), wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resuming_gives_the_same_bits(name):
    straight, optimizer = make(name)
    for step in range(3):
        set_gradients(straight, step)
        optimizer.step()
    resumed, again = make(name, lr=9.0)
    for parameter, source in zip(resumed, straight, strict=True):
        parameter.copy_(source)
    again.load_state_dict(optimizer.state_dict())
    assert again.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    for step in range(3, 6):
        set_gradients(straight, step)
        set_gradients(resumed, step)
        optimizer.step()
        again.step()
    for parameter, source in zip(resumed, straight, strict=True):
        np.testing.assert_array_equal(parameter.numpy(), source.numpy())


def test_groups_have_settings_of_their_own():
    a, b = nn.Parameter(cool.ones(2)), nn.Parameter(cool.ones(2))
    optimizer = optim.SGD([{"params": [a], "lr": 1.0}, {"params": b}], lr=0.1)
    a.grad, b.grad = cool.ones(2), cool.ones(2)
    optimizer.step()
    np.testing.assert_allclose([a.numpy()[0], b.numpy()[0]], [0.0, 0.9], rtol=1e-6)
    optimizer.zero_grad()
    assert a.grad is None
    optimizer.step()  # without gradients nothing moves
    np.testing.assert_allclose([a.numpy()[0], b.numpy()[0]], [0.0, 0.9], rtol=1e-6)
    assert "lr=1.0" in repr(optimizer)


def test_wrong_use_is_explained():
    p = nn.Parameter(cool.ones(2))
    for call, message in (
        (lambda: optim.SGD([]), "no parameters"),
        (lambda: optim.SGD([p, p]), "listed twice"),
        (lambda: optim.SGD([p], lr=-1), "lr must be 0 or more, not -1"),
        (lambda: optim.SGD([p], nesterov=True), "nesterov needs momentum"),
        (lambda: optim.Adam([p], betas=(0.9, 1.0)), r"betas must lie in \[0, 1\)"),
        (lambda: optim.RMSprop([p], alpha=1.0), "alpha"),
        (lambda: optim.SGD([{"params": [p], "rate": 1}]), "no setting rate"),
        (lambda: optim.SGD([cool.meta(2)]), "no numbers"),
        (lambda: optim.SGD([p * 2]), "result of an operation"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="item 1 is int"):
        optim.SGD([p, 3])
    _, optimizer = make("adam")
    with pytest.raises(ValueError, match=r"groups of \[1\] parameters, the optimizer has \[3\]"):
        optimizer.load_state_dict(optim.Adam([p]).state_dict())


# --- schedules --------------------------------------------------------------------------------------------------------

SCHEDULES = {
    "step": ("StepLR", {"step_size": 3, "gamma": 0.5}),
    "multi step": ("MultiStepLR", {"milestones": [2, 5, 6], "gamma": 0.3}),
    "cosine": ("CosineAnnealingLR", {"T_max": 11, "eta_min": 0.01}),
    "one cycle": ("OneCycleLR", {"max_lr": 0.7, "total_steps": 12, "pct_start": 0.4}),
    "one cycle constant momentum": ("OneCycleLR", {"max_lr": 0.7, "total_steps": 12, "cycle_momentum": False}),
}


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_agree_with_pytorch(name, kind):
    torch = pytest.importorskip("torch")
    schedule_kind, settings = SCHEDULES[name]
    extra = {"momentum": 0.9} if kind == "SGD" else {}
    ours = getattr(optim, kind)([nn.Parameter(cool.ones(1))], lr=0.4, **extra)
    theirs = getattr(torch.optim, kind)([torch.nn.Parameter(torch.ones(1))], lr=0.4, **extra)
    schedule = getattr(optim, schedule_kind)(ours, **settings)
    other = getattr(torch.optim.lr_scheduler, schedule_kind)(theirs, **settings)
    for _ in range(11):
        mine, yours = ours.param_groups[0], theirs.param_groups[0]
        for key in ("lr", "momentum", "betas"):
            if key in mine:
                assert mine[key] == pytest.approx(yours[key], rel=1e-9), key
        theirs.step()
        schedule.step()
        other.step()
    assert schedule.get_last_lr() == pytest.approx(other.get_last_lr(), rel=1e-9)


def test_warm_up_goes_over_into_a_cosine_and_is_resumed():
    def build():
        optimizer = optim.SGD([nn.Parameter(cool.ones(1))], lr=0.4)
        return optimizer, optim.LinearWarmup(optimizer, 4, 0.25, then=optim.CosineAnnealingLR(optimizer, 6))

    optimizer, schedule = build()
    rates = []
    for _ in range(11):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    expected = [0.1, 0.175, 0.25, 0.325] + [0.2 * (1 + math.cos(math.pi * i / 6)) for i in range(7)]
    assert rates == pytest.approx(expected, abs=1e-12)
    other, resumed = build()
    for _ in range(5):
        resumed.step()
    state = json.loads(json.dumps(resumed.state_dict()))
    other, resumed = build()
    resumed.load_state_dict(state)
    assert other.param_groups[0]["lr"] == rates[5]
    resumed.step()
    assert resumed.get_last_lr() == [rates[6]]
    assert optim.LinearWarmup(other, 0).lr(3, 0.5) == 0.5


def test_the_state_of_optimizer_and_schedule_together_is_plain_data():
    optimizer = optim.Adam([nn.Parameter(cool.ones(1))], lr=0.4)
    schedule = optim.OneCycleLR(optimizer, 1.0, 10)
    schedule.step()
    groups = json.loads(json.dumps(optimizer.state_dict()["param_groups"]))
    fresh = optim.Adam([nn.Parameter(cool.ones(1))], lr=0.4)
    fresh.load_state_dict({"state": {}, "param_groups": groups})
    assert fresh.param_groups[0]["betas"] == optimizer.param_groups[0]["betas"]


def test_schedules_refuse_what_makes_no_sense():
    optimizer = optim.SGD([nn.Parameter(cool.ones(1))], lr=0.4)
    for call in (
        lambda: optim.StepLR(optimizer, 0),
        lambda: optim.CosineAnnealingLR(optimizer, 0),
        lambda: optim.LinearWarmup(optimizer, -1),
        lambda: optim.OneCycleLR(optimizer, 1.0, 10, pct_start=2),
        lambda: optim.StepLR(optimizer, 1).load_state_dict({"count": 1, "base_lrs": [1, 2]}),
    ):
        with pytest.raises(ValueError):
            call()


# --- clipping and averages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0, math.inf])
def test_clipping_by_norm_agrees_with_pytorch(order):
    torch = pytest.importorskip("torch")
    ours, _ = make("sgd")
    theirs = [torch.nn.Parameter(torch.tensor(p.numpy().copy())) for p in ours]
    for limit in (0.5, 1e6):
        set_gradients(ours, 1)
        set_gradients(theirs, 1, torch.tensor)
        norm = optim.clip_grad_norm_(ours, limit, order)
        other = torch.nn.utils.clip_grad_norm_(theirs, limit, order)
        assert norm == pytest.approx(float(other), rel=1e-5)
        for mine, yours in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine.grad.numpy(), yours.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_clipping_spares_memory_that_gradients_share():
    a, b = nn.Parameter(cool.zeros(2)), nn.Parameter(cool.zeros(2))
    a.grad = b.grad = cool.tensor([3.0, 4.0])
    optim.clip_grad_norm_([a, b], 1.0)
    np.testing.assert_allclose(a.grad.numpy(), np.array([3.0, 4.0]) / math.sqrt(50), rtol=1e-5)
    np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy())
    optim.clip_grad_value_(a, 0.5)
    np.testing.assert_allclose(a.grad.numpy(), [3 / math.sqrt(50), 0.5], rtol=1e-5)
    assert optim.clip_grad_norm_([nn.Parameter(cool.zeros(2))], 1.0) == 0.0
    with pytest.raises(ValueError, match="max_norm"):
        optim.clip_grad_norm_([a], -1.0)
    with pytest.raises(ValueError, match="clip_value"):
        optim.clip_grad_value_([a], float("nan"))


def test_moving_average_follows_swaps_and_resumes():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = optim.ExponentialMovingAverage(net, decay=0.75)
    expected = net[0].weight.numpy().copy()
    for step in range(4):
        net[0].weight.copy_(numbers(2, 3, seed=step))
        net[1].num_batches_tracked.copy_(np.array(step))
        average.update()
        expected = 0.75 * expected + 0.25 * numbers(2, 3, seed=step)
    live = net[0].weight.numpy().copy()
    with average.swapped():
        np.testing.assert_allclose(net[0].weight.numpy(), expected, rtol=1e-5)
        assert net[1].num_batches_tracked.item() == 3
    np.testing.assert_array_equal(net[0].weight.numpy(), live)
    again = optim.ExponentialMovingAverage(net)
    again.load_state_dict(average.state_dict())
    assert again.updates == 4
    np.testing.assert_array_equal(again.averages["0.weight"].numpy(), average.averages["0.weight"].numpy())
    with pytest.raises(ValueError, match="another network"):
        again.load_state_dict(optim.ExponentialMovingAverage(nn.Linear(1, 1)).state_dict())
    with pytest.raises(ValueError, match="decay"):
        optim.ExponentialMovingAverage(net, decay=2)


def test_moving_average_warms_up():
    net = nn.Linear(1, 1, bias=False)
    net.weight.copy_(np.zeros((1, 1)))
    average = optim.ExponentialMovingAverage(net, warmup=True)
    net.weight.copy_(np.ones((1, 1)))
    average.update()
    assert average.averages["weight"].item() == pytest.approx(1 - 2 / 11)
