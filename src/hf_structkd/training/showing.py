"""The report of a run without a command line, as in a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..data import has_labels
from ..report import ReportPage, write_report
from ..report.eval_sets import first_set, labelled
from ..report.page.page import FILE_NAME


def show_run(trainer: Any, alone: Any = None) -> ReportPage:
    """Score the models, write the figures and `report.html` into `output_dir`, and return the page.

    A notebook shows the page where `trainer.show()` is the last line of a cell. Every process calls it; the
    first one writes.

    Args:
        trainer: The trainer of the student, after training.
        alone: The trainer of the same student without a teacher, if there is one to compare with.
    """
    has_data, others = trainer.eval_dataset is not None, dict[str, Any]()
    scored = labelled(trainer.eval_dataset)
    # Of several sets the first is judged: without its labels the teacher has no score to compare.
    if trainer.teacher is not None and scored is not None and has_labels(first_set(trainer.eval_dataset)):
        others["teacher_metrics"] = trainer.evaluate_teacher(scored)
    if alone is not None:
        others |= {"alone": alone, "alone_metrics": alone.evaluate() if has_data else {}}
    metrics = trainer.evaluate() if has_data else {}
    if trainer.is_world_process_zero():
        write_report(trainer, metrics, **others)
    trainer.accelerator.wait_for_everyone()
    return ReportPage(Path(str(trainer.args.output_dir)) / FILE_NAME)
