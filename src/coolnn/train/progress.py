"""Progress of long work on a terminal: one line that is redrawn, or plain lines where nobody watches."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

_BLOCKS = " ▏▎▍▌▋▊▉█"


def duration(seconds: float) -> str:
    """A time for people: 8s, 2m05s, 1h02m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Progress:
    """A progress bar: `update` as often as you like, it redraws at most ten times a second.

    On anything but a terminal it is silent until `finish`, which prints one line; `quiet` prints nothing at all.
    """

    def __init__(
        self, total: int, label: str, unit: str = "images", stream: TextIO | None = None, quiet: bool = False
    ) -> None:
        self.total = total
        self.label = label
        self.unit = unit
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.live = not quiet and self.stream.isatty()
        self.done = 0
        self.counted = 0  # units since the start, for the rate
        self.started = time.monotonic()
        self._drawn = 0.0

    def update(self, steps: int, units: int, text: str) -> None:
        """Moves on by `steps` of the total; `units` is what the rate counts (pictures); `text` the figures to show."""
        self.done += steps
        self.counted += units
        now = time.monotonic()
        if self.live and (now - self._drawn > 0.1 or self.done >= self.total):
            self._drawn = now
            self._draw(now, text)

    def _draw(self, now: float, text: str) -> None:
        elapsed = max(now - self.started, 1e-9)
        share = min(self.done / max(self.total, 1), 1.0)
        left = elapsed / self.done * (self.total - self.done) if self.done else 0.0
        tail = f" {text}  {self.counted / elapsed:,.0f} {self.unit}/s  {duration(left)} left"
        width = shutil.get_terminal_size().columns
        bar = max(8, min(24, width - len(self.label) - len(tail) - 3))
        eighths = round(share * bar * 8)
        drawn = ("█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")).ljust(bar)
        self.stream.write("\r\x1b[K" + f"{self.label} {drawn}{tail}"[: width - 1])
        self.stream.flush()

    def finish(self, text: str) -> None:
        """Ends the bar and leaves one line that says how it went."""
        if self.quiet:
            return
        elapsed = max(time.monotonic() - self.started, 1e-9)
        if self.live:
            self.stream.write("\r\x1b[K")
        self.stream.write(f"{self.label}  {text}  {self.counted / elapsed:,.0f} {self.unit}/s  {duration(elapsed)}\n")
        self.stream.flush()

    def abandon(self) -> None:
        """Takes the bar away, when the work was broken off."""
        if self.live:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
