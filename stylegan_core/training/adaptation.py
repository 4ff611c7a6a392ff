"""How strongly the discriminator's pictures are augmented, adapted to how sure it is of real ones (SG2-ADA Sec. 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stylegan_core.losses.gan import Score
from stylegan_core.training.augment import build_augmenter, next_p
from stylegan_core.training.config import TrainingConfig
from stylegan_core.training.distributed import average, num_processes
from stylegan_core.training.draws import Draws, RandomDraws
from stylegan_core.training.samples import Streams


@dataclass
class Adaptation:
    """augmenter: None = pictures stay as they are. p: [], float64. signs: [2], sum and number of sign(D(x)) since p moved."""

    augmenter: Callable[[Tensor, float, Draws], Tensor] | None
    p: Tensor
    signs: Tensor

    @classmethod
    def of(cls, config: TrainingConfig) -> Adaptation:
        """As the configuration says, at the start of a run."""
        start = config.augment_p if config.augment_p is not None else 1.0 if config.augment.startswith("diff") else 0.0
        augmenter = None if config.augment == "none" else build_augmenter(config.augment)
        return cls(augmenter, torch.tensor(start, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))

    @property
    def values(self) -> dict[str, Tensor]:
        """What a state holds."""
        return {"augment_p": self.p, "ada_signs": self.signs}

    def before(self, score: Score, streams: Streams) -> Score:
        """(images, labels) → logits of the augmented images."""
        if self.augmenter is None:
            return score
        augmenter, p, draws = self.augmenter, float(self.p), RandomDraws(streams)

        def augmented(images: Tensor, c: Tensor | None) -> Tensor:
            with torch.autocast(images.device.type, enabled=False):
                images = augmenter(images.float(), p, draws)
            return score(images, c)

        return augmented

    def update(self, real_logits: Tensor, config: TrainingConfig, step: int) -> dict[str, Tensor]:
        """Counts the logits [N] of this step; every few steps p moves. Returns what to log, {} where p is fixed."""
        if self.augmenter is None or config.augment_p is not None or config.augment.startswith("diff"):
            return {}
        self.signs += torch.stack([real_logits.sign().double().sum(), torch.tensor(float(len(real_logits)))]).cpu()
        if (step + 1) % config.ada_every == 0:
            average([self.signs])
            sign, num_images = float(self.signs[0] / self.signs[1]), round(float(self.signs[1]) * num_processes())
            self.p.fill_(next_p(float(self.p), sign, target=config.ada_target, num_images=num_images, kimg=config.ada_kimg))
            self.signs.zero_()
        return {"augment_p": self.p[None].clone()}
