"""Read from one YAML file which runs there are: experiments, their settings and their seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ...data.loading import split_ranges
from ...tasks import TASKS
from ...terms import BUILT_IN_TERMS

WEIGHTS = tuple(f"{term.name}_weight" for term in BUILT_IN_TERMS)
STATED = tuple(f"{term.name}_weight" for term in BUILT_IN_TERMS if term.default_weight)
"""The weights that a setting must state; the others are 0 where nothing is said, today and later."""

TEACHING = (
    *(f"{term.name}_weight" for term in BUILT_IN_TERMS if term.needs_teacher),
    *(task.options.labels_by_teacher for task in TASKS if task.options.labels_by_teacher),
)
OF_THE_RUN = ("seed", "output_dir", "teacher_cache", "resume_from_checkpoint", "keep_views")
"""Options that the script sets; of these only the seed can change a score."""

ALL_LABELS = "all"
_KEYS = {"title", "task", "chosen_on", "settings", "seeds", "options"}
_MAY_HAVE = {"labels", "reference"}
_ANY_SIZE = 1000


@dataclass(frozen=True)
class Run:
    """One training: a setting of an experiment with one seed.

    Attributes:
        experiment: Key of the experiment.
        title: Its name for people: the data and how much of them has labels.
        task: Short name of the task.
        chosen_on: Rows on which the options were chosen; None for a search, which is what chooses.
        setting: Key of the setting.
        seed: Draws the student's first weights and the order of the images.
        options: Every option of the example of the task, with every weight that is not 0 by default.
        labels: How much of the data has labels, in words.
        reference: Key of the setting that tables of many settings compare with, beside the student alone.
    """

    experiment: str
    title: str
    task: str
    chosen_on: str | None
    setting: str
    seed: int
    options: Mapping[str, Any]
    labels: str = ALL_LABELS
    reference: str = "default"

    @property
    def name(self) -> str:
        """Path of the run's folder and, with `.json`, of its results."""
        return f"{self.experiment}/{self.setting}-seed{self.seed}"

    @property
    def is_taught(self) -> bool:
        """Whether a term that reads the teacher is on, or its answers are labels."""
        return any(self.options.get(name) for name in TEACHING)


def read_plan(path: Path) -> list[Run]:
    """Return the runs of a YAML file, the settings of one seed next to each other.

    Raises:
        ValueError: If an experiment lacks a key, a setting leaves the weight of a term to a default, two
            settings are one run, or an experiment reports rows on which its options were chosen.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    settings: dict[str, Any] = content["settings"]
    for name, setting in settings.items():
        missing = [weight for weight in STATED if weight not in setting]
        if missing:
            raise ValueError(
                f"the setting {name!r} must state the weight of every term that is on by default; "
                f"add {missing}."
            )
    runs = [run for key, one in content["experiments"].items() for run in _runs_of(key, one, settings)]
    _refuse_equal_runs(runs)
    return runs


def seed_by_seed(runs: Sequence[Run]) -> list[Run]:
    """Return the runs with the first seed of every experiment first, then the second of each, and so on.

    What is stopped in the middle then has whole seeds of everything.
    """
    seeds: dict[str, list[int]] = {}
    for run in runs:
        of_experiment = seeds.setdefault(run.experiment, [])
        if run.seed not in of_experiment:
            of_experiment.append(run.seed)
    return sorted(runs, key=lambda run: seeds[run.experiment].index(run.seed))


def _runs_of(key: str, experiment: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Run]:
    if set(experiment) - _MAY_HAVE != _KEYS:
        raise ValueError(
            f"the experiment {key!r} must have the keys {sorted(_KEYS)} and may have {sorted(_MAY_HAVE)}, "
            f"got {sorted(experiment)}."
        )
    tasks = [task.short_name for task in TASKS]
    if experiment["task"] not in tasks:
        raise ValueError(f"`task` of {key!r} must be one of {tasks}, got {experiment['task']!r}.")
    unknown = [name for name in experiment["settings"] if name not in settings]
    if unknown:
        raise ValueError(f"`settings` of {key!r} must be among {list(settings)}, got {unknown}.")
    optional = {name: experiment[name] for name in _MAY_HAVE if name in experiment}
    if "reference" in optional and optional["reference"] not in experiment["settings"]:
        raise ValueError(
            f"`reference` of {key!r} must be one of its settings {experiment['settings']}, got "
            f"{optional['reference']!r}."
        )
    own = experiment["options"]
    _refuse_reported_choice(key, experiment["chosen_on"], own.get("validation_split", "validation"))
    for seed in experiment["seeds"]:
        for name in experiment["settings"]:
            options = {**own, **settings[name]}
            # Pseudo-labels can have no cache, so that alone may be switched off.
            taken = [one for one in OF_THE_RUN if one in options]
            if taken == ["teacher_cache"] and options["teacher_cache"] is None:
                taken = []
            if taken:
                raise ValueError(f"{key!r} with {name!r} must leave {taken} to the script; remove them.")
            kept = (key, experiment["title"], experiment["task"], experiment["chosen_on"])
            yield Run(*kept, name, seed, options, **optional)


def _refuse_reported_choice(key: str, chosen_on: str | None, reported_on: str) -> None:
    """Raise `ValueError` if rows are reported by which something was chosen."""
    if chosen_on is None:
        return
    taken: list[set[tuple[str, int]]] = []
    for split in (chosen_on, reported_on):
        names = {part.split("[")[0] for part in split.split("+")}
        rows = {name: range(_ANY_SIZE) for name in names}
        parts = split_ranges(rows, key, "chosen_on", split + ("[:]" if split in rows else ""))
        taken.append({(name, row) for name, chosen in parts for row in chosen})
    if taken[0] & taken[1]:
        raise ValueError(
            f"the experiment {key!r} must not report rows that it was chosen on, got {chosen_on!r} and "
            f"{reported_on!r}; divide them, as in 'validation[:50%]' and 'validation[50%:]'."
        )


def _refuse_equal_runs(runs: list[Run]) -> None:
    seen: dict[str, Run] = {}
    off = dict.fromkeys(WEIGHTS, 0)
    for run in runs:
        same = repr((run.task, run.seed, sorted({**off, **run.options}.items())))
        if same in seen:
            raise ValueError(f"{seen[same].name!r} and {run.name!r} are the same run; remove one.")
        seen[same] = run
