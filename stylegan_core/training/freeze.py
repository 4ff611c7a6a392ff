"""FreezeD: fine-tuning with the first layers of the discriminator held still (Mo et al. 2020, "Freeze the Discriminator")."""

from __future__ import annotations

from torch import nn

from stylegan_core.errors import UsageError


def layers_of(discriminator: nn.Module) -> list[tuple[str, nn.Module]]:
    """(name, layer) of everything with weights of its own, from the picture on."""
    return [(name, layer) for name, layer in discriminator.named_modules() if any(True for _ in layer.parameters(recurse=False))]


def frozen_parameters(discriminator: nn.Module, count: int) -> set[nn.Parameter]:
    """The parameters of the first `count` layers. Raises UsageError when no layer would be left to train."""
    layers = layers_of(discriminator)
    if not 0 <= count < len(layers):
        raise UsageError(f"--freeze-d {count}: this discriminator has {len(layers)} layers; 0 to {len(layers) - 1} can be frozen")
    return {parameter for _, layer in layers[:count] for parameter in layer.parameters(recurse=False)}
