"""What a picture shows, by a network of our own: attributes, a perceptual distance, an embedding.

`portraits-features` serves objectives and labels; `portraits-judge` only ever evaluates, so that nothing is judged by
what it was optimised against. Neither is LPIPS or an Inception network, and neither is ever called by their names.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stylegan_core.errors import CheckpointError, ImageError
from stylegan_core.files import display
from stylegan_core.images import to_rgb
from stylegan_core.networks.build import build
from stylegan_core.networks.configs import AttributeNetworkConfig
from stylegan_core.networks.features import AttributeNetwork

LARGEST_VALUE = 16.0  # generators overshoot [-1, 1] a little; 0 to 255 is a mistake


class Features(nn.Module):
    """A network with its name. Pictures of any size: [N, 1, 3 or 4, H, W] in [-1, 1]; everything is differentiable."""

    def __init__(self, name: str, network: AttributeNetwork):
        super().__init__()
        self.name = name
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last)
        self.eval()

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """In the order of `logits`."""
        return self.network.config.attributes

    @property
    def binary_names(self) -> tuple[str, ...]:
        """Those whose prediction is a probability."""
        return self.network.config.binary

    @property
    def img_resolution(self) -> int:
        """The size at which the network looks."""
        return self.network.config.img_resolution

    def attributes(self, images: Tensor) -> dict[str, Tensor]:
        """Name → [N]: in (-1, 1), or a probability for binary ones."""
        values = self.network.squashed(self.logits(images))
        return {name: values[:, index] for index, name in enumerate(self.attribute_names)}

    def logits(self, images: Tensor) -> Tensor:
        """[N, A], attributes before they are squashed; the better target for linear methods."""
        return self.network(self.prepared_images(images))

    def pooled(self, images: Tensor) -> Tensor:
        """[N, P], the vector that the heads read; what Fréchet distances are computed in."""
        return self.network.pooled(self.prepared_images(images))

    def embed(self, images: Tensor) -> Tensor:
        """[N, D] of length 1. Of portraits-judge: who it is, whatever pose, expression and light."""
        return self.network.embed_pooled(self.pooled(images))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """[N], 0 for equal pictures, about 1 for two unrelated ones of the training world."""
        return self.distance_to(self.prepare(a), b)

    def prepare(self, target: Tensor) -> list[Tensor]:
        """Maps of a target, computed once for many `distance_to`; gradients reach the target if it asks for them.

        Raises ImageError for values that cannot be a picture in [-1, 1].
        """
        largest = target.detach().abs().max().item() if target.numel() else 0.0
        if not largest <= LARGEST_VALUE:
            raise ImageError(
                f"values up to {largest:g} are not a picture in [-1, 1]; divide 8-bit values by 127.5 and subtract 1"
            )
        return self.features(target)

    def distance_to(self, prepared: Sequence[Tensor], images: Tensor) -> Tensor:
        """prepared: by `prepare`, of N pictures or of one → [N]."""
        parts = [(x - y).square().flatten(1).sum(dim=1) for x, y in zip(self.features(images), prepared, strict=True)]
        return torch.stack(parts).sum(dim=0)

    def features(self, images: Tensor) -> list[Tensor]:
        """Maps [N, width, h, w] per depth, scaled: the squared Euclidean distance between two lists is `distance`."""
        return self.network.distance_maps(self.prepared_images(images))

    def prepared_images(self, images: Tensor) -> Tensor:
        """[N, 3, R, R]: RGB at the network's size; whole factors are averaged, the rest is bilinear and antialiased."""
        x = to_rgb(images)
        side = self.img_resolution
        height, width = x.shape[2:]
        if (height, width) == (side, side):
            return x
        if height % side == 0 and width % side == 0:
            return nn.functional.avg_pool2d(x, (height // side, width // side))
        return nn.functional.interpolate(x, size=(side, side), mode="bilinear", align_corners=False, antialias=True)


def load_features(name_or_path: str | os.PathLike[str] = "portraits-features") -> Features:
    """portraits-features, portraits-judge, or a file that `invert train features` wrote; on the CPU, in eval mode.

    Raises CheckpointError for a file that holds another kind of network.
    """
    from stylegan_core.checkpoints.catalog import find
    from stylegan_core.checkpoints.registry import read_checkpoint

    checkpoint = read_checkpoint(find(name_or_path, kind="features"))
    if not isinstance(checkpoint.config, AttributeNetworkConfig):
        raise CheckpointError(
            f"{display(name_or_path)} holds a {checkpoint.kind}, not an attribute network; portraits-features is one"
        )
    network: Any = build(checkpoint.config)
    network.load_state_dict(checkpoint.state)
    return Features(os.path.basename(str(name_or_path)).removesuffix(".safetensors"), network)
