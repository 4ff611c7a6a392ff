"""The random numbers of a training step, keyed by the number of each sample in the whole batch.

A sample draws the same numbers whichever process it falls to and however the batch is cut, so two processes equal one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylegan_core.data.images import stream_indices
from stylegan_core.training.growing import Stage, at_level, stage_at

PHASES = ("data", "generator", "path-length", "discriminator", "regulariser", "noise")
Streams = list[torch.Generator]


class Samples:
    """One process's share of a step: `count` samples from number `first` on."""

    def __init__(self, seed: int, step: int, first: int, device: torch.device):
        self.seed, self.step, self.first, self.device = seed, step, first, device

    def streams(self, phase: str, part: slice, *, turn: int = 0, on_device: bool = False) -> Streams:
        """One generator per sample of the part. phase: of PHASES. turn: tells several passes of one phase apart.

        on_device: for many numbers, such as noise maps; else on the CPU. The same call gives the same numbers again.
        """
        device = self.device if on_device else torch.device("cpu")
        key = [self.seed, self.step, 2 + PHASES.index(phase), turn]
        return [_stream(device, *key, self.first + i) for i in range(part.start, part.stop)]


def _stream(device: torch.device, *key: int) -> torch.Generator:
    seed = np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1)
    return torch.Generator(device=device).manual_seed(int(seed))


def uniform(streams: Streams) -> Tensor:
    """[N] in [0, 1)."""
    return torch.stack([torch.rand([], generator=stream) for stream in streams])


def draw_labels(data: Any, streams: Streams, device: torch.device) -> Tensor:
    """[N, c_dim]: labels of pictures drawn from the data set; c_dim is 0 for a set without labels."""
    chosen = [min(int(float(share) * len(data)), len(data) - 1) for share in uniform(streams)]
    return torch.from_numpy(data.labels(chosen)).to(device)


def real_batch(config: Any, stage: Stage, data: Any, samples: Samples, batch: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """(pictures [N, C, H, W] in [-1, 1], their labels [N, c_dim], their indices) of this process's share of a step."""
    indices = shown(config, stage, data, samples.first, batch)
    real = torch.from_numpy(data.images_u8(indices)).to(samples.device).float() / 127.5 - 1
    following = stage_at(config, samples.step + 1)
    data.expect(shown(config, following, data, samples.first * following.batch // stage.batch, batch * following.batch // stage.batch))
    real = at_level(real, stage.lod)
    if config.mirror:
        flips = uniform(samples.streams("data", slice(0, batch))) < 0.5
        real = torch.where(flips.to(samples.device)[:, None, None, None], real.flip(3), real)
    return real, torch.from_numpy(data.labels(indices)).to(samples.device), indices


def shown(config: Any, stage: Stage, data: Any, first: int, count: int) -> np.ndarray:
    """The indices of `count` pictures of a step, from the sample number `first` of its batch on."""
    return stream_indices(len(data), stage.batch, stage.nimg, config.seed)[first : first + count]
