"""The differentiable rendering of predicted boxes as class maps, which a critic of a detector sees.

This is ours, because the paper has no critic for detection.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ._common import autocast_off, check_number, check_tensor, full_precision
from .boxes import box_corners, check_query_boxes

# The number of values (B, q, K, h, w) at a time. They take 16 MiB in float32, of which there are a few; on a
# CPU they stay in its cache.
_CHUNK_ELEMENTS = 2**22
_CPU_CHUNK_ELEMENTS = 2**18


def render_detections(
    class_probabilities: Tensor, boxes: Tensor, size: tuple[int, int], *, sharpness: float = 4.0
) -> Tensor:
    r"""Return the probability, for each class and cell, that some query shows the class there.

    :math:`p_{qk}` are the class probabilities of the queries, (x, y) is the centre of a cell, the corners of
    a box are in cells, σ is the sigmoid and s the sharpness:

    .. math:: m_k(x, y) = 1 - \prod_q \big(1 - p_{qk} \, \iota_q(x, y)\big), \qquad
              \iota_q = \sigma(s (x - x_1)) \sigma(s (x_2 - x)) \sigma(s (y - y_1)) \sigma(s (y_2 - y))

    A box has soft edges, so that the map's gradient reaches the box. With s = 4 an edge rises from 12 % to
    88 % across one cell, and a box narrower than a cell is still visible. With a larger s the gradient would
    vanish, and with a smaller s small objects would blur.

    The product is over chunks of queries, and the backward pass computes each chunk again. This takes about
    100 MB for any number of queries. Without chunks, 300 queries, 91 classes and 32x32 cells would take
    several times 1.8 GB in a batch of 16. The computation is in float32 (float64 for float64 input), also
    under autocast. The gradient can be taken once.

    Args:
        class_probabilities: The probability of each class for each query, from 0 to 1, as
            :func:`foreground_probabilities` returns it.
        boxes: The boxes cx, cy, w, h, normalised to 0..1 of the map; parts outside of it are cut off.
        size: The rows and columns of the map.
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
    _check_size(size)
    check_number("sharpness", sharpness, above_zero=True)
    check_tensor("class_probabilities", class_probabilities, "(B, Q, K)")
    check_query_boxes("boxes", boxes, class_probabilities)
    with autocast_off(boxes):
        # Probabilities end one float step below 1, so that no factor 1 - p is 0.
        probabilities, boxes = full_precision(class_probabilities), full_precision(boxes)
        dtype = torch.promote_types(probabilities.dtype, boxes.dtype)
        probabilities, boxes = probabilities.to(dtype), boxes.to(dtype)
        probabilities = probabilities * (1 - torch.finfo(probabilities.dtype).eps)
        left, top, right, bottom = box_corners(boxes).unbind(-1)
        rows = _inside(top, bottom, size[0], sharpness)
        columns = _inside(left, right, size[1], sharpness)
        maps: Tensor = _Rendering.apply(probabilities, rows, columns)  # type: ignore[no-untyped-call]
        return maps


def _inside(start: Tensor, end: Tensor, cells: int, sharpness: float) -> Tensor:
    """Return how much each cell centre of one axis is inside the spans (B, Q): (B, Q, cells), from 0 to 1."""
    centres = torch.arange(cells, device=start.device, dtype=start.dtype) + 0.5
    start, end = start[..., None] * cells, end[..., None] * cells
    return torch.sigmoid(sharpness * (centres - start)) * torch.sigmoid(sharpness * (end - centres))


class _Rendering(torch.autograd.Function):
    """Turn probabilities (B, Q, K), rows (B, Q, h) and columns (B, Q, w) of the boxes into maps (B, K, h, w).

    The factors 1 - p * inside, (B, Q, K, h * w) of them, are made a chunk of queries at a time, and once more
    in the backward pass. There the product without one factor is the whole product over that factor, which is
    never 0.
    """

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        count, _, classes = probabilities.shape
        outside = probabilities.new_ones(count, classes, rows.shape[2] * columns.shape[2])
        for *_, factors in _chunks(probabilities, rows, columns):
            outside *= factors.prod(dim=1)
        ctx.save_for_backward(probabilities, rows, columns, outside)
        return (1 - outside).reshape(count, classes, rows.shape[2], columns.shape[2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        probabilities, rows, columns, outside = ctx.saved_tensors
        slope = (outer.flatten(2) * outside).unsqueeze(1)
        gradients = []
        for chances, own_rows, own_columns, inside, factors in _chunks(probabilities, rows, columns):
            slopes = torch.div(slope, factors, out=factors)  # of the maps with respect to p * inside
            of_inside = (chances.unsqueeze(2) @ slopes).reshape(*inside.shape)
            gradients.append(
                (
                    (slopes @ inside.flatten(2).unsqueeze(3)).squeeze(3),
                    (of_inside @ own_columns.unsqueeze(3)).squeeze(3),
                    (own_rows.unsqueeze(2) @ of_inside).squeeze(2),
                )
            )
        of_chances, of_rows, of_columns = (torch.cat(parts, dim=1) for parts in zip(*gradients, strict=True))
        return of_chances, of_rows, of_columns


def _chunks(probabilities: Tensor, rows: Tensor, columns: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the three parts of a chunk of queries, `inside` (B, q, h, w) and the factors (B, q, K, h * w).

    The factors of every chunk are in the same memory, because a CPU takes longer to get more than to fill it.
    """
    cells = rows.shape[2] * columns.shape[2]
    elements = _CHUNK_ELEMENTS if probabilities.device.type != "cpu" else _CPU_CHUNK_ELEMENTS
    length = max(1, elements // (probabilities[:, 0].numel() * cells))
    parts = (torch.split(values, length, dim=1) for values in (probabilities, rows, columns))
    memory = probabilities.new_empty(*probabilities[:, :length].shape, cells)
    for chances, own_rows, own_columns in zip(*parts, strict=True):
        inside = own_rows.unsqueeze(3) * own_columns.unsqueeze(2)
        factors = memory[:, : chances.shape[1]]
        torch.mul(chances.unsqueeze(3), inside.flatten(2).unsqueeze(2), out=factors).neg_().add_(1)
        yield chances, own_rows, own_columns, inside, factors


def _check_size(size: tuple[int, int]) -> None:
    if not isinstance(size, tuple | list) or [type(side) for side in size] != [int, int]:
        raise TypeError(
            f"`size` must be two ints, rows and columns, got {size!r}; pass for example (32, 32)."
        )
    if min(size) < 1:
        raise ValueError(f"`size` must be at least one cell each way, got {size}; pass for example (32, 32).")
