"""The network that paints in one pass, and the files in which trained ones are kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ... import nn
from ...data import Preprocessing
from ...formats import FileFormatError, Model, load, save

TASK = "style"
#: The trained styles that come with the package.
TRAINED = Path(__file__).parent / "trained"
#: What the network takes and gives: RGB from -2 to 2.
PIXELS = Preprocessing(channels=3, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
#: Numbers of that space are this many steps of 0..255 apart.
STEP = 0.25 * 255


def stylizer(width: int = 32, blocks: int = 5) -> nn.Sequential:
    """The image transformation network of Johnson et al. 2016 (arXiv:1603.08155), with instance normalization and with
    enlarging before convolutions in place of transposed convolutions, which leave a checkerboard.

    Input and output shape: (N, 3, H, W), H and W multiples of 4, both as `PIXELS` prepares pictures. width: channels at
    full size; a quarter of the size has four times as many.

    >>> import coolnn as cool
    >>> from coolnn.tasks.style import stylizer
    >>> stylizer(8, blocks=1)(cool.zeros(1, 3, 32, 36)).shape
    (1, 3, 32, 36)
    """
    wide, wider = 2 * width, 4 * width
    layers = [*_step(3, width, 9), *_step(width, wide, 3, 2), *_step(wide, wider, 3, 2)]
    for _ in range(blocks):
        body = nn.Sequential(*_step(wider, wider, 3), *_step(wider, wider, 3)[:-1])
        layers.append(nn.Residual(body))
    layers += [nn.Upsample(scale_factor=2, mode="bilinear"), *_step(wider, wide, 3)]
    layers += [nn.Upsample(scale_factor=2, mode="bilinear"), *_step(wide, width, 3)]
    return nn.Sequential(*layers, nn.Conv2d(width, 3, 5, padding=2, padding_mode="reflect"))


def _step(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, padding_mode="reflect")
    return [convolution, nn.InstanceNorm2d(outputs, affine=True), nn.ReLU()]


def save_style(net: nn.Module, path: str | os.PathLike[str], metrics: Mapping[str, Any]) -> None:
    """Writes a trained network as a model file with weights of half precision."""
    save(Model(net, preprocessing=PIXELS, metrics=dict(metrics), task=TASK), path, half=True)


def trained_styles() -> dict[str, Path]:
    """The styles that come with the package, by name.

    >>> from coolnn.tasks import style
    >>> all(path.suffix == ".safetensors" for path in style.trained_styles().values())
    True
    """
    return {path.stem: path for path in sorted(TRAINED.glob("*.safetensors"))}


def open_style(name: str | os.PathLike[str]) -> Model:
    """A trained style: the name of one that comes with the package, a model file, or the folder of a training run.

    Raises ValueError for a name that is not known, FileNotFoundError, or FileFormatError for a file of another kind.
    """
    known = trained_styles()
    path = known.get(os.fspath(name), Path(name))
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.exists() and Path(name).suffix == "" and os.sep not in os.fspath(name):
        raise ValueError(
            f"no trained style is named {os.fspath(name)!r}; there are: {', '.join(known) or 'none'}; or name a file"
        )
    model = load(path)
    if model.task != TASK or model.preprocessing is None:
        raise FileFormatError(f"{path} is a model for the task {model.task!r}, not a trained style")
    for tensor in model.net.state_dict().values():
        if not np.isfinite(tensor.numpy()).all():
            raise FileFormatError(f"{path} has weights that are no numbers; train the style again")
    return model
