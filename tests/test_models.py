"""The zoo: sizes, names, stages, one training step each; numbers against PyTorch where that is installed."""

import numpy as np
import pytest

import coolnn as cool
from coolnn import models, nn, optim

SMALL = {"lenet5", "lenet5_1998", "small_vgg", "tiny_vgg", "small_resnet", "resnet20"}

PARAMETERS = {
    "alexnet": 61_100_840,
    "lenet5": 61_706,
    "lenet5_1998": 60_850,  # 60,000 in the paper and 850 of the output layer
    "resnet18": 11_689_512,
    "resnet20": 269_722,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "vgg11": 132_863_336,
    "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848,
    "vgg13_bn": 133_053_736,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
}


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def meta_model(name, **settings):
    with nn.meta_parameters():
        return models.create(name, **settings)


@pytest.mark.parametrize("name", PARAMETERS)
def test_numbers_of_parameters_are_the_published_ones(name):
    assert meta_model(name).num_parameters() == PARAMETERS[name]


@pytest.mark.parametrize("name", models.list_models())
def test_every_model_says_what_it_takes_and_where_its_stages_are(name):
    net = meta_model(name, num_classes=7, in_channels=2).eval()
    channels, height, width = net.input_size
    assert (net.name, net.num_classes, channels) == (name, 7, 2)
    assert len(net.preprocessing.mean) == len(net.preprocessing.std) == 2
    x = cool.meta(3, channels, height, width)
    assert net(x).shape == (3, 7)
    stages = models.features(net, x)
    assert list(stages) == [info.name for info in net.feature_info] and len(stages) >= 2
    for info in net.feature_info:
        shape = stages[info.name].shape
        assert shape[1] == info.channels
        # Windows without padding (LeNet-5, AlexNet) lose a few pixels at the border.
        assert abs(height / info.stride - shape[2]) <= 4 and abs(width / info.stride - shape[3]) <= 4


@pytest.mark.parametrize("name", sorted(SMALL))
def test_small_models_learn_a_batch(name):
    cool.manual_seed(1)
    net = models.create(name, num_classes=3)
    x, target = cool.tensor(numbers(6, *net.input_size)), cool.tensor([0, 1, 2, 0, 1, 2])
    optimizer, loss = optim.Adam(net.parameters(), lr=0.005), nn.CrossEntropyLoss()
    losses = []
    for _ in range(8):
        value = loss(net(x), target)
        losses.append(value.item())
        optimizer.zero_grad()
        value.backward()
        assert all(p.grad is not None and p.grad.shape == p.shape for p in net.parameters())
        optimizer.step()
    assert losses[0] == pytest.approx(np.log(3), abs=0.8)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_large_residual_networks_take_a_training_step_on_small_pictures(name):
    net = models.create(name, num_classes=4)
    loss = nn.CrossEntropyLoss()(net(cool.tensor(numbers(2, 3, 32, 32))), cool.tensor([1, 3]))
    loss.backward()
    before = net.conv1.weight.numpy().copy()
    optim.Adam(net.parameters()).step()
    assert np.isfinite(loss.item()) and not np.array_equal(before, net.conv1.weight.numpy())


@pytest.mark.parametrize("size", [(32, 32), (33, 70), (224, 224)])
def test_vgg_and_resnet_take_any_picture_from_32_pixels(size):
    for name in ("vgg11", "vgg16_bn", "resnet18"):
        assert meta_model(name).eval()(cool.meta(1, 3, *size)).shape == (1, 1000)


def test_pictures_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="32×32"):
        meta_model("vgg11")(cool.meta(1, 3, 31, 64))
    with pytest.raises(ValueError, match="63×63"):
        meta_model("alexnet")(cool.meta(1, 3, 32, 32))
    assert meta_model("alexnet").eval()(cool.meta(1, 3, 63, 63)).shape == (1, 1000)
    with pytest.raises(ValueError, match="12 pixels"):
        models.create("lenet5", image_size=8)


def test_lenet_takes_28_or_32_pixels():
    for name in ("lenet5", "lenet5_1998"):
        for size in (28, 32):
            net = models.create(name, image_size=size)
            assert net.input_size == (1, size, size) and net.num_parameters() == PARAMETERS[name]
            assert net(cool.zeros(1, 1, size, size)).shape == (1, 10)


def test_c3_of_1998_sees_only_what_its_table_says():
    torch = pytest.importorskip("torch")
    layer = models.lenet.PartialConv2d(6, models.lenet.C3_TABLE, 5)
    assert layer.num_parameters() == 1516
    weight, number = np.zeros((16, 6, 5, 5), np.float32), 0
    for output, inputs in enumerate(models.lenet.C3_TABLE):
        for source in sorted(inputs):
            weight[output, source] = layer.weight.numpy()[number]
            number += 1
    x = numbers(2, 6, 9, 9)
    expected = torch.nn.functional.conv2d(*map(torch.tensor, (x, weight, layer.bias.numpy())))
    np.testing.assert_allclose(layer(cool.tensor(x)).numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


# --- names and numbers of PyTorch's networks --------------------------------------------------------------------------


def norm_keys(prefix):
    return [f"{prefix}.{k}" for k in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]


def test_state_keys_are_those_of_torchvision():
    convs = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    expected = [f"features.{i}.{k}" for i in convs for k in ("weight", "bias")]
    expected += [f"classifier.{i}.{k}" for i in (0, 3, 6) for k in ("weight", "bias")]
    assert list(meta_model("vgg19").state_dict()) == expected

    expected = [f"features.{i}.{k}" for i in (0, 3, 6, 8, 10) for k in ("weight", "bias")]
    expected += [f"classifier.{i}.{k}" for i in (1, 4, 6) for k in ("weight", "bias")]
    assert list(meta_model("alexnet").state_dict()) == expected

    expected = ["conv1.weight", *norm_keys("bn1")]
    for stage, depth in enumerate((3, 4, 6, 3), 1):
        for block in range(depth):
            path = f"layer{stage}.{block}"
            for i in (1, 2, 3):
                expected += [f"{path}.conv{i}.weight", *norm_keys(f"{path}.bn{i}")]
            if block == 0:
                expected += [f"{path}.downsample.0.weight", *norm_keys(f"{path}.downsample.1")]
    assert list(meta_model("resnet50").state_dict()) == [*expected, "fc.weight", "fc.bias"]

    state = meta_model("vgg11_bn").state_dict()
    assert [k for k in state if k.startswith("features.4.")] == ["features.4.weight", "features.4.bias"]
    assert [k for k in state if k.startswith("features.5.")] == norm_keys("features.5")
    keys = list(meta_model("resnet20").state_dict())
    assert keys[6:12] == ["layer1.0.conv1.weight", *norm_keys("layer1.0.bn1")] and keys[-2:] == [
        "linear.weight",
        "linear.bias",
    ]


def torch_resnet(torch, state, x):
    """ResNet's forward from a state, in plain PyTorch functions."""
    F = torch.nn.functional

    def norm(x, path):
        return F.batch_norm(x, *(state[f"{path}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")))

    x = F.max_pool2d(F.relu(norm(F.conv2d(x, state["conv1.weight"], stride=2, padding=3), "bn1")), 3, 2, 1)
    for stage in range(1, 5):
        for block in range(2):
            path, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.conv2d(x, state[f"{path}.conv1.weight"], stride=stride, padding=1)
            y = norm(F.conv2d(F.relu(norm(y, f"{path}.bn1")), state[f"{path}.conv2.weight"], padding=1), f"{path}.bn2")
            if f"{path}.downsample.0.weight" in state:
                x = norm(F.conv2d(x, state[f"{path}.downsample.0.weight"], stride=stride), f"{path}.downsample.1")
            x = F.relu(x + y)
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


def test_resnet18_computes_what_pytorch_does():
    torch = pytest.importorskip("torch")
    cool.manual_seed(0)
    net = models.create("resnet18", num_classes=10).eval()
    for i, buffer in enumerate(b for b in net.buffers() if b.dtype.kind == "f"):
        buffer.copy_(abs(numbers(*buffer.shape, seed=i)) * 0.2 + 0.5)
    state = {name: torch.tensor(np.ascontiguousarray(tensor.numpy())) for name, tensor in net.state_dict().items()}
    x = numbers(2, 3, 48, 40)
    expected = torch_resnet(torch, state, torch.tensor(x)).numpy()
    np.testing.assert_allclose(net(cool.tensor(x)).numpy(), expected, rtol=1e-3, atol=1e-4 * abs(expected).max())


def test_vgg_features_compute_what_pytorch_does():
    torch = pytest.importorskip("torch")
    layers, channels = [], 3
    for width in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if width == "M":
            layers.append(torch.nn.MaxPool2d(2, 2))
        else:
            layers += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.ReLU()]
            channels = width
    theirs = torch.nn.Sequential(*layers)
    net = meta_model("vgg11")
    net.features.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    x = numbers(1, 3, 40, 35)
    expected = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(
        net.features(cool.tensor(x)).numpy(), expected, rtol=1e-3, atol=1e-4 * abs(expected).max()
    )


# --- registry ---------------------------------------------------------------------------------------------------------


def test_unknown_names_suggest_known_ones():
    for wrong, right in (("resnet-18", "resnet18"), ("VGG_19", "vgg19"), ("lenet", "lenet5"), ("smalvgg", "small_vgg")):
        with pytest.raises(ValueError, match=f"no model is named '{wrong}'; did you mean .*{right}"):
            models.create(wrong)
    with pytest.raises(ValueError, match="there are: alexnet"):
        models.create("zzz")
    with pytest.raises(ValueError, match="num_classes must be 1 or more, not 0"):
        models.create("lenet5", num_classes=0)
    with pytest.raises(ValueError, match="already"):
        models.register(models.get_config("lenet5"))


def test_names_can_be_filtered():
    assert models.list_models("resnet?0") == ["resnet20", "resnet50"]
    assert models.list_models("*_bn") == ["vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"]


def test_inner_activations_end_the_pass_and_carry_gradients():
    net = models.create("small_vgg").eval()
    x = cool.tensor(numbers(1, 3, 16, 16), requires_grad=True)
    found = models.features(net, x, ["features.2", "features.0"])
    assert list(found) == ["features.2", "features.0"]
    found["features.2"].sum().backward()
    assert x.grad is not None and not any(module._forward_hooks for module in net.modules())
    with pytest.raises(KeyError, match="no module 'nothing'"):
        models.features(net, x, ["nothing"])
    with pytest.raises(ValueError, match="names no stages"):
        models.features(nn.ReLU(), x)
    with pytest.raises(ValueError, match="did not run in forward: spare"):
        net.spare = nn.ReLU()
        models.features(net, x, ["spare"])
