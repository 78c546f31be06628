"""Flags, a file, a preset and defaults: who wins, and that nothing misspelt goes unseen."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from PIL import Image
from transformers import PretrainedConfig

from hf_structkd import StructKDTrainingArguments
from hf_structkd.cli.script_args import ModelArguments, parse_arguments, parse_run
from hf_structkd.data import DepthOptions, DetectionOptions, SegmentationOptions
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.tasks import TASKS, DetectionTask, Task
from tests.training.test_training_args import recorded

TYPES = (ModelArguments, SegmentationOptions, StructKDTrainingArguments)
CPU = ("--use_cpu", "--report_to", "none")


def parse(*argv: object, **settings: Any) -> tuple[Any, ...]:
    return parse_arguments(*TYPES, argv=[*map(str, argv), *CPU], **settings)


def training(*argv: object, **settings: Any) -> StructKDTrainingArguments:
    args = parse(*argv, **settings)[2]
    assert isinstance(args, StructKDTrainingArguments)
    return args


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# ---- precedence ----


def test_later_sources_win(tmp_path: Path) -> None:
    """Dataclass, script, preset, file, flag; each field below is set by one source more than the last."""
    file = written(tmp_path / "a.yaml", "preset: paper\npairwise_weight: 3\nholistic_weight: 4\n")
    script = {
        "learning_rate": 5.0,
        "pixel_weight": 5.0,
        "pairwise_weight": 5.0,
        "holistic_weight": 5.0,
    }
    args = training(file, "--holistic_weight", 7, defaults=script)
    assert args.task_weight == 1.0
    assert args.learning_rate == 5.0
    assert args.pixel_weight == 10.0
    assert args.pairwise_weight == 3.0
    assert args.holistic_weight == 7.0


def test_a_flags_preset_wins_over_the_files(tmp_path: Path) -> None:
    file = written(tmp_path / "a.yaml", "preset: paper\n")
    assert training(file, "--preset", "cirkd").holistic_weight == 0.001


def test_a_preset_is_not_mixed_with_the_scripts_defaults() -> None:
    """A critic that is not the published one would run under the published name."""
    script = {"connection_range": 9, "critic_optimizer": "sgd", "critic_conditional": False, "node_grid": 5}
    args = training("--preset", "paper", defaults=script)
    assert args.connection_range is None
    assert args.critic_optimizer == "adam"
    assert args.critic_conditional is True
    assert args.node_grid is None


def test_without_a_preset_the_weights_are_the_defaults() -> None:
    assert recorded(training()) == recorded(StructKDTrainingArguments(use_cpu=True))


def test_the_command_line_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["script.py", "--pixel_weight", "2.5", *CPU])
    assert parse_arguments(*TYPES)[2].pixel_weight == 2.5


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`preset` must be one of .*, got 'papers'"):
        parse("--preset", "papers")


@pytest.mark.parametrize("flag", ["--pixel_weight", "--pixel-weight", "--pixel_weight="])
def test_officials_conversion_leaves_a_given_weight(flag: str) -> None:
    """However it is spelt: a given 3 that trains as 24 cannot be noticed."""
    argument = [f"{flag}3"] if flag.endswith("=") else [flag, 3]
    args = training("--preset", "official", "--per_device_train_batch_size", 8, *argument)
    assert args.pixel_weight == 3.0


def test_officials_conversion_leaves_the_files_weight(tmp_path: Path) -> None:
    file = written(tmp_path / "a.yaml", "preset: official\npixel_weight: 3\n")
    assert training(file, "--per_device_train_batch_size", 8).pixel_weight == 3.0


def test_officials_conversion_counts_the_global_batch() -> None:
    args = training(
        "--preset", "official", "--per_device_train_batch_size", 4, "--gradient_accumulation_steps", 2
    )
    assert args.pixel_weight == 80.0


def test_a_given_granularity_wins_over_a_presets_node_grid() -> None:
    assert training("--preset", "official", "--granularity", 4).node_grid is None
    assert training("--preset", "official").node_grid == 3


@pytest.mark.parametrize("flag", [("--prese", "paper"), ("--pixel_wei", 3)])
def test_flags_are_not_abbreviated(flag: tuple[object, ...]) -> None:
    """An abbreviated weight is not seen as given, and a preset would be parsed and not applied."""
    with pytest.raises(ValueError, match=str(flag[0])):
        parse(*flag)


def test_types_may_be_any_dataclasses() -> None:
    @dataclass
    class Own:
        number: int = field(default=1, metadata={"help": "A number."})

    own, models = parse_arguments(Own, ModelArguments, argv=["--number", "4"])
    assert own == Own(4)
    assert models == ModelArguments()


# ---- the file ----


def test_a_number_that_yaml_reads_as_text_becomes_a_number(tmp_path: Path) -> None:
    """YAML 1.1 wants a point in 2.0e-3: without it the learning rate would be a string."""
    file = written(tmp_path / "a.yaml", "learning_rate: 2e-3\nscale: [5e-1, 2]\n")
    _, data, args = parse(file)
    assert args.learning_rate == 0.002
    assert data.scale == [0.5, 2.0]


def test_one_value_in_the_file_makes_a_list_as_on_the_command_line(tmp_path: Path) -> None:
    file = written(tmp_path / "a.yaml", "granularity: 4\ncolor_jitter: 1\n")
    _, data, args = parse(file)
    assert args.granularity == [4]
    assert data.color_jitter == [1]


def test_text_where_a_number_belongs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(written(tmp_path / "a.yaml", "image_size: [wide, 3]\n"))
    assert "invalid int value: 'wide'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(written(tmp_path / "b.yaml", "flip_probability: often\n"))
    assert "invalid float value: 'often'" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "expected"), [("true", True), ("'yes'", True), ("'false'", False)])
def test_truth_in_the_file(tmp_path: Path, text: str, expected: bool) -> None:
    """`bool('false')` is True."""
    file = written(tmp_path / "a.yaml", f"compare_baseline: {text}\ncritic_conditional: {text}\n")
    models, _, args = parse(file)
    assert models.compare_baseline is expected
    assert args.critic_conditional is expected


def test_a_json_file_is_read_too(tmp_path: Path) -> None:
    """Tabs are allowed in JSON and not in YAML."""
    content = json.dumps({"pixel_weight": 3, "image_size": [32, 48], "preset": "paper"}, indent="\t")
    _, data, args = parse(written(tmp_path / "a.json", content))
    assert args.pixel_weight == 3
    assert args.pairwise_weight == 10.0
    assert data.image_size == [32, 48]


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    models, data, args = parse(written(tmp_path / "a.yml", "# nothing yet\n"))
    assert (models, data) == (ModelArguments(), SegmentationOptions())
    assert recorded(args) == recorded(StructKDTrainingArguments(use_cpu=True))


def test_an_unknown_key_names_the_nearest_option(tmp_path: Path) -> None:
    """A misspelt weight would leave the default in place."""
    file = written(tmp_path / "a.yaml", "pixel_wieght: 3\n")
    with pytest.raises(ValueError, match=r"a\.yaml sets 'pixel_wieght', .* did you mean 'pixel_weight'\?"):
        parse(file)


def test_an_unknown_key_without_a_near_option_points_to_help(tmp_path: Path) -> None:
    file = written(tmp_path / "a.yaml", "xyzzy_plugh: 3\n")
    with pytest.raises(ValueError, match=r"sets 'xyzzy_plugh', which is no option; see --help for all\.$"):
        parse(file)


def test_a_key_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"sets 3, which is no option"):
        parse(written(tmp_path / "a.yaml", "3: 4\n"))


def test_a_scripts_unknown_default_is_refused() -> None:
    """It would vanish, and the script would run with other settings than its author wrote."""
    with pytest.raises(ValueError, match=r"`defaults` sets 'pixel_wieght', .* 'pixel_weight'"):
        parse(defaults={"pixel_wieght": 3.0})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file .*gone\.yaml; "):
        parse(tmp_path / "gone.yaml")


@pytest.mark.parametrize("text", ["- pixel_weight\n- 3\n", "pixel_weight\n", "3\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"a\.yaml must map option names to values, got a (list|str|int)"):
        parse(written(tmp_path / "a.yaml", text))


@pytest.mark.parametrize(("name", "text"), [("a.yaml", "a: [1\n"), ("a.json", "{'a': 1}")])
def test_a_file_with_a_syntax_error_is_named(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} is not valid (YAML|JSON): "):
        parse(written(tmp_path / name, text))


# ---- the fields ----


SHARED = {
    "dataset_name": None,
    "dataset_config_name": None,
    "dataset_revision": None,
    "train_split": "train",
    "without_labels": False,
    "validation_split": "validation",
    "validation_fraction": None,
    "image_column": "image",
    "image_size": [512, 512],
    "scale": [0.5, 2.0],
    "base_size": [],
    "stretch": False,
    "flip_probability": 0.5,
    "color_jitter": [0.3, 0.3, 0.3, 0.05],
    "augmentation_views": None,
    "keep_views": False,
    "streaming": False,
    "shuffle_buffer_size": 1000,
    "skip_bad_images": False,
    "max_train_samples": None,
    "max_eval_samples": None,
    "unlabeled_dataset_name": None,
    "unlabeled_config_name": None,
    "unlabeled_revision": None,
    "unlabeled_split": "train",
    "unlabeled_image_column": "image",
    "max_unlabeled_samples": None,
}
CLASSES = {
    "id2label_path": None,
    "teacher_label_map": None,
    "teacher_prompts": None,
    "labels_are_teacher_ids": False,
}
OF_TASK: dict[str, dict[str, Any]] = {
    "segmentation": {
        **CLASSES,
        "label_column": "label",
        "ignore_index": 255,
        "reduce_labels": False,
        "label_values": [],
        "allow_lossy_masks": False,
    },
    "depth": {
        "depth_column": "depth",
        "depth_scale": None,
        "depth_hole": None,
        "prompt_depth_column": None,
        "depth_loss": None,
        "depth_kind": None,
        "teacher_depth_kind": None,
        "min_depth": 0.001,
        "max_depth": None,
        "crop": "none",
        "median_scaling": False,
    },
    "detection": {
        **CLASSES,
        "objects_column": "objects",
        "bbox_format": "xywh",
        "box_frame": "auto",
        "first_category_id": 0,
        "unknown_categories": "error",
        "min_visibility": 0.3,
        "pseudo_label_threshold": None,
        "keep_aspect_ratio": False,
    },
}
OPTIONS = [task.options for task in TASKS]


@pytest.mark.parametrize("kind", [ModelArguments, *OPTIONS])
def test_every_field_has_a_help_text(kind: type) -> None:
    assert all(f.metadata["help"].endswith(".") for f in fields(kind))


@pytest.mark.parametrize("kind", OPTIONS)
def test_help_renders(kind: type, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse_arguments(ModelArguments, kind, StructKDTrainingArguments, argv=["--help-all"])
    rendered = capsys.readouterr().out
    assert "One of cirkd, official, paper." in rendered
    for part in (ModelArguments, kind):
        for one in fields(part):
            assert f"--{one.name}" in rendered


def test_depth_arguments_are_parsed() -> None:
    argv = ["--depth_scale", "1", "--unlabeled_dataset_name", "scenes", "--max_unlabeled_samples", "7"]
    (data,) = parse_arguments(DepthOptions, argv=argv)
    assert data.depth_scale == 1.0
    assert data.unlabeled_dataset_name == "scenes"
    assert data.max_unlabeled_samples == 7


def test_detection_arguments_are_parsed() -> None:
    argv = ["--objects_column", "things", "--bbox_format", "xyxy", "--min_visibility", "0.5"]
    argv += ["--unknown_categories", "drop", "--keep_aspect_ratio"]
    (data,) = parse_arguments(DetectionOptions, argv=argv)
    assert (data.objects_column, data.bbox_format) == ("things", "xyxy")
    assert (data.min_visibility, data.unknown_categories) == (0.5, "drop")
    assert data.keep_aspect_ratio is True


@pytest.mark.parametrize(("flag", "wrong"), [("--bbox_format", "yxyx"), ("--unknown_categories", "keep")])
def test_a_choice_that_there_is_not_is_refused(
    flag: str, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(DetectionOptions, argv=[flag, wrong])
    assert f"argument {flag}" in capsys.readouterr().err


# Of flags that take one of a few.
CHOSEN = {
    "bbox_format": "xyxy",
    "box_frame": "stored",
    "unknown_categories": "drop",
    "depth_loss": "ssi",
    "depth_kind": "inverse",
    "teacher_depth_kind": "relative",
    "crop": "eigen",
    "label_values": ["8", "9"],
}


def changed(name: str, value: Any) -> Any:
    """Another value than the default, of the same type."""
    if name in CHOSEN:
        return CHOSEN[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [9, *value[1:]] if value else [8, 9]
    if name in ("validation_fraction", "pseudo_label_threshold"):
        return 0.25
    is_number = name.startswith(("max_", "depth_", "augmentation_"))
    return 7 if value is None and is_number else f"another_{name}"


def as_flags(settings: dict[str, Any]) -> list[str]:
    """As a command line gives them."""
    flags: list[str] = []
    for name, value in settings.items():
        flags += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return flags


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.short_name)
def test_every_flag_reaches_the_options(task: type[Task]) -> None:
    """A flag that is parsed and dropped changes nothing, and nobody is told."""
    settings = {name: changed(name, value) for name, value in asdict(task.options()).items()}
    options = parse_run(task, [*as_flags(settings), *CPU], scenes={}).options
    assert asdict(options) == settings


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.short_name)
def test_the_flags_of_a_task_keep_their_names_and_defaults(task: type[Task]) -> None:
    """A flag of another name or default makes every command line and YAML file of a user another one."""
    assert asdict(task.options()) == {**SHARED, **OF_TASK[task.short_name]}


def test_detection_reads_boxes_as_its_flags_say(tmp_path: Path) -> None:
    """Corners in a column of another name, a class that the teacher lacks, an image that keeps its aspect."""
    things = {"bbox": [[2.0, 3.0, 8.0, 9.0], [0.0, 0.0, 4.0, 4.0]], "category": [1, 5]}
    rows = datasets.Dataset.from_list([{"image": Image.new("RGB", (16, 12)), "things": things}])
    datasets.DatasetDict({"train": rows, "validation": rows}).save_to_disk(tmp_path / "data")
    flags = ["--objects_column", "things", "--bbox_format", "xyxy", "--unknown_categories", "drop"]
    flags += ["--keep_aspect_ratio", "true", "--image_size", "32", "32", "--labels_are_teacher_ids", "true"]
    arguments = parse_run(DetectionTask, ["--dataset_name", str(tmp_path / "data"), *flags, *CPU], scenes={})
    teacher = PretrainedConfig(id2label={0: "cat", 1: "dog"})
    data = DetectionTask.load_data(
        arguments.options, normalization=ImageNormalization(), teacher=teacher, seed=0
    )
    assert data.id2label == {0: "cat", 1: "dog"}
    row = next(iter(data.validation))
    assert row["pixel_values"].shape == (3, 24, 32)
    assert row["labels"]["class_labels"].tolist() == [1]
    in_pixels = row["labels"]["boxes"] * torch.tensor([16, 12, 16, 12])
    assert in_pixels.tolist() == [pytest.approx([5, 6, 6, 6])]
