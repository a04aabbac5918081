"""cool data"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from .. import data
from . import UsageError, parser_for

_EXAMPLES = """  cool data list
  cool data info my_pictures/
  cool data get mnist

Data sets with a name are looked for in the folder COOLNN_DATA, or in coolnn/data in the user's cache folder. Nothing
is downloaded but by `cool data get`.
"""


def main(words: list[str]) -> int:
    """Runs the verb."""
    parser = parser_for("data", _EXAMPLES)
    parser.add_argument("action", choices=("list", "info", "get"), help="what to do")
    parser.add_argument("name", nargs="?", help="a data set by name, or a folder of pictures (info)")
    parser.add_argument("--folder", metavar="FOLDER", help="where data sets with a name are kept")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    options = parser.parse_args(words)
    if (options.action == "list") == (options.name is not None):
        raise UsageError("`list` takes no name" if options.name else f"`{options.action}` needs a name")
    if options.action == "get":
        if options.name not in data.NAMED:
            raise UsageError(f"there is no data set named {options.name!r}; there are: {', '.join(data.NAMED)}")
        place = data.get(options.name, folder=options.folder, progress=None if options.json else Bar().update)
        if options.json:
            print(json.dumps(str(place)))
        elif data.NAMED[options.name].remotes:
            print(f"{options.name} is in {place}")
        else:
            print(f"{options.name} is there already: {data.NAMED[options.name].about}")
        return 0
    return _list(options) if options.action == "list" else _info(options)


def _list(options: argparse.Namespace) -> int:
    there = data.available(options.folder)
    rows = {name: {"about": named.about, "here": there[name]} for name, named in data.NAMED.items()}
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    print(f"data folder: {data.data_folder(options.folder)}")
    for name, row in rows.items():
        print(f"  {name:15} {'here' if row['here'] else 'missing':8} {row['about']}")
    return 0


def _info(options: argparse.Namespace) -> int:
    splits = data.load(options.name, folder=options.folder)
    facts: dict[str, Any] = {
        "name": splits.name,
        "classes": list(splits.classes),
        "parts": {name: {"pictures": len(part), "classes": part.counts()} for name, part in splits.parts()},
        "picture": list(splits.train[0][0].shape),
    }
    if options.json:
        print(json.dumps(facts, indent=2))
        return 0
    print(splits)
    height, width, channels = facts["picture"]
    print(f"first picture: {width} x {height}, {'grey' if channels == 1 else 'colour'}")
    length = max(len("class"), *(len(name) for name in facts["classes"]))
    print("class".ljust(length), *(f"{name:>8}" for name in facts["parts"]))
    for name in facts["classes"]:
        print(name.ljust(length), *(f"{part['classes'][name]:>8,}" for part in facts["parts"].values()))
    return 0


class Bar:
    """A line that shows how far a download is."""

    def __init__(self) -> None:
        self.file = ""

    def update(self, file: str, done: int, total: int | None) -> None:
        """Draws the line anew; a new line for a new file."""
        if not sys.stderr.isatty():
            return
        if self.file and file != self.file:
            sys.stderr.write("\n")
        self.file = file
        text = f"{done / 2**20:,.1f} MiB" + (f" of {total / 2**20:,.1f} ({done / max(total, 1):.0%})" if total else "")
        sys.stderr.write(f"\r\x1b[K{file}  {text}")
        if total and done >= total:
            sys.stderr.write("\n")
            self.file = ""
        sys.stderr.flush()
