"""What the detectors of Transformers put out, brought to one form: queries with class logits and boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.utils import is_torchvision_available

from ..losses import DetectionHead, boxes_from_corners, foreground_probabilities, render_detections
from ..matching.alignment import reaching_the_corner

_CORNERS = 4
# A logit whose probability is exactly 0 in float32.
_NEVER = -1e4
_NO_CLASSES = "it predicts a map of where text is, and no boxes with classes"
_NO_TRAINING = "Transformers' code for it refuses labels: it does not support training"

# Classes of Transformers' object-detection mapping that are no set-prediction detectors.
_CANNOT_TEACH = {
    "PPOCRV5MobileDetForObjectDetection": _NO_CLASSES,
    "PPOCRV5ServerDetForObjectDetection": _NO_CLASSES,
    "PPOCRV6MediumDetForObjectDetection": _NO_CLASSES,
    "PPOCRV6SmallDetForObjectDetection": _NO_CLASSES,
}
# These and the ones that can only teach.
_CANNOT_LEARN = _CANNOT_TEACH | {
    "PPDocLayoutV2ForObjectDetection": _NO_TRAINING,
    "PPDocLayoutV3ForObjectDetection": _NO_TRAINING,
    "PPDocLayoutV4ForObjectDetection": _NO_TRAINING,
}

# Types of models that read the size of the image off its mask, see `reaching_the_corner`.
_MEASURE_MASKS = ("deformable_detr", "grounding-dino", "mm-grounding-dino")


class DetectionQueries(NamedTuple):
    """What a detector predicts for each image: Q queries in no order, each with its classes and its box.

    Attributes:
        logits: Class scores (B, Q, K) before softmax or sigmoid, see `detection_head`.
        boxes: Centre x, centre y, width and height (B, Q, 4) in shares of the image's sides. LW-DETR and
            RF-DETR do not confine them to 0..1, all others do.
    """

    logits: Tensor
    boxes: Tensor


def shown_mask(mask: Tensor, models: Iterable[PretrainedConfig | None]) -> Tensor:
    """Return the mask (B, H, W) of what is no padding, int64, as both models can take it.

    Args:
        mask: Not 0 on the image.
        models: The configurations of the two models.
    """
    measured = any(one is not None and one.model_type in _MEASURE_MASKS for one in models)
    return reaching_the_corner(mask.long()) if measured else mask.long()


def check_can_learn(model: PreTrainedModel) -> None:
    """Raise `ValueError` with the reason if a detector cannot be a student: it has no loss."""
    reason = _CANNOT_LEARN.get(type(model).__name__)
    if reason is not None:
        teaches = type(model).__name__ not in _CANNOT_TEACH
        raise ValueError(
            f"`model` must be a detector that trains on boxes with classes, got {type(model).__name__} "
            f"({reason}); choose another student{', it can only be the `teacher_model`' if teaches else ''}."
        )


def check_can_teach(model: PreTrainedModel) -> None:
    """Raise `ValueError` with the reason if a detector cannot be a teacher: it predicts no classes."""
    reason = _CANNOT_TEACH.get(type(model).__name__)
    if reason is not None:
        raise ValueError(
            f"`teacher_model` must predict boxes with classes, got {type(model).__name__} ({reason}); choose "
            "another teacher."
        )


def own_image_processor(size: tuple[int, int], config: PretrainedConfig) -> Any:
    """Return an image processor of a detector's family, whose post-processing fits its head."""
    backend = "torchvision" if is_torchvision_available() else "pil"
    # Those without one of their own have sigmoid heads, which Deformable DETR's post-processing reads.
    names = IMAGE_PROCESSOR_MAPPING_NAMES.get(config.model_type, {})
    name = names.get(backend) or IMAGE_PROCESSOR_MAPPING_NAMES["deformable_detr"][backend]
    return getattr(transformers, name)(
        size={"height": size[0], "width": size[1]},
        do_pad=False,
        do_normalize=True,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )


def detection_head(config: PretrainedConfig, logits: Tensor) -> DetectionHead:
    """Tell what a detector's logits are, by how many there are for each query.

    Args:
        config: The detector's configuration; its `num_labels` is the number of classes.
        logits: Class scores (B, Q, K) before softmax or sigmoid.

    Returns:
        "softmax" if K is one more than the classes: a softmax over these and "no object", the last.
        "sigmoid" if K is the number of classes: each on its own, an object is what none of them denies.

    Raises:
        ValueError: If K is neither.
    """
    channels, classes = logits.shape[-1], config.num_labels
    if channels == classes:
        return "sigmoid"
    if channels == classes + 1:
        return "softmax"
    raise ValueError(
        f"the logits of a detector of {classes} classes must have {classes} channels (sigmoid) or "
        f"{classes + 1} (softmax with 'no object'), got {channels}; correct `id2label` in the configuration."
    )


def final_queries(output: Any, config: PretrainedConfig) -> DetectionQueries:
    """Read the last decoder layer's queries, and of these only the ones that are there in evaluation too.

    In train mode some detectors put out more. The RT-DETR family puts denoising queries in front, which
    start from the labels. LW-DETR and RF-DETR run `group_detr` groups of queries side by side, of which the
    first is the one used in evaluation.

    Args:
        output: Output of the model, with or without labels, in train or eval mode.
        config: The model's configuration.

    Returns:
        The queries, in the output's own precision and with its graph.

    Raises:
        ValueError: If the boxes have neither 4 values nor, as quadrilaterals, 10.
    """
    logits, boxes = output.logits, output.pred_boxes
    denoising = getattr(output, "denoising_meta_values", None)
    if denoising is not None:
        first = denoising["dn_num_split"][0]
        logits, boxes = logits[:, first:], boxes[:, first:]
    if getattr(config, "group_detr", 1) > 1:
        logits, boxes = logits[:, : config.num_queries], boxes[:, : config.num_queries]
    return DetectionQueries(logits, _as_boxes(boxes))


def _as_boxes(boxes: Tensor) -> Tensor:
    if boxes.shape[-1] == 4:
        return boxes
    if boxes.shape[-1] == 2 + 2 * _CORNERS:
        return _around_quadrilaterals(boxes)
    raise ValueError(
        "`pred_boxes` must have 4 values for each query (cx, cy, w, h), or the 10 of a quadrilateral, got "
        f"{boxes.shape[-1]}; choose another detector."
    )


def _around_quadrilaterals(quads: Tensor) -> Tensor:
    """Return the upright boxes around PP-DocLayoutV4's quadrilaterals, as its post-processing draws them.

    Args:
        quads: A point and the way from it to each of the four corners, x before y, these plus 0.5.

    Shape:
        - quads: (..., 10)
        - output: (..., 4)
    """
    corners = quads[..., None, :2] + quads[..., 2:].reshape(*quads.shape[:-1], _CORNERS, 2) - 0.5
    return boxes_from_corners(torch.cat((corners.amin(-2), corners.amax(-2)), dim=-1))


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether every value of every tensor is finite."""
    return all(bool(values.isfinite().all()) for values in tensors)


def rendered(queries: DetectionQueries, head: DetectionHead, size: tuple[int, int]) -> Tensor:
    """Return maps of how likely a box of each class covers a cell, see `render_detections`."""
    return render_detections(foreground_probabilities(queries.logits.float(), head), queries.boxes, size)


def shared_queries(
    queries: DetectionQueries, config: PretrainedConfig, pick: Callable[[Tensor], Tensor]
) -> tuple[DetectionQueries, DetectionHead]:
    """Return the queries with the class logits that `pick` takes; "no object" stays the last."""
    head = detection_head(config, queries.logits)
    classes = queries.logits[..., : config.num_labels].transpose(1, 2)
    nothing = queries.logits[..., config.num_labels :]
    logits = torch.cat([pick(classes).transpose(1, 2), nothing], dim=-1)
    return DetectionQueries(logits, queries.boxes), head


def spread_queries(
    queries: DetectionQueries, head: DetectionHead, ids: Sequence[int], *, count: int
) -> DetectionQueries:
    """Return queries of some classes over all `count` of them; a class that is not among `ids` scores 0."""
    logits = queries.logits.new_full(
        (*queries.logits.shape[:2], count + (head == "softmax")), _NEVER, dtype=torch.float32
    )
    places = [*ids, *([count] if head == "softmax" else [])]
    logits[..., places] = queries.logits.float()
    return DetectionQueries(logits, queries.boxes)
