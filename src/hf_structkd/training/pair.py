"""The student and its teacher: the task between them, and how both are run on a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..data import show_teacher
from ..features import unwrap
from ..features.forward import Batch, Capture, Forward, Question, Reading
from ..models import FrozenTeacher, TeacherSource, load_image_processor
from ..models.exported import refuse_features
from ..models.loading import config_of, refuse_shared_parameters
from ..models.teacher import matching_normalizations
from ..models.wrapped_module import image_processor_of
from ..tasks import Task
from ..teacher_cache import CachedTeacher
from ..terms import Term
from .arguments import StructKDTrainingArguments


class ModelPair:
    """What student and teacher are to one another.

    Args:
        student: The student.
        teacher_model: A Hub id, a folder, a model, its source, or None. It is loaded when a term first
            needs it.
        kind: The task that both solve.
        args: The settings.
        processors: The student's image processor, or None, and the teacher's; None loads the one beside it.
        task_options: Keyword arguments of the task.

    Attributes:
        task: What the two models' outputs mean.
        teacher: The frozen teacher, or None as long as no term needs it.
        student_capture: Where the student's feature maps are taken, or None.
        expected_answers: How many answers of the teacher a training needs, or None where it is not known.
        has_labels: Whether the training data have labels; otherwise the teacher alone teaches.
        trusts_keys: Whether a batch's `sample_key` is of the images in it. A collator of the caller's may
            have changed them; a cache then reads the images themselves.

    Raises:
        ValueError: If the student cannot be trained for the task.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        teacher_model: PreTrainedModel | TeacherSource | str | Path | None,
        kind: type[Task],
        args: StructKDTrainingArguments,
        *,
        processors: tuple[Any, Any],
        task_options: Mapping[str, Any] | None,
    ) -> None:
        """Match nothing yet: without a term that needs it, the teacher is not even loaded."""
        self.teacher: FrozenTeacher | None = None
        self.student_capture: Capture | None = None
        self.expected_answers: int | None = None
        self.trusts_keys = False
        self.has_labels = True
        self._teacher_model = teacher_model
        self._kind = kind
        self._args = args
        self._processors = processors
        self._task_options = dict(task_options or {})
        self.task = self._match(student, None)

    @property
    def teacher_size(self) -> tuple[int, int] | None:
        """Height and width of the images that the teacher is shown; None is those of the student."""
        size = self._args.teacher_image_size
        return (size[0], size[1]) if size else None

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher was named, loaded or not."""
        return self._teacher_model is not None

    def load_teacher(self, student: PreTrainedModel, terms: Sequence[Term]) -> None:
        """Load the teacher, unless it is loaded already, and match it with the student.

        Args:
            student: The student.
            terms: The terms that need it.

        Raises:
            ValueError: If there is none, if it solves another task or shares no class with the student, or if
                a term compares features and the teacher is a file that has none.
        """
        if self.teacher is None:
            self._load_teacher(student, terms)
        assert self.teacher is not None
        source = self.teacher.source
        of_features = [term for term in terms if "features" in term.reads_for(self.task)]
        refuse_features(source.config, source.name, [f"{term.name}_weight" for term in of_features])

    def _load_teacher(self, student: PreTrainedModel, terms: Sequence[Term]) -> None:
        if self._teacher_model is None:
            raise ValueError(
                f"`teacher_model` is None, but the terms {sorted(term.name for term in terms)} need one; "
                "name a teacher, or set their weights to 0 to train the student alone."
            )
        source = self._teacher_model
        if not isinstance(source, TeacherSource):
            source = TeacherSource(source, self._kind)
        source = source.asked_for(config_of(student), self._task_options, self._processors[1])
        if source.is_loaded or self._args.teacher_cache is None:  # what cannot be loaded is said at once
            refuse_shared_parameters(student, source.model)
        self.task = self._match(student, source.outline)
        self.teacher = self._frozen(source)

    def _frozen(self, source: TeacherSource) -> FrozenTeacher:
        """Return the teacher, with a memory on disk if the settings name one."""
        processor, teacher_processor = self._processors
        beside = load_image_processor(source.folder, revision=source.revision) if source.name else None
        own, theirs = matching_normalizations(
            processor, teacher_processor or image_processor_of(source.config) or beside
        )
        settings: dict[str, Any] = {
            "student_normalization": own,
            "teacher_normalization": theirs,
            "image_size": self.teacher_size,
            "device": self._args.device,
            "precision": self._args.teacher_dtype,
            "compiling": self._args.compiling,
            "shards": "teacher" in self._args.shard,
        }
        root = self._args.teacher_cache
        if root is None:
            return FrozenTeacher(source, self.task, **settings)
        if self.task.makes_labels:
            raise ValueError(
                "`teacher_cache` must be left out where the teacher's answers stand in for labels, which "
                f"needs them before the student's, got {root!r}; leave it or the pseudo-labels out."
            )
        settings |= {"dtype": self._args.teacher_cache_dtype, "top_k": self._args.teacher_cache_top_k}
        return CachedTeacher(source, self.task, root=root, feature=self._args.teacher_feature, **settings)

    def follow(self, student: PreTrainedModel) -> None:
        """Match the teacher with another student, as `model_init` makes one for every training."""
        self.task = self._match(student, None if self.teacher is None else self.teacher.source.outline)
        if self.teacher is not None:
            self.teacher.follow(self.task)

    def meet(self, data: Any) -> None:
        """Ask training data for images in the teacher's size, and note how many answers a cache needs.

        Raises:
            ValueError: If a cache is wanted and the data never show an image twice in the same way.
        """
        show_teacher(data, self.teacher_size if self.has_teacher else None)
        self.expected_answers = None
        if self._args.teacher_cache is None or not hasattr(data, "views"):
            return
        if data.views is None:
            raise ValueError(
                "`teacher_cache` needs training data with a fixed number of views, got data that is "
                "augmented anew in every epoch; load it with `augmentation_views`, for example 4."
            )
        self.expected_answers = len(data) * int(data.views) if hasattr(data, "__len__") else None

    def capture_features(self, model: nn.Module, pixel_values: Tensor) -> None:
        """Find the two feature maps on these images, unless that is done already."""
        assert self.teacher is not None
        if self.student_capture is None:
            names = self._args.student_feature
            self.student_capture = self.task.capture_features(unwrap(model), pixel_values[:1], names)
            self._forget_code()
        self.teacher.prepare_features(pixel_values, self._args.teacher_feature)

    def drop_captures(self) -> None:
        """Take the hooks of an earlier training off both models."""
        if self.student_capture is not None:
            self.student_capture.remove()
            self.student_capture = None
            self._forget_code()
        if self.teacher is not None:
            self.teacher.drop_capture()

    def _forget_code(self) -> None:
        """Compile anew: code that was compiled for a class of model calls the hooks that it had then."""
        if self._args.torch_compile:
            torch.compiler.reset()

    def filled_in(self, batch: Batch) -> tuple[Batch, Forward | None]:
        """Return a batch with the teacher's answers in place of missing labels, and its forward if it ran.

        It runs whether a label is missing or not: its forward may be a meeting of all processes.
        """
        if self.teacher is None or not self.task.makes_labels or "labeled" not in batch:
            return batch, None
        answer = self.teacher(batch)
        return self.task.filled_in(batch, answer.output), answer

    def forward(
        self, model: nn.Module, batch: Batch, terms: Sequence[Term], answer: Forward | None = None
    ) -> tuple[Forward, Forward | None]:
        """Run both models for these terms; the teacher only if one of them needs it, and it has not run yet.

        Raises:
            RuntimeError: If a captured feature map has no gradient, so that a term on it would train nothing.
        """
        asked = self.teacher if any(term.needs_teacher for term in terms) else None
        if asked is not None and answer is None and not asked.fits_student:
            # First, because what it computes on the way would otherwise lie beside the student's activations.
            answer = self.answer(batch, None, terms)
        student = self.task.student_forward(model, batch, self.student_capture)
        if self.student_capture is not None and not all(maps.requires_grad for maps in student.features):
            raise RuntimeError(
                f"the student's feature ({self.student_capture.description}) has no gradient, so that the "
                "terms on it would train nothing: layers below are frozen, or activation checkpointing is "
                "re-entrant; pass `activation_checkpointing_kwargs={'use_reentrant': False}`, or name a "
                "different module with `student_feature`."
            )
        if asked is None:
            return student, None
        return student, answer or self.answer(batch, student, terms)

    def answer(
        self, batch: Batch, student: Forward | None, terms: Sequence[Term], *, keep: bool = True
    ) -> Forward:
        """Return what the terms read of the teacher's answer to a batch.

        Args:
            batch: The batch.
            student: The student's forward on it; None for a teacher that does not fit its answer to it.
            terms: The terms that are on.
            keep: Whether a cache may keep the answer.
        """
        assert self.teacher is not None
        if not self.trusts_keys:
            batch = {name: value for name, value in batch.items() if name != "sample_key"}
        return self.teacher.answer(batch, student, self.question(terms), keep=keep)

    def question(self, terms: Sequence[Term]) -> Question:
        """Return what the terms read of the teacher's answers: nodes, if one term alone reads features so."""
        taught = [term for term in terms if term.needs_teacher]
        if self._args.teacher_cache_top_k is not None:
            self._refuse_top_k(taught)
        reads = frozenset[Reading]().union(*(term.reads_for(self.task) for term in taught))
        of_features = [term for term in taught if "features" in term.reads_for(self.task)]
        if len(of_features) != 1 or not of_features[0].reads_nodes:
            return Question(reads)
        term = of_features[0]
        return Question(reads, term.pool_teacher, term.settings(), term.sum_up_nodes)

    def _refuse_top_k(self, taught: Sequence[Term]) -> None:
        """Raise `ValueError` if the task has no maps of class logits, or a term reads more of them."""
        reason = ""
        if not self.task.has_logit_maps:
            reason = f"the answers for {self.task.name} are no maps of class logits"
        for term in taught:
            if "output" in term.reads_for(self.task) and not term.reads_probabilities:
                reason = f"the {term.title} compares the logits of every class"
        if reason:
            raise ValueError(
                f"`teacher_cache_top_k` must be left out, got {self._args.teacher_cache_top_k}: {reason}."
            )

    def _match(self, student: PreTrainedModel, teacher: PreTrainedModel | None) -> Task:
        self._kind.check_models(student, teacher)
        theirs = None if teacher is None else config_of(teacher)
        task = self._kind(config_of(student), theirs, **self._task_options)
        if teacher is not None and not self.has_labels:
            task.without_labels()
        return task
