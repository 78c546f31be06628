"""Detection data: their options, and how these become the datasets that a trainer takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from ..scenes.scenes import OBJECT_CLASS_NAMES
from ._assembly import LoadedData, assemble
from ._rows import Normalization
from ._splits import find_class_names, load_splits
from .box_conventions import BoxFormat
from .box_frames import BoxFrame
from .boxes import ObjectBoxes, UnknownCategories
from .detection import DetectionReader
from .loading import check_columns
from .object_fields import category_field
from .options import ClassOptions, option, options_for


@dataclass(frozen=True, kw_only=True)
class DetectionOptions(ClassOptions):
    """Options of object detection: of its data, and of its task.

    Images without labels cannot join: detectors compute their loss inside their forward, over a whole batch.
    """

    target_kind: ClassVar[str | None] = "objects"

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
    keep_aspect_ratio: bool = option(
        False, "Resize evaluation images to fit into image_size and pad them, unstretched."
    )

    @property
    def fits_images(self) -> bool:
        """Whether evaluation images keep their aspect ratio."""
        return self.keep_aspect_ratio


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
        default_id2label: Class names to take if the dataset has none.
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
    column = chosen.objects_column
    check_columns(splits.train, objects_column=column)
    field = category_field(splits.train.features, column)
    id2label = find_class_names(
        chosen, splits.train, column, scenes=OBJECT_CLASS_NAMES, default=default_id2label, field=field
    )
    target = ObjectBoxes(
        id2label=id2label,
        column=column,
        bbox_format=chosen.bbox_format,
        box_frame=chosen.box_frame,
        first_category_id=chosen.first_category_id,
        unknown_categories=chosen.unknown_categories,
        min_visibility=chosen.min_visibility,
    )
    make_reader = partial(DetectionReader, target=target, normalization=normalization)
    data = assemble(chosen, splits, make_reader, seed=seed, keep_aspect_ratio=chosen.keep_aspect_ratio)
    return data.named(id2label)
