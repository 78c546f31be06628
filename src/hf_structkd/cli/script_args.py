"""Arguments that the example scripts share, from flags, a YAML or JSON file and a preset."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from transformers import HfArgumentParser

from ..training.arguments import StructKDTrainingArguments
from ..training.presets import PRESETS, preset_settings


@dataclass
class ModelArguments:
    """Which models."""

    student_model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "Hub id or folder; one with only config.json starts from scratch."},
    )
    teacher_model_name_or_path: str | None = field(default=None, metadata={"help": "Hub id or folder."})
    student_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit."})
    teacher_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit."})
    compare_baseline: bool = field(
        default=False, metadata={"help": "Also train the same student without a teacher and compare."}
    )


@dataclass
class DataArguments:
    """Which data, whatever the images are labelled with."""

    dataset_name: str | None = field(
        default=None, metadata={"help": "Hub id or folder; without it the embedded scenes are rendered."}
    )
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of the dataset."})
    dataset_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit."})
    train_split: str = field(default="train", metadata={"help": "Name of the training split."})
    validation_split: str = field(default="validation", metadata={"help": "Name of the validation split."})
    image_column: str = field(default="image", metadata={"help": "Column of the images."})
    image_size: list[int] = field(
        default_factory=lambda: [512, 512], metadata={"help": "Height and width of crops and images."}
    )
    scale: list[float] = field(
        default_factory=lambda: [0.5, 2.0], metadata={"help": "Smallest and largest random scale."}
    )
    base_size: list[int] = field(
        default_factory=list, metadata={"help": "Size an image covers at scale 1; unset is image_size."}
    )
    stretch: bool = field(
        default=False,
        metadata={"help": "Give training images the aspect of base_size; for models of one square size."},
    )
    flip_probability: float = field(default=0.5, metadata={"help": "Probability of a left-right flip."})
    color_jitter: list[float] = field(
        default_factory=lambda: [0.3, 0.3, 0.3, 0.05],
        metadata={"help": "Strength of brightness, contrast, saturation and hue."},
    )
    streaming: bool = field(default=False, metadata={"help": "Read rows as they are needed."})
    shuffle_buffer_size: int = field(default=1000, metadata={"help": "Rows a stream is shuffled among."})
    skip_bad_images: bool = field(default=False, metadata={"help": "Count and skip undecodable files."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Use the first so many rows."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Use the first so many rows."})

    @property
    def fits_images(self) -> bool:
        """Whether evaluation images keep their aspect ratio instead of being stretched to `image_size`."""
        return False


@dataclass
class DenseDataArguments(DataArguments):
    """Which data, whatever one value per pixel stands for, and images without labels beside them."""

    unlabeled_dataset_name: str | None = field(
        default=None,
        metadata={"help": "Hub id or folder of images without labels; 'scenes' renders further scenes."},
    )
    unlabeled_config_name: str | None = field(default=None, metadata={"help": "Its configuration."})
    unlabeled_revision: str | None = field(default=None, metadata={"help": "Its branch, tag or commit."})
    unlabeled_split: str = field(default="train", metadata={"help": "Name of its split."})
    unlabeled_image_column: str = field(default="image", metadata={"help": "Column of its images."})
    max_unlabeled_samples: int | None = field(default=None, metadata={"help": "Use its first so many rows."})


@dataclass
class SegmentationDataArguments(DenseDataArguments):
    """Which data; the fields are the arguments of `load_segmentation_data`."""

    label_column: str = field(default="label", metadata={"help": "Column of the class ids."})
    id2label_path: str | None = field(default=None, metadata={"help": "JSON file of class names."})
    ignore_index: int = field(default=255, metadata={"help": "Label whose pixels do not count."})
    reduce_labels: bool = field(default=False, metadata={"help": "Ignore label 0, lower the others by one."})


@dataclass
class DepthDataArguments(DenseDataArguments):
    """Which data; the fields are the arguments of `load_depth_data`."""

    depth_column: str = field(default="depth", metadata={"help": "Column of the depth maps."})
    depth_scale: float = field(
        default=0.001, metadata={"help": "Metres per stored unit; 0.001 for millimetres."}
    )


@dataclass
class DetectionDataArguments(DataArguments):
    """Which data; the fields are the arguments of `load_detection_data`."""

    objects_column: str = field(default="objects", metadata={"help": "Column of boxes and their classes."})
    bbox_format: Literal["xywh", "xyxy"] = field(
        default="xywh", metadata={"help": "How a box is written, in pixels; 'xywh' is COCO's."}
    )
    id2label_path: str | None = field(default=None, metadata={"help": "JSON file of class names."})
    unknown_categories: Literal["error", "drop"] = field(
        default="error", metadata={"help": "What to do with boxes whose category is no class."}
    )
    min_visibility: float = field(
        default=0.3, metadata={"help": "Share of its area that a box must keep in a training crop."}
    )
    keep_aspect_ratio: bool = field(
        default=False, metadata={"help": "Fit evaluation images into image_size and pad them, unstretched."}
    )

    @property
    def fits_images(self) -> bool:
        """As `keep_aspect_ratio` says."""
        return self.keep_aspect_ratio


def parse_arguments(
    *types: Any, argv: Sequence[str] | None = None, defaults: Mapping[str, Any] | None = None
) -> tuple[Any, ...]:
    """Parse flags into dataclasses; a YAML or JSON file before them and `--preset` set what no flag sets.

    Later wins: the dataclasses' defaults, `defaults`, the preset, the file, the flags.

    Args:
        *types: Dataclasses, as for `HfArgumentParser`.
        argv: The arguments; None is the command line's.
        defaults: A script's own defaults.

    Returns:
        One instance of each dataclass.

    Raises:
        ValueError: If the file cannot be read as a mapping, or it or `defaults` names no existing option.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Without abbreviations: what was given must be known by its full name.
    parser = HfArgumentParser(types, allow_abbrev=False)
    parser.add_argument("--preset", choices=sorted(PRESETS), help="Weights of a published configuration.")
    file: dict[str, Any] = {}
    if arguments and arguments[0].endswith((".yaml", ".yml", ".json")):
        path = Path(arguments.pop(0))
        file = _converted(parser, _read(path), source=path.name)
    scripts = _converted(parser, defaults or {}, source="`defaults`")
    preset = _chosen_preset(arguments, file)
    parser.set_defaults(**{**scripts, **(preset_settings(preset) if preset else {}), **file})
    *parsed, _ = parser.parse_args_into_dataclasses(arguments)  # the last holds --preset alone
    flags = {
        argument.lstrip("-").split("=")[0].replace("-", "_")
        for argument in arguments
        if argument.startswith("--")
    }
    for part in parsed:
        if isinstance(part, StructKDTrainingArguments):
            part.convert_preset(preset, given=flags | set(file))
    return tuple(parsed)


def _read(path: Path) -> Mapping[Any, Any]:
    if not path.is_file():
        raise ValueError(f"there is no file {path}; the first argument may name a YAML or JSON file.")
    text = path.read_text(encoding="utf-8")
    try:
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise ValueError(f"{path.name} is not valid {kind}: {error}.") from error
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path.name} must map option names to values, got a {type(content).__name__}; write one "
            "`name: value` a line."
        )
    return content


def _converted(
    parser: argparse.ArgumentParser, settings: Mapping[Any, Any], *, source: str
) -> dict[str, Any]:
    """Check the names; a single value for a list, and text in a list, become what a flag makes of them.

    Text that is no list's is converted by argparse itself, as is every default that is text.
    """
    actions = {action.dest: action for action in reversed(parser._actions)}
    converted = {}
    for name, value in settings.items():
        if name not in actions:
            close = difflib.get_close_matches(str(name), actions, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "see --help for all."
            raise ValueError(f"{source} sets {name!r}, which is no option; {hint}")
        action = actions[name]
        if action.nargs == "+" and value is not None:
            values = value if isinstance(value, (list, tuple)) else [value]
            try:
                value = [parser._get_value(action, v) if isinstance(v, str) else v for v in values]
            except argparse.ArgumentError as error:
                parser.error(f"{source}: {error}")
        converted[name] = value
    return converted


def _chosen_preset(arguments: Sequence[str], file: Mapping[str, Any]) -> str | None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", default=file.get("preset"))
    chosen: str | None = parser.parse_known_args(list(arguments))[0].preset
    return chosen
