"""The student alone is trained on the same settings, and no run writes over another."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from hf_structkd import StructKDTrainingArguments
from hf_structkd.cli.runs import alone_arguments, refuse_used_folder
from hf_structkd.terms import built_in_terms
from hf_structkd.training.manifest import list_files


def arguments(folder: Path, **settings: Any) -> StructKDTrainingArguments:
    return StructKDTrainingArguments(
        output_dir=str(folder), **{"use_cpu": True, "report_to": "none", **settings}
    )


def checkpoint(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    list_files(path)
    (path / "trainer_state.json").write_text("{}")
    return path


# ---- the student alone ----


def test_alone_differs_in_the_distillation_and_the_folder_only(tmp_path: Path) -> None:
    """Any other difference would be counted as distillation's gain."""
    args = arguments(
        tmp_path, task_weight=0.5, learning_rate=3e-4, seed=7, max_steps=11, push_to_hub=False, granularity=4
    )
    alone = alone_arguments(args)
    before, after = args.to_dict(), alone.to_dict()
    differing = {name for name in before if before[name] != after[name]}
    assert differing == {"pixel_weight", "pairwise_weight", "holistic_weight", "output_dir"}
    on = [term.name for term in built_in_terms(alone) if term.weight != 0]
    assert (on, alone.task_weight) == (["task"], 0.5)


def test_the_original_is_left_as_it_is(tmp_path: Path) -> None:
    """The distilled run comes after and would train without a teacher."""
    args = arguments(tmp_path, critic_loss="wgan-gp")
    before = copy.deepcopy(args.to_dict())
    alone = alone_arguments(args)
    alone.granularity.append(9)
    assert args.to_dict() == before


def test_alone_writes_into_a_folder_of_its_own(tmp_path: Path) -> None:
    args = arguments(tmp_path)
    assert alone_arguments(args).output_dir == str(tmp_path / "alone")
    assert alone_arguments(args, folder=str(tmp_path / "b")).output_dir == str(tmp_path / "b")


def test_alone_is_not_pushed(tmp_path: Path) -> None:
    """It would be pushed to the repository of the distilled student."""
    assert alone_arguments(arguments(tmp_path, push_to_hub=True)).push_to_hub is False


def test_alone_needs_a_task_weight(tmp_path: Path) -> None:
    """Without a teacher and without labels nothing is left to learn from."""
    args = arguments(tmp_path, task_weight=0.0)
    with pytest.raises(ValueError, match=r"`task_weight` is 0, .* the student alone"):
        alone_arguments(args)


@pytest.mark.parametrize("resume", ["true", "True", "checkpoint-20"])
def test_alone_resumes_from_its_own_checkpoint(tmp_path: Path, resume: str) -> None:
    """The distilled run's checkpoint is of another run: it would be the baseline of itself."""
    checkpoint(tmp_path, 20)
    own = checkpoint(tmp_path / "alone", 10)
    path = str(tmp_path / resume) if resume.startswith("checkpoint") else resume
    args = arguments(tmp_path, resume_from_checkpoint=path)
    assert alone_arguments(args).resume_from_checkpoint == str(own)
    assert args.resume_from_checkpoint == path


def test_alone_starts_anew_where_it_has_no_checkpoint(tmp_path: Path) -> None:
    args = arguments(tmp_path, resume_from_checkpoint=str(checkpoint(tmp_path, 20)))
    assert alone_arguments(args).resume_from_checkpoint is None


@pytest.mark.parametrize("resume", [None, "false"])
def test_alone_does_not_resume_unasked(tmp_path: Path, resume: str | None) -> None:
    checkpoint(tmp_path / "alone", 10)
    args = arguments(tmp_path, resume_from_checkpoint=resume)
    assert alone_arguments(args).resume_from_checkpoint is None


# ---- a used folder ----


@pytest.mark.parametrize("resume", [None, "false", "False"])
def test_a_folder_with_checkpoints_is_refused(tmp_path: Path, resume: str | None) -> None:
    """The new run would rotate the old one's checkpoints away, and those that hold the student alone."""
    checkpoint(tmp_path, 3)
    (tmp_path / "checkpoint-12").mkdir()
    with pytest.raises(
        ValueError, match=rf"`output_dir` {tmp_path} already holds checkpoint-12; .*--resume_from_checkpoint"
    ):
        refuse_used_folder(arguments(tmp_path, resume_from_checkpoint=resume))


def test_a_folder_is_taken_up_again_on_request(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 3)
    for resume in ("true", str(path)):
        refuse_used_folder(arguments(tmp_path, resume_from_checkpoint=resume))


def test_a_fresh_or_missing_folder_passes(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    refuse_used_folder(arguments(tmp_path))
    refuse_used_folder(arguments(tmp_path / "missing"))
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]
