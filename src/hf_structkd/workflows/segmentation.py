"""Semantic segmentation, from a command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from transformers import PretrainedConfig

from ..data import DenseData, Normalization, load_segmentation_data
from ..label_spaces import load_label_map
from ..report import write_segmentation_report
from ..script_args import SegmentationDataArguments
from ..tasks import SegmentationTask
from .base import Workflow


@dataclass
class SegmentationTaskArguments:
    """Options of the task."""

    teacher_label_map: str | None = field(
        default=None, metadata={"help": "JSON object or file: teacher class name to student class name."}
    )

    def task_options(self) -> dict[str, Any]:
        """Keyword arguments of `SegmentationTask`."""
        given = self.teacher_label_map
        return {"teacher_label_map": None if given is None else load_label_map(given)}


def _load(
    options: SegmentationDataArguments,
    normalization: Normalization,
    teacher: PretrainedConfig | None,
    seed: int,
) -> DenseData:
    return load_segmentation_data(
        **asdict(options),
        normalization=normalization,
        default_id2label=None if teacher is None else teacher.id2label,
        seed=seed,
    )


SEGMENTATION = Workflow(
    task=SegmentationTask,
    data_arguments=SegmentationDataArguments,
    task_arguments=SegmentationTaskArguments,
    load_data=_load,
    write_report=write_segmentation_report,
)
