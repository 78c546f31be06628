"""A network that is no model of Transformers teaches, learns, is saved and is loaded like one that is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from hf_structkd import StructKDTrainer, wrap_model
from hf_structkd.models import TeacherSource, load_image_processor, load_student, load_teacher
from hf_structkd.models.initialization import start_from_teacher
from hf_structkd.models.loading import config_of
from hf_structkd.models.restoring import restore_weights
from hf_structkd.tasks import TASKS, SegmentationTask, Task, task_of
from tests import cases
from tests.models.networks import detector, shared, unet

NAMES = {index: f"LABEL_{index}" for index in range(cases.NUM_LABELS)}
IMAGES = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "image_size": (64, 64)}
TASK = {task.short_name: task for task in TASKS}


def segmenter(width: int = 4, **changes: Any) -> PreTrainedModel:
    options: dict[str, Any] = {"id2label": NAMES, "read": "maps", **IMAGES, **changes}
    return wrap_model(unet.UNet, {"width": width}, task="segmentation", **options)


def estimator(width: int = 4) -> PreTrainedModel:
    arguments = {"width": width, "outputs": 1}
    return wrap_model(unet.UNet, arguments, task="depth", read=unet.positive, **IMAGES)


def finder(queries: int = 6, channels: int = 5) -> PreTrainedModel:
    arguments = {"queries": queries, "channels": channels}
    options = {"id2label": NAMES, "read": detector.read_queries, "feature": "body", **IMAGES}
    return wrap_model(detector.Queries, arguments, task="detection", **options)


MAKERS: dict[str, Callable[..., PreTrainedModel]] = {
    "segmentation": segmenter,
    "depth": estimator,
    "detection": finder,
}


def answers(model: PreTrainedModel) -> list[torch.Tensor]:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return [value for value in model.eval()(images).to_tuple() if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize("name", list(MAKERS))
def test_a_saved_network_gives_the_same_answers_with_its_code(
    name: str, tmp_path: Path, trusted_code: None
) -> None:
    """A network that only its own program can load is of no use to whoever finds it on the Hub.

    The buffer that is in no file is filled by the constructor; Transformers would fill it with noise.
    """
    model = MAKERS[name]()
    model.save_pretrained(tmp_path / name)
    again = load_student(tmp_path / name, TASK[name], trust_remote_code=True)
    assert task_of(again) is TASK[name]
    assert type(again) is not type(model)
    for mine, its in zip(answers(model), answers(again), strict=True):
        assert torch.equal(mine, its)
    processor = load_image_processor(tmp_path / name)
    assert [*processor.image_mean, *processor.image_std] == [0.5, 0.4, 0.3, 0.2, 0.3, 0.4]
    again.save_pretrained(tmp_path / f"{name}-again")
    third = load_student(tmp_path / f"{name}-again", TASK[name], trust_remote_code=True)
    assert all(torch.equal(*pair) for pair in zip(answers(model), answers(third), strict=True))


def test_shared_tensors_stay_shared(tmp_path: Path, trusted_code: None) -> None:
    """Transformers refuses to save what is shared unknown to it: at the first checkpoint, hours later."""
    model = wrap_model(shared.Shared, {}, task="segmentation", id2label=NAMES, **IMAGES)
    args = cases.arguments(tmp_path / "run", max_steps=1, save_strategy="steps", save_steps=1, **cases.ALONE)
    trainer = StructKDTrainer(model, None, args, train_dataset=cases.SEGMENTATION.rows(4))
    trainer.train()
    again = load_student(tmp_path / "run" / "checkpoint-1", SegmentationTask, trust_remote_code=True)
    assert all(torch.equal(*pair) for pair in zip(answers(model), answers(again), strict=True))
    assert again.inner.third.weight is again.inner.block[0].weight
    other = wrap_model(shared.Shared, {}, task="segmentation", id2label=NAMES, **IMAGES)
    restore_weights(other, tmp_path / "run" / "checkpoint-1")
    assert all(torch.equal(*pair) for pair in zip(answers(model), answers(other), strict=True))
    assert other.inner.third.weight is other.inner.block[0].weight
    assert len(dict(again.named_parameters())) == len(dict(model.named_parameters()))


def test_the_code_of_a_folder_runs_only_where_it_is_trusted(tmp_path: Path) -> None:
    """Weights from a stranger would else run a program of his."""
    segmenter().save_pretrained(tmp_path)
    (tmp_path / "unet.py").write_text("raise SystemExit('the code of a folder runs')")
    assert task_of(tmp_path) is SegmentationTask
    for load in (load_student, load_teacher, TeacherSource):
        with pytest.raises(ValueError, match=r"brings code of its own, .* pass --trust_remote_code"):
            load(tmp_path, SegmentationTask)


@pytest.mark.parametrize(
    ("case", "student", "teacher"),
    [
        (cases.SEGMENTATION, None, lambda: segmenter(8)),
        (cases.SEGMENTATION, segmenter, None),
        (cases.SEGMENTATION, segmenter, lambda: segmenter(8)),
        (cases.DEPTH, estimator, lambda: estimator(8)),
        (cases.DETECTION, finder, lambda: finder(8, channels=6)),
    ],
    ids=["teacher", "student", "both", "depth", "detection"],
)
def test_it_is_a_teacher_a_student_and_both(
    case: cases.TaskCase,
    student: Callable[[], PreTrainedModel] | None,
    teacher: Callable[[], PreTrainedModel] | None,
    tmp_path: Path,
) -> None:
    """Every term must find in it what it finds in a model of Transformers."""
    models: dict[str, Any] = {"student": student and student(), "teacher": teacher and teacher()}
    args = cases.arguments(tmp_path, max_steps=1, learning_rate=1e-2)
    trainer = cases.make_trainer(case, args, **models)
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    log = trainer.state.log_history[0]
    assert all(log[f"loss_{name}"] > 0 for name in ("task", "pixel", "pairwise"))
    moved = [not torch.equal(before[name], value) for name, value in trainer.model.named_parameters()]
    assert all(moved) or case is not cases.SEGMENTATION
    assert any(moved)
    if student is not None:
        trainer.save_model()
        assert (tmp_path / "modeling_wrapped.py").is_file()
        assert 0 <= trainer.evaluate()[case.metric] <= case.highest


def test_a_network_without_its_arguments_can_only_teach(tmp_path: Path) -> None:
    """Else it is trained for hours, and nothing can be saved."""
    lone = wrap_model(unet.UNet(4), task="segmentation", id2label=NAMES, read="maps", **IMAGES)
    by_lambda = segmenter(read=lambda output: output["maps"])
    for model, reason in (
        (lone, "without the `arguments`"),
        (by_lambda, r"test_.*<lambda>|<lambda> has no name"),
    ):
        with pytest.raises(
            ValueError, match=rf"`model` is a wrapped network that cannot be saved, .*({reason})"
        ):
            cases.make_trainer(cases.SEGMENTATION, cases.arguments(tmp_path), student=model)
        with pytest.raises(ValueError, match="that cannot be saved, and so"):
            model.save_pretrained(tmp_path / "folder")
        cases.make_trainer(cases.SEGMENTATION, cases.arguments(tmp_path), teacher=model)
    assert not (tmp_path / "folder").exists()


def probabilities(output: dict[str, torch.Tensor]) -> torch.Tensor:
    return output["maps"].softmax(dim=1)


def sigmoids(output: dict[str, torch.Tensor]) -> torch.Tensor:
    return output["maps"].sigmoid()


def in_pixels(output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits, boxes = detector.read_queries(output)
    return logits, 64 * boxes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: segmenter(read=probabilities), "must return logits, got probabilities"),
        (lambda: segmenter(id2label={0: "a", 1: "b"}), r"logits of \(B, 2, h, w\) .* got \(1, 5, 64, 64\)"),
        (lambda: segmenter(read=None), r"must return logits of .* got dict"),
        (lambda: segmenter(image_size=(63, 63)), r"`module` refused images of 63 × 63 \(.*\); pass"),
        (lambda: segmenter(std=(1, 1, 0)), r"`mean` and `std` must be .* 0\.\.255 has mean 0 and std 1/255"),
        (lambda: segmenter(id2label={1: "a", 2: "b"}), r"`id2label` must have the ids 0 to 1, got \[1, 2\]"),
        (lambda: wrap_model(unet.UNet(8), {"width": 4}, task="depth", **IMAGES), "must be those that built"),
        (lambda: wrap_model(unet.UNet, {"size": 4}, task="depth", **IMAGES), r"unexpected keyword.*correct"),
        (lambda: wrap_model(unet.UNet, {"width": nn.ReLU()}, task="depth", **IMAGES), "of JSON values"),
        (lambda: wrap_model(unet.UNet, task="pose", **IMAGES), "`task` must be one of segmentation, depth"),
        (
            lambda: wrap_model(
                detector.Queries, {}, task="detection", id2label=NAMES, read=in_pixels, **IMAGES
            ),
            "in shares of the image's sides, got values up to [0-9]{2}; divide",
        ),
    ],
)
def test_another_convention_is_refused_at_once(make: Callable[[], Any], message: str) -> None:
    """A teacher of probabilities, or of pixels, teaches nonsense and looks like a bad method."""
    with pytest.raises(ValueError, match=message):
        make()


def test_scores_behind_a_sigmoid_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """They look like logits of an unsure teacher, whose every class is as likely as the next."""
    segmenter(read=sigmoids)
    assert "if they come from a sigmoid, return `scores.logit(eps=1e-6)`" in caplog.text


def first(output: dict[str, torch.Tensor]) -> torch.Tensor:
    return output["maps"]


def test_another_reader_is_another_teacher_for_a_cache() -> None:
    """Its weights are the same: answers that were stored of one map would be given for the other."""
    torch.manual_seed(0)
    network = unet.UNet(4)
    readers: list[Any] = ["maps", "maps", first, lambda output: output["maps"]]
    models = [segmenter(read=read) for read in readers]
    for model in models:
        model.inner.load_state_dict(network.state_dict())
    marks = [TeacherSource(model, SegmentationTask).fingerprint for model in models]
    assert marks[0] == marks[1]
    assert len(set(marks)) == 3


def test_rows_of_other_classes_are_not_taken_from_a_teacher() -> None:
    """The same shape, and the classes in another order: every wall would start as a sofa."""
    turned = {index: NAMES[(index + 1) % len(NAMES)] for index in NAMES}
    for names, is_copied in ((NAMES, True), (turned, False)):
        student, teacher = segmenter(), segmenter(id2label=names)
        task: Task = SegmentationTask(config_of(student), config_of(teacher))
        start_from_teacher(student, teacher, task.labels)
        heads = [model.get_submodule("inner.head").weight for model in (student, teacher)]
        bodies = [model.get_submodule("inner.bottom.0").weight for model in (student, teacher)]
        assert torch.equal(*bodies)
        assert torch.equal(*heads) == is_copied
