"""Whether rows have labels: images that stand alone are learned from the teacher's answers."""

from __future__ import annotations

from typing import Any

import datasets

from .options import DataOptions


def learns_from_labels(rows: Any, options: DataOptions) -> bool:
    """Return whether the labels of training rows are read.

    They are not where the options say so, and where nothing stands beside the images but numbers of other
    names than that of the labels. Rows that lack a column of labels which the user names, or that have
    others, count as labelled: whoever reads them says what is missing.
    """
    if options.without_labels:
        return False
    features = getattr(rows, "features", None) or {}
    names_column = options.target_column != options.target_kind
    if options.target_column is None or names_column or options.image_column not in features:
        return True
    if options.target_column in features:
        return True
    others = [feature for name, feature in features.items() if name not in options.input_columns]
    return not all(_is_number(feature) for feature in others)


def can_be_scored(rows: Any, options: DataOptions) -> bool:
    """Return whether rows, or None, have a column that can hold labels for every place of an image."""
    features = getattr(rows, "features", None) or {}
    feature = features.get(options.target_column)
    return feature is not None and not _is_number(feature) and not isinstance(feature, datasets.ClassLabel)


def _is_number(feature: Any) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype not in ("string", "large_string")
