"""Load students and teachers, and freeze a teacher."""

from __future__ import annotations

from .loading import load_image_processor, load_student, load_teacher, student_image_processor
from .teacher import FrozenTeacher

__all__ = [
    "FrozenTeacher",
    "load_image_processor",
    "load_student",
    "load_teacher",
    "student_image_processor",
]
