"""The code of classes that Transformers lacks, written beside a student so that it loads anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import CONFIG_NAME

from .backbones import mobilenet_v2
from .loading import config_of

_BACKBONE_FILE, _STUDENT_FILE = "structkd_mobilenet_v2.py", "modeling_student.py"

_REGISTRATION = """

# Beside a student this file registers its backbone when it is imported.
from transformers import AutoBackbone, AutoConfig

AutoConfig.register(MobileNetV2BackboneConfig.model_type, MobileNetV2BackboneConfig, exist_ok=True)
AutoBackbone.register(MobileNetV2BackboneConfig, MobileNetV2Backbone, exist_ok=True)
"""

_STUDENT = '''"""The student: a class of Transformers on a backbone that Transformers lacks."""

from transformers import {config}, {model}

from .structkd_mobilenet_v2 import MobileNetV2Backbone


class StudentConfig({config}):
    """The configuration, whose backbone is registered by the import above."""

    backbone_class = MobileNetV2Backbone


class StudentModel({model}):
    """The model."""

    config_class = StudentConfig
'''


def needs_own_code(config: PretrainedConfig) -> bool:
    """Return whether a model of this configuration has a backbone of this package."""
    nested = [value for value in vars(config).values() if isinstance(value, PretrainedConfig)]
    return isinstance(config, mobilenet_v2.MobileNetV2BackboneConfig) or any(map(needs_own_code, nested))


def ship_code(student: PreTrainedModel, folder: str | Path, auto_model: Any) -> None:
    """Write the code of a student's own backbone into its folder, if it has one.

    With it `auto_model.from_pretrained(folder, trust_remote_code=True)` loads the student where this package
    is not installed.

    Args:
        student: The student.
        folder: Where it is saved.
        auto_model: The auto class of its task.
    """
    folder, config = Path(folder), config_of(student)
    path = folder / CONFIG_NAME
    if not needs_own_code(config) or not path.is_file():
        return
    source = Path(mobilenet_v2.__file__).read_text(encoding="utf-8")
    (folder / _BACKBONE_FILE).write_text(source + _REGISTRATION, encoding="utf-8")
    text = _STUDENT.format(config=type(config).__name__, model=type(student).__name__)
    (folder / _STUDENT_FILE).write_text(text, encoding="utf-8")
    module = Path(_STUDENT_FILE).stem
    classes = {"AutoConfig": f"{module}.StudentConfig", auto_model.__name__: f"{module}.StudentModel"}
    content = {**json.loads(path.read_text(encoding="utf-8")), "auto_map": classes}
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
