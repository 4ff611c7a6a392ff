"""What is measured of a generator itself, without data: path lengths, separability, the share of every resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.features import Features
from stylegan_core.generator import Generator, place_of
from stylegan_core.metrics.contribution import Contribution
from stylegan_core.metrics.path_length import Distance, Paths, mean_length, path_lengths
from stylegan_core.metrics.separability import separability
from stylegan_core.noise import Noise
from stylegan_core.seeds import rng_from_seed, zs_from_seeds

BATCH = 64
CONTRIBUTION_PICTURES = 1024  # at most, as SG2 Fig. 8 has
Counted = Callable[[str, int, int], bool | None]  # (what is being looked at, done, count); False stops


@dataclass(frozen=True)
class Probe:
    """A generator and those who look at it. count: samples, or pairs of them. judge: None = no attributes are known.

    callback: told how far it is; returns False to stop with a UsageError.
    """

    generator: Generator
    distance: Distance
    judge: Features | None = None
    count: int = 5000
    seed: int = 1000
    callback: Counted | None = None
    _labelled: dict[str, Any] = field(default_factory=dict, repr=False)

    def batches(self, what: str, count: int) -> Iterator[range]:
        """Seeds of consecutive batches; tells the callback after each."""
        for first in range(0, count, BATCH):
            last = min(first + BATCH, count)
            yield range(self.seed + first, self.seed + last)
            if self.callback is not None and self.callback(what, last, count) is False:
                raise UsageError(f"stopped after {last} of {count} {what}")

    def labelled(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """({'z': [N, z_dim], 'w': [N, w_dim]}, attribute → logits [N]) of the samples, drawn and looked at once."""
        if self.judge is None:
            raise UsageError("separability needs an attribute network to label samples: give --judge")
        if not self._labelled:
            parts: list[tuple[Tensor, Tensor, Tensor]] = []
            device = place_of(self.generator)[0]
            with torch.no_grad():
                for seeds in self.batches("labelled samples", self.count):
                    z, c = latents_of(self.generator, seeds)
                    ws = self.generator.mapping(z, c)
                    images = self.generator.synthesis(ws, noise_mode="random", rng=[rng_from_seed(seed) for seed in seeds])
                    parts.append((z.cpu(), ws[:, 0].cpu(), self.judge.logits(images.to(device)).cpu()))
            z, w, logits = (torch.cat([part[i] for part in parts]) for i in range(3))
            self._labelled["latents"] = {"z": z, "w": w}
            self._labelled["logits"] = dict(zip(self.judge.attribute_names, logits.unbind(dim=1)))
        return self._labelled["latents"], self._labelled["logits"]


def latents_of(generator: Generator, seeds: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    """(z [N, z_dim], labels [N, c_dim]) of seeds, on the generator's device; classes take turns, None where there are none."""
    device, dtype = place_of(generator)
    c = None
    if generator.c_dim:
        c = torch.eye(generator.c_dim)[[seed % generator.c_dim for seed in seeds]].to(device, dtype)
    return zs_from_seeds(seeds, generator.z_dim).to(device, dtype), c


def measure_path_length(probe: Probe, space: str, sampling: str, crop: bool = False) -> dict[str, Any]:
    """{'value': mean squared distance per squared step, 'measured_in': the distance, …} over `count` pairs."""
    found = []
    with torch.no_grad():
        for seeds in probe.batches(f"paths in {space}", probe.count):
            found.append(path_lengths(probe.generator, probe.distance, paths_of(probe.generator, seeds), space=space,
                                      sampling=sampling, crop=crop).cpu())  # fmt: skip
    return {"value": mean_length(torch.cat(found)), "measured_in": probe.distance.name, "count": probe.count}


def paths_of(generator: Generator, seeds: Sequence[int]) -> Paths:
    """Path i depends on seed i only: both ends, the place on the way, the noise that its two pictures share."""
    z0, c = latents_of(generator, seeds)
    streams = [rng_from_seed(seed, 1) for seed in seeds]
    z1 = torch.stack([torch.randn(generator.z_dim, generator=rng) for rng in streams]).to(z0)
    t = torch.stack([torch.rand([], generator=rng) for rng in streams]).to(z0)
    return Paths(z0, z1, t, c, Noise.random(generator, [(seed, 2) for seed in seeds]).maps)


def measure_separability(probe: Probe, space: str) -> dict[str, Any]:
    """{'value': exp of the summed entropies of the yes-or-no attributes, 'held_out', 'entropies': of all attributes, …}.

    An attribute that is not yes or no counts as above or below its middle, and does not count for the value.
    """
    latents, logits = probe.labelled()
    judge = probe.judge
    assert judge is not None
    result = separability(latents[space], logits, counted=judge.binary_names)
    return {
        "value": result.score,
        "held_out": result.held_out_score,
        "measured_in": judge.name,
        "entropies": {name: round(value, 5) for name, value in result.entropies.items()},
        "held_out_entropies": {name: round(value, 5) for name, value in result.held_out.items()},
        "accuracy": {name: round(value, 4) for name, value in result.accuracy.items()},
        "counted": list(result.counted),
        "count": probe.count,
        "kept": result.kept,
    }


def measure_contribution(probe: Probe) -> dict[str, Any]:
    """{'value': share of the highest resolution, 'shares': tRGB layer → share, 'deviations': tRGB layer → σ}."""
    gathered = Contribution()
    count = min(probe.count, CONTRIBUTION_PICTURES)
    for seeds in probe.batches("branches", count):
        z, c = latents_of(probe.generator, seeds)
        with torch.no_grad():
            gathered.update(probe.generator, probe.generator.mapping(z, c))
    shares = gathered.shares()
    return {
        "value": list(shares.values())[-1],
        "measured_in": "pixels",
        "shares": {name: round(value, 5) for name, value in shares.items()},
        "deviations": {name: round(value, 5) for name, value in gathered.deviations().items()},
        "count": count,
    }


def measure_equivariance(probe: Probe, function: Callable[..., float]) -> dict[str, Any]:
    """{'value': PSNR in dB over `count` samples, 'measured_in': 'decibels', …}; function: one of `metrics.equivariance`."""
    value = function(probe.generator, count=probe.count, seed=probe.seed)
    if probe.callback is not None:
        probe.callback("moved samples", probe.count, probe.count)
    return {"value": value, "measured_in": "decibels", "count": probe.count}
