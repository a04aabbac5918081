"""Means and deviations of pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset
from .errors import DataError


def mean_std(dataset: Dataset, limit: int = 2000) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel, float64 (C,), of uint8 pixels as 0..1, of floats as they are.

    At most `limit` pictures, evenly spread, are looked at. Raises DataError for an empty data set.

    >>> import coolnn as cool, numpy as np
    >>> data = cool.data.ArrayDataset(np.full((3, 4, 4), 51, np.uint8), [0, 1, 0])
    >>> cool.data.mean_std(data)[0].round(6).tolist()
    [0.2]
    """
    if not len(dataset):
        raise DataError(f"{dataset.name} is empty; statistics need at least one picture")
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(limit, len(dataset))).round().astype(np.int64))
    count, total, squares = 0, np.zeros(0), np.zeros(0)
    for start in range(0, len(chosen), 256):
        part = chosen[start : start + 256]
        gathered = dataset.gather(part)
        for images in [gathered] if gathered is not None else (dataset[int(i)][0] for i in part):
            pixels = images.reshape(-1, images.shape[-1])
            if count == 0:
                total, squares = np.zeros(pixels.shape[1]), np.zeros(pixels.shape[1])
            elif pixels.shape[1] != len(total):
                raise DataError(f"{dataset.name} mixes pictures of {len(total)} and {pixels.shape[1]} channels")
            scale = 1 / 255 if pixels.dtype == np.uint8 else 1.0
            values = pixels.astype(np.float64) * scale
            count += len(values)
            total += values.sum(axis=0)
            squares += np.square(values).sum(axis=0)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))
