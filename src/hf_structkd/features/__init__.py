"""Finding and capturing feature maps in the forward pass of a model."""

from __future__ import annotations

from .classifier import find_classifier
from .feature_capture import FeatureCapture
from .levels import LevelsCapture
from .probe import has_adapters, unwrap
from .pyramid import PyramidCapture
from .regressor import find_decoder, find_regressor
from .tokens import tokens_to_map

__all__ = [
    "FeatureCapture",
    "LevelsCapture",
    "PyramidCapture",
    "find_classifier",
    "find_decoder",
    "find_regressor",
    "has_adapters",
    "tokens_to_map",
    "unwrap",
]
