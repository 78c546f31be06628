"""From loaded rows to what a trainer takes: training rows augmented, validation images only resized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ._datasets import StoredRows, StreamedRows
from ._rows import RowReader
from ._splits import Splits
from .loading import check_columns
from .mixing import MixedDataset, MixedIterableDataset
from .options import DataOptions, pair_of
from .transforms import DenseAugmentation


class LoadedData(NamedTuple):
    """Training and validation data, the class names if there are any, and the label that does not count.

    `labeled` is the labelled part of `train`: `train` itself where every image has labels, None where none
    has. `validation` is None where nothing is to be scored, which only images without labels may leave out.
    """

    train: StoredRows | StreamedRows | MixedDataset | MixedIterableDataset
    validation: StoredRows | StreamedRows | None
    labeled: StoredRows | StreamedRows | None
    id2label: dict[int, str] | None = None
    ignore_index: int | None = None

    def named(self, id2label: dict[int, str], ignore_index: int | None = None) -> LoadedData:
        """Return the data with names of their classes, which the datasets carry too."""
        for part in (self.train, self.labeled, self.validation):
            if part is not None:
                part.id2label, part.ignore_index = id2label, ignore_index
        return self._replace(id2label=id2label, ignore_index=ignore_index)


def assemble(
    options: DataOptions,
    splits: Splits,
    make_reader: Callable[..., RowReader],
    *,
    seed: int,
    nothing: float = 255,
    mirror: bool = True,
    **evaluation: Any,
) -> LoadedData:
    """Turn the rows into model inputs, and mix in those without labels if there are any.

    Args:
        options: the options.
        splits: the rows as loaded.
        make_reader: makes a reader that knows the target and the normalisation.
        seed: seed of the augmentation and of a stream's order.
        nothing: value of padded pixels in a target map.
        mirror: whether padding shows the image mirrored.
        **evaluation: further arguments of the reader of the validation rows.
    """
    if options.keep_views and options.streaming:
        raise ValueError("`keep_views` needs a stored dataset, got `streaming`=True; leave one of them out.")
    rows_class: type[Any] = StreamedRows if options.streaming else StoredRows
    augmentation = _augmentation(options, nothing=nothing, mirror=mirror)

    def read(rows: Any, image_column: str, **settings: Any) -> Any:
        reader = make_reader(image_column=image_column, seed=seed, **settings)
        return rows_class(rows, reader, skip_bad_images=options.skip_bad_images)

    def read_training(rows: Any, image_column: str, labeled: bool | None) -> Any:
        if options.streaming:
            rows = rows.shuffle(seed=seed, buffer_size=options.shuffle_buffer_size)
        views = options.augmentation_views
        training = read(rows, image_column, augmentation=augmentation, labeled=labeled, views=views)
        if options.keep_views:
            training.keep_views()
        return training

    has_unlabeled = splits.unlabeled is not None
    mark = (True if has_unlabeled else None) if splits.labeled else False
    train = labeled = read_training(splits.train, options.image_column, mark)
    if has_unlabeled:
        check_columns(splits.unlabeled, unlabeled_image_column=options.unlabeled_image_column)
        mix: type[Any] = MixedIterableDataset if options.streaming else MixedDataset
        train = mix(labeled, read_training(splits.unlabeled, options.unlabeled_image_column, False))
    validation = None
    if splits.validation is not None:
        evaluation |= {"size": augmentation.size, "labeled": None if splits.scored else False}
        validation = read(splits.validation, options.image_column, **evaluation)
        validation.split = splits.validation_name
    return LoadedData(train, validation, labeled if splits.labeled else None)


def _augmentation(options: DataOptions, *, nothing: float, mirror: bool) -> DenseAugmentation:
    """Return what is done to training images."""
    return DenseAugmentation(
        pair_of("image_size", options.image_size),
        scale=pair_of("scale", options.scale),
        base_size=pair_of("base_size", options.base_size) if options.base_size else None,
        stretch=options.stretch,
        flip_probability=options.flip_probability,
        color_jitter=options.color_jitter,
        nothing=nothing,
        mirror=mirror,
    )
