"""The label that a segmentation model is told to skip."""

from __future__ import annotations

from transformers import PretrainedConfig

# A model's own loss reads one of them, whichever its architecture has.
_IGNORE_INDEX_FIELDS = ("semantic_loss_ignore_index", "loss_ignore_index")


def ignore_index_of(config: PretrainedConfig) -> int:
    """The label that a configuration tells its model to skip, 255 where it says nothing."""
    for field in _IGNORE_INDEX_FIELDS:
        if hasattr(config, field):
            return int(getattr(config, field))
    return 255


def set_ignore_index(config: PretrainedConfig, ignore_index: int) -> None:
    """Tell a model through its configuration which label to skip."""
    fields = [field for field in _IGNORE_INDEX_FIELDS if hasattr(config, field)]
    for field in fields or _IGNORE_INDEX_FIELDS[:1]:
        setattr(config, field, ignore_index)
