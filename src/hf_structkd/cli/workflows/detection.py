"""Object detection, from a command line."""

from __future__ import annotations

from ...data import load_detection_data
from ...report import write_report
from ...tasks import DetectionTask
from ..script_args import DetectionDataArguments
from .base import Workflow
from .label_map import LabelMapArguments, with_teachers_classes

DETECTION = Workflow(
    task=DetectionTask,
    data_arguments=DetectionDataArguments,
    task_arguments=LabelMapArguments,
    load_data=with_teachers_classes(load_detection_data),
    write_report=write_report,
)
