"""cool bench"""

from __future__ import annotations

import json
import sys

from . import UsageError, number, parser_for

_EXAMPLES = """  cool bench
  cool bench lenet5 vgg19 --seconds 30
  cool bench matmul --json

Peers that are installed (PyTorch) run in turn with coolnn, on the same number of threads; the ratio is the fastest
peer's median time divided by ours.
"""


def main(words: list[str]) -> int:
    """Runs the verb."""
    parser = parser_for("bench", _EXAMPLES)
    parser.add_argument(
        "work", nargs="*", help="lenet5, vgg19 (training steps), lenet5-infer, vgg19-infer, matmul (default: all)"
    )
    parser.add_argument("--seconds", type=number, default=10.0, metavar="S", help="time for each work (default: 10)")
    parser.add_argument("--alone", action="store_true", help="leave the peers out")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    options = parser.parse_args(words)

    from .. import bench

    if not 0 < options.seconds < float("inf"):
        raise UsageError(f"--seconds must be a positive number, not {options.seconds:g}")
    names = options.work or list(bench.WORKLOADS)
    unknown = [name for name in names if name not in bench.WORKLOADS]
    if unknown:
        raise UsageError(f"there is no work named {unknown[0]}; choose from: {', '.join(bench.WORKLOADS)}")
    results = []
    for name in names:
        if sys.stderr.isatty():
            print(f"{bench.WORKLOADS[name].title} ...", end="\r", file=sys.stderr, flush=True)
        result = bench.run(bench.WORKLOADS[name], options.seconds, peers=not options.alone)
        results.append(result)
        if not options.json:
            print("\x1b[K" * sys.stdout.isatty() + _line(result), flush=True)
    if options.json:
        print(json.dumps(results, indent=2))
    return 0


def _line(result: dict[str, object]) -> str:
    def milliseconds(seconds: float) -> str:
        return f"{seconds * 1e3:,.3g} ms" if seconds < 0.1 else f"{seconds * 1e3:,.0f} ms"

    peers = result["peers"]
    assert isinstance(peers, dict)
    text = f"{result['work']:52} coolnn {milliseconds(float(str(result['coolnn_seconds']))):>9}"
    text += "".join(f"   {name} {milliseconds(seconds)}" for name, seconds in peers.items())
    return text + (f"   ratio {result['ratio']:.2f}" if "ratio" in result else "")
