"""From loaded rows to what a trainer takes: training rows augmented, validation images only resized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ._datasets import StoredRows, StreamedRows
from ._splits import Splits
from .loading import check_columns
from .mixing import MixedDataset, MixedIterableDataset
from .options import DataOptions, DenseOptions, pair_of
from .transforms import DenseAugmentation


class LoadedData(NamedTuple):
    """Training and validation data, their classes where there are, and the label that does not count.

    `labeled` is the labelled part of `train`, and `train` itself where every image has labels.
    """

    # What a row holds is the task's own.
    train: StoredRows[Any] | StreamedRows[Any] | MixedDataset[Any] | MixedIterableDataset[Any]
    validation: StoredRows[Any] | StreamedRows[Any]
    labeled: StoredRows[Any] | StreamedRows[Any]
    id2label: dict[int, str] | None = None
    ignore_index: int | None = None


def assemble(
    options: DataOptions,
    splits: Splits,
    make: Callable[..., Any],
    *,
    seed: int,
    nothing: float = 255,
    **evaluation: Any,
) -> LoadedData:
    """Make the rows model inputs, and mix in those without labels where there are some.

    Args:
        options: the options.
        splits: the rows as loaded.
        make: makes a dataset of rows: a class with the target and the normalisation.
        seed: seed of the augmentation and of a stream's order.
        nothing: value of padded pixels in a target map.
        **evaluation: further arguments for the validation rows.
    """
    augmentation = _augmentation(options, nothing)

    def made(rows: Any, image_column: str, **settings: Any) -> Any:
        skip = options.skip_bad_images
        return make(rows, image_column=image_column, seed=seed, skip_bad_images=skip, **settings)

    def training(rows: Any, image_column: str, labeled: bool | None) -> Any:
        if options.streaming:
            rows = rows.shuffle(seed=seed, buffer_size=options.shuffle_buffer_size)
        return made(rows, image_column, augmentation=augmentation, labeled=labeled)

    mixed = splits.unlabeled is not None
    train = labeled = training(splits.train, options.image_column, True if mixed else None)
    if mixed:
        assert isinstance(options, DenseOptions)  # no other task loads images without labels
        check_columns(splits.unlabeled, unlabeled_image_column=options.unlabeled_image_column)
        mix: Any = MixedIterableDataset if options.streaming else MixedDataset
        train = mix(labeled, training(splits.unlabeled, options.unlabeled_image_column, False))
    validation = made(splits.validation, options.image_column, size=augmentation.size, **evaluation)
    return LoadedData(train, validation, labeled)


def _augmentation(options: DataOptions, nothing: float) -> DenseAugmentation:
    return DenseAugmentation(
        pair_of("image_size", options.image_size),
        scale=pair_of("scale", options.scale),
        base_size=pair_of("base_size", options.base_size) if options.base_size else None,
        stretch=options.stretch,
        flip_probability=options.flip_probability,
        color_jitter=options.color_jitter,
        nothing=nothing,
    )
