"""Train, score and record one run; a run that was killed goes on from its last checkpoint."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers
import yaml

from ...tasks import TASKS
from ..distil import Experiment
from ..script_args import parse_run
from .plan import Run


def train(run: Run, *, folder: Path, results: Path, cache: Path, keep_views: bool = False) -> None:
    """Train the student of a run and write its scores.

    Args:
        run: The run.
        folder: Takes checkpoints and the trained student.
        results: The JSON file to write, when everything is done.
        cache: Folder of the teacher's answers, which runs share, unless their options set `teacher_cache`.
        keep_views: Whether views of training images stay in memory, which changes no score.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "teacher_cache": str(cache),
        **run.options,
        "seed": run.seed,
        "output_dir": str(folder),
        "keep_views": keep_views,
        "resume_from_checkpoint": "true",
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(options, sort_keys=False), encoding="utf-8")
    (task,) = (task for task in TASKS if task.short_name == run.task)
    with _counted_seconds(folder / "seconds.txt"):
        arguments = parse_run(task, [str(folder / "run.yaml")], scenes={})
        experiment = Experiment.load(arguments)
        args = arguments.training if run.is_taught else experiment.baseline_arguments(arguments.training)
        trainer, scores = experiment.train(args, with_teacher=run.is_taught)
        experiment.failures.raise_first()
        teacher = trainer.evaluate_teacher() if run.is_taught else None
    headline = trainer.task.headline
    record = {
        **_identity(run),
        "title": run.title,
        "metric": headline.metric,
        "metric_label": headline.label,
        "higher_is_better": headline.higher_is_better,
        "scores": _plain(scores),
        "teacher_scores": None if teacher is None else _plain(teacher),
        "curve": _curve(trainer.state.log_history, headline.metric),
        "processor_seconds": round(sum(_lines(folder / "seconds.txt"))),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{args.device.type} ({platform.machine()}), threads: {torch.get_num_threads()}",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    results.parent.mkdir(parents=True, exist_ok=True)
    unfinished = results.with_suffix(".part")
    unfinished.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(results)


def is_finished(run: Run, results: Path) -> bool:
    """Return whether a run's results are there.

    Raises:
        ValueError: If the file holds the results of other options.
    """
    if not results.is_file():
        return False
    record = json.loads(results.read_text(encoding="utf-8"))
    wanted = json.loads(json.dumps(_identity(run)))
    other = [key for key, value in wanted.items() if record[key] != value]
    if other:
        raise ValueError(f"{results} must hold the run of the plan, got another {other[0]}; remove the file.")
    return True


def _identity(run: Run) -> dict[str, Any]:
    """Return what decides the scores, and where they belong."""
    names = ("experiment", "setting", "seed", "task", "chosen_on")
    return {**{name: getattr(run, name) for name in names}, "options": dict(run.options)}


def _plain(scores: dict[str, float]) -> dict[str, float]:
    """Return the scores without prefix and times, rounded to six digits."""
    times = ("runtime", "per_second", "preparation_time")
    named = {name.removeprefix("eval_"): value for name, value in scores.items() if not name.endswith(times)}
    return {name: round(float(value), 6) for name, value in named.items() if name != "epoch"}


def _curve(history: list[dict[str, float]], metric: str) -> list[tuple[int, float]]:
    """Return step and score of every evaluation, each step once."""
    scores = {log["step"]: log[f"eval_{metric}"] for log in history if f"eval_{metric}" in log}
    return [(int(step), round(score, 6)) for step, score in sorted(scores.items())]


def _lines(path: Path) -> list[float]:
    return [float(line) for line in path.read_text(encoding="utf-8").split()]


@contextmanager
def _counted_seconds(path: Path) -> Iterator[None]:
    """Add the processor time that the block takes, also if it is stopped, to those of earlier attempts."""
    start = time.process_time()
    try:
        yield
    finally:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{time.process_time() - start:.1f}\n")
