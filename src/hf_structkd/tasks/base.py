"""What a dense-prediction task must say so that the trainer need not know its name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from ..adversary.score_maps import ScoreMaps
from ..features import FeatureCapture
from ..features.forward import Batch, Capture, Forward, run_model
from ..report import Exhibit, Headline


class FeaturePair(NamedTuple):
    """Two aligned feature maps (B, C_s, h, w), (B, C_t, h, w), and which pixels count (B, h, w) or None."""

    student: Tensor
    teacher: Tensor
    mask: Tensor | None


class StreamingMetric(Protocol):
    """A metric that is fed one batch's statistics at a time and holds constant memory."""

    def add_statistics(self, statistics: Any) -> None:
        """Add what `Task.evaluation_statistics` returned, gathered over the processes."""

    def scores(self) -> dict[str, float]:
        """Scalar scores of all that was added; starts anew."""


class Task(ABC):
    """A task's meaning, built once for a student and, when one teaches it, a teacher.

    Attributes:
        name: Pipeline tag of the task on the Hub, for example "image-segmentation".
        auto_model: The `transformers` auto class that loads its models.
        model_classes: Names of the model classes that solve this task.
        default_weights: Weight of the pixel-wise, pair-wise and holistic term where none is given.
        score_map_channels: Channels of the maps that the critic sees.
        headline: The metric that a model is judged by, and the further ones of a run's table.
    """

    name: ClassVar[str]
    auto_model: ClassVar[Any]
    model_classes: ClassVar[frozenset[str]]
    default_weights: ClassVar[Mapping[str, float]]
    score_map_channels: int

    @abstractmethod
    def __init__(self, student: PretrainedConfig, teacher: PretrainedConfig | None, **options: Any) -> None:
        """Read what the two configurations say; raise `ValueError` if the two cannot be compared.

        A task names its own options; the trainer hands them through.
        """

    @staticmethod
    @abstractmethod
    def check_models(student: PreTrainedModel, teacher: PreTrainedModel | None) -> None:
        """Raise `ValueError` where a model of the task cannot be trained or cannot teach."""

    @staticmethod
    @abstractmethod
    def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Turn dataset rows into a batch."""

    @staticmethod
    @abstractmethod
    def image_processor(size: tuple[int, int], config: PretrainedConfig) -> Any:
        """An image processor for a student that has none: images of `size`, ImageNet's normalisation.

        Its post-processing must fit the model that `config` describes.
        """

    @staticmethod
    @abstractmethod
    def find_features(model: nn.Module, pixel_values: Tensor) -> Capture:
        """Capture the maps that the pair-wise term compares, found on these images."""

    def capture_features(self, model: nn.Module, pixel_values: Tensor, module: str | None) -> Capture:
        """Capture the module of this name, or where no name is given what `find_features` finds."""
        if module is None:
            return self.find_features(model, pixel_values)
        return FeatureCapture.of_module(model, module)

    def model_inputs(self, batch: Batch) -> dict[str, Any]:
        """What of a batch both models are shown."""
        return {"pixel_values": batch["pixel_values"]}

    def student_forward(self, model: nn.Module, batch: Batch, capture: Capture | None) -> Forward:
        """Run the student; it is shown more than `model_inputs` where its own loss reads labels."""
        return run_model(model, self.model_inputs(batch), capture)

    @abstractmethod
    def prediction(self, output: Any) -> Tensor:
        """The tensor of a model's output that this task reads, for example its logits."""

    @abstractmethod
    def check_batch(self, batch: Batch) -> None:
        """Raise `ValueError` if a batch cannot be learned from; called once, on the first one."""

    @abstractmethod
    def task_loss(self, output: Any, batch: Batch) -> Tensor:
        """The supervised loss, a mean over what is labelled; 0 if nothing is."""

    @abstractmethod
    def pixel_loss(self, student: Forward, teacher: Forward, batch: Batch, *, temperature: float) -> Tensor:
        """The pixel-wise term."""

    @abstractmethod
    def feature_pairs(self, student: Forward, teacher: Forward, batch: Batch) -> list[FeaturePair]:
        """The aligned feature maps whose pair-wise terms are averaged."""

    @abstractmethod
    def score_maps(self, student: Forward, teacher: Forward, batch: Batch) -> ScoreMaps:
        """What the critic compares."""

    @abstractmethod
    def evaluation_statistics(self, output: Any, batch: Batch) -> Tensor:
        """Sufficient statistics of each image, (B, ...), on the device; they alone are gathered."""

    @abstractmethod
    def as_student(self, teacher_output: Any, batch: Batch) -> Any:
        """The teacher's output on a labelled batch in the student's terms, for `evaluation_statistics`."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """How the two models were matched, as JSON values: a resumed run must find the same."""

    @abstractmethod
    def metric(self) -> StreamingMetric:
        """A fresh metric over `evaluation_statistics`."""

    # ---- what a report shows ----

    headline: ClassVar[Headline]

    def score_note(self, *, has_teacher: bool) -> str:
        """Return what the reader of a run's table must know of its scores; empty for nothing."""
        return ""

    @abstractmethod
    def draw(self, exhibit: Exhibit, folder: Path) -> None:
        """Draw `predictions.png` into a folder, and `classes.png` where each class has a score of its own."""
