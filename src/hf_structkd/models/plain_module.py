"""A network that is no model of Transformers, inside one of its models.

This file is also written beside the weights of such a model: it imports nothing but torch and Transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.loss.loss_deformable_detr import DeformableDetrForObjectDetectionLoss
from transformers.loss.loss_for_object_detection import ForObjectDetectionLoss
from transformers.modeling_outputs import DepthEstimatorOutput, SemanticSegmenterOutput
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput


class ModuleConfig(PretrainedConfig):
    """The configuration of a model around a network of another kind.

    Attributes:
        arguments: Keyword arguments, as JSON values, of what builds the network.
        feature_modules: Names of the modules whose outputs are compared as features, "inner." before them;
            empty where they are found.
        image_size: Height and width of the images in pixels.
        image_mean: What is subtracted from each channel of an image in 0..1.
        image_std: By what each channel is divided afterwards.
        code: What the network and its reader are: a digest of their files, or where there are none a name.
        file: Name and digest of the file of operations that the network is; empty for any other.
    """

    model_type = "structkd_module"
    # Without annotations: in some releases of Transformers an annotated attribute is a field, in others not.
    arguments = None
    feature_modules = ()
    image_size = image_mean = image_std = None
    code = file = ""
    tie_word_embeddings = True  # by which Transformers asks whether tensors may be shared
    # The set loss of DETR, for detectors.
    class_cost, bbox_cost, giou_cost = 1, 5, 2
    bbox_loss_coefficient, giou_loss_coefficient, eos_coefficient = 5, 2, 0.1
    focal_alpha, auxiliary_loss = 0.25, False


class PlainModule(PreTrainedModel):
    """A network of any kind as a model of Transformers; a subclass per task says what its answer is.

    Args:
        config: Its `arguments` build the network.
        module: The network; None builds it.

    Attributes:
        build: What builds the network; set by a subclass.
        read: A function, or the key, attribute or place, that reads the answer from the network's output;
            None takes the output itself.
        inner: The network.
    """

    config_class = ModuleConfig
    main_input_name = "pixel_values"
    build: ClassVar[Callable[..., nn.Module]]
    read: ClassVar[Callable[[Any], Any] | str | int | None] = None

    def __init__(self, config: ModuleConfig, module: nn.Module | None = None) -> None:
        """Build the network for real, also where Transformers would fill its tensors later."""
        super().__init__(config)
        if module is None:
            with torch.device("cpu"):
                module = type(self).build(**(config.arguments or {}))
        self.inner = module
        self._tied_weights_keys = _shared_parameters(self)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the weights as the network's own constructor has made them."""

    def _move_missing_keys_from_meta_to_device(self, *args: Any, **kwargs: Any) -> None:
        """Keep what no file holds, such as buffers that are not saved: the constructor has filled it."""

    def save_pretrained(
        self, save_directory: Any, *args: Any, state_dict: Mapping[str, Tensor] | None = None, **kwargs: Any
    ) -> None:
        """Save a shared tensor under each of its names: Transformers refuses what is shared unknown to it."""
        tensors = _copied_where_shared(self.state_dict() if state_dict is None else state_dict)
        super().save_pretrained(save_directory, *args, state_dict=tensors, **kwargs)

    def answer(self, pixel_values: Tensor) -> Any:
        """Return what `read` reads of the network's output."""
        output, read = self.inner(pixel_values), type(self).read
        if read is None:
            return output
        if callable(read):
            return read(output)
        if isinstance(read, str) and not isinstance(output, Mapping):
            return getattr(output, read)
        return output[read]


class ModuleForSemanticSegmentation(PlainModule):
    """A network that answers with logits (B, K, h, w) over the K classes of `config.id2label`."""

    def forward(self, pixel_values: Tensor) -> SemanticSegmenterOutput:
        """Return the logits."""
        logits, classes = self.answer(pixel_values), self.config.num_labels
        if not isinstance(logits, Tensor) or logits.dim() != 4 or logits.shape[1] != classes:
            raise ValueError(
                f"`read` must return logits of (B, {classes}, h, w) for the {classes} classes of `id2label`, "
                f"got {described(logits)}; name the classes of the network, and for one channel of a binary "
                "network return `torch.cat([torch.zeros_like(logit), logit], dim=1)`."
            )
        return SemanticSegmenterOutput(logits=logits)


class ModuleForDepthEstimation(PlainModule):
    """A network that answers with a map of depth, (B, h, w) or (B, 1, h, w)."""

    def forward(self, pixel_values: Tensor) -> DepthEstimatorOutput:
        """Return the depth (B, h, w)."""
        depth = self.answer(pixel_values)
        if isinstance(depth, Tensor) and depth.dim() == 4 and depth.shape[1] == 1:
            depth = depth[:, 0]
        if not isinstance(depth, Tensor) or depth.dim() != 3:
            raise ValueError(
                f"`read` must return depth of (B, h, w) or (B, 1, h, w), got {described(depth)}; read it "
                "from the network's output."
            )
        return DepthEstimatorOutput(predicted_depth=depth)


class ModuleForObjectDetection(PlainModule):
    """A network that answers with a fixed number of queries: class logits and boxes.

    The logits are (B, Q, K), each class by itself, or (B, Q, K + 1) with "no object" last in a softmax.
    The boxes are (B, Q, 4): centre x, centre y, width and height in shares of the image's sides.
    """

    def forward(
        self, pixel_values: Tensor, pixel_mask: Tensor | None = None, labels: Any = None
    ) -> DetrObjectDetectionOutput:
        """Return logits and boxes, and with labels DETR's set loss; the network is shown no `pixel_mask`."""
        answer, classes = self.answer(pixel_values), self.config.num_labels
        logits, boxes = answer if isinstance(answer, tuple | list) and len(answer) == 2 else (answer, None)
        if (
            not isinstance(logits, Tensor)
            or not isinstance(boxes, Tensor)
            or logits.dim() != 3
            or logits.shape[-1] not in (classes, classes + 1)
            or boxes.shape != (*logits.shape[:2], 4)
        ):
            raise ValueError(
                f"`read` must return logits of (B, Q, {classes}) or, with 'no object', (B, Q, {classes + 1}) "
                f"and boxes of (B, Q, 4), got {described(answer)}; name the classes of the network in "
                "`id2label`, and fill up images with fewer boxes."
            )
        loss, losses = None, None
        if labels is not None:
            has_nothing = logits.shape[-1] == classes + 1
            set_loss = ForObjectDetectionLoss if has_nothing else DeformableDetrForObjectDetectionLoss
            loss, losses, _ = set_loss(logits, labels, logits.device, boxes, self.config)
        return DetrObjectDetectionOutput(loss=loss, loss_dict=losses, logits=logits, pred_boxes=boxes)


def _shared_parameters(model: nn.Module) -> dict[str, str]:
    """Return the further names of parameters that have several, each to the first."""
    first: dict[int, str] = {}
    named = model.named_parameters(remove_duplicate=False)
    return {name: known for name, tensor in named if (known := first.setdefault(id(tensor), name)) != name}


def _copied_where_shared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors, of which those that share memory with one before them are copies."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return apart


def described(value: Any) -> str:
    """Return the shape of a tensor, those of several, or the type of anything else."""
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    if isinstance(value, tuple | list) and value:
        return " and ".join(described(one) for one in value)
    return type(value).__name__
