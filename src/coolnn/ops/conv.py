"""Convolution, its gradients, and transposed convolution."""

from __future__ import annotations

__all__: list[str] = []
