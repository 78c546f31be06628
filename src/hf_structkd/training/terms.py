"""The names of the loss terms."""

from __future__ import annotations

TERMS = ("task", "pixel", "pairwise", "holistic")
"""The terms of the total, in the order in which tables and logs name them."""
