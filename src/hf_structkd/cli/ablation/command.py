"""Work through a plan of runs, or write the tables and figures of those that are finished."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from ...data.options import option
from ..endings import ExitCode, UsageError
from ..model_words import words_before_options
from ..script_args import parse_arguments
from . import one_run
from .one_run import is_finished, train
from .page import report
from .plan import Run, read_plan, seed_by_seed
from .queue import Job, starting, work
from .records import result_file

_EXAMPLES = """  structkd ablate camvid.yaml --processes 2      train what has no result yet; may be killed
  structkd ablate camvid.yaml --only 'camvid/*'  a part of the runs
  structkd ablate camvid.yaml --report           tables and figures, from the results alone"""


@dataclass(kw_only=True)
class AblationArguments:
    """Which runs of a plan are made, and where their results go."""

    help_group: ClassVar[str] = "runs"

    report: bool = option(False, "Write tables and figures, and train nothing.")
    only: str = option("*", "Pattern of EXPERIMENT/SETTING-seedN.")
    processes: int = option(1, "Trainings at once, each with one thread.")
    until: str | None = option(None, "HH:MM at which everything is stopped.")
    output_dir: str = option("outputs/ablation", "Folder of checkpoints and students.")
    cache: str = option("outputs/ablation/answers", "Folder of the teachers' answers, which runs share.")
    results: str = option("outputs/ablation/runs", "Folder of one JSON file a run; figures go beside it.")
    page: str = option("outputs/ablation/results.md", "Markdown page that gets the tables.")
    keep_views: bool = option(
        False, "Keep the views of the training images in each run's memory; changes no score."
    )

    def __post_init__(self) -> None:
        """Check the number of processes and the time."""
        if self.processes < 1:
            raise ValueError(f"`processes` must be at least 1, got {self.processes}; 1 runs one at a time.")
        if self.until is not None:
            next_time(self.until)


def ablate(argv: Sequence[str], *, command: str = "structkd ablate", **defaults: Any) -> None:
    """Run, or report.

    Args:
        argv: Plans, YAML files, then options.
        command: What tables call the command.
        **defaults: Defaults of options that are not those of the class.

    Raises:
        SystemExit: If a run failed.
        UsageError: If no plan is named, or `--only` matches no run.
    """
    words, rest = words_before_options(argv)
    usage = f"{command} PLAN.yaml... [--option value ...]"
    options: dict[str, Any] = {"prog": command, "usage": usage, "epilog": _EXAMPLES, "defaults": defaults}
    (args,) = parse_arguments(AblationArguments, argv=rest, **options)
    plans = [Path(word) for word in words]
    if not plans:
        raise UsageError(f"no plan is named; write its YAML file, as `{command} camvid.yaml` does.")
    if args.report:
        report(plans, results=Path(args.results), page=Path(args.page), command=command)
        return
    runs = seed_by_seed([run for plan in plans for run in read_plan(plan)])
    chosen = [run for run in runs if fnmatch.fnmatch(run.name, args.only)]
    if not chosen:
        raise UsageError(f"`--only` must match runs of the plans, as {runs[0].name!r}, got {args.only!r}.")
    waiting = [run for run in chosen if not is_finished(run, result_file(run, Path(args.results)))]
    print(f"{len(chosen)} runs, {len(chosen) - len(waiting)} of them finished", flush=True)  # noqa: T201
    jobs = [_job(run, args) for run in waiting]
    context = starting(one_run.__name__, forked=not torch.cuda.is_available())
    until = None if args.until is None else next_time(args.until)
    if work(jobs, processes=args.processes, context=context, until=until):
        raise SystemExit(ExitCode.UNEXPECTED)


def next_time(text: str) -> datetime:
    """Return the next moment at which a clock shows HH:MM.

    Raises:
        ValueError: If the text is no such time.
    """
    now = datetime.now()
    try:
        clock = datetime.strptime(text, "%H:%M")
    except ValueError as error:
        raise ValueError(f"`until` must be a time as HH:MM, got {text!r}; 03:25 is one.") from error
    moment = now.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
    return moment if moment > now else moment + timedelta(days=1)


def _job(run: Run, args: AblationArguments) -> Job:
    folder, results, cache = Path(args.output_dir) / run.name, Path(args.results), Path(args.cache)
    places = {"folder": folder, "results": result_file(run, results), "cache": cache}
    return run.name, partial(train, run, **places, keep_views=args.keep_views), folder / "log.txt"
