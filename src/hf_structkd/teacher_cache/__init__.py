"""A teacher's answers, computed once and read back in later epochs and runs."""

from .cached_teacher import CachedTeacher
from .store import AnswerStore

__all__ = ["AnswerStore", "CachedTeacher"]
