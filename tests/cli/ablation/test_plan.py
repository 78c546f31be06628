"""A plan says which runs there are, and refuses what would make a table dishonest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hf_structkd.cli.ablation.plan import OF_THE_RUN, STATED, WEIGHTS, Run, read_plan, seed_by_seed

Changed = Callable[..., list[Run]]


def content() -> dict[str, Any]:
    """A plan of one experiment with two settings and two seeds."""
    alone = {name: float(name == "task_weight") for name in WEIGHTS}
    experiment = {
        "title": "CamVid",
        "task": "segmentation",
        "chosen_on": "validation[:50%]",
        "settings": ["alone", "default"],
        "seeds": [1, 2],
        "options": {"dataset_name": "DATA", "validation_split": "validation[50%:]"},
    }
    return {
        "experiments": {"camvid": experiment},
        "settings": {"alone": alone, "default": {**alone, "pixel_weight": 1}},
    }


@pytest.fixture
def read(tmp_path: Path) -> Changed:
    def write_and_read(plan: dict[str, Any] | None = None, **experiment: Any) -> list[Run]:
        plan = plan or content()
        plan["experiments"]["camvid"] |= experiment
        (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
        return read_plan(tmp_path / "plan.yaml")

    return write_and_read


def test_the_settings_of_one_seed_stand_next_to_each_other(read: Changed) -> None:
    """Else a plan that is stopped in the middle has seeds of one setting alone, which pair with nothing."""
    names = [run.name for run in read()]
    assert names == [f"camvid/{name}-seed{seed}" for seed in (1, 2) for name in ("alone", "default")]
    assert [run.is_taught for run in read()] == [False, True] * 2


def test_every_experiment_has_its_first_seed_before_one_has_its_second(read: Changed) -> None:
    """Else a night that ends early has five seeds of one experiment and none of the next."""
    plan = content()
    plan["experiments"]["search"] = {**plan["experiments"]["camvid"], "seeds": [12, 11], "chosen_on": None}
    plan["experiments"]["search"]["options"] = {"dataset_name": "OTHER"}
    names = [run.name for run in seed_by_seed(read(plan)) if run.setting == "alone"]
    order = ("camvid", 1), ("search", 12), ("camvid", 2), ("search", 11)
    assert names == [f"{name}/alone-seed{seed}" for name, seed in order]


@pytest.mark.parametrize("weight", STATED)
def test_a_setting_states_the_weight_of_every_term_that_is_on_by_default(read: Changed, weight: str) -> None:
    """A weight that is left out is the default of the day, and two rows were once one run."""
    plan = content()
    del plan["settings"]["default"][weight]
    with pytest.raises(ValueError, match=rf"'default' must state .* on by default; add \['{weight}'\]"):
        read(plan)


def test_a_term_that_comes_later_changes_no_plan(read: Changed) -> None:
    """Its weight is 0 where a plan does not know it; and saying so makes no run another one."""
    plan = content()
    for setting in plan["settings"].values():
        del setting["channel_weight"]
    assert not read(plan)[0].is_taught
    plan["settings"]["default"] = {**plan["settings"]["alone"], "channel_weight": 0}
    with pytest.raises(ValueError, match="are the same run"):
        read(plan)


def test_labels_that_are_the_teachers_need_it_too(read: Changed) -> None:
    """Else a setting that compares them with the terms trains alone, and its row says otherwise."""
    plan = content()
    plan["experiments"]["camvid"]["options"]["pseudo_label_threshold"] = 0.4
    assert read(plan)[0].is_taught


def test_no_two_settings_are_one_run(read: Changed) -> None:
    plan = content()
    plan["settings"]["default"] = dict(plan["settings"]["alone"])
    with pytest.raises(ValueError, match="'camvid/alone-seed1' and 'camvid/default-seed1' are the same run"):
        read(plan)


@pytest.mark.parametrize(
    ("chosen", "reported"),
    [
        ("validation", "validation"),
        ("validation", "validation[50%:]"),
        ("validation[:60%]", "validation[50%:]"),
        ("train[:10]+validation[5:6]", "validation[:10]"),
    ],
)
def test_rows_that_chose_the_options_are_not_reported(read: Changed, chosen: str, reported: str) -> None:
    with pytest.raises(ValueError, match="'camvid' must not report rows that it was chosen on"):
        read(chosen_on=chosen, options={"validation_split": reported})


@pytest.mark.parametrize(("chosen", "reported"), [("train[90%:]", "validation"), (None, "validation")])
def test_a_choice_on_other_rows_and_a_search_may_score_all(
    read: Changed, chosen: str | None, reported: str
) -> None:
    assert len(read(chosen_on=chosen, options={"validation_split": reported})) == 4


@pytest.mark.parametrize("option", OF_THE_RUN)
def test_the_options_of_the_script_are_not_the_plans(read: Changed, option: str) -> None:
    with pytest.raises(ValueError, match=rf"must leave \['{option}'\] to the script"):
        read(chosen_on=None, options={option: "x"})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("task", "segment", "`task` of 'camvid' must be one of"),
        ("settings", ["alone", "defualt"], r"must be among \['alone', 'default'\], got \['defualt'\]"),
        ("seed", 3, "must have the keys"),
        ("reference", "defualt", r"must be one of its settings \['alone', 'default'\], got 'defualt'"),
    ],
)
def test_a_slip_of_the_pen_is_refused(read: Changed, key: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(**{key: value})
