"""A set of predicted boxes as class maps, differentiable: what the critic sees of a detector.

Ours: the paper has no critic for detection.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ._common import autocast_off, full_precision
from .boxes import box_corners

# Values (B, q, K, h, w) at a time: 16 MiB in float32, of which the backward pass holds about five.
_CHUNK_ELEMENTS = 2**22


def render_detections(
    class_probabilities: Tensor, boxes: Tensor, size: tuple[int, int], *, sharpness: float = 4.0
) -> Tensor:
    r"""Probability, for each class and cell, that some query shows the class there.

    With the class probabilities :math:`p_{qk}` of the queries, a cell's centre (x, y) and a box's corners in
    cells, σ the sigmoid and s the sharpness:

    .. math:: m_k(x, y) = 1 - \prod_q \big(1 - p_{qk} \, \iota_q(x, y)\big), \qquad
              \iota_q = \sigma(s (x - x_1)) \sigma(s (x_2 - x)) \sigma(s (y - y_1)) \sigma(s (y_2 - y))

    A box edge is soft over 1 / s of a cell, so that the map's gradient reaches the box: with s = 4 it rises
    from 12 % to 88 % across the one cell around the edge, and boxes narrower than a cell still leave a trace.
    A hard edge (large s) would pass no gradient on, a softer one would blur small objects away.

    The product is a sum of logarithms over chunks of queries, each of which the backward pass computes again.
    That takes some 100 MB whatever the number of queries; kept whole, 300 queries, 91 classes and 32x32 cells
    are 1.8 GB in a batch of 16, several times over. Computed in float32 (float64 for float64 input), also
    under autocast.

    Args:
        class_probabilities: Probability of each class for each query, from 0 to 1, as
            :func:`foreground_probabilities` gives it.
        boxes: Boxes cx, cy, w, h, normalised to 0..1 of the map; what lies outside is cut off.
        size: Rows and columns of the map.
        sharpness: s in the equation, per cell; finite and above 0.

    Shape:
        class_probabilities: (B, Q, K). boxes: (B, Q, 4). Returns: (B, K, h, w).

    Returns:
        The maps, from 0 to 1.

    Raises:
        TypeError: If a tensor is not floating point, or a setting has the wrong type.
        ValueError: If shapes do not fit or a setting is out of range.

    Example:
        >>> left_half = torch.tensor([[[0.25, 0.5, 0.5, 1.0]]])
        >>> render_detections(torch.ones(1, 1, 1), left_half, (1, 2), sharpness=50.0).round().tolist()
        [[[[1.0, 0.0]]]]
    """
    _check_settings(size, sharpness)
    _check_detections(class_probabilities, boxes)
    with autocast_off(boxes):
        # A float step below 1, so that the logarithm of what a sure box leaves, and its slope, stay finite.
        probabilities = full_precision(class_probabilities)
        probabilities = probabilities * (1 - torch.finfo(probabilities.dtype).eps)
        left, top, right, bottom = box_corners(full_precision(boxes)).unbind(-1)
        rows = _inside(top, bottom, size[0], sharpness)
        columns = _inside(left, right, size[1], sharpness)
        cells = size[0] * size[1]
        length = max(1, _CHUNK_ELEMENTS // (probabilities[:, 0].numel() * cells))
        log_outside = probabilities.new_zeros(probabilities.shape[0], probabilities.shape[2], cells)
        parts = (torch.split(values, length, dim=1) for values in (probabilities, rows, columns))
        for chunk in zip(*parts, strict=True):
            log_outside = log_outside + checkpoint(
                _log_outside, *chunk, use_reentrant=False, preserve_rng_state=False
            )
        return -torch.expm1(log_outside).reshape(*log_outside.shape[:2], *size)


def _inside(start: Tensor, end: Tensor, cells: int, sharpness: float) -> Tensor:
    """How far each cell centre of one axis lies inside the spans (B, Q): (B, Q, cells), from 0 to 1."""
    centres = torch.arange(cells, device=start.device, dtype=start.dtype) + 0.5
    start, end = start[..., None] * cells, end[..., None] * cells
    return torch.sigmoid(sharpness * (centres - start)) * torch.sigmoid(sharpness * (end - centres))


def _log_outside(probabilities: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Log probability (B, K, h * w) that none of the queries shows the class at the cell."""
    inside = (rows[..., :, None] * columns[..., None, :]).flatten(2)
    return torch.log1p(-probabilities[..., None] * inside[:, :, None]).sum(dim=1)


def _check_settings(size: tuple[int, int], sharpness: float) -> None:
    if not isinstance(size, tuple | list) or [type(side) for side in size] != [int, int]:
        raise TypeError(
            f"`size` must be two ints, rows and columns, got {size!r}; pass for example (32, 32)."
        )
    if min(size) < 1:
        raise ValueError(f"`size` must be at least one cell each way, got {size}; pass for example (32, 32).")
    if isinstance(sharpness, bool) or not isinstance(sharpness, int | float):
        raise TypeError(f"`sharpness` must be a number, got {type(sharpness).__name__}; use 4.0.")
    if not math.isfinite(sharpness) or sharpness <= 0:
        raise ValueError(f"`sharpness` must be finite and above 0, got {sharpness}; use 4.0.")


def _check_detections(class_probabilities: Tensor, boxes: Tensor) -> None:
    for name, value in (("class_probabilities", class_probabilities), ("boxes", boxes)):
        if value.ndim != 3 or value.numel() == 0:
            raise ValueError(
                f"`{name}` must be non-empty with axes (B, Q, values), got shape {tuple(value.shape)}; "
                "add a batch axis if it is missing."
            )
        if not value.is_floating_point():
            raise TypeError(f"`{name}` must be floating point, got {value.dtype}; pass model outputs.")
    expected = (*class_probabilities.shape[:2], 4)
    if boxes.shape != expected:
        raise ValueError(
            f"`boxes` must have shape (B, Q, 4) = {expected} to go with `class_probabilities`, got "
            f"{tuple(boxes.shape)}; pass the boxes of the same queries."
        )
