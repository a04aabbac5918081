"""cool models"""

from __future__ import annotations

import argparse
import json
from typing import Any

from .. import models
from . import UsageError, parser_for
from .data import Bar

_EXAMPLES = """  cool models list
  cool models list 'vgg*' --markdown     what networks take and cost, as in the documentation
  cool models info vgg19
  cool models get vgg19

Published weights are looked for in the folder "weights" of the data folder (COOLNN_DATA, or coolnn/data in the user's
cache folder). Nothing is downloaded but by `cool models get`; a file that was fetched by hand may be put there.
"""


def main(words: list[str]) -> int:
    """Runs the verb."""
    parser = parser_for("models", _EXAMPLES)
    parser.add_argument("action", choices=("list", "info", "get"), help="what to do")
    parser.add_argument("name", nargs="?", help="a network by name; for list a pattern such as 'resnet*'")
    parser.add_argument("--folder", metavar="FOLDER", help="where published weights are kept")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.add_argument("--markdown", action="store_true", help="print the list with sizes, as a table in Markdown")
    options = parser.parse_args(words)
    if options.markdown and (options.action != "list" or options.json):
        raise UsageError("--markdown is for list, and without --json")
    if options.action == "list":
        return _list(options)
    if options.name is None:
        raise UsageError(f"`{options.action}` needs the name of a network (cool models list names them)")
    try:
        models.get_config(options.name)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return _get(options) if options.action == "get" else _info(options)


def _get(options: argparse.Namespace) -> int:
    path = models.get_weights(options.name, options.folder, None if options.json else Bar().update)
    print(json.dumps(str(path)) if options.json else f"the weights of {options.name} are in {path}")
    return 0


def _row(name: str, here: dict[str, bool]) -> dict[str, Any]:
    """What is known of a network's published weights."""
    known = models.PUBLISHED.get(name)
    if known is None:
        return {"published": False}
    return {
        "published": True,
        "here": here[name],
        "file": known.file,
        "url": known.url,
        "mebibytes": known.mebibytes,
        "sha256": known.checksum,
        "top1": known.top1,
        "classes": known.publisher.classes,
        "publisher": known.publisher.name,
        "licence": known.publisher.licence,
    }


def _list(options: argparse.Namespace) -> int:
    names = models.list_models(options.name or "*")
    if not names:
        raise UsageError(f"no network matches {options.name!r}; there are: {', '.join(models.list_models())}")
    if options.markdown:
        print(models.listing.markdown(models.table(options.name or "*")))
        return 0
    here = models.available_weights(options.folder)
    rows = {name: _row(name, here) for name in names}
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    print(f"published weights, looked for in {models.weights_folder(options.folder)}")
    print(f"  {'network':20} {'weights':8} {'MiB':>6} {'top-1':>7}  classes")
    for name, row in rows.items():
        if not row["published"]:
            print(f"  {name:20} none known")
            continue
        state = "here" if row["here"] else "missing"
        print(f"  {name:20} {state:8} {row['mebibytes']:6.1f} {row['top1']:5.1f} %  {row['classes']}")
    print("cool models get NAME fetches those of one network; top-1 is the accuracy that their publisher states")
    return 0


def _info(options: argparse.Namespace) -> int:
    from .. import nn

    with nn.meta_parameters():
        net = models.create(options.name)
    channels, height, width = net.input_size
    facts: dict[str, Any] = {
        "name": options.name,
        "parameters": net.num_parameters(),
        "classes": net.num_classes,
        "input": [channels, height, width],
        "stages": {info.name: {"channels": info.channels, "stride": info.stride} for info in net.feature_info},
        "head": net.head,
        "preprocessing": net.preprocessing.to_json(),
        "weights": _row(options.name, models.available_weights(options.folder)),
    }
    if facts["weights"].get("here"):
        facts["weights"]["path"] = str(models.find_weights(options.name, options.folder))
    if options.json:
        print(json.dumps(facts, indent=2))
        return 0
    prepared = net.preprocessing
    print(f"{options.name}: {facts['parameters']:,} parameters, {net.num_classes:,} classes")
    print(f"  pictures   {channels} x {height} x {width}, mean {_short(prepared.mean)}, std {_short(prepared.std)}")
    stages = ", ".join(f"{info.name} ({info.channels} channels, 1/{info.stride})" for info in net.feature_info)
    print(f"  stages     {stages}")
    print(f"  last layer {net.head}")
    weights = facts["weights"]
    if not weights["published"]:
        print("  weights    none known")
        return 0
    print(f"  weights    {weights['url']}")
    print(f"             {weights['mebibytes']:,.1f} MiB, SHA-256 {weights['sha256']}..., {weights['licence']}")
    print(f"             top-1 {weights['top1']} % as {weights['publisher']} states")
    print(f"             {weights['path'] if weights['here'] else f'missing; cool models get {options.name}'}")
    return 0


def _short(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4g}" for value in values)
