"""A task's options are one class: each is documented, none is dropped, and a misspelt one is not taken."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import datasets
import pytest
from PIL import Image
from transformers import PretrainedConfig

from hf_structkd.data import (
    ClassOptions,
    DataOptions,
    DepthOptions,
    DetectionOptions,
    SegmentationOptions,
    load_depth_data,
    load_detection_data,
    load_segmentation_data,
)
from hf_structkd.losses.depth import DEPTH_LOSSES
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.tasks import TASKS, DetectionTask, SegmentationTask, Task

PLAIN = ImageNormalization()
LOADERS: dict[type[DataOptions], Callable[..., Any]] = {
    SegmentationOptions: load_segmentation_data,
    DepthOptions: load_depth_data,
    DetectionOptions: load_detection_data,
}
TWO_CLASSES = PretrainedConfig(id2label={0: "cat", 1: "dog"})

over_tasks = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.short_name)
over_loaders = pytest.mark.parametrize(("kind", "load"), LOADERS.items(), ids=lambda one: one.__name__)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Two rows that every task can read, without names of classes."""
    gray, depth = Image.new("L", (16, 12), 1), Image.new("I;16", (16, 12), 1000)
    objects = {"bbox": [[2.0, 3.0, 8.0, 9.0]], "category": [1]}
    row = {"image": Image.new("RGB", (16, 12)), "label": gray, "depth": depth, "objects": objects}
    rows = datasets.Dataset.from_list([row, row])
    datasets.DatasetDict({"train": rows, "validation": rows}).save_to_disk(tmp_path / "data")
    return str(tmp_path / "data")


# ---- the class ----


@over_tasks
def test_every_option_is_read(task: type[Task], folder: str) -> None:
    """An option that nothing reads changes nothing, and nobody is told."""
    read = set()

    class Watched(task.options):  # type: ignore[name-defined,misc]
        def __getattribute__(self, name: str) -> Any:
            read.add(name)
            return super().__getattribute__(name)

    mixed: dict[str, Any] = {"unlabeled_dataset_name": folder}
    if issubclass(task.options, ClassOptions):
        mixed["labels_are_teacher_ids"] = True
    options = Watched(dataset_name=folder, streaming=True, **mixed)
    read.clear()
    task.load_data(options, normalization=PLAIN, teacher=TWO_CLASSES, seed=0)
    assert {field.name for field in fields(task.options)} - read <= set(task.options.task_fields)
    task.task_options(options)
    assert {field.name for field in fields(task.options)} <= read


@over_tasks
def test_every_field_is_documented_in_one_sentence(task: type[Task]) -> None:
    """The field is the only place that says what it means."""
    for field in fields(task.options):
        text = field.metadata["help"]
        assert text[0].isupper(), field.name
        assert text.endswith("."), field.name
        assert ". " not in text, field.name


def test_options_are_not_changed_in_place() -> None:
    """The student alone and the card read the same object as the distilled run."""
    with pytest.raises(FrozenInstanceError):
        SegmentationOptions().ignore_index = 0  # type: ignore[misc]


def test_the_depth_losses_that_can_be_chosen_are_those_there_are() -> None:
    """A loss without a name in the options cannot be used from the command line."""
    choices, none = get_args(get_type_hints(DepthOptions)["depth_loss"])
    assert set(get_args(choices)) == set(DEPTH_LOSSES)
    assert none is type(None)


@pytest.mark.parametrize("name", ["max_train_samples", "max_eval_samples", "max_unlabeled_samples"])
def test_a_number_of_images_is_checked_when_it_is_given(name: str) -> None:
    """0 must not mean all, and an hour of loading must not come before that is said."""
    with pytest.raises(ValueError, match=rf"`{name}` must be at least 1, got 0; leave it out"):
        DepthOptions(**{name: 0})


# ---- the loaders ----


@over_loaders
def test_a_loader_takes_few_arguments(kind: type[DataOptions], load: Callable[..., Any]) -> None:
    """One that repeats the fields must be changed at each of them, and documents them a second time."""
    parameters = inspect.signature(load).parameters
    assert len(parameters) <= 10
    assert not {field.name for field in fields(kind)} & set(parameters) - {"dataset_name"}


@over_loaders
def test_a_misspelt_field_is_told_with_its_nearest_neighbour(
    kind: type[DataOptions], load: Callable[..., Any]
) -> None:
    """It would leave the default in place."""
    taken = f"`{load.__name__}` takes the fields of `{kind.__name__}` that concern data"
    message = rf"{taken}, got `image_szie`; did you mean `image_size`\?"
    with pytest.raises(TypeError, match=message):
        load(normalization=PLAIN, image_szie=(32, 32))


@over_loaders
def test_a_field_like_no_other_points_to_the_class(kind: type[DataOptions], load: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=rf"got `xyzzy`; `{kind.__name__}` documents them\."):
        load(normalization=PLAIN, xyzzy=1)


@over_loaders
def test_a_loader_refuses_what_only_the_task_reads(kind: type[DataOptions], load: Callable[..., Any]) -> None:
    """It would be taken and dropped, and the student trained with another loss than was asked for."""
    for name in kind.task_fields:
        with pytest.raises(TypeError, match=rf"got `{name}`; pass that one to the trainer"):
            load(normalization=PLAIN, **{name: None})


@over_loaders
def test_options_of_another_task_are_refused(kind: type[DataOptions], load: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=rf"`options` must be `{kind.__name__}`, got `DataOptions`"):
        load(normalization=PLAIN, options=DataOptions())


def test_fields_win_over_options_and_leave_these_as_they_are(folder: str) -> None:
    options = SegmentationOptions(dataset_name="elsewhere", ignore_index=9, image_size=[8, 8])
    names = {0: "cat", 1: "dog"}
    changed = {"labels_are_teacher_ids": True, "image_size": (4, 6)}
    data = load_segmentation_data(
        folder, normalization=PLAIN, default_id2label=names, options=options, **changed
    )
    assert data.ignore_index == 9
    assert data.validation[0]["pixel_values"].shape == (3, 4, 6)  # type: ignore[index]
    assert options == SegmentationOptions(dataset_name="elsewhere", ignore_index=9, image_size=[8, 8])


@pytest.mark.parametrize("task", [SegmentationTask, DetectionTask])
def test_the_teacher_names_the_classes_that_the_data_do_not(task: type[Task], folder: str) -> None:
    """Without names nothing can be matched; names that were made up would match by chance."""
    options = task.options(dataset_name=folder, image_size=[8, 8], labels_are_teacher_ids=True)
    assert task.load_data(options, normalization=PLAIN, teacher=TWO_CLASSES, seed=0).id2label == {
        0: "cat",
        1: "dog",
    }
    with pytest.raises(ValueError, match="nothing names the classes of"):
        task.load_data(options, normalization=PLAIN, teacher=None, seed=0)
