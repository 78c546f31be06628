"""Target maps: how a column of class ids or of depths becomes the `labels` beside an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .decoding import decode_depth, decode_label


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """A class id per pixel.

    Args:
        num_labels: K, the number of classes.
        column: column of the class ids, as gray or palette images or arrays.
        ignore_index: label whose pixels do not count.
        reduce_labels: whether 0 becomes ``ignore_index`` and all others fall by one, as in image processors.

    Raises:
        ValueError: if ``num_labels`` is below 1; from `decode`, if a label is neither in [0, K) nor ignored.
    """

    # What errors call the map (its column is the argument `label_column`), and the type of the finished map.
    kind: ClassVar[str] = "label"
    dtype: ClassVar[torch.dtype] = torch.int64

    num_labels: int
    column: str = "label"
    ignore_index: int = 255
    reduce_labels: bool = False

    def __post_init__(self) -> None:
        """Check the number of classes."""
        if self.num_labels < 1:
            raise ValueError(f"`num_labels` must be at least 1, got {self.num_labels}; count the classes.")

    @property
    def nothing(self) -> float:
        """The value of a pixel that does not count: padded or ignored."""
        return self.ignore_index

    def decode(self, value: Any, *, where: str) -> Tensor:
        """Return the checked class ids (H, W), in the integer type of the file or int64."""
        label = decode_label(value, where=where)
        if self.reduce_labels:
            label = label.long()
            ignored = (label == 0) | (label == self.ignore_index)
            label = torch.where(ignored, self.ignore_index, label - 1)
        # This runs for every row: the two extremes of the file's own small integers cost next to nothing.
        low, high = label.masked_fill(label == self.ignore_index, 0).aminmax()
        if low < 0 or high >= self.num_labels:
            raise ValueError(
                f"Labels must lie in [0, {self.num_labels}) or be ignore_index={self.ignore_index}, got "
                f"{int(low if low < 0 else high)} in {where}; check "
                f"`num_labels`, `ignore_index` and `reduce_labels`={self.reduce_labels}."
            )
        return label

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
