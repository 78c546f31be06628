"""A look at the masks before training: a mask that follows another convention trains in silence."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
from torch import Tensor

from ._rows import MOST_STORED, MOST_STREAMED, sample_rows
from .decoding import palette_of
from .image_files import BadImageError, lossy_format
from .label_values import LabelValues
from .loading import MOST_LISTED, listed
from .targets import ClassMap

logger = logging.getLogger(__name__)

_MOST_PIXELS = 1 << 18  # of a mask that is not stored in bytes, whose values are slow to count
_LARGE_SHARE = 0.05
_INSTANCE = 1000
_FROM_ONE = " The id 0 never occurs: do your ids start at 1? Then pass `reduce_labels`."


class SeenLabels(NamedTuple):
    """What was seen of a split.

    Attributes:
        pixels: Number of pixels by stored value.
        masks: Number of masks.
        complete: Whether these were all.
        lossy: Number of masks by format that does not keep values.
    """

    pixels: Counter[int]
    masks: int
    complete: bool
    lossy: Counter[str]

    def joined(self, other: SeenLabels) -> SeenLabels:
        """Return what was seen of two splits."""
        masks = self.masks + other.masks
        complete = self.complete and other.complete
        return SeenLabels(self.pixels + other.pixels, masks, complete, self.lossy + other.lossy)


NO_LABELS = SeenLabels(Counter(), 0, True, Counter())
"""What is seen of rows whose labels are not read."""


def look_at_masks(
    rows: Any, column: str, values: LabelValues, *, split: str, skip_bad_images: bool
) -> SeenLabels:
    """Count the stored values of some masks: of evenly spread stored rows, of the first rows of a stream.

    Raises:
        ValueError: If a mask cannot be read.
        BadImageError: If a file cannot be decoded and is not to be skipped.
    """
    pixels: Counter[int] = Counter()
    lossy: Counter[str] = Counter()
    palette: dict[int, tuple[str, str]] = {}
    masks = rows_seen = 0
    for where, value in sample_rows(rows, column, split=split):
        rows_seen += 1
        try:
            mask = values.read(value, where=where)
            if not values.values:
                _compare(palette, palette_of(value, where=where), where)
        except BadImageError:
            if not skip_bad_images:
                raise
            continue
        pixels.update(_count(mask))
        masks += 1
        if kind := lossy_format(value):
            lossy[kind] += 1
    is_stored = isinstance(rows, datasets.Dataset)
    complete = rows_seen == len(rows) if is_stored else rows_seen < MOST_STREAMED
    return SeenLabels(pixels, masks, complete, lossy)


def _compare(known: dict[int, tuple[str, str]], palette: Mapping[int, str], where: str) -> None:
    """Keep the colour of each index and the place where it was first seen, and refuse another colour."""
    for index, color in palette.items():
        first, place = known.setdefault(index, (color, where))
        if first != color:
            raise ValueError(
                f"Masks with a palette must have one palette, got masks whose index {index} is {first} in "
                f"{place} and {color} in {where}; pass the colours of the classes as `label_values`, or the "
                "indices if these are right."
            )


def _count(mask: Tensor) -> dict[int, int]:
    """Return the number of pixels of each value."""
    if mask.dtype == torch.uint8:
        counts = torch.bincount(mask.flatten(), minlength=256)
        return {int(value): int(counts[value]) for value in counts.nonzero()}
    step = 1 + int((mask.numel() / _MOST_PIXELS) ** 0.5)
    values, numbers = np.unique(mask.numpy()[::step, ::step], return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def check_masks(
    training: SeenLabels, validation: SeenLabels, target: ClassMap, names: Mapping[int, str]
) -> None:
    """Compare the masks with the classes that they should hold.

    Raises:
        ValueError: If a label is out of range, no training pixel has a class, or the stored values or the
            numbering of the classes are likely others than those that the options say.
    """
    seen = training.joined(validation)
    _check_lossless(seen, target)
    ids = _count_ids(seen, target)
    _check_range(ids, seen, target)
    ignored = ids.pop(target.ignore_index, 0)
    share = ignored / max(1, ids.total() + ignored)
    for split, part in (("training", training), ("validation", validation)):
        if part.masks and not set(_count_ids(part, target)) - {target.ignore_index}:
            _say_nothing_labelled(split, part, target)
    if target.ignore_index in names:
        logger.warning(
            "The class %r has the id %d, which is `ignore_index`: it is neither trained nor scored.",
            names[target.ignore_index],
            target.ignore_index,
        )
    missing = [one for one in names if one not in ids and one != target.ignore_index]
    if not missing:
        return
    last_only = missing == [max(names)] and len(names) > 1
    if not target.label_values.values:  # who lists the values has looked at them
        if target.reduce_labels and last_only and seen.complete:
            raise ValueError(_unreduced(names, target))
        if ignored and (len(ids) <= 1 or (last_only and len(names) <= 3 and seen.complete)):
            raise ValueError(_unmapped(names[missing[0]], seen, share, target))
    # The first masks of a stream may well leave many classes out.
    is_enough = seen.complete or seen.masks >= MOST_STORED or len(missing) == 1
    doubtful = (share >= _LARGE_SHARE and is_enough) or (target.reduce_labels and last_only)
    lacks_first = (
        min(missing) == 0 and len(ids) > 1 and not (target.reduce_labels or target.label_values.values)
    )
    logger.log(
        logging.WARNING if doubtful or lacks_first or len(ids) == 1 else logging.INFO,
        "The %d masks looked at hold no pixel of %s; %.0f %% of their pixels are ignored.%s",
        seen.masks,
        listed(repr(names[one]) for one in missing),
        100 * share,
        _FROM_ONE if lacks_first else "",
    )


def describe_values(seen: SeenLabels, values: LabelValues) -> str:
    """Return the values that were seen, as text."""
    return listed(values.write(value) for value in sorted(seen.pixels))


def _count_ids(seen: SeenLabels, target: ClassMap) -> Counter[int]:
    """Return the number of pixels of each class id, the ignored one included."""
    values = torch.tensor(list(seen.pixels), dtype=torch.int64)
    counts: Counter[int] = Counter()
    ids = target.ids(values, where="the masks").tolist()
    for one, count in zip(ids, seen.pixels.values(), strict=True):
        counts[one] += count
    return counts


def _check_lossless(seen: SeenLabels, target: ClassMap) -> None:
    """Refuse masks of a lossy format, or say what is made of them if they are allowed."""
    odd = {value: count for value, count in seen.pixels.items() if target.is_odd(value)}
    if not (seen.lossy or (odd and target.allow_lossy_masks)):
        return
    total = seen.pixels.total()
    text = (
        f"{seen.lossy.total()} of the {seen.masks} masks looked at are stored as "
        f"{listed(sorted(seen.lossy)) or 'a lossy format'}, which does not keep values: {len(odd)} of their "
        f"{len(seen.pixels)} values, {100 * sum(odd.values()) / total:.1f} % of the pixels, are no label"
    )
    if not target.allow_lossy_masks:
        raise ValueError(
            f"{text}; save masks as PNG, or list the values in `label_values` and pass `allow_lossy_masks`."
        )
    lost = _count_ids(seen._replace(pixels=Counter(odd)), target)[target.ignore_index]
    logger.warning(
        "%s; each is taken for the nearest of `label_values`, and %.1f %% of the pixels, near none, are "
        "ignored.",
        text,
        100 * lost / total,
    )


def _check_range(ids: Iterable[int], seen: SeenLabels, target: ClassMap) -> None:
    count = target.num_labels
    outside = [one for one in ids if not 0 <= one < count and one != target.ignore_index]
    if not outside:
        return
    advice = (
        f"if these values are the classes, pass `{_option(seen, target)}` (the stored values in the order of "
        "the class ids), and otherwise check the class names and `ignore_index`."
    )
    large = [one for one in seen.pixels if one >= _INSTANCE]
    if large and all(one // _INSTANCE < count for one in large):
        advice = (
            f"values from {_INSTANCE} look like the instances of Cityscapes, id * 1000 + number: take its "
            "files `labelIds` or `labelTrainIds`."
        )
    if outside == [count] and not target.reduce_labels:
        advice = "if 0 is no class and the ids start at 1, pass `reduce_labels`; otherwise name every class."
    raise ValueError(
        f"Labels must lie in [0, {count}) for {count} class names or be ignore_index={target.ignore_index}, "
        f"got the values {describe_values(seen, target.label_values)} in column {target.column!r}"
        f"{' before 1 is subtracted' if target.reduce_labels else ''}; {advice}"
    )


def _say_nothing_labelled(split: str, seen: SeenLabels, target: ClassMap) -> None:
    """Refuse training masks without a labelled pixel, and warn of validation masks."""
    text = (
        f"No pixel of the {seen.masks} {split} masks looked at has a class: they hold "
        f"{describe_values(seen, target.label_values)}, with ignore_index={target.ignore_index} and "
        f"`reduce_labels`={target.reduce_labels}"
    )
    if split == "training":
        raise ValueError(
            f"{text}; correct these options or list the stored values in `label_values`, and pass images "
            "without labels as `unlabeled_dataset_name`."
        )
    logger.warning("%s; the scores will be NaN.", text)


def _option(seen: SeenLabels, target: ClassMap) -> str:
    """Return the flag that makes every stored value a class, with the values if they are as many."""
    values = sorted(seen.pixels)
    fits = len(values) == target.num_labels + target.reduce_labels
    return "--label_values " + (" ".join(map(target.label_values.write, values)) if fits else "VALUE ...")


def _unmapped(name: str, seen: SeenLabels, share: float, target: ClassMap) -> str:
    kept = " ".join(map(str, range(target.num_labels + target.reduce_labels)))
    return (
        f"No mask of the {seen.masks} looked at holds the class {name!r}, while {100 * share:.0f} % of their "
        f"pixels are ignored: they hold the values {describe_values(seen, target.label_values)}, with "
        f"ignore_index={target.ignore_index}; if an ignored value is your class, pass "
        f"`{_option(seen, target)}` (the stored values in the order of the class ids), and "
        f"`--label_values {kept}` if it is not."
    )


def _unreduced(names: Mapping[int, str], target: ClassMap) -> str:
    kept = " ".join(map(str, range(len(names) + 1))) if len(names) < MOST_LISTED else "0 1 2 ..."
    return (
        f"`reduce_labels` leaves no pixel of the last class {names[max(names)]!r} while every other class "
        f"occurs: if id 0 of `id2label` is {names[0]!r} before 1 is subtracted, leave that entry out of the "
        "names, if the stored ids start at 0 without a background, leave `reduce_labels` out, and if all is "
        f"as it should be, confirm the stored values with `--label_values {kept}`."
    )
