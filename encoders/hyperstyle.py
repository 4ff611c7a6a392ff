"""HyperStyle (Alaluf et al. 2022): a w, and changes of the generator's weights that a hypernetwork refines in a few passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from encoders.base import OnePass, facts_of, prepared, resized
from encoders.configs import HyperStyleConfig
from encoders.hypernet import HyperNetwork
from stylegan_core.errors import UsageError
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.packed_delta import PackedDelta
from stylegan_core.weight_deltas import call_with


class HyperStyle(nn.Module):
    """Weights θ·(1 + Δ), Δ summed over passes that see target and picture so far (HS Eq. 2 and Sec. 3.3).

    encoder: into W; None = `refine` needs a start. generator: its changed self renders between the passes.
    """

    encoder: Any
    generator: Any

    def __init__(self, config: HyperStyleConfig, encoder: OnePass | None, hypernet: HyperNetwork, generator: Any, name: str = ""):
        super().__init__()
        self.config, self.name = config, name
        self.encoder, self.hypernet = encoder, hypernet
        object.__setattr__(self, "generator", generator)  # past nn.Module: it is not a part of the encoder's state

    def passes(self, images: Tensor, start: Latent, num_iterations: int | None = None, *, keeps_graph: bool = False
               ) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """(relative changes, the picture [N, C, R, R] with them) after each pass. start: N latents, which stay.

        keeps_graph: every pass has a graph of its own; what comes from the pass before is detached.
        """
        target = prepared(images, self.config, next(self.hypernet.parameters()))
        total: dict[str, Tensor] = {}
        with torch.no_grad():
            picture = self.rendered(start, total)
        for _ in range(num_iterations or self.config.num_iterations):
            with torch.set_grad_enabled(keeps_graph):
                changes = self.hypernet(torch.cat([target, resized(picture.detach(), self.config.input_shape)], dim=1))
                total = {name: total[name].detach() + value if total else value for name, value in changes.items()}
                picture = self.rendered(start, total)
            yield total, picture

    def rendered(self, latent: Latent, changes: Mapping[str, Tensor]) -> Tensor:
        """[N, C, R, R], one picture at a time: each has weights of its own."""
        parameters = dict(self.generator.named_parameters())
        pictures = []
        for i in range(len(latent)):
            own = {
                name: PackedDelta("dense", {"value": value[i : i + 1]}, (1, *parameters[name].shape), is_relative=True)
                for name, value in changes.items()
            }
            pictures.append(call_with(self.generator, own, latent[i].render))
        return torch.cat(pictures)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Inversion:
        """See `Encoder`."""
        if self.encoder is None:
            raise UsageError("this HyperStyle file holds no encoder into W; name one with --w-encoder, or give a start to refine")
        return self.refine(images, self.encoder.encode(images).latent)

    @torch.no_grad()
    def refine(self, images: Tensor, start: Latent) -> Inversion:
        """The same latents with changes of the weights that bring the pictures nearer. start: N latents of any space."""
        here = start.lower(self.generator, to=LatentSpace.W) if start.space is LatentSpace.Z else start
        *_, (changes, _) = self.passes(images, here)
        shapes = {w.name: (w.out_channels, w.in_channels, w.kernel_size, w.kernel_size) for w in self.config.weights}
        packed = {
            name: PackedDelta("half", {"value": value.half()}, (len(images), *shapes[name]), is_relative=True)
            for name, value in changes.items()
        }
        return Inversion(start, weight_deltas=dict(packed), metadata=facts_of(self))
