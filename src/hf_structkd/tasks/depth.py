"""Monocular depth: metric, relative or inverse, of teacher and student each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoModelForDepthEstimation, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import DepthEstimatorOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES

from ..adversary.score_maps import ScoreMaps
from ..data import DepthKind, DepthOptions, LoadedData, Normalization, collate_dense, load_depth_data
from ..features import FeatureCapture, find_decoder
from ..features.forward import Batch, Forward
from ..losses.depth import valid_depth
from ..losses.depth_distillation import depth_distillation_loss
from ..metrics import DepthErrors, depth_statistics
from ..report import Exhibit, Headline, plot_depth_maps
from ._dense import at_image_sizes, by_label_size, captured_pairs, on_image, padding_mask
from ._depth_kinds import DepthKinds, in_one_kind, note_kind
from ._depth_maps import (
    METRIC_LABELS,
    NEAREST,
    aligned_maps,
    as_if_measured,
    critic_size,
    depth_processor,
    fitted_to_labels,
    normalized,
    pooled,
    read_depth,
    scored_pixels,
    supervised_loss,
)
from ._pictures import DepthPictures
from .base import MapPair, classes_of


class DepthTask(DepthPictures):
    """Monocular depth estimation.

    The batch holds `pixel_values` (B, 3, H, W), `labels` (B, H, W) float32 in metres, where 0, NaN and
    infinity mean "not measured" (in evaluation also a list of maps of their own sizes) and, where images were
    padded, `pixel_mask` (B, H, W) bool, True on the image.

    A model of kind "metric" predicts metres; "relative" depth up to a scale and a shift for each image;
    "inverse" the same of 1 / depth (MiDaS, DPT and Depth Anything without a metric head). Unless
    both models are metric, terms normalise each map by itself. Scores align it to each image's labels.

    Args:
        student: The student's configuration.
        teacher: The teacher's configuration, or None when nothing is distilled.
        loss: "silog", "l1", "berhu" (all metric) or "ssi" (scale and shift invariant); None is "silog" for a
            metric student and "ssi" for others.
        depth_kind: What the student predicts; any but "metric" needs the loss "ssi". None is what it was
            trained for, or "metric", and without labels what the teacher predicts.
        teacher_depth_kind: What the teacher predicts; None asks its configuration, see `kind_of`.
        min_depth: Metres; nearer ground truth is not scored.
        max_depth: Metres; farther ground truth is not scored; None scores all.
        crop: "eigen" scores the customary part of NYUv2's images; None all of them.
        prompt_depth_column: Not None where the batch holds `prompt_depth` (B, 1, H, W) for the teacher.
        median_scaling: Multiply each prediction, before it is scored, so that its median is the truth's.

    Raises:
        ValueError: If an option is out of its range, or two do not go together.
    """

    name = "depth-estimation"
    auto_model = AutoModelForDepthEstimation
    model_classes = classes_of(MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES, "ModuleForDepthEstimation")
    score_map_channels = 1
    score_maps_are_bounded = False
    loss_scale = 0.1
    answer_class = DepthEstimatorOutput
    collate = staticmethod(collate_dense)
    metric_labels = METRIC_LABELS
    errors = frozenset(METRIC_LABELS) - {"delta1", "delta2", "delta3"}
    usage = 'predictor(image)["depth"].save("depth.png")'
    short_name = "depth"
    options = DepthOptions

    @staticmethod
    def load_data(
        options: DepthOptions, *, normalization: Normalization, teacher: PretrainedConfig | None, seed: int
    ) -> LoadedData:
        """Load the data, see `load_depth_data`."""
        return load_depth_data(options=options, normalization=normalization, seed=seed)

    @staticmethod
    def task_options(options: DepthOptions) -> dict[str, Any]:
        """Read the supervised loss, what the models predict and what is scored."""
        own = {name: getattr(options, name) for name in options.task_fields if name != "depth_loss"}
        own["prompt_depth_column"] = options.prompt_depth_column
        return own | {"loss": options.depth_loss, "crop": None if options.crop == "none" else options.crop}

    def __init__(
        self,
        student: PretrainedConfig,
        teacher: PretrainedConfig | None = None,
        *,
        loss: str | None = None,
        depth_kind: DepthKind | None = None,
        teacher_depth_kind: DepthKind | None = None,
        min_depth: float = 1e-3,
        max_depth: float | None = None,
        crop: str | None = None,
        median_scaling: bool = False,
        prompt_depth_column: str | None = None,
    ) -> None:
        """Check the options."""
        chosen = (loss, depth_kind, teacher_depth_kind, prompt_depth_column is not None)
        self._take(DepthKinds.of(student, teacher, *chosen))
        self._scoring: dict[str, Any] = {
            "min_depth": min_depth,
            "max_depth": max_depth,
            "crop": crop,
            "alignment": "median" if median_scaling else "none",
        }
        self.metric()  # checks the range

    def _take(self, kinds: DepthKinds) -> None:
        self._kinds = kinds
        self.depth_kind, self.teacher_depth_kind, self.loss = kinds.student, kinds.teacher, kinds.loss

    def without_labels(self) -> None:
        """Predict what the teacher predicts where nothing was chosen, see `DepthKinds.without_labels`."""
        super().without_labels()
        self._take(self._kinds.without_labels())

    @staticmethod
    def check_models(student: PreTrainedModel, teacher: PreTrainedModel | None) -> None:
        """Accept every model of this task, as a student and as a teacher."""

    @staticmethod
    def image_processor(size: tuple[int, int], config: PretrainedConfig) -> Any:
        """Make DPT's processor with ImageNet's colours; its post-processing fits every model of this task."""
        return depth_processor(size)

    @staticmethod
    def find_features(model: nn.Module, pixel_values: Tensor) -> FeatureCapture:
        """Capture the coarsest map of the decoder, see `find_decoder`, or what the last layer reads.

        The finest maps say little: by then the vectors differ in length, which is the depth, and hardly in
        direction, which is all that a cosine sees (docs/results.md).
        """
        name = find_decoder(model)
        if name is not None:
            return FeatureCapture.of_module(model, name)
        return FeatureCapture.before_regressor(model, pixel_values, get_map=read_depth)

    def teacher_inputs(self, batch: Batch) -> dict[str, Any]:
        """Return the images and, where there is one, the prompt."""
        return self.model_inputs(batch) | {name: batch[name] for name in ("prompt_depth",) if name in batch}

    def prediction(self, output: Any) -> Tensor:
        """Return the depth map (B, h, w), in metres for a model of kind "metric"."""
        return read_depth(output)

    def stored_output(self, student: Forward, teacher: Forward) -> dict[str, Tensor]:
        """Return the teacher's depth map (B, h, w), of its own kind, at the coarser of the two grids."""
        return {"predicted_depth": self._aligned_maps(student, teacher)[1]}

    def check_batch(self, batch: Batch) -> None:
        """Raise `ValueError` where the labels are missing or class ids."""
        if "labels" not in batch:
            raise ValueError(f"a batch needs `labels`, got {sorted(batch)}; name the depth column.")
        for labels in batch["labels"]:
            if not labels.is_floating_point():
                raise ValueError(
                    f"`labels` must be depth in metres as floating-point numbers, got {labels.dtype}; "
                    "multiply the stored integers by their `depth_scale`."
                )

    def task_loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the loss named `loss` at the labels' size, a mean over the images with a measured pixel."""
        prediction = self.prediction(output).float()
        parts = by_label_size(prediction, batch["labels"])
        # A loss is a mean over its images; here over those of the whole batch.
        counts = torch.stack([valid_depth(part).flatten(1).any(dim=1).sum() for _, part in parts])
        losses = torch.stack([supervised_loss(*part, self.loss, self.depth_kind) for part in parts])
        return (losses * counts).sum() / counts.sum().clamp(min=1)

    def output_loss(self, student: Forward, teacher: Forward, batch: Batch, *, temperature: float) -> Tensor:
        """Return how much the maps differ in one kind of depth; `temperature` has no meaning here.

        Unless both are metric, each map is normalised by itself: the teacher teaches no scale.
        """
        maps = self._shared_maps(student, teacher)
        mask = padding_mask(batch, (maps[0].shape[-2], maps[0].shape[-1]))
        return depth_distillation_loss(*maps, relative=self._kinds.leave_scale_open, mask=mask)

    def feature_pairs(self, student: Forward, teacher: Forward, batch: Batch) -> list[MapPair]:
        """Return one pair, the captured maps, or several where modules are named."""
        return captured_pairs(student, teacher, batch)

    def score_maps(self, student: Forward, teacher: Forward, batch: Batch) -> ScoreMaps:
        """Return both depth maps, centred by the mean and scaled by the spread of the teacher's.

        The same for both, so that the critic sees an error of scale. Only where a kind leaves the scale open
        is each map normalised by its own mean and spread. Both are 0 on padding.
        """
        student_map, teacher_map = self._shared_maps(student, teacher)
        size = critic_size(student_map, batch["pixel_values"])
        mask = padding_mask(batch, size)
        fake, real = (
            on_image(pooled(maps, size)[:, None], mask)[:, 0] for maps in (student_map, teacher_map)
        )
        fake, real = normalized(fake, real, mask, each_by_itself=self._kinds.leave_scale_open)
        return ScoreMaps(
            real=on_image(real[:, None], mask),
            fake=on_image(fake[:, None], mask),
            images=batch["pixel_values"],
        )

    def _shared_maps(self, student: Forward, teacher: Forward) -> tuple[Tensor, Tensor]:
        """Return both maps in one kind, see `in_one_kind`, at the coarser of the two grids."""
        return in_one_kind(*self._aligned_maps(student, teacher), self.depth_kind, self.teacher_depth_kind)

    def _aligned_maps(self, student: Forward, teacher: Forward) -> tuple[Tensor, Tensor]:
        return aligned_maps(self.prediction(student.output), self.prediction(teacher.output))

    def evaluation_statistics(self, output: Any, batch: Batch) -> Tensor:
        """Return each image's errors at its label's own size, see `depth_statistics`."""
        return depth_statistics(self.in_metres(output, batch), batch["labels"], **self._scoring)

    def has_labels(self, batch: Batch) -> bool:
        """Return whether the depth of a pixel is scored."""
        return any(bool(pixels.any()) for pixels in scored_pixels(batch["labels"], self._scoring))

    def image_predictions(self, output: Any, batch: Batch) -> list[Any]:
        """Return maps (H, W), metres for a metric student, at the labels' or, without, the images' size."""
        maps = at_image_sizes(self.prediction(output)[:, None], batch)
        return [depth[0].cpu().numpy() for depth in maps]

    def scoring(self) -> dict[str, Any]:
        """Return which pixels are scored, and how the prediction is aligned."""
        return dict(self._scoring)

    def as_student(self, teacher_output: Any, batch: Batch) -> Any:
        """Return the teacher's depth as the student would predict it; a relative one is aligned to labels."""
        depth = self.in_metres(teacher_output, batch, kind=self.teacher_depth_kind)
        if self.depth_kind == "inverse":
            depth = 1 / depth.clamp(min=NEAREST)
        return DepthEstimatorOutput(predicted_depth=depth)

    def answers(self, teacher_output: Any, batch: Batch) -> list[Tensor]:
        """Return the teacher's depth maps (H, W), see `as_if_measured`."""
        maps = at_image_sizes(self.prediction(teacher_output)[:, None], batch)
        return [as_if_measured(depth[0], self.teacher_depth_kind) for depth in maps]

    def in_metres(self, output: Any, batch: Batch, *, kind: DepthKind | None = None) -> Tensor:
        """Return a depth (B, h, w) in metres; what is not metric is aligned to the labels that are scored."""
        prediction, kind = self.prediction(output).float(), kind or self.depth_kind
        if kind == "metric":
            return prediction
        return fitted_to_labels(prediction, batch["labels"], kind, self._scoring)

    def note_in(self, student: PretrainedConfig) -> None:
        """Note what the student predicts, for whoever is taught by it."""
        note_kind(student, self.depth_kind)

    def settings(self) -> dict[str, Any]:
        """Return the loss and what the two models predict."""
        own, theirs = self.depth_kind, self.teacher_depth_kind
        return {"depth_loss": self.loss, "depth_kind": own, "teacher_depth_kind": theirs}

    def describe(self) -> dict[str, str]:
        """Say what the two models predict, and whether the teacher's kind is read off its configuration."""
        return {"depth": str(self._kinds)}

    def metric(self) -> DepthErrors:
        """Make the metric of AbsRel, SqRel, RMSE, RMSE of logarithms, log10, SILog and three accuracies."""
        return DepthErrors(**self._scoring)

    # ---- what a report shows ----

    headline: ClassVar[Headline] = Headline(
        "abs_rel",
        "AbsRel",
        higher_is_better=False,
        further=(("rmse", "RMSE in m (lower is better)"), ("delta1", "δ1 (higher is better)")),
    )

    def score_note(self, *, has_teacher: bool) -> str:
        """Return whose depth is not metric and is fitted to the ground truth: that flatters the score."""
        fitted = "every model" if self.depth_kind != "metric" else "the teacher"
        if fitted == "the teacher" and (not has_teacher or self.teacher_depth_kind == "metric"):
            return ""
        return f"Fitted to each image's ground truth by a scale and a shift before it is scored: {fitted}."

    def draw(self, exhibit: Exhibit, folder: Path) -> None:
        """Draw every model's depth in metres, and its errors, into `predictions.png`."""
        is_metric = exhibit.truth is None or self.teacher_depth_kind == "metric"
        unit = "metres" if is_metric else "the teacher's own units"
        rows = self.picture_rows(exhibit)
        plot_depth_maps(rows, folder / "predictions.png", truth=exhibit.truth, unit=unit)
