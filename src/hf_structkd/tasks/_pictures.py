"""The pictures of each task in `report.html`, and the errors of depth by how far the truth is away."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..data import DepthKind
from ..features.forward import Batch
from ..matching.alignment import resize_map
from ..metrics._depth_image import aligned
from ..report import (
    Boxes,
    Exhibit,
    Gallery,
    PictureRow,
    Range,
    box_gallery,
    class_gallery,
    depth_gallery,
)
from ._classes import ClassTask
from ._depth_maps import scored_pixels
from ._drawing import box_rows, picture_rows
from .base import Task

DRAWN_FROM = 0.3
"""Lowest score of a drawn box; DETR's demonstration draws from 0.7 on, but small students are less sure."""


class ClassPictures(ClassTask):
    """Maps of classes."""

    ignore_index: int

    def picture_rows(self, exhibit: Exhibit) -> list[PictureRow[ArrayLike]]:
        """Return the labels and every model's classes at the labels' own size."""
        logits = {name: self.prediction(output).float() for name, output in exhibit.outputs.items()}
        return picture_rows(exhibit, logits, lambda one: one.argmax(0))

    def paint(self, rows: Sequence[PictureRow[ArrayLike]], truth: str | None) -> Gallery:
        """Paint every class in its colour."""
        names = list(self.id2label.values())
        return class_gallery(rows, class_names=names, ignore_index=self.ignore_index, truth=truth)


class BoxPictures(ClassTask):
    """Boxes on the images."""

    def picture_rows(self, exhibit: Exhibit) -> list[PictureRow[Boxes]]:
        """Return the true and every model's boxes on the original images."""
        outputs = exhibit.outputs.items()
        found = {name: self.evaluation_statistics(output, exhibit.batch) for name, output in outputs}
        return box_rows(exhibit, found)

    def paint(self, rows: Sequence[PictureRow[Boxes]], truth: str | None) -> Gallery:
        """Lay the boxes over the images."""
        names = list(self.id2label.values())
        return box_gallery(rows, class_names=names, score_threshold=DRAWN_FROM, truth=truth)


class DepthPictures(Task):
    """Depth maps, and AbsRel by octaves of the true depth."""

    range_label: ClassVar[str] = "true depth in metres"
    teacher_depth_kind: DepthKind

    @abstractmethod
    def in_metres(self, output: Any, batch: Batch) -> Tensor:
        """Return a depth (B, h, w) in metres."""

    def picture_rows(self, exhibit: Exhibit) -> list[PictureRow[ArrayLike]]:
        """Return the true and every model's depth in metres at the labels' own size."""
        outputs = exhibit.outputs.items()
        depths = {name: self.in_metres(output, exhibit.batch)[:, None] for name, output in outputs}
        return picture_rows(exhibit, depths, lambda one: one[0])

    def paint(self, rows: Sequence[PictureRow[ArrayLike]], truth: str | None) -> Gallery:
        """Paint all depths on one scale."""
        is_metric = truth is None or self.teacher_depth_kind == "metric"
        return depth_gallery(rows, truth=truth, unit="m" if is_metric else "")

    def range_errors(self, output: Any, batch: Batch) -> list[dict[Range, tuple[float, float]]]:
        """Return the summed relative errors of each image in 1 to 2 m, 2 to 4 m and so on."""
        scoring = self.scoring()
        images = zip(
            self.in_metres(output, batch),
            batch["labels"],
            scored_pixels(batch["labels"], scoring),
            strict=True,
        )
        found: list[dict[Range, tuple[float, float]]] = []
        for depth, label, counted in images:
            truth = label[counted].float()
            if not len(truth):
                found.append({})
                continue
            own = resize_map(depth[None, None], (label.shape[-2], label.shape[-1]))[0, 0][counted]
            own = aligned(own, truth, scoring["alignment"]).clamp(scoring["min_depth"], scoring["max_depth"])
            errors, octaves = (own - truth).abs() / truth, truth.log2().floor()
            found.append(
                {
                    (2.0**octave, 2.0 ** (octave + 1)): (
                        errors[octaves == octave].sum().item(),
                        (octaves == octave).sum().item(),
                    )
                    for octave in torch.unique(octaves).tolist()
                }
            )
        return found
