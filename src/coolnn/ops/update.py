"""Optimizers' updates of weights, one fused kernel each."""

from __future__ import annotations

__all__: list[str] = []
