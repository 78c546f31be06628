"""Find the rows that the options name: of a dataset, of a folder, or of the embedded scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..scenes.scenes import load_scenes
from ._held_out import choose_rows
from .loading import choose_splits, load_dataset_splits, read_id2label
from .options import ClassOptions, DataOptions, DenseOptions, pair_of

SCENES = "scenes"
TRAIN_SCENES, VALIDATION_SCENES = 1000, 200


class Splits(NamedTuple):
    """The rows as loaded; `unlabeled` is None without such images, and a card says `validation_name`."""

    train: Any
    validation: Any
    unlabeled: Any
    validation_name: str


def load_splits(options: DataOptions, *, seed: int) -> Splits:
    """Load the rows that are used, stored or streamed, in the order in which they are kept.

    The seed draws the rows that `validation_fraction` holds out.
    """
    name = options.dataset_name
    _check_fraction(options)
    if name is None:
        return _render_scenes(options)
    loaded = load_dataset_splits(
        name,
        config_name=options.dataset_config_name,
        revision=options.dataset_revision,
        streaming=options.streaming,
        target_kind=options.target_kind,
    )
    train, validation, validation_name = choose_rows(loaded, options, seed=seed)
    return Splits(
        _first(train, options.max_train_samples),
        _first(validation, options.max_eval_samples),
        _load_unlabeled(options),
        validation_name,
    )


def _check_fraction(options: DataOptions) -> None:
    """Raise `ValueError` where `validation_fraction` has nothing to divide, or something else is scored."""
    if options.validation_fraction is None:
        return
    for problem, is_there in {
        "the embedded scenes, which render their own validation rows": options.dataset_name is None,
        "`streaming`, whose rows cannot be counted": options.streaming,
        f"`validation_split` {options.validation_split!r}": (
            options.validation_split != DataOptions.validation_split
        ),
    }.items():
        if is_there:
            raise ValueError(
                f"`validation_fraction` must stand alone, got it beside {problem}; leave one of them out."
            )


def _render_scenes(options: DataOptions) -> Splits:
    """Render scenes; the unlabelled ones are those after the training scenes."""
    count = options.max_train_samples or TRAIN_SCENES
    more = 0
    unlabeled = options.unlabeled_dataset_name if isinstance(options, DenseOptions) else None
    if unlabeled not in (None, SCENES):
        raise ValueError(
            "`unlabeled_dataset_name` needs `dataset_name`, the labelled images to train on and to score, "
            f"got {unlabeled!r} alone; without the latter only 'scenes' can join the embedded scenes."
        )
    if isinstance(options, DenseOptions) and unlabeled == SCENES:
        more = options.max_unlabeled_samples or TRAIN_SCENES
    height, width = pair_of("image_size", options.image_size)
    scenes = load_scenes(
        num_train=count + more,
        num_validation=options.max_eval_samples or VALIDATION_SCENES,
        height=height,
        width=width,
    )
    parts = [_first(scenes["train"], count), scenes["validation"]]
    if more:
        parts.append(scenes["train"].select(range(count, count + more)))
    if options.streaming:
        parts = [part.to_iterable_dataset() for part in parts]
    unlabeled = parts[2] if more else _load_unlabeled(options)
    return Splits(parts[0], parts[1], unlabeled, options.validation_split)


def _load_unlabeled(options: DataOptions) -> Any:
    if not isinstance(options, DenseOptions) or options.unlabeled_dataset_name is None:
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
    if count is None or (hasattr(rows, "__len__") and count >= len(rows)):
        return rows
    return rows.take(count)


def find_class_names(
    options: ClassOptions,
    rows: Any,
    column: str,
    *,
    scenes: Sequence[str],
    default: Mapping[int, str] | None,
    field: str | None = None,
    advice: str = "",
) -> dict[int, str]:
    """Return class id to name: of the scenes, of the training rows (see `read_id2label`), or the default.

    The column holds the labels; `field` is the field in it that holds the classes, if it has several. Raises
    `ValueError`, which ends in the advice, if nothing names the classes.
    """
    name = options.dataset_name
    if name is None:
        return dict(enumerate(scenes))
    path, revision = options.id2label_path, options.dataset_revision
    names: Mapping[int, str] | None = read_id2label(
        rows, column, label_field=field, name_or_path=name, id2label_path=path, revision=revision
    )
    if names is None:
        names = default
    if names is None:
        raise ValueError(f"nothing names the classes of {name!r}; pass `id2label_path`, a JSON file{advice}.")
    return dict(names)
