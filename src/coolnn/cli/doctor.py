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
    numbers = list(diagnosis.check_numbers())
    if not options.json:
        _print_numbers(numbers)
        print("\nspeed", flush=True)
    speeds = []
    for result in diagnosis.measure_speed():
        speeds.append(result)
        if not options.json:
            print(f"  {result['name']:40} {result['value']:>9,.1f} {result['unit']}", flush=True)
    good = all(result["ok"] for result in numbers)
    if options.json:
        print(json.dumps(facts | {"numbers": numbers, "speed": speeds, "ok": good}, indent=2))
    else:
        print("\nall is well" if good else "\nsome numbers are WRONG: please report this output")
    return 0 if good else 1


def _print_numbers(numbers: list[dict[str, Any]]) -> None:
    """One line a check, one column an instruction set."""
    isas = list(dict.fromkeys(result["isa"] for result in numbers))
    print("\nnumbers: values and gradients against float64, error relative to the largest")
    print(" " * 33 + "".join(f"{isa:>10}" for isa in isas))
    for name in dict.fromkeys(result["name"] for result in numbers):
        results = {result["isa"]: result for result in numbers if result["name"] == name}
        cells = "".join(f"{results[isa]['error']:>10.0e}" for isa in isas)
        print(f"  {name:31}{cells}  {'ok' if all(r['ok'] for r in results.values()) else 'WRONG'}")


def _print_facts(facts: dict[str, Any]) -> None:
    for key, value in facts.items():
        if isinstance(value, dict):
            print(f"{key}")
            for name, inner in value.items():
                print(f"  {name:18} {inner}")
        else:
            print(f"{key:20} {', '.join(value) if isinstance(value, list) else value}")
