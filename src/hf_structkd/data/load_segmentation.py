"""Segmentation data: their options, and how these become the datasets that a trainer takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..scenes.scenes import CLASS_NAMES
from ._assembly import LoadedData, assemble
from ._rows import Normalization
from ._splits import find_class_names, load_splits
from .dense import DenseReader
from .loading import check_columns
from .options import ClassOptions, DenseOptions, option, options_for
from .targets import ClassMap


@dataclass(frozen=True, kw_only=True)
class SegmentationOptions(ClassOptions, DenseOptions):
    """Options of semantic segmentation: of its data, and of its task."""

    label_column: str = option("label", "Column of the class ids, as gray or palette images or arrays.")
    ignore_index: int = option(255, "Label whose pixels do not count.")
    reduce_labels: bool = option(False, "Turn label 0 into ignore_index and lower the others by one.")


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
        default_id2label: Class names to take if the dataset has none.
        seed: Seed of the augmentation and of a stream's order.
        options: Options to start from; None is the defaults, with the `image_size` of the scenes, 96 x 128.
        **fields: Fields of `SegmentationOptions`, which documents them; they win over `options`.

    Returns:
        The data; `id2label` names the classes.

    Raises:
        TypeError: If a name among `fields` is no field.
        ValueError: If a split or column is missing, nothing names the classes, or a setting is out of range.
    """
    chosen = options_for("load_segmentation_data", SegmentationOptions, options, dataset_name, fields)
    splits = load_splits(chosen)
    check_columns(splits.train, label_column=chosen.label_column)
    id2label = find_class_names(
        chosen, splits.train, chosen.label_column, scenes=CLASS_NAMES, default=default_id2label
    )
    target = ClassMap(
        num_labels=len(id2label),
        column=chosen.label_column,
        ignore_index=chosen.ignore_index,
        reduce_labels=chosen.reduce_labels,
    )
    make_reader = partial(DenseReader, target=target, normalization=normalization)
    data = assemble(chosen, splits, make_reader, seed=seed, nothing=target.nothing)
    return data.named(id2label, chosen.ignore_index)
