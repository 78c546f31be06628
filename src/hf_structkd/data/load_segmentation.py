"""Segmentation data: their options, and how these become the datasets that a trainer takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from ..scenes.scenes import CLASS_NAMES
from ._assembly import LoadedData, assemble
from ._rows import Normalization
from ._splits import Splits, load_splits
from .dense import DenseReader
from .label_check import NO_LABELS, SeenLabels, check_masks, describe_values, look_at_masks
from .label_names import find_class_names, reduced_names
from .label_values import LabelValues
from .loading import check_target_column
from .options import ClassOptions, option, options_for
from .targets import ClassMap


@dataclass(frozen=True, kw_only=True)
class SegmentationOptions(ClassOptions):
    """Options of semantic segmentation: of its data, and of its task."""

    target_kind: ClassVar[str | None] = "label"

    label_column: str = option(
        "label", "Column of the class ids, as gray or palette images or arrays, or of colours (label_values)."
    )
    ignore_index: int = option(
        255, "Label whose pixels do not count; if it is a class id, that class is not trained and not scored."
    )
    reduce_labels: bool = option(
        False, "Turn label 0 into ignore_index and lower the others by one; the class names leave 0 out."
    )
    label_values: list[str] = option(
        [],
        "Values that the masks store, gray (0 255) or colours (#000000 #ff0000), in the order of the class "
        "ids, before reduce_labels; another value is an error unless it is ignore_index.",
    )
    allow_lossy_masks: bool = option(
        False,
        "Take masks whose values a lossy format (JPEG) has changed: each becomes the nearest of "
        "label_values, and is ignored where none is clearly the nearest.",
    )


def load_segmentation_data(
    dataset_name: str | None = None,
    *,
    normalization: Normalization,
    default_id2label: Mapping[int, str] | None = None,
    seed: int = 42,
    options: SegmentationOptions | None = None,
    **fields: Any,
) -> LoadedData:
    """Load, check and wrap a segmentation dataset, with unlabelled images if wanted.

    Args:
        dataset_name: Hub id or folder; None takes that of `options`, or renders the embedded scenes.
        normalization: Turns colours into the student's inputs.
        default_id2label: The teacher's class names, which `labels_are_teacher_ids` takes for missing ones.
        seed: Seed of the augmentation, of a stream's order and of the rows that are held out.
        options: Options to start from; None is the defaults, with the `image_size` of the scenes, 96 x 128.
        **fields: Fields of `SegmentationOptions`, which documents them; they win over `options`.

    Returns:
        The data; `id2label` names the classes.

    Raises:
        TypeError: If a name among `fields` is no field.
        ValueError: If a split or column is missing, nothing names the classes, a setting is out of range, or
            the masks do not hold what the options say, see `check_masks`.
    """
    chosen = options_for("load_segmentation_data", SegmentationOptions, options, dataset_name, fields)
    splits = load_splits(chosen, seed=seed)
    values = LabelValues.parse(chosen.label_values)
    has_any = splits.labeled or splits.scored
    seen = _look(chosen, splits, values) if has_any and chosen.dataset_name is not None else None
    id2label = _class_names(chosen, splits.named_rows, values, seen, default_id2label or {})
    target = ClassMap(
        num_labels=len(id2label),
        column=chosen.label_column,
        ignore_index=chosen.ignore_index,
        reduce_labels=chosen.reduce_labels,
        label_values=values,
        allow_lossy_masks=chosen.allow_lossy_masks,
    )
    if seen is not None:
        check_masks(*seen, target, id2label)
    make_reader = partial(DenseReader, target=target, normalization=normalization)
    data = assemble(chosen, splits, make_reader, seed=seed, nothing=target.nothing)
    return data.named(id2label, chosen.ignore_index)


def _look(options: SegmentationOptions, splits: Splits, values: LabelValues) -> tuple[SeenLabels, SeenLabels]:
    """Look at the masks of the training and of the validation rows, where they have any."""
    column, skip = options.label_column, options.skip_bad_images
    parts = ((splits.train, options.train_split), (splits.validation, splits.validation_name))
    is_read = (splits.labeled, splits.scored)
    for (rows, _), reads in zip(parts, is_read, strict=True):
        if reads:
            check_target_column(rows, "mask", label_column=column)
    training, validation = (
        look_at_masks(rows, column, values, split=split, skip_bad_images=skip) if reads else NO_LABELS
        for (rows, split), reads in zip(parts, is_read, strict=True)
    )
    return training, validation


def _class_names(
    options: SegmentationOptions,
    rows: Any,
    values: LabelValues,
    parts: tuple[SeenLabels, SeenLabels] | None,
    teacher: Mapping[int, str],
) -> dict[int, str]:
    """Return the names of the ids that the masks have once they are read."""
    seen = parts and parts[0].joined(parts[1])
    names = find_class_names(
        options,
        rows,
        options.label_column,
        scenes=CLASS_NAMES,
        teacher=teacher,
        written=f"values {describe_values(seen, values)} of its masks" if seen else "",
        ids=seen.pixels if seen else (),
        take_teacher=options.labels_are_teacher_ids,
    )
    return reduced_names(names, values, options.ignore_index, seen) if options.reduce_labels else names
