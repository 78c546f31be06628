"""Object detection by queries: DETR and its family, any teacher with any student."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import AutoModelForObjectDetection, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

from ..adversary.critic import SMALLEST_MAP
from ..adversary.score_maps import ScoreMaps
from ..data import DetectionOptions, LoadedData, Normalization, collate_detection, load_detection_data
from ..features import unwrap
from ..features.forward import Batch, Capture, Forward
from ..features.pyramid import PyramidCapture, pair_levels
from ..losses import DetectionHead, query_distillation_loss
from ..matching.alignment import at_least
from ..metrics import AGREEMENT, PADDING, MeanAveragePrecision, detection_statistics
from ..metrics._detections import DETECTION
from ..models.prompted import PROMPTED_DETECTORS
from ..report import Exhibit, Headline, plot_boxes, plot_class_bars
from ._box_answers import checked_threshold, confident_boxes, filled_in, with_boxes
from ._box_labels import boxes_to_find, check_box_labels
from ._classes import taught_names
from ._dense import on_image, padding_mask
from ._detected import detected_boxes
from ._drawing import class_scores
from ._pictures import DRAWN_FROM, BoxPictures
from ._set_loss import run_student, weighted_set_loss
from .base import MapPair, classes_of
from .detectors import (
    DetectionQueries,
    are_finite,
    check_can_learn,
    check_can_teach,
    detection_head,
    final_queries,
    own_image_processor,
    rendered,
    shared_queries,
    shown_mask,
    spread_queries,
)

# The critic sees rendered boxes at an eighth of the image's sides, the finest level of most pyramids.
_CRITIC_STRIDE = 8
# What a teacher has found, where no threshold is given.
_SURE = 0.5


class DetectionTask(BoxPictures):
    """Object detection by a set of queries, each with class logits and a box.

    The batch holds `pixel_values` (B, 3, H, W), `labels`, a list of B dicts with `class_labels` (N,) int64
    and `boxes` (N, 4) as cx, cy, w, h in shares of the image's sides (in evaluation also `canvas_size` or
    `orig_size`, see `metrics.canvas_size`), and, where images were padded, `pixel_mask` (B, H, W), not 0 on
    the image. Where some images have no labels, `labeled` (B,) bool tells them.

    The paper's detection code was never released. What is compared here is ours: outputs by query
    distillation, whole outputs as a rendering of boxes. The supervised loss is the student's own.

    Args:
        student: The student's configuration; `id2label` names its classes.
        teacher: The teacher's configuration, or None when nothing is distilled.
        teacher_label_map: Teacher class name to student class name, where the names differ.
        teacher_prompts: Student class name to the phrases that a teacher which reads text was asked for.
        pseudo_label_threshold: The teacher's boxes of at least this score are the labels of images without
            any; None leaves these to the terms of the distillation.

    Raises:
        ValueError: If the student shares no class with the teacher, or the threshold is out of (0, 1].
    """

    name = "object-detection"
    auto_model = AutoModelForObjectDetection
    model_classes = classes_of(MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES, "ModuleForObjectDetection")
    teacher_forms = PROMPTED_DETECTORS
    fewest_classes = 1
    collate = staticmethod(collate_detection)
    answer_class = DetrObjectDetectionOutput
    metric_labels: ClassVar[Mapping[str, str]] = {
        "map": "mAP (IoU 0.50 to 0.95)",
        "map_50": "AP at IoU 0.50",
        "map_75": "AP at IoU 0.75",
        "map_small": "mAP, small objects",
        "map_medium": "mAP, medium objects",
        "map_large": "mAP, large objects",
        "mar_1": "mAR, 1 detection an image",
        "mar_10": "mAR, 10 detections an image",
        "mar_100": "mAR, 100 detections an image",
        "mar_small": "mAR, small objects",
        "mar_medium": "mAR, medium objects",
        "mar_large": "mAR, large objects",
    }
    class_metric_labels: ClassVar[Mapping[str, str]] = {"ap_": "AP"}
    usage = (
        'for found in predictor(image):\n    print(found["label"], round(found["score"], 2), found["box"])'
    )
    short_name = "detection"
    options = DetectionOptions

    @staticmethod
    def load_data(
        options: DetectionOptions,
        *,
        normalization: Normalization,
        teacher: PretrainedConfig | None,
        seed: int,
    ) -> LoadedData:
        """Load the data, see `load_detection_data`; where they name no classes, the teacher does."""
        names = taught_names(options, teacher)
        known: dict[str, Any] = {"normalization": normalization, "default_id2label": names, "seed": seed}
        return load_detection_data(options=options, **known)

    @staticmethod
    def task_options(options: DetectionOptions) -> dict[str, Any]:
        """Read the map of class names, the prompts, and the threshold of pseudo-labels."""
        return {**BoxPictures.task_options(options), "pseudo_label_threshold": options.pseudo_label_threshold}

    def __init__(
        self,
        student: PretrainedConfig,
        teacher: PretrainedConfig | None = None,
        *,
        teacher_label_map: Mapping[str, str] | None = None,
        teacher_prompts: Mapping[str, Any] | None = None,
        pseudo_label_threshold: float | None = None,
    ) -> None:
        """Match the two label spaces."""
        super().__init__(
            student, teacher, teacher_label_map=teacher_label_map, teacher_prompts=teacher_prompts
        )
        self._threshold = checked_threshold(pseudo_label_threshold)
        self.makes_labels = pseudo_label_threshold is not None

    @staticmethod
    def check_models(student: PreTrainedModel, teacher: PreTrainedModel | None) -> None:
        """Refuse a student that has no loss and a teacher that names no classes."""
        check_can_learn(student)
        if teacher is not None:
            check_can_teach(teacher)

    @staticmethod
    def image_processor(size: tuple[int, int], config: PretrainedConfig) -> Any:
        """Make the architecture's own processor, whose post-processing fits its head."""
        return own_image_processor(size, config)

    @staticmethod
    def find_features(model: nn.Module, pixel_values: Tensor) -> PyramidCapture:
        """Capture every level of the pyramid that the decoder reads."""
        module = getattr(unwrap(model), "feature_module", None)  # of a `WrappedTeacher`
        return PyramidCapture.of_detector(model, pixel_values, module=module)

    def model_inputs(self, batch: Batch) -> dict[str, Any]:
        """Return the images and, where there is one, the mask of what is no padding."""
        inputs = {"pixel_values": batch["pixel_values"]}
        if "pixel_mask" in batch:
            inputs["pixel_mask"] = shown_mask(batch["pixel_mask"], (self._student, self._teacher))
        return inputs

    def student_forward(self, model: nn.Module, batch: Batch, capture: Capture | None) -> Forward:
        """Run the student with the boxes to find, see `run_student`."""
        return run_student(model, self.model_inputs(batch), batch, capture, self._student)

    def prediction(self, output: Any) -> Tensor:
        """Return the logits (B, Q, K), or K + 1 of them with "no object"."""
        logits: Tensor = output.logits
        return logits

    def stored_output(self, student: Forward, teacher: Forward) -> dict[str, Tensor]:
        """Return the logits and the boxes of the teacher's final queries."""
        assert self._teacher is not None
        logits, boxes = final_queries(teacher.output, self._teacher)
        return {"logits": logits, "pred_boxes": boxes}

    def check_batch(self, batch: Batch) -> None:
        """Raise `ValueError` for labels that are no boxes, or a class that the student does not have."""
        if "labels" not in batch:
            raise ValueError(f"a batch needs `labels`, got {sorted(batch)}; name the objects column.")
        for image, labels in enumerate(batch["labels"]):
            check_box_labels(labels, len(self.id2label), f"image {image} of the batch")

    def task_loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the set loss that the student's own forward has computed, see `weighted_set_loss`."""
        return weighted_set_loss(output, batch)

    def output_loss(self, student: Forward, teacher: Forward, batch: Batch, *, temperature: float) -> Tensor:
        """Query distillation over the shared classes."""
        own, own_head = self._shared_student(student.output)
        theirs, their_head = self._shared_teacher(teacher.output)
        if not are_finite(own):
            return own.logits.sum() * math.nan  # which cannot be matched, see `student_forward`
        return query_distillation_loss(
            own.logits,
            own.boxes,
            theirs.logits,
            theirs.boxes,
            student_head=own_head,
            teacher_head=their_head,
            temperature=temperature,
        )

    def feature_pairs(self, student: Forward, teacher: Forward, batch: Batch) -> list[MapPair]:
        """Return one pair for every level of the smaller pyramid; padding is masked."""
        pairs = pair_levels(student.features, teacher.features)
        sizes = [(own.shape[-2], own.shape[-1]) for own, _ in pairs]
        masks = [padding_mask(batch, size) for size in sizes]
        return [MapPair(*pair, mask) for pair, mask in zip(pairs, masks, strict=True)]

    def score_maps(self, student: Forward, teacher: Forward, batch: Batch) -> ScoreMaps:
        """Return for each shared class how likely some box covers a cell; both maps are 0 on padding."""
        images = batch["pixel_values"]
        height, width = (-(-side // _CRITIC_STRIDE) for side in images.shape[-2:])
        size = at_least((height, width), SMALLEST_MAP)
        inside = padding_mask(batch, size)
        sides = self._shared_teacher(teacher.output), self._shared_student(student.output)
        real, fake = (on_image(rendered(queries, head, size), inside) for queries, head in sides)
        return ScoreMaps(real=real, fake=fake, images=images)

    def evaluation_statistics(self, output: Any, batch: Batch) -> Tensor:
        """Return rows (B, R, 7) of true and detected boxes, in pixels of the original images.

        As in Transformers' post-processing, what has a score of 0 is not found: a class that a teacher does
        not know, see `as_student`.
        """
        queries = output if isinstance(output, DetectionQueries) else final_queries(output, self._student)
        head, mask = detection_head(self._student, queries.logits), batch.get("pixel_mask")
        rows = detection_statistics(*queries, batch["labels"], head=head, pixel_mask=mask)
        impossible = (rows[..., 0] == DETECTION) & (rows[..., 2] == 0)
        return rows.masked_fill(impossible.unsqueeze(-1), PADDING)

    def has_labels(self, batch: Batch) -> bool:
        """Return whether there is a box, other than that of a crowd."""
        return any(len(boxes_to_find(labels)["boxes"]) > 0 for labels in batch["labels"])

    def image_predictions(self, output: Any, batch: Batch) -> list[Any]:
        """Return each image's scores, labels and boxes, see `detected_boxes`."""
        return detected_boxes(output, self._student, batch)

    def as_student(self, teacher_output: Any, batch: Batch) -> DetectionQueries:
        """Return the teacher's queries over the student's classes; a class that it does not know scores 0."""
        assert self.labels is not None
        queries, head = self._shared_teacher(teacher_output)
        return spread_queries(queries, head, self.labels.student_ids, count=len(self.id2label))

    def answers(self, teacher_output: Any, batch: Batch) -> list[Any]:
        """Return the teacher's sure boxes, see `confident_boxes`."""
        found = self._found(teacher_output, batch)
        return [with_boxes(*pair) for pair in zip(batch["labels"], found, strict=True)]

    def filled_in(self, batch: Batch, teacher_output: Any) -> Batch:
        """Return a batch in which the teacher's sure boxes stand in for missing labels."""
        return filled_in(batch, self._found(teacher_output, batch)) if self.makes_labels else batch

    def _found(self, teacher_output: Any, batch: Batch) -> list[dict[str, Tensor]]:
        queries = self.as_student(teacher_output, batch)
        head = detection_head(self._student, queries.logits)
        return confident_boxes(queries, head, self._threshold or _SURE)

    def metric(self) -> MeanAveragePrecision:
        """Make the metric of COCO's mean average precision and recall, and of each class's precision."""
        return MeanAveragePrecision(self.id2label)

    def _shared_student(self, output: Any) -> tuple[DetectionQueries, DetectionHead]:
        assert self.labels is not None  # a teacher's pass exists only where a teacher was given
        return shared_queries(final_queries(output, self._student), self._student, self.labels.student_logits)

    def _shared_teacher(self, output: Any) -> tuple[DetectionQueries, DetectionHead]:
        assert self.labels is not None
        assert self._teacher is not None
        # The odds of merged classes are added, under a softmax as under a sigmoid.
        return shared_queries(final_queries(output, self._teacher), self._teacher, self.labels.teacher_logits)

    # ---- what a report shows ----

    headline: ClassVar[Headline] = Headline(
        "map", "mAP", further=(("map_50", "AP at 0.50"), ("map_75", "AP at 0.75"))
    )

    def draw(self, exhibit: Exhibit, folder: Path) -> None:
        """Draw every model's boxes into `predictions.png` and its score of each class into `classes.png`."""
        plot_boxes(
            self.picture_rows(exhibit),
            folder / "predictions.png",
            class_names=list(self.id2label.values()),
            score_threshold=DRAWN_FROM,
            truth=exhibit.truth,
        )
        scores = class_scores(exhibit.scores, f"{AGREEMENT}ap_" if exhibit.truth else "ap_")
        if any(scores.values()):
            plot_class_bars(scores, folder / "classes.png")
