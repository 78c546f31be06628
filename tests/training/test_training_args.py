"""The settings mean what their help says, refuse what would train wrong, and repeat published numbers."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import HfArgumentParser, TrainingArguments

from hf_structkd import StructKDTrainingArguments
from hf_structkd.tasks import DepthTask, SegmentationTask
from hf_structkd.terms import BUILT_IN_TERMS, built_in_terms
from hf_structkd.training.arguments import TRAINER_SETTINGS
from hf_structkd.training.presets import PRESETS, preset_settings

OVERRIDDEN = ("remove_unused_columns", "batch_eval_metrics", "logging_steps")

# The table of the three published configurations, on this library's reductions. "official" sums its
# pixel-wise term over the batch: its weight stands here for one image.
PUBLISHED: dict[str, dict[str, Any]] = {
    "paper": {
        "pixel_weight": 10.0,
        "pairwise_weight": 10.0,
        "holistic_weight": 0.1,
        "node_pooling": "mean",
        "granularity": [2],
        "node_grid": None,
        "connection_range": None,
        "critic_conditional": True,
        "critic_optimizer": "adam",
        "critic_learning_rate": 4e-4,
        "critic_loss": "wgan-gp",
        "gradient_penalty_weight": 10.0,
    },
    "official": {
        "pixel_weight": 10.0,
        "pairwise_weight": 0.5,
        "holistic_weight": 0.1,
        "node_pooling": "max",
        "node_grid": 3,
        "connection_range": None,
        "critic_conditional": False,
        "critic_optimizer": "sgd",
        "critic_learning_rate": 4e-4,
        "critic_loss": "wgan-gp",
        "gradient_penalty_weight": 10.0,
    },
    "cirkd": {
        "pixel_weight": 1.0,
        "pairwise_weight": 10.0,
        "holistic_weight": 0.001,
        "node_pooling": "max",
        "granularity": [2],
        "node_grid": None,
        "connection_range": None,
        "critic_conditional": False,
        "critic_optimizer": "adam",
        "critic_learning_rate": 4e-4,
        "critic_loss": "hinge",
        "gradient_penalty_weight": 0.0,
    },
}


def arguments(**settings: Any) -> StructKDTrainingArguments:
    return StructKDTrainingArguments(**{"use_cpu": True, "report_to": "none", **settings})


def own_fields() -> dict[str, dataclasses.Field[Any]]:
    """The fields that the class declares, those it only gives another default included."""
    fields = {field.name: field for field in dataclasses.fields(StructKDTrainingArguments)}
    return {name: fields[name] for name in StructKDTrainingArguments.__annotations__}


def recorded(args: StructKDTrainingArguments) -> dict[str, Any]:
    """The fields that the class adds, with their values."""
    return {name: getattr(args, name) for name in own_fields() if name not in OVERRIDDEN}


def weights(args: StructKDTrainingArguments, task: Any) -> dict[str, float]:
    """Weight of every term that can be on by default, for a task, by its name."""
    return {term.name: term.weight_for(task) for term in built_in_terms(args)[:4]}


def without_spaces(text: str) -> str:
    return re.sub(r"\s+", "", text)


# ---- defaults and documentation ----


def test_defaults() -> None:
    """A changed default changes every run that does not name it."""
    assert recorded(arguments()) == {
        "task_weight": 1.0,
        "pixel_weight": None,
        "pairwise_weight": None,
        "holistic_weight": None,
        "mimic_weight": 0.0,
        "channel_weight": 0.0,
        "attention_weight": 0.0,
        "temperature": 1.0,
        "granularity": [2],
        "node_grid": None,
        "connection_range": None,
        "node_pooling": "mean",
        "critic_loss": "hinge",
        "critic_learning_rate": 4e-4,
        "critic_optimizer": "adam",
        "critic_max_grad_norm": 1.0,
        "critic_conditional": True,
        "critic_spectral_norm": True,
        "gradient_penalty_weight": 0.0,
        "critic_interval": 1,
        "critic_map_size": 128,
        "channel_source": None,
        "channel_temperature": 4.0,
        "student_feature": [],
        "teacher_feature": [],
        "teacher_image_size": [],
        "teacher_cache": None,
        "teacher_dtype": "auto",
        "teacher_cache_dtype": "float16",
        "teacher_cache_top_k": None,
        "shard": [],
    }


def test_columns_stay_and_metrics_take_constant_memory_by_default() -> None:
    """Trainer's own default removes the image column, and keeps every image's logits."""
    args = arguments()
    assert args.remove_unused_columns is False
    assert args.batch_eval_metrics is True


def test_fields_docstring_and_help_list_the_same_settings() -> None:
    documentation = inspect.getdoc(StructKDTrainingArguments) or ""
    listed = documentation.split("Args:")[1].split("Raises:")[0]
    documented = re.findall(r"^    (\w+):", listed, flags=re.MULTILINE)
    helped = [name for name, field in own_fields().items() if field.metadata.get("help")]
    assert documented == list(own_fields())
    assert helped == list(own_fields())


def test_help_renders_every_field() -> None:
    """A stray percent sign makes `--help` raise."""
    rendered = without_spaces(HfArgumentParser(StructKDTrainingArguments).format_help())
    for name, field in own_fields().items():
        assert f"--{name}" in rendered
        assert without_spaces(field.metadata["help"].replace("%%", "%")) in rendered


def test_every_new_field_is_a_recorded_setting() -> None:
    """A setting that a checkpoint does not record can change between a run and its resumption."""
    inherited = {field.name for field in dataclasses.fields(TrainingArguments)}
    of_terms = {name for term in BUILT_IN_TERMS for name in (f"{term.name}_weight", *term.setting_names())}
    # Where answers and weights are kept changes none of them, and a resumed run may keep them elsewhere.
    assert of_terms | set(TRAINER_SETTINGS) | {"teacher_cache", "shard"} == set(own_fields()) - inherited
    assert set(OVERRIDDEN) == set(own_fields()) & inherited


def test_weights_name_every_term() -> None:
    args = arguments(task_weight=2.0, pixel_weight=3.0, pairwise_weight=5.0, holistic_weight=7.0)
    assert weights(args, DepthTask) == {"task": 2.0, "pixel": 3.0, "pairwise": 5.0, "holistic": 7.0}


def test_a_weight_that_is_not_given_is_the_tasks() -> None:
    """What helps a segmentation student is not what helps a depth student."""
    args = arguments(pairwise_weight=0.0)
    assert weights(args, SegmentationTask) == {"task": 1.0, "pixel": 1.0, "pairwise": 0.0, "holistic": 0.1}
    assert weights(args, DepthTask) == {"task": 1.0, "pixel": 1.0, "pairwise": 0.0, "holistic": 0.0}


# ---- ranges ----


@pytest.mark.parametrize("value", [-0.5, float("nan"), float("inf"), "0.5"])
@pytest.mark.parametrize(
    "name",
    [
        "task_weight",
        "pixel_weight",
        "pairwise_weight",
        "holistic_weight",
        "gradient_penalty_weight",
        "critic_max_grad_norm",
    ],
)
def test_weights_must_be_finite_and_not_negative(name: str, value: Any) -> None:
    """A negative weight drives the student away from the teacher, without a sign of it."""
    with pytest.raises(
        ValueError, match=rf"`{name}` must be a finite number at least 0, got {re.escape(repr(value))}\."
    ):
        arguments(**{name: value})


@pytest.mark.parametrize("value", [0.0, -1e-4, float("nan")])
def test_critic_learning_rate_must_be_above_zero(value: float) -> None:
    """A critic that never learns gives the student noise."""
    with pytest.raises(
        ValueError,
        match=rf"`critic_learning_rate` must be a finite number above 0, got {re.escape(repr(value))}\.",
    ):
        arguments(critic_learning_rate=value)


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf")])
def test_temperature_must_be_above_zero(value: float) -> None:
    with pytest.raises(ValueError, match=rf"`temperature` .* got {re.escape(str(value))}"):
        arguments(temperature=value)


@pytest.mark.parametrize("value", [0, 4, 8, 16])
def test_connection_range_must_be_an_odd_square(value: int) -> None:
    with pytest.raises(ValueError, match=rf"`connection_range` .* got {value}"):
        arguments(connection_range=value)


@pytest.mark.parametrize("value", [0, [], [1, 2, 3], [2, 0], [-1], 1.5, ["2"], None])
def test_granularity_must_be_one_or_two_positive_integers(value: Any) -> None:
    with pytest.raises(
        ValueError, match=rf"`granularity` must be 1 or 2 positive integers, got {re.escape(repr(value))}\."
    ):
        arguments(granularity=value)


@pytest.mark.parametrize(
    ("given", "stored"), [(4, [4]), ((2, 4), [2, 4]), ([3], [3]), ([1, 2], [1, 2]), ((5,), [5])]
)
def test_granularity_is_stored_as_a_list(given: Any, stored: list[int]) -> None:
    """A checkpoint compares settings with those read from JSON, where a tuple has become a list."""
    assert arguments(granularity=given).granularity == stored


@pytest.mark.parametrize("value", [1, 0, -3, 2.5, "3"])
def test_node_grid_must_be_at_least_two(value: Any) -> None:
    """One node has no pair."""
    with pytest.raises(
        ValueError,
        match=rf"`node_grid` must be an integer of at least 2 .*, got {re.escape(repr(value))}\.",
    ):
        arguments(node_grid=value)


@pytest.mark.parametrize("value", [[64], [64, 64, 3], 64, [64, 0]])
def test_teacher_image_size_must_be_height_and_width(value: Any) -> None:
    with pytest.raises(
        ValueError,
        match=rf"`teacher_image_size` must be 2 positive integers, got {re.escape(repr(value))}\.",
    ):
        arguments(teacher_image_size=value)


@pytest.mark.parametrize(
    ("given", "stored"), [([], []), ((), []), (None, []), ((64, 96), [64, 96]), ([64, 96], [64, 96])]
)
def test_teacher_image_size_is_stored_as_a_list(given: Any, stored: list[int]) -> None:
    """An empty tuple comes back from a checkpoint as an empty list, and the run would not resume."""
    assert arguments(teacher_image_size=given).teacher_image_size == stored


@pytest.mark.parametrize("name", ["node_pooling", "critic_loss", "critic_optimizer"])
def test_choices_refuse_unknown_names(name: str) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be one of \(.*\), got 'avg'\."):
        arguments(**{name: "avg"})


def test_at_least_one_term_must_be_on() -> None:
    """All weights 0 would run for hours and train nothing."""
    with pytest.raises(ValueError, match=r"every term's weight is 0.*`task_weight` above 0\."):
        arguments(task_weight=0, pixel_weight=0, pairwise_weight=0, holistic_weight=0)


@pytest.mark.parametrize("term", ["task", "pixel", "pairwise", "holistic"])
def test_any_one_term_is_enough(term: str) -> None:
    off = {f"{other.name}_weight": 0.0 for other in BUILT_IN_TERMS if other.name != term}
    alone = weights(arguments(**off), SegmentationTask)
    assert {name for name, weight in alone.items() if weight > 0} == {term}


# ---- records ----


def test_settings_survive_a_checkpoint() -> None:
    """What is read back must build the same arguments, or resuming is refused or goes on differently."""
    args = arguments(
        granularity=(2, 4),
        connection_range=9,
        teacher_image_size=(64, 96),
        student_feature="neck",
        teacher_feature=["neck", "head"],
        critic_conditional=False,
    )
    settings = json.loads(json.dumps(recorded(args)))
    assert settings == recorded(args)
    assert recorded(arguments(**settings)) == settings


def test_arguments_print_as_json() -> None:
    """Trainer writes them into every checkpoint and log."""
    assert json.loads(arguments(node_grid=3).to_json_string())["node_grid"] == 3


@pytest.mark.parametrize(("batch", "accumulation", "expected"), [(4, 1, 4), (4, 2, 8), (1, 8, 8)])
def test_global_batch_size_counts_accumulation(batch: int, accumulation: int, expected: int) -> None:
    args = arguments(per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation)
    assert args.global_batch_size == expected


# ---- presets ----


def test_every_published_configuration_is_a_preset() -> None:
    assert set(PRESETS) == set(PUBLISHED)


@pytest.mark.parametrize("preset", PUBLISHED)
def test_presets_are_the_published_numbers(preset: str) -> None:
    args = StructKDTrainingArguments.from_preset(preset, per_device_train_batch_size=1, use_cpu=True)
    assert {name: getattr(args, name) for name in PUBLISHED[preset]} == PUBLISHED[preset]


@pytest.mark.parametrize("preset", PUBLISHED)
def test_presets_name_all_that_was_published(preset: str) -> None:
    """What a preset leaves to the defaults changes with them, and is no longer what was published."""
    assert set(PUBLISHED[preset]) <= set(preset_settings(preset))


@pytest.mark.parametrize(("batch", "accumulation"), [(8, 1), (4, 2), (2, 1)])
def test_official_pixel_weight_is_a_sum_over_the_global_batch(batch: int, accumulation: int) -> None:
    """That code sums the term over its batch: copied onto a mean, its 10 is 8 times too weak."""
    args = StructKDTrainingArguments.from_preset(
        "official",
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        use_cpu=True,
    )
    assert args.pixel_weight == 10.0 * batch * accumulation


@pytest.mark.parametrize("preset", ["paper", "cirkd"])
def test_other_presets_do_not_depend_on_the_batch(preset: str) -> None:
    args = StructKDTrainingArguments.from_preset(preset, per_device_train_batch_size=16, use_cpu=True)
    assert args.pixel_weight == PUBLISHED[preset]["pixel_weight"]


@pytest.mark.parametrize("preset", PUBLISHED)
def test_an_explicit_value_wins_over_the_preset(preset: str) -> None:
    args = StructKDTrainingArguments.from_preset(
        preset, pixel_weight=3.0, critic_loss="hinge", per_device_train_batch_size=8, use_cpu=True
    )
    assert args.pixel_weight == 3.0
    assert args.critic_loss == "hinge"
    assert args.pairwise_weight == PUBLISHED[preset]["pairwise_weight"]


def test_an_explicit_granularity_wins_over_a_presets_node_grid() -> None:
    """The node grid takes precedence where both are set, so that the caller's value would do nothing."""
    args = StructKDTrainingArguments.from_preset("official", granularity=4, use_cpu=True)
    assert args.granularity == [4]
    assert args.node_grid is None


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`preset` must be one of .*'cirkd'.*, got 'papers'\."):
        StructKDTrainingArguments.from_preset("papers")


def test_preset_settings_are_a_copy() -> None:
    """A caller that changes what it got would change the preset for everybody."""
    settings = preset_settings("paper")
    settings["granularity"].append(3)
    settings["pixel_weight"] = 0.0
    assert preset_settings("paper")["granularity"] == [2]
    assert preset_settings("paper")["pixel_weight"] == 10.0


def test_arguments_of_a_preset_are_written_to_the_given_folder(tmp_path: Path) -> None:
    args = StructKDTrainingArguments.from_preset("paper", output_dir=str(tmp_path), use_cpu=True)
    assert args.output_dir == str(tmp_path)
