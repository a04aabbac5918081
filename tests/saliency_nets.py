"""Small networks with random weights that the tests of saliency maps share."""

from __future__ import annotations

import numpy as np

import coolnn as cool
from coolnn import nn


class Small(nn.Module):
    """Convolutions, batch norm, both poolings, a residual connection, and a head of two layers."""

    def __init__(self) -> None:
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Sequential(nn.Linear(8 * 16, 16), nn.ReLU(), nn.Linear(16, 5))

    def forward(self, x):
        x = self.stem(x)
        x = self.relu(x + self.conv2(self.relu(self.conv1(x))))
        return self.head(self.pool(x).flatten(1))


class Linear(nn.Module):
    """Scores that are linear in the pixels, so that every attribution is known."""

    def __init__(self, weight: np.ndarray) -> None:
        self.head = nn.Linear(int(np.prod(weight.shape[1:])), len(weight), bias=False)
        self.head.weight.copy_(cool.tensor(weight.reshape(len(weight), -1).astype(np.float32)))

    def forward(self, x):
        return self.head(x.flatten(1))


def small(seed: int = 0) -> Small:
    """The small network for inputs (3, 16, 16), with batch norm's statistics away from 0 and 1."""
    cool.manual_seed(seed)
    net = Small()
    rng = np.random.default_rng(seed)
    norm = net.stem[1]
    norm.running_mean.copy_(cool.tensor(rng.standard_normal(8).astype(np.float32) * 0.2))
    norm.running_var.copy_(cool.tensor(rng.uniform(0.5, 2, 8).astype(np.float32)))
    return net.eval()


def given(*shape: int, seed: int = 0) -> np.ndarray:
    """A random input of float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
