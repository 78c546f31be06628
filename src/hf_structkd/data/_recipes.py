"""The steps that the loaders of all tasks share: find the rows, then wrap them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

from ..scenes.scenes import load_scenes
from ._datasets import StoredRows, StreamedRows
from ._rows import Normalization
from .dense import DenseDataset, DenseIterableDataset
from .loading import check_columns, load_dataset_splits, load_unlabeled_split, read_id2label
from .mixing import MixedDataset, MixedIterableDataset
from .targets import TargetMap
from .transforms import DenseAugmentation

SCENES = "scenes"
SCENE_SIZE = (96, 128)
TRAIN_SCENES, VALIDATION_SCENES = 1000, 200
_Number = TypeVar("_Number", int, float)


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


class Splits(NamedTuple):
    """The rows as loaded; ``unlabeled`` is None without such images."""

    train: Any
    validation: Any
    unlabeled: Any


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The arguments that all loaders take; `load_segmentation_data` says what they mean."""

    dataset_name: str | None
    image_size: Sequence[int]
    normalization: Normalization
    dataset_config_name: str | None
    dataset_revision: str | None
    train_split: str
    validation_split: str
    image_column: str
    scale: Sequence[float]
    base_size: Sequence[int]
    stretch: bool
    flip_probability: float
    color_jitter: Sequence[float]
    streaming: bool
    shuffle_buffer_size: int
    skip_bad_images: bool
    max_train_samples: int | None
    max_eval_samples: int | None
    seed: int
    unlabeled_dataset_name: str | None = None
    unlabeled_config_name: str | None = None
    unlabeled_revision: str | None = None
    unlabeled_split: str = "train"
    unlabeled_image_column: str = "image"
    max_unlabeled_samples: int | None = None

    def __post_init__(self) -> None:
        _pair("image_size", self.image_size)
        for name in ("max_train_samples", "max_eval_samples", "max_unlabeled_samples"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"`{name}` must be at least 1, got {count}; leave it out to use every row.")

    def load_splits(self) -> Splits:
        """The rows that are used, stored or streamed, in the order in which they are kept."""
        if self.dataset_name is None:
            return self._scenes()
        splits = load_dataset_splits(
            self.dataset_name,
            config_name=self.dataset_config_name,
            revision=self.dataset_revision,
            train_split=self.train_split,
            validation_split=self.validation_split,
            streaming=self.streaming,
        )
        train = _first(splits["train"], self.max_train_samples)
        validation = _first(splits["validation"], self.max_eval_samples)
        return Splits(train, validation, self._unlabeled())

    def _scenes(self) -> Splits:
        """Rendered scenes; the unlabelled ones are those after the training scenes."""
        count = self.max_train_samples or TRAIN_SCENES
        with_more = self.unlabeled_dataset_name == SCENES
        more = (self.max_unlabeled_samples or TRAIN_SCENES) if with_more else 0
        height, width = self.image_size
        scenes = load_scenes(
            num_train=count + more,
            num_validation=self.max_eval_samples or VALIDATION_SCENES,
            height=height,
            width=width,
        )
        train, validation, unlabeled = scenes["train"], scenes["validation"], None
        if with_more:
            train, unlabeled = train.select(range(count)), train.select(range(count, count + more))
        if self.streaming:
            train, validation = train.to_iterable_dataset(), validation.to_iterable_dataset()
            unlabeled = None if unlabeled is None else unlabeled.to_iterable_dataset()
        return Splits(train, validation, unlabeled if with_more else self._unlabeled())

    def _unlabeled(self) -> Any:
        if self.unlabeled_dataset_name is None:
            return None
        rows = load_unlabeled_split(
            self.unlabeled_dataset_name,
            config_name=self.unlabeled_config_name,
            revision=self.unlabeled_revision,
            split=self.unlabeled_split,
            streaming=self.streaming,
        )
        return _first(rows, self.max_unlabeled_samples)

    def class_names(
        self,
        rows: Any,
        label_column: str,
        scenes: Sequence[str],
        *,
        label_field: str | None = None,
        id2label_path: str | None,
        default: Mapping[int, str] | None,
    ) -> dict[int, str]:
        """Class id to name: those of the scenes, of the dataset, or the default.

        Raises:
            ValueError: if nothing names the classes.
        """
        if self.dataset_name is None:
            return dict(enumerate(scenes))
        names = read_id2label(
            rows,
            label_column,
            label_field=label_field,
            name_or_path=self.dataset_name,
            id2label_path=id2label_path,
            revision=self.dataset_revision,
        )
        if names is None and default is not None:
            names = dict(default)
        if names is None:
            raise ValueError(
                f"nothing names the classes of {self.dataset_name!r}; pass `id2label_path`, a JSON file."
            )
        return names

    def wrap(self, splits: Splits, target: TargetMap) -> LoadedData:
        """The rows as inputs of dense models; see `assemble`."""
        make = DenseIterableDataset if self.streaming else DenseDataset
        return self.assemble(splits, partial(make, target=target), nothing=target.nothing)

    def assemble(
        self, splits: Splits, make: Callable[..., Any], *, nothing: float = 255, **evaluation: Any
    ) -> LoadedData:
        """The rows as model inputs: training rows augmented, validation images only resized.

        Args:
            splits: the rows as loaded.
            make: what makes a dataset of rows: a class, with all arguments of the task itself.
            nothing: value of padded pixels in a target map.
            **evaluation: further arguments for the validation rows.
        """
        augmentation = self._augmentation(nothing)
        mixed = splits.unlabeled is not None
        train = labeled = self._made(make, splits.train, augmentation, labeled=True if mixed else None)
        if mixed:
            check_columns(splits.unlabeled, unlabeled_image_column=self.unlabeled_image_column)
            mix: Any = MixedIterableDataset if self.streaming else MixedDataset
            train = mix(labeled, self._made(make, splits.unlabeled, augmentation, labeled=False))
        validation = self._made(make, splits.validation, size=augmentation.size, **evaluation)
        return LoadedData(train, validation, labeled)

    def _augmentation(self, nothing: float) -> DenseAugmentation:
        return DenseAugmentation(
            _pair("image_size", self.image_size),
            scale=_pair("scale", self.scale),
            base_size=_pair("base_size", self.base_size) if self.base_size else None,
            stretch=self.stretch,
            flip_probability=self.flip_probability,
            color_jitter=self.color_jitter,
            nothing=nothing,
        )

    def _made(
        self,
        make: Callable[..., Any],
        rows: Any,
        augmentation: DenseAugmentation | None = None,
        *,
        labeled: bool | None = None,
        **settings: Any,
    ) -> Any:
        """One part; what is augmented is for training, and a stream of it is shuffled."""
        if self.streaming and augmentation is not None:
            rows = rows.shuffle(seed=self.seed, buffer_size=self.shuffle_buffer_size)
        return make(
            rows,
            image_column=self.unlabeled_image_column if labeled is False else self.image_column,
            labeled=labeled,
            normalization=self.normalization,
            augmentation=augmentation,
            seed=self.seed,
            skip_bad_images=self.skip_bad_images,
            **settings,
        )


def _first(rows: Any, count: int | None) -> Any:
    if count is None or (hasattr(rows, "__len__") and count >= len(rows)):
        return rows
    return rows.take(count)


def _pair(name: str, values: Sequence[_Number]) -> tuple[_Number, _Number]:
    if len(values) != 2:
        raise ValueError(f"`{name}` must be two numbers, got {list(values)}; repeat the one for a square.")
    return values[0], values[1]
