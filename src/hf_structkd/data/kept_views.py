"""What views that stay in memory take of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psutil
from torch import Tensor


def kept_views_note(dataset: Any) -> dict[str, str]:
    """Return the line of the start table that says what kept views take; none where none are kept.

    Args:
        dataset: Training data; the first row tells the size of all.

    Raises:
        ValueError: If they do not fit into the memory that is free, which would end the run without a word.
    """
    if not getattr(dataset, "keeps_views", False):
        return {}
    count = len(dataset) * int(dataset.views)
    size, free = _bytes(dataset[0]) * count, psutil.virtual_memory().available
    if size > free:
        raise ValueError(
            f"`keep_views` must fit into memory, got {count:,} views of {size / 2**30:.1f} GiB where "
            f"{free / 2**30:.1f} GiB are free; leave it out, or lower `augmentation_views`."
        )
    return {"kept views": f"{count:,} in memory, up to {size / 2**30:.2f} GiB of {free / 2**30:.1f} GiB"}


def _bytes(value: Any) -> int:
    """Return the bytes of all tensors of a row."""
    if isinstance(value, Mapping):
        return sum(_bytes(one) for one in value.values())
    return value.nbytes if isinstance(value, Tensor) else 0
