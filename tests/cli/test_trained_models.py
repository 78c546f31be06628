"""Trained models are scored by their classes, timed in turn, and written down."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from hf_structkd import StructKDTrainer, StructKDTrainingArguments, load_segmentation_data
from hf_structkd.cli.endings import ExitCode
from hf_structkd.cli.main import main
from hf_structkd.cli.trained.loading import fixed_size, load_trained, short_names, solved_task
from hf_structkd.cli.trained.memory import peak_in_own_process
from hf_structkd.cli.trained.options import ScoringArguments
from hf_structkd.cli.trained.scoring import prepare
from hf_structkd.data import SegmentationOptions
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.report.latency import side_by_side
from hf_structkd.report.trade_off import Point, plot_trade_off, unbeaten
from hf_structkd.scenes.scenes import CLASS_NAMES, OBJECT_CLASS_NAMES
from hf_structkd.tasks import TASKS, SegmentationTask

from ..data.test_held_out import saved
from ..tiny_detectors import tiny_detector
from ..tiny_models import tiny_depth_model, tiny_segmentation_model
from .slips import check_slip

SCENES = ["--max_eval_samples", "3", "--no_memory", "--device", "cpu", "--repeats", "2"]


def save(model: PreTrainedModel, folder: Path, size: tuple[int, int]) -> str:
    task = solved_task_of(model)
    model.save_pretrained(folder)
    task.image_processor(size, model.config).save_pretrained(folder)
    return str(folder)


def solved_task_of(model: PreTrainedModel) -> type:
    return next(task for task in TASKS if type(model).__name__ in task.model_classes)


def permuted(model: PreTrainedModel) -> PreTrainedModel:
    """The same model with its classes in another order, and one more that no scene has."""
    order = torch.randperm(len(CLASS_NAMES)).tolist()
    names = {place: CLASS_NAMES[index].upper() for place, index in enumerate(order)}
    other = tiny_segmentation_model("segformer", id2label={**names, len(order): "unicorn"})
    state = model.state_dict()
    for name in ("weight", "bias"):
        old = state[f"decode_head.classifier.{name}"]
        state[f"decode_head.classifier.{name}"] = torch.cat([old[order], torch.zeros_like(old[:1])])
    other.load_state_dict(state)
    return other


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of the scenes' classes, the same in another order, and their comparison."""
    folder = tmp_path_factory.mktemp("compared")
    model = tiny_segmentation_model("segformer", id2label=dict(enumerate(CLASS_NAMES)))
    names = [save(model, folder / "own", (64, 64)), save(permuted(model), folder / "other", (64, 64))]
    main(["compare", *names, *SCENES, "--output_dir", str(folder / "out")])
    return folder


def test_a_student_gets_the_scores_that_its_trainer_gave_it(compared: Path, tmp_path: Path) -> None:
    """A comparison that shows other images, or scores otherwise, contradicts every other table."""
    data = load_segmentation_data(
        normalization=ImageNormalization.from_image_processor(None),
        image_size=[64, 64],
        max_train_samples=1,
        max_eval_samples=3,
    )
    args = StructKDTrainingArguments(
        output_dir=str(tmp_path),
        use_cpu=True,
        report_to=[],
        pixel_weight=0,
        pairwise_weight=0,
        holistic_weight=0,
    )
    trainer = StructKDTrainer(
        str(compared / "own"), None, args, train_dataset=data.train, eval_dataset=data.validation
    )
    expected = trainer.evaluate()
    found = json.loads((compared / "out" / "scores.json").read_text())["models"][0]["scores"]
    assert {name: expected[f"eval_{name}"] for name in found} == pytest.approx(found, nan_ok=True)


def test_classes_are_scored_by_their_names(compared: Path) -> None:
    """By their ids, a model of another order of classes would be scored as if it were blind."""
    own, other = json.loads((compared / "out" / "scores.json").read_text())["models"]
    assert own["scores"]["mean_iou"] > 0
    # The further class wins some pixels of nobody's: the others may only lose them.
    assert other["scores"] == pytest.approx(own["scores"], nan_ok=True)


def test_rows_are_held_out_by_the_seed_of_the_training(
    compared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a student of another seed is scored on rows that it has learned, and looks good."""
    held_out: dict[str, Any] = {"dataset_name": saved(tmp_path, train=20), "validation_fraction": 0.2}
    held_out |= {"image_size": [4, 6], "labels_are_teacher_ids": True}
    (trained,) = load_trained([str(compared / "own")], "cpu")

    def colours(rows: Any) -> list[float]:
        return [float(row["pixel_values"].max()) for row in rows]

    scored = {}
    for seed in (None, 42, 7):
        settings = ScoringArguments(own_size=False, data_seed=seed)
        scored[seed] = colours(prepare(trained, SegmentationOptions(**held_out), settings).rows)
        assert ("--data_seed" in caplog.text) is (seed is None)
        caplog.clear()
    training = SegmentationTask.load_data(
        SegmentationOptions(**held_out), normalization=trained.normalization, teacher=trained.config, seed=7
    )
    assert scored[7] == colours(training.validation)
    assert scored[None] == scored[42] != scored[7]


def test_the_comparison_says_what_it_measured_and_how(compared: Path) -> None:
    record = json.loads((compared / "out" / "scores.json").read_text())
    assert (record["dataset"], record["split"], record["metric"]) == (
        "the embedded scenes", "validation", "mean_iou",
    )  # fmt: skip
    assert record["threads"] == torch.get_num_threads()
    for one in record["models"]:
        assert one["image_size"] == [64, 64]
        assert one["milliseconds"]["low"] <= one["milliseconds"]["median"] <= one["milliseconds"]["high"]
        assert one["flops"] > 0
    assert (compared / "out" / "trade_off.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["compare"], ExitCode.USAGE, "no model is named"),
        (["compare", "own", "own"], ExitCode.USAGE, "'own' is named twice"),
        (["evaluate", "own", "other"], ExitCode.USAGE, "scores one model, got 2"),
        (["evaluate", "own", "--image_sise", "3"], ExitCode.USAGE, "did you mean '--image_size'?"),
        (["evaluate", "nowhere"], ExitCode.HUB, "nowhere"),
        (["evaluate", "own", "--batch_size", "0"], ExitCode.INPUT, "`batch_size` must be at least 1"),
    ],
)
def test_a_slip_is_one_sentence(
    compared: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: ExitCode,
    sentence: str,
) -> None:
    monkeypatch.chdir(compared)
    check_slip(capsys, words, code, sentence)


def test_models_of_two_tasks_are_not_compared(tmp_path: Path) -> None:
    for name, model in (("a", tiny_segmentation_model("segformer")), ("b", tiny_depth_model("glpn"))):
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(tmp_path / name)
    with pytest.raises(ValueError, match=r"must solve one task, got .*segmentation.*depth"):
        load_trained([str(tmp_path / "a"), str(tmp_path / "b")], "cpu")
    assert solved_task(str(tmp_path / "a")) is SegmentationTask


def test_models_take_turns_and_every_round_begins_with_another() -> None:
    """Timed one after the other, the model that ran while a backup did would be called slow."""
    calls: list[int] = []
    runs = [lambda place=place: calls.append(place) for place in range(3)]
    found = side_by_side(runs, repeats=4)  # type: ignore[arg-type]
    rounds = [calls[i : i + len(calls) // 4] for i in range(0, len(calls), len(calls) // 4)]
    assert [set(one) for one in rounds] == [{0, 1, 2}] * 4
    assert [one[0] for one in rounds] == [0, 1, 2, 0]
    assert all(0 < one.low <= one.median <= one.high for one in found)


def test_only_models_that_no_other_beats_are_joined(tmp_path: Path) -> None:
    points = [Point(name, q, (ms, ms, ms), 10) for name, q, ms in (("a", 1, 1), ("b", 2, 3), ("c", 1.5, 3))]
    assert [one.name for one in unbeaten(points, higher_is_better=True)] == ["a", "b"]
    assert [one.name for one in unbeaten(points, higher_is_better=False)] == ["a"]
    plot_trade_off(points, tmp_path / "x.png", label="error", higher_is_better=False)
    assert (tmp_path / "x.png").is_file()


def test_names_in_a_table_are_short_and_tell_models_apart() -> None:
    assert short_names(["runs/a", "runs/b/"]) == {"runs/a": "a", "runs/b/": "b"}
    assert short_names(["x/out", "y/out", "z"]) == {"x/out": "x/out", "y/out": "y/out", "z": "z"}


def test_a_size_is_one_that_every_image_gets() -> None:
    class Processor:
        def __init__(self, **size: int) -> None:
            self.size = size

    assert fixed_size(Processor(height=3, width=4)) == (3, 4)
    assert fixed_size(Processor(max_height=3, max_width=4)) == (3, 4)
    assert fixed_size(Processor(shortest_edge=3)) is None
    assert fixed_size(None) is None


@pytest.mark.long
def test_a_larger_model_takes_more_memory(compared: Path) -> None:
    """The peak of this process would be that of the largest model, for all of them."""
    device = torch.device("cpu")
    small, large = (peak_in_own_process(str(compared / "own"), (s, s), device) for s in (64, 512))
    assert small is not None
    assert large is not None
    assert 0 < small < large


@pytest.mark.long
@pytest.mark.parametrize("task", ["depth", "detection"])
def test_the_other_tasks_are_compared(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = dict(enumerate(OBJECT_CLASS_NAMES))
    model = tiny_depth_model("glpn") if task == "depth" else tiny_detector("rt_detr", id2label=names)
    folders = [save(model, tmp_path / name, (64, 64)) for name in ("a", "b")]
    main(["compare", *folders, *SCENES, "--output_dir", str(tmp_path / "out")])
    assert re.search(r"\| a +\|", capsys.readouterr().out)
    first, second = json.loads((tmp_path / "out" / "scores.json").read_text())["models"]
    assert first["scores"] == pytest.approx(second["scores"], nan_ok=True)
