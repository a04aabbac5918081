"""cool eval"""

from __future__ import annotations

import json

from . import add_model_options, open_model, parser_for, whole

_EXAMPLES = """  cool eval runs/classify/digits digits
  cool eval model.safetensors my_pictures/ --json
  cool eval resnet20 cifar10                   after: cool models get resnet20
"""


def main(words: list[str]) -> int:
    """Runs the verb."""
    parser = parser_for("eval", _EXAMPLES)
    parser.add_argument("model", help="a model file, the folder of a run, or a network of the zoo")
    parser.add_argument("data", help="a folder with one folder a class, or a named data set")
    parser.add_argument(
        "--split",
        choices=("train", "val", "test", "all"),
        help="part to measure (default: test if there is one, else all)",
    )
    parser.add_argument("--batch", type=whole(1), default=64, metavar="N", help="pictures at a time (default: 64)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_model_options(parser)
    options = parser.parse_args(words)

    from ..tasks import classify

    model = open_model(options)
    val = classify.validation_share(options.model)
    result = classify.evaluate_on(model, options.data, options.split, options.batch, val)
    print(json.dumps(result, indent=2) if options.json else classify.evaluation_table(result))
    return 0
