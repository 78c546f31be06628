"""From the name of a dataset to the two detection datasets that a trainer takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from ..scenes.scenes import OBJECT_CLASS_NAMES
from ._recipes import SCENE_SIZE, LoadedData, Recipe
from ._rows import Normalization
from .boxes import BoxFormat, ObjectBoxes, UnknownCategories
from .detection import DetectionDataset, DetectionIterableDataset
from .loading import check_columns


def load_detection_data(
    dataset_name: str | None = None,
    *,
    image_size: Sequence[int] = SCENE_SIZE,
    normalization: Normalization,
    dataset_config_name: str | None = None,
    dataset_revision: str | None = None,
    train_split: str = "train",
    validation_split: str = "validation",
    image_column: str = "image",
    objects_column: str = "objects",
    bbox_format: BoxFormat = "xywh",
    id2label_path: str | None = None,
    default_id2label: Mapping[int, str] | None = None,
    unknown_categories: UnknownCategories = "error",
    min_visibility: float = 0.3,
    keep_aspect_ratio: bool = False,
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
    """Load, check, clean and wrap a dataset of images with boxes.

    Images without labels cannot join: detectors compute their loss inside their forward, over a whole batch.

    Args:
        dataset_name: Hub id or folder; None renders the embedded scenes at `image_size`.
        image_size: Height and width of training crops and of evaluation images. Boxes are scored in pixels
            of the original image.
        normalization: Turns colours into the student's inputs.
        dataset_config_name: Configuration of the dataset.
        dataset_revision: Branch, tag or commit on the Hub.
        train_split: Name of the training split.
        validation_split: Name of the validation split.
        image_column: Column of the images.
        objects_column: Column of the objects, with ``bbox`` and ``category``, see `ObjectBoxes`.
        bbox_format: ``xywh`` as in COCO or ``xyxy``, in pixels.
        id2label_path: JSON file of class names; None reads them off the dataset.
        default_id2label: Class names where the dataset has none.
        unknown_categories: ``error``, or ``drop`` boxes whose category is no class.
        min_visibility: Share of its area that a box must keep in a training crop.
        keep_aspect_ratio: Resize evaluation images to fit into `image_size` and pad them, instead of to fill
            it.
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
        The data; `id2label` names the classes, and `box_counts` of a part tells what was cleaned.

    Raises:
        ValueError: If a split or column is missing, nothing names the classes, objects cannot be used, or a
            setting is out of range.
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
    check_columns(splits.train, image_column=image_column, objects_column=objects_column)
    id2label = recipe.class_names(
        splits.train,
        objects_column,
        OBJECT_CLASS_NAMES,
        label_field="category",
        id2label_path=id2label_path,
        default=default_id2label,
    )
    target = ObjectBoxes(
        id2label=id2label,
        column=objects_column,
        bbox_format=bbox_format,
        unknown_categories=unknown_categories,
        min_visibility=min_visibility,
    )
    make = DetectionIterableDataset if streaming else DetectionDataset
    data = recipe.assemble(splits, partial(make, target=target), keep_aspect_ratio=keep_aspect_ratio)
    return data._replace(id2label=id2label)
