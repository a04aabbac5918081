"""What can go wrong with data; every message quotes the value and says what to do."""

from __future__ import annotations


class DataError(ValueError):
    """A data set, picture or choice that cannot be used as it is."""


class ImageError(DataError):
    """A file that cannot be read as a picture, and the `reason`."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file} cannot be read as a picture ({reason}); repair or remove it")
        self.reason = reason


class MissingDataError(FileNotFoundError):
    """A data set that is not on this computer; the message says how to get it."""
