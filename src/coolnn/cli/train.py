"""cool train"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from . import UsageError, parser_for

_EXAMPLES = """  cool train digits
  cool train my_pictures/ --epochs 30
  cool train my_pictures/ --model resnet18 --size 128 --batch 32
  cool train cats64 --name cats --seed 3
  cool train --resume cats               go on where the run named cats stopped

A folder of pictures has one folder for each class, or train/ and test/ (and val/) with those inside.
"""


def main(words: list[str]) -> int:
    """Runs the verb."""
    parser = parser_for("train", _EXAMPLES)
    parser.add_argument(
        "data", nargs="?", help="a folder with one folder a class, or digits, mnist, fashion-mnist, cifar10, cats64"
    )
    parser.add_argument("--model", metavar="NAME", help="network to train (cool summary --list names them)")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="side of the square that pictures are brought to")
    what = parser.add_argument_group("training (each has a good default for the data set)")
    what.add_argument("--epochs", type=int, metavar="N", help="times through the pictures")
    what.add_argument("--batch", type=int, metavar="N", dest="batch_size", help="pictures in a step")
    what.add_argument("--lr", type=float, metavar="X", help="largest learning rate")
    what.add_argument("--optimizer", choices=("sgd", "adam", "adamw", "rmsprop"))
    what.add_argument("--schedule", choices=("constant", "step", "cosine", "one_cycle"), help="of the learning rate")
    what.add_argument("--warmup", type=float, metavar="EPOCHS", help="let the learning rate grow at first")
    what.add_argument("--momentum", type=float, metavar="X")
    what.add_argument("--weight-decay", type=float, metavar="X")
    what.add_argument("--label-smoothing", type=float, metavar="X")
    what.add_argument("--mixup", type=float, metavar="X", help="mix pictures pairwise; 0.2 is usual")
    what.add_argument(
        "--cutmix", type=float, metavar="X", help="paste patches of one picture into another; 1.0 is usual"
    )
    what.add_argument("--clip-norm", type=float, metavar="X", help="bound on the norm of the gradient")
    what.add_argument("--ema", type=float, metavar="X", help="average the weights with this decay, 0.99 say")
    what.add_argument("--patience", type=int, metavar="N", help="stop after N epochs without improvement")
    what.add_argument(
        "--augment", choices=("none", "digits", "small", "photos"), help="random changes of the training pictures"
    )
    what.add_argument("--val", type=float, metavar="SHARE", help="share of the training pictures kept for validation")
    what.add_argument("--seed", type=int, metavar="N", help="same seed, same result, bit for bit")
    run = parser.add_argument_group("run")
    run.add_argument("--name", metavar="NAME", help="of the run: results go to runs/classify/NAME")
    run.add_argument("--runs", metavar="FOLDER", default="runs", help="where runs are kept (default: runs)")
    run.add_argument("--resume", metavar="RUN", help="go on with this run (its name or folder)")
    run.add_argument("--workers", type=int, metavar="N", help="threads that read pictures (no effect on the result)")
    run.add_argument("--tensorboard", action="store_true", help="log for TensorBoard, too")
    run.add_argument("--json", action="store_true", help="print the results as JSON")
    run.add_argument("--quiet", action="store_true", help="no progress, only the results")
    options = parser.parse_args(words)
    if (options.data is None) == (options.resume is None):
        raise UsageError("name the data to train on, or a run to --resume (one of the two)")

    from ..tasks import classify
    from ..train import Settings

    chosen = {
        field.name: value
        for field in dataclasses.fields(Settings)
        if (value := getattr(options, field.name, None)) is not None
    }
    try:
        if options.resume is not None:
            run_ = classify.resume(options.resume, runs=options.runs, quiet=options.quiet, workers=options.workers)
        else:
            run_ = classify.train(
                options.data,
                model=options.model,
                size=options.size,
                augment=options.augment,
                val=options.val,
                name=options.name,
                runs=options.runs,
                workers=options.workers,
                tensorboard=options.tensorboard,
                quiet=options.quiet,
                **chosen,
            )
    except (TypeError, LookupError) as error:
        raise UsageError(str(error)) from error
    _report(run_, options.json)
    return 130 if run_.interrupted else 0


def _report(run: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps(run.results, indent=2))
    elif run.interrupted:
        print(f"stopped; go on with: cool train --resume {run.folder}", file=sys.stderr)
    else:
        print(run.table())
