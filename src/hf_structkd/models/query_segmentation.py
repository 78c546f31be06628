"""Teachers that predict a set of masks with classes, such as Mask2Former, read as maps of class scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForUniversalSegmentation, PreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput

from ..matching.alignment import resize_map
from .teacher_forms import TeacherForm, WrappedTeacher


class _Kind(NamedTuple):
    """How a class of models is read.

    Attributes:
        feature: The module whose output is its map of the image, before queries meet it.
        size: The size to which its post-processing first enlarges the masks, of the images' size; None for
            none.
    """

    feature: str
    size: Callable[[tuple[int, int]], tuple[int, int]] | None = None


_PIXEL_DECODER = "model.pixel_level_module.decoder.mask_projection"
_KINDS = {
    "DetrForSegmentation": _Kind("detr.model.input_projection"),
    "EomtForUniversalSegmentation": _Kind("upscale_block", lambda image: image),
    "EomtDinov3ForUniversalSegmentation": _Kind("upscale_block", lambda image: image),
    "Mask2FormerForUniversalSegmentation": _Kind(_PIXEL_DECODER, lambda image: (384, 384)),
    "MaskFormerForInstanceSegmentation": _Kind(_PIXEL_DECODER),
    "OneFormerForUniversalSegmentation": _Kind(_PIXEL_DECODER),
}

# "the task is semantic" as CLIP's tokenizer writes it, which every OneFormer uses, with start and end.
_SEMANTIC_TASK = (49406, 518, 10549, 533, 29119, 1550, 49407)
_CLIP_VOCABULARY = 49408


class ScoreMapOutput(SemanticSegmenterOutput):
    """An output whose `logits` are logarithms of class scores that are no logits of the model.

    Where such a map is enlarged to be scored, the scores themselves are interpolated, as the model's own
    post-processing does; logits are enlarged as they are.
    """


def log_score_map(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    r"""Return the logarithm of the score map that semantic post-processing makes of queries.

    .. math:: S_k(x) = \sum_q \operatorname{softmax}(c_q)_k \, \sigma(m_q(x))

    over all classes but the last, which stands for "nothing". See Cheng et al., *Per-Pixel Classification is
    Not All You Need for Semantic Segmentation*, NeurIPS 2021, section 3.4. The softmax of the result is the
    score map divided by its sum over the classes.

    Shape:
        - class_logits: (B, Q, K + 1)
        - mask_logits: (B, Q, h, w)
        - output: (B, K, h, w), finite, float32
    """
    classes = class_logits.float().softmax(dim=-1)[..., :-1]
    scores = torch.einsum("bqc, bqhw -> bchw", classes, mask_logits.float().sigmoid())
    # Scores of 0 occur where every query is sure of another place.
    return scores.clamp(min=torch.finfo(scores.dtype).tiny).log()


class QuerySegmenter(WrappedTeacher):
    """A model of masks with classes that answers with a map of class scores.

    Args:
        model: A model of a class of `QUERY_SEGMENTERS`.

    Raises:
        ValueError: If it is a OneFormer of another vocabulary than CLIP's, whose task cannot be written.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Find out what the model takes beside the images."""
        super().__init__(model)
        name = type(model).__name__
        self._kind = _KINDS[name]
        self.feature_module = f"inner.{self._kind.feature}"
        self._needs_task = name == "OneFormerForUniversalSegmentation"
        if self._needs_task:
            _check_vocabulary(model.config)

    def forward(self, pixel_values: Tensor) -> ScoreMapOutput:
        """Answer with the logarithms of class scores (B, K, h, w), at the size of its post-processing."""
        task = {"task_inputs": self._task_inputs(pixel_values)} if self._needs_task else {}
        output = self.inner(pixel_values=pixel_values, **task)
        # A DETR names the two otherwise.
        classes = output.logits if "pred_masks" in output else output.class_queries_logits
        masks = output.pred_masks if "pred_masks" in output else output.masks_queries_logits
        if self._kind.size is not None:
            masks = resize_map(masks, self._kind.size((pixel_values.shape[-2], pixel_values.shape[-1])))
        return ScoreMapOutput(logits=log_score_map(classes, masks))

    def _task_inputs(self, pixel_values: Tensor) -> Tensor:
        tokens = torch.tensor(_SEMANTIC_TASK, device=pixel_values.device)
        padded = F.pad(tokens, (0, self.inner.config.task_seq_len - len(tokens)))
        return padded.expand(len(pixel_values), -1)


QUERY_SEGMENTERS = TeacherForm(AutoModelForUniversalSegmentation, frozenset(_KINDS), QuerySegmenter)
"""The form of these teachers."""


def _check_vocabulary(config: Any) -> None:
    if config.text_encoder_vocab_size != _CLIP_VOCABULARY or config.task_seq_len < len(_SEMANTIC_TASK):
        raise ValueError(
            f"`teacher_model` must be a OneFormer with CLIP's vocabulary of {_CLIP_VOCABULARY} tokens, in "
            f"which its task is written, got {config.text_encoder_vocab_size} tokens and room for "
            f"{config.task_seq_len}; choose a published OneFormer."
        )
