"""Run many trainings from one YAML file, and write their table: what distillation gains, on every seed.

    python scripts/ablate.py examples/ablations/camvid.yaml --processes 2
    python scripts/ablate.py examples/ablations/*.yaml --report

The first command trains every run of the plan (experiments × settings × seeds) that has no result yet, each
in a process of its own with one thread, and writes one JSON file a run. It may be killed: the next call goes
on from the last checkpoints. `--until 03:25` stops it at that time, `--only 'camvid/default-seed?'` takes a
part. The second command reads the JSON files alone, and writes the tables of docs/results.md and a figure of
each experiment.

A setting states the weights of all terms. Settings are compared seed by seed: both have the same first
weights, the same order of the images and, with `data_seed` and `augmentation_views`, the same views. The
options of an experiment that is reported were chosen on other rows than those that it reports, which the key
`chosen_on` names.
"""

from __future__ import annotations

import argparse
import fnmatch
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path

from ablation.figures import draw
from ablation.one_run import is_finished, train
from ablation.plan import Run, read_plan
from ablation.queue import work
from ablation.report import records, replace_block, result_file, table


def main() -> int:
    """Run, or report."""
    args = _parse()
    if args.report:
        report(args.plans, results=args.results, page=args.page)
        return 0
    runs = [run for plan in args.plans for run in read_plan(plan)]
    if args.one is not None:
        (run,) = (run for run in runs if run.name == args.one)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is stopped still counts its time
        train(
            run, folder=args.output_dir / run.name, results=result_file(run, args.results), cache=args.cache
        )
        return 0
    chosen = [run for run in runs if fnmatch.fnmatch(run.name, args.only)]
    waiting = [run for run in chosen if not is_finished(run, result_file(run, args.results))]
    print(f"{len(chosen)} runs, {len(chosen) - len(waiting)} of them finished", flush=True)
    commands = [(run.name, _command(run, args), args.output_dir / run.name / "log.txt") for run in waiting]
    return work(commands, processes=args.processes, until=args.until)


def report(plans: list[Path], *, results: Path, page: Path) -> None:
    """Write the table of every plan into its block of the page, and a figure of every experiment."""
    text = page.read_text(encoding="utf-8")
    for plan in plans:
        text = replace_block(text, f"runs of {plan.name}", table(plan, results))
        for experiment, runs in records(plan, results).items():
            draw(runs, results.parent / f"{experiment}.png")
    page.write_text(text, encoding="utf-8")


def _command(run: Run, args: argparse.Namespace) -> list[str]:
    folders = [("--output_dir", args.output_dir), ("--results", args.results), ("--cache", args.cache)]
    own = [part for flag, value in folders for part in (flag, str(value))]
    return [sys.executable, __file__, *map(str, args.plans), "--one", run.name, *own]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("plans", type=Path, nargs="+", help="YAML files")
    parser.add_argument("--report", action="store_true", help="write tables and figures, and train nothing")
    parser.add_argument("--only", default="*", help="pattern of EXPERIMENT/SETTING-seedN")
    parser.add_argument("--processes", type=int, default=1, help="trainings at once, one a core")
    parser.add_argument("--until", type=_next_time, help="HH:MM at which everything is stopped")
    parser.add_argument("--output_dir", type=Path, default=Path("outputs/ablation"))
    parser.add_argument("--cache", type=Path, default=Path("outputs/ablation/answers"))
    parser.add_argument("--results", type=Path, default=Path("docs/results/runs"))
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def _next_time(text: str) -> datetime:
    now = datetime.now()
    clock = datetime.strptime(text, "%H:%M")
    moment = now.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
    return moment if moment > now else moment + timedelta(days=1)


if __name__ == "__main__":
    sys.exit(main())
