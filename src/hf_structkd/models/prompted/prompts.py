"""What a teacher that reads text is asked for: the phrases of each class."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ...matching.label_spaces import normalised_name, read_json_object


class Prompts(NamedTuple):
    """The classes that a teacher is asked for, and the phrases that describe them.

    Attributes:
        names: The classes, as the student writes them, in its order.
        phrases: The phrases of the first class, then those of the next.
        owners: For each phrase, the place of its class in `names`.
        rest: The class of everything that no phrase describes, or None.
    """

    names: tuple[str, ...]
    phrases: tuple[str, ...]
    owners: tuple[int, ...]
    rest: str | None = None

    @property
    def id2label(self) -> dict[int, str]:
        """The classes of which the teacher gives scores, the rest being the last."""
        return dict(enumerate([*self.names, *([] if self.rest is None else [self.rest])]))


def read_prompts(given: str | Mapping[str, Any]) -> dict[str, list[str]]:
    """Read class names and their phrases.

    Args:
        given: A mapping from a class name to one phrase or to a list of them, or such a JSON object, or the
            path of a JSON file that holds it.

    Raises:
        TypeError: If it is no mapping.
        ValueError: If it is no such JSON object, or a phrase is empty.
    """
    mapping = read_json_object(given, "`teacher_prompts`") if isinstance(given, str) else given
    if not isinstance(mapping, Mapping):
        raise TypeError(
            f"`teacher_prompts` must map class names to phrases, got {given!r}; write {{class: [phrases]}}."
        )
    prompts: dict[str, list[str]] = {}
    for name, value in mapping.items():
        phrases = [value] if isinstance(value, str) else value
        if not isinstance(phrases, (list, tuple)) or not all(isinstance(one, str) for one in phrases):
            raise ValueError(
                f"`teacher_prompts` must map a class to a phrase or a list of phrases, got {value!r} for "
                f"{name!r}; write text."
            )
        prompts[str(name)] = [" ".join(phrase.split()) for phrase in phrases]
        if "" in prompts[str(name)]:
            raise ValueError(
                f"`teacher_prompts` has an empty phrase for {name!r}; write one, or give an empty list."
            )
    return prompts


def prompts_for(
    classes: Iterable[str], given: Mapping[str, Sequence[str]] | None, *, finds_rest: bool
) -> Prompts:
    """Return what a teacher is asked for so that it can teach a student.

    Args:
        classes: The names of the student's classes.
        given: The phrases of each class. None asks for the names themselves, in which underscores become
            spaces. An empty list asks for nothing.
        finds_rest: Whether the one class without a phrase is the rest of the image. Then a class of the name
            "background" has no phrase of its own. Otherwise the teacher does not teach a class without one.

    Raises:
        ValueError: If the names say nothing, a class has no entry, an entry is no class, a phrase stands for
            two classes or twice, or several classes would be the rest.
    """
    classes = list(classes)
    phrases = _from_names(classes, finds_rest=finds_rest) if given is None else _checked(classes, given)
    asked = [name for name in classes if phrases[name]]
    if not asked:
        raise ValueError("`teacher_prompts` has no phrase, got empty lists alone; write one for each class.")
    flat = [(phrase, owner) for owner, name in enumerate(asked) for phrase in phrases[name]]
    _refuse_repeated([(phrase, asked[owner]) for phrase, owner in flat])
    silent = [name for name in classes if not phrases[name]]
    if finds_rest and len(silent) > 1:
        raise ValueError(
            f"`teacher_prompts` must have phrases for every class but one, the rest of the image, got none "
            f"for {_listed(silent)}; write phrases for all but one of these."
        )
    rest = silent[0] if finds_rest and silent else None
    return Prompts(tuple(asked), tuple(phrase for phrase, _ in flat), tuple(owner for _, owner in flat), rest)


def _from_names(classes: Sequence[str], *, finds_rest: bool) -> dict[str, list[str]]:
    if all(re.fullmatch(r"label \d+", normalised_name(name)) for name in classes):
        raise ValueError(
            f"the teacher is asked for the names of the student's classes, which say nothing, got "
            f"{_listed(classes)}; set `id2label` of the student, or write `teacher_prompts`."
        )
    rest = {name for name in classes if finds_rest and normalised_name(name) == "background"}
    return {name: [] if name in rest else [" ".join(re.split(r"[\s_]+", name.strip()))] for name in classes}


def _checked(classes: Sequence[str], given: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the phrases of each class; names are compared as those of two models are."""
    known = {normalised_name(name): name for name in classes}
    phrases: dict[str, list[str]] = {}
    for name, own in given.items():
        key = normalised_name(name)
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {known[close[0]]!r}?" if close else f"it has {_listed(classes)}."
            raise ValueError(f"`teacher_prompts` names {name!r}, which is no class of the student; {hint}")
        if known[key] in phrases:
            raise ValueError(f"`teacher_prompts` has two entries for {known[key]!r}; keep one.")
        phrases[known[key]] = list(own)
    missing = [name for name in classes if name not in phrases]
    if missing:
        raise ValueError(
            f"`teacher_prompts` must have an entry for every class of the student, got none for "
            f"{_listed(missing)}; add phrases, or an empty list to ask for nothing."
        )
    return phrases


def _refuse_repeated(phrases: Iterable[tuple[str, str]]) -> None:
    owners: dict[str, str] = {}
    for phrase, name in phrases:
        first = owners.get(phrase.casefold())
        if first is not None:
            twice = f"twice for {name!r}" if first == name else f"for {first!r} and for {name!r}"
            raise ValueError(
                f"`teacher_prompts` has the phrase {phrase!r} {twice}, and a phrase stands for one class; "
                "leave it out, or write another."
            )
        owners[phrase.casefold()] = name


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
