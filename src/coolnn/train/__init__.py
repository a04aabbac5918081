"""Training: the loop, its settings, checkpoints and what may watch it."""

from .callbacks import Callback, TensorBoard
from .progress import Progress
from .settings import SettingError, Settings
from .trainer import Evaluation, Trainer, TrainingError, evaluate

__all__ = [
    "Callback",
    "Evaluation",
    "Progress",
    "SettingError",
    "Settings",
    "TensorBoard",
    "Trainer",
    "TrainingError",
    "evaluate",
]
