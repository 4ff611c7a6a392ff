"""ReStyle (Alaluf et al. 2021): an encoder that sees target and picture so far, and is asked several times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from encoders.base import facts_of, prepared, resized
from encoders.configs import EncoderConfig
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace


class ReStyle(nn.Module):
    """ws_{t+1} = ws_t + network(target, G(ws_t)), from the average (ReStyle Eq. 2 and 3).

    network: [N, 2·img_channels, *input_shape] → offsets [N, num_ws or 1, w_dim]. w_avg: [num_ws, w_dim]. generator: renders
    between the passes, with its stored noise.
    """

    w_avg: Tensor
    generator: Any

    def __init__(self, config: EncoderConfig, network: nn.Module, w_avg: Tensor, generator: Any, name: str = ""):
        super().__init__()
        self.config, self.name = config, name
        self.network = network
        self.register_buffer("w_avg", w_avg)
        object.__setattr__(self, "generator", generator)  # past nn.Module: it is not a part of the encoder's state

    def passes(self, images: Tensor, num_iterations: int | None = None, *, keeps_graph: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """(ws [N, num_ws, w_dim], their picture [N, C, R, R]) after each pass. num_iterations: None = the configuration's.

        keeps_graph: every pass has a graph of its own; what comes from the pass before is detached (ReStyle Sec. 3.3).
        """
        target, ws, picture = self._start(images)
        for _ in range(num_iterations or self.config.num_iterations):
            with torch.set_grad_enabled(keeps_graph):
                ws = self._step(target, ws.detach(), picture.detach())
                picture = self.generator.synthesis(ws)
            yield ws, picture

    @torch.no_grad()
    def encode(self, images: Tensor) -> Inversion:
        """See `Encoder`."""
        target, ws, picture = self._start(images)
        for number in range(self.config.num_iterations):
            if number:
                picture = self.generator.synthesis(ws)
            ws = self._step(target, ws, picture)
        space = LatentSpace.parse(self.config.space)
        return Inversion(Latent(ws[:, 0] if space is LatentSpace.W else ws, space), metadata=facts_of(self))

    def _start(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The target as the network sees it, the average ws [N, num_ws, w_dim], its picture."""
        ws = self.w_avg[None].expand(len(images), -1, -1)
        with torch.no_grad():
            picture = self.generator.synthesis(ws[:1]).expand(len(images), -1, -1, -1)
        return prepared(images, self.config, self.w_avg), ws, picture

    def _step(self, target: Tensor, ws: Tensor, picture: Tensor) -> Tensor:
        return ws + self.network(torch.cat([target, resized(picture, self.config.input_shape)], dim=1))
