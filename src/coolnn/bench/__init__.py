"""Measuring speed as a ratio: the same work here and in PyTorch, in turn, in one process."""

from .timing import Timing, interleave
from .workloads import WORKLOADS, Workload, run

__all__ = ["WORKLOADS", "Timing", "Workload", "interleave", "run"]
