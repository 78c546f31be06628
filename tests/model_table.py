"""What every architecture of Transformers can be here, as the library itself says it: `docs/models.md`.

python -m tests.model_table > docs/models.md
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from transformers.models.auto import modeling_auto

from hf_structkd.models.teacher_forms import teacher_form
from hf_structkd.tasks import DepthTask, DetectionTask, SegmentationTask, Task
from hf_structkd.tasks.detectors import check_can_learn, check_can_teach

# A mapping of Transformers, by the task whose teachers or students stand in it.
MAPPINGS: tuple[tuple[type[Task], str, Mapping[str, str]], ...] = (
    *(
        (SegmentationTask, kind, getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES"))
        for kind, name in (
            ("semantic segmentation", "SEMANTIC_SEGMENTATION"),
            ("universal segmentation", "UNIVERSAL_SEGMENTATION"),
            ("mask generation", "MASK_GENERATION"),
        )
    ),
    (SegmentationTask, "segmentation by text", {"clipseg": "CLIPSegForImageSegmentation"}),
    (DepthTask, "depth estimation", modeling_auto.MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES),
    (DetectionTask, "object detection", modeling_auto.MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES),
    (
        DetectionTask,
        "zero-shot object detection",
        modeling_auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES,
    ),
)

# Why the architectures of a mapping cannot learn, where the library refuses their classes as a whole.
_NO_STUDENT = {
    "universal segmentation": "its loss compares masks with classes, and no labels of pixels",
    "mask generation": "it learns from points and boxes, and names no class",
    "segmentation by text": "it learns from texts, and has no classes of its own",
    "zero-shot object detection": "it learns from texts, and has no classes of its own",
}
# What is particular about an architecture.
_NOTES = {
    "DetrForSegmentation": "trained for panoptic segmentation",
    "OneFormerForUniversalSegmentation": "is told that the task is semantic",
    "PromptDepthAnythingForDepthEstimation": "metric with `prompt_depth_column`, relative without",
    "Owlv2ForObjectDetection": "sees images padded to squares; boxes are brought back",
    "CLIPSegForImageSegmentation": "takes square images, see `teacher_image_size`",
}


class Row(NamedTuple):
    """One architecture of a mapping.

    Attributes:
        task: The task.
        kind: What Transformers calls the mapping.
        arch: The type of the model.
        model_class: Its class.
        no_teacher: Why it cannot teach, or None if it can.
        no_student: Why it cannot learn, or None if it can.
    """

    task: type[Task]
    kind: str
    arch: str
    model_class: str
    no_teacher: str | None
    no_student: str | None


def rows() -> list[Row]:
    """Return a row for every architecture of every mapping; the types of one class are one row."""
    found = []
    for task, kind, mapping in MAPPINGS:
        names: dict[str, list[str]] = {}
        for arch, model_class in mapping.items():
            names.setdefault(model_class, []).append(arch)
        found += [
            Row(task, kind, ", ".join(archs), name, _no_teacher(task, name), _no_student(task, kind, name))
            for name, archs in names.items()
        ]
    return found


def _no_teacher(task: type[Task], model_class: str) -> str | None:
    if model_class in task.refused_teachers:
        return task.refused_teachers[model_class]
    try:
        teacher_form([model_class], task, model_class)
    except ValueError:
        raise LookupError(
            f"{model_class} is new in Transformers: let it teach {task.short_name} by a `TeacherForm`, or "
            "say in the task's `refused_teachers` why it does not."
        ) from None
    return _reason(check_can_teach, model_class) if task is DetectionTask else None


def _no_student(task: type[Task], kind: str, model_class: str) -> str | None:
    if model_class not in task.model_classes:
        return _NO_STUDENT[kind]
    return _reason(check_can_learn, model_class) if task is DetectionTask else None


def _reason(check: Any, model_class: str) -> str | None:
    """Return the reason in parentheses with which a check refuses a model, by the name of its class."""
    try:
        check(type(model_class, (), {})())
    except ValueError as error:
        return str(error).partition("(")[2].partition(");")[0]
    return None


def page() -> str:
    """Return `docs/models.md`."""
    lines = [
        "# Which models teach, and which learn",
        "",
        "Every architecture in transformers' mappings of tasks whose answers are maps or boxes.",
        "`python -m tests.model_table` prints this page, and a test compares the two. Each yes is run in the",
        "tests, with a tiny model that is built in memory: it teaches or learns for one step with every term",
        "on, and is evaluated. How teachers of other kinds are read: [teachers.md](teachers.md).",
    ]
    for task in (SegmentationTask, DepthTask, DetectionTask):
        lines += ["", f"## {task.short_name.capitalize()}", ""]
        lines += ["| model type | mapping | teacher | student |", "| --- | --- | --- | --- |"]
        own = [row for row in rows() if row.task is task]
        lines += [
            f"| `{row.arch}` | {row.kind} | {_cell(row.no_teacher, _NOTES.get(row.model_class))} "
            f"| {_cell(row.no_student)} |"
            for row in own
        ]
    return "\n".join(lines) + "\n"


def _cell(reason: str | None, note: str | None = None) -> str:
    if reason is not None:
        return f"no: {reason}"
    return "yes" if note is None else f"yes; {note}"


if __name__ == "__main__":
    sys.stdout.write(page())
