"""Reshape, permute, broadcast, slice, concatenate and other movements of numbers."""

from __future__ import annotations

__all__: list[str] = []
