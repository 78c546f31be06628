"""The report of a run says what any task's report says: it knows the metric and the models, no task."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hf_structkd.report import Exhibit, Headline, write_report
from hf_structkd.report import run as run_module
from hf_structkd.report.comparison import how_timed
from hf_structkd.report.run import collate_first


class Numbered:
    """A data set whose images hold their own index."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"pixel_values": torch.full((3, 4, 4), float(index)), "labels": torch.ones(4, 4)}


class Constant(nn.Module):
    """A model that answers its one weight."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value))

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.weight.expand(len(pixel_values))


class FakeTeacher:
    model = Constant(5.0)
    source = SimpleNamespace(is_loaded=True)
    is_sharded = False
    image_size = None

    def images(self, pixel_values: Tensor) -> Tensor:
        return pixel_values

    def __call__(self, batch: dict[str, Tensor]) -> Any:
        return SimpleNamespace(output=self.model(batch["pixel_values"]))


class FakeTask:
    headline = Headline("error", "Error", higher_is_better=False, further=(("rmse", "RMSE"),))

    def __init__(self) -> None:
        self.drawn: list[Exhibit] = []

    @staticmethod
    def model_inputs(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"pixel_values": batch["pixel_values"]}

    @staticmethod
    def collate(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    @staticmethod
    def as_student(output: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return output + batch["labels"].flatten(1).amax(dim=1)

    @staticmethod
    def score_note(*, has_teacher: bool) -> str:
        return "A teacher was scored." if has_teacher else ""

    def draw(self, exhibit: Exhibit, folder: Path) -> None:
        assert folder.name == "figures"
        self.drawn.append(exhibit)


def fake_trainer(folder: Path, *, value: float = 1.0, teacher: Any = None, errors: Any = (0.4, 0.2)) -> Any:
    history = [{"step": step, "eval_error": error} for step, error in enumerate(errors)]
    return SimpleNamespace(
        task=FakeTask(),
        teacher=teacher,
        model=Constant(value),
        state=SimpleNamespace(log_history=history),
        log_titles={"loss_task": "task loss", "loss_pixel": "pixel-wise term"},
        args=SimpleNamespace(output_dir=str(folder), device=torch.device("cpu")),
        eval_dataset=Numbered(100),
        processing_class=None,
    )


@pytest.fixture
def curves(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `plot_curves` was called with."""
    called: dict[str, Any] = {}
    monkeypatch.setattr(
        run_module,
        "plot_curves",
        lambda histories, path, **k: called.update(k, histories=histories, path=path),
    )
    monkeypatch.setattr(run_module, "write_page", lambda run, compared, shots: called.update(page=compared))
    return called


METRICS = {"eval_error": 0.2, "eval_rmse": 0.5}
OF_TEACHER = {"error": 0.1, "rmse": 0.4}
OF_ALONE = {"eval_error": 0.3, "eval_rmse": 0.6, "eval_runtime": 1.0}


def test_an_error_counts_as_closed_gap_where_it_falls(tmp_path: Path, curves: dict[str, Any]) -> None:
    table = write_report(
        fake_trainer(tmp_path, teacher=FakeTeacher()),
        METRICS,
        teacher_metrics=OF_TEACHER,
        alone=fake_trainer(tmp_path / "alone"),
        alone_metrics=OF_ALONE,
    )
    header, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[:5]]
    assert header[:4] == ["model", "Error (lower is better)", "share of the gap closed", "RMSE"]
    assert header[4:] == ["parameters", "ms an image"]
    assert [row[:4] for row in rows] == [
        ["teacher", "0.100", "", "0.400"],
        ["alone", "0.300", "", "0.600"],
        ["distilled", "0.200", "50 %", "0.500"],
    ]


def test_what_the_numbers_mean_stands_under_the_table(tmp_path: Path, curves: dict[str, Any]) -> None:
    """A time without its threads, or a score after a fit to the truth, is read as more than it is."""
    table = write_report(fake_trainer(tmp_path, teacher=FakeTeacher()), METRICS, teacher_metrics=OF_TEACHER)
    assert table.splitlines()[-3:] == [
        how_timed(torch.device("cpu")),
        "",
        "A teacher was scored.",
    ]


@pytest.mark.parametrize(("higher", "label"), [(False, "Error (lower is better)"), (True, "Error")])
def test_the_curves_show_the_metric_of_the_report(
    tmp_path: Path, curves: dict[str, Any], higher: bool, label: str
) -> None:
    """A falling curve of an error is good news only to those who know that it is one."""
    trainer = fake_trainer(tmp_path, teacher=FakeTeacher())
    trainer.task.headline = FakeTask.headline._replace(higher_is_better=higher)
    alone = fake_trainer(tmp_path / "alone", errors=(0.5, 0.3))
    write_report(trainer, METRICS, teacher_metrics=OF_TEACHER, alone=alone, alone_metrics=OF_ALONE)
    assert (curves["metric"], curves["metric_label"]) == ("eval_error", label)
    assert curves["teacher"] == 0.1
    assert list(curves["histories"]) == ["distilled", "alone"]
    assert curves["histories"]["alone"] is alone.state.log_history
    assert curves["titles"]["loss_pixel"] == "pixel-wise term"
    assert curves["path"] == tmp_path / "figures" / "curves.png"


def test_every_model_answers_the_same_images_and_the_teacher_in_the_students_terms(
    tmp_path: Path, curves: dict[str, Any]
) -> None:
    """A relative teacher's raw output beside metric students would compare metres with nothing."""
    trainer = fake_trainer(tmp_path, teacher=FakeTeacher())
    trainer.processing_class = SimpleNamespace(do_rescale=True, rescale_factor=1 / 50)
    alone = fake_trainer(tmp_path, value=2.0)
    write_report(trainer, METRICS, teacher_metrics=OF_TEACHER, alone=alone, alone_metrics=OF_ALONE)
    (exhibit,) = trainer.task.drawn
    assert {name: output.tolist() for name, output in exhibit.outputs.items()} == {
        "teacher": [6.0] * 4,
        "alone": [2.0] * 4,
        "distilled": [1.0] * 4,
    }
    assert {name: scores["error"] for name, scores in exhibit.scores.items()} == {
        "teacher": 0.1,
        "alone": 0.3,
        "distilled": 0.2,
    }
    expected = (torch.tensor([0.0, 33, 66, 99]) * 50 / 255).clamp(0, 1)
    torch.testing.assert_close(exhibit.images[:, 0, 0, 0], expected)
    assert exhibit.batch["pixel_values"][:, 0, 0, 0].tolist() == [0, 33, 66, 99]


def test_without_a_teacher_there_is_one_student(tmp_path: Path, curves: dict[str, Any]) -> None:
    trainer = fake_trainer(tmp_path)
    lines = write_report(trainer, METRICS).splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("|")][2:] == ["student"]
    assert list(trainer.task.drawn[0].outputs) == ["student"]
    assert curves["teacher"] is None


def test_a_picture_has_the_size_of_the_map_beside_it() -> None:
    images = torch.rand(2, 3, 4, 6)
    exhibit = Exhibit(images, {}, {}, {})
    assert exhibit.picture(0, (8, 12)).shape == (8, 12, 3)
    torch.testing.assert_close(torch.as_tensor(exhibit.picture(1, (4, 6))), images[1].permute(1, 2, 0))


def test_pictures_are_spread_over_the_evaluation_set(tmp_path: Path) -> None:
    """The first four of a video are one picture."""
    trainer = fake_trainer(tmp_path)
    assert collate_first(trainer)["pixel_values"][:, 0, 0, 0].tolist() == [0, 33, 66, 99]
    trainer.eval_dataset = Numbered(2)
    assert collate_first(trainer)["pixel_values"][:, 0, 0, 0].tolist() == [0, 1]


def test_a_stream_shows_its_first_rows(tmp_path: Path) -> None:
    trainer = fake_trainer(tmp_path)
    trainer.eval_dataset = (Numbered(100)[i] for i in range(100))
    assert collate_first(trainer)["pixel_values"][:, 0, 0, 0].tolist() == [0, 1, 2, 3]
