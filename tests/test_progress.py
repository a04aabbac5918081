"""The progress bar: what a terminal shows, what a file gets, and that nothing about it can stop the work."""

from __future__ import annotations

import io
import os
import re

import pytest

from coolnn.train import Progress
from coolnn.train.progress import duration


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


class Closed(Terminal):
    def write(self, text):
        raise BrokenPipeError


def shown(stream):
    """The lines on the screen, where a carriage return goes back to the start of the line."""
    return [re.split("\r", line)[-1].replace("\x1b[K", "") for line in stream.getvalue().split("\n")]


@pytest.fixture(params=[20, 40, 80, 200])
def columns(request, monkeypatch):
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((request.param, 24)))
    return request.param


def test_bar_fits_every_width(columns):
    stream = Terminal()
    progress = Progress(50, "epoch  3/12", stream=stream, later=450)
    for _ in range(25):
        progress.update(1, 32, "loss 0.4321  acc 87.65%")
        progress.show("loss 0.4321  acc 87.65%")
        assert len(shown(stream)[0]) <= columns - 3
    if columns == 200:
        assert "█" * 12 + " " in shown(stream)[0] and "in all" in shown(stream)[0]
    progress.finish("loss 0.4")
    assert shown(stream)[0].startswith("epoch  3/12  loss 0.4") and shown(stream)[1] == ""


def test_nothing_is_cleared_before_it_is_written_over():
    stream = Terminal()
    progress = Progress(2, "x", stream=stream)
    progress.show("text")
    assert stream.getvalue().startswith("\rx") and stream.getvalue().endswith("\x1b[K")


def test_plain_characters_where_the_terminal_knows_no_others(monkeypatch):
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((80, 24)))
    stream = Terminal()
    stream.encoding = "ascii"
    progress = Progress(2, "x", stream=stream, done=1)
    progress.show("")
    assert "###" in stream.getvalue() and stream.getvalue().isascii()


def test_one_line_in_a_file_and_none_when_quiet():
    stream = io.StringIO()
    progress = Progress(3, "epoch 1/1", stream=stream)
    for _ in range(3):
        progress.update(1, 8, "loss 1")
    progress.finish("loss 1")
    assert stream.getvalue().count("\n") == 1 and "\r" not in stream.getvalue() and "img/s" in stream.getvalue()
    quiet = io.StringIO()
    progress = Progress(3, "epoch 1/1", stream=quiet, quiet=True)
    progress.update(1, 8, "loss 1")
    progress.finish("loss 1")
    assert quiet.getvalue() == ""


def test_time_left_counts_what_was_done_here_only():
    progress = Progress(100, "x", stream=Terminal(), done=90, later=100)
    assert progress._time_left(5.0) == ""
    progress.done = 95
    assert progress._time_left(5.0) == "  5s left, 1m45s in all"


def test_closed_terminal_does_not_stop_the_work():
    progress = Progress(2, "x", stream=Closed())
    progress.show("text")
    progress.finish("text")
    progress.abandon()


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (59.4, "59s"), (125, "2m05s"), (3720, "1h02m")])
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_work_that_is_broken_off_takes_the_bar_away_and_its_error_goes_on():
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt), Progress(2, "x", stream=stream) as progress:
        progress.show("text")
        assert "text" in shown(stream)[0]
        raise KeyboardInterrupt
    assert shown(stream) == [""]
    with Progress(2, "x", stream=stream) as progress:
        progress.finish("done")
    assert "done" in shown(stream)[0]
