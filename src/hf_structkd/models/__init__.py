"""Load students and teachers, and freeze a teacher."""

from __future__ import annotations

from .loading import load_image_processor, load_student, load_teacher, student_image_processor
from .shipping import ship_code
from .teacher import FrozenTeacher
from .teacher_source import TeacherSource

__all__ = [
    "FrozenTeacher",
    "TeacherSource",
    "load_image_processor",
    "load_student",
    "load_teacher",
    "ship_code",
    "student_image_processor",
]
