"""Measure what each term does on the embedded scenes: the table in docs/results.md.

    python scripts/ablate_terms.py --seeds 1 2 3

trains the demonstration's student once for each setting and seed, from the teacher that `make demo` left in
outputs/scenes-teacher, and prints mean IoU on the validation scenes. Finished runs are not repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OFF = {"pixel_weight": 0.0, "pairwise_weight": 0.0, "holistic_weight": 0.0}
SETTINGS: dict[str, dict[str, float | str]] = {
    "alone": OFF,
    "pixel 1": {**OFF, "pixel_weight": 1.0},
    "pixel 1, pair 10": {**OFF, "pixel_weight": 1.0, "pairwise_weight": 10.0},
    "pixel 1, pair 10, holistic 0.01": {},
    "pixel 1, pair 10, holistic 0.1": {"holistic_weight": 0.1},
    "pixel 10, pair 10, holistic 0.1": {"pixel_weight": 10.0, "holistic_weight": 0.1},
    "preset paper": {"preset": "paper"},
    "preset cirkd": {"preset": "cirkd"},
}


def run(name: str, seed: int, args: argparse.Namespace) -> float:
    """Train one student, unless it is there already; return its mean IoU."""
    folder = Path(args.output_dir) / f"{name.replace(' ', '-').replace(',', '')}-seed{seed}"
    results = folder / "all_results.json"
    if not results.is_file():
        command = [sys.executable, str(ROOT / "examples" / "run_seg_distill.py")]
        command += ["--teacher_model_name_or_path", args.teacher, "--output_dir", str(folder)]
        command += ["--num_train_epochs", str(args.epochs), "--eval_strategy", "no", "--seed", str(seed)]
        command += ["--compare_baseline", "false", "--disable_tqdm", "true"]
        for option, value in SETTINGS[name].items():
            command += [f"--{option}", str(value)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return float(json.loads(results.read_text(encoding="utf-8"))["eval_mean_iou"])


def main() -> None:
    """Run every setting with every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--teacher", default="outputs/scenes-teacher")
    parser.add_argument("--output_dir", default="outputs/ablation")
    args = parser.parse_args()
    scores: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for seed in args.seeds:
        for name in SETTINGS:
            scores[name].append(run(name, seed, args))
            print(f"seed {seed}, {name}: {scores[name][-1]:.4f}", flush=True)
    print(
        f"\n| setting | mean IoU, mean of {len(args.seeds)} seeds | lowest to highest |\n| --- | --- | --- |"
    )
    for name, values in scores.items():
        print(f"| {name} | {statistics.mean(values):.4f} | {min(values):.4f} to {max(values):.4f} |")


if __name__ == "__main__":
    main()
