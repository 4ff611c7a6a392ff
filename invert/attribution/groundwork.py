"""What has to be known of a generator before pictures are compared with it: samples to start from, and its curvature.

Made once per model and kept in the user's cache, so that a single picture takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from invert.attribution.frame_prior import FramePrior
from invert.projectors.samples import BATCH_PIXELS, WSamples
from stylegan_core.files import atomic_write
from stylegan_core.generator import Generator, place_of
from stylegan_core.images import to_rgb
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.losses.perceptual import shrink
from stylegan_core.losses.regularisers import WPrior
from stylegan_core.noise import Noise
from stylegan_core.seeds import rng_from_seed

FORMAT, VERSION = "invert-groundwork", 2
SIDE, SMALL = 32, 16  # of thumbnails, and of what the regression sees
MOST_SAMPLES, FEWEST_SAMPLES = 1000, 64
SAMPLE_PIXELS = 1000 * 64**2
NUM_FEATURES = 1500
FEATURE_GAIN, RIDGE = 3.0, 100.0
PROBED, PROBES = 16, 24  # pictures at which the curvature is measured, and random directions at each
STREAM = 7
USUAL_COUNT, USUAL_SHARE, USUAL_SLACK = 60, 0.9, 0.1


@dataclass
class Groundwork:
    """thumbnails: [K, 3, 32, 32] in [-1, 1] of the first K samples of `samples`. regression: [features + 1, w_dim], from a
    thumbnail to white w. directions: [w_dim, w_dim], columns in white coordinates; curvature: [w_dim], the mean squared
    change of a picture, summed over its values, per unit along them. noise: map → the same per value of the map.
    """

    generator: Generator
    samples: WSamples
    thumbnails: Tensor
    regression: Tensor
    directions: Tensor
    curvature: Tensor
    noise: dict[str, float]

    @classmethod
    @torch.no_grad()
    def of(cls, generator: Generator, callback: Any = None) -> Groundwork:
        """Measured anew: some hundred renders and backward passes. callback: called as callback(done, total)."""
        samples = WSamples.of(generator)
        count = num_samples(generator)
        total = count + PROBED * PROBES * 3
        thumbnails = []
        step = max(1, BATCH_PIXELS // generator.img_resolution**2)
        for first in range(0, count, step):
            rows = range(first, min(count, first + step))
            latent = Latent(samples.w[rows.start : rows.stop], LatentSpace.W)
            images = to_rgb(latent.render(generator, noise=Noise.random(generator, rows).maps).clamp(-1, 1))
            thumbnails.append(as_thumbnails(images).cpu())
            if callback is not None:
                callback(first + len(latent), total)
        pictures = ((torch.cat(thumbnails) + 1) * 127.5).round() / 127.5 - 1  # as they are kept
        regression = fit_regression(pictures, samples.prior.whiten(samples.w[:count]).cpu())
        tick = None if callback is None else lambda done: callback(count + 3 * done, total)
        directions, curvature, noise = measure_curvature(generator, samples, tick)
        return cls(generator, samples, pictures, regression, directions, curvature, noise)

    @property
    def prior(self) -> WPrior:
        """Gaussian of w."""
        return self.samples.prior

    @property
    def frame_prior(self) -> FramePrior:
        """Where things are in a picture."""
        return self.priors[0]

    @property
    def coarse_prior(self) -> FramePrior:
        """The same for half the side."""
        return self.priors[1]

    @cached_property
    def priors(self) -> tuple[FramePrior, FramePrior]:
        """Of thumbnails, and of thumbnails of half the side."""
        fine = FramePrior.of(self.thumbnails)
        return fine, fine.coarse()

    @cached_property
    def usual_likelihood(self) -> float:
        """Above it are nine of ten samples, by the prior of the thumbnails; a little below, as the prior has seen these."""
        own = self.thumbnails[:USUAL_COUNT]
        values = self.frame_prior.log_likelihood(own, torch.ones_like(own[:, :1]))
        return float(values.quantile(1 - USUAL_SHARE)) - USUAL_SLACK

    @classmethod
    def kept(cls, generator: Generator, paths: Sequence[Path], callback: Any = None) -> Groundwork:
        """Read from the first of these files that is for this very model, else measured and kept in the last of them."""
        for path in paths:
            ground = cls._load(generator, path)
            if ground is not None:
                return ground
        ground = cls.of(generator, callback)
        ground.save(paths[-1])
        return cls._load(generator, paths[-1]) or ground  # the same to the last digit as the next time

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        tensors = {"thumbnails": ((self.thumbnails + 1) * 127.5).round().clamp(0, 255).to(torch.uint8), "regression": self.regression,
                   "directions": self.directions, "curvature": self.curvature}  # fmt: skip
        tensors |= {f"noise.{name}": torch.tensor([value]) for name, value in self.noise.items()}
        header = {"format": FORMAT, "version": str(VERSION), "model_sha256": self.samples.sha256}
        with atomic_write(path) as temporary:
            save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary, metadata=header)

    @classmethod
    def _load(cls, generator: Generator, path: Path) -> Groundwork | None:
        """None where there is no file, or one of another model or version, or a damaged one."""
        samples = WSamples.of(generator)
        wanted = {"format": FORMAT, "version": str(VERSION), "model_sha256": samples.sha256}
        try:
            with safe_open(path, framework="pt") as file:
                if (file.metadata() or {}) != wanted:
                    return None
                held = {key: file.get_tensor(key) for key in list(file.keys())}
        except (SafetensorError, OSError, ValueError):
            return None
        size, names = generator.w_dim, [f"noise.{name}" for name in generator.noise_shapes]
        shapes = {"regression": (SMALL * SMALL * 3 + NUM_FEATURES + 1, size), "directions": (size, size), "curvature": (size,)}
        is_right = all(name in held and tuple(held[name].shape) == shape and bool(torch.isfinite(held[name]).all())
                       for name, shape in shapes.items())  # fmt: skip
        if not is_right or held.get("thumbnails", torch.zeros(0)).shape[1:] != (3, SIDE, SIDE) or any(name not in held for name in names):
            return None
        place = place_of(generator)
        noise = {name: float(held[f"noise.{name}"]) for name in generator.noise_shapes}
        return cls(generator, samples, held["thumbnails"].float() / 127.5 - 1, held["regression"].float(),
                   held["directions"].to(*place), held["curvature"].to(*place), noise)  # fmt: skip

    def guess(self, thumbnails: Tensor) -> Tensor:
        """thumbnails: [N, 3, 32, 32] → white w [N, w_dim] by regression."""
        return (features_of(thumbnails.cpu().float()) @ self.regression).to(self.samples.w)

    def nearest(self, thumbnails: Tensor, count: int) -> Tensor:
        """thumbnails: [N, 3, 32, 32] → white w [N, count, w_dim] of the samples that look most alike."""
        flat = F.avg_pool2d(thumbnails.cpu().float(), SIDE // SMALL).flatten(1)
        own = F.avg_pool2d(self.thumbnails, SIDE // SMALL).flatten(1)
        order = torch.cdist(flat, own).argsort(dim=1)[:, :count]
        return self.prior.whiten(self.samples.w[order.to(self.samples.w.device)])


def num_samples(generator: Generator) -> int:
    """Of thumbnails: fewer of large pictures."""
    return max(FEWEST_SAMPLES, min(MOST_SAMPLES, SAMPLE_PIXELS // generator.img_resolution**2))


def num_passes(generator: Generator) -> int:
    """What the first look costs, in forward and backward passes."""
    return num_samples(generator) // 3 + PROBED * PROBES


def as_thumbnails(images: Tensor) -> Tensor:
    """[N, 3, H, W] → [N, 3, 32, 32] by area; smaller pictures are enlarged bilinearly."""
    if min(images.shape[2:]) < SIDE:
        return F.interpolate(images, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    if images.shape[2] == images.shape[3]:
        return shrink(images, SIDE)
    return F.interpolate(images, size=(SIDE, SIDE), mode="area")


def features_of(thumbnails: Tensor) -> Tensor:
    """[N, 3, 32, 32] → [N, 768 + 1500 + 1]: pixels, random ramps of them, 1."""
    x = F.avg_pool2d(thumbnails, SIDE // SMALL).flatten(1)
    rng = rng_from_seed(0, STREAM)
    matrix = torch.randn(x.shape[1], NUM_FEATURES, generator=rng) * (FEATURE_GAIN / x.shape[1] ** 0.5)
    offset = torch.randn(NUM_FEATURES, generator=rng)
    return torch.cat([x, (x @ matrix + offset).relu(), torch.ones_like(x[:, :1])], dim=1)


def fit_regression(thumbnails: Tensor, v: Tensor) -> Tensor:
    """Ridge regression from thumbnails [K, 3, 32, 32] to v [K, w_dim] → [features, w_dim]."""
    x = features_of(thumbnails).double()
    gram = x @ x.t() + RIDGE * torch.eye(len(x), dtype=x.dtype)
    return (x.t() @ torch.linalg.solve(gram, v.double())).float()


def measure_curvature(generator: Generator, samples: WSamples, tick: Any = None) -> tuple[Tensor, Tensor, dict[str, float]]:
    """(directions, curvature, noise) of `Groundwork`: E[(Jᵀu)(Jᵀu)ᵀ] = JᵀJ for white u, at samples."""
    device, dtype = place_of(generator)
    prior, maps = samples.prior, list(generator.noise_shapes)
    step = max(1, min(PROBED, BATCH_PIXELS // generator.img_resolution**2))
    matrix = torch.zeros(generator.w_dim, generator.w_dim, dtype=torch.float64)
    power = dict.fromkeys(maps, 0.0)
    for first in range(0, PROBED, step):
        rows = range(first, min(PROBED, first + step))
        with torch.enable_grad():
            v = prior.whiten(samples.w[list(rows)]).detach().requires_grad_()
            noise = {name: value.requires_grad_() for name, value in Noise.none(generator, len(rows)).maps.items()}
            images = to_rgb(Latent(prior.unwhiten(v), LatentSpace.W).render(generator, noise=noise))
        for probe in range(PROBES):
            streams = [rng_from_seed(row, probe, STREAM) for row in rows]
            u = torch.stack([torch.randn(images.shape[1:], generator=rng) for rng in streams]).to(device, dtype)
            keep = probe < PROBES - 1
            found = torch.autograd.grad(images, [v, *noise.values()], u, retain_graph=keep, allow_unused=True)
            slope = found[0].double().cpu()
            matrix += slope.t() @ slope / (PROBED * PROBES)
            for name, value in zip(maps, found[1:]):
                power[name] += 0.0 if value is None else float(value.square().mean()) * len(rows) / (PROBED * PROBES)
        if tick is not None:
            tick(rows.stop * PROBES)
    matrix += torch.eye(len(matrix), dtype=matrix.dtype) * (0.01 * matrix.diagonal().mean())
    values, vectors = torch.linalg.eigh(matrix)
    return vectors.to(device, dtype), values.clamp_min(0).to(device, dtype), power
