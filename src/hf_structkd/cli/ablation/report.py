"""Write tables and figures of finished runs, from their JSON files alone."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .one_run import is_finished
from .plan import WEIGHTS, Run, read_plan
from .statistics import Comparison, Estimate, compare

ALONE = "alone"
"""Setting that the others of an experiment are compared with."""

_HEAD = """\
| student | setting | minutes | by seed from {first} | mean ± deviation | gain [95 %] | gap closed, by seed |
| --- | --- | --- | --- | --- | --- | --- |"""

Record = Mapping[str, Any]


def records(plan: Path, results: Path) -> dict[str, list[Record]]:
    """Return the finished runs of a plan by experiment, in the order of the plan."""
    found: dict[str, list[Record]] = {}
    for run in read_plan(plan):
        file = result_file(run, results)
        if is_finished(run, file):
            found.setdefault(run.experiment, []).append(json.loads(file.read_text(encoding="utf-8")))
    return found


def result_file(run: Run, results: Path) -> Path:
    """Return the file of a run's results."""
    return results / f"{run.name}.json"


def table(plan: Path, results: Path, *, command: str) -> str:
    """Return the Markdown tables of a plan's finished runs, with commands and figures.

    Args:
        plan: The YAML file.
        results: Folder of the JSON files. The page lies beside the folder that holds it, and the figures in
            that folder.
        command: What runs a plan.
    """
    lines = []
    for experiment, runs in records(plan, results).items():
        first = min(run["seed"] for run in runs)
        lines += [*_heading(f"{command} {plan.as_posix()}", experiment, runs), _HEAD.format(first=first)]
        lines += _teacher_row(runs)
        lines += [_row(setting, runs) for setting in _settings(runs)]
        lines += ["", f"![scores and curves of {experiment}]({results.parent.name}/{experiment}.png)", ""]
    return "\n".join(lines)


def replace_block(page: str, name: str, text: str) -> str:
    """Return the page with the text between the two comments that mark a block.

    Raises:
        ValueError: If the page has no such block.
    """
    start, end = marked_block(name).splitlines()
    if page.count(start) != 1 or page.count(end) != 1:
        raise ValueError(f"the page must hold {start!r} and {end!r} once each; add the two lines.")
    before, rest = page.split(start)
    return f"{before}{start}\n{text}{end}{rest.split(end)[1]}"


def marked_block(name: str) -> str:
    """Return the two comments between which a block of a page stands."""
    return f"<!-- {name} -->\n<!-- end of {name} -->"


def scores_by_seed(runs: Iterable[Record], setting: str) -> dict[int, float]:
    """Return the headline score of every run of a setting."""
    return {run["seed"]: run["scores"][run["metric"]] for run in runs if run["setting"] == setting}


def teacher_score(runs: Iterable[Record]) -> float | None:
    """Return the teacher's score, as the runs that it taught have it; None if there is none."""
    found = [run["teacher_scores"][run["metric"]] for run in runs if run["teacher_scores"] is not None]
    return found[0] if found else None


def _settings(runs: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(run["setting"] for run in runs))


def _heading(command: str, experiment: str, runs: Sequence[Record]) -> list[str]:
    one = runs[0]
    scored = one["options"].get("validation_split", "validation")
    chosen = f"; chosen on `{one['chosen_on']}`" if one["chosen_on"] else "; this is a choice, not a result"
    dates = sorted({run["date"] for run in runs})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    arrow = "" if one["higher_is_better"] else " (lower is better)"
    return [
        f"**{one['title']}**: {one['metric_label']}{arrow} on `{scored}`{chosen}. {one['machine']}, {when}.",
        f"`{command} --only '{experiment}/*'`",
        "",
    ]


def _teacher_row(runs: Sequence[Record]) -> list[str]:
    score = teacher_score(runs)
    if score is None:
        return []
    name = Path(runs[0]["options"]["teacher_model_name_or_path"]).name
    shown = runs[0]["options"].get("teacher_image_size")
    note = f", shown the student's images at {shown[0]} × {shown[1]}" if shown else ""
    return [f"| | teacher {name}{note} | | {score:.3f} | | | |"]


def _row(setting: str, runs: Sequence[Record]) -> str:
    own = [run for run in runs if run["setting"] == setting]
    scores = scores_by_seed(runs, setting)
    found = None
    if setting != ALONE:
        better = own[0]["higher_is_better"]
        found = compare(scores_by_seed(runs, ALONE), scores, teacher_score(runs), higher_is_better=better)
    each = ", ".join(f"{scores[seed]:.3f}" for seed in sorted(scores))
    student = Path(own[0]["options"]["student_model_name_or_path"]).name
    minutes = f"{sum(run['processor_seconds'] for run in own) / len(own) / 60:.0f}"
    cells = [student, _described(own[0], runs), minutes, each, _spread(list(scores.values()))]
    cells += _compared(found)
    return f"| {' | '.join(cells)} |"


def _spread(scores: list[float]) -> str:
    if len(scores) == 1:
        return "one seed"
    return f"{statistics.mean(scores):.3f} ± {statistics.stdev(scores):.3f}"


def _described(run: Record, runs: Sequence[Record]) -> str:
    """Return the setting with all weights, and with the options in which settings differ."""
    options = run["options"]
    weights = [f"{name.removesuffix('_weight')} {options[name]:g}" for name in WEIGHTS]
    others = [other["options"] for other in runs]
    differ = sorted(
        name
        for name in {name for other in others for name in other} - set(WEIGHTS)
        if any(other.get(name) != options.get(name) for other in others)
    )
    return f"**{run['setting']}**: " + ", ".join(
        [*weights, *(f"{name} {options[name]}" for name in differ if name in options)]
    )


def _compared(found: Comparison | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    gain = f"{found.gain.value:+.3f} [{found.gain.low:+.3f}, {found.gain.high:+.3f}]"
    if found.gap is None:
        return gain, ""
    each = ", ".join(f"{100 * share:.0f}" for share in found.per_seed.values())
    return gain, f"{_percent(found.gap)}: {each}"


def _percent(gap: Estimate) -> str:
    return f"{100 * gap.value:.0f} % [{100 * gap.low:.0f}, {100 * gap.high:.0f}]"
