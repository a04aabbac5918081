"""The training loop: learning, resuming after a real kill, interruption, early stop, what is written."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import coolnn as cool
from coolnn import data, train
from coolnn.data import ArrayDataset, Loader
from coolnn.train import Settings, TrainingError, checkpoint


def corners(count=96, seed=0):
    """Pictures that are easy to tell apart: a bright square in one of three corners."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.integers(0, 80, (count, 12, 12, 1)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        y, x = [(0, 0), (0, 6), (6, 0)][label]
        image[y : y + 6, x : x + 6] += 150
    return ArrayDataset(images, labels, ["a", "b", "c"])


def small_net():
    cool.manual_seed(0)
    return cool.nn.Sequential(
        cool.nn.Conv2d(1, 6, 3, padding=1),
        cool.nn.BatchNorm2d(6),
        cool.nn.ReLU(),
        cool.nn.MaxPool2d(2),
        cool.nn.Flatten(),
        cool.nn.Dropout(0.2),
        cool.nn.Linear(6 * 36, 3),
    )


def loaders(batch=16):
    return Loader(corners(), batch, shuffle=True), Loader(corners(48, seed=1), 16)


@pytest.mark.parametrize("optimizer", train.settings.OPTIMIZERS)
def test_every_optimizer_learns(optimizer):
    trainer = cool.Trainer(small_net(), *loaders(), epochs=6, lr=5e-3, optimizer=optimizer, quiet=True)
    assert trainer.fit()[-1]["val_accuracy"] > 0.9


@pytest.mark.parametrize("schedule", train.settings.SCHEDULES)
def test_every_schedule_learns(schedule):
    warmup = 0 if schedule == "one_cycle" else 1
    trainer = cool.Trainer(small_net(), *loaders(), epochs=6, lr=5e-3, schedule=schedule, warmup=warmup, quiet=True)
    assert trainer.fit()[-1]["val_accuracy"] > 0.9


def test_same_seed_same_bits_on_any_number_of_threads():
    def weights(threads):
        with cool.options(threads=threads):
            net = small_net()
            cool.Trainer(net, *loaders(), epochs=2, quiet=True, ema=0.9).fit()
        return [p.numpy().copy() for p in net.parameters()]

    first = weights(1)
    for threads in (1, 2, 3):
        assert all(np.array_equal(a, b) for a, b in zip(first, weights(threads), strict=True))


SCRIPT = textwrap.dedent("""
    import os, signal, sys
    sys.path.insert(0, {tests!r})
    import test_train
    from coolnn.train import Callback, trainer
    trainer.CHECKPOINT_SECONDS = {interval}

    class Killer(Callback):
        steps = 0
        def on_step(self, trainer, loss):
            self.steps += 1
            if self.steps == {kill_at}:
                os.kill(os.getpid(), signal.SIGKILL)

    test_train.full_run({folder!r}, [Killer()], resume={resume})
""")


def full_run(folder, callbacks=(), resume=False):
    """A run with all that has a state: shuffling, augmentation, mixup, dropout, batch norm, momentum, average."""
    loader = Loader(
        corners(),
        16,
        shuffle=True,
        transform=[data.HorizontalFlip(), data.RandomCrop(12, padding=2)],
        mix=data.Mixup(0.4),
    )
    trainer = cool.Trainer(
        small_net(),
        loader,
        Loader(corners(48, 1), 16),
        Settings(epochs=4, batch_size=16, lr=5e-3, ema=0.9, clip_norm=1.0, label_smoothing=0.1),
        folder=folder,
        callbacks=list(callbacks),
        quiet=True,
    )
    trainer.fit(resume=resume and trainer.checkpoint_path.exists())
    return trainer


def run_script(folder, kill_at, resume, interval):
    script = SCRIPT.format(
        tests=os.path.dirname(__file__), folder=str(folder), kill_at=kill_at, resume=resume, interval=interval
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("kills", "interval"),
    [
        ([3], 0.0),  # in the middle of the first epoch, a checkpoint every step
        ([6, 5, 8], 0.0),  # at the end of an epoch, and again, and again
        ([2], 1e9),  # before there is any checkpoint
        ([15], 1e9),  # in the third epoch, with checkpoints at the ends of epochs only
    ],
)
def test_killed_and_resumed_run_ends_with_the_same_bits(tmp_path, kills, interval):
    whole = full_run(tmp_path / "whole")
    folder = tmp_path / "killed"
    for i, kill_at in enumerate(kills):
        done = run_script(folder, kill_at, resume=i > 0, interval=interval)
        assert done.returncode == -signal.SIGKILL, done.stderr
    done = run_script(folder, kill_at=-1, resume=True, interval=interval)
    assert done.returncode == 0, done.stderr
    state = checkpoint.load(folder / "checkpoint.safetensors")
    for name, tensor in whole.net.state_dict().items():
        assert np.array_equal(tensor.numpy(), np.asarray(state["net"][name])), name
    assert (folder / "results.csv").read_text() == (tmp_path / "whole" / "results.csv").read_text()
    assert state["history"] == whole.history


def test_interrupt_ends_cleanly_and_goes_on(tmp_path):
    class Interrupter(train.Callback):
        def on_step(self, trainer, loss):
            if trainer.epoch == 1 and trainer.step == 2:
                os.kill(os.getpid(), signal.SIGINT)

    whole = full_run(tmp_path / "whole")
    first = full_run(tmp_path / "run", [Interrupter()])
    assert first.interrupted and first.epoch == 1 and first.step == 2
    second = full_run(tmp_path / "run", resume=True)
    assert not second.interrupted and second.history == whole.history


def test_interrupt_while_validating_ends_cleanly_and_goes_on(tmp_path, monkeypatch):
    whole = full_run(tmp_path / "whole")
    calls = []

    def interrupting(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return evaluate(*args, **kwargs)

    evaluate = train.trainer.evaluate
    monkeypatch.setattr(train.trainer, "evaluate", interrupting)
    first = full_run(tmp_path / "run")
    assert first.interrupted and first.epoch == 1 and first.step == first.steps_per_epoch
    second = full_run(tmp_path / "run", resume=True)
    assert not second.interrupted and second.history == whole.history


def test_resume_with_other_pictures_is_refused(tmp_path):
    settings = Settings(epochs=1, batch_size=16)
    cool.Trainer(small_net(), *loaders(), settings, folder=tmp_path, quiet=True).fit()
    fewer = Loader(corners(48), 16, shuffle=True)
    with pytest.raises(TrainingError, match="6 steps then and has 3 now"):
        cool.Trainer(small_net(), fewer, loaders()[1], settings, folder=tmp_path, quiet=True).fit(resume=True)


def test_early_stop():
    noise = ArrayDataset(corners(48, 1).images, np.random.default_rng(0).integers(0, 3, 48), ["a", "b", "c"])
    trainer = cool.Trainer(
        small_net(), loaders()[0], Loader(noise), epochs=50, lr=5e-3, schedule="constant", patience=2, quiet=True
    )
    history = trainer.fit()
    assert trainer.best["epoch"] + 2 == len(history) < 50


def test_without_validation_the_last_epoch_is_kept():
    kept = []
    trainer = cool.Trainer(
        small_net(), loaders()[0], epochs=4, lr=5e-3, ema=0.9, quiet=True, on_best=lambda t: kept.append(t.epoch)
    )
    history = trainer.fit()
    assert trainer.best is history[-1] and kept == [1, 2, 3, 4]
    with pytest.raises(TrainingError, match="validation"):
        cool.Trainer(small_net(), loaders()[0], patience=3)


def test_log_is_csv(tmp_path):
    full_run(tmp_path)
    with open(tmp_path / "results.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert set(rows[0]) == {"epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy"}


def test_loss_that_is_no_number_is_named():
    images = np.zeros((32, 12, 12, 1), np.float32)
    images[5] = np.nan
    loader = Loader(ArrayDataset(images, np.arange(32) % 3, ["a", "b", "c"]), 16)
    with pytest.raises(TrainingError, match="not numbers"):
        cool.Trainer(small_net(), loader, quiet=True).fit()


def test_resume_with_other_settings_is_refused(tmp_path):
    full_run(tmp_path)
    trainer = cool.Trainer(small_net(), *loaders(), epochs=9, folder=tmp_path, quiet=True)
    with pytest.raises(TrainingError, match="epochs: 4 then, 9 now"):
        trainer.fit(resume=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("lr", 0.0), ("lr", float("nan")), ("optimizer", "sdg"), ("ema", 1.0), ("mixup", -1)],
)
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=name):
        Settings(**{name: value})


def test_unknown_setting_is_named():
    with pytest.raises(TypeError, match="no setting 'epoch'"):
        Settings().but(epoch=3)


def test_frozen_network_is_refused():
    with pytest.raises(TrainingError, match="frozen"):
        cool.Trainer(small_net().requires_grad_(False), *loaders())


def test_tensorboard_log(tmp_path):
    pytest.importorskip("tensorboard")
    cool.Trainer(small_net(), *loaders(), epochs=1, callbacks=[train.TensorBoard(tmp_path)], quiet=True).fit()
    assert any(p.stat().st_size > 100 for p in tmp_path.iterdir())
