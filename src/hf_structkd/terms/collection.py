"""The terms of one total, in the order of logs and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .base import Term


class Terms(Sequence[Term]):
    """A list of terms with different names.

    Args:
        terms: The terms.

    Raises:
        TypeError: If one of them is no `Term`.
        ValueError: If two terms have the same name.
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        """Check the terms."""
        for term in terms:
            if not isinstance(term, Term):
                raise TypeError(
                    f"`terms` must hold Term objects, got {term!r}; pass, for example, PixelTerm(1.0)."
                )
        names = [term.name for term in terms]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"`terms` must have different names, got {' and '.join(twice)} twice; give one of them "
                "another `name`."
            )
        self._terms = tuple(terms)

    def __len__(self) -> int:
        """Return the number of terms."""
        return len(self._terms)

    def __iter__(self) -> Iterator[Term]:
        """Iterate over the terms in their order."""
        return iter(self._terms)

    def __getitem__(self, key: Any) -> Any:
        """Return a term by its name or its place."""
        if not isinstance(key, str):
            return self._terms[key]
        for term in self._terms:
            if term.name == key:
                return term
        raise KeyError(f"there is no term {key!r}; there are {', '.join(term.name for term in self._terms)}.")
