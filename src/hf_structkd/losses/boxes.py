"""Boxes as tensors (..., 4): two ways to write them, and how far two of them overlap.

A box is (cx, cy, w, h), as DETR and its relatives predict it, or its corners (x1, y1, x2, y2), as areas need
it; in any unit. Everything here is differentiable, and finite for every finite box whatever its area.
"""

from __future__ import annotations

import torch
from torch import Tensor

# In squared units of the boxes: if normalised, 0.03 pixels on a side in an image of 1000.
_AREA_FLOOR = 1e-9


def box_corners(boxes: Tensor) -> Tensor:
    """Write boxes given by centre and size as their corners.

    Args:
        boxes: (..., 4) as cx, cy, w, h.

    Returns:
        (..., 4) as x1, y1, x2, y2, in the same unit.

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
    """Write boxes given by their corners as centre and size; the inverse of :func:`box_corners`.

    Args:
        corners: (..., 4) as x1, y1, x2, y2.

    Returns:
        (..., 4) as cx, cy, w, h, in the same unit.

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
    r"""Generalised intersection over union of boxes, element by element.

    With the intersection I, the union U and the smallest box H around both, as areas:

    .. math:: \mathrm{GIoU} = \frac{I}{U} - \frac{H - U}{H}

    It is 1 for equal boxes and falls towards -1 the further two are apart, so that its slope draws boxes
    together that do not overlap, where the IoU is flat. At equal boxes the gradient is 0.

    An area of up to 1e-9 counts as none, and a quotient over none is 0 and has no gradient: a box without
    area has IoU 0 with every box, and GIoU 0 with itself. Corners in the wrong order enclose no area.

    Args:
        first: Corners x1, y1, x2, y2.
        second: Corners, of a shape that broadcasts with `first`.

    Shape:
        first, second: (..., 4). Returns: (...).

    Returns:
        The values, from -1 to 1.

    Raises:
        ValueError: If a last axis does not hold 4 numbers.

    Example:
        >>> box, other = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([2.0, 0.0, 3.0, 1.0])
        >>> generalized_iou(box, box).item(), round(generalized_iou(box, other).item(), 4)  # U = 2, H = 3
        (1.0, -0.3333)

    References:
        Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, arXiv:1902.09630.
    """
    _check_boxes("first", first)
    _check_boxes("second", second)
    one, other = _sides(first), _sides(second)
    intersection, union = _intersection_and_union(one, other)
    hull = _area(
        torch.minimum(one[0], other[0]),
        torch.minimum(one[1], other[1]),
        torch.maximum(one[2], other[2]),
        torch.maximum(one[3], other[3]),
    )
    return _ratio(intersection, union) - _ratio(hull - union, hull)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of every box with every other box of the same image.

    Boxes without area have IoU 0, as in :func:`generalized_iou`.

    Args:
        first: Corners x1, y1, x2, y2.
        second: Corners of the boxes to compare with.

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
    """:func:`generalized_iou` of every box with every other box of the same image.

    Arguments, shapes and errors are those of :func:`pairwise_iou`; the values lie between -1 and 1.

    Example:
        >>> box, other = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]), torch.tensor([[[1.0, 0.0, 2.0, 1.0]]])
        >>> pairwise_generalized_iou(box, torch.cat([box, other], dim=1)).tolist()
        [[[1.0, 0.0]]]
    """
    _check_pairwise(first, second)
    return generalized_iou(first[:, :, None], second[:, None])


def _sides(corners: Tensor) -> Tensor:
    """Put the coordinates first, each in one piece: pairs of 300 x 300 boxes take half the time that way."""
    return corners.movedim(-1, 0).contiguous()


def _intersection_and_union(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    intersection = _area(
        torch.maximum(first[0], second[0]),
        torch.maximum(first[1], second[1]),
        torch.minimum(first[2], second[2]),
        torch.minimum(first[3], second[3]),
    )
    return intersection, _area(*first) + _area(*second) - intersection


def _area(left: Tensor, top: Tensor, right: Tensor, bottom: Tensor) -> Tensor:
    return (right - left).clamp(min=0) * (bottom - top).clamp(min=0)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    # The clamp alone would give a box without area a slope of 1 / floor, which drowns all others.
    some = (whole > _AREA_FLOOR).to(whole.dtype)
    return some * (part / whole.clamp(min=_AREA_FLOOR))


def _check_boxes(name: str, boxes: Tensor) -> None:
    if boxes.ndim == 0 or boxes.shape[-1] != 4:
        raise ValueError(
            f"`{name}` must hold 4 numbers per box in its last axis, got shape {tuple(boxes.shape)}; "
            "move the coordinates there."
        )


def _check_pairwise(first: Tensor, second: Tensor) -> None:
    _check_boxes("first", first)
    _check_boxes("second", second)
    if first.ndim != 3 or second.ndim != 3 or first.shape[0] != second.shape[0]:
        raise ValueError(
            "`first` and `second` must hold boxes (B, N, 4) and (B, M, 4) of the same images, got shapes "
            f"{tuple(first.shape)} and {tuple(second.shape)}; add a batch axis if it is missing."
        )
