"""cool predict"""

from __future__ import annotations

import csv
import json
import sys

from . import parser_for, whole

_EXAMPLES = """  cool predict runs/classify/digits photo.png
  cool predict model.safetensors holiday/ --top 3
  cool predict model.safetensors 'scans/*.png' --csv > answers.csv
"""


def main(words: list[str]) -> int:
    """Runs the verb."""
    parser = parser_for("predict", _EXAMPLES)
    parser.add_argument("model", help="a model file, or the folder of a run")
    parser.add_argument("images", nargs="+", help="pictures, folders of pictures, or patterns such as '*.jpg'")
    parser.add_argument("--top", type=whole(1), default=1, metavar="N", help="how many answers a picture (default: 1)")
    parser.add_argument("--batch", type=whole(1), default=32, metavar="N", help="pictures at a time (default: 32)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON list")
    form.add_argument("--csv", action="store_true", help="print a CSV table")
    options = parser.parse_args(words)

    from ..tasks import classify

    model = classify.open_model(options.model)
    paths = classify.find_pictures(options.images)
    answers = classify.predict(model, paths, top=options.top, batch_size=options.batch)
    failed = 0
    if options.json:
        rows = list(answers)
        failed = sum("error" in row for row in rows)
        print(json.dumps(rows, indent=2))
    elif options.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["picture", "rank", "label", "score", "error"])
        for row in answers:
            failed += "error" in row
            for rank, answer in enumerate(row["answers"], 1):
                writer.writerow([row["picture"], rank, answer["label"], f"{answer['score']:.6f}", ""])
            if "error" in row:
                writer.writerow([row["picture"], "", "", "", row["error"]])
    else:
        width = min(max((len(str(path)) for path in paths), default=0), 60)
        for row in answers:
            if "error" in row:
                failed += 1
                print(f"cool predict: {row['error']}", file=sys.stderr)
            else:
                text = "   ".join(f"{a['label']} {a['score']:.1%}" for a in row["answers"])
                print(f"{row['picture']:{width}}  {text}")
    return 1 if failed else 0
