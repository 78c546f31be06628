"""The Hugging Face Hub: what it refuses, in one sentence each, and pushes that lose nothing."""

from __future__ import annotations

from .access import check_push, explained, open_repository
from .pushing import PushError

__all__ = ["PushError", "check_push", "explained", "open_repository"]
