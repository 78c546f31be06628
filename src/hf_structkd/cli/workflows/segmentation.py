"""Semantic segmentation, from a command line."""

from __future__ import annotations

from ...data import load_segmentation_data
from ...report import write_report
from ...tasks import SegmentationTask
from ..script_args import SegmentationDataArguments
from .base import Workflow
from .label_map import LabelMapArguments, with_teachers_classes

SEGMENTATION = Workflow(
    task=SegmentationTask,
    data_arguments=SegmentationDataArguments,
    task_arguments=LabelMapArguments,
    load_data=with_teachers_classes(load_segmentation_data),
    write_report=write_report,
)
