"""The option of the tasks whose models have classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..label_spaces import load_label_map


@dataclass
class LabelMapArguments:
    """How the classes of the two models belong together."""

    teacher_label_map: str | None = field(
        default=None, metadata={"help": "JSON object or file: teacher class name to student class name."}
    )

    def task_options(self) -> dict[str, Any]:
        """Keyword arguments of the task."""
        given = self.teacher_label_map
        return {"teacher_label_map": None if given is None else load_label_map(given)}
