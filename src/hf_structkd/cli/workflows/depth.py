"""Monocular depth, from a command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from transformers import PretrainedConfig

from ...data import DenseData, Normalization, load_depth_data
from ...report import write_report
from ...tasks import DepthTask
from ..script_args import DepthDataArguments
from .base import Workflow


@dataclass
class DepthTaskArguments:
    """Options of the task."""

    depth_loss: Literal["silog", "l1", "berhu", "ssi"] = field(
        default="silog", metadata={"help": "Supervised loss; 'ssi' for depth up to scale and shift."}
    )
    depth_kind: Literal["metric", "relative", "inverse"] = field(
        default="metric", metadata={"help": "What the student predicts."}
    )
    teacher_depth_kind: Literal["metric", "relative", "inverse"] = field(
        default="metric", metadata={"help": "What the teacher predicts; 'inverse' for MiDaS-style models."}
    )
    min_depth: float = field(default=1e-3, metadata={"help": "Metres; nearer truth is not scored."})
    max_depth: float | None = field(default=None, metadata={"help": "Metres; farther truth is not scored."})
    crop: Literal["none", "eigen"] = field(
        default="none", metadata={"help": "Part of the image that is scored; 'eigen' is NYUv2's custom."}
    )
    median_scaling: bool = field(
        default=False, metadata={"help": "Score predictions after bringing their median to the truth's."}
    )

    def task_options(self) -> dict[str, Any]:
        """Keyword arguments of `DepthTask`."""
        options = asdict(self)
        options["loss"] = options.pop("depth_loss")
        options["crop"] = None if self.crop == "none" else self.crop
        return options


def _load(
    options: DepthDataArguments, normalization: Normalization, teacher: PretrainedConfig | None, seed: int
) -> DenseData:
    return load_depth_data(**asdict(options), normalization=normalization, seed=seed)


DEPTH = Workflow(
    task=DepthTask,
    data_arguments=DepthDataArguments,
    task_arguments=DepthTaskArguments,
    load_data=_load,
    write_report=write_report,
)
