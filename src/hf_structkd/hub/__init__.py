"""The Hugging Face Hub: sentences for what it refuses, and pushes that lose nothing."""

from .access import check_push, explained, open_repository
from .pushing import PushError

__all__ = ["PushError", "check_push", "explained", "open_repository"]
