"""Bring what two models say to common terms: their classes, their image normalisation, their grids."""

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
