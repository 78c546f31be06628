"""Backbones that Transformers lacks; importing this package makes its auto classes know them."""

from __future__ import annotations

from transformers import AutoBackbone, AutoConfig

from .mobilenet_v2 import MobileNetV2Backbone, MobileNetV2BackboneConfig

__all__ = ["MobileNetV2Backbone", "MobileNetV2BackboneConfig"]

AutoConfig.register(MobileNetV2BackboneConfig.model_type, MobileNetV2BackboneConfig, exist_ok=True)
AutoBackbone.register(MobileNetV2BackboneConfig, MobileNetV2Backbone, exist_ok=True)
