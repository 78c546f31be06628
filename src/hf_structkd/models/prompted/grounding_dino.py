"""Grounding DINO and MM-Grounding DINO as teachers: they score every token of one text of all phrases."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForZeroShotObjectDetection
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

from ..teacher_forms import TeacherForm
from .base import PromptedTeacher, best_of, detections, phrase_tokens
from .prompts import Prompts

# BERT's start, end, full stop and question mark: the code of the models separates phrases at these tokens.
_SEPARATORS = (101, 102, 1012, 1029)


class GroundingDinoTeacher(PromptedTeacher):
    """A Grounding DINO; the score of a class is that of its best token, as in its post-processing."""

    # The maps that the decoder reads; its sizes are in a call of the encoder alone.
    feature_module = "inner.model.encoder"

    def _read(self, prompts: Prompts, tokenizer: Any) -> None:
        """Write the phrases one after the other, in lower case, with a full stop after each."""
        phrases = [phrase.lower() for phrase in prompts.phrases]
        for phrase in phrases:
            if set(phrase_tokens(phrase, tokenizer)).intersection(_SEPARATORS):
                raise ValueError(
                    "`teacher_prompts` or the class names must have no full stop or question mark, "
                    f"which end a phrase for this teacher, got {phrase!r}; leave it out in `teacher_prompts`."
                )
        encoded = tokenizer(f"{'. '.join(phrases)}.", return_tensors="pt")
        tokens, longest = encoded["input_ids"][0], self.config.max_text_len
        ends = torch.isin(tokens, torch.tensor(_SEPARATORS))
        # Start, a full stop after each phrase, end.
        if int(ends.sum()) != len(phrases) + 2:
            raise ValueError(
                "`teacher_model` must have BERT's tokenizer, in which its code finds where phrases end, got "
                f"{type(tokenizer).__name__} of other tokens; pass the one that belongs to it."
            )
        if len(tokens) > longest:
            raise ValueError(
                f"`teacher_prompts` or the class names must fit the teacher's {longest} tokens in "
                f"all, got {len(phrases)} phrases of {len(tokens)}; write shorter ones in `teacher_prompts`, "
                "or empty lists."
            )
        self._keep(encoded)
        phrase_of = ends.cumsum(0) - 1
        nothing = torch.tensor(len(prompts.names))
        owners = torch.tensor([*prompts.owners, 0])[phrase_of.clamp(max=len(phrases))]
        self.owners = torch.where(ends, nothing, owners)

    def _answer(self, images: Tensor, mask: Tensor | None, prompts: Prompts) -> DetrObjectDetectionOutput:
        size = (len(images), -1)
        output = self.inner(
            pixel_values=images,
            pixel_mask=mask,
            input_ids=self.input_ids.expand(size),
            attention_mask=self.attention_mask.expand(size),
        )
        tokens = output.logits[..., : self.input_ids.shape[1]]
        return detections(best_of(tokens, self.owners, len(prompts.names)), output.pred_boxes)


GROUNDING_DINO = TeacherForm(
    AutoModelForZeroShotObjectDetection,
    frozenset({"GroundingDinoForObjectDetection", "MMGroundingDinoForObjectDetection"}),
    GroundingDinoTeacher,
    reads_text=True,
)
"""The form of these teachers."""
