"""Everything that decides how a network is trained, as plain values that can be written down."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
SCHEDULES = ("constant", "step", "cosine", "one_cycle")


class SettingError(ValueError):
    """A setting with a value that cannot work: its `name`, the `rule` for it and the `value`."""

    def __init__(self, name: str, rule: str, value: Any) -> None:
        super().__init__(f"{name} must be {rule}, not {value!r}")
        self.name, self.rule, self.value = name, rule, value


@dataclass(frozen=True)
class Settings:
    """How to train: two runs with equal settings, data and network end with the same bits.

    `lr` is the largest learning rate that the schedule reaches; `warmup` is in epochs; `ema` is the decay of the
    averaged weights (None: no average); `patience` is how many epochs without a better validation result end the run;
    `mixup` and `cutmix` are the parameters of their Beta distributions (0: off).
    """

    epochs: int = 10
    batch_size: int = 64
    optimizer: str = "adamw"
    lr: float = 2e-3
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-2
    schedule: str = "one_cycle"
    warmup: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    clip_norm: float | None = None
    ema: float | None = None
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        def need(good: bool, name: str, rule: str) -> None:
            if not good:
                raise SettingError(name, rule, getattr(self, name))

        need(self.epochs >= 1, "epochs", "1 or more")
        need(self.batch_size >= 1, "batch_size", "1 or more")
        need(self.optimizer in OPTIMIZERS, "optimizer", "one of " + ", ".join(OPTIMIZERS))
        need(self.schedule in SCHEDULES, "schedule", "one of " + ", ".join(SCHEDULES))
        need(0 < self.lr < float("inf"), "lr", "a positive number")
        need(0 <= self.momentum < 1, "momentum", "at least 0 and below 1")
        need(0 <= self.weight_decay < float("inf"), "weight_decay", "0 or more")
        need(0 <= self.warmup <= self.epochs, "warmup", f"between 0 and the {self.epochs} epochs of the run")
        need(
            self.warmup == 0 or self.schedule != "one_cycle",
            "warmup",
            "0 with the schedule one_cycle, which has a warm-up of its own (cosine, step and constant have none)",
        )
        need(0 <= self.label_smoothing < 1, "label_smoothing", "at least 0 and below 1")
        need(0 <= self.mixup < float("inf"), "mixup", "0 or more")
        need(0 <= self.cutmix < float("inf"), "cutmix", "0 or more")
        need(not (self.mixup and self.cutmix), "cutmix", "0 where mixup is not: choose one of the two")
        need(self.clip_norm is None or self.clip_norm > 0, "clip_norm", "a positive number")
        need(self.ema is None or 0 < self.ema < 1, "ema", "between 0 and 1")
        need(self.patience is None or self.patience >= 1, "patience", "1 or more")
        need(0 <= self.seed < 2**64, "seed", "a whole number from 0 to 2^64 - 1")

    def but(self, **changes: Any) -> Settings:
        """These settings with some values changed; raises TypeError that lists the names for an unknown one."""
        names = [f.name for f in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                raise TypeError(f"there is no setting '{name}'; the settings are: {', '.join(names)}")
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The settings as a dict of plain values."""
        return dataclasses.asdict(self)
