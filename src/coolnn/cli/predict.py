"""cool predict"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from . import UsageError, add_model_options, open_model, parser_for, whole

_EXAMPLES = """  cool predict photo.jpg                       with what coolnn[imagenet] brings
  cool predict photo.jpg --model resnet50      after: cool models get resnet50
  cool predict runs/classify/digits photo.png
  cool predict model.safetensors holiday/ --top 3
  cool predict model.safetensors 'scans/*.png' --csv > answers.csv
  cool predict photo.jpg --model vgg16 --weights vgg16.pth --preprocessing caffe
"""

_MANY = 100  # classes, from which on the best five answers are shown


def main(words: list[str]) -> int:
    """Runs the verb."""
    parser = parser_for("predict", _EXAMPLES)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="PICTURE",
        help="pictures, folders of pictures, or patterns such as '*.jpg'; before them, a model file or a run's folder",
    )
    parser.add_argument(
        "--model", metavar="NAME|FILE", help="a network of the zoo, a model file, or a run's folder, in place of that"
    )
    parser.add_argument(
        "--top",
        type=whole(1),
        metavar="N",
        help=f"answers a picture (default: 1; 5 of {_MANY} classes or more)",
    )
    parser.add_argument("--batch", type=whole(1), default=32, metavar="N", help="pictures at a time (default: 32)")
    parser.add_argument(
        "--precision",
        choices=("float32", "bf16"),
        default="float32",
        help="bf16: round to bfloat16 in products, faster where the processor can (default: float32)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON list")
    form.add_argument("--csv", action="store_true", help="print a CSV table")
    add_model_options(parser)
    options = parser.parse_args(words)

    from ..tasks import classify

    if options.model is None and options.weights is None and classify.is_model(options.images[0]):
        options.model = options.images.pop(0)
        if not options.images:
            raise UsageError(f"name the pictures after the model {options.model}")
    paths = classify.find_pictures(options.images)
    model = open_model(options)
    top = options.top or (5 if len(model.labels) >= _MANY else 1)
    answers = classify.predict(model, paths, top=top, batch_size=options.batch, precision=options.precision)
    if options.json or options.csv:
        return _write(list(answers), options)
    width = min(max((len(str(path)) for path in paths), default=0), 60)
    return _print(answers, width, min(max((len(label) for label in model.labels), default=5), 40))


def _write(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> int:
    """JSON or CSV; the exit status."""
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["picture", "rank", "label", "score", "error"])
        for row in rows:
            for rank, answer in enumerate(row["answers"], 1):
                writer.writerow([row["picture"], rank, answer["label"], f"{answer['score']:.6f}", ""])
            if "error" in row:
                writer.writerow([row["picture"], "", "", "", row["error"]])
    return int(any("error" in row for row in rows))


def _print(rows: Iterable[dict[str, Any]], width: int, labels: int) -> int:
    """A line for each answer, the picture before the first; the exit status."""
    failed = False
    for row in rows:
        if "error" in row:
            failed = True
            print(f"cool predict: {row['error']}", file=sys.stderr)
        name = row["picture"]
        for answer in row["answers"]:
            print(f"{name:{width}}  {answer['label']:{labels}} {answer['score']:7.1%}")
            name = ""
    return int(failed)
