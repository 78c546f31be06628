"""The label that a segmentation model is told to skip."""

from __future__ import annotations

from transformers import PretrainedConfig

# The loss of a model reads one of them, depending on its architecture.
_IGNORE_INDEX_FIELDS = ("semantic_loss_ignore_index", "loss_ignore_index")


def ignore_index_of(config: PretrainedConfig) -> int:
    """Return the label that a configuration tells its model to skip, 255 if it has none."""
    return next((int(getattr(config, one)) for one in _IGNORE_INDEX_FIELDS if hasattr(config, one)), 255)


def set_ignore_index(config: PretrainedConfig, ignore_index: int) -> None:
    """Tell a model through its configuration which label to skip."""
    fields = [field for field in _IGNORE_INDEX_FIELDS if hasattr(config, field)]
    for field in fields or _IGNORE_INDEX_FIELDS[:1]:
        setattr(config, field, ignore_index)
