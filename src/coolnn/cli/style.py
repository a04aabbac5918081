"""cool style"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from . import UsageError, number, parser_for, whole

_EXAMPLES = """  cool style photo.jpg --model starry_night           a trained style, in a second
  cool style holiday/ --model the_scream -o painted/  a folder
  cool style frames/ --model starry_night --steady 0.7 -o painted/
  cool style photo.jpg painting.jpg -o out.png        any style, in minutes (after: cool models get vgg19)
  cool style photo.jpg a.jpg b.jpg --shares 2 1 -o out.png
  cool style photo.jpg painting.jpg --size 1024 --colours luminance -o out.png
  cool style photo.jpg sky.jpg wall.jpg --masks sky_mask.png wall_mask.png -o out.png

Ctrl-C keeps the work beside OUT; the same command with --resume goes on.
"""


def main(words: list[str]) -> int:
    """Runs the verb."""
    options = _parser().parse_args(words)
    return _one_pass(options) if options.model is not None else _optimise(options)


def _parser() -> argparse.ArgumentParser:
    parser = parser_for("style", _EXAMPLES)
    parser.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        help="the photograph, then one or several styles; with --model photographs",
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="file to write, or folder for several photographs")
    parser.add_argument(
        "--size",
        type=whole(32),
        metavar="PIXELS",
        help="longer side of the result (default: 512, with --model the photograph's)",
    )
    quick = parser.add_argument_group("in one pass, with a trained style")
    quick.add_argument(
        "--model",
        metavar="NAME|FILE",
        help=f"a style that comes with coolnn ({_shipped()}), a model file, or a training's folder",
    )
    quick.add_argument(
        "--steady", type=number, metavar="X", help="photographs are frames of a film: keep strokes, 0 to below 1"
    )
    look = parser.add_argument_group("by optimisation: what the result is like")
    look.add_argument(
        "--content-weight", type=number, metavar="X", help="more keeps more of the photograph (default: 0.05)"
    )
    look.add_argument("--style-weight", type=number, metavar="X", help="(default: 1)")
    look.add_argument(
        "--smooth-weight", type=number, metavar="X", help="total variation; more gives less grain (default: 5e-6)"
    )
    look.add_argument("--style-scale", type=number, metavar="X", help="size of the style's strokes (default: 1)")
    look.add_argument("--shares", type=number, nargs="+", metavar="X", help="how much each style counts")
    look.add_argument(
        "--colours", choices=("style", "luminance", "histogram"), help="luminance, histogram: keep the photograph's"
    )
    look.add_argument(
        "--masks",
        nargs="+",
        metavar="FILE",
        help="for each style where it goes: white in a picture; 'all' for everywhere",
    )
    look.add_argument("--style-masks", nargs="+", metavar="FILE", help="for each style what of it is used, likewise")
    look.add_argument("--init", metavar="WHAT", help="begin with: content, noise, or a picture (default: content)")
    look.add_argument("--seed", type=whole(0), metavar="N", help="of the noise")
    how = parser.add_argument_group("by optimisation: how")
    how.add_argument(
        "--iterations",
        type=whole(1),
        metavar="N",
        help="at the coarsest size, half as many at each next (default: 300)",
    )
    how.add_argument(
        "--levels", type=whole(1), metavar="N", help="sizes from coarse to fine (default: from 192 pixels on)"
    )
    how.add_argument("--optimizer", choices=("lbfgs", "adam"))
    how.add_argument("--lr", type=number, metavar="X", help="of adam, in steps of 0..255 (default: 5)")
    how.add_argument(
        "--tile",
        type=whole(256),
        metavar="PIXELS",
        help="compute in tiles of this side (default: where memory asks for it)",
    )
    how.add_argument("--pooling", choices=("max", "avg"))
    how.add_argument("--network", choices=("vgg19", "vgg16"))
    how.add_argument("--weights", metavar="FILE", help="VGG's weights; default: those on this computer")
    how.add_argument("--preprocessing", metavar="WHAT", help="what they want of pixels: imagenet, caffe, JSON")
    how.add_argument(
        "--preview-every", type=whole(1), default=0, metavar="N", help="write OUT as it is after every N iterations"
    )
    how.add_argument("--resume", action="store_true", help="go on with work that was stopped")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser


def _shipped() -> str:
    """The names of the styles that come with the package, without loading what reads them."""
    folder = Path(__file__).parent.parent / "tasks" / "style" / "trained"
    return ", ".join(sorted(path.stem for path in folder.glob("*.safetensors")))


def _one_pass(options: argparse.Namespace) -> int:
    """Paints photographs with a trained style; the exit status."""
    from ..tasks import style
    from ..tasks.classify import find_pictures

    if options.steady is not None and not 0 <= options.steady < 1:
        raise UsageError(f"--steady must be from 0 to below 1, not {options.steady}")
    sources = find_pictures(options.pictures)
    painter = style.Painter(options.model)
    targets = _targets(options, sources)
    failed = False
    for source, target, wrong in style.paint_files(painter, sources, targets, options.size, options.steady):
        if target is None:
            failed = True
            print(f"cool style: {wrong}", file=sys.stderr)
        elif not options.quiet:
            print(f"{source} -> {target}")
    return int(failed)


def _targets(options: argparse.Namespace, sources: list[Path]) -> list[Path]:
    """Where each photograph goes, names kept apart."""
    from ..tasks.style import pictures

    out = None if options.output is None else Path(options.output)
    one = len(sources) == 1 and not Path(options.pictures[0]).is_dir()
    if one and out is not None and not out.is_dir():
        return [pictures.check_output(out)]
    folder = out or Path()
    if out is not None and out.is_file():
        raise UsageError(f"{out} is a file; name a folder for {len(sources)} pictures")
    tail = "" if out is not None else f"_{Path(options.model).stem}"
    found: list[Path] = []
    taken: set[str] = set()
    for source in sources:
        name = stem = f"{source.stem}{tail}"
        suffix = source.suffix if source.suffix.lower() in pictures.FORMATS else ".png"
        count = 1
        while f"{name}{suffix}" in taken:
            count += 1
            name = f"{stem}-{count}"
        taken.add(f"{name}{suffix}")
        target = folder / f"{name}{suffix}"
        if target.resolve() == source.resolve():
            raise UsageError(f"{target} would be written over; choose another folder with -o")
        found.append(target)
    return found


def _optimise(options: argparse.Namespace) -> int:
    """Paints a photograph in any style; the exit status."""
    if len(options.pictures) < 2:
        raise UsageError(f"name a photograph and a style's picture, or a trained style with --model: {_shipped()}")
    from ..tasks import style
    from ..tasks.style import pictures

    content, *styles = options.pictures
    out = pictures.check_output(options.output or f"{Path(content).stem}_{Path(styles[0]).stem}.png")
    names = {field.name for field in dataclasses.fields(style.Settings)}
    chosen = {n: v for n, v in vars(options).items() if n in names and v is not None}
    try:
        settings = style.Settings(**chosen)
    except ValueError as error:
        raise UsageError(str(error)) from error
    for given, flag in (
        (options.shares, "--shares"),
        (options.masks, "--masks"),
        (options.style_masks, "--style-masks"),
    ):
        if given is not None and len(given) != len(styles):
            raise UsageError(f"{flag} names {len(given)} for {len(styles)} styles; give one for each")
    job = style.Transfer(
        content,
        styles,
        settings,
        shares=options.shares,
        masks=_masks(options.masks),
        style_masks=_masks(options.style_masks),
        network=options.network,
        weights=options.weights,
        preprocessing=options.preprocessing,
    )
    state = out.with_name(out.name + ".state")
    if not options.resume:
        state.unlink(missing_ok=True)
    elif not state.exists():
        raise FileNotFoundError(f"there is no work to go on with: {state} is not there")
    result = job.run(
        preview=lambda image, _: style.write(out, image),
        preview_every=options.preview_every,
        state=state,
        quiet=options.quiet,
    )
    if result.interrupted:
        print("stopped; the same command with --resume goes on", file=sys.stderr)
        return 130
    style.write(out, result.image)
    if not options.quiet:
        print(out)
    return 0


def _masks(names: list[str] | None) -> list[str | None] | None:
    return None if names is None else [None if name == "all" else name for name in names]
