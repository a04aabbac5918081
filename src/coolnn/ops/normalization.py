"""Batch, instance, group and layer norm."""

from __future__ import annotations

__all__: list[str] = []
