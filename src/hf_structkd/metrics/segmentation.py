"""Segmentation scores from one confusion matrix of K x K counts, which is all that the metric keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses._common import full_precision
from ._streaming import StreamingImageMetric, on_cpu


def confusion_matrices(
    logits: Tensor, labels: Tensor | Sequence[Tensor], *, num_labels: int, ignore_index: int
) -> Tensor:
    """Count for each image how often each true class was predicted as each class, at the labels' own size.

    The logits of each image are resized to its label (bilinear, `align_corners=False`) before the class is
    picked. Images are taken one at a time, so that memory peaks at one image of K x H x W values. Logits in
    half precision are resized in float32.

    Args:
        logits: Raw class scores.
        labels: True class ids, as one tensor or, where the sizes differ, as one map per image.
        num_labels: The number of classes, K.
        ignore_index: The label whose pixels are not counted.

    Shape:
        logits (B, K, h, w); labels (B, H, W) or B maps (H_i, W_i); result (B, K, K) int64 on the logits'
        device. A row is a true class and a column is a predicted class.

    Returns:
        One confusion matrix per image. The usual scores are those of their sum over all images.

    Raises:
        ValueError: If a shape is wrong, if the number of labels is not B, or if a label lies outside [0, K)
            and is not `ignore_index`.
        TypeError: If labels are not integers.
    """
    if logits.dim() != 4 or logits.shape[1] != num_labels:
        raise ValueError(
            f"`logits` must have shape (B, {num_labels}, h, w) for num_labels={num_labels}, got "
            f"{tuple(logits.shape)}; pass the class scores of the model that has these classes."
        )
    if len(labels) != logits.shape[0]:
        raise ValueError(
            f"`labels` must hold one map per image, got {len(labels)} maps for {logits.shape[0]} images; "
            "pass the labels of the same batch."
        )
    counts = logits.new_zeros((len(logits), num_labels, num_labels), dtype=torch.int64)
    for count, scores, label in zip(counts, logits.detach(), labels, strict=True):
        if label.dim() != 2:
            raise ValueError(
                f"`labels` must hold maps of shape (H, W), got {tuple(label.shape)}; drop the extra axes."
            )
        scores = full_precision(scores)
        if scores.shape[1:] != label.shape:
            scores = F.interpolate(scores[None], size=label.shape, mode="bilinear", align_corners=False)[0]
        count.copy_(_count(scores.argmax(dim=0), label.to(logits.device), num_labels, ignore_index))
    return counts


def _count(predicted: Tensor, truth: Tensor, num_labels: int, ignore_index: int) -> Tensor:
    """Return the confusion matrix (K, K) of two maps of class ids (H, W) on one device."""
    if truth.is_floating_point() or predicted.is_floating_point():
        raise TypeError(
            f"Class ids must be integers, got {predicted.dtype} predictions and {truth.dtype} labels; "
            "convert them with `.long()`, or pick the class with `argmax` first."
        )
    if predicted.shape != truth.shape:
        raise ValueError(
            f"Predictions and references must have the same size, got {tuple(predicted.shape)} and "
            f"{tuple(truth.shape)}; resize the logits to the label before picking the class."
        )
    valid = truth != ignore_index
    truth, predicted = truth[valid].long(), predicted[valid].long()
    for what, ids in (("label", truth), ("prediction", predicted)):
        outside = (ids < 0) | (ids >= num_labels)
        if outside.any():
            raise ValueError(
                f"Every {what} must lie in [0, {num_labels}) or, for labels, be ignore_index={ignore_index}, "
                f"got {int(ids[outside][0])}; check `num_labels`, `ignore_index` and whether the labels "
                "start at 1."
            )
    counts = torch.bincount(truth * num_labels + predicted, minlength=num_labels**2)
    return counts.view(num_labels, num_labels)


def scores_from_confusion(
    matrix: Tensor | np.ndarray[Any, Any], *, ignore_index: int | None = None
) -> dict[str, Any]:
    """Return the usual segmentation scores of a confusion matrix summed over a dataset, in float64.

    For class k, with tp on the diagonal, IoU = tp / (row + column - tp) and accuracy = tp / row. The IoU of
    a class without a true or predicted pixel is NaN, and so is the accuracy of a class without a true pixel;
    means leave NaN out. A class that is predicted but never true has IoU 0, which counts. Pixels are pooled
    over all images before the division, as in the `mean_iou` metric on the Hub and in most published tables.

    Args:
        matrix: Counts without the ignored pixels. A row is a true class, a column a predicted class.
        ignore_index: The ignored label. If it is one of the K ids it is no class: its scores are NaN, and
            predicting it is an error of the true class alone.

    Shape:
        matrix (K, K).

    Returns:
        `mean_iou`, `mean_accuracy` and `overall_accuracy` (the share of right pixels) as floats, and
        `per_category_iou` and `per_category_accuracy` as lists of K floats. All lie in [0, 1] or are NaN.
        Without a counted pixel every value is NaN.

    Raises:
        ValueError: If the matrix is not square.
    """
    counts = on_cpu(matrix).to(torch.float64)
    if counts.dim() != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(
            f"`matrix` must have shape (K, K), got {tuple(counts.shape)}; sum them over the images first."
        )
    right, true, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
    iou = right / (true + predicted - right)
    accuracy = right / true
    if ignore_index is not None and 0 <= ignore_index < len(counts):
        iou[ignore_index] = accuracy[ignore_index] = torch.nan
    return {
        "mean_iou": float(iou.nanmean()),
        "mean_accuracy": float(accuracy.nanmean()),
        "overall_accuracy": float(right.sum() / true.sum()),
        "per_category_iou": iou.tolist(),
        "per_category_accuracy": accuracy.tolist(),
    }


class MeanIoU(StreamingImageMetric):
    """Mean intersection over union as a streaming `evaluate.Metric`.

    The metric keeps one K x K matrix for any number of images, writes no file and downloads nothing.
    `compute` returns the scores of `scores_from_confusion` and empties the matrix. A prediction and its
    reference are maps (H, W) of integer class ids, of one size.

    Args:
        num_labels: The number of classes, K.
        ignore_index: The label whose pixels are not counted; as a class id it has no score.
        id2label: The class names; if they are given, `compute` adds one `iou_<name>` per class.

    Raises:
        ValueError: If `num_labels` is below 1, or `id2label` does not name each class once.

    Example:
        >>> metric = MeanIoU(num_labels=2)
        >>> metric.add_batch(predictions=[[[0, 1]]], references=[[[0, 0]]])
        >>> metric.compute()["mean_iou"]
        0.25
    """

    _features = dict.fromkeys(
        ("predictions", "references"), datasets.List(datasets.List(datasets.Value("int64")))
    )
    _citation = "M. Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2015."

    def __init__(
        self, num_labels: int, *, ignore_index: int = 255, id2label: Mapping[int, str] | None = None
    ) -> None:
        """Start with an empty matrix; the class explains the arguments."""
        if num_labels < 1:
            raise ValueError(
                f"`num_labels` must be at least 1, got {num_labels}; pass the number of classes."
            )
        names = None if id2label is None else [id2label.get(index) for index in range(num_labels)]
        if names is not None and (None in names or len({*names}) != num_labels):
            raise ValueError(
                f"`id2label` must name each class 0 to {num_labels - 1} once, got {dict(id2label or {})}; "
                "complete the names or leave `id2label` out."
            )
        self.num_labels = num_labels
        self.ignore_index = ignore_index
        self._names = names
        super().__init__()

    def _reset(self) -> None:
        self._matrix = torch.zeros((self.num_labels, self.num_labels), dtype=torch.int64)
        self._added = 0

    def add_statistics(self, statistics: Tensor) -> None:
        """Add the matrices (B, K, K) of `confusion_matrices`.

        Raises:
            ValueError: If the shape is another.
        """
        counts = on_cpu(statistics).long()
        if counts.dim() != 3 or counts.shape[1:] != self._matrix.shape:
            raise ValueError(
                f"`statistics` must have shape (B, {self.num_labels}, {self.num_labels}), got "
                f"{tuple(counts.shape)}; pass what `confusion_matrices` returned for as many classes."
            )
        self._matrix += counts.sum(dim=0)
        self._added += len(counts)

    def _image_statistics(self, prediction: Any, reference: Any) -> Tensor:
        return _count(on_cpu(prediction), on_cpu(reference), self.num_labels, self.ignore_index)

    def _scores(self) -> dict[str, Any]:
        scores = scores_from_confusion(self._matrix, ignore_index=self.ignore_index)
        if self._names is not None:
            per_class = zip(self._names, scores["per_category_iou"], strict=True)
            scores.update({f"iou_{name}": iou for name, iou in per_class})
        return scores
