"""Write the tables of a plan's finished runs, from their JSON files alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .cells import difference_cell, gap_cell, row, spread
from .lengths import what_twice_brought
from .plan import WEIGHTS
from .records import (
    ALONE,
    Record,
    metric_of,
    name_of,
    of_setting,
    records,
    scores_by_seed,
    settings_of,
    teacher_score,
    title_of,
)
from .statistics import compare, difference

_SAYS_WHAT_WEIGHTS_ARE = ("balance_steps",)


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
        lines += [*_heading(command_of(command, plan, experiment), runs), *_head(runs)]
        lines += _teacher_row(runs)
        lines += [_row(setting, runs) for setting in settings_of(runs)]
        lines += ["", f"![scores and curves of {experiment}]({results.parent.name}/{experiment}.png)", ""]
    return "\n".join(lines)


def command_of(command: str, plan: Path, experiment: str) -> str:
    """Return the command that makes the runs of an experiment."""
    return f"`{command} {plan.as_posix()} --only '{experiment}/*'`"


def _heading(command: str, runs: Sequence[Record]) -> list[str]:
    one = runs[0]
    scored = one["options"].get("validation_split", "validation")
    chosen = f"; chosen on `{one['chosen_on']}`" if one["chosen_on"] else "; this is a choice, not a result"
    dates = sorted({run["date"] for run in runs})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    scores = f"{metric_of(one)} on `{scored}`{chosen}"
    return [f"**{title_of(runs)}**: {scores}. {one['machine']}, {when}.{_views(runs)}", command, ""]


def _views(runs: Sequence[Record]) -> str:
    """Return how many views there are of each training image, where all settings have the same."""
    views = {run["options"].get("augmentation_views") for run in runs}
    (count,) = views if len(views) == 1 else (None,)
    return "" if count is None else f" Every run sees the same {count} views of an image."


def _head(runs: Sequence[Record]) -> list[str]:
    first = min(run["seed"] for run in runs)
    by_seed = f"by seed from {first}"
    names = [
        "student",
        "setting",
        "minutes",
        by_seed,
        "mean ± deviation",
        "gain [95 %]",
        "gap closed, by seed",
    ]
    if _has_reference(runs):
        names.append(f"against {runs[0]['reference']} [95 %]")
    return [row(names), row(["---"] * len(names))]


def _has_reference(runs: Sequence[Record]) -> bool:
    """Return whether there is a setting to compare with the reference."""
    reference = runs[0]["reference"]
    settings = settings_of(runs)
    return reference in settings and bool({*settings} - {ALONE, reference})


def _teacher_row(runs: Sequence[Record]) -> list[str]:
    score = teacher_score(runs)
    if score is None:
        return []
    shown = runs[0]["options"].get("teacher_image_size")
    note = f", shown images of {shown[0]} × {shown[1]}" if shown else ""
    name = f"teacher {name_of(runs[0], 'teacher_model_name_or_path')}{note}"
    return [row(["", name, "", f"{score:.3f}", *[""] * (4 if _has_reference(runs) else 3)])]


def _row(setting: str, runs: Sequence[Record]) -> str:
    own = of_setting(runs, setting)
    scores = scores_by_seed(runs, setting)
    each = ", ".join(f"{scores[seed]:.3f}" for seed in sorted(scores))
    minutes = f"{sum(run['processor_seconds'] for run in own) / len(own) / 60:.0f}"
    cells = [name_of(own[0], "student_model_name_or_path"), _described(own[0], runs), minutes, each]
    cells += [spread(list(scores.values())), *_compared_with_alone(setting, runs)]
    if _has_reference(runs):
        cells.append(_gain(setting, runs[0]["reference"], runs))
    return row(cells)


def _compared_with_alone(setting: str, runs: Sequence[Record]) -> tuple[str, str]:
    """Return the gain, and the share of the gap on the mean and for each seed."""
    alone, scores = scores_by_seed(runs, ALONE), scores_by_seed(runs, setting)
    better = runs[0]["higher_is_better"]
    found = None
    if setting != ALONE:
        found = compare(alone, scores, teacher_score(runs), higher_is_better=better)
    if found is None or found.gap is None:
        return _gain(setting, ALONE, runs), ""
    each = ", ".join(f"{100 * share:.0f}" for share in found.per_seed.values())
    return difference_cell(found.gain), f"{gap_cell(found.gap)}: {each}"


def _gain(setting: str, base: str, runs: Sequence[Record]) -> str:
    if setting == base:
        return ""
    better = runs[0]["higher_is_better"]
    scores = scores_by_seed(runs, base), scores_by_seed(runs, setting)
    return difference_cell(difference(*scores, higher_is_better=better))


def _described(run: Record, runs: Sequence[Record]) -> str:
    """Return the setting with the weights that it states, and with the options in which settings differ."""
    options = run["options"]
    weights = [f"{name.removesuffix('_weight')} {options[name]:g}" for name in WEIGHTS if name in options]
    others = [other["options"] for other in runs]
    differ = sorted(
        name
        for name in {name for other in others for name in other} - set(WEIGHTS)
        if name in _SAYS_WHAT_WEIGHTS_ARE or any(other.get(name) != options.get(name) for other in others)
    )
    named = [*weights, *(f"{name} {options[name]}" for name in differ if name in options)]
    return f"**{run['setting']}**: {', '.join(named)}{what_twice_brought(run, runs)}"
