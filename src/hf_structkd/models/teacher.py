"""The frozen teacher: the images it gets, and its answer to them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

import torch
from accelerate.utils import convert_to_fp32
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging

from ..data.views import TEACHER_IMAGE
from ..features.forward import Batch, Capture, Forward, Question, run_model
from ..matching.alignment import resize_ids, resize_map
from ..matching.normalization import ImageNormalization, convert_normalization
from .quantization import quantize_weights
from .sharding import is_sharded, shard_model
from .teacher_forms import class_name
from .teacher_source import TeacherSource

logger = logging.get_logger(__name__)

TeacherDtype = Literal["auto", "float32", "bfloat16", "float16", "int8"]


class OutputReader(Protocol):
    """What the teacher must know of a task; `tasks.Task` has it."""

    name: ClassVar[str]

    def teacher_inputs(self, batch: Batch) -> dict[str, Any]:
        """Pick the entries of a batch that the teacher takes."""

    def prediction(self, output: Any) -> Tensor:
        """Return the tensor of a model's output that the task scores."""

    def capture_features(self, model: nn.Module, pixel_values: Tensor, modules: Sequence[str]) -> Capture:
        """Find the feature maps that are compared, with these images."""


class FrozenTeacher:
    """A teacher in eval mode without gradients, apart from everything that trains or saves the student.

    It is no `nn.Module`, so that nothing that walks the student's modules (optimiser, `train()`, state dict,
    DDP) can reach it.

    Args:
        source: The trained model; its parameters are frozen when it is first run.
        task: Reads the output of the model.
        student_normalization: The normalisation of the images in a batch.
        teacher_normalization: The normalisation that the teacher takes.
        image_size: Height and width in pixels to which images are resized for the teacher; None leaves them.
        device: The device on which the teacher runs.
        precision: The dtype in which it runs; "auto" is that of its weights, and "int8" this too, with the
            weights of linear layers in eight bits. What it answers is float32.
        compiling: Arguments of `torch.compile` for the teacher; None runs it as it is.
        shards: Whether all processes share one teacher, see `shard_model`. It is converted and sharded in
            place, and each of its forwards then needs all processes.

    Attributes:
        image_size: As given.
        fits_student: Whether `answer` reads the student's forward, and so must run behind it.
    """

    fits_student = False

    def __init__(
        self,
        source: TeacherSource,
        task: OutputReader,
        *,
        student_normalization: ImageNormalization,
        teacher_normalization: ImageNormalization,
        image_size: tuple[int, int] | None,
        device: torch.device,
        precision: TeacherDtype = "auto",
        compiling: Mapping[str, Any] | None = None,
        shards: bool = False,
    ) -> None:
        """Load nothing yet; see `model`."""
        self.source = source
        self.device = device
        self.capture: Capture | None = None
        self._task = task
        self._student_normalization = student_normalization
        self._teacher_normalization = teacher_normalization
        self.image_size = image_size
        self._precision = precision
        self._compiling = compiling
        self._shards = shards

    @cached_property
    def model(self) -> PreTrainedModel:
        """The model, loaded, frozen and put on the device at the first call, in the precision of its own."""
        model = self.source.model.requires_grad_(False).eval()
        is_quantized = self._precision == "int8"
        dtype = model.dtype if is_quantized or self._precision == "auto" else getattr(torch, self._precision)
        if self.is_sharded:
            return self._sharded(model, dtype)
        if is_quantized or dtype != model.dtype:
            model = copy.deepcopy(model)  # another trainer may have the same teacher
        model = model.to(self.device, dtype)
        if is_quantized:
            quantize_weights(model)
        return model

    def _sharded(self, model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
        if not is_sharded(model):
            shard_model(model.to(dtype), self.device)
        elif dtype != model.dtype:
            raise ValueError(
                f"`teacher_dtype` must be {str(model.dtype).removeprefix('torch.')}, in which another "
                f"trainer has sharded this teacher, got {self._precision}; load the teacher anew."
            )
        return model

    @property
    def is_sharded(self) -> bool:
        """Whether each forward needs all processes, also because another trainer has sharded the model."""
        return self._shards or (self.source.is_loaded and is_sharded(self.source.model))

    @cached_property
    def _compiled(self) -> Any:
        return self.model if self._compiling is None else torch.compile(self.model, **self._compiling)

    def follow(self, task: OutputReader) -> None:
        """Read outputs by another match of the teacher, with another student."""
        self._task = task

    def images(self, pixel_values: Tensor) -> Tensor:
        """Return images of a batch in the teacher's normalisation, size and dtype."""
        images = convert_normalization(pixel_values, self._student_normalization, self._teacher_normalization)
        if self.image_size is not None:
            images = resize_map(images, self.image_size)
        return images.to(self.model.dtype)

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """Return the entries of a batch that the teacher takes, converted for it."""
        # Data that can read their files in the teacher's size have done so; other images are enlarged.
        shown = batch.get(TEACHER_IMAGE, batch["pixel_values"])
        inputs = {**self._task.teacher_inputs(batch), "pixel_values": self.images(shown)}
        inputs |= {
            name: value.to(self.model.dtype)
            for name, value in inputs.items()
            if isinstance(value, Tensor) and value.is_floating_point()
        }
        if self.image_size is not None and "pixel_mask" in inputs:
            inputs["pixel_mask"] = resize_ids(inputs["pixel_mask"], self.image_size)
        return inputs

    def prepare_features(self, pixel_values: Tensor, modules: Sequence[str]) -> None:
        """Find the feature maps that are compared, with one image, unless that is done already."""
        if self.capture is None:
            images = self.images(pixel_values[:1])
            self.capture = self._task.capture_features(self.model, images, modules)
            if self._compiling is not None:
                torch.compiler.reset()  # code that was compiled before does not call new hooks

    def __call__(self, batch: Batch) -> Forward:
        """Answer one batch, in float32."""
        return self._run(self._compiled, batch)

    @torch.no_grad()
    def _run(self, model: nn.Module, batch: Batch) -> Forward:
        answer = run_model(model, self.inputs(batch), self.capture)
        return Forward(convert_to_fp32(answer.output), tuple(one.float() for one in answer.features))

    def answer(
        self, batch: Batch, student: Forward | None, question: Question, *, keep: bool = True
    ) -> Forward:
        """Return what is read of the answer to one batch.

        Args:
            batch: The batch.
            student: The student's forward on the batch, to whose grid a cache fits the answer; not read here.
            question: What is read. Here the answer always has everything; one from a cache has only this.
            keep: Whether a cache may keep the answer.
        """
        # Compiled code would be of one image first, as the start table has it, and slower for every other.
        return self._run(self._compiled if keep else self.model, batch)

    def statistics(
        self, batch: Batch, compute: Callable[[Any], Tensor], scoring: Mapping[str, Any]
    ) -> Tensor:
        """Return what `compute` makes of the output of each image, (B, ...).

        Args:
            batch: The batch, with labels.
            compute: Returns statistics of an output and the batch's labels.
            scoring: What the statistics depend on beside these and the match of the models, as JSON values.
        """
        return compute(self(batch).output)

    def flush(self) -> None:
        """Write what a cache has not yet written."""

    def describe(self, question: Question, count: int | None) -> dict[str, str]:
        """Return lines of the start table, text by label.

        Args:
            question: What is read of an answer.
            count: How many answers the training needs, or None where that is not known.
        """
        return {}

    def check(self, batch: Batch) -> None:
        """Raise `ValueError` if the teacher refuses these images or answers with NaN or infinity.

        This waits for the device, so it runs for the first batch only; the terms are watched at every step.
        """
        try:
            prediction = self._task.prediction(self._run(self.model, batch).output)
        except (RuntimeError, ValueError) as error:
            if isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error):
                raise  # as it is: `auto_find_batch_size` knows it by its type and message
            height, width = self.images(batch["pixel_values"]).shape[-2:]
            raise ValueError(
                f"`teacher_model` {self._name} refused images of {height} × {width} ({error}); set "
                "`teacher_image_size` to a height and width it takes."
            ) from error
        if not bool(torch.isfinite(prediction).all()):
            raise ValueError(
                f"`teacher_model` {self._name} gave outputs that are not finite on the first batch; check "
                "its weights, `teacher_dtype` (float16 overflows) and its image processor."
            )

    def drop_capture(self) -> None:
        """Remove the hooks of an earlier training."""
        if self.capture is not None:
            self.capture.remove()
            self.capture = None

    @property
    def _name(self) -> str:
        return self.source.name or class_name(self.model)


def matching_normalizations(
    student_processor: Any, teacher_processor: Any
) -> tuple[ImageNormalization, ImageNormalization]:
    """Return the normalisation of the student and of the teacher; one that is unknown equals the other.

    Args:
        student_processor: The image processor that made the batch, or None.
        teacher_processor: The image processor of the teacher, or None.
    """
    # The processor of a model that reads text holds its image processor.
    teacher_processor = getattr(teacher_processor, "image_processor", teacher_processor)
    sides = {"processing_class": student_processor, "teacher_processing_class": teacher_processor}
    known = {name: ImageNormalization.from_image_processor(p) for name, p in sides.items() if p is not None}
    missing = [f"`{name}`" for name in sides if name not in known]
    if missing:
        logger.warning(
            "%s missing: teacher and student are taken to want the same image normalisation; pass both if "
            "they do not.",
            " and ".join(missing) + (" is" if len(missing) == 1 else " are"),
        )
    either = next(iter(known.values()), None) or ImageNormalization()
    return known.get("processing_class", either), known.get("teacher_processing_class", either)
