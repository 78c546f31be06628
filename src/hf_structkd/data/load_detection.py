"""Detection data: their options, and how these become the datasets that a trainer takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from ..scenes.scenes import OBJECT_CLASS_NAMES
from ._assembly import LoadedData, assemble
from ._rows import Normalization, sample_rows
from ._splits import load_splits
from ._yolo import YOLO
from .box_conventions import BoxFormat
from .box_frames import BoxFrame
from .boxes import ObjectBoxes, UnknownCategories
from .detection import DetectionReader
from .label_names import find_class_names
from .loading import check_target_column, listed
from .object_fields import category_field, read_objects
from .options import ClassOptions, option, options_for


@dataclass(frozen=True, kw_only=True)
class DetectionOptions(ClassOptions):
    """Options of object detection: of its data, and of its task."""

    task_fields: ClassVar[tuple[str, ...]] = (*ClassOptions.task_fields, "pseudo_label_threshold")
    target_kind: ClassVar[str | None] = "objects"
    labels_by_teacher: ClassVar[str | None] = "pseudo_label_threshold"

    objects_column: str = option(
        "objects", "Column of the objects, with 'bbox' and 'category' or other usual names (see ObjectBoxes)."
    )
    bbox_format: BoxFormat = option(
        "xywh",
        "How a box is written, in pixels or, if normalized, in shares of the image; 'xywh' is COCO's, "
        "'normalized_cxcywh' YOLO's.",
    )
    box_frame: BoxFrame = option(
        "auto",
        "Whether boxes belong to photos as shown, turned by the camera's orientation tag, or as stored.",
    )
    first_category_id: int = option(0, "Id of the first class in the data; 1 where ids start at 1.")
    unknown_categories: UnknownCategories = option(
        "error", "What to do with boxes whose category is no class."
    )
    min_visibility: float = option(0.3, "Share of its area that a box must keep in a training crop.")
    pseudo_label_threshold: float | None = option(
        None,
        "Score from which the teacher's boxes are the labels of images without any; unset leaves these "
        "to the distillation; without labels, the student is compared with boxes from it, or 0.5.",
    )
    keep_aspect_ratio: bool = option(
        False, "Resize evaluation images to fit into image_size and pad them, unstretched."
    )

    @property
    def fits_images(self) -> bool:
        """Whether evaluation images keep their aspect ratio."""
        return self.keep_aspect_ratio

    def traps(self) -> list[str]:
        """Return what images without labels are taught by, where that is less than they could be."""
        if self.unlabeled_dataset_name is None or self.pseudo_label_threshold is not None:
            return []
        return [
            f"The images of {self.unlabeled_dataset_name} have no labels and carry the distillation terms "
            "alone, which brought next to nothing where it was measured; --pseudo_label_threshold 0.4 makes "
            "the teacher's sure boxes their labels too."
        ]


def load_detection_data(
    dataset_name: str | None = None,
    *,
    normalization: Normalization,
    default_id2label: Mapping[int, str] | None = None,
    seed: int = 42,
    options: DetectionOptions | None = None,
    **fields: Any,
) -> LoadedData:
    """Load, check, clean and wrap a dataset of images with boxes.

    Args:
        dataset_name: Hub id or folder; None takes that of `options`, or renders the embedded scenes.
        normalization: Turns colours into the student's inputs.
        default_id2label: The teacher's class names, which `labels_are_teacher_ids` takes for missing ones.
        seed: Seed of the augmentation, of a stream's order and of the rows that are held out.
        options: Options to start from; None is the defaults, with the `image_size` of the scenes, 96 x 128.
        **fields: Fields of `DetectionOptions`, which documents them; they win over `options`.

    Returns:
        The data; `id2label` names the classes, and `reader.box_counts` of a part says what was cleaned. Boxes
        are scored in pixels of the original image.

    Raises:
        TypeError: If a name among `fields` is no field.
        ValueError: If a split or column is missing, nothing names the classes, objects cannot be used, or a
            setting is out of range.
    """
    chosen = options_for("load_detection_data", DetectionOptions, options, dataset_name, fields)
    splits = load_splits(chosen, seed=seed)
    for rows, is_read in ((splits.train, splits.labeled), (splits.validation, splits.scored)):
        if is_read:
            check_target_column(rows, "list of objects", objects_column=chosen.objects_column)
    id2label = _class_names(chosen, splits.named_rows, default_id2label or {})
    if splits.train.info.builder_name == YOLO and chosen.bbox_format == DetectionOptions.bbox_format:
        chosen = replace(chosen, bbox_format="normalized_cxcywh")
    target = ObjectBoxes(
        id2label=id2label,
        column=chosen.objects_column,
        bbox_format=chosen.bbox_format,
        box_frame=chosen.box_frame,
        first_category_id=chosen.first_category_id,
        unknown_categories=chosen.unknown_categories,
        min_visibility=chosen.min_visibility,
    )
    make_reader = partial(DetectionReader, target=target, normalization=normalization)
    keep = chosen.keep_aspect_ratio
    data = assemble(chosen, splits, make_reader, seed=seed, mirror=False, keep_aspect_ratio=keep)
    return data.named(id2label)


def _class_names(options: DetectionOptions, rows: Any, teacher: Mapping[int, str]) -> dict[int, str]:
    """Return the names of the classes; the teacher's need no option where boxes have names and no ids."""
    column = options.objects_column
    samples = () if rows is None else sample_rows(rows, column)
    objects = [read_objects(value, where=where) for where, value in samples]
    categories = {one for of in objects for one in of.categories if isinstance(one, (int, float, str))}
    ids = sorted(int(one) for one in categories if not isinstance(one, str) or one.strip().isdecimal())
    written = listed(map(str, ids)) if ids else listed(sorted(map(repr, categories)))
    return find_class_names(
        options,
        rows,
        column,
        scenes=OBJECT_CLASS_NAMES,
        teacher=teacher,
        written=f"categories {written or '(none)'} of its boxes",
        ids=ids,
        take_teacher=options.labels_are_teacher_ids or bool(categories and not ids),
        field=None if rows is None else category_field(rows.features, column),
    )
