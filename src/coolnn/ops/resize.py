"""Nearest and bilinear resizing."""

from __future__ import annotations

__all__: list[str] = []
