"""Writes the page of a finished run from the run, its scores and its pictures."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...card.origin import name_of
from ...card.run import Run, RunNotes, RunTask, training_facts
from ...models.loading import model_of
from .._histories import build_panels
from .._palette import RUN_COLOURS
from .._pictures import PictureRow
from ..comparison import SHARE, ComparisonRow, Headline, comparison_columns
from .bars import class_bars, range_bars
from .curve_data import curve_data
from .gallery import BOX_WIDTH, Gallery, Shot, pick

FILE_NAME = "report.html"
_HERE = Path(__file__).parent
_TEACHER_COLOUR = "#8a8a8a"


class PageTask(RunTask, Protocol):
    """The parts of a `tasks.Task` that the page uses."""

    range_label: ClassVar[str]

    def paint(self, rows: Sequence[PictureRow[Any]], truth: str | None, /) -> Gallery:
        """Return the pictures of a few rows; `truth` is the title of labels that are none."""


class PageRun(Run, Protocol):
    """The parts of a `StructKDTrainer` that the page uses."""

    task: PageTask
    log_titles: Mapping[str, str]
    run_notes: RunNotes | None


class Compared(NamedTuple):
    """What was measured of the models of a run.

    Attributes:
        scores: Name of the model (teacher, alone, distilled) -> its scores, without a prefix.
        rows: The rows of the table.
        headline: The metric that the models are judged by.
        histories: Name of the student -> its log.
        notes: What a reader must know of the numbers.
        first_panel: Key and title of the first panel of the curves, as `plot_curves` takes them.
        kind: What the images of the page are, "validation" or "training".
        size: How many of these there are; None for a stream.
    """

    scores: Mapping[str, Mapping[str, float]]
    rows: Sequence[ComparisonRow]
    headline: Headline
    histories: Mapping[str, Sequence[Mapping[str, Any]]]
    notes: Sequence[str]
    first_panel: Mapping[str, str]
    kind: str
    size: int | None


class ReportPage:
    """A page on the disk, which a notebook shows in a frame.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        """Remember where the page lies."""
        self.path = path

    def __repr__(self) -> str:
        """Return where the page lies."""
        return f"ReportPage({str(self.path)!r})"

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 800px; border: 0"></iframe>'


def write_page(run: PageRun, compared: Compared, shots: Iterable[Shot]) -> ReportPage:
    """Write `report.html` into the run's folder: table, curves, bars, class match, pictures, settings.

    Args:
        run: Trainer of the student.
        compared: What was measured.
        shots: Validation images that were scored one by one; they are read once.
    """
    path = Path(str(run.args.output_dir)) / FILE_NAME
    path.unlink(missing_ok=True)  # should this page fail, that of an earlier run must not pass for it
    names = list(compared.scores)
    student = names[-1]
    sign = 1 if compared.headline.higher_is_better else -1

    def gain(scores: Mapping[str, float]) -> float:
        return sign * (scores[student] - scores.get("alone", 0.0))

    picked = pick(shots, gain)
    rows = [shot.row for shot in picked.shots if shot.row is not None]
    truth = picked.shots[0].truth if picked.shots else None
    gallery = run.task.paint(rows, truth) if rows else Gallery()
    columns, note = comparison_columns(compared.rows, compared.headline) if compared.rows else ([], "")
    page = _rendered(
        title=_title(run),
        subtitle=_subtitle(run),
        columns=columns,
        lead=_lead(columns, compared.headline),
        notes=[text for text in (note, *compared.notes) if text],
        colours=_colours(names),
        curves=_curves(run, compared),
        bars=[
            *class_bars(compared.scores, run.task.class_metric_labels, agrees=truth is not None),
            *range_bars({} if truth else picked.ranges, compared.headline, run.task.range_label),
        ],
        classes=run.task.taught_classes(),
        matching=run.task.describe(),
        gallery=gallery,
        shots=[(shot, gain(shot.scores)) for shot in picked.shots],
        box_width=BOX_WIDTH,
        headline=compared.headline,
        sign=sign,
        student=student,
        selection=_selection(picked.scored, compared.kind, compared.size),
        scored=picked.scored,
        facts=training_facts(run, run.run_notes or RunNotes()),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return ReportPage(path)


def _rendered(**values: Any) -> str:
    """Return the page of the values of its template."""
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(_HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    parts = {name: (_HERE / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    return environment.get_template("page.html.jinja").render(**parts, **values)


def _title(run: PageRun) -> str:
    return run.hub_model_id or Path(str(run.args.output_dir)).resolve().name


def _subtitle(run: PageRun) -> str:
    student = f"{type(model_of(run.model)).__name__} for {run.task.name.replace('-', ' ')}"
    if run.teacher is None:
        return f"{student}, trained without a teacher"
    source = run.teacher.source
    named = f"{name_of(source.name)}, {source.description}" if source.name else source.description
    return f"{student}, distilled from {named}"


def _lead(columns: Sequence[Sequence[str]], headline: Headline) -> str:
    """Return the result of the run in one sentence, or nothing where there is no gap to close."""
    share = next((column[-1] for column in columns if column[0] == SHARE), "")
    if not share.endswith("%"):
        return ""
    scores = dict(zip(columns[0], columns[1], strict=True))
    reached = f"{columns[1][-1]} in {headline.label}"
    alone, teacher = f"the student alone ({scores['alone']})", f"its teacher ({scores['teacher']})"
    if share.startswith("-"):
        return f"The distilled student reaches {reached}: it is worse than {alone} and {teacher}."
    gap = f"the gap between {alone} and {teacher}"
    return f"Distillation closed {share} of {gap}: the distilled student reaches {reached}."


def _colours(names: Sequence[str]) -> dict[str, str]:
    """Return the colour of each model, those of the figures."""
    students = [name for name in reversed(names) if name != "teacher"]
    return dict(zip(students, RUN_COLOURS, strict=False)) | {"teacher": _TEACHER_COLOUR}


def _curves(run: PageRun, compared: Compared) -> list[dict[str, Any]]:
    metric, title = compared.first_panel["metric"], compared.first_panel["metric_label"]
    teacher = compared.scores.get("teacher", {}).get(compared.headline.metric, math.nan)
    panels = build_panels(compared.histories, {**run.log_titles, metric: title}, metric)
    return curve_data(panels, metric, teacher if math.isfinite(teacher) else None)


def _selection(scored: int, kind: str, size: int | None) -> str:
    """Return which images were scored one by one."""
    if size is None:
        return f"The first {scored} images of the {kind} stream were scored one by one."
    if scored == size:
        return f"All {scored} {kind} images were scored one by one."
    return f"{scored} of the {size} {kind} images, spread evenly over them, were scored one by one."
