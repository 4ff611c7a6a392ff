"""Which w come from the mapping network and which from an encoder (e4e Sec. 4.2), and the pool of past ones that it learns from."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LatentDiscriminator(nn.Module):
    """w: [N, w_dim] → logits [N, 1]; real ones above 0. Names as in the published checkpoints: mlp.N."""

    def __init__(self, w_dim: int, num_layers: int = 4):
        super().__init__()
        hidden: list[nn.Module] = []
        for _ in range(num_layers - 1):
            hidden += [nn.Linear(w_dim, w_dim), nn.LeakyReLU(0.2)]
        self.mlp = nn.Sequential(*hidden, nn.Linear(w_dim, 1))

    def forward(self, w: Tensor) -> Tensor:
        return self.mlp(w)


class LatentPool(nn.Module):
    """The last w of an encoder, so that the discriminator also sees older ones (e4e App. A; Shrivastava et al. 2017)."""

    held: Tensor
    count: Tensor

    def __init__(self, size: int, w_dim: int):
        super().__init__()
        self.register_buffer("held", torch.zeros(size, w_dim))
        self.register_buffer("count", torch.zeros([], dtype=torch.long))

    @torch.no_grad()
    def exchanged(self, w: Tensor, rng: torch.Generator) -> Tensor:
        """w: [N, w_dim]. Each one fills a free place, or with probability 1/2 is kept and an older one is given for it."""
        size, given = len(self.held), w.detach().clone()
        for i in range(len(w)) if size else ():
            filled = int(self.count)
            if filled < size:
                self.held[filled] = w[i]
                self.count += 1
            elif torch.rand([], generator=rng) < 0.5:
                place = int(torch.randint(size, [], generator=rng))
                given[i] = self.held[place]
                self.held[place] = w[i]
        return given
