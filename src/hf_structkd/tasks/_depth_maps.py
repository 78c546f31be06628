"""Arithmetic on depth maps (B, h, w): sizes, affine maps, and relative depth in metres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from ..adversary.critic import SMALLEST_MAP
from ..data.load_depth import DepthKind
from ..losses.depth import DEPTH_LOSSES, valid_depth
from ..losses.depth_fits import affine_statistics, align_scale_shift
from ..matching.alignment import at_least, resize_map
from ..metrics import counted_pixels

METRIC_LABELS = {
    "abs_rel": "AbsRel",
    "sq_rel": "SqRel",
    "rmse": "RMSE",
    "rmse_log": "RMSE of logarithms",
    "log10": "log10 error",
    "silog": "SILog",
    "delta1": "δ1 (< 1.25)",
    "delta2": "δ2 (< 1.25²)",
    "delta3": "δ3 (< 1.25³)",
}

_CRITIC_STRIDE = 4

DEPTH_KINDS: tuple[str, ...] = get_args(DepthKind)

NEAREST = 1e-3
"""Metres. Where a depth must be inverted, nearer is as near."""


def read_depth(output: Any) -> Tensor:
    depth: Tensor = output.predicted_depth
    return depth


def scored_pixels(labels: Iterable[Tensor], scoring: Mapping[str, Any]) -> list[Tensor]:
    """Return which pixels of each label (H, W) are scored under these settings of `depth_statistics`."""
    limits = {name: scoring[name] for name in ("min_depth", "max_depth", "crop")}
    return [counted_pixels(one, **limits) for one in labels]


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return resize_map(maps.unsqueeze(1), size).squeeze(1)


def pooled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Average a map (B, h, w) over the cells of a coarser grid, or enlarge it bilinearly."""
    if maps.shape[-2] >= size[0] and maps.shape[-1] >= size[1]:
        return nn.functional.adaptive_avg_pool2d(maps.unsqueeze(1), size).squeeze(1)
    return resized(maps, size)


def affine(maps: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return maps * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)


def normalized(
    student: Tensor, teacher: Tensor, mask: Tensor | None, *, each_by_itself: bool
) -> tuple[Tensor, Tensor]:
    """Centre and scale both maps by the teacher's mean and spread, or each by its own."""
    theirs = affine_statistics(teacher, mask=mask)
    own = affine_statistics(student, mask=mask) if each_by_itself else theirs
    sides = ((student, own), (teacher, theirs))
    first, second = (affine(maps, 1 / spread, -mean / spread) for maps, (mean, spread) in sides)
    return first, second


def fitted_to_truth(prediction: Tensor, label: Tensor, kind: DepthKind) -> Tensor:
    """Return one relative or inverse map (h, w) in metres (1, h, w), fitted to its label (H, W)."""
    valid = valid_depth(label)[None]
    truth = torch.where(valid, label[None], 1.0)
    target = 1 / truth if kind == "inverse" else truth
    at_label_size = resized(prediction[None], (label.shape[-2], label.shape[-1]))
    aligned = affine(prediction[None], *align_scale_shift(at_label_size, target, mask=valid))
    if kind != "inverse":
        return aligned
    # Beyond the farthest that was measured, an inverse depth near or below 0 would be infinitely far.
    farthest = torch.where(valid, label[None], 0.0).amax().clamp(min=NEAREST)
    return 1 / aligned.clamp(max=1 / NEAREST).maximum(1 / (2 * farthest))


def check_kinds(loss: str, depth_kind: str, teacher_depth_kind: str) -> None:
    """Raise `ValueError` unless the loss and what the two models predict are known and go together."""
    for name, kind in (("depth_kind", depth_kind), ("teacher_depth_kind", teacher_depth_kind)):
        if kind not in DEPTH_KINDS:
            raise ValueError(f"`{name}` must be one of {', '.join(DEPTH_KINDS)}, got {kind!r}.")
    if loss not in DEPTH_LOSSES:
        raise ValueError(f"`loss` must be one of {', '.join(DEPTH_LOSSES)}, got {loss!r}.")
    if depth_kind != "metric" and loss != "ssi":
        raise ValueError(
            f"`loss` must be 'ssi' for a student of {depth_kind} depth, got {loss!r}: the others measure "
            "metres; choose 'ssi' or set `depth_kind` to 'metric'."
        )


def in_one_kind(
    student_map: Tensor, teacher_map: Tensor, depth_kind: DepthKind, teacher_depth_kind: DepthKind
) -> tuple[Tensor, Tensor]:
    """Return both maps in one kind of depth; of two kinds the metric map is inverted.

    Raises:
        ValueError: For a relative and an inverse map, neither of which can be turned into the other.
    """
    if {depth_kind, teacher_depth_kind} == {"relative", "inverse"}:
        raise ValueError(
            f"`teacher_depth_kind` {teacher_depth_kind} cannot be compared with a student of {depth_kind} "
            "depth, whose shift is unknown too; set `pixel_weight` and `holistic_weight` to 0, which leaves "
            "the pair-wise term, or train a metric student."
        )
    if (depth_kind == "inverse") != (teacher_depth_kind == "inverse"):
        # The inverse of a map whose shift is unknown means nothing.
        if teacher_depth_kind == "metric":
            teacher_map = 1 / teacher_map.clamp(min=NEAREST)
        else:
            student_map = 1 / student_map.clamp(min=NEAREST)
    return student_map, teacher_map


def kind_of(teacher: PretrainedConfig | None) -> DepthKind:
    """Return what a teacher predicts by its configuration, and "metric" where this says nothing.

    Depth Anything's `depth_estimation_type` is "metric", or "relative" for depth that is inverse.
    """
    return "inverse" if getattr(teacher, "depth_estimation_type", "metric") == "relative" else "metric"


def kind_source(teacher: PretrainedConfig) -> str:
    """Return where `kind_of` has its answer from, for people."""
    if hasattr(teacher, "depth_estimation_type"):
        return ", by its configuration"
    return ", assumed: its configuration does not say; name `teacher_depth_kind`"


def critic_size(maps: Tensor, images: Tensor) -> tuple[int, int]:
    """Return the size of the critic's maps: at most a quarter of the image's sides.

    That is the stride of most segmentation logits. Depth maps have the image's size, at which the critic
    would cost more than both models.
    """
    height, width = (
        min(side, -(-image // _CRITIC_STRIDE))
        for side, image in zip(maps.shape[-2:], images.shape[-2:], strict=True)
    )
    return at_least((height, width), SMALLEST_MAP)
