"""Image classification, the whole job: from a folder of pictures to a trained network with a report, and its use."""

from __future__ import annotations

import dataclasses
import errno
import glob
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, data, models, nn, ops
from ..autograd import no_grad
from ..files import write_json
from ..formats import FileFormatError, Model, load, load_weights, open_pretrained, save, tensors
from ..formats.pretrained import DEFAULT, describe_file, label_names, preprocessing_for
from ..graph import compile
from ..graph.precision import Precision
from ..random import manual_seed
from ..tensor import from_numpy
from ..train import Callback, Evaluation, Settings, TensorBoard, Trainer, evaluate
from . import classify_report
from .recipes import recipe_for

TASK = "classify"
MODEL_FILE = "model.safetensors"
CHECKPOINT_FILE = "checkpoint.safetensors"


@dataclass
class Run:
    """A training run and what came of it."""

    folder: Path
    results: dict[str, Any]
    interrupted: bool = False

    def table(self) -> str:
        """The results as a table for the terminal."""
        return classify_report.results_table(self.results, self.folder)


@dataclass(frozen=True)
class Plan:
    """All that defines a run, as it is kept in args.json: a resumed run reads it from there."""

    data: str
    model: str
    size: int
    augment: str
    val: float
    settings: Settings
    tensorboard: bool = False
    freeze: Sequence[str] = ()
    weights: str | None = None  # a file, or "default" for the published ones
    preprocessing: dict[str, Any] | None = None  # what those weights want of pictures; else it is measured

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**self.__dict__, "settings": self.settings.to_dict(), "coolnn": __version__}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Plan:
        """The plan that `to_dict` described."""
        kept = {k: v for k, v in values.items() if k != "coolnn"}
        return Plan(**{**kept, "settings": Settings(**values["settings"])})


# --- training --------------------------------------------------------------------------------------------------------


def train(
    source: str | os.PathLike[str],
    *,
    model: str | None = None,
    size: int | None = None,
    augment: str | None = None,
    val: float | None = None,
    freeze: Sequence[str] = (),
    weights: str | os.PathLike[str] | None = None,
    preprocessing: data.Described | None = None,
    name: str | None = None,
    runs: str | os.PathLike[str] = "runs",
    workers: int | None = None,
    tensorboard: bool = False,
    quiet: bool = False,
    **changes: Any,
) -> Run:
    """Trains a network on a folder of pictures or a named data set and writes runs/classify/<name>/.

    What is not given comes from the data set's recipe, or from that for fine-tuning where the network begins with
    `weights` (a file, or "default" for the published ones; `preprocessing`: what they want of pictures, see
    `formats.preprocessing_for`). `freeze`: parts of the network that stay as they are, see `models.freeze`; `changes`
    are fields of `train.Settings`. Raises DataError, ValueError or TrainingError that say what is wrong and what to do.
    """
    recipe = recipe_for(str(source), fine_tuning=weights is not None)
    if weights is not None:
        weights = DEFAULT if weights == DEFAULT else Path(weights).resolve()
        model = model or (None if weights == DEFAULT else describe_file(weights).model)
    elif preprocessing is not None:
        raise ValueError("preprocessing is that of weights; without them it is measured on the training pictures")
    model = model or recipe.model
    plan = Plan(
        data=str(source) if not Path(source).is_dir() else str(Path(source).resolve()),
        model=model,
        size=size or recipe.size or models.get_config(model).input_size[1],
        augment=augment or recipe.augment or "auto",
        val=recipe.val if val is None else val,
        settings=recipe.settings.but(**changes),
        tensorboard=tensorboard,
        freeze=list(freeze),
        weights=None if weights is None else str(weights),
    )
    models.get_config(plan.model)  # says which names are close
    if plan.weights is not None:
        plan = dataclasses.replace(plan, preprocessing=_wanted(plan, preprocessing).to_json())
    if name is not None and not is_run_name(name):
        raise ValueError(f"the name of a run is a plain name without slashes, not {name!r}")
    job = _Job(plan, workers)
    folder = _new_folder(Path(runs) / TASK, name or Path(plan.data).name or "run")
    try:
        write_json(folder / "args.json", plan.to_dict())
        return job.run(folder, quiet, resume=False)
    except BaseException:
        if not (folder / CHECKPOINT_FILE).exists():  # nothing was trained that could be lost
            shutil.rmtree(folder, ignore_errors=True)
        raise


def resume(
    run: str | os.PathLike[str],
    *,
    runs: str | os.PathLike[str] = "runs",
    workers: int | None = None,
    quiet: bool = False,
) -> Run:
    """Goes on with a run (its folder, or its name below `runs`) that was stopped; it ends as if it had not been."""
    folder = Path(run)
    if not (folder / "args.json").exists():
        folder = Path(runs) / TASK / Path(run).name
    if not (folder / "args.json").exists():
        known = sorted(path.parent.name for path in (Path(runs) / TASK).glob("*/args.json"))
        raise FileNotFoundError(f"there is no run {run}; runs in {Path(runs) / TASK}: {', '.join(known) or 'none'}")
    try:
        plan = Plan.from_dict(json.loads((folder / "args.json").read_text()))
    except (ValueError, TypeError, KeyError) as error:
        raise FileFormatError(f"{folder / 'args.json'} is not the description of a run ({error})") from error
    begun = (folder / CHECKPOINT_FILE).exists()
    return _Job(plan, workers, begun).run(folder, quiet, resume=begun)


def _wanted(plan: Plan, preprocessing: data.Described | None) -> data.Preprocessing:
    """What a plan's weights want of pictures; all of a picture, since what tells classes apart may be at its edge."""
    assert plan.weights is not None
    with nn.meta_parameters():
        net = models.create(plan.model)
    return dataclasses.replace(preprocessing_for(net, plan.weights, preprocessing, plan.size), keep=1.0)


class _Job:
    """The pieces of a run, made from its plan."""

    def __init__(self, plan: Plan, workers: int | None, begun: bool = False) -> None:
        self.plan = plan
        settings = plan.settings
        # The parts do not depend on the run's seed, so that none trains on the pictures that `evaluate_on` tests.
        self.splits = data.load(plan.data, val=plan.val).shrunk(plan.size)
        train_set = self.splits.train
        self.classes = list(train_set.classes)
        if plan.preprocessing is None:
            self.preprocessing = data.Preprocessing.of(train_set, (plan.size, plan.size))
        else:
            self.preprocessing = data.Preprocessing.from_json(plan.preprocessing)
        augment = data.default_augmentation(train_set) if plan.augment == "auto" else plan.augment
        shared: dict[str, Any] = {"preprocessing": self.preprocessing, "workers": workers}
        self.train_loader = data.Loader(
            train_set,
            settings.batch_size,
            shuffle=True,
            drop_last=len(train_set) >= settings.batch_size,  # a last batch of one picture would upset batch norm
            transform=data.augmentation(augment, plan.size),
            mix=_mixing(settings),
            seed=settings.seed,
            **shared,
        )
        self.val_loader = self._plain_loader(self.splits.val, shared)
        self.test_loader = self._plain_loader(self.splits.test, shared)
        manual_seed(settings.seed)
        options = models.for_size(plan.model, plan.size)
        weights = None if begun else plan.weights  # a checkpoint has them all
        self.net = models.create(plan.model, len(self.classes), self.preprocessing.channels, weights=weights, **options)
        models.freeze(self.net, *plan.freeze)

    def _plain_loader(self, dataset: Any, shared: dict[str, Any]) -> Any:
        if dataset is None or len(dataset) == 0:
            return None
        least = 64 if self.plan.size <= 64 else 1  # small pictures are evaluated faster in larger batches
        return data.Loader(dataset, max(self.plan.settings.batch_size, least), **shared)

    def run(self, folder: Path, quiet: bool, resume: bool) -> Run:
        """Trains (on) and writes everything into the folder."""

        def keep_best(trainer: Trainer) -> None:
            metrics = {key: value for key, value in trainer.history[-1].items() if key != "epoch"}
            save(Model(self.net, self.classes, self.preprocessing, metrics, TASK), folder / MODEL_FILE)

        callbacks: list[Callback] = [TensorBoard(folder / "tensorboard")] if self.plan.tensorboard else []
        trainer = Trainer(
            self.net,
            self.train_loader,
            self.val_loader,
            self.plan.settings,
            folder=folder,
            callbacks=callbacks,
            quiet=quiet,
            on_best=keep_best,
        )
        if not quiet:
            headline = classify_report.headline(self.plan, self.splits, self.net, folder)
            print(headline, file=sys.stderr, flush=True)
        try:
            trainer.fit(resume=resume)
            if not trainer.interrupted or trainer.finished:
                return Run(folder, self._finish(trainer, folder))
        except KeyboardInterrupt:  # in the report, or the second one, which does not wait for a checkpoint
            if not (folder / CHECKPOINT_FILE).exists():
                raise
        return Run(folder, {"finished": False, "epochs": trainer.epoch, "folder": str(folder)}, interrupted=True)

    def _finish(self, trainer: Trainer, folder: Path) -> dict[str, Any]:
        """Measures the best network and writes results and report."""
        best = load(folder / MODEL_FILE)
        on, loader = ("test", self.test_loader) if self.test_loader is not None else ("val", self.val_loader)
        if loader is None:
            on, loader = "train", data.Loader(self.splits.train, 64, preprocessing=self.preprocessing)
        measured = evaluate(best.net, loader)
        results = {
            "finished": True,
            "data": self.plan.data,
            "model": self.plan.model,
            "parameters": best.net.num_parameters(),
            "pictures": {k: len(s) for k in ("train", "val", "test") if (s := getattr(self.splits, k)) is not None},
            "classes": self.classes,
            "epochs": trainer.epoch,
            "best_epoch": trainer.best["epoch"] if trainer.best else None,
            "best": trainer.best,
            "measured_on": on,
            f"{on}_accuracy": measured.accuracy,
            f"{on}_loss": measured.loss,
            "seconds": trainer.seconds,
            "folder": str(folder),
            "skipped": sorted({str(file) for _, part in self.splits.parts() for file in part.skipped}),
        }
        write_json(folder / "results.json", results)
        classify_report.write(folder, results, trainer.history, measured, loader.dataset, best, self.plan.to_dict())
        return results


def _mixing(settings: Settings) -> data.Mix | None:
    if settings.mixup:
        return data.Mixup(settings.mixup)
    return data.CutMix(settings.cutmix) if settings.cutmix else None


def is_run_name(name: str) -> bool:
    """Whether a run may be called so: the name of one folder."""
    return name not in ("", ".", "..") and not any(mark in name for mark in "/\\\0")


def _new_folder(parent: Path, name: str) -> Path:
    """parent/name, or name-2, name-3, ... if there is a run already: nothing is ever overwritten."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            folder = parent / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno or errno.EIO, f"no run can be kept in {parent} ({reason}); choose another folder with --runs"
        ) from error
    raise FileExistsError(f"{parent} holds ten thousand runs named {name}; choose another --name")


# --- use -------------------------------------------------------------------------------------------------------------


def is_model(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a model's: a run's folder, or a file that is no picture and looks like a model file."""
    path = Path(path)
    if path.is_dir():
        return (path / MODEL_FILE).exists() or (path / "args.json").exists()
    return path.suffix == Path(MODEL_FILE).suffix or (path.is_file() and tensors.is_safetensors(path))


def open_model(
    source: str | os.PathLike[str] | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    preprocessing: data.Described | None = None,
    size: int | None = None,
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
) -> Model:
    """A network with labels and preprocessing: a model file, that of a run's folder, or a network of the zoo by name.

    A network of the zoo has the weights of the file `weights`, or the published ones; without `source` and `weights` it
    is the one of the extra "imagenet". preprocessing, size, labels: what the file does not say, or says otherwise; see
    `formats.open_pretrained`. Raises FileNotFoundError, FileFormatError, MissingDataError or ValueError.
    """
    if source is None and weights is None:
        source = models.PACKAGE_MODEL
    path = None if source is None else Path(source)
    if path is None or (not path.exists() and str(source) in models.list_models()):
        chosen = weights or DEFAULT
        return open_pretrained(
            None if source is None else str(source), chosen, preprocessing=preprocessing, size=size, labels=labels
        )
    if path.is_file() and (weights is None) and describe_file(path).model is not None:
        return open_pretrained(None, path, preprocessing=preprocessing, size=size, labels=labels)
    model = _open_own(path)
    if weights is not None:
        load_weights(model.net, weights)
    assert model.preprocessing is not None
    if size is not None:
        model.preprocessing = data.adapted(model.preprocessing, {"size": size})
    if preprocessing is not None:
        model.preprocessing = data.adapted(model.preprocessing, preprocessing)
    if labels is not None:
        model.labels = label_names(labels, len(model.labels))
    return model


def _open_own(path: Path) -> Model:
    """A model file of coolnn, or that of a run's folder."""
    if path.is_dir():
        if not (path / MODEL_FILE).exists():
            raise FileNotFoundError(
                f"the folder {path} holds no {MODEL_FILE}; name a model file or the folder of a run"
            )
        path = path / MODEL_FILE
    model = load(path)
    if model.preprocessing is None:
        raise FileFormatError(f"{path} does not say how pictures are prepared for it (no preprocessing)")
    return model


def find_pictures(patterns: Sequence[str]) -> list[Path]:
    """The pictures that files, folders and patterns name, in a stable order; raises FileNotFoundError for none."""
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            inside = data.picture_files(path)
            if not inside:
                raise FileNotFoundError(f"the folder {path} holds no pictures")
            found += [path / name for name in inside]
        elif path.exists():
            found.append(path)
        else:
            matches = sorted(glob.glob(pattern, recursive=True))
            if not matches:
                raise FileNotFoundError(f"there is no file or folder {pattern}, and nothing matches it as a pattern")
            found += [Path(match) for match in matches if Path(match).is_file()]
    return found


def predict(
    model: Model,
    pictures: Sequence[Path | str],
    top: int = 1,
    batch_size: int = 32,
    precision: Precision = "float32",
) -> Iterator[dict[str, Any]]:
    """What a network sees in pictures: for each a dict with "picture" and "answers" (label and score, best first).

    A picture that cannot be read gives a dict with "error" and no answers, and does not stop the others. In a
    `precision` other than float32 (see `coolnn.compile`) the network runs compiled. Raises ValueError where the
    processor does not have it.
    """
    preprocessing = model.preprocessing
    run = model.net if precision == "float32" else compile(model.net, precision=precision)
    assert preprocessing is not None  # open_model checks
    for start in range(0, len(pictures), batch_size):
        chunk = pictures[start : start + batch_size]
        images, errors = [], {}
        for i, path in enumerate(chunk):
            try:
                images.append(preprocessing.read(str(path)))
            except (OSError, ValueError) as error:
                errors[i] = str(error)
        scores = iter(_scores(model, run, images))
        for i, path in enumerate(chunk):
            row: dict[str, Any] = {"picture": str(path), "answers": []}
            if i in errors:
                row["error"] = errors[i]
            else:
                score = next(scores)
                best = np.argsort(-score, kind="stable")[:top]
                row["answers"] = [{"label": _label(model, int(k)), "score": float(score[k])} for k in best]
            yield row


def _scores(model: Model, run: Callable[..., Any], images: Sequence[Any]) -> Any:
    if not images:
        return []
    assert model.preprocessing is not None
    with no_grad():
        return ops.softmax(run(from_numpy(model.preprocessing.normalize(np.stack(images)))), 1).numpy()


def _label(model: Model, index: int) -> str:
    return model.labels[index] if index < len(model.labels) else str(index)


def validation_share(path: str | os.PathLike[str]) -> float | None:
    """The share of the training pictures that a model's run kept for validation, if its args.json lies there."""
    path = Path(path)
    try:
        return float(json.loads(((path if path.is_dir() else path.parent) / "args.json").read_text())["val"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def evaluate_on(
    model: Model, source: str, split: str | None = None, batch_size: int = 64, val: float | None = None
) -> dict[str, Any]:
    """Loss, accuracy and per-class figures of a network on pictures with known classes.

    split: the part to measure; by default the test pictures if there are any, else all. val: the share kept for
    validation when the network was trained (a tenth by default), which says what "train" and "val" are.
    The classes of the data must be classes of the network (by name). Raises DataError that names one that is not.
    """
    dataset, on = _pick_split(source, split, 0.1 if val is None else val)
    relabelled = data.Relabelled(dataset, model.labels) if list(dataset.classes) != model.labels else dataset
    loader = data.Loader(relabelled, batch_size, preprocessing=model.preprocessing)
    result: Evaluation = evaluate(model.net, loader)
    confusion = result.confusion()
    counts, right = confusion.sum(1), confusion.diagonal()
    return {
        "data": source,
        "split": on,
        "pictures": len(result.labels),
        "accuracy": result.accuracy,
        "loss": result.loss,
        "classes": {
            name: {"pictures": int(counts[i]), "right": int(right[i])}
            for i, name in enumerate(model.labels)
            if counts[i]
        },
        "skipped": [str(file) for file in dataset.skipped],
    }


def _pick_split(source: str, split: str | None, val: float) -> tuple[Any, str]:
    splits = data.load(source, val=val if split in ("train", "val") else 0.0)
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    if split is None:
        split = "test" if splits.test is not None and len(splits.test) else "all"
    if split == "all":
        return data.Concat([part for part in parts.values() if part is not None and len(part)]), "all"
    part = parts[split]
    if part is None or len(part) == 0:
        kept = " (the run kept none for validation)" if split == "val" and val == 0 else ""
        raise ValueError(f"{source} has no pictures in the part '{split}'{kept}; choose another --split")
    return part, split


def evaluation_table(result: dict[str, Any]) -> str:
    """The result of `evaluate_on` as a table for the terminal."""
    return classify_report.evaluation_table(result)
