"""The terms of the total loss; a new term needs a new file here and a line in `BUILT_IN_TERMS`."""

from __future__ import annotations

from typing import Any

from .attention import AttentionTerm
from .base import Term, TrainingPlan
from .channel import ChannelTerm
from .collection import Terms
from .holistic import HolisticTerm
from .mimic import MimicTerm
from .pairwise import PairwiseTerm
from .pixel import PixelTerm
from .task import TaskTerm

BUILT_IN_TERMS: tuple[type[Term], ...] = (
    TaskTerm,
    PixelTerm,
    PairwiseTerm,
    HolisticTerm,
    MimicTerm,
    ChannelTerm,
    AttentionTerm,
)
"""The terms in the order of logs, tables and cards."""

__all__ = [
    "BUILT_IN_TERMS",
    "AttentionTerm",
    "ChannelTerm",
    "HolisticTerm",
    "MimicTerm",
    "PairwiseTerm",
    "PixelTerm",
    "TaskTerm",
    "Term",
    "Terms",
    "TrainingPlan",
    "built_in_terms",
]


def built_in_terms(source: Any) -> list[Term]:
    """Build every built-in term from training arguments; the terms read weights and settings from them.

    Args:
        source: `StructKDTrainingArguments`, or any object with the weights and settings as attributes.

    Raises:
        ValueError: If a weight or a setting is out of range.
    """
    return [term.bound_to(source) for term in BUILT_IN_TERMS]
