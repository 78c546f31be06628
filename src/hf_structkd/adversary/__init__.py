"""The critic of the holistic term and what trains it beside a student."""

from __future__ import annotations

from .critic import Critic
from .owner import Adversary
from .score_maps import ScoreMaps

__all__ = ["Adversary", "Critic", "ScoreMaps"]
