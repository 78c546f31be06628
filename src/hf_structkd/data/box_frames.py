"""Which image boxes are written for: that in the file, its larger original, or the photo before turning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from .box_conventions import BoxFormat, Written, corners_from, fits, is_normalized
from .orientation import swapped, turned_boxes

BoxFrame = Literal["auto", "shown", "stored"]

_REDUCED, _ENOUGH = 1.5, 10


class Placed(NamedTuple):
    """Boxes in the image as it is shown."""

    corners: Tensor  # (N, 4) in pixels
    written: Written
    scaled: bool
    turned: bool


class ImageFrame(NamedTuple):
    """What is known of an image beside its pixels.

    Attributes:
        shown: height and width in pixels, after the orientation tag was applied.
        orientation: the tag.
        recorded: height and width that the dataset has for it in columns, or None.
        box_frame: whether boxes belong to the image as ``shown`` or as ``stored``, or ``auto``.
    """

    shown: Sequence[int]
    orientation: int = 1
    recorded: Sequence[int] | None = None
    box_frame: BoxFrame = "auto"

    def place(self, numbers: Tensor, bbox_format: BoxFormat, *, where: str) -> Placed:
        """Move boxes (N, 4) as written into the image as it is shown.

        The recorded size is that of the image in which the boxes were drawn: if it is the stored size of a
        photo on its side, they are turned; if it has another scale, they are scaled. Where it cannot tell,
        the boxes do if they lie inside only one of the two.

        Raises:
            ValueError: if the recorded size fits neither, or nothing tells whether boxes are to be turned.
        """
        frames: dict[str, Sequence[int]] = {"shown": self.shown}
        if self.orientation != 1:
            frames["stored"] = swapped(self.shown, self.orientation)
        if self.box_frame in frames:
            frames = {self.box_frame: frames[self.box_frame]}
        if self.recorded is not None:
            frames = self._of_recorded_shape(frames, is_normalized(bbox_format), where)

        def corners_in(frame: str) -> Tensor:
            own = numbers.new_tensor([*(self.recorded or frames[frame])])
            corners = corners_from(numbers, bbox_format, own)
            return corners * (numbers.new_tensor([*frames[frame]]) / own).flip(0).repeat(2)

        if len(frames) > 1 and len(numbers):
            frames = self._that_hold({one: corners_in(one) for one in frames}, frames, where)
        frame, size = next(iter(frames.items()))
        corners, turned = corners_in(frame), frame == "stored"
        if turned:
            corners = turned_boxes(corners, self.orientation, size)
        scaled = self.recorded is not None and [*self.recorded] != [*size]
        return Placed(corners, Written.of(numbers, self.recorded or size, self.shown, where), scaled, turned)

    def _of_recorded_shape(
        self, frames: dict[str, Sequence[int]], any_stretch: bool, where: str
    ) -> dict[str, Sequence[int]]:
        """Return the frames whose shape is the recorded one, up to rounding of resized sides."""
        assert self.recorded is not None
        (own_height, own_width), fitting = self.recorded, {}
        for frame, (height, width) in frames.items():
            if any_stretch:  # shares of the sides stay as they are, unless the sides were swapped
                fits_frame = (height - width) * (own_height - own_width) >= 0
            else:
                fits_frame = abs(height * own_width - width * own_height) < own_height + own_width
            if fits_frame:
                fitting[frame] = frames[frame]
        if not fitting:
            raise ValueError(
                f"The columns `height` and `width` must be the size of the image for which the boxes are "
                f"written, got {own_height} x {own_width} in {where} for an image of "
                f"{' x '.join(map(str, self.shown))} pixels with orientation tag {self.orientation}, which "
                "has another aspect ratio; correct the columns, or remove them if the boxes belong to the "
                "image as it is."
            )
        return fitting

    def _that_hold(
        self, corners: dict[str, Tensor], frames: dict[str, Sequence[int]], where: str
    ) -> dict[str, Sequence[int]]:
        """Return the one frame inside which all boxes lie."""
        holding = {
            frame: size
            for frame, size in frames.items()
            if bool(fits(corners[frame], corners[frame].new_tensor([*size])).all())
        }
        if len(holding) != 1:
            raise ValueError(
                f"The boxes in {where} must show whether they belong to the photo as it is stored or as its "
                f"orientation tag {self.orientation} turns it, got {'neither' if not holding else 'both'}; "
                "pass box_frame='shown', as most labelling tools draw, or box_frame='stored', as tools that "
                "ignore the tag do."
            )
        return holding


def check_scale(written: Written, bbox_format: BoxFormat, *, name: str) -> None:
    """Refuse recorded sizes that the boxes contradict: they lie in the smaller images that are read.

    Boxes of an image that is half as large again or more reach past its resized copy, so that ten of which
    none does are written for the copy.

    Raises:
        ValueError: if the boxes would be scaled once too often.
    """
    finite = written.numbers.isfinite().all(dim=1)
    reduced = finite & (written.sizes >= _REDUCED * written.shown).all(dim=1)
    if is_normalized(bbox_format) or int(reduced.sum()) < _ENOUGH:
        return
    numbers, shown = written.numbers[reduced], written.shown[reduced]
    if bool(fits(corners_from(numbers, bbox_format, shown), shown).all()):
        index = int(reduced.nonzero()[0])
        sizes = (" x ".join(f"{side:g}" for side in of[index].tolist()) for of in written[1:3])
        raise ValueError(
            "The columns `height` and `width` must be the size of the image for which the boxes are "
            f"written, got {' for an image of '.join(sizes)} pixels in {written.places[index]}, although "
            f"all {len(numbers)} boxes of such images of {name} lie inside the smaller size; remove or "
            "correct the columns."
        )
