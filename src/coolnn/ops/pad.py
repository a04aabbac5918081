"""Padding with zeros, by reflection and by the edge."""

from __future__ import annotations

__all__: list[str] = []
