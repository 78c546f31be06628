"""From what a mask stores, gray values or colours, to class ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .decoding import decode_label

_COLOR = re.compile(r"#([0-9a-fA-F]{6})")


@dataclass(frozen=True)
class LabelValues:
    """The values that masks store, in the order of the class ids; without any, a value is its class id.

    Attributes:
        values: The values; a colour is red * 65536 + green * 256 + blue.
        colors: Whether they are colours.
    """

    values: tuple[int, ...] = ()
    colors: bool = False

    @classmethod
    def parse(cls, written: Sequence[str | int]) -> LabelValues:
        """Read the option `label_values`, gray values (`0 255`) or colours (`#000000 #ff0000`).

        Raises:
            ValueError: If an entry is neither, the list holds both, or a value comes twice.
        """
        texts = [str(one).strip() for one in written]
        matches = [_COLOR.fullmatch(text) for text in texts]
        colors = any(matches)
        if not (all(matches) or all(re.fullmatch(r"-?\d+", text) for text in texts)):
            raise ValueError(
                "`label_values` must be integers (0 255) or colours (#000000 #ff0000), got "
                f"{' '.join(texts)}; write one kind, in the order of the class ids."
            )
        values = tuple(int(text.lstrip("#"), 16 if colors else 10) for text in texts)
        repeated = [texts[place] for place, value in enumerate(values) if value in values[:place]]
        if repeated:
            raise ValueError(
                f"`label_values` must name a value once, got {', '.join(repeated)} more than once; a value "
                "has one class."
            )
        return cls(values, colors)

    def write(self, value: int) -> str:
        """Return a value as the option writes it."""
        return f"#{value:06x}" if self.colors else str(value)

    def read(self, value: Any, *, where: str) -> Tensor:
        """Return the stored values (H, W) of a mask, see `decode_label`."""
        return decode_label(value, where=where, colors=self.colors)

    def ids(self, stored: Tensor, *, ignore_index: int, nearest: bool = False, where: str) -> Tensor:
        """Return the class ids of stored values, in the same shape.

        A value that is not listed is ignored if it is `ignore_index`. With `nearest` another one takes the id
        of the nearest listed value, if that is clearly the nearest, and is ignored if not.

        Raises:
            ValueError: If another value is not listed, without `nearest`.
        """
        if not self.values:
            return stored
        listed, order = torch.tensor(self.values).sort()
        places = torch.searchsorted(listed, stored.long()).clamp(max=len(listed) - 1)
        known = listed[places] == stored
        ids = torch.where(known, order[places], ignore_index)
        # The number of a colour is no label: 255 is a blue.
        odd = ~known if self.colors else ~known & (stored != ignore_index)
        if nearest:
            ids[odd] = self._nearest(stored[odd], ignore_index)
        elif odd.any():
            raise ValueError(
                f"Labels must be among the {len(listed)} `label_values`"
                + ("" if self.colors else f" or be ignore_index={ignore_index}")
                + f", got {self.write(int(stored[odd][0]))} in {where}; list it too, or correct the mask."
            )
        return ids

    def _nearest(self, stored: Tensor, ignore_index: int) -> Tensor:
        """Return the ids of values that a lossy file has moved, by less than a quarter of the way to another.

        On the edge of two areas such a file passes through all values between theirs, and some of them can
        be near a third one.
        """
        others = [] if self.colors or ignore_index in self.values else [ignore_index]
        listed = self._points(torch.tensor([*self.values, *others]))
        ids = torch.tensor([*range(len(self.values)), *(ignore_index for _ in others)])
        distances = torch.cdist(listed, listed).fill_diagonal_(torch.inf)
        away, index = torch.cdist(self._points(stored), listed).min(dim=1)
        return torch.where(away < distances.min() / 4, ids[index], ignore_index)

    def _points(self, stored: Tensor) -> Tensor:
        """Return values as points, of one axis or of three."""
        axes = [stored >> 16, stored >> 8 & 255, stored & 255] if self.colors else [stored]
        return torch.stack(axes, dim=1).float()


AS_STORED = LabelValues()
