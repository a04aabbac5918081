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

    In a `with` block it goes away if the work ends in an error or an interruption.

    unit: what the rate counts, "" for no rate. `done` of the `total` steps may be behind already; `later` steps will
    follow in further bars, for the time left in all. On anything but a terminal it is silent until `finish`, which
    prints one line; `quiet` prints nothing at all.
    """

    def __init__(
        self,
        total: int,
        label: str,
        unit: str = "img",
        stream: TextIO | None = None,
        quiet: bool = False,
        done: int = 0,
        later: int = 0,
    ) -> None:
        self.total = total
        self.label = label
        self.unit = unit
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.live = not quiet and self.stream.isatty()
        self.done = done
        self.later = later
        self.counted = 0  # units since the start, for the rate
        self.started = time.monotonic()
        self._began_at = done
        self._drawn = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            self.abandon()

    def update(self, steps: int, units: int, text: str) -> None:
        """Moves on by `steps` of the total; `units` is what the rate counts (pictures); `text` the figures to show."""
        self.done += steps
        self.counted += units
        if time.monotonic() - self._drawn > 0.1:
            self.show(text)

    def show(self, text: str) -> None:
        """Draws the bar now."""
        if not self.live:
            return
        now = self._drawn = time.monotonic()
        elapsed = max(now - self.started, 1e-9)
        rate = f"  {self.counted / elapsed:,.0f} {self.unit}/s" if self.unit else ""
        tail = f"  {text}{rate}{self._time_left(elapsed)}"
        width = shutil.get_terminal_size().columns
        width -= 3  # for the ^C that the terminal may write
        room = width - len(self.label) - len(tail) - 1
        bar = next((size for size in (24, 16, 8, 4) if size <= room), 0)  # few sizes: it must not twitch with the text
        drawn = " " + self._bar(bar) if bar else ""
        # What is shown is written over, and only what is left of it is cleared: no flicker.
        self._write("\r" + f"{self.label}{drawn}{tail}"[:width] + "\x1b[K")

    def _time_left(self, elapsed: float) -> str:
        if self.done == self._began_at:
            return ""
        step = elapsed / (self.done - self._began_at)
        here = step * (self.total - self.done)
        return f"  {duration(here)} left" + (f", {duration(here + step * self.later)} in all" if self.later else "")

    def _bar(self, width: int) -> str:
        share = min(self.done / max(self.total, 1), 1.0)
        if not (self.stream.encoding or "").lower().startswith("utf"):
            return ("#" * round(share * width)).ljust(width, ".")
        eighths = round(share * width * 8)
        return ("█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")).ljust(width)

    def finish(self, text: str) -> None:
        """Ends the bar and leaves one line that says how it went."""
        if self.quiet:
            return
        elapsed = max(time.monotonic() - self.started, 1e-9)
        end = "\x1b[K\n" if self.live else "\n"
        start = "\r" if self.live else ""
        rate = f"  {self.counted / elapsed:,.0f} {self.unit}/s" if self.counted else ""
        self._write(f"{start}{self.label}  {text}{rate}  {duration(elapsed)}{end}")

    def abandon(self) -> None:
        """Takes the bar away, when the work was broken off."""
        if self.live:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):  # nobody reads any more (a closed terminal or pipe): no reason to stop the work
            self.quiet, self.live = True, False
