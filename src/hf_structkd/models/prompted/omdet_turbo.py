"""OmDet-Turbo as a teacher: a text names the classes, and a further one the task."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForZeroShotObjectDetection
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

from ..teacher_forms import TeacherForm
from .base import PromptedTeacher, best_of, detections, padded_to
from .prompts import Prompts


class OmDetTurboTeacher(PromptedTeacher):
    """An OmDet-Turbo; the score of a class is that of its best phrase.

    The model keeps the features of texts that it has met.
    """

    task_input_ids: Tensor
    task_attention_mask: Tensor

    def _read(self, prompts: Prompts, tokenizer: Any) -> None:
        length = self.config.text_config.max_position_embeddings
        self._read_each(prompts, tokenizer, length)
        # Its own processor cuts this sentence too where the phrases are many.
        task = f"Detect {', '.join(prompts.phrases)}."
        self._keep(tokenizer([task], truncation=True, **padded_to(length)), "task_")

    def _answer(self, images: Tensor, mask: Tensor | None, prompts: Prompts) -> DetrObjectDetectionOutput:
        count = len(images)
        output = self.inner(
            pixel_values=images,
            classes_input_ids=self.input_ids.repeat(count, 1),
            classes_attention_mask=self.attention_mask.repeat(count, 1),
            tasks_input_ids=self.task_input_ids.expand(count, -1),
            tasks_attention_mask=self.task_attention_mask.expand(count, -1),
            classes_structure=torch.full((count,), len(prompts.phrases)),
        )
        self.image_map(list(output.encoder_extracted_states))
        logits = best_of(output.decoder_class_logits, self.owners, len(prompts.names))
        return detections(logits, output.decoder_coord_logits)


OMDET_TURBO = TeacherForm(
    AutoModelForZeroShotObjectDetection,
    frozenset({"OmDetTurboForObjectDetection"}),
    OmDetTurboTeacher,
    reads_text=True,
)
"""The form of these teachers."""
