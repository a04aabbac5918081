"""Max, average and adaptive pooling."""

from __future__ import annotations

__all__: list[str] = []
