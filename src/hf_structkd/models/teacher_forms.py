"""Other forms of models that can teach a task, wrapped so that they answer as the task's own models do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


class WrappedTeacher(PreTrainedModel):
    """A frozen model of another kind that answers as a model of the task does.

    It shares the configuration of the model inside, so that classes are matched and normalisations found as
    for any other teacher. It is never saved.

    Args:
        model: The model inside.
        config: A configuration in place of that of the model inside.

    Attributes:
        inner: The model inside.
        feature_module: Name of the module, inside this wrapper, whose output is the feature to compare.
    """

    config_class = PretrainedConfig
    main_input_name = "pixel_values"
    # How attention is computed was decided when the model inside was built.
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True

    feature_module: str

    def __init__(self, model: PreTrainedModel, config: PretrainedConfig | None = None) -> None:
        """Wrap the model; nothing is copied."""
        super().__init__(config or model.config)
        self.inner = model


class TeacherForm(NamedTuple):
    """A kind of models that can teach a task.

    Attributes:
        auto_model: The `transformers` auto class that loads them.
        model_classes: Names of their classes.
        wrap: Lets a model answer as the task's own models do.
        reads_text: Whether the wrapped model has no classes of its own, and is asked for those of a student,
            see `prompted.base.PromptedTeacher`.
    """

    auto_model: Any
    model_classes: frozenset[str]
    wrap: Callable[[PreTrainedModel], PreTrainedModel]
    reads_text: bool = False


class Taught(Protocol):
    """What must be known of a task to find out whether a model can teach it.

    Attributes:
        name: Pipeline tag of the task on the Hub.
        short_name: Name of the task on a command line.
        auto_model: The `transformers` auto class that loads its own models.
        model_classes: Names of the classes of its own models.
        teacher_forms: Further kinds of models that can teach it.
        refused_teachers: Names of classes that look like teachers, to the reason why they are none.
    """

    name: str
    short_name: str
    auto_model: Any
    model_classes: frozenset[str]
    teacher_forms: Sequence[TeacherForm]
    refused_teachers: Mapping[str, str]


def teacher_form(architectures: Sequence[str], task: Taught, name: str | Path) -> TeacherForm:
    """Return the form of a model that is to teach a task.

    Args:
        architectures: Names of the model's classes.
        task: The task.
        name: The model, for the message.

    Raises:
        ValueError: If a model of these classes cannot teach it.
    """
    own = TeacherForm(task.auto_model, task.model_classes, lambda model: model)
    for form in (own, *task.teacher_forms):
        if any(architecture in form.model_classes for architecture in architectures):
            return form
    kind = " and ".join(architectures) or "of no stated task"
    reasons = [f" ({task.refused_teachers[a]})" for a in architectures if a in task.refused_teachers]
    raise ValueError(
        f"`teacher_model` must be a model for {task.name}, got {name}, which is {kind}{''.join(reasons)}; "
        "choose a teacher of the student's task."
    )


def class_name(model: nn.Module) -> str:
    """Return the name of a model's class, or of the class of the model inside a `WrappedTeacher`."""
    return type(model.inner if isinstance(model, WrappedTeacher) else model).__name__
