"""Noise inputs of a generator as named maps, so that a picture can be rendered again with the noise it had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stylegan_core.errors import LatentError
from stylegan_core.generator import Generator, place_of
from stylegan_core.seeds import rng_from_seed

RMS_FLOOR = 1e-20  # mean square below which a map is left as it is: a constant map has no scale


@dataclass(frozen=True)
class Noise:
    """maps: buffer name → [N, 1, H, W]; empty for a generator without noise inputs."""

    maps: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def random(cls, generator: Generator, seeds: Sequence[int | Sequence[int]]) -> Noise:
        """Standard normal maps, one stream per image: image i depends on seeds[i], not on its place or batch mates."""
        device, dtype = place_of(generator)
        streams = [rng_from_seed(*((seed,) if isinstance(seed, int) else seed)) for seed in seeds]
        return cls(
            {
                name: torch.stack([torch.randn(1, *shape, generator=rng) for rng in streams]).to(device, dtype)
                for name, shape in generator.noise_shapes.items()
            }
        )

    @classmethod
    def const(cls, generator: Generator, count: int) -> Noise:
        """Copies of the maps that are stored in the generator."""
        device, dtype = place_of(generator)
        return cls(
            {
                name: generator.get_buffer(f"synthesis.{name}").to(device, dtype)[None, None].repeat(count, 1, 1, 1)
                for name in generator.noise_shapes
            }
        )

    @classmethod
    def none(cls, generator: Generator, count: int) -> Noise:
        """Zeros: the picture without noise."""
        device, dtype = place_of(generator)
        return cls(
            {
                name: torch.zeros(count, 1, *shape, device=device, dtype=dtype)
                for name, shape in generator.noise_shapes.items()
            }
        )

    @classmethod
    def cat(cls, parts: Sequence[Noise]) -> Noise:
        """One batch; all must have the same buffers."""
        names = list(parts[0].maps)
        if any(set(part.maps) != set(names) for part in parts):
            raise LatentError("noise of different generators cannot form one batch")
        return cls({name: torch.cat([part.maps[name] for part in parts]) for name in names})

    def rows(self, index: Tensor | slice) -> Noise:
        """The noise of these images."""
        return Noise({name: value[index] for name, value in self.maps.items()})

    def check(self, generator: Generator, count: int) -> None:
        """Raises LatentError when a map is unknown to this generator, has another size or is not finite."""
        check_noise(self.maps, generator, count)

    @torch.no_grad()
    def normalised(self) -> Noise:
        """Every map of every image with mean 0 and mean square 1 (SG2 App. D: after every step)."""
        return Noise({name: normalise_map(value) for name, value in self.maps.items()})


def normalise_map(value: Tensor) -> Tensor:
    """[N, 1, H, W] → mean 0, mean square 1, per image (never over the batch)."""
    centred = value - value.mean(dim=(1, 2, 3), keepdim=True)
    power = centred.square().mean(dim=(1, 2, 3), keepdim=True)
    return centred * torch.where(power > RMS_FLOOR, power, torch.ones_like(power)).rsqrt()


def check_noise(maps: Mapping[str, Tensor], generator: Generator, count: int) -> None:
    """Raises LatentError, in one line, for maps that do not fit."""
    for name, value in maps.items():
        shape = generator.noise_shapes.get(name)
        if shape is None:
            raise LatentError(f"this generator has no noise input {name!r}; was the inversion made with another model?")
        if tuple(value.shape) not in ((count, 1, *shape), (1, 1, *shape)):
            raise LatentError(
                f"noise {name} has the shape {tuple(value.shape)}; [{count}, 1, {shape[0]}, {shape[1]}] is needed"
            )
        if not torch.isfinite(value).all():
            raise LatentError(f"noise {name} holds values that are not finite; project again")
