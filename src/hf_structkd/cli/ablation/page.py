"""The page that shows the runs: blocks between two comments each, which are written anew."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from .claims import claims_table
from .figures import draw, draw_summary
from .records import records
from .report import table
from .summary import Line, summary, summary_lines

SUMMARY, CLAIMS = "summary of all plans", "claims"
_PLAN = "runs of {}"


def report(plans: Sequence[Path], *, results: Path, page: Path, command: str = "structkd ablate") -> None:
    """Write the blocks of the page, a figure of every experiment, and one of all.

    A page that is not there is begun. The two blocks that are over all plans stay as they are if the page
    shows a plan that is not given.
    """
    text = page.read_text(encoding="utf-8") if page.is_file() else _new_page(plans)
    lines = summary_lines(plans, results)
    missing = [name for name in _plans_of(text) if name not in {plan.name for plan in plans}]
    for name, content in blocks(plans, lines, results=results, command=command):
        if name in (SUMMARY, CLAIMS) and (missing or (not content and f"<!-- {name} -->" not in text)):
            continue
        text = replace_block(text, name, content)
    for plan in plans:
        for experiment, runs in records(plan, results).items():
            draw(runs, results.parent / f"{experiment}.png")
    if lines and not missing:
        draw_summary(lines, results.parent / "summary.png")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    print(f"The tables are in {page}, the figures in {results.parent}.")  # noqa: T201
    if missing:
        print(f"What is over all plans stays as it was: {missing} were not named.")  # noqa: T201


def blocks(
    plans: Sequence[Path], lines: Sequence[Line], *, results: Path, command: str
) -> Iterator[tuple[str, str]]:
    """Yield the name and the content of every block."""
    yield SUMMARY, summary(lines, figure=f"{results.parent.name}/summary.png", command=command)
    for plan in plans:
        yield _PLAN.format(plan.name), table(plan, results, command=command)
    yield CLAIMS, claims_table(plans, results)


def replace_block(page: str, name: str, text: str) -> str:
    """Return the page with the text between the two comments that mark a block.

    Raises:
        ValueError: If the page has no such block.
    """
    start, end = _marked_block(name).splitlines()
    if page.count(start) != 1 or page.count(end) != 1:
        raise ValueError(f"the page must hold {start!r} and {end!r} once each; add the two lines.")
    before, rest = page.split(start)
    return f"{before}{start}\n{text}{end}{rest.split(end)[1]}"


def _marked_block(name: str) -> str:
    """Return the two comments between which a block of a page stands."""
    return f"<!-- {name} -->\n<!-- end of {name} -->"


def _new_page(plans: Sequence[Path]) -> str:
    of_plans = (_marked_block(_PLAN.format(plan.name)) for plan in plans)
    claims = ["## The paper's claims", "", _marked_block(CLAIMS)]
    return "\n".join(["# Results", "", _marked_block(SUMMARY), "", *of_plans, "", *claims, ""])


def _plans_of(page: str) -> list[str]:
    """Return the names of the plans that a page shows."""
    return re.findall(rf"^<!-- {_PLAN.format('(.+)')} -->$", page, re.MULTILINE)
