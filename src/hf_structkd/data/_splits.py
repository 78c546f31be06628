"""Find the rows that the options name: of a dataset, of a folder, or of the embedded scenes."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..scenes.scenes import load_scenes
from ._held_out import choose_rows
from ._labels import can_be_scored, learns_from_labels
from .loading import choose_splits, load_dataset_splits
from .options import DataOptions, pair_of

SCENES = "scenes"
TRAIN_SCENES, VALIDATION_SCENES = 1000, 200


class Splits(NamedTuple):
    """The rows as loaded.

    Attributes:
        train: The training rows.
        validation: The rows that are scored, or None.
        unlabeled: The images that join without labels, or None.
        validation_name: What a card calls the rows that are scored.
        labeled: Whether the labels of `train` are read.
        scored: Whether those of `validation` are.
    """

    train: Any
    validation: Any
    unlabeled: Any
    validation_name: str
    labeled: bool = True
    scored: bool = True

    @property
    def named_rows(self) -> Any:
        """The first rows whose labels are read, which may name the classes; None if none are."""
        return self.train if self.labeled else self.validation if self.scored else None


def load_splits(options: DataOptions, *, seed: int) -> Splits:
    """Load the rows that are used, stored or streamed, in the order in which they are kept.

    The seed draws the rows that `validation_fraction` holds out.
    """
    name = options.dataset_name
    _check_fraction(options)
    _check_joining(options, labeled=not options.without_labels)
    if name is None:
        return _render_scenes(options)
    loaded = load_dataset_splits(
        name,
        config_name=options.dataset_config_name,
        revision=options.dataset_revision,
        streaming=options.streaming,
        target_kind=options.target_kind,
        without_labels=options.without_labels,
    )
    train, validation, validation_name = choose_rows(loaded, options, seed=seed)
    labeled = learns_from_labels(train, options)
    _check_joining(options, labeled=labeled)
    return Splits(
        _first(train, options.max_train_samples),
        _first(validation, options.max_eval_samples),
        _load_unlabeled(options),
        validation_name,
        labeled,
        labeled or can_be_scored(validation, options),
    )


def _check_joining(options: DataOptions, *, labeled: bool) -> None:
    """Raise `ValueError` where images without labels would join others without labels."""
    if not labeled and options.unlabeled_dataset_name is not None:
        raise ValueError(
            f"`unlabeled_dataset_name` joins images to labelled ones, got {options.unlabeled_dataset_name!r} "
            "where no label is read; put all images into one dataset."
        )


def _check_fraction(options: DataOptions) -> None:
    """Raise `ValueError` where `validation_fraction` has nothing to divide, or something else is scored."""
    if options.validation_fraction is None:
        return
    named = options.validation_split != DataOptions.validation_split
    for problem, is_there in {
        "the embedded scenes, which render their own validation rows": options.dataset_name is None,
        "`streaming`, whose rows cannot be counted": options.streaming,
        f"`validation_split` {options.validation_split!r}": named,
    }.items():
        if is_there:
            raise ValueError(
                f"`validation_fraction` must stand alone, got it beside {problem}; leave one of them out."
            )


def _render_scenes(options: DataOptions) -> Splits:
    """Render scenes, whole splits or slices; the unlabelled ones are those after the training scenes."""
    count, more = options.max_train_samples or TRAIN_SCENES, 0
    if (unlabeled := options.unlabeled_dataset_name) is not None:
        if unlabeled != SCENES:
            raise ValueError(
                "`unlabeled_dataset_name` needs `dataset_name`, the labelled images to train on and to "
                f"score, got {unlabeled!r} alone; without the latter only 'scenes' can join the embedded "
                "scenes."
            )
        more = options.max_unlabeled_samples or TRAIN_SCENES
    height, width = pair_of("image_size", options.image_size)
    scenes = load_scenes(
        num_train=count + more,
        num_validation=options.max_eval_samples or VALIDATION_SCENES,
        height=height,
        width=width,
    )
    further = scenes["train"].select(range(count, count + more)) if more else None
    rendered = {"train": _first(scenes["train"], count), "validation": scenes["validation"]}
    splits = {"train_split": options.train_split, "validation_split": options.validation_split}
    train, validation, unlabeled = (
        part.to_iterable_dataset() if options.streaming and part else part
        for part in (*choose_splits(rendered, SCENES, **splits), further)
    )
    return Splits(train, validation, unlabeled, options.validation_split, not options.without_labels)


def _load_unlabeled(options: DataOptions) -> Any:
    if options.unlabeled_dataset_name is None:
        return None
    name = options.unlabeled_dataset_name
    loaded = load_dataset_splits(
        name,
        argument="unlabeled_dataset_name",
        config_name=options.unlabeled_config_name,
        revision=options.unlabeled_revision,
        streaming=options.streaming,
    )
    (rows,) = choose_splits(loaded, name, unlabeled_split=options.unlabeled_split)
    return _first(rows, options.max_unlabeled_samples)


def _first(rows: Any, count: int | None) -> Any:
    if rows is None or count is None or (hasattr(rows, "__len__") and count >= len(rows)):
        return rows
    return rows.take(count)
