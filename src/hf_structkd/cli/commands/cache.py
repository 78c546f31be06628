"""`structkd cache`: compute the teacher's answers before a training, which then loads no teacher."""

from __future__ import annotations

from collections.abc import Sequence

from ...training.fill_cache import fill_teacher_cache
from ..distil import Experiment
from ..endings import UsageError
from ..task_words import arguments_of

NAME = "cache"
SUMMARY = "compute the teacher's answers beforehand; the options are those of distill"


def run(argv: Sequence[str]) -> None:
    """Parse, load and fill; several processes share the work.

    Raises:
        UsageError: If the options name no cache, or no number of views.
    """
    arguments = arguments_of(NAME, argv)
    args = arguments.training
    for flag, value in (
        ("--teacher_cache", args.teacher_cache),
        ("--augmentation_views", arguments.options.augmentation_views),
        ("--teacher_model_name_or_path", arguments.models.teacher_model_name_or_path),
    ):
        if value is None:
            raise UsageError(
                f"{flag} is missing: `structkd {NAME}` stores the teacher's answers to each view."
            )
    trainer = Experiment.load(arguments).trainer(args, with_teacher=True)
    count = fill_teacher_cache(trainer)
    described = trainer.teacher and trainer.teacher.describe(
        trainer.pair.question([term for term, _ in trainer.distillation.active()]), None
    )
    print(f"{count} answers are known to process {args.process_index}: {described}")  # noqa: T201
