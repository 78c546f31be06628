"""Arithmetic on depth maps (B, h, w): sizes, affine maps, and relative depth in metres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.utils import is_torchvision_available

from ..adversary.critic import SMALLEST_MAP
from ..data.load_depth import DepthKind
from ..losses.depth import DEPTH_LOSSES, valid_depth
from ..losses.depth_fits import affine_statistics, align_scale_shift
from ..matching.alignment import align_to_coarser, at_least, resize_map
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

_FARTHEST = 10.0

NEAREST = 1e-3
"""Metres. Where a depth must be inverted, nearer is as near."""


def read_depth(output: Any) -> Tensor:
    depth: Tensor = output.predicted_depth
    return depth


def depth_processor(size: tuple[int, int]) -> Any:
    """Return DPT's image processor with ImageNet's colours."""
    name = "DPTImageProcessor" + ("" if is_torchvision_available() else "Pil")
    return getattr(transformers, name)(
        size={"height": size[0], "width": size[1]},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )


def aligned_maps(student_map: Tensor, teacher_map: Tensor) -> tuple[Tensor, Tensor]:
    """Return both maps (B, h, w) in float32 at the coarser of their grids."""
    pair = align_to_coarser(student_map.float().unsqueeze(1), teacher_map.float().unsqueeze(1))
    return pair[0].squeeze(1), pair[1].squeeze(1)


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


def supervised_loss(prediction: Tensor, labels: Tensor, loss: str, kind: DepthKind) -> Tensor:
    """Return a loss of `DEPTH_LOSSES` between predictions (B, h, w) of a kind and labels (B, H, W)."""
    valid = valid_depth(labels)
    target = torch.where(valid, labels, 1.0)
    if kind == "inverse":
        target = 1 / target
    prediction = resized(prediction, (labels.shape[-2], labels.shape[-1]))
    return DEPTH_LOSSES[loss](prediction, target, mask=valid)


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


def fitted_to_labels(
    maps: Tensor, labels: Sequence[Tensor], kind: DepthKind, scoring: Mapping[str, Any]
) -> Tensor:
    """Return relative or inverse maps (B, h, w) in metres, each fitted to what counts of its label."""
    counted = scored_pixels(labels, scoring)
    scored = [torch.where(*pair, 0.0) for pair in zip(counted, labels, strict=True)]
    return torch.cat([fitted_to_truth(*pair, kind) for pair in zip(maps, scored, strict=True)])


def as_if_measured(teacher_map: Tensor, kind: DepthKind) -> Tensor:
    """Return a teacher's map (H, W) as a depth that a student's can be fitted to and compared with.

    That is metres for a metric map. An inverse map is divided by its mean and inverted, up to ten times the
    depth of that; a relative one runs from 1 to 2. So no score depends on the teacher's own scale and shift.
    """
    if kind == "metric":
        return teacher_map
    if kind == "inverse":
        mean = teacher_map.clamp(min=0).mean().clamp(min=1e-12)
        return 1 / (teacher_map / mean).clamp(min=1 / _FARTHEST)
    near, far = teacher_map.aminmax()
    return 1 + (teacher_map - near) / (far - near).clamp(min=1e-12)
