"""Load students and teachers, and freeze a teacher."""

from __future__ import annotations

from .exported import load_exported_teacher
from .exported_networks import load_exported
from .loading import load_image_processor, load_student, load_teacher, student_image_processor
from .shipping import ship_code
from .teacher import FrozenTeacher
from .teacher_source import TeacherSource
from .wrapping import wrap_model

__all__ = [
    "FrozenTeacher",
    "TeacherSource",
    "load_exported",
    "load_exported_teacher",
    "load_image_processor",
    "load_student",
    "load_teacher",
    "ship_code",
    "student_image_processor",
    "wrap_model",
]
