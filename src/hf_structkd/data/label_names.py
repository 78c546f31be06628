"""The names of the classes of masks: whose they are, and what to say where there are none."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .label_check import SeenLabels
from .label_values import LabelValues
from .loading import listed, read_id2label
from .options import ClassOptions

logger = logging.getLogger(__name__)

_NO_CLASS = re.compile(r"(back ?ground|bg|void|un ?labell?ed|other|ignored?|unknown|nothing|none|null)s?")


def reduced_names(
    names: Mapping[int, str], values: LabelValues, ignore_index: int, seen: SeenLabels | None
) -> dict[int, str]:
    """Return the names of the classes after 1 is subtracted from the ids.

    The names may be those of the ids before that. This is certain of the embedded scenes (nothing was
    looked at), of as many names as listed values, and where 0 is named as no class and the ids show it.
    """
    if seen is None or values.values:
        stored = seen is None or len(values.values) == len(names)
    else:
        in_range = all(value < len(names) for value in seen.pixels if value != ignore_index)
        name = re.sub(r"[\s_-]+", " ", names[0]).strip().casefold()
        stored = in_range and _NO_CLASS.fullmatch(name) is not None
    if not stored or len(names) == 1:
        return dict(names)
    logger.warning(
        "The class names have %r at id 0, which `reduce_labels` ignores: that entry is left out, and %r is "
        "class 0.",
        names[0],
        names[1],
    )
    return {index - 1: name for index, name in names.items() if index > 0}


def find_class_names(
    options: ClassOptions,
    rows: Any,
    column: str,
    *,
    scenes: Sequence[str],
    teacher: Mapping[int, str],
    written: str,
    ids: Iterable[int],
    take_teacher: bool,
    field: str | None = None,
) -> dict[int, str]:
    """Return class id to name: of the scenes, of the training rows (see `read_id2label`), or the teacher's.

    The teacher's count where `take_teacher` says that the labels are its ids or names, and where there are no
    labels (`rows` None). Raise `ValueError` if nothing names the classes; it calls the labels as `written`,
    and says what the teacher calls their `ids`.
    """
    name = options.dataset_name
    if name is None:
        return dict(enumerate(scenes))
    path, revision = options.id2label_path, options.dataset_revision
    names = read_id2label(
        rows, column, label_field=field, name_or_path=name, id2label_path=path, revision=revision
    )
    if names is None and (take_teacher or rows is None) and teacher:
        return dict(teacher)
    if names is None and rows is None:
        raise ValueError(
            f"nothing names the classes of {name!r}, which has no labels; name a teacher, whose classes are "
            "then the student's (of one that reads text, those of `teacher_prompts`), or pass "
            "`id2label_path`, a JSON file of names."
        )
    if names is None:
        known = listed(f"{one} is {teacher[one]!r}" for one in sorted(ids) if one in teacher)
        advice = f", or `labels_are_teacher_ids` if they mean the teacher's classes, where {known}"
        raise ValueError(
            f"nothing names the classes of {name!r}; pass `id2label_path`, a JSON file of names for the "
            f"{written}{advice if known else ''}."
        )
    return names
