"""Optimizers, schedules, clipping and averaging."""

from .average import ExponentialMovingAverage, clip_grad_norm_, clip_grad_value_, clipped
from .lbfgs import LBFGS
from .optimizer import SGD, Adam, AdamW, Optimizer, RMSprop
from .schedule import CosineAnnealingLR, LinearWarmup, MultiStepLR, OneCycleLR, Schedule, StepLR

__all__ = [
    "LBFGS",
    "SGD",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "ExponentialMovingAverage",
    "LinearWarmup",
    "MultiStepLR",
    "OneCycleLR",
    "Optimizer",
    "RMSprop",
    "Schedule",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clipped",
]
