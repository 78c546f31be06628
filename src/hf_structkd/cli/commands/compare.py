"""`structkd compare`: score trained models of one task side by side, ours or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..model_words import parse_models
from ..trained.judging import judge, table, write
from ..trained.loading import load_trained
from ..trained.options import ScoringArguments

NAME = "compare"
SUMMARY = "compare trained models of one task on one dataset: quality, size, time, memory"

_FOLDER = "outputs/comparison"
_EXAMPLES = """  structkd compare outputs/street outputs/street/alone TEACHER --dataset_name street
  structkd compare outputs/a outputs/b --dataset_name street --threads 1 --output_dir outputs/a-and-b"""


def run(argv: Sequence[str]) -> None:
    """Score and measure the models; print the table, and write it as JSON and as a figure."""
    names, options, (settings,) = parse_models(NAME, argv, ScoringArguments, examples=_EXAMPLES)
    judged = judge(load_trained(names, settings.device, settings.trust_remote_code), options, settings)
    folder = Path(settings.output_dir or _FOLDER)
    write(judged, options, folder)
    print(f"{table(judged)}\n\nscores.json and, for several models, trade_off.png are in {folder}.")  # noqa: T201
