"""The options that tasks share; loaders, command line, YAML files and model cards read them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from types import UnionType
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from .transforms import check_size

SCENE_SIZE = (96, 128)
_Number = TypeVar("_Number", int, float)
OptionsT = TypeVar("OptionsT", bound="DataOptions")


def option(default: Any, text: str) -> Any:
    """Return a dataclass field with a default, copied if it is a list, and its `--help` text."""
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What is trained on and scored, for every kind of label.

    The class of a task adds how its labels are read and what its constructor takes. The help of a field is
    its documentation.

    Attributes:
        task_fields: Names of the fields that belong to the task and that a loader does not read.
        target_kind: What a folder holds beside its images, see `read_folder`: "label", "depth" or "objects".
        labels_by_teacher: Name of the field that makes the teacher's answers labels of images without any;
            None where the task has none.

    Raises:
        ValueError: If a field is out of its range.
    """

    task_fields: ClassVar[tuple[str, ...]] = ()
    target_kind: ClassVar[str | None] = None
    labels_by_teacher: ClassVar[str | None] = None

    dataset_name: str | None = option(None, "Hub id or folder; without it the embedded scenes are rendered.")
    dataset_config_name: str | None = option(None, "Configuration of the dataset.")
    dataset_revision: str | None = option(None, "Branch, tag or commit on the Hub.")
    train_split: str = option("train", "Name of the training split, or a slice such as 'train[:80%%]'.")
    without_labels: bool = option(
        False,
        "Read no labels of the training images: the teacher alone teaches; images with nothing beside them "
        "need no flag.",
    )
    validation_split: str = option(
        "validation",
        "Name of the split that is scored, or a slice; 'valid', 'val' or 'dev' is found by itself.",
    )
    validation_fraction: float | None = option(
        None,
        "Share of the training rows that is held out and scored instead of a split, drawn with the seed.",
    )
    image_column: str = option("image", "Column of the images.")
    image_size: list[int] = option(
        [512, 512],
        "Height and width of training crops and of evaluation images; labels are scored at their own size.",
    )
    scale: list[float] = option(
        [0.5, 2.0], "Smallest and largest random scale of a training crop, relative to base_size."
    )
    base_size: list[int] = option([], "Size that an image covers at scale 1; unset is image_size.")
    stretch: bool = option(
        False,
        "Give training images the aspect of base_size, as evaluation images have it; for models of one "
        "square size.",
    )
    flip_probability: float = option(0.5, "Probability of a left-right flip.")
    color_jitter: list[float] = option(
        [0.3, 0.3, 0.3, 0.05], "Strength of brightness, contrast, saturation and hue."
    )
    augmentation_views: int | None = option(
        None,
        "Number of views of each training image, which come again in later epochs, in a new order each time; "
        "unset augments anew in every epoch.",
    )
    keep_views: bool = option(
        False,
        "Keep every view in memory once it is made, so that later epochs neither decode nor augment; needs "
        "augmentation_views, and no workers.",
    )
    streaming: bool = option(False, "Read rows as they are needed.")
    shuffle_buffer_size: int = option(1000, "Rows among which a stream is shuffled.")
    skip_bad_images: bool = option(False, "Count and skip files that cannot be decoded.")
    max_train_samples: int | None = option(
        None, "Use the first so many training rows; of the scenes, render so many (1000)."
    )
    max_eval_samples: int | None = option(
        None, "Use the first so many validation rows; of the scenes, render so many (200)."
    )
    unlabeled_dataset_name: str | None = option(
        None,
        "Hub id or folder of images that join without labels; beside the embedded scenes, 'scenes' renders "
        "further ones.",
    )
    unlabeled_config_name: str | None = option(None, "Configuration of the dataset without labels.")
    unlabeled_revision: str | None = option(None, "Branch, tag or commit of the dataset without labels.")
    unlabeled_split: str = option("train", "Name of the split of the dataset without labels.")
    unlabeled_image_column: str = option("image", "Column of the images without labels; no other is read.")
    max_unlabeled_samples: int | None = option(
        None, "Use the first so many rows without labels; of the scenes, render so many (1000)."
    )

    def __post_init__(self) -> None:
        """Check what would otherwise fail late or have another meaning."""
        _check_types(self)
        check_size("image_size", pair_of("image_size", self.image_size))
        _check_count("augmentation_views", self.augmentation_views)
        if self.keep_views and self.augmentation_views is None:
            raise ValueError(
                "`keep_views` needs a fixed number of `augmentation_views`, got None; set one, for instance "
                "4, or leave it out."
            )
        fraction = self.validation_fraction
        if fraction is not None and not 0 < fraction < 1:
            raise ValueError(f"`validation_fraction` must lie in (0, 1), got {fraction}; 0.1 is a tenth.")
        _check_count("max_train_samples", self.max_train_samples)
        _check_count("max_eval_samples", self.max_eval_samples)
        _check_count("max_unlabeled_samples", self.max_unlabeled_samples)

    @property
    def input_columns(self) -> tuple[str, ...]:
        """Columns of what models are shown."""
        return (self.image_column,)

    @property
    def target_column(self) -> str | None:
        """Column of the labels; None where no option names it."""
        return getattr(self, f"{self.target_kind}_column", None)

    @property
    def fits_images(self) -> bool:
        """Whether evaluation images keep their aspect ratio instead of being stretched to `image_size`."""
        return False

    def traps(self) -> list[str]:
        """Return what these options leave out that a person may want, a sentence each, for the doctor."""
        return []


@dataclass(frozen=True, kw_only=True)
class ClassOptions(DataOptions):
    """Options of a task whose labels are classes."""

    task_fields: ClassVar[tuple[str, ...]] = ("teacher_label_map", "teacher_prompts")

    id2label_path: str | None = option(None, "JSON file of class names; unset reads them off the dataset.")
    teacher_label_map: str | None = option(
        None, "JSON object or file: teacher class name to student class name."
    )
    teacher_prompts: str | None = option(
        None,
        "JSON object or file: student class name to the phrase, or list of phrases, that a teacher which "
        "reads text looks for; unset looks for the names.",
    )
    labels_are_teacher_ids: bool = option(
        False, "Where nothing names the classes, take the ids of the labels for those of the teacher."
    )


def options_for(
    loader: str,
    kind: type[OptionsT],
    options: OptionsT | None,
    dataset_name: str | None,
    changed: Mapping[str, Any],
) -> OptionsT:
    """Gather what a loader was given into its options.

    Args:
        loader: Name of the loader, for an error.
        kind: Class of the options.
        options: Options to start from; None starts from the defaults, with the image size of the scenes.
        dataset_name: Replaces that of `options`, unless it is None.
        changed: Further fields by name; they replace those of `options`.

    Raises:
        TypeError: If `options` belong to another task, or the loader reads no field of a given name.
        ValueError: If a field is out of its range.
    """
    known = [one.name for one in fields(kind) if one.name not in kind.task_fields]
    for name in changed:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"`{kind.__name__}` documents them."
            if name in kind.task_fields:
                hint = "pass that one to the trainer, in `task_options`."
            raise TypeError(
                f"`{loader}` takes the fields of `{kind.__name__}` that concern data, got `{name}`; {hint}"
            )
    if dataset_name is not None:
        changed = {**changed, "dataset_name": dataset_name}
    if options is None:
        return kind(**{"image_size": list(SCENE_SIZE), **changed})
    if not isinstance(options, kind):
        raise TypeError(f"`options` must be `{kind.__name__}`, got `{type(options).__name__}`.")
    return replace(options, **changed) if changed else options


def pair_of(name: str, values: Sequence[_Number]) -> tuple[_Number, _Number]:
    """Return the two numbers of the option `name`; raise `ValueError` if there are not two."""
    if len(values) != 2:
        raise ValueError(f"`{name}` must be two numbers, got {list(values)}; repeat the one for a square.")
    return values[0], values[1]


def _check_types(options: DataOptions) -> None:
    """Raise `TypeError` for a value of another type than its field, which would fail far from here."""
    hints = get_type_hints(type(options))
    for name in (one.name for one in fields(options)):
        value, hint = getattr(options, name), hints[name]
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        if not any(_is_of(value, kind) for kind in kinds):
            words = " or ".join(
                str(getattr(kind, "__name__", kind)) for kind in kinds if kind is not type(None)
            )
            raise TypeError(f"`{name}` must be of the type {words}, got {value!r}; correct this option.")


def _is_of(value: Any, kind: Any) -> bool:
    if get_origin(kind) is list:
        (one,) = get_args(kind)
        # Values of masks may be written as numbers.
        kinds = (str, int) if one is str else (one,)
        return isinstance(value, (list, tuple)) and all(any(_is_of(v, k) for k in kinds) for v in value)
    types: dict[Any, Any] = {str: (str, os.PathLike), int: Integral, float: Real, bool: bool}
    if kind in (int, float) and isinstance(value, bool):
        return False
    return kind not in (*types, type(None)) or isinstance(value, types.get(kind, kind))


def _check_count(name: str, count: int | None) -> None:
    if count is not None and count < 1:
        raise ValueError(f"`{name}` must be at least 1, got {count}; leave it out to set no limit.")
