"""COCO's average precision of boxes, computed without keeping logits or masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import datasets
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..losses.boxes import box_corners
from ..losses.detection_heads import DetectionHead
from ._decoding import decode_detections
from ._detections import (
    CROWD,
    DETECTION,
    DETECTION_SCORES,
    ROW_LENGTH,
    TRUTH,
    as_rows,
    check_rows,
    class_scores,
    prediction_rows,
    reference_rows,
)
from ._streaming import PADDING, StreamingImageMetric, on_cpu
from ._targets import canvas_size, crowds


def detection_statistics(
    logits: Tensor,
    boxes: Tensor,
    targets: Sequence[Mapping[str, Tensor]],
    *,
    head: DetectionHead,
    max_detections: int = 100,
    pixel_mask: Tensor | None = None,
) -> Tensor:
    """Write each image's detections and true boxes as rows of numbers, which processes can gather.

    A row is (kind, class, score, x1, y1, x2, y2). Kind 0 is a true box, 1 a detection and 2 a true box of a
    crowd. True boxes have score 0. Corners are in pixels of the original image, because COCO measures there
    whether an object is small or large. An image with fewer rows than others is filled up with rows of -100.

    The rows are float32, like the model's boxes and scores. This type holds class ids up to 2 ** 24 exactly
    and pixel coordinates up to 10 000 to within 0.001. MPS has no float64.

    Args:
        logits: Raw class scores, as in `decode_detections`.
        boxes: Predicted boxes relative to the canvas, which is the image with its padding.
        targets: One dict per image: "class_labels" are int64; "boxes" hold centre x, centre y, width and
            height relative to the canvas; "canvas_size" is the canvas's height and width in pixels of the
            original image; "crowd" is optional and bool. An image may have no object. Labels of Transformers'
            image processors are taken as they are: the canvas is worked out from "orig_size" (or "size") and
            `pixel_mask`, and "iscrowd" are the crowds.
        head: The kind of class scores, as in `decode_detections`.
        max_detections: How many detections are kept of each image; they are the best ones.
        pixel_mask: Where the canvas shows the image; without it, labels without "canvas_size" belong to
            images that fill their canvas.

    Shape:
        logits (B, Q, C); boxes (B, Q, 4); in targets (N,), (N, 4), (2,) and (N,); mask (B, H, W). Result
        (B, R, 7) on the logits' device; R is the number of detections plus the largest number of true boxes
        in an image.

    Returns:
        The rows of each image: first the detections from best to worst, then the true boxes.

    Raises:
        ValueError: If a shape is wrong, the number of targets is not B, a target lacks a key, the head is
            unknown, or `max_detections` is below 1.

    Example:
        >>> target = {"class_labels": torch.tensor([0]), "boxes": torch.tensor([[0.5, 0.5, 1.0, 1.0]])}
        >>> target["canvas_size"] = torch.tensor([100.0, 200.0])
        >>> logits, boxes = torch.zeros(1, 1, 1), torch.tensor([[[0.5, 0.5, 1.0, 1.0]]])
        >>> detection_statistics(logits, boxes, [target], head="sigmoid")[0].tolist()
        [[1.0, 0.0, 0.5, 0.0, 0.0, 200.0, 100.0], [0.0, 0.0, 0.0, 0.0, 0.0, 200.0, 100.0]]
    """
    detections = decode_detections(logits, boxes, head=head, max_detections=max_detections)
    _check_targets(targets, images=len(logits))
    found = detections.scores.shape[1]
    most = max((len(target["class_labels"]) for target in targets), default=0)
    statistics = detections.scores.new_full((len(logits), found + most, ROW_LENGTH), PADDING)
    masks = [None] * len(logits) if pixel_mask is None else pixel_mask
    for rows, target, mask, scores, labels, corners in zip(
        statistics, targets, masks, *detections, strict=True
    ):
        scale = canvas_size(target, mask).to(rows).flip(0).repeat(2)  # width, height, width, height
        rows[:found] = as_rows(torch.full_like(scores, DETECTION), labels, scores, corners * scale)
        true_labels = target["class_labels"].to(rows.device)
        true_corners = box_corners(target["boxes"].to(rows)) * scale
        crowd = crowds(target)
        kinds = torch.full_like(true_labels, TRUTH)
        if crowd is not None:
            kinds[crowd.to(rows.device)] = CROWD
        rows[found : found + len(true_labels)] = as_rows(
            kinds, true_labels, torch.zeros_like(true_corners[:, 0]), true_corners
        )
    return statistics


def _check_targets(targets: Sequence[Mapping[str, Tensor]], images: int) -> None:
    if len(targets) != images:
        raise ValueError(
            f"`targets` must hold one dict per image, got {len(targets)} for {images} images; "
            "pass those of the same batch."
        )
    for target in targets:
        if not {"class_labels", "boxes"} <= {*target}:
            raise ValueError(
                f"each of `targets` must have the keys class_labels and boxes, got {', '.join(target)}; see "
                "`detection_statistics`."
            )
        count = target["class_labels"].numel()
        sizes = dict.fromkeys(("canvas_size", "orig_size", "size"), (2,))
        flags = dict.fromkeys(("class_labels", "crowd", "iscrowd"), (count,))
        shapes: dict[str, tuple[int, ...]] = {"boxes": (count, 4), **flags, **sizes}
        for name, shape in shapes.items():
            if name in target and tuple(target[name].shape) != shape:
                raise ValueError(
                    f"`{name}` of a target with {count} objects must have shape {shape}, got "
                    f"{tuple(target[name].shape)}; see `detection_statistics`."
                )


class MeanAveragePrecision(StreamingImageMetric):
    """COCO's mean average precision as a streaming `evaluate.Metric`, scored by faster-coco-eval.

    The twelve scores of the COCO evaluation equal those of pycocotools. `map` is the average precision over
    the IoU thresholds 0.50, 0.55, ... 0.95; `map_50` and `map_75` take one threshold. `map_small`,
    `map_medium` and `map_large` take objects whose boxes have up to 32 ** 2, up to 96 ** 2 or more square
    pixels. (On the COCO data set, the official evaluation takes the area of the masks.) `mar_1`, `mar_10` and
    `mar_100` are the average recall with so many detections of a class in an image; `mar_small`, `mar_medium`
    and `mar_large` take objects by size. Each score is a mean over the classes that have such objects. At
    most 100 detections of a class count in an image. `ap_<name>` is the `map` of one class. A score is NaN
    where no object can be found. A detection inside a crowd counts neither as right nor as wrong; a detection
    in an image without an object of its class is wrong.

    A prediction is a dict of "boxes" (N, 4) as x1, y1, x2, y2 in pixels of the original image, "scores" (N,)
    and "labels" (N,), as `post_process_object_detection` returns it. A reference is a dict of "boxes" (N, 4),
    "labels" (N,) and optionally "crowd" (N,) of bool; or the labels of one of Transformers' image processors,
    with "class_labels", "boxes" relative to an image that fills its canvas, and "orig_size".

    The metric keeps 32 bytes for each box, writes no file and downloads nothing; `compute` returns the scores
    and empties it. Where detections in different images have equal scores, the image that was added first
    comes first, as in pycocotools.

    Args:
        id2label: The class names, one for each id from 0.

    Raises:
        ValueError: If `id2label` does not name each class once.

    Example:
        >>> metric = MeanAveragePrecision({0: "cat"})
        >>> box = {"boxes": [[0, 0, 10, 10]], "labels": [0]}
        >>> metric.compute(predictions=[{**box, "scores": [0.9]}], references=[box])["ap_cat"]
        1.0
    """

    _numbers, _ids = datasets.List(datasets.Value("float32")), datasets.List(datasets.Value("int64"))
    _flags = datasets.List(datasets.Value("bool"))
    _features: ClassVar[dict[str, Any]] = {
        "predictions": {"boxes": datasets.List(_numbers), "scores": _numbers, "labels": _ids},
        "references": {"boxes": datasets.List(_numbers), "labels": _ids, "crowd": _flags},
    }
    _citation = "T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, arXiv:1405.0312."

    def __init__(self, id2label: Mapping[int, str]) -> None:
        """Start with an empty metric; the class explains the arguments."""
        names = [id2label.get(index) for index in range(len(id2label))]
        if not names or None in names or len({*names}) != len(names):
            raise ValueError(
                f"`id2label` must name each class from 0 on once, got {dict(id2label)}; complete the names."
            )
        self._names = names
        super().__init__()

    def _reset(self) -> None:
        self._rows: list[npt.NDArray[np.float32]] = []
        self._images: list[npt.NDArray[np.int32]] = []
        self._added = 0

    def _image_statistics(self, prediction: Any, reference: Any) -> Tensor:
        return torch.cat([prediction_rows(prediction), reference_rows(reference)])

    def add_statistics(self, statistics: Tensor) -> None:
        """Add the rows (B, R, 7) of `detection_statistics`; rows of -100 are padding.

        Raises:
            ValueError: If the shape, a kind, a class or a box is wrong, or a value is not finite. The rows
                are then not added.
        """
        batch = on_cpu(statistics).float()
        if batch.dim() != 3 or batch.shape[2] != ROW_LENGTH:
            raise ValueError(
                f"`statistics` must have shape (B, R, {ROW_LENGTH}), got {tuple(batch.shape)}; "
                "pass what `detection_statistics` returned."
            )
        present = batch[..., 0] != PADDING
        rows = batch[present]
        check_rows(rows, len(self._names))
        self._rows.append(rows.numpy())
        self._images.append((present.nonzero()[:, 0] + self._added).int().numpy())
        self._added += len(batch)

    def _scores(self) -> dict[str, float]:
        rows, images = np.concatenate(self._rows), np.concatenate(self._images)
        of_class = [rows[:, 1] == index for index in range(len(self._names))]
        # (K, 12); the mean of COCO over classes, thresholds and recalls also weighs the classes equally.
        table = torch.tensor(np.stack([class_scores(rows[of], images[of]) for of in of_class]))
        return {
            **dict(zip(DETECTION_SCORES, table.nanmean(dim=0).tolist(), strict=True)),
            **{f"ap_{name}": ap for name, ap in zip(self._names, table[:, 0].tolist(), strict=True)},
        }
