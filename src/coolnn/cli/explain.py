"""cool explain"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from . import UsageError, add_model_options, open_model, parser_for, whole

_EXAMPLES = """  cool explain photo.jpg                       with what coolnn[imagenet] brings
  cool explain runs/classify/digits three.png
  cool explain squeezenet1_1 photo.jpg --weights squeezenet1_1.pth
  cool explain model.safetensors a.jpg b.jpg --class cat --class dog -o why/
  cool explain photo.jpg --methods grad_cam,occlusion --no-checks
  cool explain photo.jpg --pictures holiday/   and what each unit answers to among these
  cool explain photo.jpg --preferred           and pictures that each unit looks for
"""


def _parser() -> argparse.ArgumentParser:
    parser = parser_for("explain", _EXAMPLES)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="PICTURE",
        help="pictures, folders of pictures, or patterns; before them, a model file, a run's folder, or a name",
    )
    parser.add_argument("--model", metavar="NAME|FILE", help="the network, in place of that")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="where to write (default: runs/explain/<picture>)")
    why = parser.add_argument_group("why this answer")
    why.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="NAME|NUMBER",
        help="explain this class (again for more; default: the network's answer)",
    )
    why.add_argument("--methods", metavar="LIST", help="saliency methods, with commas between (default: all)")
    why.add_argument("--no-checks", action="store_true", help="do not check the maps: several times faster")
    look = parser.add_argument_group("what its units look for")
    look.add_argument(
        "--layer",
        dest="layers",
        action="append",
        default=[],
        metavar="NAME",
        help="look at this layer (again for more; default: the last map of each size)",
    )
    look.add_argument(
        "--channels", type=whole(1), default=6, metavar="N", help="channels of each layer in detail (default: 6)"
    )
    look.add_argument("--pictures", metavar="FOLDER", help="find the patches in these pictures that units answer to")
    look.add_argument("--top", type=whole(1), default=6, metavar="N", help="patches for each channel (default: 6)")
    look.add_argument("--preferred", action="store_true", help="make the pictures that units look for")
    look.add_argument("--hierarchy", action="store_true", help="test whether later layers see more than edges")
    look.add_argument("--steps", type=whole(1), metavar="N", help="of making them (default: as the recipe says)")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="of what is random (default: 0)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    add_model_options(parser)
    return parser


def main(words: list[str]) -> int:
    """Runs the verb."""
    options = _parser().parse_args(words)
    from .. import models
    from ..tasks import classify, explain

    if options.model is None and (
        classify.is_model(options.images[0])
        or (options.images[0] in models.list_models() and not os.path.exists(options.images[0]))
    ):
        options.model = options.images.pop(0)
        if not options.images:
            raise UsageError(f"name the pictures after the model {options.model}")
    paths = classify.find_pictures(options.images)
    if options.pictures is not None:
        explain.check_folder(options.pictures)
    model = open_model(options)
    wishes = explain.Wishes(
        methods=None if options.methods is None else [name for name in options.methods.split(",") if name],
        classes=[int(name) if name.isdigit() and name not in model.labels else name for name in options.classes],
        layers=options.layers,
        channels=options.channels,
        folder=None if options.pictures is None else Path(options.pictures),
        patches=options.top,
        preferred=options.preferred,
        steps=options.steps,
        hierarchy=options.hierarchy,
        checks=not options.no_checks,
        seed=options.seed,
    )
    folder = Path(options.output) if options.output else explain.new_folder(Path("runs"), paths[0])
    command = shlex.join(["cool", "explain", *words])
    found = explain.explain(model, paths, folder, wishes, command=command, quiet=options.quiet)
    for file in found.skipped:
        print(f"cool explain: {file.reason}", file=sys.stderr)
    if found.patches is not None and found.patches.skipped:
        skipped = found.patches.skipped
        print(f"{len(skipped)} unreadable files were left out, the first: {skipped[0]}", file=sys.stderr)
    for seen in found.pictures:
        print(f"{seen.path}  {seen.answers[0][0]} {seen.answers[0][1]:.1%}")
    print(folder / "report.html")
    return int(bool(found.skipped))
