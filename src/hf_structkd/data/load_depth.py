"""From the name of a dataset to the two depth datasets that a trainer takes."""

from __future__ import annotations

from collections.abc import Sequence

from ._recipes import SCENE_SIZE, LoadedData, Recipe
from ._rows import Normalization
from .targets import DepthMap


def load_depth_data(
    dataset_name: str | None = None,
    *,
    image_size: Sequence[int] = SCENE_SIZE,
    normalization: Normalization,
    dataset_config_name: str | None = None,
    dataset_revision: str | None = None,
    train_split: str = "train",
    validation_split: str = "validation",
    image_column: str = "image",
    depth_column: str = "depth",
    depth_scale: float = 0.001,
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
    """Load, check and wrap a dataset of images with depth, with unlabelled images if wanted.

    Training crops that are scaled by s show depths divided by s (see `DepthMap`), so `scale` also widens the
    range of depths that is trained on.

    Args:
        dataset_name: Hub id or folder; None renders the embedded scenes at `image_size`.
        image_size: Height and width of training crops and of evaluation images. Depth is scored at its
            own size.
        normalization: Turns colours into the student's inputs.
        dataset_config_name: Configuration of the dataset.
        dataset_revision: Branch, tag or commit on the Hub.
        train_split: Name of the training split.
        validation_split: Name of the validation split.
        image_column: Column of the images.
        depth_column: Column of the depth maps: 16-bit, 32-bit or float images, or arrays.
        depth_scale: Metres per stored unit: 0.001 for millimetres, 1 for metres. Negative, NaN and infinite
            values become 0, as what was not measured.
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
        The data; `labels` are metres (float32), 0 where nothing was measured, and `id2label` is None.

    Raises:
        ValueError: If a split or column is missing, or a setting is out of range.
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
    target = DepthMap(column=depth_column, depth_scale=depth_scale)
    return recipe.wrap(recipe.load_splits(), target)
