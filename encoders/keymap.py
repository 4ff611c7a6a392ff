"""Names of tensors in published encoder files and ours: ours put them under backbone, head and pyramid."""

from __future__ import annotations

from collections.abc import Callable

from encoders.configs import EncoderConfig

HEAD_PARTS = ("styles", "linear", "output_layer_2")
PYRAMID_PARTS = ("latlayer1", "latlayer2")
AVERAGE = "latent_avg"  # the published files' word for w_avg
ADDS_AVERAGE = "start_from_latent_avg"  # their option: False = the network's output is absolute


def network_names(config: EncoderConfig) -> Callable[[str], str]:
    """A published name, without 'encoder.', → ours."""

    def ours(name: str) -> str:
        first = name.partition(".")[0]
        if first in PYRAMID_PARTS:
            return f"head.pyramid.{name}"
        return f"head.{name}" if first in HEAD_PARTS else f"backbone.{name}"

    return ours


def hypernet_name(name: str) -> str:
    """A published name, without 'hypernet.', → ours."""
    is_ours = name.startswith(("refinement_blocks.", "shared_weight_hypernet."))
    return name if is_ours else f"backbone.{name}"


def is_alias(name: str) -> bool:
    """Whether a tensor of a HyperStyle file repeats the shared hypernetwork, which every block that uses it lists."""
    return name.startswith("refinement_blocks.") and ".hypernet." in name
