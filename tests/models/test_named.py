"""Who has installed the package alone, without the examples, can name a student."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hf_structkd.cli.script_args import ModelArguments
from hf_structkd.models import load_student, load_teacher
from hf_structkd.models.loading import holds_only_a_configuration, student_image_processor
from hf_structkd.models.named import NAMED, place_of
from hf_structkd.models.parameters import count_parameters
from hf_structkd.tasks import TASKS, SegmentationTask, Task

from ..tiny_models import tiny_segmentation_model

EXAMPLES = Path(__file__).parents[2] / "examples" / "configs"
FAMILIES: dict[str, str] = {"segformer": "segmentation", "glpn": "depth", "rtdetr": "detection"}


def task_of(name: str) -> type[Task]:
    return next(task for task in TASKS if task.short_name == FAMILIES[name.partition("-")[0]])


@pytest.mark.filterwarnings("ignore:You'd better set embed_dim:UserWarning")
@pytest.mark.parametrize("name", NAMED)
def test_a_name_is_a_student_of_its_size_from_scratch(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = task_of(name)
    student = load_student(name, task, id2label={0: "road", 1: "car"})
    stated = float(re.fullmatch(r"\w+-([\d.]+)m", name)[1])  # type: ignore[index]
    assert count_parameters(student) / 1e6 == pytest.approx(stated, abs=0.05)
    assert holds_only_a_configuration(name)
    assert dict(student_image_processor(name, task, (32, 64)).size) == {"height": 32, "width": 64}


def test_every_task_has_a_student_and_a_larger_model_that_can_teach_it() -> None:
    for family in FAMILIES.values():
        assert len([name for name in NAMED if task_of(name).short_name == family]) >= 2


def test_a_folder_of_that_name_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that comes with a later version must not replace somebody's trained model."""
    monkeypatch.chdir(tmp_path)
    name = NAMED[0]
    assert Path(place_of(name)).is_dir()
    own = tiny_segmentation_model("segformer", num_labels=2)
    own.save_pretrained(name)
    assert place_of(name) == name
    assert count_parameters(load_student(name, SegmentationTask)) == count_parameters(own)


def test_the_names_are_the_architectures_of_the_results() -> None:
    """The results were measured with the configurations among the examples."""
    for name in ("segformer-0.3m", "segformer-0.8m"):
        assert (Path(place_of(name)) / "config.json").read_text() == (
            EXAMPLES / name / "config.json"
        ).read_text()


def test_a_name_that_is_nearly_right_is_answered_with_its_neighbour() -> None:
    """Else it is looked for on the Hub, and the answer is about the connection."""
    with pytest.raises(ValueError, match=r"did you mean 'segformer-0.8m'\?"):
        load_student("segformer-0.8", SegmentationTask)


def test_a_name_does_not_teach_before_it_is_trained() -> None:
    """Its random answers would be distilled."""
    with pytest.raises(ValueError, match=r"has no weights, and a teacher must be trained"):
        load_teacher("segformer-2m", SegmentationTask)


def test_the_help_lists_the_names() -> None:
    text = ModelArguments.__dataclass_fields__["student_model_name_or_path"].metadata["help"]
    assert set(re.findall(r"[a-z]+-[\d.]*\dm", text)) == set(NAMED)
