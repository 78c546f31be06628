"""How the classes of the two models meet, and which of them could meet under another name."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence

from ...matching.label_spaces import LabelMatch
from ...tasks import Task

_ALIKE = 0.8


def class_lines(task: Task) -> dict[str, str]:
    """Return by what each class is taught, by its name; classes that are taught alike share a line."""
    names: dict[str, list[str]] = {}
    for name, how in task.taught_classes().items():
        names.setdefault(how, []).append(name)
    return {", ".join(taught): how for how, taught in names.items()}


def renaming_hint(match: LabelMatch | None, own: Mapping[int, str], theirs: Mapping[int, str]) -> str:
    """Return the sentence that proposes a `teacher_label_map`; it is empty where no names are similar.

    Args:
        match: How the classes meet; None where they do not.
        own: The student's classes.
        theirs: The teacher's classes.
    """
    met = set() if match is None else {*match.student_ids}
    taught = set() if match is None else {index for group in match.teacher_ids for index in group}
    pairs = similar_names(
        [name for index, name in own.items() if index not in met],
        [name for index, name in theirs.items() if index not in taught],
    )
    if not pairs:
        return ""
    return (
        "Classes of the two models have similar names and do not meet; if they mean the same, add "
        f"--teacher_label_map '{json.dumps(pairs, ensure_ascii=False)}'."
    )


def similar_names(own: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """Return pairs of names that may mean one class, the teacher's name to the student's.

    Two names may mean one class if they differ in a few letters, or if the teacher's lists the student's
    among others, as "sidewalk, pavement" does.

    Args:
        own: The student's classes that the teacher does not teach.
        theirs: The teacher's classes that teach nothing.
    """
    found: dict[str, str] = {}
    lower = {name.casefold(): name for name in theirs}
    for name in own:
        wanted = name.casefold()
        listed = [other for other in theirs if wanted in re.split(r"\s*[,;/]\s*", other.casefold())]
        close = difflib.get_close_matches(wanted, lower, n=1, cutoff=_ALIKE)
        for other in [*listed, *(lower[one] for one in close)][:1]:
            found.setdefault(other, name)
    return found
