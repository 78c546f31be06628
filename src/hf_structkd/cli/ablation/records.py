"""The finished runs of a plan, as their JSON files have them, and what the tables read of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .one_run import is_finished
from .plan import ALL_LABELS, Run, read_plan

ALONE, DEFAULT = "alone", "default"
"""Settings that the others of an experiment are compared with."""

Record = Mapping[str, Any]


def records(plan: Path, results: Path) -> dict[str, list[Record]]:
    """Return the finished runs of a plan by experiment, in the order of the plan.

    A record is the JSON file, with what the plan says today of the experiment for people: its title, its
    labels and its reference.
    """
    found: dict[str, list[Record]] = {}
    for run in read_plan(plan):
        file = result_file(run, results)
        if is_finished(run, file):
            words = {"title": run.title, "labels": run.labels, "reference": run.reference}
            record = {**json.loads(file.read_text(encoding="utf-8")), **words}
            found.setdefault(run.experiment, []).append(record)
    return found


def result_file(run: Run, results: Path) -> Path:
    """Return the file of a run's results."""
    return results / f"{run.name}.json"


def of_setting(runs: Iterable[Record], setting: str) -> list[Record]:
    """Return the runs of one setting."""
    return [run for run in runs if run["setting"] == setting]


def settings_of(runs: Iterable[Record]) -> list[str]:
    """Return the settings of runs, each once."""
    return list(dict.fromkeys(run["setting"] for run in runs))


def scores_by_seed(runs: Iterable[Record], setting: str) -> dict[int, float]:
    """Return the headline score of every run of a setting."""
    return {run["seed"]: run["scores"][run["metric"]] for run in of_setting(runs, setting)}


def teacher_score(runs: Iterable[Record]) -> float | None:
    """Return the teacher's score, as the runs that it taught have it; None if there is none."""
    found = [run["teacher_scores"][run["metric"]] for run in runs if run["teacher_scores"] is not None]
    return found[0] if found else None


def name_of(run: Record, option: str) -> str:
    """Return the last part of the path or Hub id that an option names."""
    return Path(run["options"][option]).name


def title_of(runs: Sequence[Record]) -> str:
    """Return the title of an experiment, with its labels where the plan names them."""
    one = runs[0]
    return one["title"] if one["labels"] == ALL_LABELS else f"{one['title']}, labels: {one['labels']}"


def metric_of(run: Record) -> str:
    """Return the name of the score, and which way is better where that is down."""
    return f"{run['metric_label']}{'' if run['higher_is_better'] else ' (lower is better)'}"
