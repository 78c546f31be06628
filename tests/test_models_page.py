"""The page that says which models teach and which learn is what the library does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hf_structkd.tasks import TASKS, Task

from . import model_table
from .training.test_architectures import MATRICES

PAGE = Path(__file__).parents[1] / "docs" / "models.md"


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.short_name)
def test_every_yes_is_run_and_everything_else_has_a_reason(task: type[Task]) -> None:
    """An architecture that a new Transformers brings would otherwise be met by users first."""
    matrix = MATRICES[task.short_name]
    own = [row for row in model_table.rows() if row.task is task]
    for role, ran, yes in (
        ("teach", set(matrix.teachers), {row.arch for row in own if row.no_teacher is None}),
        ("learn", set(matrix.students), {row.arch for row in own if row.no_student is None}),
    ):
        ran -= {"dpt_hierarchical"}  # a DPT on another backbone: no architecture of its own
        assert yes <= ran, (
            f"{sorted(yes - ran)} {role} {task.short_name} and no test runs them; add a tiny model to "
            "`MATRICES` of tests/training/test_architectures.py, or a reason to the task."
        )
        assert ran <= yes, f"{sorted(ran - yes)} are run, and Transformers no longer has them."


def test_the_page_is_what_the_table_prints() -> None:
    """A page that is written by hand promises what the code does not do."""
    assert PAGE.read_text(encoding="utf-8") == model_table.page(), (
        "python -m tests.model_table > docs/models.md"
    )


# Training pins memory by default, and torch warns where no accelerator is.
@pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning")
def test_the_examples_of_teachers_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is pasted from the page and fails is the last that is tried."""
    page = PAGE.with_name("teachers.md")
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    assert "asked for" in names["asked"].teacher.source.description
    assert names["queries"].state.log_history[0]["loss_pixel"] > 0
