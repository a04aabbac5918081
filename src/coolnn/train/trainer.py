"""The training loop: one for Python, the command line and every task."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import math
import operator
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn, ops, optim, random
from ..autograd import no_grad
from ..data import Loader
from ..files import write_text
from ..graph import Arena, Compiled, CompiledStep
from ..graph.planner import Planner
from ..models import WithAuxiliary
from ..tensor import Tensor, from_numpy
from . import checkpoint, memory
from .callbacks import Callback
from .progress import Progress
from .settings import Settings

Array = np.ndarray[Any, np.dtype[Any]]

#: A run that is killed loses at most this many seconds of work.
CHECKPOINT_SECONDS = 30.0


class TrainingError(RuntimeError):
    """A training that cannot go on, with the reason and a remedy."""


class _Stopped(Exception):
    """An evaluation was asked to stop."""


@dataclass
class Evaluation:
    """What a network answers on a data set: mean loss, accuracy, and for every picture the scores and the truth."""

    loss: float
    accuracy: float
    scores: Array  # (pictures, classes), softmax probabilities
    labels: Array  # (pictures,)

    def confusion(self) -> Array:
        """Counts[true class, predicted class]."""
        classes = self.scores.shape[1]
        counts = np.zeros((classes, classes), np.int64)
        np.add.at(counts, (self.labels, self.scores.argmax(1)), 1)
        return counts


class Trainer:
    """Trains a classifier and keeps a log, a best and a last state, so that nothing is lost whatever happens.

    `train` and `val` are `coolnn.data.Loader`s; `val` may be None: then nothing can pick an epoch, and the
    last one counts as the best (training accuracy only says how well the pictures are known by heart).
    Settings may be given whole or by name: Trainer(net, train, val, epochs=5, lr=1e-3). With a `folder` the log
    (results.csv) and the checkpoint are kept there, and `fit(resume=True)` goes on from it, bit for bit.

    >>> import coolnn as cool, numpy as np
    >>> x = np.zeros((8, 4, 4, 1), np.uint8); x[4:] = 255
    >>> y = np.repeat([0, 1], 4)
    >>> loader = cool.data.Loader(cool.data.ArrayDataset(x, y), batch_size=4, shuffle=True)
    >>> net = cool.nn.Sequential(cool.nn.Flatten(), cool.nn.Linear(16, 2))
    >>> trainer = cool.Trainer(net, loader, epochs=20, lr=0.1, quiet=True)
    >>> trainer.fit()[-1]["train_accuracy"]
    1.0
    """

    def __init__(
        self,
        net: nn.Module,
        train: Loader,
        val: Loader | None = None,
        settings: Settings | None = None,
        *,
        folder: str | os.PathLike[str] | None = None,
        callbacks: Sequence[Callback] = (),
        quiet: bool = False,
        on_best: Any = None,
        **changes: Any,
    ) -> None:
        self.net = net
        self.train_loader = train
        self.val_loader = val
        self.settings = (settings or Settings(batch_size=train.batch_size)).but(**changes)
        self.folder = None if folder is None else Path(folder)
        self.callbacks = list(callbacks)
        self.quiet = quiet
        self.on_best = on_best  # called with the trainer when an epoch is the best so far (writes the model file)
        if val is None and self.settings.patience is not None:
            raise TrainingError("patience needs validation pictures to see when training no longer helps; leave it out")
        self.steps_per_epoch = len(train)
        if self.steps_per_epoch == 0:
            raise TrainingError(
                f"there is not one batch to train on: {len(train.dataset)} pictures, batch size {train.batch_size}"
            )
        self.optimizer = make_optimizer(net, self.settings)
        self.schedule = _make_schedule(self.optimizer, self.settings, self.steps_per_epoch)
        self.average = optim.ExponentialMovingAverage(net, self.settings.ema) if self.settings.ema else None
        arena = Arena()  # training and validation take turns
        self._compiled = CompiledStep(net, self._loss, self.optimizer, self.settings.clip_norm, self.average, arena)
        self._network = Compiled(net, arena)
        self._fits = False  # whether it is known that a step has enough memory
        self.history: list[dict[str, Any]] = []
        self.epoch = 0  # finished epochs
        self.step = 0  # finished steps of the epoch under way
        self.sums = {"loss": 0.0, "correct": 0.0, "count": 0.0}  # of the epoch under way
        self.best: dict[str, Any] | None = None  # the best row of the log
        self.seconds = 0.0  # time spent training, validation included
        self.interrupted = False
        self._saved = time.monotonic()

    # --- the run -----------------------------------------------------------------------------------------------------

    def fit(self, resume: bool = False) -> list[dict[str, Any]]:
        """Trains to the end and returns the log, one row an epoch; with `resume` goes on from the folder's checkpoint.

        Ctrl-C finishes the step under way, writes a checkpoint and returns; `interrupted` then is True. Raises
        TrainingError when the loss is no longer a number, and before the first step when memory will not do.
        """
        self.interrupted = False
        random.manual_seed(self.settings.seed)
        if resume:
            self.load_checkpoint()
        for callback in self.callbacks:
            callback.on_start(self)
        self._saved = time.monotonic()
        try:
            with self._interruptible():
                while not self.interrupted and not self.finished:
                    self._run_epoch()
            if self.folder is not None and self.step:  # the end of an epoch has written its own
                self.save_checkpoint()
        finally:
            for callback in self.callbacks:
                callback.on_end(self)
        return self.history

    def _run_epoch(self) -> None:
        self.net.train()
        label = f"epoch {self.epoch + 1:>{len(str(self.settings.epochs))}}/{self.settings.epochs}"
        later = (self.settings.epochs - self.epoch - 1) * self.steps_per_epoch
        progress = Progress(self.steps_per_epoch, label, quiet=self.quiet, done=self.step, later=later)
        started = time.monotonic()
        for images, targets in self.train_loader.epoch(self.epoch, start_batch=self.step):
            loss, correct = self._train_step(images, targets)
            count = len(images)
            self.sums["loss"] += loss * count
            self.sums["correct"] += correct
            self.sums["count"] += count
            self.step += 1
            progress.update(1, count, self._figures())
            for callback in self.callbacks:
                callback.on_step(self, loss)
            if self.interrupted:
                break
            if self.folder is not None and time.monotonic() - self._saved > CHECKPOINT_SECONDS:
                self.save_checkpoint()
        progress.show(self._figures() + "  validating" * (self.val_loader is not None))
        try:
            row = None if self.interrupted else self._measure_epoch()
        except _Stopped:
            row = None
        self.seconds += time.monotonic() - started
        if row is None:
            progress.abandon()
            return
        progress.finish(_describe(row))
        self._close_epoch(row)
        for callback in self.callbacks:
            callback.on_epoch(self, row)

    def _loss(self, output: Tensor | WithAuxiliary, target: Tensor) -> Tensor:
        """Cross-entropy with the label smoothing of the settings; targets are class numbers or probabilities."""
        if isinstance(output, WithAuxiliary):
            others = [output.weight * self._loss(scores, target) for scores in output.auxiliary]
            return functools.reduce(operator.add, others, self._loss(output.scores, target))
        return ops.cross_entropy(output, target, label_smoothing=self.settings.label_smoothing)

    def _train_step(self, images: Array, targets: Array) -> tuple[float, float]:
        x, y = from_numpy(images), from_numpy(targets)
        if not self._fits:
            self._check_memory(x, y)
        loss = self._compiled(x, y)
        output = self._compiled.output
        assert output is not None
        value = loss.item()
        self._check(value, f"in step {self.step + 1} of epoch {self.epoch + 1}")
        self.schedule.step()
        truth = targets if targets.ndim == 1 else targets.argmax(1)
        return value, float((output.numpy().argmax(1) == truth).sum())

    def _check_memory(self, x: Tensor, y: Tensor) -> None:
        clip, average = self.settings.clip_norm, self.average is not None
        step = Planner(self.net, self.optimizer, True, self._loss, clip, average)
        complaint = memory.complaint(step, self.train_loader, self.val_loader, x.spec, y.spec)
        if complaint is not None:
            raise TrainingError(complaint)
        self._fits = True

    def _check(self, loss: float, where: str) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} {where}: the learning rate {self.settings.lr:g} is probably too high "
                f"(try {self.settings.lr / 10:g}), or the pictures hold values that are not numbers"
            )

    def _figures(self) -> str:
        count = max(self.sums["count"], 1.0)
        return f"loss {self.sums['loss'] / count:.4f}  acc {self.sums['correct'] / count:.2%}"

    def _measure_epoch(self) -> dict[str, Any]:
        """The row of the log for the epoch whose steps are done."""
        count = self.sums["count"]
        row: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "lr": self.optimizer.param_groups[0]["lr"],
            "train_loss": self.sums["loss"] / count,
            "train_accuracy": self.sums["correct"] / count,
        }
        if self.val_loader is not None:
            with self.averaged():
                result = evaluate(self._network, self.val_loader, stop=lambda: self.interrupted)
            self._check(result.loss, f"on the validation pictures after epoch {self.epoch + 1}")
            row |= {"val_loss": result.loss, "val_accuracy": result.accuracy}
        return row

    def _close_epoch(self, row: dict[str, Any]) -> None:
        """Enters an epoch into the log and keeps what came of it."""
        self.history.append(row)
        self.epoch += 1
        self.step = 0
        self.sums = dict.fromkeys(self.sums, 0.0)
        if self.val_loader is None or self.best is None or _merit(row) > _merit(self.best):
            self.best = row
            if self.on_best is not None:
                with self.averaged():
                    self.on_best(self)
        if self.folder is not None:
            write_text(self.folder / "results.csv", _as_csv(self.history))
            self.save_checkpoint()

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or patience is at its end."""
        return self.epoch >= self.settings.epochs or self._out_of_patience()

    def _out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.best is not None and self.epoch - self.best["epoch"] >= patience

    def evaluate(self, loader: Loader) -> Evaluation:
        """Loss and accuracy on a data set, in evaluation mode, with the averaged weights if there are any."""
        with self.averaged():
            return evaluate(self._network, loader)

    def averaged(self) -> contextlib.AbstractContextManager[Any]:
        """Inside this block the network has the averaged weights, if the settings ask for an average."""
        return self.average.swapped() if self.average is not None else contextlib.nullcontext()

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first Ctrl-C asks for an orderly end, the second one ends at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(signum: int, frame: Any) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True

        before = signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    # --- keeping and taking up ---------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that decides how the run goes on."""
        return {
            "settings": self.settings.to_dict(),
            "steps_per_epoch": self.steps_per_epoch,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "random": random.get_state(),
            "history": self.history,
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.sums,
            "best": self.best,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up a state; raises TrainingError that names the settings that differ from those of the run."""
        before, now = state["settings"], self.settings.to_dict()
        differing = [f"{k}: {before.get(k)!r} then, {v!r} now" for k, v in now.items() if before.get(k) != v]
        if differing:
            raise TrainingError("the run was started with other settings (" + "; ".join(differing) + ")")
        if state["steps_per_epoch"] != self.steps_per_epoch:
            raise TrainingError(
                f"the training pictures are not those that the run began with: an epoch had {state['steps_per_epoch']} "
                f"steps then and has {self.steps_per_epoch} now; bring them back, or begin a new run"
            )
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        random.set_state(state["random"])
        self.history = list(state["history"])
        self.epoch, self.step = int(state["epoch"]), int(state["step"])
        self.sums, self.best = dict(state["sums"]), state["best"]
        self.seconds = float(state["seconds"])

    @property
    def checkpoint_path(self) -> Path:
        """Where the state of the run is kept."""
        if self.folder is None:
            raise TrainingError("this trainer has no folder, so it keeps no checkpoint; give it folder=...")
        return self.folder / "checkpoint.safetensors"

    def save_checkpoint(self) -> None:
        """Writes the state of the run, atomically."""
        checkpoint.save(self.checkpoint_path, self.state_dict())
        self._saved = time.monotonic()

    def load_checkpoint(self) -> None:
        """Takes up the state of the folder's checkpoint."""
        self.load_state_dict(checkpoint.load(self.checkpoint_path))


def evaluate(net: nn.Module | Compiled, loader: Loader, stop: Callable[[], bool] | None = None) -> Evaluation:
    """Runs a network over a data set in evaluation mode; raises TrainingError if the data set is empty."""
    run = net if isinstance(net, Compiled) else Compiled(net)
    scores, labels = [], []
    loss = 0.0
    with no_grad():
        for images, targets in loader.epoch(0):
            if stop is not None and stop():
                raise _Stopped
            output = run(from_numpy(images))
            loss += ops.cross_entropy(output, from_numpy(targets), reduction="sum").item()
            scores.append(ops.softmax(output, 1).numpy())
            labels.append(targets)
    if not scores:
        raise TrainingError("the data set to evaluate on is empty")
    all_scores, all_labels = np.concatenate(scores), np.concatenate(labels)
    accuracy = float((all_scores.argmax(1) == all_labels).mean())
    return Evaluation(loss / len(all_labels), accuracy, all_scores, all_labels)


def _merit(row: Mapping[str, Any]) -> tuple[float, float]:
    """What makes one epoch better than another: accuracy first, then the lower loss."""
    return row["val_accuracy"], -row["val_loss"]


def _describe(row: Mapping[str, Any]) -> str:
    text = f"loss {row['train_loss']:.4f}  acc {row['train_accuracy']:.2%}"
    if "val_loss" in row:
        text += f"  val loss {row['val_loss']:.4f}  acc {row['val_accuracy']:.2%}"
    return text


def _as_csv(history: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def make_optimizer(net: nn.Module, settings: Settings) -> optim.Optimizer:
    """Weight decay is for filters and matrices; biases and norm parameters are left out of it, as is usual."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    if not parameters:
        raise TrainingError("the network has no parameter that may be trained (are all of them frozen?)")
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        nesterov = settings.nesterov and settings.momentum > 0
        return optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=nesterov)
    if settings.optimizer == "rmsprop":
        return optim.RMSprop(groups, lr=settings.lr, momentum=settings.momentum)
    return {"adam": optim.Adam, "adamw": optim.AdamW}[settings.optimizer](groups, lr=settings.lr)


def _make_schedule(optimizer: optim.Optimizer, settings: Settings, steps_per_epoch: int) -> optim.Schedule:
    total = settings.epochs * steps_per_epoch
    if settings.schedule == "one_cycle":
        return optim.OneCycleLR(optimizer, settings.lr, total_steps=total)
    warmup = round(settings.warmup * steps_per_epoch)
    then: optim.Schedule | None = None
    if settings.schedule == "cosine":
        then = optim.CosineAnnealingLR(optimizer, T_max=max(total - warmup, 1))
    elif settings.schedule == "step":
        then = optim.StepLR(optimizer, step_size=max((total - warmup) // 3, 1), gamma=0.1)
    if then is not None and not warmup:
        return then
    return optim.LinearWarmup(optimizer, warmup, then=then)
