"""Finished runs of any scores, which no model was trained for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hf_structkd.cli.ablation.plan import WEIGHTS, read_plan
from hf_structkd.cli.ablation.records import result_file

Scores = Mapping[str, Mapping[int, float]]
ALONE = {name: int(name == "task_weight") for name in WEIGHTS}
TAUGHT = {**ALONE, "pixel_weight": 1}


def experiment(**changed: Any) -> dict[str, Any]:
    """The student alone and the default of one experiment, five seeds."""
    options = {
        "dataset_name": "data/town",
        "validation_split": "validation[50%:]",
        "student_model_name_or_path": "students/small",
        "teacher_model_name_or_path": "teachers/large",
    }
    kept = {"title": "Town", "task": "segmentation", "chosen_on": "validation[:50%]", "options": options}
    return {**kept, "settings": ["alone", "default"], "seeds": [1, 2, 3, 4, 5], **changed}


def write_plan(
    path: Path,
    experiments: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    **keys: Any,
) -> Path:
    """Write a plan with the settings alone and default, and more."""
    known = {"alone": ALONE, "default": TAUGHT, **(settings or {})}
    path.write_text(yaml.safe_dump({"experiments": dict(experiments), "settings": known, **keys}))
    return path


def finish(
    plan: Path,
    scores: Mapping[str, Scores],
    *,
    teacher: float = 0.7,
    higher: bool = True,
    seconds: Mapping[str, int] | None = None,
) -> Path:
    """Write the files of the runs that scores name by experiment, setting and seed; return their folder."""
    results = plan.parent / "results" / "runs"
    for run in read_plan(plan):
        score = scores.get(run.experiment, {}).get(run.setting, {}).get(run.seed)
        if score is None:
            continue
        names = ("experiment", "setting", "seed", "task", "chosen_on", "options", "title")
        record = {
            **{name: getattr(run, name) for name in names},
            **{"metric": "score", "metric_label": "the score", "higher_is_better": higher},
            "scores": {"score": score},
            "teacher_scores": {"score": teacher} if run.is_taught else None,
            "curve": [[1, score]],
            "processor_seconds": (seconds or {}).get(run.setting, 60),
            **{"date": "2026-11-26", "machine": "cpu"},
        }
        file = result_file(run, results)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record))
    return results


def cells(table: str, start: str) -> list[str]:
    """The cells of the one row that has a cell with this start."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    (found,) = (row for row in rows if any(cell.startswith(start) for cell in row))
    return found
