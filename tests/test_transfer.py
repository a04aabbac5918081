"""Weights taken up with new heads, messages where they do not fit, frozen stages; and auxiliary classifiers."""

import json

import numpy as np
import pytest
from pictures import shapes

import coolnn as cool
from coolnn import data, formats, models, nn, ops, optim
from coolnn.cli import main
from coolnn.graph import CompiledStep
from coolnn.tasks import classify
from coolnn.train import Settings


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def arrays_of(net):
    return {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()}


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet20", "shufflenet_v2_x0_5", "mobilenet_v3_small", "lenet5"])
def test_all_but_the_head_is_taken_up_for_other_classes(name):
    source = models.create(name)
    state = arrays_of(source)
    net = models.create(name, num_classes=2, weights=state)
    assert net.num_classes == 2 and net.get_submodule(net.head).weight.shape[0] == 2
    for key, array in arrays_of(net).items():
        if key.startswith(f"{net.head}."):
            assert array.shape[0] == 2 and np.isfinite(array).all() and array.any()
        else:
            np.testing.assert_array_equal(array, state[key])
    shape = (2, *net.input_size)
    assert net.eval()(cool.tensor(numbers(*shape))).shape == (2, 2)


def test_heads_of_a_seed_are_the_same():
    state = arrays_of(models.create("resnet20"))
    heads = []
    for seed in (1, 1, 2):
        cool.manual_seed(seed)
        heads.append(models.create("resnet20", num_classes=3, weights=state).linear.weight.numpy().copy())
    assert np.array_equal(heads[0], heads[1]) and not np.array_equal(heads[0], heads[2])


def test_same_classes_are_taken_up_whole_and_number_comes_from_the_file(tmp_path):
    source = models.create("resnet20", num_classes=4)
    formats.save_weights(source, tmp_path / "four.safetensors")
    for classes in (None, 4):
        net = models.create("resnet20", classes, weights=tmp_path / "four.safetensors")
        assert net.num_classes == 4
        for key, array in arrays_of(net).items():
            np.testing.assert_array_equal(array, arrays_of(source)[key])
    cool.save(net, tmp_path / "model.safetensors")  # the recipe holds no path
    assert cool.load(tmp_path / "model.safetensors").net.num_classes == 4


def test_halves_and_missing_counters_are_taken_up():
    source = arrays_of(models.create("resnet20"))
    state = {k: v.astype(np.float16) for k, v in source.items() if not k.endswith("num_batches_tracked")}
    net = models.create("resnet20", weights=state)
    assert net.bn1.num_batches_tracked.numpy() == 0 and net.conv1.weight.dtype == np.float32
    np.testing.assert_array_equal(net.conv1.weight.numpy(), state["conv1.weight"].astype(np.float32))
    optim.SGD(net.parameters()).zero_grad()
    net(cool.zeros(2, 3, 8, 8)).sum().backward()


def test_weights_that_do_not_fit_are_named_one_by_one(tmp_path):
    state = arrays_of(models.create("resnet20"))
    del state["layer2.1.conv1.weight"], state["bn1.bias"]
    state["spare"] = state["another"] = np.zeros(1, np.float32)
    with pytest.raises(ValueError) as error:
        models.create("resnet20", weights=state)
    message = str(error.value)
    assert "missing: bn1.bias, layer2.1.conv1.weight; not known: another, spare; " in message
    assert "compare their names" in message

    formats.save_weights(models.create("resnet20", in_channels=1), tmp_path / "grey.safetensors")
    with pytest.raises(
        ValueError, match=r"grey.safetensors: .*of another shape: conv1.weight \(file \(16, 1, 3, 3\)"
    ) as error:
        models.create("resnet20", weights=tmp_path / "grey.safetensors")
    assert "in_channels" in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth"):
        models.create("resnet20", weights=tmp_path / "nothing.pth")

    wide = arrays_of(models.create("resnet20"))
    wide["linear.weight"] = np.zeros((10, 32), np.float32)  # another network's, not other classes
    with pytest.raises(ValueError, match=r"linear\.weight"):
        models.create("resnet20", num_classes=3, weights=wide)


def test_weights_of_auxiliary_classifiers_are_left_where_there_are_none():
    state = arrays_of(models.create("googlenet", num_classes=3, aux_logits=True))
    assert any(key.startswith("aux1.") for key in state)
    net = models.create("googlenet", weights=state)
    assert net.num_classes == 3 and net.aux1 is None
    both = models.create("googlenet", num_classes=5, aux_logits=True, weights=state)
    assert both.aux2.fc2.weight.shape == (5, 1024) and both.aux2.fc1.weight.numpy().any()
    with pytest.raises(ValueError, match="pass aux_logits=False"):
        models.create("googlenet", aux_logits=True, weights=arrays_of(net))


# --- auxiliary classifiers --------------------------------------------------------------------------------------------


def pictures(size, count=4):
    rng = np.random.default_rng(0)
    return data.ArrayDataset(rng.integers(0, 256, (count, size, size, 3)).astype(np.uint8), np.arange(count) % 2)


def test_auxiliary_losses_are_part_of_training():
    cool.manual_seed(0)
    net = models.create("googlenet", num_classes=2, aux_logits=True)
    preprocessing = data.Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)
    trainer = cool.Trainer(
        net,
        data.Loader(pictures(32), 4, preprocessing=preprocessing),
        settings=Settings(epochs=1, batch_size=4),
        quiet=True,
    )
    x, y = cool.tensor(numbers(4, 3, 32, 32)), cool.tensor([0, 1, 0, 1])
    output = net(x)
    assert isinstance(output, models.WithAuxiliary) and [a.shape for a in output.auxiliary] == [(4, 2)] * 2
    expected = ops.cross_entropy(output.scores, y) + 0.3 * sum(ops.cross_entropy(a, y).item() for a in output.auxiliary)
    assert trainer._loss(output, y).item() == pytest.approx(expected.item(), rel=1e-6)
    assert net.eval()(x).shape == (4, 2)
    before = net.aux1.fc1.weight.numpy().copy()
    history = trainer.fit()
    assert np.isfinite(history[-1]["train_loss"]) and not np.array_equal(before, net.aux1.fc1.weight.numpy())


def test_inception_says_what_its_auxiliary_classifier_needs():
    assert models.for_size("inception_v3", 299) == {} and models.for_size("inception_v3", 150) == {"aux_logits": False}
    with nn.meta_parameters():
        net = models.create("inception_v3", num_classes=3)
    assert net.eval()(cool.meta(2, 3, 96, 96)).shape == (2, 3)
    output = net.train()(cool.meta(2, 3, 299, 299))
    assert output.scores.shape == output.auxiliary[0].shape == (2, 3) and output.weight == 0.4
    with pytest.raises(ValueError, match="aux_logits=False"):
        net(cool.meta(2, 3, 96, 96))


# --- frozen stages ----------------------------------------------------------------------------------------------------


def test_frozen_parts_stay_as_they_are():
    net = models.freeze(models.create("resnet20"), "conv1", "bn1", "layer[12]")
    assert not net.layer1.training and net.layer3.training and net.training
    net.eval().train()
    assert not net.bn1.training and net.layer3.training
    before = arrays_of(net)
    step = CompiledStep(net, ops.cross_entropy, optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1))
    step(numbers(4, 3, 16, 16), np.array([1, 2, 3, 4]))
    for key, array in arrays_of(net).items():
        assert np.array_equal(array, before[key]) == (not key.startswith(("layer3", "linear"))), key

    models.unfreeze(net, "layer2")
    assert net.layer2.training and not net.layer1.training and net.layer2[0].conv1.weight.requires_grad
    models.unfreeze(net)
    assert all(m.training for m in net.modules()) and all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("name", ["vgg11_bn", "googlenet", "squeezenet1_1", "mobilenet_v3_small", "resnet20"])
def test_backbone_is_all_but_the_last_layer(name):
    with nn.meta_parameters():
        net = models.create(name, **({"aux_logits": True} if name == "googlenet" else {}))
    models.freeze(net, "backbone")
    learned = {key.rpartition(".")[0] for key, p in net.named_parameters() if p.requires_grad}
    assert {key for key in learned if not key.startswith("aux")} == {net.head}
    assert not any(
        m.training for m in net.modules() if isinstance(m, nn.BatchNorm2d | nn.Dropout) and m not in aux(net)
    )


def aux(net):
    return [module for path in net.auxiliary for module in getattr(net, path).modules()]


def test_parts_that_are_not_there_are_named():
    with pytest.raises(ValueError, match=r"no part 'feature' .* its parts: conv1, bn1, layer1, .*backbone"):
        models.freeze(models.create("resnet20"), "feature")
    with pytest.raises(ValueError, match="does not say which layer is its last"):
        models.freeze(nn.Sequential(nn.Linear(2, 2)), "backbone")


def test_run_with_frozen_parts_keeps_them_and_resumes(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shapes(tmp_path / "shapes")
    words = ["train", "shapes", "--model", "small_vgg", "--size", "16", "--epochs", "1", "--batch", "8", "--quiet"]
    assert main([*words, "--freeze", "features.0, features.1"]) == 0
    folder = tmp_path / "runs" / "classify" / "shapes"
    assert json.loads((folder / "args.json").read_text())["freeze"] == ["features.0", "features.1"]
    cool.manual_seed(0)
    start = arrays_of(models.create("small_vgg", 3))
    trained = arrays_of(cool.load(folder / "model.safetensors").net)
    same = {key for key, array in trained.items() if np.array_equal(array, start[key])}
    assert {key for key in same if "num_batches" not in key} == {
        *(f"features.0.{k}" for k in ("weight", "bias")),
        *(f"features.1.{k}" for k in ("weight", "bias", "running_mean", "running_var")),
    }
    assert classify.resume("shapes", quiet=True).results["finished"]
    assert main([*words, "--freeze", "nothing"]) != 0
    assert "no part 'nothing'" in capsys.readouterr().err
