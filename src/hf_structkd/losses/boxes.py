"""Boxes as tensors (..., 4): two ways to write them, and how much two boxes overlap.

A box is written as (cx, cy, w, h), as DETR and its relatives predict it, or as its corners (x1, y1, x2, y2),
in any unit. All functions are differentiable, and finite for every finite box, whatever its area is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._common import check_tensor

# The unit is that of the boxes, squared. For normalised boxes in an image of 1000 pixels, it is a square with
# a side of 0.03 pixels.
_AREA_FLOOR = 1e-9


def box_corners(boxes: Tensor) -> Tensor:
    """Turn boxes (..., 4) of cx, cy, w, h into corners x1, y1, x2, y2, in the same unit.

    Raises:
        ValueError: If the last axis does not hold 4 numbers.

    Example:
        >>> box_corners(torch.tensor([0.5, 0.5, 0.5, 1.0])).tolist()
        [0.25, 0.0, 0.75, 1.0]
    """
    _check_boxes("boxes", boxes)
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def boxes_from_corners(corners: Tensor) -> Tensor:
    """Turn corners (..., 4) into boxes of cx, cy, w, h; this is the inverse of :func:`box_corners`.

    Raises:
        ValueError: If the last axis does not hold 4 numbers.

    Example:
        >>> boxes_from_corners(torch.tensor([0.25, 0.0, 0.75, 1.0])).tolist()
        [0.5, 0.5, 0.5, 1.0]
    """
    _check_boxes("corners", corners)
    first, second = corners[..., :2], corners[..., 2:]
    return torch.cat([(first + second) / 2, second - first], dim=-1)


def generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    r"""Return the generalised intersection over union of boxes, element by element.

    I, U and H are the areas of the intersection, of the union and of the smallest box around both:

    .. math:: \mathrm{GIoU} = \frac{I}{U} - \frac{H - U}{H}

    The value is 1 for equal boxes, where the gradient is 0. It falls towards -1 with the distance of two
    boxes, so that it has a slope also for boxes that do not overlap, where the IoU is constant.

    An area of up to 1e-9 counts as no area. A quotient whose divisor is no area is 0 and has no gradient, so
    that a box without area has IoU 0 with every box, and GIoU 0 with itself. Corners in the wrong order
    enclose no area.

    Args:
        first: The corners x1, y1, x2, y2.
        second: Corners in a shape that broadcasts with `first`.

    Shape:
        first, second: (..., 4). Returns: (...).

    Returns:
        The values, from -1 to 1.

    Raises:
        TypeError: If boxes are truth values.
        ValueError: If a last axis does not hold 4 numbers, or the shapes do not broadcast.

    Example:
        >>> box, other = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([2.0, 0.0, 3.0, 1.0])
        >>> generalized_iou(box, box).item(), round(generalized_iou(box, other).item(), 4)  # U = 2, H = 3
        (1.0, -0.3333)

    References:
        Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, arXiv:1902.09630.
    """
    _check_boxes("first", first)
    _check_boxes("second", second)
    if any(a != b and 1 not in (a, b) for a, b in zip(first.shape[::-1], second.shape[::-1], strict=False)):
        raise ValueError(
            f"`first` and `second` must have shapes that broadcast, got {tuple(first.shape)} and "
            f"{tuple(second.shape)}; pass matched boxes, or all pairs to `pairwise_generalized_iou`."
        )
    # The coordinates come first below, so that missing axes have to be there before.
    axes = max(first.ndim, second.ndim)
    one, other = (
        _sides(boxes.reshape((1,) * (axes - boxes.ndim) + boxes.shape)) for boxes in (first, second)
    )
    intersection, union = _intersection_and_union(one, other)
    hull = _area(*torch.minimum(one[:2], other[:2]), *torch.maximum(one[2:], other[2:]))
    return _ratio(intersection, union) - _ratio(hull - union, hull)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union of every box with every other box of the same image.

    Boxes without area have IoU 0, as in :func:`generalized_iou`.

    Args:
        first: The corners x1, y1, x2, y2.
        second: The corners of the boxes to compare with.

    Shape:
        first: (B, N, 4). second: (B, M, 4). Returns: (B, N, M).

    Returns:
        The values, from 0 to 1.

    Raises:
        ValueError: If the boxes do not have these axes or come from different numbers of images.

    Example:
        >>> box = torch.tensor([[[0.0, 0.0, 2.0, 1.0]]])
        >>> pairwise_iou(box, torch.tensor([[[1.0, 0.0, 2.0, 1.0], [3.0, 0.0, 4.0, 1.0]]])).tolist()
        [[[0.5, 0.0]]]
    """
    _check_pairwise(first, second)
    return _ratio(*_intersection_and_union(_sides(first[:, :, None]), _sides(second[:, None])))


def pairwise_generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return :func:`generalized_iou` of every box with every other box of the same image.

    Arguments, shapes and errors are those of :func:`pairwise_iou`; the values lie between -1 and 1.

    Example:
        >>> box, other = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]), torch.tensor([[[1.0, 0.0, 2.0, 1.0]]])
        >>> pairwise_generalized_iou(box, torch.cat([box, other], dim=1)).tolist()
        [[[1.0, 0.0]]]
    """
    _check_pairwise(first, second)
    return generalized_iou(first[:, :, None], second[:, None])


def _sides(corners: Tensor) -> Tensor:
    """Put the coordinates first and each into one block of memory, which halves the time for 300 x 300."""
    return corners.movedim(-1, 0).contiguous()


def _intersection_and_union(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    intersection = _area(*torch.maximum(first[:2], second[:2]), *torch.minimum(first[2:], second[2:]))
    return intersection, _area(*first) + _area(*second) - intersection


def _area(left: Tensor, top: Tensor, right: Tensor, bottom: Tensor) -> Tensor:
    return (right - left).clamp(min=0) * (bottom - top).clamp(min=0)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    # With the clamp alone, a box without area would get a slope of 1 / floor, far above all others.
    some = (whole > _AREA_FLOOR).to(whole.dtype)
    return some * (part / whole.clamp(min=_AREA_FLOOR))


def check_query_boxes(name: str, boxes: Tensor, scores: Tensor) -> None:
    """Reject boxes that are not one floating-point (cx, cy, w, h) for each query of the scores (B, Q, K)."""
    check_tensor(name, boxes, "(B, Q, 4)")
    if boxes.shape != (*scores.shape[:2], 4):
        raise ValueError(
            f"`{name}` must have shape (B, Q, 4) = {(*scores.shape[:2], 4)} to go with the class scores, got "
            f"{tuple(boxes.shape)}; pass the boxes of the same queries."
        )


def _check_boxes(name: str, boxes: Tensor) -> None:
    if boxes.ndim == 0 or boxes.shape[-1] != 4:
        raise ValueError(
            f"`{name}` must hold 4 numbers per box in its last axis, got shape {tuple(boxes.shape)}; "
            "move the coordinates there."
        )
    if boxes.dtype == torch.bool:
        raise TypeError(f"`{name}` must hold coordinates, got torch.bool; pass the boxes and not a mask.")


def _check_pairwise(first: Tensor, second: Tensor) -> None:
    _check_boxes("first", first)
    _check_boxes("second", second)
    if first.ndim != 3 or second.ndim != 3 or first.shape[0] != second.shape[0]:
        raise ValueError(
            "`first` and `second` must hold boxes (B, N, 4) and (B, M, 4) of the same images, got shapes "
            f"{tuple(first.shape)} and {tuple(second.shape)}; add a batch axis if it is missing."
        )
