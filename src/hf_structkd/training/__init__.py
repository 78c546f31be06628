"""The trainer, its arguments, and what it does around a step: evaluation, checkpoints, guards, tables."""

from __future__ import annotations

from .arguments import StructKDTrainingArguments
from .trainer import StructKDTrainer

__all__ = ["StructKDTrainer", "StructKDTrainingArguments"]
