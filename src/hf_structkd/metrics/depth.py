"""Depth scores as one row per image; the metric keeps only the sum of the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, get_args

import datasets
import torch
from torch import Tensor

from ..matching.alignment import resize_map
from ._depth_image import DEPTH_SCORES, aligned, counted_pixels, image_scores
from ._streaming import StreamingImageMetric, on_cpu

DepthAlignment = Literal["none", "median", "affine"]
DepthCrop = Literal["eigen"]


def depth_statistics(
    prediction: Tensor,
    target: Tensor | Sequence[Tensor],
    *,
    min_depth: float = 1e-3,
    max_depth: float | None = None,
    crop: DepthCrop | None = None,
    alignment: DepthAlignment = "none",
) -> Tensor:
    r"""Score each image at its target's own size, as rows that are summed over the dataset.

    Let p be the prediction, t the truth and :math:`g = \ln p - \ln t` at the n counted pixels of one image.
    All means are over these pixels:

    .. math::
        \mathrm{abs\_rel} &= \mathrm{mean}(|p - t| / t) \\
        \mathrm{sq\_rel} &= \mathrm{mean}((p - t)^2 / t) \\
        \mathrm{rmse} &= \sqrt{\mathrm{mean}((p - t)^2)} \\
        \mathrm{rmse\_log} &= \sqrt{\mathrm{mean}(g^2)} \\
        \mathrm{log10} &= \mathrm{mean}(|\log_{10} p - \log_{10} t|) \\
        \mathrm{silog} &= 100 \sqrt{\mathrm{mean}(g^2) - \mathrm{mean}(g)^2} \\
        \mathrm{delta}_k &= |\{\max(p / t, t / p) < 1.25^k\}| / n

    The score of a dataset is the sum of a column divided by the sum of column 0, which is the mean of the
    images' scores. BTS, AdaBins and Depth Anything evaluate in this way. If the pixels of all images were
    pooled first, images with more measured pixels would weigh more, and the numbers would differ. The factor
    100 of silog is that of the KITTI benchmark and of BTS.

    A pixel counts where the target is finite, above `min_depth`, below `max_depth` (both ends are excluded,
    as in BTS and AdaBins) and inside the crop. Other pixels have an influence only through interpolation,
    where the prediction has another size. The prediction is resized (bilinear, corners not aligned), then
    aligned, and then clamped to the range, so that its logarithm is defined. A NaN predicted at a counted
    pixel makes the image's errors NaN and counts as wrong in the deltas. Images are taken one at a time, in
    float64 where the device has it.

    Args:
        prediction: Depth in the target's unit, or up to what `alignment` recovers. It is not inverse depth.
        target: True depth, usually in metres, as one tensor or, where the sizes differ, as one map per
            image. Zero, negative, NaN and infinite values are holes.
        min_depth: The lower end of the range, above 0.
        max_depth: The upper end of the range, or None; 10 is common for NYU Depth v2 and 80 for KITTI.
        crop: "eigen" counts rows 45 to 470 and columns 41 to 600 of a 480 x 640 image, which leaves out the
            border of NYU Depth v2. For other sizes the four numbers are scaled and rounded down. None counts
            the whole image.
        alignment: How each prediction is fitted to the counted pixels of its target first. "none" leaves it
            as it is. "median" multiplies it by median(target) / median(prediction), unless its median is 0 or
            negative; for even n a median is the mean of the two middle values. "affine" applies the
            least-squares scale and shift.

    Shape:
        prediction (B, h, w); target (B, H, W) or B maps (H_i, W_i); result (B, 1 + S) on the prediction's
        device, with S = `len(DEPTH_SCORES)`.

    Returns:
        One row per image. Column 0 is 1, and the other columns are the `DEPTH_SCORES`. The row of an image
        without a counted pixel is 0.

    Raises:
        ValueError: If a shape is wrong, the number of targets is not B, or a setting is out of range.
        TypeError: If a map is not floating point.

    Example:
        >>> statistics = depth_statistics(torch.tensor([[[1.0, 4.0]]]), torch.tensor([[[2.0, 4.0]]]))
        >>> dict(zip(("images", *DEPTH_SCORES), statistics[0].tolist()))["abs_rel"]
        0.25

    References:
        Eigen et al., Depth Map Prediction from a Single Image using a Multi-Scale Deep Network, NeurIPS 2014,
        arXiv:1406.2283 (the scores, the crop).
        Ranftl et al., Towards Robust Monocular Depth Estimation, TPAMI 2022, arXiv:1907.01341 (affine).
    """
    _check_settings(min_depth, max_depth, crop, alignment)
    _check_maps(prediction, target)
    # MPS has no float64.
    dtype = torch.float32 if prediction.device.type == "mps" else torch.float64
    rows = prediction.new_zeros((prediction.shape[0], 1 + len(DEPTH_SCORES)), dtype=dtype)
    for row, one, truth in zip(rows, prediction.detach(), target, strict=True):
        counted = counted_pixels(truth, min_depth, max_depth, crop)
        if not bool(counted.any()):
            continue
        resized = resize_map(one[None, None], (truth.shape[0], truth.shape[1]))[0, 0]
        p = resized[counted.to(resized.device)].to(dtype)
        t = truth.detach()[counted].to(device=p.device, dtype=dtype)
        row[0] = 1
        row[1:] = image_scores(aligned(p, t, alignment).clamp(min_depth, max_depth), t)
    return rows


def _check_settings(min_depth: float, max_depth: float | None, crop: str | None, alignment: str) -> None:
    if not 0 < min_depth < math.inf:
        raise ValueError(
            f"`min_depth` must be finite and above 0, got {min_depth}; the logarithm of 0 is not: use 1e-3."
        )
    if max_depth is not None and not max_depth > min_depth:
        raise ValueError(
            f"`max_depth` must be above `min_depth`={min_depth}, got {max_depth}; no pixel would count: "
            "raise it, or pass None for no upper end."
        )
    if crop is not None and crop not in get_args(DepthCrop):
        raise ValueError(
            f"`crop` must be one of {get_args(DepthCrop)} or None, got {crop!r}; None counts the whole image."
        )
    if alignment not in get_args(DepthAlignment):
        raise ValueError(
            f"`alignment` must be one of {get_args(DepthAlignment)}, got {alignment!r}; "
            "use 'none' for metric depth."
        )


def _check_maps(prediction: Tensor, target: Tensor | Sequence[Tensor]) -> None:
    if prediction.dim() != 3:
        raise ValueError(
            f"`prediction` must have shape (B, h, w), got {tuple(prediction.shape)}; drop the channel axis, "
            "or add a batch axis if it is missing."
        )
    if len(target) != prediction.shape[0]:
        raise ValueError(
            f"`target` must hold one map per image, got {len(target)} maps for {prediction.shape[0]} images; "
            "pass the depth of the same batch."
        )
    for truth in target:
        if truth.dim() != 2:
            raise ValueError(
                f"`target` must hold maps of shape (H, W), got {tuple(truth.shape)}; drop the extra axes."
            )
        if not (truth.is_floating_point() and prediction.is_floating_point()):
            raise TypeError(
                f"Depth must be floating point, got {prediction.dtype} predictions and {truth.dtype} "
                "targets; divide stored integers by their units per metre."
            )


class DepthErrors(StreamingImageMetric):
    """The scores of `depth_statistics` as a streaming `evaluate.Metric`, averaged over images.

    The metric keeps one row of sums for any number of images, writes no file and downloads nothing.
    `compute` returns the `DEPTH_SCORES` as floats and empties the sums. Images without a counted pixel are
    left out; if there are only such images, every score is NaN. A prediction and its reference are maps
    (H, W) of floating-point depth; the prediction may have another size. `add_batch` applies the arguments,
    which `depth_statistics` explains; `add_statistics` does not.

    Args:
        min_depth: The lower end of the range of counted depth.
        max_depth: The upper end of the range of counted depth, or None.
        crop: "eigen", or None for the whole image.
        alignment: "none", "median" or "affine".

    Raises:
        ValueError: If the settings are out of range.

    Example:
        >>> metric = DepthErrors(max_depth=10.0)
        >>> metric.add_batch(predictions=[[[1.0, 4.0]]], references=[[[2.0, 4.0]]])
        >>> metric.compute()["rmse_log"] < 0.5
        True
    """

    _features = dict.fromkeys(
        ("predictions", "references"), datasets.List(datasets.List(datasets.Value("float32")))
    )
    _citation = (
        "D. Eigen, C. Puhrsch and R. Fergus, Depth Map Prediction from a Single Image using a Multi-Scale "
        "Deep Network, NeurIPS 2014."
    )

    def __init__(
        self,
        *,
        min_depth: float = 1e-3,
        max_depth: float | None = None,
        crop: DepthCrop | None = None,
        alignment: DepthAlignment = "none",
    ) -> None:
        """Start with empty sums; the class explains the arguments."""
        _check_settings(min_depth, max_depth, crop, alignment)
        self._statistics = partial(
            depth_statistics, min_depth=min_depth, max_depth=max_depth, crop=crop, alignment=alignment
        )
        super().__init__()

    def _reset(self) -> None:
        self._sums = torch.zeros(1 + len(DEPTH_SCORES), dtype=torch.float64)
        self._added = 0

    def add_statistics(self, statistics: Tensor) -> None:
        """Add the rows (B, 1 + S) of `depth_statistics`.

        Raises:
            ValueError: If the shape is another.
        """
        rows = on_cpu(statistics).to(torch.float64)
        if rows.dim() != 2 or rows.shape[1] != len(self._sums):
            raise ValueError(
                f"`statistics` must have shape (B, {len(self._sums)}), got {tuple(rows.shape)}; "
                "pass what `depth_statistics` returned."
            )
        self._sums += rows.sum(dim=0)
        self._added += len(rows)

    def _image_statistics(self, prediction: Any, reference: Any) -> Tensor:
        return self._statistics(on_cpu(prediction)[None], [on_cpu(reference)])[0]

    def _scores(self) -> dict[str, float]:
        return dict(zip(DEPTH_SCORES, (self._sums[1:] / self._sums[0]).tolist(), strict=True))
