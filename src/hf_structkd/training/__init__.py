"""The trainer, its arguments, and what it does around a step: evaluation, checkpoints, guards, tables."""
