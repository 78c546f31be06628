"""What a task says of its scores and pictures, for an evaluation and a report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import Tensor

from ..features.forward import Batch
from ..report import Exhibit, Gallery, Headline, PictureRow, Range


class StreamingMetric(Protocol):
    """A metric that takes the statistics of one batch at a time, such as those of `metrics`."""

    def add_statistics(self, statistics: Any) -> None:
        """Add what `Task.evaluation_statistics` returned, gathered over the processes."""

    def compute(self) -> Mapping[str, Any]:
        """Return the scores of all added statistics by name, and forget these statistics."""


class ShownTask(ABC):
    """The part of a task that is scored and shown; `Task` explains the attributes."""

    headline: ClassVar[Headline]
    range_label: ClassVar[str] = ""

    @abstractmethod
    def evaluation_statistics(self, output: Any, batch: Batch) -> Tensor:
        """Return sufficient statistics of each image, (B, ...), on the device; only these are gathered."""

    @abstractmethod
    def metric(self) -> StreamingMetric:
        """Make an empty metric over `evaluation_statistics`."""

    def score_note(self, *, has_teacher: bool) -> str:
        """Return what the reader of a run's table must know of its scores; empty for nothing."""
        return ""

    @abstractmethod
    def draw(self, exhibit: Exhibit, folder: Path) -> None:
        """Draw `predictions.png` into a folder, and `classes.png` where each class has a score of its own."""

    # ---- what `report.html` shows beside that; a task may leave all of it out ----

    def image_scores(self, output: Any, batch: Batch) -> list[float]:
        """Return the headline's metric of each image by itself, NaN where nothing of an image is scored."""
        scores = []
        for statistics in self.evaluation_statistics(output, batch):
            metric = self.metric()
            metric.add_statistics(statistics[None])
            scores.append(float(metric.compute()[self.headline.metric]))
        return scores

    def picture_rows(self, exhibit: Exhibit) -> list[PictureRow[Any]]:
        """Return each image, its label and every prediction as `paint` takes them; empty for no pictures."""
        return []

    def paint(self, rows: Sequence[PictureRow[Any]], truth: str | None) -> Gallery:
        """Return the pictures of rows of `picture_rows`; `truth` is the title of labels that are none."""
        return Gallery()

    def range_errors(self, output: Any, batch: Batch) -> list[dict[Range, tuple[float, float]]]:
        """Return for each image the sum of errors and the number of pixels in ranges of the truth.

        The errors are those of the headline's metric, the ranges are of what `range_label` names.
        """
        return [{} for _ in batch["pixel_values"]]
