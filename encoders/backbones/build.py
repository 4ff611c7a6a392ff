"""From a configuration to a backbone with random weights."""

from __future__ import annotations

from torch import nn

from encoders.backbones.ir_se import IRBackbone
from encoders.backbones.resnet import ResNetBackbone
from encoders.backbones.strided import StridedBackbone
from encoders.configs import BackboneConfig


def build_backbone(config: BackboneConfig) -> nn.Module:
    """forward(images [N, in_channels, H, W], strides) → {stride: map}."""
    if config.kind == "strided":
        return StridedBackbone(config)
    return IRBackbone(config) if config.kind.startswith("ir") else ResNetBackbone(config)
