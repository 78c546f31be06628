"""Semantic segmentation, from a command line."""

from __future__ import annotations

from dataclasses import asdict

from transformers import PretrainedConfig

from ..data import DenseData, Normalization, load_segmentation_data
from ..report import write_segmentation_report
from ..script_args import SegmentationDataArguments
from ..tasks import SegmentationTask
from .base import Workflow
from .label_map import LabelMapArguments


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
    task_arguments=LabelMapArguments,
    load_data=_load,
    write_report=write_segmentation_report,
)
