"""The command line: `cool VERB ...`. Each verb is a module of its own, loaded only when it is called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

#: Every verb, in the order in which the help lists them, with what it does.
VERBS = {
    "train": "train a network on a folder of pictures or a named data set",
    "eval": "measure a trained network on pictures with known classes",
    "predict": "say what is in pictures",
    "summary": "show the layers of a network: shapes, parameters, work, memory, receptive field",
    "data": "list, inspect and download data sets",
    "bench": "measure speed, beside PyTorch where it is installed",
    "doctor": "check this installation: version, processor, threads, numbers, speed",
}

_EXAMPLES = """examples:
  cool train digits                      LeNet-5 learns handwritten digits in half a minute
  cool train my_pictures/                one folder for each class, any sizes
  cool predict runs/classify/digits photo.png
  cool summary vgg19

Each verb has its own help with examples: cool train --help
"""


class UsageError(ValueError):
    """The command was called in a way that cannot work; exit status 2."""


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


def parser_for(verb: str, examples: str) -> argparse.ArgumentParser:
    """The parser of a verb with what all verbs share."""
    parser = argparse.ArgumentParser(
        prog=f"cool {verb}",
        description=VERBS[verb][0].upper() + VERBS[verb][1:] + ".",
        epilog="examples:\n" + examples,
        formatter_class=_Help,
    )
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    return parser


def _overview() -> str:
    lines = [
        "usage: cool VERB ...",
        "",
        "Cool Neural Networks: train, look inside and ship convolutional networks.",
        "",
    ]
    lines += [f"  {verb:9} {what}" for verb, what in VERBS.items()]
    return "\n".join([*lines, "", "  --version  print the version", "", _EXAMPLES])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; the exit status is 0 for success, 1 for failure, 2 for wrong use, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview(), end="")
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
        module = importlib.import_module(f"{__name__}.{verb}")
        status = module.main(words)
        sys.stdout.flush()  # so that a closed pipe is met here
        return int(status or 0)
    except KeyboardInterrupt:
        print(f"\ncool {verb}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `cool ... | head`
        sys.stderr.close()
        return 0
    except Exception as error:
        if "--debug" in words:
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, MemoryError):
            text = "not enough memory; try a smaller batch size (--batch) or picture size (--size)"
        expected = isinstance(
            error, ValueError | OSError | RuntimeError | ImportError | MemoryError | KeyError | TypeError
        )
        if not expected:
            text = f"{type(error).__name__}: {text} (please report this; --debug shows where)"
        print(f"cool {verb}: {text}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
