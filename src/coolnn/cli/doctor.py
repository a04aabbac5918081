"""cool doctor"""

from __future__ import annotations

import json
from typing import Any

from . import parser_for

_EXAMPLES = """  cool doctor
  cool doctor --json
  COOLNN_ISA=avx2 COOLNN_THREADS=1 cool doctor
"""


def main(words: list[str]) -> int:
    """Runs the verb."""
    parser = parser_for("doctor", _EXAMPLES)
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    options = parser.parse_args(words)

    from .. import diagnosis

    facts = diagnosis.facts()
    if not options.json:
        _print_facts(facts)
        print("numbers (error of the kernels against float64, relative to the largest value)")
    numbers = []
    for result in diagnosis.check_numbers():
        numbers.append(result)
        if not options.json:
            print(
                f"  {'ok' if result['ok'] else 'WRONG':5} {result['isa']:9} {result['name']:28} {result['error']:.1e}"
            )
    if not options.json:
        print("speed")
    speeds = []
    for result in diagnosis.measure_speed():
        speeds.append(result)
        if not options.json:
            print(f"  {result['name']:42} {result['value']:>10,.1f} {result['unit']}")
    good = all(result["ok"] for result in numbers)
    if options.json:
        print(json.dumps(facts | {"numbers": numbers, "speed": speeds, "ok": good}, indent=2))
    else:
        print("all is well" if good else "some numbers are WRONG: please report this output")
    return 0 if good else 1


def _print_facts(facts: dict[str, Any]) -> None:
    for key, value in facts.items():
        if isinstance(value, dict):
            print(f"{key}")
            for name, inner in value.items():
                print(f"  {name:18} {inner}")
        else:
            print(f"{key:20} {', '.join(value) if isinstance(value, list) else value}")
