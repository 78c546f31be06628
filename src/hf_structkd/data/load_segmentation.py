"""From the name of a dataset to the two segmentation datasets that a trainer takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..scenes.scenes import CLASS_NAMES
from ._recipes import SCENE_SIZE, LoadedData, Recipe
from ._rows import Normalization
from .loading import check_columns
from .targets import ClassMap


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
    unlabeled_dataset_name: str | None = None,
    unlabeled_config_name: str | None = None,
    unlabeled_revision: str | None = None,
    unlabeled_split: str = "train",
    unlabeled_image_column: str = "image",
    max_unlabeled_samples: int | None = None,
    scale: Sequence[float] = (0.5, 2.0),
    base_size: Sequence[int] = (),
    stretch: bool = False,
    flip_probability: float = 0.5,
    color_jitter: Sequence[float] = (0.3, 0.3, 0.3, 0.05),
    streaming: bool = False,
    shuffle_buffer_size: int = 1000,
    skip_bad_images: bool = False,
    max_train_samples: int | None = None,
    max_eval_samples: int | None = None,
    seed: int = 42,
) -> LoadedData:
    """Load, check and wrap a segmentation dataset, with unlabelled images if wanted.

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
        unlabeled_dataset_name: Hub id or folder of images that join the training data without labels (see
            `MixedDataset`); with the embedded scenes, ``scenes`` renders further ones. None adds nothing.
        unlabeled_config_name: Configuration of that dataset.
        unlabeled_revision: Branch, tag or commit on the Hub.
        unlabeled_split: Name of its split.
        unlabeled_image_column: Column of its images; no other is read.
        max_unlabeled_samples: Use the first so many unlabelled rows; for the scenes, render so many (1000).
        scale: Smallest and largest random scale of a training crop, relative to `base_size`.
        base_size: Size that an image covers at scale 1; empty is `image_size`.
        stretch: Give training images the aspect of `base_size`, as evaluation images have it.
        flip_probability: Probability of a left-right flip.
        color_jitter: Strength of brightness, contrast, saturation and hue.
        streaming: Read rows as they are needed.
        shuffle_buffer_size: Rows among which a stream is shuffled.
        skip_bad_images: Count and skip files that cannot be decoded.
        max_train_samples: Use the first so many training rows; for the scenes, render so many (1000).
        max_eval_samples: The same for validation (200).
        seed: Of the augmentation and of a stream's order.

    Returns:
        The data; `id2label` names the classes.

    Raises:
        ValueError: If a split or column is missing, nothing names the classes, or a setting is out of range.
    """
    recipe = Recipe(
        dataset_name=dataset_name,
        image_size=image_size,
        normalization=normalization,
        dataset_config_name=dataset_config_name,
        dataset_revision=dataset_revision,
        train_split=train_split,
        validation_split=validation_split,
        image_column=image_column,
        unlabeled_dataset_name=unlabeled_dataset_name,
        unlabeled_config_name=unlabeled_config_name,
        unlabeled_revision=unlabeled_revision,
        unlabeled_split=unlabeled_split,
        unlabeled_image_column=unlabeled_image_column,
        max_unlabeled_samples=max_unlabeled_samples,
        scale=scale,
        base_size=base_size,
        stretch=stretch,
        flip_probability=flip_probability,
        color_jitter=color_jitter,
        streaming=streaming,
        shuffle_buffer_size=shuffle_buffer_size,
        skip_bad_images=skip_bad_images,
        max_train_samples=max_train_samples,
        max_eval_samples=max_eval_samples,
        seed=seed,
    )
    splits = recipe.load_splits()
    check_columns(splits.train, image_column=image_column, label_column=label_column)
    id2label = recipe.class_names(
        splits.train, label_column, CLASS_NAMES, id2label_path=id2label_path, default=default_id2label
    )
    target = ClassMap(
        num_labels=len(id2label), column=label_column, ignore_index=ignore_index, reduce_labels=reduce_labels
    )
    return recipe.wrap(splits, target)._replace(id2label=id2label, ignore_index=ignore_index)
