"""What may watch a training: TensorBoard, or anything of the user's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback:
    """Is told what happens; every method may be left out."""

    def on_start(self, trainer: Trainer) -> None:
        """Before the first step."""

    def on_step(self, trainer: Trainer, loss: float) -> None:
        """After every step, with its loss."""

    def on_epoch(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """After every epoch, with its row of the log."""

    def on_end(self, trainer: Trainer) -> None:
        """After the last step, also when the run was broken off."""


class TensorBoard(Callback):
    """Writes the log for TensorBoard; needs the extra `tensorboard` (pip install coolnn[tensorboard])."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise ImportError(
                "TensorBoard logging needs the package tensorboard: pip install 'coolnn[tensorboard]'"
            ) from error
        self._summary = Summary
        self._writer = EventFileWriter(os.fspath(folder))

    def on_epoch(self, trainer: Trainer, row: dict[str, Any]) -> None:
        import time

        from tensorboard.compat.proto.event_pb2 import Event

        values = [
            self._summary.Value(tag=tag.replace("_", "/", 1), simple_value=float(value))
            for tag, value in row.items()
            if tag != "epoch" and value is not None
        ]
        self._writer.add_event(
            Event(wall_time=time.time(), step=int(row["epoch"]), summary=self._summary(value=values))
        )

    def on_end(self, trainer: Trainer) -> None:
        self._writer.close()
