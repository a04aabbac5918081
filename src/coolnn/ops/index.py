"""Picking numbers by index: take, gather."""

from __future__ import annotations

__all__: list[str] = []
