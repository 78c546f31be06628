"""How an image with one value per pixel becomes model inputs, and how such rows become a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._rows import Row, RowReader
from .targets import TargetMap
from .transforms import resize_image


@dataclass(frozen=True, kw_only=True)
class DenseReader(RowReader):
    """How an image and its target map become tensors.

    A row is ``pixel_values`` (3, H, W) float32 and ``labels``: class ids (int64) or metres (float32), as the
    target says. With an augmentation the labels are (H, W) and, if its scale can leave a part of the crop
    empty, every row has ``pixel_mask`` (H, W) bool, True on the image. Without one (evaluation) the image is
    resized to ``size`` and the labels keep the size of the file. Labels of an image without labels are the
    target's ``nothing``. See `RowReader` for the other arguments.

    Args:
        target: what the labels are.

    Raises:
        ValueError: if the ``nothing`` of the augmentation is not the target's. While reading, naming the row,
            if image and target differ in size, or the target's own check fails.
    """

    target: TargetMap

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if self.augmentation is not None and self.augmentation.nothing != self.target.nothing:
            raise ValueError(
                f"The augmentation's `nothing` must be the target's {self.target.nothing}, got "
                f"{self.augmentation.nothing}; otherwise padded pixels would be trained on."
            )

    @property
    def target_columns(self) -> dict[str, str]:
        """The column of the maps."""
        return {f"{self.target.kind}_column": self.target.column}

    def finish(self, row: Mapping[str, Any], image: Tensor, generator: torch.Generator, *, where: str) -> Row:
        """Return the row with its map as labels."""
        target, mask = self._target(row, image, where=where), None
        if self.augmentation is not None:
            image, target, mask = self.augmentation(image, target, generator, zoomed=self.target.zoomed)
            mask = mask if self.augmentation.can_pad else None
        elif self.size is not None:
            image = resize_image(image, self.size)
        return self.inputs(image, mask) | {"labels": target.to(self.target.dtype)}

    def _target(self, row: Mapping[str, Any], image: Tensor, *, where: str) -> Tensor:
        """Return the checked map (H, W) of an image, or a map of nothing for an image without labels."""
        size, column = image.shape[-2:], self.target.column
        if self.labeled is False:
            return torch.full(size, self.target.nothing, dtype=self.target.dtype)
        target = self.target.decode(row[column], where=f"{where}, column {column!r}")
        if size != target.shape:
            raise ValueError(
                f"Image and {self.target.kind} must have the same size, got {tuple(size)} and "
                f"{tuple(target.shape)} (height, width) in {where}; correct or remove this row."
            )
        return target


def collate_dense(rows: Sequence[Row]) -> Row:
    """Stack rows of a `DenseReader` into a batch.

    Returns:
        ``pixel_values`` (B, 3, H, W); ``labels`` (B, H, W), or a list of B maps when their sizes differ;
        and, if the rows have them, ``pixel_mask`` (B, H, W) and ``labeled`` (B,). Rows without ``labels``,
        of images that are only predicted, give a batch without them.

    Raises:
        ValueError: if the images differ in size.
    """
    if "labels" not in rows[0]:
        return stack_inputs(rows)
    labels = [row["labels"] for row in rows]
    same = len({label.shape for label in labels}) == 1
    return stack_inputs(rows) | {"labels": torch.stack(labels) if same else labels}


def stack_inputs(rows: Sequence[Row]) -> Row:
    """Stack everything but the labels, key by key; raise `ValueError` if the images differ in size."""
    sizes = {tuple(row["pixel_values"].shape[-2:]) for row in rows}
    if len(sizes) != 1:
        raise ValueError(
            f"The images of a batch must have one size, got {sorted(sizes)}; give the dataset a `size` or an "
            "augmentation, or use a batch size of 1."
        )
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0] if key != "labels"}
