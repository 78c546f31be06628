"""Say which layers of a model do not come from its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils import logging

logger = logging.get_logger(__name__)


def say_what_was_not_loaded(
    model: PreTrainedModel, info: Mapping[str, Any], name: str | Path, architectures: Sequence[str]
) -> None:
    """Warn of what a configuration and its weights do not share, layer by layer.

    For other classes, or from the checkpoint of another task, a student has a new head, as it should.
    Elsewhere the same means that the configuration belongs to other weights.

    Args:
        model: The model that was loaded.
        info: The loading info of `from_pretrained`.
        name: Hub id or folder.
        architectures: The classes that the configuration names.
    """
    classes: int = model.config.num_labels
    mismatched = {key for key, *_ in info["mismatched_keys"]}
    anew, unused = missing_weights(info) | mismatched, set(info["unexpected_keys"])
    # Some heads have a class more, for "no object".
    head = {
        key
        for key, old, new in info["mismatched_keys"]
        if len(old) == len(new) and all(b in (a, classes, classes + 1) for a, b in zip(old, new, strict=True))
    }
    if type(model).__name__ not in architectures:
        start = f"{model.base_model_prefix}."
        head |= {key for key in anew if not key.startswith(start)}
        unused = {key for key in unused if key.startswith(start)}
    if head:
        logger.warning(
            "%s: the head starts from random values, as for other classes or another task: %s.",
            name,
            _layers(head),
        )
    said = [f"{_layers(anew - head)} start from random values"] if anew - head else []
    said += [f"the weights of {_layers(unused)} are not used"] if unused else []
    if said:
        logger.warning(
            "%s: the configuration and the weights do not fit each other: %s; this is right where a backbone "
            "alone has weights, otherwise check that config.json was saved with these weights.",
            name,
            ", and ".join(said),
        )


def missing_weights(info: Mapping[str, Any]) -> set[str]:
    """Return the tensors that a checkpoint lacks; BatchNorm's counts of batches, which nothing reads, may."""
    return {key for key in info["missing_keys"] if not key.endswith(".num_batches_tracked")}


def _layers(keys: Iterable[str]) -> str:
    """Return the layers that own these tensors, the first of them by name."""
    layers = sorted({key.rpartition(".")[0] for key in keys})
    return f"{', '.join(layers[:4])}{f' and {len(layers) - 4} more layers' if len(layers) > 4 else ''}"
