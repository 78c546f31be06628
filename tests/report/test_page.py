"""`report.html` shows what the run did, on pictures that say where; whatever users name stays text."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from transformers import PretrainedConfig
from transformers.modeling_outputs import DepthEstimatorOutput

from hf_structkd.card import write_card
from hf_structkd.cli.failures import Failures
from hf_structkd.report import Boxes, PictureRow, depth_gallery, write_report
from hf_structkd.report import run as run_module
from hf_structkd.report._histories import Panel
from hf_structkd.report.page.curve_data import curve_data
from hf_structkd.report.page.encoding import flat_picture
from hf_structkd.report.page.gallery import Picked, Shot, pick, shrunk
from hf_structkd.tasks import TASKS, DepthTask
from tests.cases import CASES, NUM_LABELS, SEGMENTATION, TaskCase, arguments, make_trainer
from tests.unlabelled_rows import unlabelled

CELL = re.compile(r"<t[hd][^>]*>(.*?)</t[hd]>", re.DOTALL)
HOSTILE = "</script><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """The tags of a page with their attributes, and the data of its script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == ("script", {"type": "application/json", "id": "data"}):
            self.data += data

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.tags if attrs.get("class") == name]


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The PNG files have their own tests; here they would take most of the time."""
    monkeypatch.setattr(run_module, "plot_curves", lambda *args, **options: None)
    for task in TASKS:
        monkeypatch.setattr(task, "draw", lambda self, exhibit, folder: None)


def finished(case: TaskCase, folder: Path, **settings: Any) -> Any:
    """A trainer as it is after a training that logged twice."""
    trainer = make_trainer(case, arguments(folder, report_to="none"), **settings)
    trainer.state.log_history = [{"step": 1, "loss": 2.0, "loss_task": 2.0}, {"step": 2, case.metric: 0.5}]
    return trainer


# ---- a whole page ----


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_task_has_a_page_with_scored_pictures(case: TaskCase, tmp_path: Path) -> None:
    """Else a reader sees one number, and not on which images it was lost."""
    trainer = finished(case, tmp_path, eval_dataset=case.rows(3))
    trainer.show()
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(text) < 5_000_000
    page = Page(text)
    titles = [attrs["data-title"] for attrs in page.of_class("layer")]
    truth = "label" if case is SEGMENTATION else "ground truth"
    assert titles == ["image", truth, "teacher", "distilled"] * 3
    loaded = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href")]
    assert all(value.startswith(("data:image/", "#")) for value in loaded if value)
    cards = {
        int(attrs["data-place"] or ""): float(attrs["data-own"] or "nan") for attrs in page.of_class("card")
    }
    sign = 1 if trainer.task.headline.higher_is_better else -1
    for place, own in cards.items():
        alone = trainer.evaluate(torch.utils.data.Subset(case.rows(3), [place]))[case.metric]
        assert sign * own == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_of_several_evaluation_sets_the_first_is_judged_and_each_other_has_a_column(
    case: TaskCase, tmp_path: Path
) -> None:
    """Else who evaluates on two sets, as Trainer allows, has no report at all, or one without the second."""
    sets = {"near": case.rows(3), "near_by": case.rows(2)}
    trainer, alone = (
        finished(case, tmp_path / name, eval_dataset=sets, teacher=teacher)
        for name, teacher in (("distilled", case.teacher(1)), ("alone", case.teacher(2)))
    )
    metric = case.metric.removeprefix("eval_")
    for run in (trainer, alone):
        run.state.log_history = [{"step": 1, f"eval_near_{metric}": 0.5}]
    trainer.show(alone=alone)
    text = (tmp_path / "distilled" / "report.html").read_text(encoding="utf-8")
    rows = re.findall(
        r"<tr>(.*?)</tr>", text[text.index('id="comparison"') :].split("</table>")[0], re.DOTALL
    )
    head, *lines = (
        [html.unescape(re.sub("<.*?>", "", cell)).strip() for cell in re.findall(CELL, row)] for row in rows
    )
    table = {line[0]: dict(zip(head, line, strict=True)) for line in lines}
    label, arrow = trainer.task.headline.label, " (higher is better)"
    arrow = arrow if trainer.task.headline.higher_is_better else arrow.replace("higher", "lower")
    scores, of_teacher = trainer.evaluate(), trainer.evaluate_teacher()
    for name, column in (("near", f"near: {label}{arrow}"), ("near_by", f"near_by: {label}")):
        close = {"abs": 5e-3, "rel": 5e-3}
        assert float(table["distilled"][column]) == pytest.approx(scores[f"eval_{name}_{metric}"], **close)
        assert float(table["teacher"][column]) == pytest.approx(of_teacher[f"{name}_{metric}"], **close)
    assert "All 3 validation images were scored" in text


@pytest.mark.parametrize("is_evaluated", [True, False])
def test_without_labels_the_pictures_show_the_teacher_in_their_place(
    tmp_path: Path, is_evaluated: bool
) -> None:
    """An agreement under the name of a label would be read as accuracy."""
    rows = unlabelled(SEGMENTATION, 3)
    data: dict[str, Any] = {"train_dataset": rows, "eval_dataset": rows if is_evaluated else None}
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, report_to="none"), **data)
    trainer.state.log_history = [{"step": 1, "loss": 2.0, "eval_agreement_mean_iou": 0.5}]
    trainer.show()
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert [attrs["data-title"] for attrs in page.of_class("layer")] == ["image", "teacher", "distilled"] * 3
    assert "agreement with the teacher, mean IoU" in text
    assert ("All 3 training images were scored" in text) is not is_evaluated
    assert any(attrs.get("id") == "comparison" for _, attrs in page.tags) is is_evaluated
    assert (len(page.of_class("bar-row")) == NUM_LABELS) is is_evaluated


def test_names_of_users_are_text_on_the_page(tmp_path: Path) -> None:
    """A class of a downloaded model must not run a program in the browser of whoever reads the page."""
    names = {0: HOSTILE, 1: "'\"&", 2: "b", 3: "c", 4: "d"}
    trainer = finished(SEGMENTATION, tmp_path)
    for model in (trainer.model, trainer.teacher.model):
        model.config.id2label = names
    trainer = make_trainer(
        SEGMENTATION,
        arguments(tmp_path, report_to="none"),
        student=trainer.model,
        teacher=trainer.teacher.model,
    )
    trainer.run_notes = None
    trainer.state.log_history = [{"step": 1, f"loss_{HOSTILE}": 1.0, "eval_mean_iou": 0.5}]
    trainer.show()
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert text.count("&lt;/script&gt;") >= 2  # among the classes, and in the legend or the bars
    page = Page(text)
    assert not [attrs for tag, attrs in page.tags if tag == "img" and attrs.get("src") == "x"]
    assert [panel["title"] for panel in json.loads(page.data)["curves"]][1] == f"loss_{HOSTILE}"


def test_a_page_that_cannot_be_written_costs_itself_alone(tmp_path: Path) -> None:
    """The table and the card are worth more than the page."""
    trainer, failures = finished(SEGMENTATION, tmp_path), Failures()
    (tmp_path / "report.html").mkdir()
    metrics = trainer.evaluate()
    table = write_report(trainer, metrics, teacher_metrics=trainer.evaluate_teacher(), part=failures.of)
    assert table.startswith("| model")
    with pytest.raises(IsADirectoryError):
        failures.raise_first()


def test_a_notebook_shows_the_page_and_the_card_names_it(tmp_path: Path) -> None:
    trainer = finished(SEGMENTATION, tmp_path)
    shown = trainer.show(alone=finished(SEGMENTATION, tmp_path / "alone"))
    frame = Page(shown._repr_html_()).tags
    assert frame[0][0] == "iframe"
    assert frame[0][1]["srcdoc"] == (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(frame) == 1
    write_card(trainer)
    assert "](report.html)" in (tmp_path / "README.md").read_text(encoding="utf-8")


# ---- which pictures, and how large ----


def shot(place: int, score: float, **ranges: Any) -> Shot:
    return Shot(place, None, {"distilled": score}, ranges)


def picked(scores: list[float]) -> Picked:
    return pick((shot(i, score) for i, score in enumerate(scores)), lambda one: one["distilled"])


def test_the_most_gained_and_the_most_lost_are_shown() -> None:
    """Pictures that somebody chose, or the first ones, show what one wants to see."""
    scores = list(range(40))
    random.Random(0).shuffle(scores)
    found = picked(list(map(float, scores)))
    assert [one.scores["distilled"] for one in found.shots] == [39, 38, 37, 36, 35, 34, 5, 4, 3, 2, 1, 0]
    assert found.scored == 40
    assert [one.place for one in picked([math.nan, 1.0, math.nan, 2.0]).shots] == [3, 1, 0, 2]


def test_errors_of_a_range_are_means_over_the_pixels_of_all_images() -> None:
    shots = [shot(0, 1.0, teacher={(1.0, 2.0): (3.0, 2)}), shot(1, 1.0, teacher={(1.0, 2.0): (1.0, 6)})]
    assert pick(shots, lambda one: one["distilled"]).ranges == {"teacher": {(1.0, 2.0): 0.5}}


def test_a_large_picture_is_shrunk_with_all_that_lies_on_it() -> None:
    """Twelve pictures of a camera would make a page of 100 MB; boxes must stay on their objects."""
    image, ids = np.zeros((600, 1200, 3)), np.zeros((600, 1200), dtype=int)
    image[:, 900:], ids[:, 900:] = 1.0, 7
    box = Boxes(corners=[[900, 0, 1200, 600]], labels=[1])
    row = shrunk(PictureRow(image, ids, {"boxes": box, "ids": ids}))
    assert np.shape(row.image) == (192, 384, 3)
    assert np.unique(row.predictions["ids"]).tolist() == [0, 7]
    np.testing.assert_array_equal(np.asarray(row.image)[..., 0] > 0.5, np.asarray(row.truth) == 7)
    np.testing.assert_allclose(row.predictions["boxes"].corners, [[288, 0, 384, 192]])
    assert shrunk(PictureRow(image[:9, :9], box, {})).truth is box


def test_the_colours_of_a_map_are_exact() -> None:
    """A colour that differs a little is another class to the reader of the legend."""
    colours = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    painted = colours[np.arange(64 * 8).reshape(64, 8) % 256]
    kind, _, data = flat_picture(painted).partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (kind, image.mode) == ("data:image/png;base64", "P")
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), painted)


def test_ranges_of_depth_hold_the_errors_of_their_pixels() -> None:
    truth = torch.tensor([[0.0, 1.5, 1.5, 3.0], [math.nan, 0.7, 3.5, 20.0]])
    depth = torch.tensor([[9.0, 1.0, 2.0, 6.0], [9.0, 0.7, 3.5, 10.0]])
    task = DepthTask(PretrainedConfig(), max_depth=10.0)
    (found,) = task.range_errors(DepthEstimatorOutput(predicted_depth=depth[None]), {"labels": truth[None]})
    assert found == {
        (0.5, 1.0): (0.0, 1),
        (1.0, 2.0): (pytest.approx(2 / 3), 2),
        (2.0, 4.0): (pytest.approx(1.0), 2),
    }


def test_below_each_depth_stands_its_error_in_metres() -> None:
    """A depth map that looks right may be wrong by a metre everywhere."""
    truth = np.linspace(1.0, 5.0, 64).reshape(1, 64).repeat(48, 0)
    hole = truth.copy()
    hole[:, :16] = 0.0
    image = np.full((48, 64, 3), 0.5)
    rows = [PictureRow(image, hole, {"teacher": truth, "distilled": truth + 2.0})]
    gallery = depth_gallery(rows)
    layers = {layer.title: layer.error for layer in gallery.pictures[0].layers}
    assert [bool(error) for error in layers.values()] == [False, False, True, True]
    depth, error = gallery.scales
    assert depth.title == "depth in m (bright is near)"
    assert error.title == "error in m: |prediction − ground truth| (dark is wrong)"
    assert error.ticks[0] == ("0", 0.0)
    assert error.ticks[-1] == ("2", pytest.approx(100.0))
    for title, place in (("teacher", 0), ("distilled", -1)):
        painted = decoded(layers[title])
        colour = [int(error.colours[place][i : i + 2], 16) for i in (1, 3, 5)]
        assert np.abs(painted[8:-8, 32:-8].astype(int) - colour).max() <= 12, title
        assert np.ptp(painted[:, :8].astype(int), axis=-1).max() <= 12, "a hole has no colour of an error"
    assert ("unknown", gallery.legend[0][1]) == gallery.legend[0]


def test_depth_without_a_unit_has_scales_without_metres() -> None:
    truth = np.linspace(0.1, 0.2, 64).reshape(8, 8)
    rows = [PictureRow(np.zeros((8, 8, 3)), truth, {"student": truth})]
    depth, error = depth_gallery(rows, truth="teacher", unit="").scales
    assert depth.title == "depth, in units of its own (bright is near)"
    assert error.title == "error, in units of its own: |prediction − teacher| (dark is wrong)"


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


# ---- curves ----


def test_a_long_curve_keeps_its_peaks_and_gaps_and_fits_on_the_page() -> None:
    """A mean over pieces would hide the step at which a run went wrong."""
    values = np.sin(np.arange(50_000) / 4000)
    values[31_234], values[20_000:20_400] = 9.0, math.nan
    panel = Panel("loss_task", "task loss", {"run": pd.Series(values)})
    (drawn,) = curve_data([panel], "eval_x", None)
    points = drawn["lines"]["run"]
    assert len(points) < 1000
    assert (31_234.0, 9.0) in points
    assert any(value is None for step, value in points if 20_000 <= step < 20_400)
    assert not any(value is not None for step, value in points if 20_000 <= step < 20_400)
    assert re.search("linear, includes 0", drawn["axis"])
    json.dumps(drawn, allow_nan=False)
