"""Which rows are scored, and that nothing learns from them."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import numpy as np

from ._labels import learns_from_labels
from .loading import choose_splits, split_ranges
from .options import DataOptions

logger = logging.getLogger(__name__)

_VALIDATION = DataOptions.validation_split
_OTHER_NAMES = ("valid", "val", "dev")


def choose_rows(loaded: Any, options: DataOptions, *, seed: int) -> tuple[Any, Any, str]:
    """Return the rows to train on, those to score, and what the latter are called.

    Without labels nothing need be scored: the latter are then None where no split and no share names them.

    Args:
        loaded: The splits of the dataset by name.
        options: Name the splits, or the share that is held out.
        seed: Draws the rows that are held out.

    Raises:
        ValueError: If a split is missing, nothing says what to score, or rows would be learned and scored.
    """
    name = str(options.dataset_name)
    if options.validation_fraction is not None:
        return _hold_out(loaded, options, options.validation_fraction, seed=seed)
    (train_rows,) = choose_splits(loaded, name, train_split=options.train_split)
    validation = _validation_split(loaded, options, optional=not learns_from_labels(train_rows, options))
    if validation is None:
        return train_rows, None, ""
    (validation_rows,) = choose_splits(loaded, name, validation_split=validation)
    splits = {"train_split": options.train_split, "validation_split": validation}
    _refuse_shared_rows(loaded, name, **splits)
    _refuse_scored_unlabeled(loaded, options, validation_split=validation)
    if validation.split("[")[0] == "test":
        logger.warning(
            "`validation_split` is %r: a checkpoint or setting that is chosen by its scores is chosen on the "
            "test rows, whose scores then promise too much; hold training rows out with "
            "--validation_fraction 0.1, and score the test rows once, at the end.",
            validation,
        )
    return train_rows, validation_rows, validation


def _validation_split(loaded: Any, options: DataOptions, *, optional: bool) -> str | None:
    wanted = options.validation_split
    if wanted != _VALIDATION or wanted in loaded:
        return wanted
    for other in _OTHER_NAMES:
        if other in loaded:
            logger.warning("%r has no split 'validation': %r is scored.", options.dataset_name, other)
            return other
    if optional:
        return None
    raise ValueError(
        f"`validation_split` must be one of the splits of {options.dataset_name!r}, got {wanted!r}; it has: "
        f"{', '.join(loaded)}; hold training rows out with --validation_fraction 0.1, or name a split."
    )


def _hold_out(loaded: Any, options: DataOptions, fraction: float, *, seed: int) -> tuple[Any, Any, str]:
    (rows,) = choose_splits(loaded, str(options.dataset_name), train_split=options.train_split)
    count = len(rows)
    held = round(fraction * count)
    if not 0 < held < count:
        raise ValueError(
            f"`validation_fraction` must leave rows to train on and to score, got {fraction} of {count} rows;"
            " choose another share."
        )
    _refuse_scored_unlabeled(loaded, options, train_split=options.train_split)
    for unused in (_VALIDATION, *_OTHER_NAMES):
        if unused in loaded:
            logger.warning(
                "The split %r is not read: `validation_fraction` scores rows of %r.",
                unused,
                options.train_split,
            )
    order = np.random.default_rng(seed).permutation(count)
    train, validation = rows.select(sorted(order[held:])), rows.select(sorted(order[:held]))
    return train, validation, f"{100 * fraction:g}% of {options.train_split}"


def _refuse_scored_unlabeled(loaded: Any, options: DataOptions, **scored: str) -> None:
    """Raise `ValueError` if images without labels are among the rows that are scored."""
    if (
        options.unlabeled_dataset_name,
        options.unlabeled_config_name,
        options.unlabeled_revision,
    ) == (options.dataset_name, options.dataset_config_name, options.dataset_revision):
        splits = {"unlabeled_split": options.unlabeled_split, **scored}
        _refuse_shared_rows(loaded, str(options.dataset_name), **splits)


def _refuse_shared_rows(loaded: Any, name: str, **splits: str) -> None:
    """Raise `ValueError` if two different splits or slices share rows; warn if they are one."""
    (first, one), (second, other) = splits.items()
    if one == other and "validation_split" in splits:
        logger.warning("`%s` and `%s` are both %r: rows are scored that are learned.", first, second, one)
        return
    if "[" not in one + other and one != other:
        return
    ranges = [split_ranges(loaded, name, argument, split) for argument, split in splits.items()]
    shared = sum(
        max(0, min(a.stop, b.stop) - max(a.start, b.start))
        for (name_a, a), (name_b, b) in itertools.product(*ranges)
        if name_a == name_b
    )
    if shared:
        raise ValueError(
            f"`{first}` and `{second}` must not share rows where some are scored, got {one!r} and {other!r}, "
            f"which share {shared}; choose slices that end where the other begins."
        )
