"""Object detection, from a command line."""

from __future__ import annotations

from dataclasses import asdict

from transformers import PretrainedConfig

from ..data import DenseData, Normalization, load_detection_data
from ..report import write_detection_report
from ..script_args import DetectionDataArguments
from ..tasks import DetectionTask
from .base import Workflow
from .label_map import LabelMapArguments


def _load(
    options: DetectionDataArguments,
    normalization: Normalization,
    teacher: PretrainedConfig | None,
    seed: int,
) -> DenseData:
    return load_detection_data(
        **asdict(options),
        normalization=normalization,
        default_id2label=None if teacher is None else teacher.id2label,
        seed=seed,
    )


DETECTION = Workflow(
    task=DetectionTask,
    data_arguments=DetectionDataArguments,
    task_arguments=LabelMapArguments,
    load_data=_load,
    write_report=write_detection_report,
)
