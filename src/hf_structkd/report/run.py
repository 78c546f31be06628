"""Writes the figures and the table of a finished run of any task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from accelerate.utils import send_to_device
from numpy.typing import NDArray
from torch import Tensor

from ..data import has_labels, show_teacher
from ..matching.alignment import resize_map
from ..matching.normalization import ImageNormalization
from ..models.parameters import count_parameters
from ..models.sharding import is_sharded
from ._pictures import PictureRow
from .comparison import ComparisonRow, Headline, comparison_table, how_timed, milliseconds_per_image
from .curves import plot_curves
from .eval_sets import first_set, headline_of, scores_of, start_of_first
from .page.gallery import MOST_SCORED, Range, Shot, shrunk
from .page.page import Compared, PageRun, PageTask, write_page

logger = logging.getLogger(__name__)

_PICTURES = 4
_OF_AGREEMENT = (
    "There are no labels: the student is compared with its teacher's answers, which is no accuracy."
)


class Exhibit(NamedTuple):
    """A few validation images and the outputs of every model for them.

    Attributes:
        images: (B, 3, H, W), RGB in [0, 1].
        batch: The batch that the models get; `labels` may be a list of maps of different sizes.
        outputs: Name of the model (teacher, alone, distilled) -> its output in the student's terms.
        scores: Name of the model -> its scores on all validation images, without a prefix.
        truth: Title of what `labels` of the batch are where they are no labels, for example "teacher".
    """

    images: Tensor
    batch: Mapping[str, Any]
    outputs: Mapping[str, Any]
    scores: Mapping[str, Mapping[str, float]]
    truth: str | None = None

    def picture(self, index: int, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return image `index` resized to `size`, the size of the map beside it, as (H, W, 3)."""
        picture = resize_map(self.images[index : index + 1], size)[0].permute(1, 2, 0).clamp(0, 1)
        array: NDArray[np.float32] = picture.cpu().numpy()
        return array


class ReportedTask(PageTask, Protocol):
    """The parts of a `tasks.Task` that a report uses."""

    headline: Headline
    collate: Callable[[Sequence[dict[str, Any]]], dict[str, Any]]

    def model_inputs(self, batch: Mapping[str, Any], /) -> dict[str, Any]:
        """Return the part of a batch that a model gets."""

    def as_student(self, teacher_output: Any, batch: Mapping[str, Any], /) -> Any:
        """Return the teacher's output in the student's terms."""

    def answers(self, teacher_output: Any, batch: Mapping[str, Any], /) -> list[Any]:
        """Return the teacher's answers in the form of labels."""

    def score_note(self, *, has_teacher: bool) -> str:
        """Return a note about the scores for the reader of the table, or an empty text."""

    def draw(self, exhibit: Exhibit, folder: Path, /) -> None:
        """Draw `predictions.png`, and further figures of the task, into a folder."""

    def picture_rows(self, exhibit: Exhibit, /) -> Sequence[PictureRow[Any]]:
        """Return each image with its label and all predictions, in the form that `paint` takes."""

    def image_scores(self, output: Any, batch: Mapping[str, Any], /) -> list[float]:
        """Return the headline's metric of each image by itself."""

    def range_errors(
        self, output: Any, batch: Mapping[str, Any], /
    ) -> Sequence[Mapping[Range, tuple[float, float]]]:
        """Return for each image the sum of errors and the number of pixels in each range of the truth."""


class FinishedRun(PageRun, Protocol):
    """The parts of a `StructKDTrainer` that a report uses; `teacher` and `processing_class` may be None."""

    train_dataset: Any
    processing_class: Any
    task: ReportedTask


def write_report(
    trainer: FinishedRun,
    metrics: Mapping[str, float],
    *,
    teacher_metrics: Mapping[str, float] | None = None,
    alone: FinishedRun | None = None,
    alone_metrics: Mapping[str, float] | None = None,
    part: Callable[[str], AbstractContextManager[Any]] = nullcontext,
) -> str:
    """Write `figures/curves.png`, the figures of the task and `report.html`, and return the comparison table.

    Call this on one process; it does not wait for the others. Without labels, table and pictures show how far
    the student agrees with the teacher. Without evaluation data there is no table, and the pictures are of
    training images. Of several evaluation sets the first is judged and shown; each further one has a column.

    Args:
        trainer: Trainer of the distilled student, after training.
        metrics: Scores that its `evaluate()` returned.
        teacher_metrics: Scores that its `evaluate_teacher()` returned; None without a teacher.
        alone: Trainer of the same student without a teacher, if there is one.
        alone_metrics: Scores that `evaluate()` of `alone` returned.
        part: Gets the name of the page and returns what surrounds its writing; the page comes last, so that
            whoever goes on after its failure has all the rest.

    Returns:
        The Markdown table of teacher, alone and distilled, and notes on its numbers below it; empty without
        evaluation data.

    Raises:
        ValueError: If one of the models is sharded, so that one process cannot run it.
    """
    task, teacher = trainer.task, trainer.teacher
    _refuse_shards(trainer)
    student = "student" if teacher is None else "distilled"
    runs = {student: trainer} if alone is None else {"alone": alone, student: trainer}
    found = {"teacher": teacher_metrics, "alone": alone_metrics, student: metrics}
    data, batch = trainer.eval_dataset, collate_first(trainer)
    scores = {name: scores_of(one, data) for name, one in found.items() if one is not None}
    has_data = data is not None
    agrees = not has_labels(shown_data(trainer)) and teacher is not None
    images = batch["pixel_values"][:1]
    headline = headline_of(task.headline, data, agrees=agrees)
    rows = _rows(teacher, runs, scores, images) if has_data else []
    table = comparison_table(rows, headline) if has_data else ""
    folder = Path(str(trainer.args.output_dir)) / "figures"
    first = _first_panel(headline if has_data else None, start_of_first(data))
    histories = {name: runs[name].state.log_history for name in reversed(runs) if name in scores}
    plot_curves(
        histories,
        folder / "curves.png",
        titles=trainer.log_titles,
        **first,
        teacher=scores["teacher"][headline.metric] if "teacher" in scores else None,
    )
    task.draw(exhibit_of(trainer, runs, batch, scores, agrees=agrees), folder)
    note = _OF_AGREEMENT if agrees else task.score_note(has_teacher=teacher is not None)
    notes = [how_timed(images.device), *filter(None, [note])] if has_data else []
    with part("report.html"):
        shown, kind = shown_data(trainer), "validation" if has_data else "training"
        size = len(shown) if hasattr(shown, "__len__") else None
        compared = Compared(scores, rows, headline, histories, notes, first, kind, size)
        write_page(trainer, compared, _shots(trainer, runs, scores, agrees=agrees))
    return "\n\n".join([table, *notes])


def _first_panel(headline: Headline | None, start: str) -> dict[str, str]:
    """Return what `plot_curves` draws first: the headline, or the total loss where nothing is evaluated."""
    if headline is None:
        return {"metric": "loss", "metric_label": "weighted sum of the terms"}
    direction = "" if headline.higher_is_better else " (lower is better)"
    return {"metric": f"eval_{start}{headline.metric}", "metric_label": headline.label + direction}


def shown_data(trainer: FinishedRun) -> Any:
    """Return the data whose images are shown: those of validation, of several sets the first, or training.

    A teacher of an image size of its own is shown them in that, as it is for its score.
    """
    data = first_set(trainer.train_dataset if trainer.eval_dataset is None else trainer.eval_dataset)
    show_teacher(data, None if trainer.teacher is None else trainer.teacher.image_size)
    return data


def _refuse_shards(trainer: FinishedRun) -> None:
    if is_sharded(trainer.model) or (trainer.teacher is not None and trainer.teacher.is_sharded):
        raise ValueError(
            "`trainer` must hold whole models, got one that is sharded over several processes; compare what "
            "it saved, in one process and without `shard`."
        )


def _rows(
    teacher: Any,
    runs: Mapping[str, FinishedRun],
    scores: Mapping[str, Mapping[str, float]],
    images: Tensor,
) -> list[ComparisonRow]:
    models = {name: (run.model, images) for name, run in runs.items()}
    if teacher is not None:
        if not teacher.source.is_loaded:
            logger.warning("The report loads the teacher's weights for its pictures and its time an image.")
        models = {"teacher": (teacher.model, teacher.images(images)), **models}
    shown = {name: models[name] for name in models if name in scores}
    times = milliseconds_per_image(list(shown.values()))
    return [
        ComparisonRow(name, scores[name], count_parameters(model), milliseconds)
        for (name, (model, _)), milliseconds in zip(shown.items(), times, strict=True)
    ]


def collate_first(trainer: FinishedRun) -> dict[str, Any]:
    """Return a few rows as one batch on the device, spread over the data if these have a length.

    These are the validation data; without any, the training data.
    """
    return _collated(trainer, [row for _, row in _some_rows(shown_data(trainer), _PICTURES)])


def _some_rows(data: Any, most: int) -> Iterator[tuple[int, Any]]:
    """Yield rows and their places, spread over the data if it has a length, otherwise the first ones."""
    if hasattr(data, "__len__"):
        chosen = np.linspace(0, len(data) - 1, num=min(most, len(data))).round().astype(int)
        return ((int(index), data[int(index)]) for index in chosen)
    return zip(range(most), data, strict=False)


def _collated(trainer: FinishedRun, rows: Sequence[Any]) -> dict[str, Any]:
    batch: dict[str, Any] = send_to_device(trainer.task.collate(rows), trainer.args.device)
    return batch


@torch.no_grad()
def _shots(
    trainer: FinishedRun,
    runs: Mapping[str, FinishedRun],
    scores: Mapping[str, Mapping[str, float]],
    *,
    agrees: bool,
) -> Iterator[Shot]:
    """Yield some of the images that are shown, with every model's score on each."""
    task, rows = trainer.task, _some_rows(shown_data(trainer), MOST_SCORED)
    while part := list(islice(rows, _PICTURES)):
        batch = _collated(trainer, [row for _, row in part])
        exhibit = exhibit_of(trainer, runs, batch, scores, agrees=agrees)
        outputs, shown = exhibit.outputs.items(), exhibit.batch
        of_images = {name: task.image_scores(output, shown) for name, output in outputs}
        ranges = {name: task.range_errors(output, shown) for name, output in outputs}
        pictures = [shrunk(row) for row in task.picture_rows(exhibit)]
        for i, (place, _) in enumerate(part):
            yield Shot(
                place,
                pictures[i] if pictures else None,
                {name: of_model[i] for name, of_model in of_images.items()},
                {name: of_model[i] for name, of_model in ranges.items()},
                exhibit.truth,
            )


@torch.no_grad()
def exhibit_of(
    trainer: FinishedRun,
    runs: Mapping[str, FinishedRun],
    batch: Mapping[str, Any],
    scores: Mapping[str, Mapping[str, float]],
    *,
    agrees: bool,
    asks_teacher: bool = True,
) -> Exhibit:
    """Run every model on a batch.

    Args:
        trainer: The trainer of the student.
        runs: The trainers of all students, by the names of the exhibit.
        batch: What `collate_first` returns.
        scores: See `Exhibit`.
        agrees: Whether the teacher's answers take the place of labels.
        asks_teacher: Whether the teacher, if there is one, is run too.
    """
    outputs: dict[str, Any] = {}
    if agrees:
        batch = {**batch, "labels": trainer.task.answers(trainer.teacher(batch).output, batch)}
    elif trainer.teacher is not None and asks_teacher:
        outputs["teacher"] = trainer.task.as_student(trainer.teacher(batch).output, batch)
    for name, run in runs.items():
        outputs[name] = run.model.eval()(**run.task.model_inputs(batch))
    processor = trainer.processing_class
    normalization = (
        ImageNormalization() if processor is None else ImageNormalization.from_image_processor(processor)
    )
    images = normalization.denormalize(batch["pixel_values"]).clamp(0, 1)
    return Exhibit(images, batch, outputs, scores, "teacher" if agrees else None)
