"""Target maps: how a column of class ids or of depths becomes the `labels` beside an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .decoding import decode_depth, decode_label


class TargetMap(Protocol):
    """What a dataset asks of the map beside an image: one value per pixel."""

    @property
    def kind(self) -> str:
        """What errors call the map; the argument that names its column is ``<kind>_column``."""

    @property
    def column(self) -> str:
        """Column of the maps."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of the finished map."""

    @property
    def nothing(self) -> float:
        """The value of a pixel that does not count: padded, ignored or not measured."""

    def decode(self, value: Any, *, where: str) -> Tensor:
        """The checked map (H, W) that a row holds; ``where`` is what an error calls the place."""

    def zoomed(self, target: Tensor, zoom: float) -> Tensor:
        """The map (H, W) of the same scene seen ``zoom`` times larger."""


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """A class id per pixel.

    Args:
        num_labels: K, the number of classes.
        column: column of the class ids, as a gray or palette image or an array.
        ignore_index: label whose pixels do not count.
        reduce_labels: turn 0 into ``ignore_index`` and lower all others by one, as image processors do.

    Raises:
        ValueError: if ``num_labels`` is below 1; from `decode`, if a label is neither in [0, K) nor ignored.
    """

    num_labels: int
    column: str = "label"
    ignore_index: int = 255
    reduce_labels: bool = False

    def __post_init__(self) -> None:
        """Checks the number of classes."""
        if self.num_labels < 1:
            raise ValueError(f"`num_labels` must be at least 1, got {self.num_labels}; count the classes.")

    @property
    def kind(self) -> str:
        """``label``."""
        return "label"

    @property
    def dtype(self) -> torch.dtype:
        """int64."""
        return torch.int64

    @property
    def nothing(self) -> float:
        """The ignored label."""
        return self.ignore_index

    def decode(self, value: Any, *, where: str) -> Tensor:
        """The checked class ids (H, W), in the file's own integer type or int64."""
        label = decode_label(value, where=where)
        if self.reduce_labels:
            label = label.long()
            ignored = (label == 0) | (label == self.ignore_index)
            label = torch.where(ignored, self.ignore_index, label - 1)
        # Every row passes here: two extremes of the file's own small integers cost next to nothing.
        low, high = label.masked_fill(label == self.ignore_index, 0).aminmax()
        if low < 0 or high >= self.num_labels:
            raise ValueError(
                f"Labels must lie in [0, {self.num_labels}) or be ignore_index={self.ignore_index}, got "
                f"{int(low if low < 0 else high)} in {where}; check "
                f"`num_labels`, `ignore_index` and `reduce_labels`={self.reduce_labels}."
            )
        return label

    def zoomed(self, target: Tensor, zoom: float) -> Tensor:
        """The map itself: a class does not depend on the distance."""
        return target


@dataclass(frozen=True, kw_only=True)
class DepthMap:
    """Metres along the optical axis per pixel; 0 where nothing was measured.

    Seen ``zoom`` times larger, a scene is taken to be ``zoom`` times nearer, so its depth is divided by
    ``zoom`` (Eigen et al., 2014): with a pinhole camera an object at depth z covers f * size / z pixels.

    Args:
        column: column of the depth maps, as a 16-bit, 32-bit or float image or an array.
        depth_scale: metres per stored unit: 0.001 for millimetres, 1 for metres.

    Raises:
        ValueError: if ``depth_scale`` is not positive and finite.
    """

    column: str = "depth"
    depth_scale: float = 0.001

    def __post_init__(self) -> None:
        """Checks the scale."""
        if not 0 < self.depth_scale < math.inf:
            raise ValueError(
                f"`depth_scale` must be positive and finite, got {self.depth_scale}; it is metres per stored "
                "unit, 0.001 for millimetres."
            )

    @property
    def kind(self) -> str:
        """``depth``."""
        return "depth"

    @property
    def dtype(self) -> torch.dtype:
        """float32."""
        return torch.float32

    @property
    def nothing(self) -> float:
        """0, no measurement."""
        return 0.0

    def decode(self, value: Any, *, where: str) -> Tensor:
        """Depths (H, W) float32 in metres, 0 where the file holds none."""
        return decode_depth(value, depth_scale=self.depth_scale, where=where)

    def zoomed(self, target: Tensor, zoom: float) -> Tensor:
        """Depths divided by ``zoom``."""
        return target / zoom
