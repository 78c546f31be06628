"""CLIPSeg as a teacher of segmentation: a map for each phrase, read as maps of class probabilities."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPSegForImageSegmentation

from ...losses.detection_heads import categorical_log_probabilities
from ..query_segmentation import ScoreMapOutput
from ..teacher_forms import TeacherForm
from .base import PromptedTeacher, best_of
from .prompts import Prompts


class ClipSegTeacher(PromptedTeacher):
    r"""A CLIPSeg that answers with maps of class probabilities.

    The model gives each phrase a map of its own, whose sigmoid says how likely the phrase describes a pixel.
    The probability :math:`p_k` of a class is that of its best phrase. What no phrase describes is the
    background. Its probability is :math:`b = \prod_k (1 - p_k)`, and the rest, 1 - b, is divided among the
    classes in proportion to :math:`p_k`. Where the student has no class for it, b is left out, so that the
    classes divide every pixel among themselves.
    """

    finds_rest = True

    def _read(self, prompts: Prompts, tokenizer: Any) -> None:
        self._read_each(prompts, tokenizer, self.config.text_config.max_position_embeddings)
        self._texts: Tensor | None = None

    def _answer(self, images: Tensor, mask: Tensor | None, prompts: Prompts) -> ScoreMapOutput:
        """Answer with logarithms of probabilities (B, K, H, W), the background last where it is a class."""
        height, width = images.shape[-2:]
        if height != width:  # the code of the model takes a root for the side
            raise ValueError(f"CLIPSeg takes square images, 352 × 352 at its best, got {height} × {width}")
        vision = self.inner.clip.get_image_features(images, output_hidden_states=True)
        layers = [vision.hidden_states[index + 1] for index in self.inner.extract_layers]
        self.image_map([_as_map(vision.last_hidden_state[:, 1:])])
        texts = self._text_features(images)
        maps = [self.inner.decoder(layers, text.expand(len(images), -1)).logits for text in texts]
        by_phrase = torch.stack(maps, dim=-1).flatten(1, 2).float()
        by_class = best_of(by_phrase, self.owners, len(prompts.names))
        scores = categorical_log_probabilities(by_class, "sigmoid")
        if prompts.rest is None:
            scores = scores[..., :-1]
        return ScoreMapOutput(logits=scores.mT.reshape(len(scores), -1, *maps[0].shape[1:]))

    def _text_features(self, images: Tensor) -> Tensor:
        """Return the features (phrases, C) of the phrases, which are computed once."""
        if self._texts is None or (self._texts.device, self._texts.dtype) != (images.device, images.dtype):
            self._texts = self.inner.get_conditional_embeddings(
                batch_size=len(self.input_ids), input_ids=self.input_ids, attention_mask=self.attention_mask
            )
        return self._texts


# No auto class of transformers loads it.
_LOADER = SimpleNamespace(
    from_pretrained=CLIPSegForImageSegmentation.from_pretrained,
    from_config=CLIPSegForImageSegmentation._from_config,
)
CLIPSEG = TeacherForm(_LOADER, frozenset({"CLIPSegForImageSegmentation"}), ClipSegTeacher, reads_text=True)
"""The form of this teacher."""


def _as_map(tokens: Tensor) -> Tensor:
    """Return the tokens (B, side * side, C) as a map (B, C, side, side)."""
    side = math.isqrt(tokens.shape[1])
    return tokens.mT.reshape(len(tokens), -1, side, side)
