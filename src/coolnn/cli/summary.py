"""cool summary"""

from __future__ import annotations

import json
from pathlib import Path

from . import UsageError, parser_for

_EXAMPLES = """  cool summary vgg19
  cool summary lenet5 --size 28 --channels 1
  cool summary runs/classify/digits
  cool summary --list
"""


def main(words: list[str]) -> int:
    """Runs the verb."""
    parser = parser_for("summary", _EXAMPLES)
    parser.add_argument("model", nargs="?", help="name of a network, a model file, or the folder of a run")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="height and width of the input")
    parser.add_argument("--channels", type=int, metavar="N", help="channels of the input")
    parser.add_argument("--classes", type=int, metavar="N", help="number of classes")
    parser.add_argument("--list", action="store_true", help="list the networks that have a name")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    options = parser.parse_args(words)

    from .. import models

    if options.list:
        names = models.list_models()
        print(json.dumps(names) if options.json else "\n".join(names))
        return 0
    if options.model is None:
        raise UsageError("name a network or a model file, or use --list")

    from ..nn.summary import summary

    if Path(options.model).exists():
        from ..tasks import classify

        if options.classes is not None or options.channels is not None:
            raise UsageError("--classes and --channels belong to a named network; a model file has its own")
        model = classify.open_model(options.model)
        height, width, channels = model.input_size
        size = (options.size, options.size) if options.size else (height, width)
        table = summary(model.net, (1, channels, *size))
    else:
        table = classify_by_name(options)
    print(json.dumps(table.to_dict(), indent=2) if options.json else str(table))
    return 0


def classify_by_name(options):  # type: ignore[no-untyped-def]
    raise NotImplementedError
