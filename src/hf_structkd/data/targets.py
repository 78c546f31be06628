"""Target maps: how a column of class ids or of depths becomes the `labels` beside an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .decoding import decode_depth
from .image_files import lossy_format
from .label_values import AS_STORED, LabelValues


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """A class id per pixel.

    Args:
        num_labels: K, the number of classes.
        column: column of the class ids, as gray or palette images or arrays.
        ignore_index: label whose pixels do not count.
        reduce_labels: whether 0 becomes ``ignore_index`` and all others fall by one, as in image processors.
        label_values: the values that the masks store; they become ids before these are reduced.
        allow_lossy_masks: whether a mask may be a JPEG: its values become the nearest of ``label_values``.

    Raises:
        ValueError: if ``num_labels`` is below 1, the ``label_values`` are not as many as the classes, or
            ``ignore_index`` is a class id beside ``reduce_labels``; from `decode`, if a label is neither in
            [0, K) nor ignored.
    """

    # What errors call the map (its column is the argument `label_column`), and the type of the finished map.
    kind: ClassVar[str] = "label"
    dtype: ClassVar[torch.dtype] = torch.int64

    num_labels: int
    column: str = "label"
    ignore_index: int = 255
    reduce_labels: bool = False
    label_values: LabelValues = AS_STORED
    allow_lossy_masks: bool = False

    def __post_init__(self) -> None:
        """Check the numbers of classes and of stored values."""
        if self.num_labels < 1:
            raise ValueError(f"`num_labels` must be at least 1, got {self.num_labels}; count the classes.")
        if self.reduce_labels and 0 <= self.ignore_index <= self.num_labels:
            raise ValueError(
                f"`ignore_index` must be no class id with `reduce_labels`, got {self.ignore_index} for "
                f"{self.num_labels} classes, so that two labels would become one; take 255."
            )
        if self.allow_lossy_masks and not self.label_values.values:
            raise ValueError(
                "`allow_lossy_masks` needs `label_values`, the values that the masks had before they were "
                "changed, got none; list them in the order of the class ids."
            )
        needed, listed = self.num_labels + self.reduce_labels, len(self.label_values.values)
        if listed not in (0, needed) and (listed, self.ignore_index) != (needed + 1, needed):
            raise ValueError(
                f"`label_values` must list the stored value of each of the {needed} class ids, got {listed}; "
                f"one more is ignored with ignore_index={needed}."
            )

    @property
    def nothing(self) -> float:
        """The value of a pixel that does not count: padded or ignored."""
        return self.ignore_index

    def decode(self, value: Any, *, where: str) -> Tensor:
        """Return the checked class ids (H, W), in the integer type of the file or int64."""
        stored = self.label_values.read(value, where=where)
        if not self.allow_lossy_masks and (kind := lossy_format(value)):
            values = set(stored.flatten().tolist())
            raise ValueError(
                f"The label in {where} is stored as {kind}, which does not keep values: "
                f"{sum(map(self.is_odd, values))} of its {len(values)} values are no label; save masks as "
                "PNG, or list the values in `label_values` and pass `allow_lossy_masks`."
            )
        label = self.ids(stored, where=where)
        # This runs for every row: the two extremes of the file's own small integers cost next to nothing.
        low, high = label.masked_fill(label == self.ignore_index, 0).aminmax()
        if low < 0 or high >= self.num_labels:
            raise ValueError(
                f"Labels must lie in [0, {self.num_labels}) or be ignore_index={self.ignore_index}, got "
                f"{int(low if low < 0 else high)} in {where}; check `num_labels`, `ignore_index`, "
                f"`label_values` and `reduce_labels`={self.reduce_labels}."
            )
        return label

    def ids(self, stored: Tensor, *, where: str) -> Tensor:
        """Return the class ids of stored values, not yet compared with the number of classes."""
        label = self.label_values.ids(
            stored, ignore_index=self.ignore_index, nearest=self.allow_lossy_masks, where=where
        )
        if not self.reduce_labels:
            return label
        ignored = (label == 0) | (label == self.ignore_index)
        return torch.where(ignored, self.ignore_index, label.long() - 1)

    def is_odd(self, stored: int) -> bool:
        """Return whether a stored value is neither that of a class nor the ignored one."""
        known = self.label_values.values or range(self.num_labels + self.reduce_labels)
        return stored not in known and (self.label_values.colors or stored != self.ignore_index)

    def zoomed(self, target: Tensor, zoom: float) -> Tensor:
        """Return the map itself, because a class does not depend on the distance."""
        return target


@dataclass(frozen=True, kw_only=True)
class DepthMap:
    """Metres along the optical axis per pixel; 0 where nothing was measured.

    A scene that is seen ``zoom`` times larger counts as ``zoom`` times nearer, so its depth is divided by
    ``zoom`` (Eigen et al., 2014): with a pinhole camera an object at depth z covers f * size / z pixels.

    Args:
        column: column of the depth maps, as 16-bit, 32-bit or float images or arrays.
        depth_scale: metres per stored unit: 0.001 for millimetres, 1 for metres; None takes floats as metres
            and integers as millimetres.
        depth_hole: stored value that means, as 0 does, that nothing was measured.

    Raises:
        ValueError: if ``depth_scale`` is not positive and finite; from `decode`, if a map is no depth, or has
            8 bits and no ``depth_scale``.
    """

    # The same as in `ClassMap`; `nothing` is the value of a pixel that was padded or not measured.
    kind: ClassVar[str] = "depth"
    dtype: ClassVar[torch.dtype] = torch.float32
    nothing: ClassVar[float] = 0.0

    column: str = "depth"
    depth_scale: float | None = None
    depth_hole: float | None = None

    def __post_init__(self) -> None:
        """Check the scale."""
        if self.depth_scale is not None and not 0 < self.depth_scale < math.inf:
            raise ValueError(
                f"`depth_scale` must be positive and finite, got {self.depth_scale}; it is metres per stored "
                "unit, 0.001 for millimetres."
            )

    def decode(self, value: Any, *, where: str) -> Tensor:
        """Return the depths (H, W) float32 in metres, 0 where the file holds none."""
        return decode_depth(value, depth_scale=self.depth_scale, depth_hole=self.depth_hole, where=where)

    def zoomed(self, target: Tensor, zoom: float) -> Tensor:
        """Return the depths divided by ``zoom``."""
        return target / zoom


TargetMap = ClassMap | DepthMap
