"""Modules, containers, initialisation; every layer and loss against PyTorch's where that is installed."""

import copy
import math

import numpy as np
import pytest

import coolnn as cool
from coolnn import nn


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class Net(nn.Module):
    def __init__(self):
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


# --- modules ----------------------------------------------------------------------------------------------------------


def test_names_and_order_are_those_of_pytorch():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == [
        "conv.weight", "conv.bias", "norm.weight", "norm.bias", "head.weight", "head.bias",
    ]  # fmt: skip
    assert list(net.state_dict()) == [
        "conv.weight", "conv.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
        "norm.num_batches_tracked", "head.weight", "head.bias",
    ]  # fmt: skip
    assert [name for name, _ in net.named_modules()] == ["", "conv", "norm", "head"]
    assert net.num_parameters() == 4 * 9 + 4 + 8 + 50
    assert net.get_submodule("norm") is net.norm
    with pytest.raises(KeyError, match=r"no module 'nrm'.*conv, norm, head"):
        net.get_submodule("nrm.weight")


def test_base_constructor_may_be_called_and_attributes_keep_their_kind():
    class Old(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("counter", cool.zeros(1), persistent=False)
            self.register_parameter("scale", nn.Parameter(cool.ones(1)))
            self.add_module("layer", nn.Linear(1, 1))

    old = Old()
    assert list(old.state_dict()) == ["scale", "layer.weight", "layer.bias"]
    assert [name for name, _ in old.named_buffers()] == ["counter"]
    with pytest.raises(TypeError, match=r"'scale' of Old is a Parameter.*copy_"):
        old.scale = cool.zeros(1)
    old.scale = nn.Parameter(cool.zeros(1))
    with pytest.raises(NotImplementedError, match=r"Old has no forward"):
        old(1)


def test_shared_modules_count_once_and_are_saved_under_each_name():
    layer = nn.Linear(3, 3)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    assert net.num_parameters() == 12
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert net.load_state_dict(net.state_dict()) == ([], [])


def test_train_and_eval_reach_all_modules_and_apply_goes_children_first():
    net, seen = Net(), []
    assert net.eval() is net and not any(module.training for module in net.modules())
    assert all(module.training for module in net.train().modules())
    net.apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Conv2d", "BatchNorm2d", "Linear", "Net"]


def test_gradients_are_forgotten_and_parts_can_be_frozen():
    net = Net()
    net.conv.requires_grad_(False)
    net(cool.tensor(numbers(2, 1, 8, 8))).sum().backward()
    assert net.conv.weight.grad is None and net.head.weight.grad is not None
    assert net.num_parameters(trainable_only=True) == 58
    net.zero_grad()
    assert net.head.weight.grad is None


def test_hooks_see_and_replace_and_can_be_removed():
    layer, log = nn.Linear(2, 2), []
    x = cool.ones(1, 2)
    plain = layer(x).tolist()
    remove_pre = layer.register_forward_pre_hook(lambda module, args: args[0] * 2)
    remove = layer.register_forward_hook(lambda module, args, output: (log.append(args[0].tolist()), output * 0)[1])
    assert layer(x).tolist() == [[0.0, 0.0]] and log == [[[2.0, 2.0]]]
    remove()
    remove()
    remove_pre()
    assert layer(x).tolist() == plain
    assert nn.Linear(2, 2)._forward_hooks == {}


def test_loading_lists_every_problem_and_changes_nothing():
    net = Net()
    before = {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()}
    state = {name: array * 0 for name, array in before.items()}
    state["heads.bias"] = state.pop("head.bias")
    state["conv.weight"] = np.zeros((4, 3, 3, 3), np.float32)
    with pytest.raises(ValueError) as error:
        net.load_state_dict(state)
    for part in (
        "missing: head.bias",
        "unexpected: heads.bias",
        "conv.weight (file (4, 3, 3, 3), network (4, 1, 3, 3))",
    ):
        assert part in str(error.value)
    with pytest.raises(ValueError, match="wrong shape"):
        net.load_state_dict(state, strict=False)
    for name, tensor in net.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])
    del state["conv.weight"]
    assert net.load_state_dict(state, strict=False) == (["conv.weight", "head.bias"], ["heads.bias"])
    assert not net.head.weight.numpy().any() and net.conv.weight.numpy().any()
    del before["norm.num_batches_tracked"]  # files of old have no counter
    assert net.load_state_dict(before) == ([], [])


def test_a_network_without_numbers_gets_them_by_loading():
    source = Net().eval()
    with nn.meta_parameters():
        net = Net().eval()
    assert all(p.is_meta for p in net.parameters()) and net(cool.meta(2, 1, 8, 8)).shape == (2, 10)
    net.load_state_dict(source.state_dict())
    x = cool.tensor(numbers(2, 1, 8, 8))
    np.testing.assert_array_equal(net(x).numpy(), source(x).numpy())
    net.conv.weight.copy_(cool.zeros(4, 1, 3, 3))
    assert source.conv.weight.numpy().any()  # the memory is its own
    assert not nn.Linear(1, 1).weight.is_meta


def test_copies_and_types():
    net = Net().eval()
    twin = copy.deepcopy(net)
    x = cool.tensor(numbers(2, 1, 8, 8))
    np.testing.assert_array_equal(net(x).numpy(), twin(x).numpy())
    assert isinstance(twin.conv.weight, nn.Parameter) and twin.conv.weight.requires_grad
    assert isinstance(twin.norm.running_mean, nn.Buffer)
    twin.head.bias.copy_(cool.ones(10))
    assert not np.array_equal(net.head.bias.numpy(), twin.head.bias.numpy())
    exact = net.astype(np.float64)(cool.tensor(numbers(2, 1, 8, 8).astype(np.float64)))
    assert exact.dtype == np.float64 and net.norm.num_batches_tracked.dtype == np.int64
    with pytest.raises(TypeError, match="int32"):
        net.astype(np.int32)


def test_text_is_nested():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.Residual(nn.Sequential(nn.ReLU())))
    assert repr(net) == (
        "Sequential(\n  (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), bias=False)\n"
        "  (1): Residual(\n    (body): Sequential(\n      (0): ReLU()\n    )\n  )\n)"
    )


# --- containers -------------------------------------------------------------------------------------------------------


def test_sequential_takes_names_and_gives_parts():
    net = nn.Sequential({"first": nn.Linear(2, 3), "second": nn.Linear(3, 4)})
    assert list(net.state_dict()) == ["first.weight", "first.bias", "second.weight", "second.bias"]
    assert net[-1] is net.second and len(net[:1]) == 1 and [type(m) for m in net] == [nn.Linear] * 2
    net[0] = nn.Linear(2, 3, bias=False)
    assert net.first.bias is None and net(cool.zeros(1, 2)).shape == (1, 4)
    with pytest.raises(TypeError, match="item '1' is int"):
        nn.Sequential(nn.ReLU(), 3)


@pytest.mark.skipif(not hasattr(ValueError, "add_note"), reason="notes came with Python 3.11")
def test_an_error_names_the_layer():
    net = nn.Sequential(nn.ReLU(), nn.Sequential({"head": nn.Linear(2, 3)}))
    with pytest.raises(ValueError) as error:
        net(cool.zeros(1, 5))
    assert error.value.__notes__ == ["in layer 'head': Linear(2, 3)", "in layer '1': Sequential()"]


def test_lists_and_dictionaries_register_their_modules():
    layers = nn.ModuleList([nn.Linear(1, 2)]).append(nn.Linear(2, 3)).extend([nn.ReLU()])
    assert len(layers) == 3 and layers[-1] is list(layers)[2] and len(layers[1:]) == 2
    layers[2] = nn.Identity()
    assert isinstance(layers[2], nn.Identity)
    named = nn.ModuleDict({"a": nn.Linear(1, 2)})
    named["b"] = nn.ReLU()
    assert list(named) == ["a", "b"] and "a" in named and len(named.values()) == 2
    assert list(named.state_dict()) == ["a.weight", "a.bias"]
    with pytest.raises(KeyError, match="no module 'c'; there are: a, b"):
        named["c"]
    with pytest.raises(KeyError, match="'forward' cannot name"):
        named["forward"] = nn.ReLU()


def test_residual_and_concat():
    x = cool.tensor(numbers(1, 4, 6, 6))
    block = nn.Residual(nn.Identity(), nn.Identity())
    np.testing.assert_array_equal(block(x).numpy(), 2 * x.numpy())
    with pytest.raises(ValueError, match=r"body gives \(1, 8, 6, 6\), the shortcut \(1, 4, 6, 6\)"):
        nn.Residual(nn.Conv2d(4, 8, 1))(x)
    joined = nn.Concat(nn.Identity(), nn.ReLU())(x).numpy()
    np.testing.assert_array_equal(joined, np.concatenate([x.numpy(), np.maximum(x.numpy(), 0)], 1))


# --- initialisation ---------------------------------------------------------------------------------------------------


def test_weights_follow_from_the_seed():
    cool.manual_seed(5)
    first = nn.Conv2d(3, 8, 3).state_dict()
    second = nn.Conv2d(3, 8, 3).state_dict()
    cool.manual_seed(5)
    again = nn.Conv2d(3, 8, 3).state_dict()
    np.testing.assert_array_equal(first["weight"].numpy(), again["weight"].numpy())
    assert not np.array_equal(first["weight"].numpy(), second["weight"].numpy())


def test_default_start_is_uniform_in_one_over_root_fan_in():
    for layer, fan in ((nn.Linear(400, 300), 400), (nn.Conv2d(32, 64, 5), 800), (nn.ConvTranspose2d(64, 32, 5), 800)):
        for tensor in (layer.weight, layer.bias):
            values, bound = tensor.numpy(), 1 / math.sqrt(fan)
            assert abs(values).max() <= bound and abs(values).max() > 0.8 * bound
        assert abs(layer.weight.numpy().std() * math.sqrt(3) / bound - 1) < 0.02


def test_fillings_have_their_spread():
    def std(fill, **kwargs):
        return float(fill(cool.zeros(200, 100, 3, 3), **kwargs).numpy().std())

    assert std(nn.init.kaiming_normal_, nonlinearity="relu") == pytest.approx(math.sqrt(2 / 900), rel=0.02)
    assert std(nn.init.kaiming_uniform_, mode="fan_out", nonlinearity="relu") == pytest.approx(
        math.sqrt(2 / 1800), rel=0.02
    )
    assert std(nn.init.kaiming_normal_, a=1.0) == pytest.approx(math.sqrt(1 / 900), rel=0.02)
    assert std(nn.init.xavier_uniform_, gain=2.0) == pytest.approx(2 * math.sqrt(2 / 2700), rel=0.02)
    assert std(nn.init.xavier_normal_) == pytest.approx(math.sqrt(2 / 2700), rel=0.02)
    assert std(nn.init.trunc_normal_, std=2.0, a=-4, b=4) == pytest.approx(2 * 0.8796, rel=0.02)
    assert nn.init.ones_(cool.zeros(3)).tolist() == [1, 1, 1] and nn.init.zeros_(cool.ones(2)).tolist() == [0, 0]
    assert nn.init.uniform_(cool.meta(3)).is_meta
    with pytest.raises(ValueError, match="at least 2 axes"):
        nn.init.kaiming_normal_(cool.zeros(3))
    with pytest.raises(ValueError, match="'swishy'"):
        nn.init.gain("swishy")
    with pytest.raises(ValueError, match="fan_middle"):
        nn.init.kaiming_normal_(cool.zeros(3, 3), mode="fan_middle")
    with pytest.raises(ValueError, match="normal distribution"):
        nn.init.trunc_normal_(cool.zeros(3), std=0.1, a=2, b=3)


# --- layers -----------------------------------------------------------------------------------------------------------

LAYERS = {
    "conv": (lambda n: n.Conv2d(3, 5, 3, stride=2, padding=1), (2, 3, 9, 8)),
    "conv same": (lambda n: n.Conv2d(3, 5, 3, padding="same", dilation=2), (2, 3, 9, 8)),
    "conv groups": (lambda n: n.Conv2d(4, 8, (3, 1), groups=2, bias=False), (2, 4, 7, 6)),
    "conv reflect": (lambda n: n.Conv2d(3, 5, 3, padding=(2, 1), padding_mode="reflect"), (1, 3, 6, 6)),
    "conv replicate": (lambda n: n.Conv2d(3, 5, 3, padding=1, padding_mode="replicate"), (1, 3, 6, 6)),
    "conv transpose": (lambda n: n.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), (2, 4, 5, 4)),
    "linear": (lambda n: n.Linear(7, 4), (3, 7)),
    "linear on 3 axes": (lambda n: n.Linear(7, 4, bias=False), (2, 3, 7)),
    "max pool": (lambda n: n.MaxPool2d(3, 2, 1), (2, 3, 8, 9)),
    "max pool ceil": (lambda n: n.MaxPool2d(2, ceil_mode=True), (2, 3, 7, 5)),
    "avg pool": (lambda n: n.AvgPool2d(3, 2, 1, count_include_pad=False), (2, 3, 8, 9)),
    "adaptive avg pool": (lambda n: n.AdaptiveAvgPool2d((3, None)), (2, 3, 7, 5)),
    "adaptive max pool": (lambda n: n.AdaptiveMaxPool2d(3), (2, 3, 7, 5)),
    "upsample": (lambda n: n.Upsample(scale_factor=2), (1, 2, 3, 4)),
    "upsample bilinear": (lambda n: n.Upsample(size=(7, 5), mode="bilinear", align_corners=True), (1, 2, 3, 4)),
    "zero pad": (lambda n: n.ZeroPad2d((1, 2, 3, 0)), (1, 2, 4, 4)),
    "reflection pad": (lambda n: n.ReflectionPad2d((1, 2, 3, 0)), (1, 2, 4, 4)),
    "replication pad": (lambda n: n.ReplicationPad2d(2), (1, 2, 4, 4)),
    "batch norm": (lambda n: n.BatchNorm2d(5), (4, 5, 3, 2)),
    "batch norm cumulative": (lambda n: n.BatchNorm2d(5, momentum=None, eps=1e-3), (4, 5, 3, 2)),
    "batch norm plain": (lambda n: n.BatchNorm2d(5, affine=False, track_running_stats=False), (4, 5, 3, 2)),
    "batch norm 1d": (lambda n: n.BatchNorm1d(5), (8, 5)),
    "batch norm 1d long": (lambda n: n.BatchNorm1d(5), (3, 5, 4)),
    "instance norm": (lambda n: n.InstanceNorm2d(5, affine=True), (2, 5, 4, 3)),
    "group norm": (lambda n: n.GroupNorm(2, 6), (2, 6, 4, 3)),
    "layer norm": (lambda n: n.LayerNorm((4, 3)), (2, 6, 4, 3)),
    "relu": (lambda n: n.ReLU(inplace=False), (3, 4)),
    "relu6": (lambda n: n.ReLU6(), (3, 4)),
    "leaky relu": (lambda n: n.LeakyReLU(0.1), (3, 4)),
    "sigmoid": (lambda n: n.Sigmoid(), (3, 4)),
    "tanh": (lambda n: n.Tanh(), (3, 4)),
    "silu": (lambda n: n.SiLU(), (3, 4)),
    "gelu": (lambda n: n.GELU(), (3, 4)),
    "gelu tanh": (lambda n: n.GELU(approximate="tanh"), (3, 4)),
    "hardswish": (lambda n: n.Hardswish(), (3, 4)),
    "softplus": (lambda n: n.Softplus(2.0), (3, 4)),
    "softmax": (lambda n: n.Softmax(dim=1), (3, 4)),
    "flatten": (lambda n: n.Flatten(), (2, 3, 4, 5)),
    "identity": (lambda n: n.Identity(), (2, 3)),
    "dropout in evaluation": (lambda n: n.Dropout(0.5).eval(), (2, 3)),
}


def to_numpy(state):
    return {name: tensor.detach().numpy() for name, tensor in state.items()}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_agrees_with_pytorch(name):
    torch = pytest.importorskip("torch")
    build, shape = LAYERS[name]
    theirs, ours = build(torch.nn), build(nn)
    with torch.no_grad():
        for i, parameter in enumerate(theirs.parameters()):
            parameter.copy_(torch.from_numpy(numbers(*parameter.shape, seed=i + 1)))
    ours.load_state_dict(to_numpy(theirs.state_dict()))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for step in range(2):  # a second step, so that running statistics are compared after more than one
        x = numbers(*shape, seed=step) * 1.5
        a, b = cool.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, z = ours(a), theirs(b)
        assert y.shape == tuple(z.shape)
        weight = numbers(*y.shape, seed=9)
        (y * cool.tensor(weight)).sum().backward()
        (z * torch.tensor(weight)).sum().backward()
        np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=2e-4, atol=2e-5)
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=2e-3, atol=1e-4)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=2e-3, atol=2e-4)
    for (key, mine), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-4, atol=1e-5, err_msg=key)
    z = theirs.eval()(torch.tensor(x))
    np.testing.assert_allclose(ours.eval()(cool.tensor(x)).numpy(), z.detach().numpy(), rtol=2e-4, atol=2e-5)


LOSSES = {
    "cross entropy": (lambda n, w: n.CrossEntropyLoss(weight=w, label_smoothing=0.1, ignore_index=2), "classes"),
    "cross entropy none": (lambda n, w: n.CrossEntropyLoss(reduction="none"), "classes"),
    "bce": (lambda n, w: n.BCEWithLogitsLoss(pos_weight=w), "numbers"),
    "bce weighted": (lambda n, w: n.BCEWithLogitsLoss(weight=w, reduction="sum"), "numbers"),
    "mse": (lambda n, w: n.MSELoss(), "numbers"),
    "l1": (lambda n, w: n.L1Loss(reduction="sum"), "numbers"),
    "huber": (lambda n, w: n.HuberLoss(delta=0.7), "numbers"),
    "huber none": (lambda n, w: n.HuberLoss("none"), "numbers"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss_agrees_with_pytorch(name):
    torch = pytest.importorskip("torch")
    build, kind = LOSSES[name]
    weight, x = abs(numbers(4, seed=2)), numbers(6, 4)
    target = np.arange(6) % 4 if kind == "classes" else np.random.default_rng(1).random((6, 4)).astype(np.float32)
    a, b = cool.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = build(nn, cool.tensor(weight))(a, cool.tensor(target))
    z = build(torch.nn, torch.tensor(weight))(b, torch.tensor(target))
    y.sum().backward()
    z.sum().backward()
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_dropout_drops_in_training_only():
    cool.manual_seed(0)
    x = cool.ones(64, 32, 5, 5)
    dropped = nn.Dropout(0.25)(x).numpy()
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert abs((dropped == 0).mean() - 0.25) < 0.02
    channels = nn.Dropout2d(0.25)(x).numpy()
    assert (channels == channels[:, :, :1, :1]).all() and abs((channels == 0).mean() - 0.25) < 0.05
    assert nn.Dropout2d(0.25).eval()(x) is x
    assert nn.Dropout2d(0.25)(cool.meta(1, 2, 3, 3)).is_meta
    with pytest.raises(ValueError, match=r"1\.5"):
        nn.Dropout(1.5)


def test_wrong_settings_are_quoted():
    with pytest.raises(ValueError, match=r"groups=2 must divide both in_channels=3"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match=r"kernel_size is one number or a pair"):
        nn.Conv2d(3, 4, (1, 2, 3))
    with pytest.raises(ValueError, match=r"padding_mode is 'zeros', 'reflect' or 'replicate', not 'circular'"):
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\), not \(2, 4, 5, 5\)"):
        nn.BatchNorm2d(3)(cool.zeros(2, 4, 5, 5))
    with pytest.raises(ValueError, match="either size or scale_factor"):
        nn.Upsample()
    with pytest.raises(ValueError, match="num_groups=4 must divide num_channels=6"):
        nn.GroupNorm(4, 6)
    with pytest.raises(ValueError, match=r"left, right, top, bottom"):
        nn.ZeroPad2d((1, 2))
    with pytest.raises(ValueError, match="lengths are 0 or more"):
        nn.Linear(-1, 2)


def test_conv_takes_four_sides():
    layer = nn.Conv2d(1, 1, 2, padding=(1, 0, 0, 1))
    assert layer(cool.zeros(1, 1, 4, 4)).shape == (1, 1, 4, 4)
