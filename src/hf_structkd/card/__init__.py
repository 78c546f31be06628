"""The model card of a student."""

from __future__ import annotations

from .card import write_card
from .run import RunNotes

__all__ = ["RunNotes", "write_card"]
