"""A batch: the generator's own samples with their true ws, real pictures, or both; every number is a function of (seed, step)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from encoders.training.config import EncoderTrainingConfig
from encoders.training.transforms import Transform, checked, damaged
from stylegan_core.data.images import ImageData, batch_indices, size_text
from stylegan_core.errors import UsageError
from stylegan_core.images import to_channels
from stylegan_core.training.steps import mixed_ws


@dataclass(frozen=True)
class Batch:
    """seen: [N, C', H, W], what the encoder gets. target: [N, C, R, R], what it is to make. ws: [K, num_ws, w_dim], of the first K."""

    seen: Tensor
    target: Tensor
    ws: Tensor

    def rows(self, first: int, count: int) -> Batch:
        """A part of it."""
        return Batch(self.seen[first : first + count], self.target[first : first + count], self.ws[first : first + count])


@torch.no_grad()
def draw_batch(config: EncoderTrainingConfig, generator: Any, data: ImageData | None, step: int, rng: torch.Generator, *,
               transform: Transform | None = None, share: tuple[int, int] = (0, 1)) -> Batch:
    """share: (number of this process, processes); each draws its part of the samples and of the pictures."""
    number, processes = share
    num_samples, num_pictures = config.num_samples // processes, (config.batch - config.num_samples) // processes
    device = generator.w_avg.device
    ws = torch.zeros(0, generator.num_ws, generator.w_dim, device=device)
    parts = []
    if num_samples:
        z, c = torch.randn(num_samples, generator.z_dim, generator=rng).to(device), None
        if generator.c_dim:
            c = torch.eye(generator.c_dim)[torch.randint(generator.c_dim, [num_samples], generator=rng)].to(device)
        ws = mixed_ws(generator, z, c, rng, config.mixing_prob)
        streams = [torch.Generator().manual_seed(int(torch.randint(2**62, [], generator=rng))) for _ in range(num_samples)]
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            pictures = generator.synthesis(ws, noise_mode="random", rng=streams)
        parts.append(pictures.float().clamp(-1, 1))
    if num_pictures:
        assert data is not None
        indices = batch_indices(len(data), config.batch - config.num_samples, step, config.seed)[number * num_pictures :][:num_pictures]
        pictures = torch.from_numpy(data.images_u8(indices)).to(device).float() / 127.5 - 1
        parts.append(to_channels(pictures, generator.img_channels))
    target = torch.cat(parts)
    seen = damaged(target, config.augment_prob, rng) if transform is None else checked(transform, target, rng)
    return Batch(seen, target, ws)


def check_data(config: EncoderTrainingConfig, generator: Any, data: ImageData | None, processes: int) -> None:
    """Raises UsageError before the first step for a batch that cannot be drawn."""
    pictures = config.batch - config.num_samples
    if pictures and data is None:
        raise UsageError(f"{pictures} of {config.batch} pictures of a batch are real, but there is no --data; use --samples-share 1")
    if pictures and data is not None and data.shape != generator.img_shape:
        raise UsageError(f"the pictures are {size_text(data.shape)} px, the generator makes {size_text(generator.img_shape)} px")
    if config.num_samples % processes or pictures % processes:
        raise UsageError(f"{config.num_samples} samples and {pictures} pictures cannot be shared out over {processes} processes alike")
