"""Without labels the teacher alone teaches, and the scores are agreement with it, under names that say so."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hf_structkd import StructKDTrainer
from hf_structkd.tasks import DepthTask

from ..cases import (
    ALONE,
    DEPTH,
    DETECTION,
    SEGMENTATION,
    TaskCase,
    arguments,
    freeze_batch_norm,
    make_trainer,
    state_of,
)
from ..tiny_models import tiny_depth_model
from ..unlabelled_rows import unlabelled
from .test_evaluation import mean_iou


def trainer_of(case: TaskCase, folder: Path, *, options: dict[str, Any] | None = None, **kwargs: Any) -> Any:
    """A trainer that sees no label, neither in training nor in evaluation."""
    known = {DEPTH.name: {"teacher_depth_kind": "metric"}, DETECTION.name: {"pseudo_label_threshold": 0.1}}
    settings = {"max_steps": 1, "holistic_weight": 0.0, **kwargs.pop("settings", {})}
    data = {"train_dataset": unlabelled(case, 4), "eval_dataset": unlabelled(case, 3)}
    task_options = known.get(case.name) if options is None else options
    return make_trainer(
        case, arguments(folder, **settings), **{**data, "task_options": task_options, **kwargs}
    )


LONG = [pytest.param(case, marks=pytest.mark.long) for case in (SEGMENTATION, DEPTH)]


@pytest.mark.parametrize("case", [DETECTION, *LONG], ids=lambda case: case.name)
def test_the_task_term_is_off_and_said_to_be(
    case: TaskCase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A loss over labels of nothing pulls every box towards "no object", or divides by nothing."""
    options = {"teacher_depth_kind": "metric"} if case is DEPTH else {}
    trainer = trainer_of(case, tmp_path, options=options, settings={"task_weight": 3.0})
    before = state_of(trainer)
    trainer.train()
    log = trainer.state.log_history[0]
    assert "loss_task" not in log
    assert log["loss"] == pytest.approx(log["loss_pixel"] + 10 * log["loss_pairwise"], rel=1e-4)
    assert trainer.weights["task"] == 0
    assert "no labels: the task term is off whatever its weight" in capsys.readouterr().out
    assert any(not torch.equal(value, before[name]) for name, value in state_of(trainer).items())


PAIRS = {
    "segmentation": (SEGMENTATION, lambda: SEGMENTATION.teacher(1), None, "mean_iou", 1),
    "metric depth": (DEPTH, lambda: DEPTH.teacher(1), None, "abs_rel", 0),
    "inverse depth": (DEPTH, lambda: tiny_depth_model("depth_anything", seed=3), {}, "abs_rel", 0),
    "detection": (DETECTION, lambda: DETECTION.teacher(1), None, "map_50", 1),
}


@pytest.mark.parametrize(
    "pair",
    [
        "segmentation",
        "inverse depth",
        *(pytest.param(one, marks=pytest.mark.long) for one in list(PAIRS)[1::2]),
    ],
)
def test_a_student_that_is_its_teacher_agrees_wholly(pair: str, tmp_path: Path) -> None:
    case, make, options, metric, best = PAIRS[pair]
    teacher = make()
    trainer = trainer_of(case, tmp_path, options=options, student=copy.deepcopy(teacher), teacher=teacher)
    scores = trainer.evaluate()
    assert scores[f"eval_agreement_{metric}"] == pytest.approx(best, abs=0.02 if case is DETECTION else 1e-3)
    names = {name.removeprefix("eval_") for name in scores}
    assert not names & {"loss", *trainer.task.metric_labels}, (
        "agreement must not have the name of an accuracy"
    )
    other = trainer_of(case, tmp_path, options=options, student=case.student(0), teacher=teacher).evaluate()
    assert abs(other[f"eval_agreement_{metric}"] - best) > 0.1


def test_agreement_is_what_the_two_models_say_of_each_pixel(tmp_path: Path) -> None:
    trainer = trainer_of(SEGMENTATION, tmp_path)
    maps = []
    for row in unlabelled(SEGMENTATION, 3).rows:
        sides = []
        for model in (trainer.model, trainer.teacher.model):
            with torch.no_grad():
                logits = model.eval()(pixel_values=row["pixel_values"][None]).logits
            enlarged = nn.functional.interpolate(logits, (64, 64), mode="bilinear", align_corners=False)
            sides.append(enlarged[0].argmax(0).numpy())
        maps.append(tuple(sides))
    assert trainer.evaluate()["eval_agreement_mean_iou"] == pytest.approx(mean_iou(maps), abs=1e-6)


@pytest.mark.parametrize(
    ("case", "higher"),
    [pytest.param(SEGMENTATION, True, marks=pytest.mark.long), (DEPTH, False)],
    ids=["mean IoU", "AbsRel"],
)
def test_agreement_chooses_the_best_model(case: TaskCase, higher: bool, tmp_path: Path) -> None:
    steps = {
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": 1,
        "save_steps": 1,
        "max_steps": 2,
    }
    trainer = trainer_of(case, tmp_path, settings={**steps, "load_best_model_at_end": True})
    trainer.train()
    name = f"eval_agreement_{trainer.task.headline.metric}"
    assert trainer.args.metric_for_best_model == name.removeprefix("eval_")
    assert trainer.args.greater_is_better is higher
    scores = [log[name] for log in trainer.state.log_history if name in log]
    assert trainer.state.best_metric == (max if higher else min)(scores)
    with pytest.raises(ValueError, match="must be a score of the evaluation, got 'loss'; "):
        trainer_of(
            case,
            tmp_path,
            settings={**steps, "load_best_model_at_end": True, "metric_for_best_model": "loss"},
        )


def test_labels_of_the_validation_alone_score_it_as_ever(tmp_path: Path) -> None:
    rows = SEGMENTATION.rows(3)
    trainer = trainer_of(SEGMENTATION, tmp_path, eval_dataset=rows)
    alone = make_trainer(SEGMENTATION, arguments(tmp_path), eval_dataset=rows)
    expected = alone.evaluate()
    scores = trainer.evaluate()
    for name in ("eval_mean_iou", "eval_loss"):
        assert scores[name] == expected[name]
    assert trainer.evaluate_teacher() == alone.evaluate_teacher()


def test_a_teacher_is_not_scored_against_itself(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`eval_dataset` must have labels to score a teacher on"):
        trainer_of(SEGMENTATION, tmp_path).evaluate_teacher()


def test_predictions_have_no_labels_of_nothing(tmp_path: Path) -> None:
    found = trainer_of(SEGMENTATION, tmp_path).predict(unlabelled(SEGMENTATION, 3))
    assert found.predictions.shape == (3, 64, 64)
    assert found.label_ids is None
    assert "test_agreement_mean_iou" in found.metrics


def test_the_student_alone_is_compared_where_the_teacher_stands_in_for_labels(tmp_path: Path) -> None:
    """The comparison asked for a teacher that the student alone has not."""
    student = freeze_batch_norm(DETECTION.student(0))
    options = {"task_options": {"pseudo_label_threshold": 0.5}}
    alone = StructKDTrainer(
        student, None, arguments(tmp_path, **ALONE), train_dataset=DETECTION.rows(2), **options
    )
    assert alone.teacher is None
    with pytest.raises(ValueError, match="`teacher_model` is None"):
        StructKDTrainer(
            student, None, arguments(tmp_path, **ALONE), train_dataset=unlabelled(DETECTION, 2), **options
        )


def test_without_labels_and_without_a_teacher_nothing_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are no labels, and without them every term's weight is 0"):
        trainer_of(SEGMENTATION, tmp_path, settings={"pixel_weight": 0.0, "pairwise_weight": 0.0})


# ---- what depth is taught ----


@pytest.mark.parametrize(
    ("teacher", "options", "message"),
    [
        ("dpt", {}, "`teacher_depth_kind` must be given where there are no labels"),
        (
            "depth_anything",
            {"depth_kind": "metric"},
            "`depth_kind` must be 'inverse' or left out .* got 'metric'",
        ),
    ],
    ids=["nothing says what the teacher predicts", "metres from a relative teacher"],
)
def test_depth_that_no_label_can_tell_is_refused(
    teacher: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """The student would learn numbers that are no metres, and call them metres."""
    with pytest.raises(ValueError, match=message):
        trainer_of(DEPTH, tmp_path, options=options, teacher=tiny_depth_model(teacher))


@pytest.mark.long
def test_a_relative_teacher_makes_a_relative_student_and_labels_a_metric_one(tmp_path: Path) -> None:
    teacher = tiny_depth_model("depth_anything", seed=3)
    trainer = trainer_of(DEPTH, tmp_path, options={}, teacher=teacher)
    trainer.train()
    assert (trainer.task.depth_kind, trainer.task.loss) == ("inverse", "ssi")
    later = DepthTask(DEPTH.student(0).config, trainer.model.config)
    assert later.teacher_depth_kind == "inverse", "who is taught by the student later is told"
    assert DepthTask(trainer.model.config).depth_kind == "inverse", "and who evaluates it"
    metric = make_trainer(DEPTH, arguments(tmp_path, max_steps=1), teacher=teacher)
    metric.train()
    assert (metric.task.depth_kind, metric.task.loss) == ("metric", "silog")
    assert math.isfinite(metric.evaluate()["eval_abs_rel"])
    assert DepthTask(DEPTH.student(0).config, metric.model.config).teacher_depth_kind == "metric"
