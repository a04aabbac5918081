"""The convolutions of the networks in benchmarks/layers, in their real sizes, against sums in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coolnn.bench import layers
from coolnn.bench.layers import Layer

FOLDER = Path(__file__).parent.parent / "benchmarks" / "layers"
MODELS = {"vgg19": "vgg19", "resnet50": "resnet50", "mobilenetv2": "mobilenet_v2", "lenet5": "lenet5"}
#: ‖error‖ / ‖reference‖: Winograd's transforms of float32 are to cost no more than this, filter gradients sum longest.
BOUNDS = {"forward": 1e-5, "input_grad": 1e-5, "weight_grad": 5e-5}
SAMPLES = 48


@pytest.mark.parametrize("file", MODELS)
def test_the_files_are_what_the_command_writes(file):
    read = layers.read_layers(FOLDER / f"{file}.txt")
    assert read == layers.layers_of(MODELS[file])


def test_the_files_have_every_multiply_add():
    total = sum(layer.macs * layer.count for layer in layers.read_layers(FOLDER / "vgg19.txt"))
    assert total == pytest.approx(19.51e9, rel=1e-3)  # 19.63 G with the three linear layers


def test_lines_of_any_geometry_come_back(tmp_path):
    odd = [
        Layer(2, 8, 17, 9, 16, 1, 7, (2, 1), (0, 3, 0, 3), 4, (1, 2), 3, "a.b"),
        Layer(1, 3, 9, 9, 4, 3, 3, (1, 1), (0, 1, 2, 3), 1, (1, 1), 1, "same"),
    ]
    (tmp_path / "odd.txt").write_text(layers.write_layers("odd", odd))
    assert layers.read_layers(tmp_path / "odd.txt") == odd
    (tmp_path / "bad.txt").write_text("# x\n1 2 three\n")
    with pytest.raises(ValueError, match=r"bad.txt, line 2: this is no layer: '1 2 three'"):
        layers.read_layers(tmp_path / "bad.txt")


def sampled(layer: Layer, direction: str, arrays: list, places: list[tuple[int, ...]]) -> np.ndarray:
    """Some numbers of a pass, each as the sum that it is, in float64."""
    x, weight, bias, grad = (a.astype(np.float64) for a in arrays)
    (top, left, bottom, right), (sh, sw), (dh, dw) = layer.pad, layer.stride, layer.dilation
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    channels, filters = layer.ic // layer.groups, layer.oc // layer.groups
    found = []
    for a, b, i, j in places:
        if direction == "forward":  # picture, filter, row, column
            first = b // filters * channels
            rows, columns = i * sh + dh * np.arange(layer.kh), j * sw + dw * np.arange(layer.kw)
            seen = padded[a, first : first + channels][:, rows][:, :, columns]
            found.append((seen * weight[b]).sum() + bias[b])
        elif direction == "weight_grad":  # filter, channel, row and column of the filter
            oh, ow = grad.shape[2:]
            rows, columns = i * dh + sh * np.arange(oh), j * dw + sw * np.arange(ow)
            seen = padded[:, a // filters * channels + b][:, rows][:, :, columns]
            found.append((seen * grad[:, a]).sum())
        else:  # picture, channel, row, column
            group, total = b // channels, 0.0
            of = slice(group * filters, (group + 1) * filters)
            for r in range(layer.kh):
                for c in range(layer.kw):
                    (y, off_y), (z, off_z) = divmod(i + top - r * dh, sh), divmod(j + left - c * dw, sw)
                    if not off_y and not off_z and 0 <= y < grad.shape[2] and 0 <= z < grad.shape[3]:
                        total += grad[a, of, y, z] @ weight[of, b % channels, r, c]
            found.append(total)
    return np.array(found)


@pytest.mark.parametrize("file", MODELS)
@pytest.mark.parametrize("direction", layers.PASSES)
def test_every_layer_of_the_networks_is_exact(file, direction):
    rng = np.random.default_rng(0)
    for layer in layers.read_layers(FOLDER / f"{file}.txt"):
        layer = replace(layer, n=2 if layer.ih <= 28 else 1)
        arrays = layers.draw(layer)
        algorithm, run = layers.kernel_call(layer, direction, arrays)
        result = run()
        places = [tuple(int(rng.integers(length)) for length in result.shape) for _ in range(SAMPLES)]
        wanted = sampled(layer, direction, arrays, places)
        got = np.array([result[place] for place in places])
        error = np.linalg.norm(got - wanted) / np.linalg.norm(wanted)
        assert error < BOUNDS[direction], f"{layer.line()} by {algorithm}: {error:.1e}"
