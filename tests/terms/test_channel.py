"""The channel-wise term compares logits where the task has maps of them, and features elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_structkd.losses.channel import channel_distillation_loss
from hf_structkd.terms import ChannelTerm

from ..cases import ALONE, CASES, SEGMENTATION, TaskCase, arguments, make_trainer

over_tasks = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
CHANNEL = {**ALONE, "task_weight": 0.0, "channel_weight": 1.0}


@over_tasks
@pytest.mark.parametrize("source", [None, "features"])
def test_the_term_alone_trains_the_student(case: TaskCase, source: str | None, tmp_path: Path) -> None:
    """Else it is logged and weighted, and teaches nothing."""
    args = arguments(tmp_path, max_steps=12, learning_rate=3e-3, channel_source=source, **CHANNEL)
    trainer = make_trainer(case, args, rows=4)
    trainer.train()
    logged = [log["loss_channel"] for log in trainer.state.log_history if "loss_channel" in log]
    assert 0 < logged[-1] < 0.9 * logged[0]


def test_logits_are_compared_over_the_shared_classes_and_features_through_a_projection(
    tmp_path: Path,
) -> None:
    args = arguments(tmp_path / "logits", max_steps=1, learning_rate=0.0, **CHANNEL)
    trainer = make_trainer(SEGMENTATION, args, rows=4)
    trainer.train()
    batch = trainer.task.collate(SEGMENTATION.rows(4).rows)
    assert trainer.teacher is not None
    student = trainer.task.student_forward(trainer.model.train(), batch, None)
    pair = trainer.task.logit_maps(student, trainer.teacher(batch), batch)
    expected = channel_distillation_loss(pair.student, pair.teacher, temperature=4.0, mask=pair.mask).item()
    logged = next(log["loss_channel"] for log in trainer.state.log_history if "loss_channel" in log)
    assert logged == pytest.approx(expected, rel=1e-4)
    assert not trainer.terms["channel"].modules
    assert trainer.pair.student_capture is None, "features are captured that nothing reads"
    args = arguments(tmp_path / "features", max_steps=1, channel_source="features", **CHANNEL)
    trainer = make_trainer(SEGMENTATION, args, rows=4)
    trainer.train()
    assert len(list(trainer.terms["channel"].modules.parameters())) == 2


def test_logits_of_a_task_without_maps_of_them_are_refused(tmp_path: Path) -> None:
    args = arguments(tmp_path, max_steps=1, channel_source="logits", **CHANNEL)
    case = next(case for case in CASES if case.name == "detection")
    with pytest.raises(ValueError, match="`channel_source` must be 'features' for object-detection"):
        make_trainer(case, args).train()
    with pytest.raises(ValueError, match="`channel_source` must be one of"):
        ChannelTerm(channel_source="queries")  # type: ignore[arg-type]
