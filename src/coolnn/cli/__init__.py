"""The command line: `cool VERB ...`. Each verb is a module of its own, loaded only when it is called."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from ..formats import Model

#: Every verb, in the order in which the help lists them, with what it does.
VERBS = {
    "train": "train a network on a folder of pictures or a named data set",
    "eval": "measure a trained network on pictures with known classes",
    "predict": "say what is in pictures",
    "explain": "say why: what a network's answer rests on, and what its units look for, as pictures",
    "style": "paint photographs like a picture",
    "style-train": "teach a network to paint like a picture, in one pass",
    "summary": "show the layers of a network: shapes, parameters, work, memory, receptive field",
    "export": "write a network as an ONNX file for other programs",
    "plan": "say how much memory and time a run or a training step will take",
    "models": "list networks, and download weights that were published for them",
    "data": "list, inspect and download data sets",
    "bench": "measure speed, beside other programs where they are installed",
    "doctor": "check this installation: version, processor, threads, numbers, speed",
}

_EXAMPLES = """examples:
  cool train digits                      LeNet-5 learns handwritten digits in half a minute
  cool train my_pictures/                one folder for each class, any sizes
  cool predict photo.jpg                 what is in a photograph (pip install coolnn[imagenet])
  cool predict runs/classify/digits photo.png
  cool summary vgg19

Each verb has its own help with examples: cool train --help
"""


class UsageError(ValueError):
    """The command was called in a way that cannot work; exit status 2."""


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as for every other error, in place of the whole usage."""
        flag, _, rest = message.removeprefix("argument ").partition(": ")
        if rest.startswith("must be"):
            message = f"{flag} {rest}"
        raise UsageError(f"{message.removeprefix('argument ')} ({self.prog} --help tells more)")


def parser_for(verb: str, examples: str) -> argparse.ArgumentParser:
    """The parser of a verb with what all verbs share."""
    parser = _Parser(
        prog=f"cool {verb}",
        description=VERBS[verb][0].upper() + VERBS[verb][1:] + ".",
        epilog="examples:\n" + examples,
        formatter_class=_Help,
    )
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    return parser


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The options of verbs that use a network: where its weights are, and how pictures are prepared for it."""
    group = parser.add_argument_group("networks of the zoo with weights of other programs")
    group.add_argument(
        "--weights", metavar="FILE", help="PyTorch (.pth, .pt), safetensors or npz; default: the published ones"
    )
    group.add_argument(
        "--preprocessing",
        metavar="WHAT",
        help="what the network wants of pixels: imagenet, centred, unit, caffe, JSON, or a JSON file",
    )
    group.add_argument("--size", type=whole(1), metavar="PIXELS", help="side of the pictures that it is given")
    group.add_argument("--labels", metavar="WHAT", help="imagenet, cifar10, digits, or a file with a name a line")


def open_model(options: argparse.Namespace) -> Model:
    """The network that the options of `add_model_options` describe, `options.model` being its name or file."""
    from ..tasks import classify

    return classify.open_model(
        options.model,
        weights=options.weights,
        preprocessing=options.preprocessing,
        size=options.size,
        labels=options.labels,
    )


def whole(least: int) -> Callable[[str], int]:
    """The type of an option that takes whole numbers from `least` on."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more, not {value}")
        return value

    return convert


def number(text: str) -> float:
    """The type of an option that takes any number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None


def _overview() -> str:
    lines = [
        "usage: cool VERB ...",
        "",
        "Cool Neural Networks: train, look inside and ship convolutional networks.",
        "",
    ]
    lines += [f"  {verb:11} {what}" for verb, what in VERBS.items()]
    return "\n".join([*lines, "", "  --version  print the version", "", _EXAMPLES])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; the exit status is 0 for success, 1 for failure, 2 for wrong use, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show must not end the program
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if len(words) == 2 and words[0] == "help":
        words = [words[1], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview(), end="", file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from .. import __version__

        print(f"coolnn {__version__}")
        return 0
    verb = words[0]
    if verb not in VERBS:
        import difflib

        close = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        print(f"cool: there is no verb '{verb}'{hint} (verbs: {', '.join(VERBS)})", file=sys.stderr)
        return 2
    return _run(verb, words[1:])


def _run(verb: str, words: list[str]) -> int:
    try:
        module = importlib.import_module(f"{__name__}.{verb.replace('-', '_')}")
        status = module.main(words)
        sys.stdout.flush()  # so that a closed pipe is met here
        return int(status or 0)
    except KeyboardInterrupt:
        print(f"\ncool {verb}: stopped", file=sys.stderr)
        return 130
    except SystemExit as ending:  # how argparse ends after --help
        return int(ending.code or 0)
    except BrokenPipeError:  # `cool ... | head` has seen enough
        with contextlib.suppress(OSError, ValueError):  # so that Python's last flush does not complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if "--debug" in words:
            raise
        text = " ".join(_words(error).split()) or type(error).__name__
        if isinstance(error, MemoryError):
            text = "not enough memory; try a smaller batch size (--batch) or picture size (--size)"
        if not isinstance(error, ValueError | OSError | RuntimeError | ImportError | MemoryError):
            text = f"{type(error).__name__}: {text} (please report this; --debug shows where)"
        print(f"cool {verb}: {text}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def _words(error: Exception) -> str:
    """An error in words, without the number of the system's own."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    return str(error)
