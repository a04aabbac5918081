"""Why this answer: what in a picture a network's answer rests on, and whether such a map means anything."""

from .rules import backward_rule

__all__ = ["backward_rule"]
