"""`structkd evaluate`: score one trained model, ours or not, and say what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..endings import UsageError
from ..model_words import parse_models
from ..trained.judging import judge, table, write
from ..trained.loading import load_trained
from ..trained.options import ScoringArguments

NAME = "evaluate"
SUMMARY = "score a trained model of any task, ours or not, and say what it costs"

_EXAMPLES = """  structkd evaluate outputs/street --dataset_name street --validation_split test
  structkd evaluate nvidia/segformer-b0-finetuned-ade-512-512 --dataset_name street \\
      --teacher_label_map '{"road, route": "road"}'          names of the model to names of the data"""


def run(argv: Sequence[str]) -> None:
    """Score the model and print every score.

    Raises:
        UsageError: If not exactly one model is named.
    """
    names, options, (settings,) = parse_models(NAME, argv, ScoringArguments, examples=_EXAMPLES)
    if len(names) > 1:
        raise UsageError(
            f"`structkd {NAME}` scores one model, got {len(names)}; `structkd compare` takes several."
        )
    (judged,) = judge(load_trained(names, settings.device, settings.trust_remote_code), options, settings)
    kind = judged.trained.kind
    for metric, value in judged.scores.items():
        print(f"{kind.metric_labels.get(metric, metric):<32}{value:.4f}")  # noqa: T201
    print(f"\n{table([judged])}")  # noqa: T201
    if settings.output_dir is not None:
        write([judged], options, Path(settings.output_dir))
