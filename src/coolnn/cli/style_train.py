"""cool style-train"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from . import UsageError, number, parser_for, whole

_EXAMPLES = """  cool style-train painting.jpg --photos holiday/     a few hundred photographs are enough
  cool style-train painting.jpg --photos holiday/ --start starry_night --steps 600
  cool style-train painting.jpg --photos holiday/ --steps 6000 --style-size 768
  cool style-train --resume runs/style/painting       go on where it stopped
  cool style photo.jpg --model runs/style/painting    use it
"""


def main(words: list[str]) -> int:
    """Runs the verb."""
    options = _parser().parse_args(words)
    if (options.style is None) == (options.resume is None):
        raise UsageError("name the style's picture, or a training to --resume (one of the two)")
    from ..tasks import style

    if options.resume is not None:
        run = style.resume(options.resume, quiet=options.quiet)
    else:
        if not options.photos:
            raise UsageError("--photos names a folder of photographs to learn on")
        names = {field.name for field in dataclasses.fields(style.Recipe)}
        chosen = {n: v for n, v in vars(options).items() if n in names and v is not None}
        try:
            recipe = style.Recipe(**chosen)
        except ValueError as error:
            raise UsageError(str(error)) from error
        run = style.train(
            options.style,
            options.photos,
            options.output or Path("runs") / "style" / Path(options.style).stem,
            recipe,
            weights=options.weights,
            start=options.start,
            samples=options.samples or (),
            sample_every=options.sample_every,
            quiet=options.quiet,
        )
    if run.interrupted:
        print(f"stopped; go on with: cool style-train --resume {run.folder}", file=sys.stderr)
        return 130
    if not options.quiet:
        print(run.model)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = parser_for("style-train", _EXAMPLES)
    parser.add_argument("style", nargs="?", metavar="STYLE", help="the picture whose style is learned")
    parser.add_argument("--photos", nargs="+", metavar="FOLDER", help="folders of photographs to learn on")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="the run's folder (default: runs/style/NAME)")
    parser.add_argument("--resume", metavar="FOLDER", help="go on with the training in this folder")
    what = parser.add_argument_group("training (each has a good default)")
    what.add_argument("--steps", type=whole(1), metavar="N", help="steps of the optimizer (default: 1200)")
    what.add_argument("--batch", type=whole(1), metavar="N", help="photographs in a step (default: 2)")
    what.add_argument("--size", type=whole(64), metavar="PIXELS", help="side of the crops (default: 256)")
    what.add_argument(
        "--style-size",
        type=whole(64),
        metavar="PIXELS",
        help="longer side of the style; larger gives larger strokes (default: 512)",
    )
    what.add_argument("--lr", type=number, metavar="X", help="largest learning rate (default: 0.002)")
    what.add_argument("--content-weight", type=number, metavar="X", help="(default: 1)")
    what.add_argument("--style-weight", type=number, metavar="X", help="(default: 10)")
    what.add_argument("--smooth-weight", type=number, metavar="X", help="(default: 1e-4)")
    what.add_argument("--width", type=whole(4), metavar="N", help="channels at full size (default: 32)")
    what.add_argument("--blocks", type=whole(0), metavar="N", help="residual blocks (default: 5)")
    what.add_argument("--seed", type=whole(0), metavar="N", help="same seed, same result, bit for bit")
    what.add_argument(
        "--start", metavar="NAME|FILE", help="a trained style to begin with; half of the steps are enough then"
    )
    what.add_argument("--weights", metavar="FILE", help="VGG16's weights; default: those on this computer")
    parser.add_argument("--samples", nargs="+", metavar="FILE", help="photographs to paint on the way, for looking at")
    parser.add_argument(
        "--sample-every", type=whole(1), default=500, metavar="N", help="steps between samples (default: 500)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser
