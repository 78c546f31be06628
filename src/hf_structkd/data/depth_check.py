"""Look at the first depth maps before anything is trained: no file says in which unit it is written."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._rows import sample_rows
from .decoding import decode_depth_units, metres_per_unit
from .image_files import BadImageError
from .loading import check_target_column
from .targets import DepthMap

logger = logging.getLogger(__name__)

_MAPS = 8
_VALUES_OF_A_MAP = 100_000
# Depth sensors begin to measure at about 0.05 m, and lidars see about 200 m.
_PLAUSIBLE_MEDIAN = (0.05, 200.0)
# Sensors that write millimetres measure up to about 10 m, and leave less than half of the pixels out.
_REACH_OF_MILLIMETRES, _HOLES_OF_MILLIMETRES = 12.0, 0.6
# Pictures whose farthest point is nearer are rare.
_NEAR = 1.2
_MOST_MAPS, _RISING = 0.75, 0.8
_SPIKE = 0.001  # more than this share of a map is no chance
_SCALES = {
    1.0: "metres",
    0.001: "millimetres",
    0.01: "centimetres",
    1 / 256: "256 a metre, as in KITTI",
    1 / 5000: "5000 a metre, as in TUM RGB-D",
}


class _Seen(NamedTuple):
    """What the first maps hold: stored values above 0, those in metres, the share of the others."""

    units: NDArray[Any]
    metres: NDArray[np.float64]
    holes: float
    negative: float  # share of the stored numbers below 0, 0 where all of them are one
    rising: float  # share of the maps whose values grow from the top to the bottom
    kinds: str  # the stored types and their scales, for people
    largest: float  # largest value of the stored type


def check_depths(rows: Any, target: DepthMap, *, split: str, argument: str = "depth_column") -> str:
    """Check the unit of the first depth maps, and return their range for people; empty if there are none.

    A unit that cannot be right is refused where it was not given, and warned of where it was. A warning also
    tells of what may be right and seldom is: values at the limit of their type, a reach or a share of holes
    that millimetres do not have, floats that end at 1.

    Args:
        rows: A `datasets.Dataset` or `datasets.IterableDataset`.
        target: Says the column and the unit.
        split: What a message calls the rows.
        argument: The argument that names the column.

    Raises:
        ValueError: If the column is missing, a map cannot be read as depth, or the unit cannot be right.
    """
    check_target_column(rows, "depth map", **{argument: target.column})
    seen = _look(rows, target)
    if seen is None:
        return ""
    where = f"the first depth maps of {split}"
    _check_quantity(seen, where)
    if not seen.metres.size:
        logger.warning("None of the pixels of %s is measured: check `depth_column`.", where)
        return ""
    # A spike at the limit is told apart, and says nothing of the unit.
    below = seen.metres[seen.units < seen.largest]
    measured = below if below.size else seen.metres
    median, far = float(np.median(measured)), float(np.quantile(measured, 0.99))
    read_as = f"the median of {where} is {median:.3g} m when they are read as {seen.kinds}"
    chosen = target.depth_scale is not None
    lowest, highest = _PLAUSIBLE_MEDIAN
    bytes_only = not chosen and seen.units.dtype.kind in "iu" and seen.units.max() <= 255
    if not lowest <= median <= highest or bytes_only:
        sentence = f"`depth_scale` must be the metres of a stored unit: {read_as}; pass {_others(seen)}."
        if not chosen:
            raise ValueError(sentence)
        logger.warning("%s", sentence)
    elif not chosen and seen.units.dtype.kind in "iu":
        if not _NEAR < far <= _REACH_OF_MILLIMETRES or seen.holes > _HOLES_OF_MILLIMETRES:
            logger.warning(
                "`depth_scale` may be another: %s, up to %.3g m, with %.0f %% not measured, which is unusual "
                "for millimetres; pass %s, or --depth_scale 0.001 if it is right.",
                *(read_as, far, 100 * seen.holes, _others(seen)),
            )
    elif not chosen and seen.units.max() <= 1:
        logger.warning(
            "`depth_scale` may be another: no value of %s is above 1; if they are divided by the largest "
            "depth, pass that depth in metres, if they are inverse, convert them, and pass 1 for metres.",
            where,
        )
    _warn_of_spike(seen, where)
    if not np.isfinite(seen.largest) and (largest := float(seen.metres.max())) > 5 * highest >= median:
        logger.warning(
            "The largest value of %s is %.3g m: if it stands for no measurement, pass --depth_hole %.9g.",
            *(where, largest, float(seen.units.max())),
        )
    near = float(np.quantile(seen.metres, 0.01))
    span = f"{near:.2g} to {far:.2g} m, median {median:.2g} m"
    return f"{span}, {100 * seen.holes:.0f} % not measured; {seen.kinds}"


def _look(rows: Any, target: DepthMap) -> _Seen | None:
    maps, metres, largest, pixels = [], [], 0.0, 0
    below, rising = [np.zeros(0)], []
    kinds: dict[str, None] = {}  # a set in the order of the maps
    for where, value in sample_rows(rows, target.column, stored=_MAPS, streamed=_MAPS):
        try:
            units = decode_depth_units(value, where=where)
        except BadImageError:  # the reader says which rows cannot be decoded, and may skip them
            continue
        scale = target.depth_scale or metres_per_unit(units.dtype, where=where)
        rising.append(_rises(units))
        units = units.ravel()[:: max(1, units.size // _VALUES_OF_A_MAP)]
        pixels += units.size
        below.append(units[np.isfinite(units) & (units < 0)])
        units = units[np.isfinite(units) & (units > 0) & (units != target.depth_hole)]
        maps.append(units)
        metres.append(units.astype(np.float64) * scale)
        kinds[f"{units.dtype.name} × {scale:.6g} m"] = None
        # Pillow reads 16-bit files of some kinds as 32-bit integers.
        limits = [65535.0, float(np.iinfo(units.dtype).max)] if units.dtype.kind in "iu" else [np.inf]
        largest = max(largest, min(limits))
    if not pixels:
        return None
    units, negative = np.concatenate(maps), np.concatenate(below)
    # A single value stands for no measurement.
    share = negative.size / (negative.size + units.size) if np.unique(negative).size > 1 else 0.0
    return _Seen(
        *(units, np.concatenate(metres), 1 - units.size / pixels, share, float(np.mean(rising))),
        *(" and ".join(kinds), largest),
    )


def _rises(units: NDArray[Any]) -> bool:
    """Tell whether the values of a map (H, W) grow steadily from the top to the bottom."""
    values = np.where(np.isfinite(units) & (units > 0), units, np.nan).astype(np.float64)
    measured = ~np.isnan(values).all(axis=1)
    rows = np.nanmedian(values[measured], axis=1)
    if len(rows) < 3 or np.ptp(rows) == 0:
        return False
    return bool(np.corrcoef(np.flatnonzero(measured), rows.argsort().argsort())[0, 1] > _RISING)


def _check_quantity(seen: _Seen, where: str) -> None:
    """Refuse maps that are mostly negative, and warn of those that seem to hold no depth."""
    if seen.negative > 0.5:
        raise ValueError(
            f"`depth_column` must hold positive distances, got {100 * seen.negative:.0f} % of the values of "
            f"{where} negative, which counts as not measured; change their sign if the camera looks along "
            "the negative axis."
        )
    if seen.negative > _SPIKE:
        logger.warning(
            "%.1f %% of the values of %s are negative, of several values, and count as not measured: convert "
            "them if they are logarithms or normalised depths.",
            *(100 * seen.negative, where),
        )
    if seen.rising > _MOST_MAPS:
        logger.warning(
            "The values of %s grow from the top to the bottom, as those of disparity and inverse depth do, "
            "while the ground is nearest at the bottom: convert them to depth if they are such.",
            where,
        )


def _others(seen: _Seen) -> str:
    """Return the scales that put the median where most pictures have it, in words."""
    middle = float(np.median(seen.units))
    fitting = {scale: name for scale, name in _SCALES.items() if 0.3 <= middle * scale <= 80}
    read = float(np.median(seen.metres))
    found = [
        f"--depth_scale {scale:.9g} ({name}: {middle * scale:.3g} m)"
        for scale, name in fitting.items()
        if abs(middle * scale - read) > 1e-6 * read
    ]
    return " or ".join(found) or "what the documentation of the data says"


def _warn_of_spike(seen: _Seen, where: str) -> None:
    share = float(np.mean(seen.units == seen.largest))
    if share > _SPIKE:
        logger.warning(
            "%.2g %% of the measured pixels of %s are %.0f, the largest value of their type: where that is "
            "no measurement, pass --depth_hole %.0f.",
            *(100 * share, where, seen.largest, seen.largest),
        )
