"""How an image with one value per pixel becomes model inputs, and how such rows become a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..matching.alignment import resize_ids
from ._rows import Row, RowReader
from .image_files import read_orientation
from .orientation import upright_map
from .prompts import read_prompt
from .targets import DepthMap, TargetMap
from .transforms import resize_image


@dataclass(frozen=True, kw_only=True)
class DenseReader(RowReader):
    """How an image and its target map become tensors.

    A row is ``pixel_values`` (3, H, W) float32 and ``labels``: class ids (int64) or metres (float32), as the
    target says. With an augmentation the labels are (H, W) and, if its scale can leave a part of the crop
    empty, every row has ``pixel_mask`` (H, W) bool, True on the image. Without one (evaluation) the image is
    resized to ``size`` and the labels keep the size of the file. A map without an orientation tag beside a
    photo with one is turned if its size is that of the stored photo, see `upright_map`. Labels of an image
    without labels are the target's ``nothing``. See `RowReader` for the other arguments.

    Args:
        target: what the labels are.
        prompt: what the teacher is shown beside the image; every row then has ``prompt_depth`` (1, H, W)
            float32 in metres, see `read_prompt`. None: no such key.

    Raises:
        ValueError: if the ``nothing`` of the augmentation is not the target's. While reading, naming the row,
            if image and target differ in size, nothing tells whether a map is turned as its photo is, or the
            target's own check fails.
    """

    target: TargetMap
    prompt: DepthMap | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if self.augmentation is not None and self.augmentation.nothing != self.target.nothing:
            raise ValueError(
                f"The augmentation's `nothing` must be the target's {self.target.nothing}, got "
                f"{self.augmentation.nothing}; otherwise padded pixels would be trained on."
            )

    @property
    def columns(self) -> dict[str, str]:
        """The columns that are read, by the arguments that name them."""
        prompt = {} if self.prompt is None else {"prompt_depth_column": self.prompt.column}
        return super().columns | prompt

    @property
    def target_columns(self) -> dict[str, str]:
        """The column of the maps."""
        return {f"{self.target.kind}_column": self.target.column}

    def finish(
        self,
        row: Mapping[str, Any],
        image: Tensor,
        generator: torch.Generator,
        *,
        where: str,
        teacher_size: tuple[int, int] | None,
    ) -> Row:
        """Return the row with its map as labels."""
        target, mask = self._target(row, image, where=where), None
        size, prompts = (image.shape[-2], image.shape[-1]), []
        original, crop = image, None
        if self.prompt is not None:
            prompts = [read_prompt(self.prompt, row, size, where=where)]
        if self.augmentation is not None:
            crop = self.augmentation.draw(size, generator)
            image = self.augmentation.image(image, crop)
            target = self.augmentation.label(target, crop, zoomed=self.target.zoomed)
            prompts = [self.augmentation.mirrored(one, crop) / crop.zoom for one in prompts]
            mask = self.augmentation.mask(crop) if self.augmentation.can_pad else None
        elif self.size is not None:
            image = resize_image(image, self.size)
            prompts = [resize_ids(one, self.size) for one in prompts]
        further = {"prompt_depth": prompts[0][None]} if prompts else {}
        further |= self.for_teacher(original, crop, teacher_size)
        return self.inputs(image, mask, **further) | {"labels": target.to(self.target.dtype)}

    def _target(self, row: Mapping[str, Any], image: Tensor, *, where: str) -> Tensor:
        """Return the checked map (H, W) of an image, or a map of nothing for an image without labels."""
        size, column = image.shape[-2:], self.target.column
        if self.labeled is False:
            return torch.full(size, self.target.nothing, dtype=self.target.dtype)
        place = f"{where}, column {column!r}"
        target = self.target.decode(row[column], where=place)
        orientation = read_orientation(row[self.image_column], where=where)
        if orientation != 1 and read_orientation(row[column], where=place) == 1:
            target = upright_map(target, orientation, size, kind=self.target.kind, where=place)
        if size != target.shape:
            raise ValueError(
                f"Image and {self.target.kind} must have the same size, got {tuple(size)} and "
                f"{tuple(target.shape)} (height, width) in {where}; correct or remove this row."
            )
        return target


def collate_dense(rows: Sequence[Row]) -> Row:
    """Stack rows of a `DenseReader`, or of arrays as image processors make them, into a batch.

    Returns:
        ``pixel_values`` (B, 3, H, W); ``labels`` (B, H, W), or a list of B maps when their sizes differ;
        and, if the rows have them, ``pixel_mask`` (B, H, W) and ``labeled`` (B,). Rows without ``labels``,
        of images that are only predicted, give a batch without them.

    Raises:
        ValueError: if the images differ in size.
    """
    if "labels" not in rows[0]:
        return stack_inputs(rows)
    labels = [as_tensor(row["labels"], "labels") for row in rows]
    same = len({label.shape for label in labels}) == 1
    return stack_inputs(rows) | {"labels": torch.stack(labels) if same else labels}


def stack_inputs(rows: Sequence[Row]) -> Row:
    """Stack everything but the labels, key by key; raise `ValueError` if the images differ in size."""
    names = [name for name in rows[0] if name != "labels"]
    inputs = {name: [as_tensor(row[name], name) for row in rows] for name in names}
    sizes = {tuple(image.shape[-2:]) for image in inputs["pixel_values"]}
    if len(sizes) != 1:
        raise ValueError(
            f"The images of a batch must have one size, got {sorted(sizes)}; give the dataset a `size` or an "
            "augmentation, or use a batch size of 1."
        )
    return {name: torch.stack(values) for name, values in inputs.items()}


def as_tensor(value: Any, name: str) -> Tensor:
    """Return what an image processor made, an array or nested lists, as a tensor; float64 as float32."""
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"`{name}` of a row must be a tensor, an array or nested lists of numbers, got "
            f"{type(value).__name__} ({error}); leave out what the model does not take."
        ) from error
    return tensor.float() if tensor.dtype == torch.float64 else tensor
