"""Teachers that find what text describes; a new kind is a file here and its form in one of the two tuples."""

from __future__ import annotations

from .clipseg import CLIPSEG
from .grounding_dino import GROUNDING_DINO
from .omdet_turbo import OMDET_TURBO
from .owl import OWL

PROMPTED_DETECTORS = (GROUNDING_DINO, OWL, OMDET_TURBO)
PROMPTED_SEGMENTERS = (CLIPSEG,)

__all__ = ["PROMPTED_DETECTORS", "PROMPTED_SEGMENTERS"]
