"""The yardstick of the papers: a small network that tells a model's pictures by their fine texture (after Yu et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan_core.images import resize
from stylegan_core.seeds import rng_from_seed

STEPS, BATCH, LR = 400, 32, 2e-3
STREAM = 11


class Fingerprint(nn.Module):
    """Pictures [N, 3, R, R] → one number each: higher = made by the model. It sees what a small blur takes away, and the picture."""

    def __init__(self) -> None:
        super().__init__()
        widths = (6, 24, 48, 64)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, images: Tensor) -> Tensor:
        texture = images - F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
        x = torch.cat([images, 8 * texture], dim=1)
        for layer in self.layers:
            x = F.silu(layer(x))
        return self.head(x.mean(dim=(2, 3)))[:, 0]


def trained(own: Sequence[Tensor], others: Sequence[Tensor], resolution: int, *, seed: int = 0, steps: int = STEPS) -> Fingerprint:
    """own, others: pictures [1, 3, h, w] of any size, which are brought to the resolution. Both sides weigh the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Fingerprint()
    sides = [prepared(pictures, resolution) for pictures in (others, own)]
    optimiser = torch.optim.Adam(network.parameters(), LR)
    rng = rng_from_seed(seed, STREAM)
    labels = torch.cat([torch.zeros(BATCH // 2), torch.ones(BATCH // 2)])
    for step in range(steps):
        batch = torch.cat([side[torch.randint(len(side), (BATCH // 2,), generator=rng)] for side in sides])
        if torch.rand([], generator=rng) < 0.5:
            batch = batch.flip(3)
        loss = F.binary_cross_entropy_with_logits(network(batch), labels)
        optimiser.zero_grad()
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = LR * (1 - step / steps)
        optimiser.step()
    return network.eval().requires_grad_(False)


def scores(network: Fingerprint, pictures: Sequence[Tensor], resolution: int) -> list[float]:
    """One per picture."""
    return [float(value) for part in prepared(pictures, resolution).split(256) for value in network(part)]


def prepared(pictures: Sequence[Tensor], resolution: int) -> Tensor:
    """[N, 3, R, R]."""
    return torch.cat([resize(picture, (resolution, resolution)) for picture in pictures])
