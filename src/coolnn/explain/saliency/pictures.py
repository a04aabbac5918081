"""Pictures as networks take them, and as people see them again."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ... import nn
from ...data import DataError, Preprocessing
from ...data.image import check_image, read_image
from ...tensor import Tensor
from .. import images

Array = NDArray[np.float32]


def prepared(picture: Any, net: nn.Module, preprocessing: Preprocessing | None) -> tuple[Array, NDArray[np.uint8]]:
    """A picture as the network's input (1, C, H, W), and what is to be seen of it: uint8 (H, W, 3).

    picture: a path, a file's bytes, a PIL image, or an array (H, W) or (H, W, C) of uint8 or of floats 0..1; a Tensor
    or an array (1, C, H, W) of floats is an input already. Raises DataError for what is none, FileNotFoundError.
    """
    if isinstance(picture, Tensor):
        picture = picture.numpy()
    if isinstance(picture, np.ndarray) and picture.ndim == 4 and picture.dtype.kind == "f":
        return _given(picture, preprocessing)
    if isinstance(picture, np.ndarray):
        pixels: Any = check_image(picture)
    elif isinstance(picture, Image.Image):
        pixels = np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
    elif isinstance(picture, str | os.PathLike | bytes):
        pixels = read_image(picture)
    else:
        raise DataError(f"a picture is a path, bytes, a PIL image or an array, not {type(picture).__name__}")
    prepare = preprocessing or Preprocessing(channels=_channels(net))
    if pixels.dtype.kind == "f" and not (prepare.scale == 1 and max(prepare.mean) <= 1):
        pixels = np.rint(np.clip(np.nan_to_num(pixels), 0, 1) * 255).astype(np.uint8)
    seen = prepare.prepare(check_image(pixels))
    return np.ascontiguousarray(prepare.normalize(seen[None])), images.picture(seen)


def _given(x: Any, preprocessing: Preprocessing | None) -> tuple[Array, NDArray[np.uint8]]:
    if len(x) != 1 or not np.isfinite(x).all():
        raise DataError(f"an input is one picture (1, C, H, W) of finite numbers, not {x.shape}")
    if preprocessing is not None and len(preprocessing.mean) in (1, x.shape[1]):
        seen: Any = preprocessing.denormalize(x)[0]
    else:
        low, high = float(x.min()), float(x.max())
        seen = ((x[0].transpose(1, 2, 0) - low) / ((high - low) or 1)).astype(np.float32)
    if seen.shape[2] > 4:  # more channels than colours: how strong they are together
        seen = np.asarray(seen, np.float32).mean(2, keepdims=True) / (1 if seen.dtype.kind == "f" else 255)
    return np.ascontiguousarray(x, np.float32), images.picture(seen)


def _channels(net: nn.Module) -> int | None:
    """How many channels the first convolution takes, where that is grey or colour."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            channels = int(module.weight.shape[1]) * module.groups
            return channels if channels in (1, 3) else None
    return None
