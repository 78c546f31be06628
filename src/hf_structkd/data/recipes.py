"""From the name of a dataset to the two datasets that a trainer takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ._segmentation_rows import Normalization
from .loading import check_columns, load_dataset_splits, read_id2label
from .scenes import CLASS_NAMES, load_scenes
from .segmentation import SegmentationDataset, SegmentationIterableDataset
from .transforms import SegmentationAugmentation

SCENE_SIZE = (96, 128)
_Number = TypeVar("_Number", int, float)


class SegmentationData(NamedTuple):
    """Training and validation data and the classes they are labelled with."""

    train: SegmentationDataset | SegmentationIterableDataset
    validation: SegmentationDataset | SegmentationIterableDataset
    id2label: dict[int, str]


def load_segmentation_data(
    dataset_name: str | None = None,
    *,
    image_size: Sequence[int] = SCENE_SIZE,
    normalization: Normalization,
    dataset_config_name: str | None = None,
    dataset_revision: str | None = None,
    train_split: str = "train",
    validation_split: str = "validation",
    image_column: str = "image",
    label_column: str = "label",
    id2label_path: str | None = None,
    default_id2label: Mapping[int, str] | None = None,
    ignore_index: int = 255,
    reduce_labels: bool = False,
    scale: Sequence[float] = (0.5, 2.0),
    base_size: Sequence[int] = (),
    flip_probability: float = 0.5,
    color_jitter: Sequence[float] = (0.3, 0.3, 0.3, 0.05),
    streaming: bool = False,
    shuffle_buffer_size: int = 1000,
    skip_bad_images: bool = False,
    max_train_samples: int | None = None,
    max_eval_samples: int | None = None,
    seed: int = 42,
) -> SegmentationData:
    """Load, check and wrap a segmentation dataset.

    Args:
        dataset_name: Hub id or folder; None renders the embedded scenes at `image_size`.
        image_size: Height and width of training crops and of evaluation images. Labels are scored at their
            own size.
        normalization: Turns colours into the student's inputs.
        dataset_config_name: Configuration of the dataset.
        dataset_revision: Branch, tag or commit on the Hub.
        train_split: Name of the training split.
        validation_split: Name of the validation split.
        image_column: Column of the images.
        label_column: Column of the class ids.
        id2label_path: JSON file of class names; None reads them off the dataset.
        default_id2label: Class names where the dataset has none.
        ignore_index: Label whose pixels do not count.
        reduce_labels: Turn label 0 into `ignore_index` and lower the others by one.
        scale: Smallest and largest random scale of a training crop, relative to `base_size`.
        base_size: Size that an image covers at scale 1; empty is `image_size`.
        flip_probability: Probability of a left-right flip.
        color_jitter: Strength of brightness, contrast, saturation and hue.
        streaming: Read rows as they are needed.
        shuffle_buffer_size: Rows among which a stream is shuffled.
        skip_bad_images: Count and skip files that cannot be decoded.
        max_train_samples: Use the first so many training rows; for the scenes, render so many (1000).
        max_eval_samples: The same for validation (200).
        seed: Of the augmentation and of a stream's order.

    Returns:
        The data.

    Raises:
        ValueError: If a split or column is missing, nothing names the classes, or a setting is out of range.
    """
    size = _pair("image_size", image_size)
    for name, count in (("max_train_samples", max_train_samples), ("max_eval_samples", max_eval_samples)):
        if count is not None and count < 1:
            raise ValueError(f"`{name}` must be at least 1, got {count}; leave it out to use every row.")
    if dataset_name is None:
        scenes = load_scenes(
            num_train=max_train_samples or 1000,
            num_validation=max_eval_samples or 200,
            height=size[0],
            width=size[1],
        )
        splits: Mapping[str, Any] = (
            {name: split.to_iterable_dataset() for name, split in scenes.items()} if streaming else scenes
        )
        id2label: dict[int, str] | None = dict(enumerate(CLASS_NAMES))
    else:
        splits = load_dataset_splits(
            dataset_name,
            config_name=dataset_config_name,
            revision=dataset_revision,
            train_split=train_split,
            validation_split=validation_split,
            streaming=streaming,
        )
        check_columns(splits["train"], image_column=image_column, label_column=label_column)
        id2label = read_id2label(
            splits["train"],
            label_column,
            name_or_path=dataset_name,
            id2label_path=id2label_path,
            revision=dataset_revision,
        )
    if id2label is None and default_id2label is not None:
        id2label = dict(default_id2label)
    if id2label is None:
        raise ValueError(f"nothing names the classes of {dataset_name!r}; pass `id2label_path`, a JSON file.")
    shared: dict[str, Any] = {
        "num_labels": len(id2label),
        "image_column": image_column,
        "label_column": label_column,
        "ignore_index": ignore_index,
        "reduce_labels": reduce_labels,
        "normalization": normalization,
        "seed": seed,
        "skip_bad_images": skip_bad_images,
    }
    augmentation = SegmentationAugmentation(
        size,
        scale=_pair("scale", scale),
        base_size=_pair("base_size", base_size) if base_size else None,
        flip_probability=flip_probability,
        color_jitter=color_jitter,
        ignore_index=ignore_index,
    )
    train, validation = (
        _first(splits["train"], max_train_samples),
        _first(splits["validation"], max_eval_samples),
    )
    if streaming:
        train = train.shuffle(seed=seed, buffer_size=shuffle_buffer_size)
    wrap = SegmentationIterableDataset if streaming else SegmentationDataset
    return SegmentationData(
        wrap(train, augmentation=augmentation, **shared), wrap(validation, size=size, **shared), id2label
    )


def _pair(name: str, values: Sequence[_Number]) -> tuple[_Number, _Number]:
    if len(values) != 2:
        raise ValueError(f"`{name}` must be two numbers, got {list(values)}; repeat the one for a square.")
    return values[0], values[1]


def _first(rows: Any, count: int | None) -> Any:
    if count is None or (hasattr(rows, "__len__") and count >= len(rows)):
        return rows
    return rows.take(count)
