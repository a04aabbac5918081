"""cool summary"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .. import models, nn
from ..models.summary import Summary, summary
from . import UsageError, parser_for, whole

_EXAMPLES = """  cool summary vgg19
  cool summary lenet5 --size 28 --channels 1
  cool summary runs/classify/digits
  cool summary --list
"""


def main(words: list[str]) -> int:
    """Runs the verb."""
    parser = parser_for("summary", _EXAMPLES)
    parser.add_argument("model", nargs="?", help="name of a network, a model file, or the folder of a run")
    parser.add_argument("--size", type=whole(1), metavar="PIXELS", help="height and width of the input")
    parser.add_argument("--channels", type=whole(1), metavar="N", help="channels of the input")
    parser.add_argument("--classes", type=whole(1), metavar="N", help="number of classes")
    parser.add_argument("--list", action="store_true", help="list the networks that have a name")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    options = parser.parse_args(words)

    if options.list:
        rows = _networks()
        print(json.dumps(rows, indent=2) if options.json else _table(rows))
        return 0
    if options.model is None:
        raise UsageError("name a network or a model file, or use --list")

    if Path(options.model).exists():
        from ..tasks import classify

        if options.classes is not None or options.channels is not None:
            raise UsageError("--classes and --channels belong to a named network; a model file has its own")
        model = classify.open_model(options.model)
        height, width, channels = model.input_size
        table = summary(model.net, (1, channels, options.size or height, options.size or width))
    else:
        table = _named(options)
    print(json.dumps(table.to_dict(), indent=2) if options.json else table)
    return 0


def _networks() -> list[dict[str, Any]]:
    rows = []
    for name in models.list_models():
        with nn.meta_parameters():  # shapes without numbers: VGG-19 would take half a gigabyte
            net = models.create(name)
        channels, height, width = net.input_size
        rows.append({"name": name, "parameters": net.num_parameters(), "input": [channels, height, width]})
    return rows


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'name':14} {'parameters':>12}   input"]
    return "\n".join(
        lines + [f"{r['name']:14} {r['parameters']:>12,}   {'×'.join(map(str, r['input']))}" for r in rows]
    )


def _named(options: argparse.Namespace) -> Summary:
    try:
        config = models.get_config(options.model)
    except ValueError as error:
        raise UsageError(f"{error}; and there is no file of that name") from error
    channels, height, width = config.input_size
    settings = {"num_classes": options.classes, "in_channels": options.channels}
    if options.size is not None:
        settings |= models.for_size(options.model, options.size)
    shape = (1, options.channels or channels, options.size or height, options.size or width)
    return summary(options.model, shape, **settings)
