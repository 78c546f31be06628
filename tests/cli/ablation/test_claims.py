"""A claim is held where every paired difference is above 0, and says so of runs that exist alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hf_structkd.cli.ablation.claims import claims_table, read_claims, verdict
from hf_structkd.cli.ablation.statistics import Estimate

from .finished import TAUGHT, cells, experiment, finish, write_plan

UP, DOWN, WIDE = Estimate(0.1, 0.01, 0.2), Estimate(-0.1, -0.2, -0.01), Estimate(0.1, -0.1, 0.3)
TWO = {"claim": "Two are better.", "better": ["town/two"], "worse": ["town/default"]}


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ([None, None], "not run"),
        ([UP, UP], "held"),
        ([UP, None], "undecided"),
        ([DOWN], "the opposite"),
        ([UP, DOWN], "not held"),
        ([WIDE, UP], "undecided"),
    ],
)
def test_all_differences_decide(differences: list[Estimate | None], said: str) -> None:
    assert verdict(differences) == said


def plan_of(folder: Path, *claims: dict[str, Any], **changed: Any) -> Path:
    settings = {"two": {**TAUGHT, "pixel_weight": 2}, "four": {**TAUGHT, "pixel_weight": 4}}
    town = experiment(settings=["default", "two", "four"], seeds=[1, 2, 3], chosen_on=None)
    field = {**town, "options": {**town["options"], "learning_rate": 1.0, **changed}}
    return write_plan(folder / "plan.yaml", {"town": town, "field": field}, settings, claims=list(claims))


def test_a_line_has_the_verdict_the_numbers_and_the_seeds(tmp_path: Path) -> None:
    best = {"claim": "Two are best.", "better": ["town/two"], "worse": ["town/default", "field/four"]}
    plan = plan_of(tmp_path, TWO, best)
    assert cells(claims_table([plan], tmp_path / "runs"), "Two are better")[1:] == ["not run", "", ""]
    scores = {
        "town": {"default": {1: 0.3, 2: 0.4, 3: 0.5}, "two": {1: 0.31, 2: 0.42, 3: 0.53, 4: 9.0}},
        "field": {"four": {2: 0.5}},
    }
    table = claims_table([plan], finish(plan, scores))
    first = "town/two over town/default: +0.020 [+0.012, +0.028]"
    assert cells(table, "Two are better")[1:] == ["held", first, "1, 2, 3"]
    both = f"{first}; town/two over field/four: -0.080, one seed"
    assert cells(table, "Two are best")[1:] == ["undecided", both, "1, 2, 3; 2"]


def test_of_an_error_the_lower_is_the_better(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, TWO)
    scores = {"default": {1: 0.3, 2: 0.4, 3: 0.5}, "two": {1: 0.31, 2: 0.42, 3: 0.53}}
    table = claims_table([plan], finish(plan, {"town": scores}, higher=False))
    assert cells(table, "Two are better")[1] == "the opposite"


def test_a_claim_reads_the_runs_of_another_plan(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    plans = [plan_of(tmp_path, TWO), tmp_path / "other" / "plan.yaml"]
    claim = {"claim": "x", "better": ["far/default"], "worse": ["town/two"]}
    write_plan(plans[1], {"far": experiment()}, claims=[claim])
    assert [claim.text for claim in read_claims(plans)] == ["Two are better.", "x"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"better": ["town/three"]}, r"must name EXPERIMENT/SETTING of the plans, got \['town/three'\]"),
        ({"better": ["town/two"] * 3, "worse": ["town/four"] * 2}, "got 3 better and 2 worse"),
        ({"better": []}, "got 0 better and 1 worse"),
        ({"paper": "x"}, "must have the keys"),
        ({"worse": ["field/default"]}, "must compare scores of the same rows"),
    ],
)
def test_a_claim_that_compares_nothing_is_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read_claims([plan_of(tmp_path, {**TWO, **changed}, validation_split="validation[:50%]")])
