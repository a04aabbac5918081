"""Pictures, data sets, transforms and batches.

Pictures flow as uint8 arrays (H, W, C) from files or arrays through transforms; a `Loader` makes batches of them,
float32 (N, C, H, W) with channels-last memory, which `coolnn.from_numpy` takes without a copy. `load` finds data sets
by name or path; only `get` uses the network.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .augmentations import AUGMENTATIONS, augmentation
    from .binary import Cifar10Binary, IdxDataset, digits, read_idx, read_npz
    from .cache import Shrunk
    from .classes import class_names, wordnet_ids
    from .dataset import ArrayDataset, Concat, Dataset, Relabelled, Skipped, Subset, in_memory
    from .download import Progress
    from .draws import Draws, permutation
    from .errors import DataError, ImageError, MissingDataError
    from .folder import FolderDataset, load_folder, picture_files
    from .image import EXTENSIONS, read_image, resize_image, to_channels, to_size
    from .loader import Batch, Loader
    from .mix import CutMix, Mix, Mixup, one_hot
    from .named import NAMED, available, data_folder, default_augmentation, get, load
    from .preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
    from .presets import PRESETS, Described, adapted
    from .split import Splits, path_share, split_dataset, split_indices, split_paths
    from .statistics import mean_std
    from .transforms import (
        CenterCrop,
        Compose,
        Grayscale,
        HorizontalFlip,
        RandomApply,
        RandomCrop,
        RandomErasing,
        RandomResizedCrop,
        Resize,
        ToSize,
        Transform,
        VerticalFlip,
    )
    from .warp import Affine, ColorJitter, Rotation, Translate

__all__ = [
    "AUGMENTATIONS",
    "EXTENSIONS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "NAMED",
    "PRESETS",
    "Affine",
    "ArrayDataset",
    "Batch",
    "CenterCrop",
    "Cifar10Binary",
    "ColorJitter",
    "Compose",
    "Concat",
    "CutMix",
    "DataError",
    "Dataset",
    "Described",
    "Draws",
    "FolderDataset",
    "Grayscale",
    "HorizontalFlip",
    "IdxDataset",
    "ImageError",
    "Loader",
    "MissingDataError",
    "Mix",
    "Mixup",
    "Preprocessing",
    "Progress",
    "RandomApply",
    "RandomCrop",
    "RandomErasing",
    "RandomResizedCrop",
    "Relabelled",
    "Resize",
    "Rotation",
    "Shrunk",
    "Skipped",
    "Splits",
    "Subset",
    "ToSize",
    "Transform",
    "Translate",
    "VerticalFlip",
    "adapted",
    "augmentation",
    "available",
    "class_names",
    "data_folder",
    "default_augmentation",
    "digits",
    "get",
    "in_memory",
    "load",
    "load_folder",
    "mean_std",
    "one_hot",
    "path_share",
    "permutation",
    "picture_files",
    "read_idx",
    "read_image",
    "read_npz",
    "resize_image",
    "split_dataset",
    "split_indices",
    "split_paths",
    "to_channels",
    "to_size",
    "wordnet_ids",
]

#: Where each name is found. Loaded when first used, so that a network is there without readers of pictures.
_HOMES = {
    "augmentations": "AUGMENTATIONS augmentation",
    "binary": "Cifar10Binary IdxDataset digits read_idx read_npz",
    "cache": "Shrunk",
    "classes": "class_names wordnet_ids",
    "dataset": "ArrayDataset Concat Dataset Relabelled Skipped Subset in_memory",
    "download": "Progress",
    "draws": "Draws permutation",
    "errors": "DataError ImageError MissingDataError",
    "folder": "FolderDataset load_folder picture_files",
    "image": "EXTENSIONS read_image resize_image to_channels to_size",
    "loader": "Batch Loader",
    "mix": "CutMix Mix Mixup one_hot",
    "named": "NAMED available data_folder default_augmentation get load",
    "preprocessing": "IMAGENET_MEAN IMAGENET_STD Preprocessing",
    "presets": "PRESETS Described adapted",
    "split": "Splits path_share split_dataset split_indices split_paths",
    "statistics": "mean_std",
    "transforms": "CenterCrop Compose Grayscale HorizontalFlip RandomApply RandomCrop RandomErasing RandomResizedCrop "
    "Resize ToSize Transform VerticalFlip",
    "warp": "Affine ColorJitter Rotation Translate",
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names.split():
            value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'coolnn.data' has no attribute '{name}'")
