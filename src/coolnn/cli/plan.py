"""cool plan"""

from __future__ import annotations

import json

from . import UsageError, parser_for, whole

_EXAMPLES = """  cool plan vgg19 --batch 8 --train
  cool plan resnet50 --size 320
  cool plan lenet5 --batch 64 --train --json
"""


def main(words: list[str]) -> int:
    """Runs the verb; exit status 1 where the memory will not do."""
    parser = parser_for("plan", _EXAMPLES)
    parser.add_argument("model", help="name of a network (cool summary --list names them)")
    parser.add_argument("--batch", type=whole(1), default=1, metavar="N", help="pictures in a run (default: 1)")
    parser.add_argument("--size", type=whole(1), metavar="PIXELS", help="height and width of the pictures")
    parser.add_argument("--classes", type=whole(1), metavar="N", help="number of classes")
    parser.add_argument("--channels", type=whole(1), metavar="N", help="channels of the pictures")
    parser.add_argument("--train", action="store_true", help="a training step, not a run")
    parser.add_argument(
        "--optimizer", choices=("sgd", "adam", "adamw", "rmsprop"), default="sgd", help="of --train (default: sgd)"
    )
    parser.add_argument("--memory", action="store_true", help="only the memory: nothing is measured")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    options = parser.parse_args(words)

    from .. import models, nn
    from ..graph.planner import Planner, largest, mebibytes
    from ..train import Settings
    from ..train.trainer import make_optimizer

    try:
        config = models.get_config(options.model)
    except ValueError as error:
        raise UsageError(str(error)) from error
    channels, height, width = config.input_size
    settings = {} if options.size is None else models.for_size(options.model, options.size)
    with nn.meta_parameters():
        net = models.create(options.model, options.classes, options.channels, **settings)
        optimizer = make_optimizer(net, Settings(optimizer=options.optimizer)) if options.train else None
    picture = (options.channels or channels, options.size or height, options.size or width)
    planner = Planner(net, optimizer, options.train)
    plan = planner.forecast((options.batch, *picture), time=False)
    if plan.fits and not options.memory:
        plan = planner.forecast((options.batch, *picture), time=True)
    if options.json:
        print(json.dumps(plan.to_dict(), indent=2))
    else:
        print(f"{options.model}: {plan}")
    if plan.fits:
        return 0
    best = largest(lambda count: planner.forecast((count, *picture)).fits, options.batch)
    assert plan.available is not None
    raise RuntimeError(
        f"this does not fit into the {mebibytes(plan.available.bytes)} that are free; "
        + (f"the largest batch that fits is {best}" if best else "not even a batch of 1 fits")
    )
