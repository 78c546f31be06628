"""`structkd ablate`: many trainings from one plan, and their table: what each gains, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence

from ..ablation.command import ablate

NAME = "ablate"
SUMMARY = "train experiments × settings × seeds of a plan, and write their tables with intervals"


def run(argv: Sequence[str]) -> None:
    """Run, or report."""
    ablate(argv)
