"""The attention term teaches every task's student without a module of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..cases import ALONE, CASES, TaskCase, arguments, make_trainer


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_student_learns_the_teachers_attention(case: TaskCase, tmp_path: Path) -> None:
    """Else the term costs time and changes nothing; its student is shipped as it is."""
    weights = {**ALONE, "task_weight": 0.0, "attention_weight": 1.0}
    trainer = make_trainer(case, arguments(tmp_path, max_steps=12, learning_rate=3e-3, **weights), rows=4)
    trainer.train()
    logged = [log["loss_attention"] for log in trainer.state.log_history if "loss_attention" in log]
    assert 0 < logged[-1] < 0.9 * logged[0]
    assert trainer.model.state_dict().keys() == case.student(0).state_dict().keys()
