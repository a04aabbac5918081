"""cool bench"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from . import UsageError, number, parser_for, whole

_EXAMPLES = """  cool bench                             all works, beside every peer that is installed
  cool bench vgg19-infer lenet5 --seconds 30 --json results.json
  cool bench zoo                         inference of eight networks, one picture at a time
  cool bench styles                      style transfer: time, memory and loss of an iteration, one pass by size
  cool bench kernels --layers benchmarks/layers/resnet50.txt --pass forward --batch 1
  cool bench plan                        what cool plan foresees, beside what then happens
  cool bench kernels --of mobilenet_v2 --save mobilenet.txt

Peers (PyTorch, ONNX Runtime, OpenVINO, ncnn) run in turn with coolnn, each in its fastest settings, on the same number
of threads; their answers are compared with ours before anything is timed. The ratio is a peer's median time divided by
ours; that of a work is to the fastest peer that computes in float32, too.
"""
_GROUPS = ("zoo", "styles", "kernels", "plan")


def main(words: list[str]) -> int:
    """Runs the verb."""
    options = _parser().parse_args(words)
    from ..bench import STYLES, WORKLOADS, peers
    from ..files import write_json
    from ..options import set_num_threads

    if not 0 < options.seconds < float("inf"):
        raise UsageError(f"--seconds must be a positive number, not {options.seconds:g}")
    known = dict.fromkeys((*WORKLOADS, *STYLES, *_GROUPS))
    unknown = [name for name in options.work if name not in known]
    if unknown:
        raise UsageError(f"there is no work named {unknown[0]}; choose from: {', '.join(known)}")
    if options.threads:
        set_num_threads(options.threads)
    chosen = _peers(options)
    if peers.missing() and not options.alone:
        print(peers.missing(), file=sys.stderr)
    results = []
    if "kernels" in options.work:
        measured = _kernels(options, chosen)
    else:
        measured = _foresight(options) if "plan" in options.work else _works(options, chosen)
    for result in measured:
        results.append(result)
        if options.json and options.json != "-":
            write_json(options.json, results)
    if options.json == "-":
        print(json.dumps(results, indent=2))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = parser_for("bench", _EXAMPLES)
    parser.add_argument(
        "work", nargs="*", help="names of works, or one of zoo, styles, kernels, plan (default: all works)"
    )
    parser.add_argument("--seconds", type=number, default=10.0, metavar="S", help="time for each work (default: 10)")
    parser.add_argument("--rounds", type=whole(1), default=5, metavar="N", help="turns at least (default: 5)")
    parser.add_argument("--threads", type=whole(0), metavar="N", help="for us and for the peers")
    parser.add_argument("--peers", metavar="NAMES", help="only these, such as torch,ncnn (default: all installed)")
    parser.add_argument("--alone", action="store_true", help="leave the peers out")
    parser.add_argument("--slow", action="store_true", help="also settings that take minutes to make: torch.compile")
    parser.add_argument("--json", metavar="FILE", help="write the results there as JSON (-: print nothing but them)")
    parser.add_argument("--markdown", action="store_true", help="print the results as lines of a Markdown table")
    kernels = parser.add_argument_group("kernels")
    kernels.add_argument("--layers", metavar="FILE", help="shapes of the layers to measure")
    kernels.add_argument("--of", metavar="MODEL", help="the convolutions of this network")
    kernels.add_argument("--save", metavar="FILE", help="write the shapes there and stop")
    kernels.add_argument("--pass", dest="direction", choices=("forward", "input_grad", "weight_grad"))
    kernels.add_argument("--batch", type=whole(1), metavar="N", help="pictures, in place of what the file says")
    return parser


def _peers(options: argparse.Namespace) -> list[str]:
    from ..bench import peers

    found = [] if options.alone else list(peers.installed())
    if options.peers is None:
        return found
    known = [peers.package_of(module) for module in peers.PEERS]
    names = options.peers.split(",")
    for name in names:
        if name not in known:
            raise UsageError(f"--peers: there is no peer named {name}; choose from: {', '.join(known)}")
    return [module for module in found if peers.package_of(module) in names]


def _works(options: argparse.Namespace, chosen: list[str]) -> Iterator[dict[str, Any]]:
    from .. import bench

    if options.markdown:
        print("| work | coolnn | the best other one | ratio | others |\n|---|---|---|---|---|")
    works = dict(bench.ZOO) if "zoo" in options.work else {}
    works |= bench.STYLES if "styles" in options.work else {}
    known = bench.WORKLOADS | bench.STYLES
    works |= {name: known[name] for name in options.work or bench.WORKLOADS if name in known}
    for workload in works.values():
        if sys.stderr.isatty():
            print(f"{workload.title} ...", end="\r", file=sys.stderr, flush=True)
        result = bench.run(workload, options.seconds, chosen, options.rounds, options.slow)
        if options.json != "-":
            text = markdown(result) if options.markdown else table(result)
            print("\x1b[K" * sys.stdout.isatty() + text, flush=True)
        yield result


def table(result: dict[str, Any]) -> str:
    """A result as lines: everybody's time, ratio to ours, speed and difference of the answer."""
    threads = f"{result['threads']} thread" + "s" * (result["threads"] != 1)
    lines = [f"{result['work']}  ({threads}, {result['isa']})"]
    for row in result["rows"]:
        line = f"  {row['name']:30} {_value(row):>12}"
        line += f" {row['ratio']:8.2f}"
        if "gflops" in row:
            line += f" {row['gflops']:7.0f} GFLOP/s, {row['gflops'] / result['peak_gflops']:.0%} of peak"
        if row["difference"] is not None:
            line += f"   differs by {row['difference']:.0e}" + "  (not float32)" * (not row["float32"])
        lines.append(line)
    if result["ratio"] is not None:
        lines.append(f"  {'ratio to the best of them':30} {'':12} {result['ratio']:8.2f}")
    return "\n".join([*lines, *(f"  {note}" for note in result["notes"])])


def markdown(result: dict[str, Any]) -> str:
    """A result as a line of a table: our time, the best other one in float32, the ratio, and everybody else."""

    def cell(row: dict[str, Any]) -> str:
        value = _value(row)
        if "gflops" in row:
            value += f" ({row['gflops']:.0f} GFLOP/s, {row['gflops'] / result['peak_gflops']:.0%} of peak)"
        return value

    own, *others = result["rows"]
    rivals = sorted((row for row in others if row["float32"] and "coolnn" not in row["name"]), key=lambda r: r["ratio"])
    rest = [row for row in others if row not in rivals[:1]]
    best = f"{rivals[0]['name']} {cell(rivals[0])} | **{rivals[0]['ratio']:.2f}**" if rivals else "– | –"
    return f"| {result['work']} | {cell(own)} | {best} | {', '.join(r['name'] + ' ' + cell(r) for r in rest) or '–'} |"


def _value(row: dict[str, Any]) -> str:
    """The figure of a row with its unit."""
    if "loss" in row:
        return f"{row['loss']:.6f}"
    return f"{row['bytes'] / 2**20:,.0f} MiB" if "bytes" in row else _milliseconds(row["seconds"])


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.3g} ms" if seconds < 0.1 else f"{seconds * 1e3:,.0f} ms"


def _kernels(options: argparse.Namespace, chosen: list[str]) -> Iterator[dict[str, Any]]:
    import dataclasses

    from ..bench import layers, peers
    from ..files import write_text

    if (options.layers is None) == (options.of is None):
        raise UsageError("kernels needs --layers FILE or --of MODEL (one of the two)")
    found = layers.layers_of(options.of) if options.of else layers.read_layers(options.layers)
    if options.batch:
        found = [dataclasses.replace(layer, n=options.batch) for layer in found]
    if options.save:
        title = f"The convolutions of {options.of or options.layers} (cool bench kernels --of MODEL --save FILE)."
        write_text(options.save, layers.write_layers(title, found))
        return
    torch = peers.load("peer_torch") if "peer_torch" in chosen else None
    quiet = options.json == "-"
    if not quiet:
        print(f"{'pass':12} {'algorithm':20} {'ms':>9} {'GFLOP/s':>8} {'peak':>5} {'torch':>9} {'ratio':>6}  layer")
    totals: dict[str, list[float]] = {}
    for layer in found:
        for direction in [options.direction] if options.direction else layers.PASSES:
            row = layers.measure(layer, direction, torch, min(options.seconds, 1.0))
            rival = min(row["peers"].values(), default=None)
            totals.setdefault(direction, []).append(row["count"] * row["seconds"])
            if rival is not None:
                totals.setdefault(f"{direction} in torch", []).append(row["count"] * rival)
            if not quiet:
                beside = f"{rival * 1e3:9.3f} {row['ratio']:6.2f}" if rival is not None else " " * 16
                print(
                    f"{direction:12} {row['algorithm']:20} {row['seconds'] * 1e3:9.3f} {row['gflops']:8.0f} "
                    f"{row['share_of_peak']:5.0%} {beside}  {row['layer']}",
                    flush=True,
                )
            yield row
    if not quiet:
        for name, times in totals.items():
            print(f"all as often as they occur, {name}: {sum(times) * 1e3:,.1f} ms")


def _foresight(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from ..bench import foresight

    quiet = options.json == "-"
    if not quiet:
        print(f"{'':42} {'memory, MiB':>24}   {'time, ms':>24}")
    for model, batch, train in foresight.CASES:
        row = foresight.measure(model, batch, train)
        if not quiet:
            print(f"{model + (' training step' if train else ' inference') + f', batch {batch}':42}", end="")
            for unit, scale in (("bytes", 2**-20), ("seconds", 1e3)):
                planned, real = row[f"foreseen_{unit}"], row[unit]
                print(f" {planned * scale:9,.1f} {real * scale:9,.1f} {planned / real - 1:+5.0%}  ", end="")
            print(flush=True)
        yield row
