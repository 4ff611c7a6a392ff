"""From a configuration to a network with random weights: the only place that constructs one."""

from __future__ import annotations

from torch import nn

from stylegan_core.errors import CheckpointError
from stylegan_core.networks.configs import AttributeNetworkConfig, Config, StyleGAN2Config, StyleGAN2DiscriminatorConfig, StyleGAN3Config
from stylegan_core.networks.discriminator import StyleGAN2Discriminator
from stylegan_core.networks.features import AttributeNetwork
from stylegan_core.networks.stylegan1 import StyleGAN1Generator
from stylegan_core.networks.stylegan1_configs import StyleGAN1Config, StyleGAN1DiscriminatorConfig
from stylegan_core.networks.stylegan1_discriminator import StyleGAN1Discriminator
from stylegan_core.networks.stylegan2 import StyleGAN2Generator
from stylegan_core.networks.stylegan3 import StyleGAN3Generator

BUILDERS: dict[type, type[nn.Module]] = {
    StyleGAN1Config: StyleGAN1Generator,
    StyleGAN1DiscriminatorConfig: StyleGAN1Discriminator,
    StyleGAN2Config: StyleGAN2Generator,
    StyleGAN3Config: StyleGAN3Generator,
    StyleGAN2DiscriminatorConfig: StyleGAN2Discriminator,
    AttributeNetworkConfig: AttributeNetwork,
}


def build(config: Config) -> nn.Module:
    """A network in eval mode, fp32, on the CPU. Raises CheckpointError before allocating when the configuration is not valid."""
    builder = BUILDERS.get(type(config))
    if builder is None:
        raise CheckpointError(f"no network is known for a configuration of the type {type(config).__name__}")
    return builder(config.validate()).eval()
