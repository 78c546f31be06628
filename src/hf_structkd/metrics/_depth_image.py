"""The depth scores of one image: the pixels that count, the alignment and the scores themselves."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..losses.depth_fits import align_scale_shift

DEPTH_SCORES: tuple[str, ...] = (
    "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog", "delta1", "delta2", "delta3",
)  # fmt: skip
"""Names of the scores, in the order of the columns of `depth_statistics` from column 1 on."""

# The crop keeps these rows and columns of a 480 x 640 frame of NYU Depth v2.
_EIGEN_SIZE, _EIGEN_ROWS, _EIGEN_COLUMNS = (480, 640), (45, 471), (41, 601)


def counted_pixels(truth: Tensor, min_depth: float, max_depth: float | None, crop: str | None) -> Tensor:
    """Return which pixels of one target (H, W) count, bool (H, W)."""
    counted = truth.isfinite() & (truth > min_depth)
    if max_depth is not None:
        counted &= truth < max_depth
    if crop == "eigen":
        (height, width), (frame_height, frame_width) = truth.shape, _EIGEN_SIZE
        top, bottom = (row * height // frame_height for row in _EIGEN_ROWS)
        left, right = (column * width // frame_width for column in _EIGEN_COLUMNS)
        inside = torch.zeros_like(counted)
        inside[top:bottom, left:right] = True
        counted &= inside
    return counted


def aligned(p: Tensor, t: Tensor, alignment: str) -> Tensor:
    """Return the counted predictions (n,), fitted to the counted truth (n,)."""
    if alignment == "median":
        median = _median(p)
        return p * torch.where(median > 0, _median(t) / median, 1)
    if alignment == "affine":
        scale, shift = align_scale_shift(p[None, None], t[None, None])
        return p * scale + shift
    return p


def _median(values: Tensor) -> Tensor:
    """Return the median of values (n,); for even n it is the mean of the two middle values."""
    # `torch.median` returns the lower of the two, and `torch.quantile` takes at most 2 ** 24 values.
    ordered = values.sort().values
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def image_scores(p: Tensor, t: Tensor) -> Tensor:
    """Return the scores (S,) of positive depths p and t, both (n,), in the order of `DEPTH_SCORES`."""
    error, log_error = p - t, p.log() - t.log()
    ratio = torch.maximum(p / t, t / p)
    scores = {
        "abs_rel": (error.abs() / t).mean(),
        "sq_rel": (error.square() / t).mean(),
        "rmse": error.square().mean().sqrt(),
        "rmse_log": log_error.square().mean().sqrt(),
        "log10": log_error.abs().mean() / math.log(10),
        # This equals mean(g^2) - mean(g)^2, but rounding cannot make it negative.
        "silog": (log_error - log_error.mean()).square().mean().sqrt() * 100,
        **{f"delta{k}": (ratio < 1.25**k).to(p.dtype).mean() for k in (1, 2, 3)},
    }
    return torch.stack([scores[name] for name in DEPTH_SCORES])
