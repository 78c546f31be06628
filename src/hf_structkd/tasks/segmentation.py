"""Semantic segmentation: logits over classes, matched by name between teacher and student."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForSemanticSegmentation, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASK_GENERATION_MAPPING_NAMES,
    MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
)
from transformers.utils import is_torchvision_available

from ..adversary.critic import SMALLEST_MAP
from ..adversary.score_maps import ScoreMaps
from ..data import LoadedData, Normalization, SegmentationOptions, collate_dense, load_segmentation_data
from ..features import FeatureCapture, unwrap
from ..features.forward import Batch, Forward
from ..losses import pixel_distillation_loss
from ..matching.alignment import align_to_coarser, at_least, resize_ids, resize_map
from ..metrics import MeanIoU, confusion_matrices
from ..models.ignore_index import ignore_index_of
from ..models.prompted import PROMPTED_SEGMENTERS
from ..models.query_segmentation import QUERY_SEGMENTERS, ScoreMapOutput
from ..models.teacher_forms import WrappedTeacher
from ..report import Exhibit, Headline, plot_label_maps
from ._classes import taught_names
from ._dense import at_image_sizes, by_label_size, captured_pairs, on_image, padding_mask
from ._pictures import ClassPictures
from .base import MapPair, classes_of

logger = logging.getLogger(__name__)

_NEVER = -1e4


class SegmentationTask(ClassPictures):
    """Semantic segmentation.

    The batch holds `pixel_values` (B, 3, H, W), `labels` (B, H, W) int64 (in evaluation also a list of maps
    of their own sizes) and, where images were padded, `pixel_mask` (B, H, W) bool, True on the image.

    Args:
        student: The student's configuration; `id2label` names its classes.
        teacher: The teacher's configuration, or None when nothing is distilled.
        teacher_label_map: Teacher class name to student class name, where the names differ.
        teacher_prompts: Student class name to the phrases that a teacher which reads text was asked for.

    Raises:
        ValueError: If the student has fewer than two classes, or shares none with the teacher.
    """

    name = "image-segmentation"
    auto_model = AutoModelForSemanticSegmentation
    model_classes = classes_of(MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES, "ModuleForSemanticSegmentation")
    teacher_forms = (QUERY_SEGMENTERS, *PROMPTED_SEGMENTERS)
    refused_teachers: ClassVar[Mapping[str, str]] = {
        "VideomtForUniversalSegmentation": "it reads videos, clip by clip",
        "RfDetrForInstanceSegmentation": "it predicts objects, and no class for the rest of the image",
        **dict.fromkeys(
            MODEL_FOR_MASK_GENERATION_MAPPING_NAMES.values(),
            "it segments what points and boxes mark, and names no class",
        ),
    }
    has_logit_maps = True
    ignore_index: int
    collate = staticmethod(collate_dense)
    metric_labels: ClassVar[Mapping[str, str]] = {
        "mean_iou": "mean IoU",
        "mean_accuracy": "mean accuracy",
        "overall_accuracy": "overall accuracy",
    }
    class_metric_labels: ClassVar[Mapping[str, str]] = {"iou_": "IoU"}
    usage = 'for part in predictor(image):\n    print(part["label"], part["mask"].size)'

    short_name = "segmentation"
    options = SegmentationOptions

    @staticmethod
    def load_data(
        options: SegmentationOptions,
        *,
        normalization: Normalization,
        teacher: PretrainedConfig | None,
        seed: int,
    ) -> LoadedData:
        """Load the data, see `load_segmentation_data`; the teacher names their classes only if asked to."""
        names = taught_names(options, teacher)
        return load_segmentation_data(
            options=options, normalization=normalization, default_id2label=names, seed=seed
        )

    def __init__(
        self,
        student: PretrainedConfig,
        teacher: PretrainedConfig | None = None,
        *,
        teacher_label_map: Mapping[str, str] | None = None,
        teacher_prompts: Mapping[str, Any] | None = None,
    ) -> None:
        """Match the two label spaces."""
        if student.num_labels < 2:
            raise ValueError(f"the student's `num_labels` must be at least 2, got {student.num_labels}.")
        self.ignore_index = ignore_index_of(student)
        self._warned = False
        names: dict[str, Any] = {"teacher_label_map": teacher_label_map, "teacher_prompts": teacher_prompts}
        super().__init__(student, teacher, **names)

    @staticmethod
    def check_models(student: PreTrainedModel, teacher: PreTrainedModel | None) -> None:
        """Accept every model of this task, as a student and as a teacher."""

    @staticmethod
    def image_processor(size: tuple[int, int], config: PretrainedConfig) -> Any:
        """Make SegFormer's processor; its post-processing fits every model of this task."""
        # The two backends are two classes; asking for the missing one by name makes transformers warn.
        name = "SegformerImageProcessor" + ("" if is_torchvision_available() else "Pil")
        return getattr(transformers, name)(size={"height": size[0], "width": size[1]})

    @staticmethod
    def find_features(model: nn.Module, pixel_values: Tensor) -> FeatureCapture:
        """Capture what the classifier reads, or the map of the image that the queries of a teacher read."""
        inner = unwrap(model)
        if isinstance(inner, WrappedTeacher):
            return FeatureCapture.of_module(inner, inner.feature_module)
        return FeatureCapture.before_classifier(model, pixel_values)

    def prediction(self, output: Any) -> Tensor:
        """Return the logits (B, K, h, w)."""
        logits: Tensor = output.logits
        return logits

    def stored_output(self, student: Forward, teacher: Forward) -> dict[str, Tensor]:
        """Return the teacher's logits over the shared classes, at the coarser of the two grids."""
        return {"shared_logits": self._shared_logits(student, teacher)[1]}

    def restored_output(self, tensors: Mapping[str, Tensor]) -> Any:
        """Return an output with logits that `LabelMatch.teacher_logits` turns into the stored ones."""
        assert self.labels is not None
        return SemanticSegmenterOutput(logits=self.labels.all_teacher_logits(tensors["shared_logits"]))

    def check_batch(self, batch: Batch) -> None:
        """Raise `ValueError` for a label outside [0, K) that is not the ignored one."""
        if "labels" not in batch:
            raise ValueError(f"a batch needs `labels`, got the keys {sorted(batch)}; name the label column.")
        for image, labels in enumerate(batch["labels"]):
            wrong = (labels != self.ignore_index) & ((labels < 0) | (labels >= len(self.id2label)))
            if wrong.any():
                raise ValueError(
                    f"`labels` must lie in [0, {len(self.id2label)}) or be the ignored {self.ignore_index}, "
                    f"got {int(labels[wrong][0])} in image {image} of the batch."
                )

    def check_training_batch(self, batch: Batch) -> None:
        """Also warn of the first batch whose labels are all ignored: such labels teach nothing in silence."""
        self.check_batch(batch)
        labeled = batch.get("labeled", [True])
        if any(labeled) and not any((one != self.ignore_index).any() for one in batch["labels"]):
            self._warn_of_nothing_labelled()

    def _warn_of_nothing_labelled(self) -> None:
        if not self._warned:
            logger.warning(
                "All `labels` of a batch are the ignored %d: its task loss is 0, and no logits are compared "
                "with the teacher's. Mark rows without labels by `labeled` False, so that the teacher is "
                "followed on them.",
                self.ignore_index,
            )
        self._warned = True

    def task_loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the cross-entropy at the labels' own size, a mean over the labelled pixels of the batch."""
        logits = self.prediction(output).float()
        parts = by_label_size(logits, batch["labels"])
        total = torch.stack([self._summed_cross_entropy(*part) for part in parts]).sum()
        labelled = torch.stack([(part != self.ignore_index).sum() for _, part in parts]).sum()
        # clamp: a batch without a labelled pixel has loss 0, where a plain mean would be NaN.
        return total / labelled.clamp(min=1)

    def _summed_cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = resize_map(logits, (labels.shape[-2], labels.shape[-1]))
        return F.cross_entropy(logits, labels, ignore_index=self.ignore_index, reduction="sum")

    def output_loss(self, student: Forward, teacher: Forward, batch: Batch, *, temperature: float) -> Tensor:
        """Return the mean KL over the shared classes, see `logit_maps`."""
        pair = self.logit_maps(student, teacher, batch)
        return pixel_distillation_loss(pair.student, pair.teacher, temperature=temperature, mask=pair.mask)

    def logit_maps(self, student: Forward, teacher: Forward, batch: Batch) -> MapPair:
        """Return the logits over the shared classes, at the coarser of the two grids.

        Only labelled pixels count; of an image that is not labelled (`labeled` False) every pixel does.
        """
        student_logits, teacher_logits = self._shared_logits(student, teacher)
        size = (student_logits.shape[-2], student_logits.shape[-1])
        mask = resize_ids(batch["labels"], size) != self.ignore_index
        if "labeled" in batch:
            mask |= ~batch["labeled"].view(-1, 1, 1)
        inside = padding_mask(batch, size)
        if inside is not None:
            mask &= inside
        return MapPair(student_logits, teacher_logits, mask)

    def feature_pairs(self, student: Forward, teacher: Forward, batch: Batch) -> list[MapPair]:
        """Return one pair, the maps before the two classifiers, or several where modules are named."""
        return captured_pairs(student, teacher, batch)

    def score_maps(self, student: Forward, teacher: Forward, batch: Batch) -> ScoreMaps:
        """Return probabilities over the shared classes; both are 0 on padding, which nobody can score."""
        student_logits, teacher_logits = self._shared_logits(student, teacher)
        size = at_least(student_logits.shape[-2:], SMALLEST_MAP)
        real, fake = (
            resize_map(logits.float(), size).softmax(dim=1) for logits in (teacher_logits, student_logits)
        )
        inside = padding_mask(batch, size)
        return ScoreMaps(
            real=on_image(real, inside), fake=on_image(fake, inside), images=batch["pixel_values"]
        )

    def _shared_logits(self, student: Forward, teacher: Forward) -> tuple[Tensor, Tensor]:
        assert self.labels is not None  # a teacher's pass exists only where a teacher was given
        # At the coarser grid: between its cells a coarse teacher says nothing that it should be followed in.
        return align_to_coarser(
            self.labels.student_logits(self.prediction(student.output)),
            self.labels.teacher_logits(self.prediction(teacher.output)),
        )

    def evaluation_statistics(self, output: Any, batch: Batch) -> Tensor:
        """Return confusion matrices (B, K, K) at the labels' own size."""
        return confusion_matrices(
            self.prediction(output),
            batch["labels"],
            num_labels=len(self.id2label),
            ignore_index=self.ignore_index,
        )

    def scoring(self) -> dict[str, Any]:
        """Return the student's classes and the label that does not count."""
        return {**super().scoring(), "ignore_index": self.ignore_index}

    def has_labels(self, batch: Batch) -> bool:
        """Return whether a pixel has a class."""
        return any(bool((labels != self.ignore_index).any()) for labels in batch["labels"])

    def image_predictions(self, output: Any, batch: Batch) -> list[Any]:
        """Return maps (H, W) of class ids, int32, at the labels' or, without labels, the images' own size."""
        maps = at_image_sizes(self.prediction(output), batch)
        return [logits.argmax(dim=0).int().cpu().numpy() for logits in maps]

    def as_student(self, teacher_output: Any, batch: Batch) -> Any:
        """Return the teacher's logits over the student's classes; one that it does not know never wins."""
        assert self.labels is not None
        shared = self.labels.teacher_logits(self.prediction(teacher_output)).float()
        if isinstance(teacher_output, ScoreMapOutput):
            shared = shared.exp()
        count, _, height, width = shared.shape
        # Finite, because resizing would turn an infinity into NaN.
        logits = shared.new_full((count, len(self.id2label), height, width), _NEVER)
        logits[:, list(self.labels.student_ids)] = shared
        return SemanticSegmenterOutput(logits=logits)

    def answers(self, teacher_output: Any, batch: Batch) -> list[Tensor]:
        """Return the teacher's most likely classes, maps (H, W) of the student's class ids."""
        maps = at_image_sizes(self.prediction(self.as_student(teacher_output, batch)), batch)
        return [logits.argmax(dim=0) for logits in maps]

    def metric(self) -> MeanIoU:
        """Make the metric of mean IoU, mean accuracy, overall accuracy and each class's IoU."""
        return MeanIoU(len(self.id2label), ignore_index=self.ignore_index, id2label=self.id2label)

    # ---- what a report shows ----

    headline: ClassVar[Headline] = Headline("mean_iou", "mean IoU")

    def draw(self, exhibit: Exhibit, folder: Path) -> None:
        """Draw every model's classes at the labels' own size into `predictions.png`."""
        plot_label_maps(
            self.picture_rows(exhibit),
            folder / "predictions.png",
            class_names=list(self.id2label.values()),
            ignore_index=self.ignore_index,
            truth=exhibit.truth,
        )
