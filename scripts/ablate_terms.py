"""Measure what each term does on the embedded scenes: the table in docs/results.md.

    python scripts/ablate_terms.py --seeds 1 2 3

trains the demonstration's student once for each row and seed, from the teacher that `make demo` left in
outputs/scenes-teacher, and prints mean IoU on the validation scenes. Every row states the weights of all
terms and passes all of them, so that none is left to a default. Finished runs are not repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch

from hf_structkd import StructKDTrainingArguments
from hf_structkd.training.presets import preset_settings

ROOT = Path(__file__).resolve().parents[1]


class Row(NamedTuple):
    """One row of the table: the weight of every term, and the preset that sets everything else.

    No weight has a default, so that a row cannot leave one out.
    """

    task: float
    pixel: float
    pairwise: float
    holistic: float
    mimic: float
    channel: float
    preset: str | None = None

    @classmethod
    def of_preset(cls, preset: str) -> Row:
        """State the weights of a published configuration; it leaves the two others off."""
        settings = preset_settings(preset)
        names = ("task", "pixel", "pairwise", "holistic")
        return cls(*(settings[f"{name}_weight"] for name in names), mimic=0.0, channel=0.0, preset=preset)

    @property
    def weights(self) -> dict[str, float]:
        """Weights by the name of the training argument."""
        return {f"{name}_weight": value for name, value in self._asdict().items() if name != "preset"}

    @property
    def name(self) -> str:
        """What the table calls the row, made from its numbers."""
        numbers = ", ".join(f"{name.removesuffix('_weight')} {w:g}" for name, w in self.weights.items())
        return numbers if self.preset is None else f"preset {self.preset}: {numbers}"

    @property
    def flags(self) -> list[str]:
        """The command line of the row; the weights win over those of the preset."""
        preset = [] if self.preset is None else ["--preset", self.preset]
        return [*preset, *(part for name, w in self.weights.items() for part in (f"--{name}", str(w)))]

    def arguments(self) -> dict[str, Any]:
        """Return every training argument as the row's run has it, whoever sets it."""
        defaults = {
            one.name: one.default if one.default_factory is MISSING else one.default_factory()
            for one in fields(StructKDTrainingArguments)
        }
        return defaults | (preset_settings(self.preset) if self.preset else {}) | self.weights


ROWS = (
    Row(task=1, pixel=0, pairwise=0, holistic=0, mimic=0, channel=0),
    Row(task=1, pixel=1, pairwise=0, holistic=0, mimic=0, channel=0),
    Row(task=1, pixel=1, pairwise=10, holistic=0, mimic=0, channel=0),
    Row(task=1, pixel=1, pairwise=10, holistic=0.01, mimic=0, channel=0),
    Row(task=1, pixel=1, pairwise=10, holistic=0.1, mimic=0, channel=0),
    Row(task=1, pixel=10, pairwise=10, holistic=0.1, mimic=0, channel=0),
    # Not "official": the weight of its pixel-wise term depends on the batch size.
    Row.of_preset("paper"),
    Row.of_preset("cirkd"),
)


def refuse_equal_rows(rows: Sequence[Row]) -> None:
    """Raise `ValueError` if two rows train with the same arguments, or have the same name."""
    for index, row in enumerate(rows):
        for other in rows[:index]:
            if row.name == other.name or row.arguments() == other.arguments():
                raise ValueError(f"the rows {other.name!r} and {row.name!r} are the same run; remove one.")


def refuse_other_weights(row: Row, folder: Path) -> None:
    """Raise `ValueError` if the run in the folder had other weights than the row states."""
    saved = torch.load(folder / "training_args.bin", weights_only=False)
    used = {name: getattr(saved, name) for name in row.weights}
    if used != row.weights:
        raise ValueError(f"the run in {folder} had {used}, and its row states {row.weights}; remove the run.")


def run(row: Row, seed: int, args: argparse.Namespace) -> float:
    """Train one student, unless it is there already; return its mean IoU."""
    slug = row.name.replace(",", "").replace(":", "").replace(" ", "-")
    folder = Path(args.output_dir) / f"{slug}-seed{seed}"
    results = folder / "all_results.json"
    if not results.is_file():
        command = [sys.executable, str(ROOT / "examples" / "run_seg_distill.py"), *row.flags]
        command += ["--teacher_model_name_or_path", args.teacher, "--output_dir", str(folder)]
        command += ["--num_train_epochs", str(args.epochs), "--eval_strategy", "no", "--seed", str(seed)]
        command += ["--compare_baseline", "false", "--disable_tqdm", "true"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    refuse_other_weights(row, folder)
    return float(json.loads(results.read_text(encoding="utf-8"))["eval_mean_iou"])


def main() -> None:
    """Run every row with every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--teacher", default="outputs/scenes-teacher")
    parser.add_argument("--output_dir", default="outputs/ablation")
    args = parser.parse_args()
    refuse_equal_rows(ROWS)
    scores: dict[Row, list[float]] = {row: [] for row in ROWS}
    for seed in args.seeds:
        for row in ROWS:
            scores[row].append(run(row, seed, args))
            print(f"seed {seed}, {row.name}: {scores[row][-1]:.4f}", flush=True)
    print(f"\n| setting | mean IoU, mean of {len(args.seeds)} seeds | lowest to highest |")
    print("| --- | --- | --- |")
    for row, values in scores.items():
        print(f"| {row.name} | {statistics.mean(values):.4f} | {min(values):.4f} to {max(values):.4f} |")


if __name__ == "__main__":
    main()
