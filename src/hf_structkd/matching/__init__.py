"""The matching of two models: their classes, their image normalisation and the grids of their maps."""

from __future__ import annotations

from .alignment import align_to_coarser, resize_ids, resize_map
from .label_spaces import LabelMatch, match_label_spaces
from .normalization import ImageNormalization, convert_normalization

__all__ = [
    "ImageNormalization",
    "LabelMatch",
    "align_to_coarser",
    "convert_normalization",
    "match_label_spaces",
    "resize_ids",
    "resize_map",
]
