"""The opening table holds what is reported, seed by seed, and nothing that only chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hf_structkd.cli.ablation.page import report
from hf_structkd.cli.ablation.report import table
from hf_structkd.cli.ablation.summary import summary, summary_lines

from .finished import TAUGHT, cells, experiment, finish, write_plan

ALONE = {1: 0.30, 2: 0.40, 3: 0.30, 4: 0.40, 5: 0.35}
BETTER = {seed: score + 0.1 for seed, score in ALONE.items()}


def written(plan: Path, **finished: Any) -> str:
    results = finish(plan, **finished)
    return summary(summary_lines([plan], results), figure="results/summary.png", command="ablate")


def test_a_row_has_means_gap_and_the_gain_of_every_seed(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.yaml", {"town": experiment(labels="7 of 9")})
    scores = {"town": {"alone": ALONE, "default": {**BETTER, 2: 0.3}}}
    text = written(plan, scores=scores, seconds={"alone": 100, "default": 150})
    row = cells(text, "Town")
    assert row[:4] == ["segmentation, the score", "Town", "7 of 9", "small"]
    assert row[4:7] == ["0.700 (large)", "0.350 ± 0.050", "0.410 ± 0.074"]
    assert row[7].startswith("17 % [")  # 0.06 of 0.35
    assert row[8] == "+0.100, -0.100, +0.100, +0.100, +0.100"
    assert row[9] == f"`ablate {plan.as_posix()} --only 'town/*'`"
    assert "times 1.50 in `town`" in text


def test_seeds_that_do_not_pair_are_left_out_and_few_are_counted(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.yaml", {"town": experiment()})
    text = written(plan, scores={"town": {"alone": {1: 0.3, 2: 0.4, 3: 0.9}, "default": {1: 0.4, 2: 0.5}}})
    assert cells(text, "Town")[5] == "0.350 ± 0.071"
    assert cells(text, "Town")[8] == "2 of 5 seeds: +0.100, +0.100"


@pytest.mark.parametrize(
    ("chosen_on", "scores"),
    [
        (None, {"alone": ALONE, "default": BETTER}),
        ("train", {"alone": ALONE}),
        ("train", {"default": BETTER}),
    ],
)
def test_a_choice_and_an_experiment_without_both_settings_are_no_rows(
    tmp_path: Path, chosen_on: str | None, scores: dict[str, dict[int, float]]
) -> None:
    plan = write_plan(tmp_path / "plan.yaml", {"town": experiment(chosen_on=chosen_on)})
    assert written(plan, scores={"town": scores}) == ""


def test_a_lower_error_is_a_gain_and_a_teacher_no_better_leaves_no_gap(tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.yaml", {"town": experiment()})
    text = written(plan, scores={"town": {"alone": BETTER, "default": ALONE}}, teacher=0.5, higher=False)
    row = cells(text, "Town")
    assert row[0] == "segmentation, the score (lower is better)"
    assert row[7] == "none: the teacher is no better than the student alone"
    assert row[8].split(", ") == ["+0.100"] * 5


def test_rows_stand_by_task(tmp_path: Path) -> None:
    kept = {"depth": experiment(task="depth", title="Rooms")}
    plan = write_plan(tmp_path / "plan.yaml", {**kept, "town": experiment()})
    both = {"alone": ALONE, "default": BETTER}
    text = written(plan, scores={"depth": both, "town": both})
    assert text.index("Town") < text.index("Rooms")


def test_a_call_with_some_plans_keeps_what_is_over_all(tmp_path: Path) -> None:
    """Else the opening table loses rows whenever one plan is reported."""
    plans = [
        write_plan(tmp_path / f"{name}.yaml", {name: experiment(title=name)}) for name in ("town", "village")
    ]
    for plan in plans:
        results = finish(plan, {plan.stem: {"alone": ALONE, "default": BETTER}})
    page = tmp_path / "results.md"
    report(plans, results=results, page=page)
    before = page.read_text()
    assert before.count("| segmentation, the score |") == 2
    assert (tmp_path / "results" / "summary.png").stat().st_size > 5000
    report(plans[:1], results=results, page=page)
    assert page.read_text() == before


def test_rows_of_many_settings_are_compared_with_the_reference_by_seed(tmp_path: Path) -> None:
    settings = {"more": {**TAUGHT, "pixel_weight": 2}}
    names = {"settings": ["alone", "default", "more"], "seeds": [1, 2, 3], "chosen_on": None}
    more = {1: 0.42, 2: 0.48, 3: 0.43}
    for reference, expected in (("default", "+0.010 [-0.011, +0.028]"), ("alone", "+0.110 [+0.089, +0.128]")):
        changed = experiment(**names, reference=reference)
        plan = write_plan(tmp_path / "plan.yaml", {"town": changed}, settings)
        results = finish(plan, {"town": {"alone": ALONE, "default": BETTER, "more": more}})
        text = table(plan, results, command="ablate")
        assert cells(text, "student")[-1] == f"against {reference} [95 %]"
        assert cells(text, "**more**")[-1] == expected
        assert cells(text, f"**{reference}**")[-1] == ""


@pytest.mark.parametrize(("length", "word"), [("num_train_epochs", "epochs"), ("max_steps", "steps")])
@pytest.mark.parametrize(("higher", "change"), [(True, "+5.0"), (False, "-5.0")])
def test_twice_the_length_says_what_it_brought(
    tmp_path: Path, length: str, word: str, higher: bool, change: str
) -> None:
    """The plateau of the student alone is a number in the table."""
    settings = {
        "short": {**TAUGHT, length: 4, "eval_steps": 1},
        "long": {**TAUGHT, length: 8, "eval_steps": 2},
        "other": {**TAUGHT, length: 8, "learning_rate": 1.0},
    }
    changed = experiment(settings=[*settings], chosen_on=None, seeds=[1, 2])
    plan = write_plan(tmp_path / "plan.yaml", {"town": changed}, settings)
    scores = {"short": {1: 0.3, 2: 0.5}, "long": {1: 0.34, 2: 0.5}, "other": {1: 0.9}}
    text = table(plan, finish(plan, {"town": scores}, higher=higher), command="ablate")
    brought = f"; twice the {word} of short bring {change} % of its score (2 seeds)"
    assert cells(text, "**long**")[1].endswith(brought)
    assert text.count("twice the") == 1


def test_a_row_says_that_its_weights_are_shares(tmp_path: Path) -> None:
    """Also where all settings have the option, and none differs by it."""
    changed = experiment(options={**experiment()["options"], "balance_steps": 50})
    plan = write_plan(tmp_path / "plan.yaml", {"town": changed})
    results = finish(plan, {"town": {"alone": ALONE, "default": BETTER}})
    row = cells(table(plan, results, command="ablate"), "**default**")
    assert row[1].endswith(" 0, balance_steps 50")


def test_the_heading_says_how_many_views_all_settings_have(tmp_path: Path) -> None:
    """A student alone that sees other views is no baseline; where they differ each row says its own."""
    same = experiment(options={**experiment()["options"], "augmentation_views": 4})
    plan = write_plan(tmp_path / "plan.yaml", {"town": same})
    text = table(plan, finish(plan, {"town": {"alone": ALONE, "default": BETTER}}), command="ablate")
    assert text.splitlines()[0].endswith("Every run sees the same 4 views of an image.")
    settings = {"alone": {**TAUGHT, "pixel_weight": 0}, "default": {**TAUGHT, "augmentation_views": 2}}
    plan = write_plan(tmp_path / "other.yaml", {"village": same}, settings)
    text = table(plan, finish(plan, {"village": {"alone": ALONE, "default": BETTER}}), command="ablate")
    assert "Every run sees" not in text
