"""What the images and the labels of a batch hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...features.forward import Batch
from ...matching.normalization import ImageNormalization

_MOST_CLASSES = 20


def image_line(batch: Batch, normalization: ImageNormalization) -> dict[str, str]:
    """Say how large the images are, and the range of their colours before they are normalised."""
    images = batch["pixel_values"]
    colours = normalization.denormalize(images.float())
    height, width = images.shape[-2:]
    return {
        "images": f"{len(images)} of {height} × {width}, colours {colours.min():.2f} to {colours.max():.2f} "
        f"(mean {colours.mean():.2f}) of 0 to 1 before they are normalised"
    }


def label_lines(batch: Batch, names: Mapping[int, str]) -> dict[str, str]:
    """Say what the labels hold: the range of depths, the share of each class, or the boxes.

    Args:
        batch: The batch; "labels" may be missing.
        names: The student's classes.
    """
    labels = batch.get("labels")
    if "labeled" in batch and not bool(batch["labeled"].any()):
        return {"labels": "none: the teacher alone teaches"}
    if labels is None or not len(labels):
        return {"labels": "none in the batch"}
    if isinstance(labels[0], Mapping):
        return _boxes(labels, names)
    values = torch.cat([one.flatten() for one in labels])
    return {"depth": _depths(values)} if values.is_floating_point() else {"labels": _classes(values, names)}


def ignored_share(batch: Batch, names: Mapping[int, str]) -> float:
    """Return the share of the labelled pixels that are no class; 0 where the labels are no class ids."""
    labels = batch.get("labels")
    if not isinstance(labels, Tensor) or labels.is_floating_point():
        return 0.0
    labels = labels[batch["labeled"]] if "labeled" in batch else labels
    if not len(labels):
        return 0.0
    known = torch.isin(labels, torch.tensor(list(names), device=labels.device))
    return 1 - known.float().mean().item()


def _depths(values: Tensor) -> str:
    known = values[values.isfinite() & (values > 0)]
    if not known.numel():
        return "no label: nothing is measured in the batch"
    low, middle, high = (known.float().quantile(share).item() for share in (0, 0.5, 1))
    share = known.numel() / values.numel()
    return f"{low:.3g} to {high:.3g} m, median {middle:.3g} m, on {share:.0%} of the pixels"


def _classes(values: Tensor, names: Mapping[int, str]) -> str:
    ids, counts = (one.tolist() for one in torch.unique(values, return_counts=True))
    shares = {index: count / values.numel() for index, count in zip(ids, counts, strict=True)}
    found = sorted((index for index in ids if index in names), key=lambda index: -shares[index])
    text = ", ".join(f"{names[index]} {shares[index]:.0%}" for index in found[:_MOST_CLASSES])
    text += ", …" if len(found) > _MOST_CLASSES else ""
    ignored = ", ".join(f"{index} {shares[index]:.0%}" for index in ids if index not in names)
    if not found:
        return f"no label: every pixel is ignored ({ignored})"
    return f"{text}; {len(found)} of {len(names)} classes" + (f"; ignored: {ignored}" if ignored else "")


def _boxes(labels: Any, names: Mapping[int, str]) -> dict[str, str]:
    boxes = torch.cat([one["boxes"] for one in labels])
    if not len(boxes):
        return {"boxes": "no label: none in the batch"}
    classes = torch.cat([one["class_labels"] for one in labels])
    ids, counts = torch.unique(classes, return_counts=True)
    pairs = sorted(zip(counts.tolist(), ids.tolist(), strict=True), reverse=True)[:_MOST_CLASSES]
    low, high = boxes[:, 2:].amin().item(), boxes[:, 2:].amax().item()
    return {
        "boxes": f"{len(boxes)} in {len(labels)} images, sides {low:.1%} to {high:.1%} of the image: "
        + ", ".join(f"{names.get(index, index)} {count}" for count, index in pairs)
    }
