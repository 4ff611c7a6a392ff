"""Latents and the four spaces they live in: Z → W → W+ → S → image, downhill only; uphill is a projection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from stylegan_core.errors import LatentError, UsageError
from stylegan_core.generator import RNG, Generator, place_of
from stylegan_core.seeds import rng_from_seed, zs_from_seeds

SPREAD_SAMPLES = 2000


class LatentSpace(Enum):
    """z [N, z_dim], w [N, w_dim], W+ ws [N, num_ws, w_dim], S styles [N, sum(style_dims)]; each lowers to the next."""

    Z = "z"
    W = "w"
    W_PLUS = "w+"
    S = "s"

    @classmethod
    def parse(cls, text: LatentSpace | str) -> LatentSpace:
        """'w+' → W_PLUS; upper case and 'wplus' are understood. Raises UsageError."""
        if isinstance(text, cls):
            return text
        name = str(text).strip().lower().replace("wplus", "w+").replace("w_plus", "w+").replace("wp", "w+")
        for space in cls:
            if space.value == name:
                return space
        raise UsageError(f"space {text!r}: one of {', '.join(space.value for space in cls)} is allowed")

    @property
    def depth(self) -> int:
        """0 for Z, growing towards the image."""
        return list(LatentSpace).index(self)

    def shape(self, generator: Generator) -> tuple[int, ...]:
        """Shape of one latent, without the batch."""
        return {
            LatentSpace.Z: (generator.z_dim,),
            LatentSpace.W: (generator.w_dim,),
            LatentSpace.W_PLUS: (generator.num_ws, generator.w_dim),
            LatentSpace.S: (sum(generator.style_dims.values()),),
        }[self]

    def centre(self, generator: Generator) -> Tensor:
        """The mean latent of this space, [1, *shape]: zeros for Z, w_avg and what it lowers to for the others."""
        device, dtype = place_of(generator)
        if self is LatentSpace.Z:
            return torch.zeros(1, generator.z_dim, device=device, dtype=dtype)
        average = Latent(generator.w_avg.to(device=device, dtype=dtype)[None].clone(), LatentSpace.W)
        return average.lower(generator, to=self).value

    @torch.no_grad()
    def spread(self, generator: Generator, *, c: Tensor | None = None, num_samples: int = SPREAD_SAMPLES) -> Tensor:
        """Standard deviation of every entry over samples of the mapping, [1, *shape]. c: [1, c_dim] or None."""
        device, dtype = place_of(generator)
        if self is LatentSpace.Z:
            return torch.ones(1, generator.z_dim, device=device, dtype=dtype)
        z = torch.randn(num_samples, generator.z_dim, generator=rng_from_seed(0, num_samples)).to(device, dtype)
        label = None if c is None else c.expand(num_samples, -1)
        return Latent(z, LatentSpace.Z, label).lower(generator, to=self).value.std(dim=0, keepdim=True)


@dataclass(frozen=True)
class Latent:
    """N latents of one space. c: [N, c_dim], the labels that Z of a conditional generator needs; None = no label."""

    value: Tensor
    space: LatentSpace
    c: Tensor | None = None

    @classmethod
    def sample(cls, generator: Generator, seeds: Sequence[int], *, c: Tensor | None = None) -> Latent:
        """Z of these seeds, as the official scripts draw them."""
        device, dtype = place_of(generator)
        return cls(zs_from_seeds(seeds, generator.z_dim).to(device, dtype), LatentSpace.Z, c)

    @classmethod
    def cat(cls, latents: Sequence[Latent]) -> Latent:
        """One batch; all must share the space."""
        if len({latent.space for latent in latents}) != 1:
            raise LatentError(
                "latents of different spaces cannot form one batch: "
                + ", ".join(latent.space.value for latent in latents)
                + "; lower them first"
            )
        labels = [latent.c for latent in latents]
        if any(c is None for c in labels) != all(c is None for c in labels):
            raise LatentError("latents with and without a label cannot form one batch")
        c = None if labels[0] is None else torch.cat([x for x in labels if x is not None])
        return cls(torch.cat([latent.value for latent in latents]), latents[0].space, c)

    def __len__(self) -> int:
        return self.value.shape[0]

    def __getitem__(self, index: int | slice | Tensor) -> Latent:
        """Always a batch: latent[2] has N = 1."""
        rows = _rows(index, len(self))
        return replace(self, value=self.value[rows], c=None if self.c is None else self.c[rows])

    def to(self, *where: Any) -> Latent:
        """device, dtype as Tensor.to takes them."""
        return replace(self, value=self.value.to(*where), c=None if self.c is None else self.c.to(*where))

    def check(self, generator: Generator) -> None:
        """Raises LatentError when this latent is not of this generator's size, or not finite."""
        shape = self.space.shape(generator)
        if tuple(self.value.shape[1:]) != shape or self.value.ndim != len(shape) + 1:
            raise LatentError(
                f"a latent of the shape {tuple(self.value.shape)} in the space {self.space.value}; this model takes "
                f"[N, {', '.join(map(str, shape))}]; was it made with another model?"
            )
        if not torch.isfinite(self.value).all():
            raise LatentError(
                f"the latent in the space {self.space.value} holds values that are not finite; project again"
            )

    def lower(self, generator: Generator, *, to: LatentSpace | str) -> Latent:
        """The same pictures in a space further down. Raises LatentError for uphill, which only a projection can do."""
        space = LatentSpace.parse(to)
        self.check(generator)
        if space.depth < self.space.depth:
            hint = "; use Latent.mean_row() or" if (self.space, space) == (LatentSpace.W_PLUS, LatentSpace.W) else ";"
            raise LatentError(
                f"cannot turn a latent of the space {self.space.value} into {space.value}, which lies uphill{hint} "
                f"project the picture again with space={space.value}"
            )
        latent = self
        while latent.space is not space:
            latent = latent._lower_one_step(generator)
        return latent

    def render(
        self,
        generator: Generator,
        *,
        noise_mode: str = "const",
        noise: Mapping[str, Tensor] | None = None,
        rng: RNG = None,
    ) -> Tensor:
        """→ images [N, C, H, W]. noise: buffer name → [N or 1, 1, H, W]; buffers not named follow noise_mode."""
        styles = self.lower(generator, to=LatentSpace.S)
        return generator.synthesis.render(styles.value, noise_mode=noise_mode, noise=noise, rng=rng)

    def mean_row(self) -> Latent:
        """W+ → W by averaging the rows: another picture unless the rows are equal."""
        if self.space is not LatentSpace.W_PLUS:
            raise LatentError(f"only W+ has rows to average; this latent is in the space {self.space.value}")
        return replace(self, value=self.value.mean(dim=1), space=LatentSpace.W)

    def __add__(self, other: Latent | Tensor) -> Latent:
        return replace(self, value=self.value + self._operand(other))

    def __sub__(self, other: Latent | Tensor) -> Latent:
        return replace(self, value=self.value - self._operand(other))

    def __mul__(self, factor: float) -> Latent:
        return replace(self, value=self.value * factor)

    def lerp(self, other: Latent, t: float) -> Latent:
        """The point t of the way to other, in the same space."""
        return replace(self, value=self.value.lerp(self._operand(other), t))

    def _operand(self, other: Latent | Tensor) -> Tensor:
        if isinstance(other, Tensor):
            return other
        if other.space is not self.space:
            raise LatentError(
                f"latents of the spaces {self.space.value} and {other.space.value} cannot be combined; lower one first"
            )
        return other.value

    def _lower_one_step(self, generator: Generator) -> Latent:
        if self.space is LatentSpace.Z:
            return replace(self, value=generator.mapping.to_w(self.value, self.c), space=LatentSpace.W)
        if self.space is LatentSpace.W:
            return replace(self, value=self.value[:, None].repeat(1, generator.num_ws, 1), space=LatentSpace.W_PLUS)
        return replace(self, value=generator.synthesis.affine(self.value), space=LatentSpace.S)


def _rows(index: int | slice | Tensor, count: int) -> slice | Tensor:
    if not isinstance(index, int):
        return index
    if not -count <= index < count:
        raise IndexError(f"index {index} of a batch of {count}")
    index %= count
    return slice(index, index + 1)
