"""Measuring speed as a ratio: the same work here and in other programs, in turn, in one process."""

from .timing import Timing, interleave
from .workloads import STYLES, WORKLOADS, ZOO, Workload, run

__all__ = ["STYLES", "WORKLOADS", "ZOO", "Timing", "Workload", "interleave", "run"]
