"""The critic of the holistic term, and the training of the critic beside a student."""

from __future__ import annotations

from .critic import Critic
from .owner import Adversary
from .score_maps import ScoreMaps

__all__ = ["Adversary", "Critic", "ScoreMaps"]
