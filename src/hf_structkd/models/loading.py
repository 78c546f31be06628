"""Load a student or a teacher from a Hub id, a folder, or a configuration to start from scratch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import nn
from transformers import AutoConfig, AutoImageProcessor, PretrainedConfig, PreTrainedModel
from transformers.utils import IMAGE_PROCESSOR_NAME, logging

from ..features import unwrap
from ..hub.access import hub_fault, is_failure
from . import backbones as backbones  # registers them, because a folder may hold a model that uses one
from .ignore_index import set_ignore_index
from .named import place_of
from .reading import readable
from .teacher_forms import Taught, teacher_form
from .unloaded import missing_weights, say_what_was_not_loaded

logger = logging.get_logger(__name__)

WEIGHT_PATTERNS = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json")


class ModelKind(Protocol):
    """What loading must know of a task.

    Attributes:
        name: Pipeline tag of the task on the Hub.
        auto_model: The `transformers` auto class that loads its models.
        model_classes: Names of the model classes that solve the task.
    """

    name: str
    auto_model: Any
    model_classes: frozenset[str]

    def image_processor(self, size: tuple[int, int], config: PretrainedConfig) -> Any:
        """Make an image processor for a student that has none."""


def load_student(
    name_or_path: str | Path,
    task: ModelKind,
    *,
    id2label: Mapping[int, str] | None = None,
    ignore_index: int | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    **hub: Any,
) -> PreTrainedModel:
    """Load a student to train.

    Args:
        name_or_path: Hub id, folder, or a name that comes with the package (`named.NAMED`). A name, and a
            folder that holds a `config.json` and no weights, start a student from scratch, from torch's
            current seed.
        task: The student's task; a checkpoint of another task keeps its backbone and gets a new head.
        id2label: The classes to learn; None keeps those of the configuration. If their number differs from
            that of the checkpoint, the classifier is made anew.
        ignore_index: Label of pixels that do not count; None keeps that of the configuration.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Whether code that lies beside the weights is run, as a wrapped network has it.
        **hub: Passed to `from_pretrained`, for example `token` or `cache_dir`.

    Returns:
        The model, in train mode.

    Raises:
        ValueError: If the Hub has no such model or revision, or does not let the user read it.
        ConnectionError: If the Hub cannot be reached, or fails.
    """
    labels = {}
    if id2label is not None:
        labels = {"id2label": dict(id2label), "label2id": {name: i for i, name in id2label.items()}}
    hub = {"revision": revision, "trust_remote_code": trust_remote_code, **hub}
    name_or_path = place_of(name_or_path)
    with readable("the student", name_or_path, revision=revision):
        config = AutoConfig.from_pretrained(name_or_path, **labels, **hub)
        if ignore_index is not None:
            set_ignore_index(config, ignore_index)
        if holds_only_a_configuration(name_or_path):
            logger.info("%s holds no weights: the student starts from scratch.", name_or_path)
            model = task.auto_model.from_config(config, trust_remote_code=trust_remote_code)
        else:
            model, info = task.auto_model.from_pretrained(
                name_or_path, config=config, ignore_mismatched_sizes=True, output_loading_info=True, **hub
            )
            say_what_was_not_loaded(_as_model(model), info, name_or_path, config.architectures or [])
    return _as_model(model).train()


def load_teacher(
    model: PreTrainedModel | str | Path,
    task: Taught,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    **hub: Any,
) -> PreTrainedModel:
    """Load a trained teacher.

    Args:
        model: Hub id or folder, or a loaded model.
        task: The task that the teacher must teach.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Whether code that lies beside the weights is run.
        **hub: Passed to `from_pretrained`, for example `token` or `cache_dir`.

    Returns:
        The model, in a `WrappedTeacher` if it is of another form than the task's own.

    Raises:
        ValueError: If it solves another task, or weights are missing, because the auto class would fill them
            with random numbers and the student would learn from noise. Also if the Hub has no such model or
            revision, or does not let the user read it.
        ConnectionError: If the Hub cannot be reached, or fails.
    """
    if isinstance(model, PreTrainedModel):
        return teacher_form([type(model).__name__], task, type(model).__name__).wrap(model)
    name_or_path, hub = place_of(model), {"revision": revision, "trust_remote_code": trust_remote_code, **hub}
    with readable("`teacher_model`", name_or_path, revision=revision):
        config = AutoConfig.from_pretrained(name_or_path, **hub)
    form = teacher_form(config.architectures or [], task, name_or_path)
    if holds_only_a_configuration(name_or_path):
        raise ValueError(
            f"`teacher_model` {name_or_path} has no weights, and a teacher must be trained; train it first, "
            "for example with `structkd train-teacher`."
        )
    with readable("`teacher_model`", name_or_path, revision=revision):
        loaded, info = form.auto_model.from_pretrained(name_or_path, output_loading_info=True, **hub)
    missing = missing_weights(info)
    if missing:
        raise ValueError(
            f"`teacher_model` {name_or_path} has no weights for {sorted(missing)[:3]} and "
            f"{len(missing)} in all; a teacher must be trained, choose a complete checkpoint."
        )
    say_what_was_not_loaded(_as_model(loaded), info, name_or_path, config.architectures or [])
    return form.wrap(_as_model(loaded))


def refuse_shared_parameters(student: PreTrainedModel, teacher: PreTrainedModel) -> None:
    """Raise `ValueError` if the two share a parameter, which freezing the teacher would freeze too."""
    own = {id(parameter) for parameter in student.parameters()}
    if any(id(parameter) in own for parameter in teacher.parameters()):
        raise ValueError(
            "`model` and `teacher_model` share parameters, so that freezing the teacher would freeze the "
            "student; pass `copy.deepcopy(model)` as the teacher."
        )


def load_image_processor(name_or_path: str | Path, *, revision: str | None = None, **hub: Any) -> Any | None:
    """Load the image processor that is saved beside a model; return None if there is none."""
    name_or_path = place_of(name_or_path)
    with readable("the image processor of", name_or_path, revision=revision):
        try:
            return AutoImageProcessor.from_pretrained(name_or_path, revision=revision, **hub)
        except OSError as error:
            # It is raised for a damaged file and a failing Hub too, and images would be normalised otherwise.
            is_damaged = isinstance(error.__context__, (json.JSONDecodeError, UnicodeDecodeError))
            is_file = (Path(name_or_path) / IMAGE_PROCESSOR_NAME).is_file()
            if is_damaged or is_file or is_failure(hub_fault(error)):
                raise
    logger.info("%s has no %s.", name_or_path, IMAGE_PROCESSOR_NAME)
    return None


def student_image_processor(
    name_or_path: str | Path,
    task: ModelKind,
    size: tuple[int, int],
    *,
    keep_aspect_ratio: bool = False,
    revision: str | None = None,
    **hub: Any,
) -> Any:
    """Make the processor to save beside a student, so that pipelines resize images as the training did.

    Args:
        name_or_path: Hub id or folder of the student; without a processor there, the task makes one.
        task: The student's task.
        size: Height and width of the training images in pixels.
        keep_aspect_ratio: Whether evaluation fits images into `size` instead of stretching them.
        revision: Branch, tag or commit on the Hub.
        **hub: Passed to `from_pretrained`.
    """
    name_or_path = place_of(name_or_path)
    processor = load_image_processor(name_or_path, revision=revision, **hub)
    if processor is None:
        with readable("the student", name_or_path, revision=revision):
            config = AutoConfig.from_pretrained(name_or_path, revision=revision, **hub)
        processor = task.image_processor(size, config)
    return resizing_to(processor, size, keep_aspect_ratio=keep_aspect_ratio)


def resizing_to(processor: Any, size: tuple[int, int], *, keep_aspect_ratio: bool) -> Any:
    """Let an image processor resize to `size`, or into it, and change the size no further; return it."""
    names = ("max_height", "max_width") if keep_aspect_ratio else ("height", "width")
    processor.size = dict(zip(names, size, strict=True))
    processor.do_resize = True
    # Some processors have these options, which would change the size again.
    for option in ("do_center_crop", "keep_aspect_ratio"):
        if getattr(processor, option, False):
            setattr(processor, option, False)
    if getattr(processor, "ensure_multiple_of", 1) != 1:
        processor.ensure_multiple_of = 1
    return processor


def holds_only_a_configuration(name_or_path: str | Path) -> bool:
    """Return whether a student starts from scratch, from a folder with a `config.json` and no weights."""
    folder = Path(place_of(name_or_path))
    return (folder / "config.json").is_file() and not any(any(folder.glob(p)) for p in WEIGHT_PATTERNS)


def _as_model(model: Any) -> PreTrainedModel:
    assert isinstance(model, PreTrainedModel)
    return model


def model_of(student: nn.Module) -> PreTrainedModel:
    """Return the transformers model inside the wrappers of a student.

    Raises:
        TypeError: If there is none.
    """
    inner = unwrap(student)
    if not isinstance(inner, PreTrainedModel):
        raise TypeError(
            f"`model` must be a model of transformers, PEFT's wrapper around one, a Hub id or a folder, got "
            f"{type(student).__name__}."
        )
    return inner


def config_of(model: PreTrainedModel) -> PretrainedConfig:
    """Return the configuration of a model with its type."""
    config = model.config
    assert isinstance(config, PretrainedConfig)
    return config
