"""cool export"""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import models
from ..formats import Model
from . import UsageError, parser_for, whole

_EXAMPLES = """  cool export runs/classify/digits digits.onnx
  cool export model.safetensors model.onnx --fold
  cool export resnet18 resnet18.onnx --size 320 --static
"""


def main(words: list[str]) -> int:
    """Runs the verb."""
    parser = parser_for("export", _EXAMPLES)
    parser.add_argument("model", help="a model file, the folder of a run, or the name of a network (new weights)")
    parser.add_argument("out", help="the file to write, such as model.onnx")
    parser.add_argument("--size", type=whole(1), metavar="PIXELS", help="height and width of the input")
    parser.add_argument("--fold", action="store_true", help="put batch norms into the convolutions before them")
    parser.add_argument("--static", action="store_true", help="fix batch (1) and size, for programs that want that")
    options = parser.parse_args(words)

    from ..formats import onnx

    model, shape = _model(options)
    if Path(options.out).is_dir():
        raise UsageError(f"{options.out} is a folder; name the file to write")
    print(onnx.export(model, options.out, shape, dynamic=not options.static, fold_batch_norm=options.fold))
    return 0


def _model(options: argparse.Namespace) -> tuple[Model, tuple[int, ...]]:
    """The network with what belongs to it, and the shape of its input."""
    if Path(options.model).exists():
        from ..tasks import classify

        model = classify.open_model(options.model)
        height, width, channels = model.input_size
    else:
        try:
            channels, height, width = models.get_config(options.model).input_size
        except ValueError as error:
            raise UsageError(f"{error}; and there is no file of that name") from error
        sizes = {} if options.size is None else models.for_size(options.model, options.size)
        net = models.create(options.model, **sizes)
        model = Model(net, preprocessing=net.preprocessing)
    return model, (1, channels, options.size or height, options.size or width)
