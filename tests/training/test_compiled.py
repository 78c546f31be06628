"""Compiled students, in the order in which a comparison trains them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ..cases import ALONE, CASES, TaskCase, arguments, make_trainer


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, while it traces transformers' detection loss
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_student_compiled_after_another_learns_what_a_plain_one_does(
    case: TaskCase, tmp_path: Path
) -> None:
    """`--compare_baseline` trains the student alone first; code compiled for that one called no hook.

    The backend only traces, so that the numbers must be the same: what a generator of code does to their last
    digits is another matter.
    """
    losses = {}
    for backend in (None, "eager"):
        compiled = {} if backend is None else {"torch_compile": True, "torch_compile_backend": backend}
        for name, weights in (("alone", ALONE), ("distilled", {}), ("alone again", ALONE)):
            torch.manual_seed(0)
            args = arguments(tmp_path / name, max_steps=1, **compiled, **weights)
            trainer = make_trainer(case, args, teacher=case.teacher(1), rows=4)
            trainer.train()
            losses[name, backend] = trainer.state.log_history[0]["loss"]
    for name in ("alone", "distilled", "alone again"):
        assert losses[name, "eager"] == pytest.approx(losses[name, None], rel=1e-5)
