"""Print mean, lowest and highest of a metric over runs of several seeds.

python scripts/summarize_runs.py "alone=outputs/camvid-seed*/alone" "distilled=outputs/camvid-seed*"
"""

from __future__ import annotations

import argparse
import glob
import json
import statistics
from pathlib import Path


def main() -> None:
    """Read every `all_results.json` that a pattern finds; print one line for each name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("groups", nargs="+", help="NAME=PATTERN of run folders")
    parser.add_argument("--metric", default="eval_mean_iou")
    args = parser.parse_args()
    print(f"| runs | {args.metric}, each | mean | lowest to highest |\n| --- | --- | --- | --- |")
    for group in args.groups:
        name, pattern = group.split("=", 1)
        files = [Path(folder) / "all_results.json" for folder in sorted(glob.glob(pattern))]
        values = [
            json.loads(file.read_text(encoding="utf-8"))[args.metric] for file in files if file.is_file()
        ]
        if not values:
            raise SystemExit(f"{pattern!r} finds no folder with an all_results.json.")
        each = ", ".join(f"{value:.3f}" for value in values)
        spread = f"{min(values):.3f} to {max(values):.3f}"
        print(f"| {name} | {each} | {statistics.mean(values):.3f} | {spread} |")


if __name__ == "__main__":
    main()
