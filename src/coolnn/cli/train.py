"""cool train"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

from . import UsageError, number, parser_for, whole

_EXAMPLES = """  cool train digits
  cool train my_pictures/ --epochs 30
  cool train my_pictures/ --model resnet18 --size 128 --batch 32
  cool train cats64 --name cats --seed 3
  cool train my_pictures/ --weights default --freeze backbone    from what ImageNet teaches (coolnn[imagenet])
  cool train --resume cats               go on where the run named cats stopped

A folder of pictures has one folder for each class, or train/ and test/ (and val/) with those inside.
"""

#: What may be said beside --resume; everything else is fixed when a run begins.
_FREE = ("resume", "runs", "workers", "quiet", "json", "debug")


def main(words: list[str]) -> int:
    """Runs the verb."""
    parser = _parser()
    options = parser.parse_args(words)
    if (options.data is None) == (options.resume is None):
        raise UsageError("name the data to train on, or a run to --resume (one of the two)")
    if options.resume is not None:
        _refuse_changes(parser, options)

    from ..tasks import classify
    from ..train import SettingError

    try:
        if options.resume is not None:
            run = classify.resume(options.resume, runs=options.runs, quiet=options.quiet, workers=options.workers)
        else:
            run = _train(options)
    except SettingError as error:
        flag = _flag(parser, error.name)
        raise UsageError(f"{flag} must be {error.rule}, not {error.value}") from error
    if options.json:
        print(json.dumps(run.results, indent=2))
    elif not run.interrupted:
        print(run.table())
    if run.interrupted:
        where = "" if options.runs == "runs" else f" --runs {options.runs}"
        print(f"stopped; go on with: cool train --resume {run.folder.name}{where}", file=sys.stderr)
    return 130 if run.interrupted else 0


def _parser() -> argparse.ArgumentParser:
    parser = parser_for("train", _EXAMPLES)
    parser.add_argument(
        "data", nargs="?", help="a folder with one folder a class, or digits, mnist, fashion-mnist, cifar10, cats64"
    )
    parser.add_argument("--model", metavar="NAME", help="network to train (cool summary --list names them)")
    parser.add_argument(
        "--size", type=whole(1), metavar="PIXELS", help="side of the square that pictures are brought to"
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="begin with these: PyTorch (.pth, .pt), safetensors, npz, or default for the published ones",
    )
    parser.add_argument(
        "--preprocessing",
        metavar="WHAT",
        help="what those want of pixels: imagenet, centred, unit, caffe, JSON, or a JSON file",
    )
    parser.add_argument(
        "--freeze",
        metavar="PARTS",
        help="parts of the network that stay as they are: features, or layer1,layer2; backbone: all but the last layer",
    )
    what = parser.add_argument_group("training (each has a good default for the data set)")
    what.add_argument("--epochs", type=whole(1), metavar="N", help="times through the pictures")
    what.add_argument("--batch", type=whole(1), metavar="N", dest="batch_size", help="pictures in a step")
    what.add_argument("--lr", type=number, metavar="X", help="largest learning rate")
    what.add_argument("--optimizer", choices=("sgd", "adam", "adamw", "rmsprop"))
    what.add_argument("--schedule", choices=("constant", "step", "cosine", "one_cycle"), help="of the learning rate")
    what.add_argument("--warmup", type=number, metavar="EPOCHS", help="let the learning rate grow at first")
    what.add_argument("--momentum", type=number, metavar="X", help="of sgd and rmsprop; 0.9 is usual")
    what.add_argument("--weight-decay", type=number, metavar="X", help="pull of the weights towards zero")
    what.add_argument("--label-smoothing", type=number, metavar="X", help="share of the target for other classes")
    what.add_argument("--mixup", type=number, metavar="X", help="mix pictures pairwise; 0.2 is usual")
    what.add_argument(
        "--cutmix", type=number, metavar="X", help="paste patches of one picture into another; 1.0 is usual"
    )
    what.add_argument("--clip-norm", type=number, metavar="X", help="bound on the norm of the gradient")
    what.add_argument("--ema", type=number, metavar="X", help="average the weights with this decay, 0.99 say")
    what.add_argument("--patience", type=whole(1), metavar="N", help="stop after N epochs without improvement")
    what.add_argument(
        "--augment", choices=("none", "digits", "small", "photos"), help="random changes of the training pictures"
    )
    what.add_argument("--val", type=number, metavar="SHARE", help="share of the training pictures kept for validation")
    what.add_argument("--seed", type=whole(0), metavar="N", help="same seed, same result, bit for bit")
    run = parser.add_argument_group("run")
    run.add_argument("--name", metavar="NAME", help="of the run: results go to runs/classify/NAME")
    run.add_argument("--runs", metavar="FOLDER", default="runs", help="where runs are kept (default: runs)")
    run.add_argument("--resume", metavar="RUN", help="go on with this run (its name or folder)")
    run.add_argument("--workers", type=whole(0), metavar="N", help="threads that read pictures (no effect on results)")
    run.add_argument("--tensorboard", action="store_true", help="log for TensorBoard, too")
    run.add_argument("--json", action="store_true", help="print the results as JSON")
    run.add_argument("--quiet", action="store_true", help="no progress, only the results")
    return parser


def _flag(parser: argparse.ArgumentParser, name: str) -> str:
    """The option that sets a value."""
    flags = {action.dest: action.option_strings[0] for action in parser._actions if action.option_strings}
    return flags.get(name, name)


def _refuse_changes(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    for name, value in vars(options).items():
        if name not in _FREE and value != parser.get_default(name):
            raise UsageError(
                f"{_flag(parser, name)} cannot be changed in a run that is resumed: leave it out, or begin a new run"
            )


def _parts(options: argparse.Namespace) -> list[str]:
    """The parts that --freeze names."""
    return [part.strip() for part in (options.freeze or "").split(",") if part.strip()]


def _train(options: argparse.Namespace) -> Any:
    from .. import models
    from ..tasks import classify
    from ..train import Settings

    if options.model is not None:
        try:
            models.get_config(options.model)
        except ValueError as error:
            raise UsageError(f"--model: {error}") from error
    if options.val is not None and not 0 <= options.val < 1:
        raise UsageError(f"--val must be a share from 0 to below 1 (0.1 is a tenth), not {options.val}")
    if options.name is not None and not classify.is_run_name(options.name):
        raise UsageError(
            f"--name must be a plain name without slashes, not {options.name!r}; --runs chooses the folder"
        )
    chosen = {
        field.name: value
        for field in dataclasses.fields(Settings)
        if (value := getattr(options, field.name, None)) is not None
    }
    return classify.train(
        options.data,
        model=options.model,
        size=options.size,
        augment=options.augment,
        val=options.val,
        freeze=_parts(options),
        weights=options.weights,
        preprocessing=options.preprocessing,
        name=options.name,
        runs=options.runs,
        workers=options.workers,
        tensorboard=options.tensorboard,
        quiet=options.quiet,
        **chosen,
    )
