"""One table of every experiment that is reported: the student alone, the default, and the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...tasks import TASKS
from .cells import gap_cell, row, spread
from .records import (
    ALONE,
    DEFAULT,
    Record,
    metric_of,
    name_of,
    of_setting,
    records,
    scores_by_seed,
    teacher_score,
)
from .report import command_of
from .statistics import Comparison, compare

ENOUGH_SEEDS = 5
_HEAD = (
    *("task", "data", "labels", "student", "teacher", "alone", "distilled", "gap closed [95 %]"),
    *("gain of each seed", "command"),
)
_TASKS = [task.short_name for task in TASKS]


class Line(NamedTuple):
    """An experiment in the table.

    Attributes:
        experiment: Its key.
        plan: Its plan.
        runs: The runs of the student alone and of the default, of the seeds that both have.
        alone: Scores alone by seed.
        distilled: Scores with the default by seed.
        teacher: The teacher's score.
        found: The two compared; None for one seed.
    """

    experiment: str
    plan: Path
    runs: Sequence[Record]
    alone: Mapping[int, float]
    distilled: Mapping[int, float]
    teacher: float
    found: Comparison | None

    @property
    def gains(self) -> list[float]:
        """The gain of each seed, positive where the distilled student is better."""
        sign = 1 if self.runs[0]["higher_is_better"] else -1
        return [sign * (self.distilled[seed] - self.alone[seed]) for seed in sorted(self.alone)]

    @property
    def cost(self) -> float | None:
        """Processor time of a distilled run over that of one alone; None if machines differ."""
        if len({run["machine"] for run in self.runs}) > 1:
            return None
        alone, distilled = (
            sum(run["processor_seconds"] for run in of_setting(self.runs, setting))
            for setting in (ALONE, DEFAULT)
        )
        return distilled / alone if alone else None


def summary_lines(plans: Sequence[Path], results: Path) -> list[Line]:
    """Return the experiments with both settings, by task; what only chooses is not among them."""
    lines = []
    for plan in plans:
        for experiment, runs in records(plan, results).items():
            line = _line(experiment, plan, runs)
            if line is not None and runs[0]["chosen_on"] is not None:
                lines.append(line)
    return sorted(lines, key=lambda line: _TASKS.index(line.runs[0]["task"]))


def summary(lines: Sequence[Line], *, figure: str, command: str) -> str:
    """Return the Markdown of the table, with its note and its figure; empty without lines.

    Args:
        lines: The experiments.
        figure: The figure of the same lines, as the page finds it.
        command: What runs a plan.
    """
    if not lines:
        return ""
    rows = [row(_HEAD), row(["---"] * len(_HEAD)), *(_row(line, command) for line in lines)]
    return "\n".join(
        [*rows, "", _note(lines), "", f"![gap closed by every seed of these rows]({figure})", ""]
    )


def _line(experiment: str, plan: Path, runs: Sequence[Record]) -> Line | None:
    scores = [scores_by_seed(runs, setting) for setting in (ALONE, DEFAULT)]
    seeds = {*scores[0]} & {*scores[1]}
    paired = [run for run in runs if run["seed"] in seeds and run["setting"] in (ALONE, DEFAULT)]
    teacher = teacher_score(of_setting(paired, DEFAULT))
    if teacher is None:
        return None
    alone, distilled = ({seed: one[seed] for seed in one if seed in seeds} for one in scores)
    found = compare(alone, distilled, teacher, higher_is_better=runs[0]["higher_is_better"])
    return Line(experiment, plan, paired, alone, distilled, teacher, found)


def _row(line: Line, command: str) -> str:
    one, taught = line.runs[0], of_setting(line.runs, DEFAULT)[0]
    count = len(line.alone)
    few = f"{count} of {ENOUGH_SEEDS} seeds: " if count < ENOUGH_SEEDS else ""
    return row(
        [
            f"{one['task']}, {metric_of(one)}",
            one["title"],
            one["labels"],
            name_of(one, "student_model_name_or_path"),
            f"{line.teacher:.3f} ({name_of(taught, 'teacher_model_name_or_path')})",
            _scores(line.alone),
            _scores(line.distilled),
            _gap(line.found),
            few + ", ".join(f"{gain:+.3f}" for gain in line.gains),
            command_of(command, line.plan, line.experiment),
        ]
    )


def _scores(scores: Mapping[int, float]) -> str:
    return f"{next(iter(scores.values())):.3f}" if len(scores) == 1 else spread(list(scores.values()))


def _gap(found: Comparison | None) -> str:
    if found is None:
        return "one seed has no interval"
    return (
        "none: the teacher is no better than the student alone" if found.gap is None else gap_cell(found.gap)
    )


def _note(lines: Sequence[Line]) -> str:
    costs = ", ".join(f"{line.cost:.2f} in `{line.experiment}`" for line in lines if line.cost is not None)
    text = (
        "Scores are means over the seeds that both have, ± their deviation. The gap closed is (distilled − "
        "alone) / (teacher − alone) of these means, with the 95 % interval of a paired bootstrap over the "
        "seeds. A gain is positive where the distilled student is better."
    )
    if not costs:
        return text
    return (
        f"{text} The processor time of a distilled run, the teacher's answers and their cache included, is "
        f"that of one alone times {costs}; a GPU's own time is not in it."
    )
