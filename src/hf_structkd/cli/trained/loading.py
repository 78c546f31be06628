"""Load a trained model with all that must be known to show it images."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from ...matching.normalization import ImageNormalization
from ...models import TeacherSource, load_image_processor
from ...models.loading import resizing_to
from ...models.reading import readable
from ...tasks import TASKS, Task
from ..endings import UsageError


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        name: Hub id or folder.
        kind: The task that it solves.
        device: Where it runs.
        trusts_code: Whether code that lies beside it is run.
    """

    name: str
    kind: type[Task]
    device: torch.device
    trusts_code: bool = False

    @cached_property
    def source(self) -> TeacherSource:
        """What is known of it before its weights are loaded."""
        return TeacherSource(self.name, self.kind, trust_remote_code=self.trusts_code)

    @property
    def config(self) -> PretrainedConfig:
        """Its configuration."""
        return self.source.config

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model, in float32 on its device in evaluation mode; weights that are missing are an error."""
        return self.source.model.requires_grad_(False).eval().to(self.device, torch.float32)

    @cached_property
    def processor(self) -> Any:
        """Its image processor, or None."""
        return load_image_processor(self.name)

    @property
    def normalization(self) -> ImageNormalization:
        """How its images are normalised; ImageNet's where it has no processor."""
        return ImageNormalization.from_image_processor(self.processor)

    def sized_processor(self, size: tuple[int, int]) -> Any:
        """Return its image processor, or one of its task's, for images of this height and width."""
        processor = copy.deepcopy(self.processor) or self.kind.image_processor(size, self.config)
        return resizing_to(processor, size, keep_aspect_ratio=False)

    @property
    def own_size(self) -> tuple[int, int] | None:
        """Height and width to which its processor brings every image, or None where it has no such size."""
        return fixed_size(self.processor)


def fixed_size(processor: Any) -> tuple[int, int] | None:
    """Return height and width to which an image processor brings every image, or None."""
    size = getattr(processor, "size", None) or {}
    for keys in (("height", "width"), ("max_height", "max_width")):
        if all(isinstance(size.get(key), int) for key in keys):
            return size[keys[0]], size[keys[1]]
    return None


def solved_task(name: str) -> type[Task]:
    """Return the task that a model solves, as its configuration says.

    Raises:
        ValueError: If there is no such model, or it solves no task of this library.
    """
    with readable("the model", name):
        # As it stands in the file: the class of a configuration may be code beside it.
        architectures = PretrainedConfig.get_config_dict(name)[0].get("architectures") or []
    for task in TASKS:
        # A model that reads text has no classes of its own to be scored by.
        forms = [form for form in task.teacher_forms if not form.reads_text]
        known = task.model_classes.union(*(form.model_classes for form in forms))
        if known.intersection(architectures):
            return task
    listed = ", ".join(task.short_name for task in TASKS)
    raise ValueError(
        f"the model {name} must solve one of the tasks {listed}, and its configuration names "
        f"{' and '.join(architectures) or 'no architecture'}; choose another model."
    )


def load_trained(names: Sequence[str], device: str | None, trusts_code: bool = False) -> list[Trained]:
    """Return models of one task; their weights are loaded when they are first needed.

    Args:
        names: Hub ids or folders.
        device: Where they run, for example "cuda:1"; None is a GPU where there is one.
        trusts_code: Whether code that lies beside them is run.

    Raises:
        UsageError: If none is named, one is named twice, or they solve different tasks.
    """
    if not names:
        raise UsageError("no model is named; write Hub ids or folders behind the command.")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"{twice[0]!r} is named twice; leave one of the two out.")
    tasks = {name: solved_task(name) for name in names}
    if len(set(tasks.values())) > 1:
        solved = ", ".join(f"{name} ({task.short_name})" for name, task in tasks.items())
        raise UsageError(f"the models must solve one task, got {solved}; compare those of one task.")
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return [Trained(name, task, place, trusts_code) for name, task in tasks.items()]


def short_names(names: Sequence[str]) -> Mapping[str, str]:
    """Return each model's name for a table: the last part of its path where that tells it from the others."""
    last = [Path(name).name for name in names]
    return {
        name: short if last.count(short) == 1 and short else name
        for name, short in zip(names, last, strict=True)
    }
