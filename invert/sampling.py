"""Seeds → pictures of a generator, each depending on its own seed only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from invert.loaded import LoadedModel, class_label
from stylegan_core.images import picture_proper
from stylegan_core.seeds import rng_from_seed, z_from_seed

if TYPE_CHECKING:
    from stylegan_core.generator import Generator


@dataclass(frozen=True)
class Sampler:
    """psi, cutoff: truncation; cutoff None = all rows. noise_mode: const, random, none."""

    model: LoadedModel
    psi: float = 1.0
    cutoff: int | None = None
    class_index: int | None = None
    noise_mode: str = "const"
    pose: tuple[float, float, float] | None = None  # degrees, widths right and down that the input was moved by; None = not

    @property
    def generator(self) -> Generator:
        """The network."""
        return self.model.generator

    @torch.no_grad()
    def ws(self, seed: int) -> Tensor:
        """[1, num_ws, w_dim] of a seed, as the official scripts draw it."""
        z = z_from_seed(seed, self.generator.z_dim).to(self.generator.w_avg)
        c = class_label(self.generator, self.class_index)
        return self.generator.mapping(z, c, truncation_psi=self.psi, truncation_cutoff=self.cutoff)

    @torch.no_grad()
    def image(self, seed: int) -> Tensor:
        """[1, C, H, W] on the CPU, one at a time so that the picture of a seed never depends on the others."""
        rng = rng_from_seed(seed) if self.noise_mode == "random" else None
        images = self.generator.synthesis(self.ws(seed), noise_mode=self.noise_mode, rng=rng)
        return picture_proper(images, self.generator).float().cpu()

    def facts(self, seed: int) -> dict[str, Any]:
        """How the picture of a seed is made, JSON-ready."""
        return {
            "seed": seed,
            "model": self.model.name,
            "model_sha256": self.model.sha256,
            "psi": self.psi,
            "cutoff": self.cutoff,
            "class": self.class_index,
            "noise_mode": self.noise_mode,
            **({} if self.pose is None else dict(zip(("rotate", "right", "down"), self.pose))),
        }
