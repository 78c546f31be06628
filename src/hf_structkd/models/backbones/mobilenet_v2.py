"""MobileNetV2 as a backbone: feature maps at strides 4, 8, 16 and 32 for any dense-prediction head.

Transformers has the network (Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR
2018, arXiv:1801.04381) with a head for classification and one for segmentation, but not as a backbone.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import MobileNetV2Config, MobileNetV2Model
from transformers.backbone_utils import BackboneConfigMixin, BackboneMixin
from transformers.modeling_outputs import BackboneOutput
from transformers.models.mobilenet_v2.modeling_mobilenet_v2 import MobileNetV2PreTrainedModel

_STAGE_NAMES = ("stem", "stage1", "stage2", "stage3", "stage4")
# The indices, among the 16 blocks, of the last block of each stage; the next block halves the resolution.
_LAST_BLOCKS = (1, 4, 11, 15)


class MobileNetV2BackboneConfig(BackboneConfigMixin, MobileNetV2Config):
    """Configuration of `MobileNetV2Backbone`.

    It has the options of `transformers.MobileNetV2Config`, with the padding and the BatchNorm epsilon of
    torchvision as defaults, and those of every backbone:

    Args:
        out_features: Names of the stages to return, among "stem" (stride 2) and "stage1" to "stage4" (strides
            4, 8, 16, 32, or less with a smaller `output_stride`); the default is all but the stem.
        out_indices: The same stages as numbers, 0 for the stem.
    """

    model_type = "structkd_mobilenet_v2"

    tf_padding: bool = False
    layer_norm_eps: float = 1e-5

    def __post_init__(self, **kwargs: Any) -> None:
        """Read the stages from the options that are no fields."""
        self.stage_names = list(_STAGE_NAMES)
        out_features, out_indices = kwargs.pop("out_features", None), kwargs.pop("out_indices", None)
        if out_features is None and out_indices is None:
            out_features = self.stage_names[1:]
        self.set_output_features_output_indices(out_features=out_features, out_indices=out_indices)
        super().__post_init__(**kwargs)


class MobileNetV2Backbone(BackboneMixin, MobileNetV2PreTrainedModel):
    """The convolutions of a MobileNetV2, without the last 1x1 one, which only classification uses.

    `import hf_structkd` registers it with the auto classes of Transformers, so that it can be the
    `backbone_config` of other models; to load such a model, import the package first.

    - UperNet, DETR, Conditional DETR, DAB-DETR, Deformable DETR, Table Transformer and RT-DETR take it as it
      is, with images of any size that they accept. All but UperNet replace BatchNorm by frozen statistics
      with an epsilon of 1e-5, also the default here; the other weights stay trainable, unlike in a ResNet.
    - DPT takes it as a hybrid, in which a ViT reads the stride-16 map: `is_hybrid=True`, `patch_size=16`,
      `out_features=["stage1", "stage2", "stage3"]`, `backbone_featmap_shape=[1, C3, h, w]` and
      `neck_hidden_sizes=[C1, C2, ...]` with the `channels` of these stages. A hybrid takes only square images
      of the `image_size` of its configuration.

    Stages behind the last one in `out_features` are not built: stage 4 alone has two thirds of all weights.

    `scripts/convert_mobilenet_v2.py` converts the pretrained weights of torchvision, for images that are
    normalised by the mean and deviation of ImageNet. `from_pretrained` of this class reads the folder, while
    that of `AutoBackbone` finds Hub repositories only. `load_state_dict` fills a backbone inside a model.

    Shape:
        - pixel_values: (B, 3, H, W)
        - feature_maps: one (B, C, h, w) per stage in `config.out_features`, with `channels` channels

    Example:
        >>> backbone = MobileNetV2Backbone(MobileNetV2BackboneConfig())
        >>> [tuple(m.shape) for m in backbone(torch.rand(1, 3, 64, 96)).feature_maps]
        [(1, 24, 16, 24), (1, 32, 8, 12), (1, 96, 4, 6), (1, 320, 2, 3)]
    """

    config_class = MobileNetV2BackboneConfig
    has_attentions = False

    def __init__(self, config: MobileNetV2BackboneConfig) -> None:
        """Build the network with random weights."""
        super().__init__(config)
        network = MobileNetV2Model(config, add_pooling_layer=False)
        last_layers = [network.conv_stem, *(network.layer[block] for block in _LAST_BLOCKS)]
        self.num_features = [layer.reduce_1x1.convolution.out_channels for layer in last_layers]
        blocks = [0, *(block + 1 for block in _LAST_BLOCKS)][max(self.out_indices)]
        self.conv_stem, self.layer = network.conv_stem, network.layer[:blocks]
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                # Transformers has TensorFlow's 0.997, the share of the past; torch wants that of the batch.
                module.momentum = 0.1
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BackboneOutput | tuple[Any, ...]:
        """Compute the maps of `config.out_features`, and of those before with `output_hidden_states`."""
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        hidden = self.conv_stem(pixel_values)
        stages = [hidden]
        for index, block in enumerate(self.layer):
            hidden = block(hidden)
            if index in _LAST_BLOCKS:
                stages.append(hidden)
        output = BackboneOutput(
            feature_maps=tuple(stages[index] for index in self.out_indices),
            hidden_states=tuple(stages) if output_hidden_states else None,
        )
        if return_dict is None:
            return_dict = self.config.return_dict
        return output if return_dict else output.to_tuple()
