"""Where a projection starts: the mean, the nearest of many samples, a seed, or a given inversion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from invert.projectors.base import Candidates, Problem
from invert.projectors.samples import NUM_W, THUMBNAIL_SIDE, WSamples
from stylegan_core.errors import LatentError, UsageError
from stylegan_core.generator import Generator, place_of
from stylegan_core.input_transform import BUFFER
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.losses.perceptual import shrink
from stylegan_core.losses.pixel import multi_scale_square
from stylegan_core.noise import Noise
from stylegan_core.seeds import rng_from_seed, z_from_seed

SHORTLIST = 32  # nearest in pixels, compared again by the whole distance
NEAREST_PIXELS = 2000 * 64**2  # how many `nearest` may render when no number is given: 2000 samples at 64 px
FEWEST_SAMPLES = 16
RESTART_PSI = 0.7  # truncation of the random starts that stand beside the mean
LATENT_STREAM, NOISE_STREAM, JITTER_STREAM = 1, 2, 3  # keep the streams of one (seed, restart) apart
DISTANCE = {"multi-scale": 10.0, "perceptual": 1.0}  # ranks the shortlist and the classes


@dataclass(frozen=True)
class Start:
    """kind: mean, nearest, seed, encoder or given. number: samples of nearest, None = by size; or the seed, None = the run's.

    label: what is recorded of a given start; "" = its kind.
    """

    kind: str = "mean"
    number: int | None = None
    inversion: Inversion | None = None
    label: str = ""

    @classmethod
    def parse(cls, text: str) -> Start:
        """'mean', 'nearest', 'nearest:500', 'seed', 'seed:7', 'encoder', or the path of an inversion file. Raises UsageError."""
        kind, colon, number = text.partition(":")
        if text == "encoder":
            return cls("encoder")
        if kind in ("mean", "nearest", "seed") and (not colon or (number.isdecimal() and kind != "mean")):
            if colon and kind == "nearest" and not 1 <= int(number) <= NUM_W:
                raise UsageError(f"start {text!r}: nearest takes 1 to {NUM_W} samples")
            return cls(kind, int(number) if colon else None)
        if text.endswith((".safetensors", ".npz")):
            return cls("given", None, Inversion.load(text))
        raise UsageError(f"start {text!r}: mean, nearest, nearest:COUNT, seed, seed:N, encoder or an inversion file "
                         "(….inversion.safetensors)")

    def __str__(self) -> str:
        return self.label or (self.kind if self.number is None else f"{self.kind}:{self.number}")

    def resolved(self, generator: Generator) -> Start:
        """With the number that `nearest` takes for this generator when none was given."""
        if self.kind != "nearest" or self.number is not None:
            return self
        return replace(self, number=max(FEWEST_SAMPLES, min(2000, NEAREST_PIXELS // generator.img_resolution**2)))


@torch.no_grad()
def start_candidates(start: Start, problem: Problem, label: Tensor | None, space: LatentSpace, restarts: int) -> Candidates:
    """`restarts` candidates for each target, image by image, in this space, with random noise maps.

    label: [N, c_dim], the class of each target; None = unconditional, or all classes are tried.
    """
    count = problem.target.shape[0]
    image = torch.arange(count).repeat_interleave(restarts)
    restart = torch.arange(restarts).repeat(count)
    latents = []
    for i in range(count):
        own = None if label is None else label[i]
        if start.kind == "given":
            assert start.inversion is not None
            latents.append(_given(start.inversion, problem, i, count, restarts, space))
        elif start.kind == "nearest":
            latents.append(nearest(problem, i, own, space, restarts, start.number or NUM_W))
        else:
            latents.append(_mean_or_seed(start, problem, i, own, space, restarts))
    noise = Noise.random(problem.generator, [(problem.seed, int(r), NOISE_STREAM) for r in restart]).maps
    if start.kind == "given" and start.inversion is not None and start.inversion.noise:
        rows = image if len(start.inversion) == count else torch.zeros_like(image)
        device, dtype = place_of(problem.generator)
        given = {name: value[rows].to(device, dtype) for name, value in start.inversion.noise.items()}
        noise = {**noise, **given}
    return Candidates(Latent.cat(latents), noise, image, restart)


def nearest(problem: Problem, i: int, label: Tensor | None, space: LatentSpace, count: int, num_samples: int) -> Latent:
    """The `count` samples most like target i: ranked in small pixels, the first ones again by the whole distance."""
    samples, generator = problem.samples, problem.generator
    if space.depth > LatentSpace.W.depth:
        return nearest(problem, i, label, LatentSpace.W, count, num_samples).lower(generator, to=space)
    num_samples = max(min(num_samples, len(samples.z)), min(count, len(samples.z)))
    thumbnails = samples.thumbnails(label, num_samples)
    target = shrink(problem.target[i : i + 1], THUMBNAIL_SIDE)
    mask = None if problem.mask is None else shrink(problem.mask[i : i + 1], THUMBNAIL_SIDE).expand(num_samples, -1, -1, -1)
    order = multi_scale_square(thumbnails, target, mask).sort(stable=True).indices[: max(SHORTLIST, count)]
    w, c = samples.w_of(label, num_samples)
    chosen = Latent(w[order], LatentSpace.W, None if c is None else c[order])
    ranks = _distance_of(problem, i, chosen).sort(stable=True).indices
    order, chosen = order[ranks], chosen[ranks]
    rows = torch.arange(count, device=order.device) % len(order)
    if space is LatentSpace.W:
        return chosen[rows]
    return Latent(samples.z[order[rows]], LatentSpace.Z, None if chosen.c is None else chosen.c[rows])


def _distance_of(problem: Problem, i: int, latent: Latent) -> Tensor:
    image = torch.full((len(latent),), i)
    silent = Noise.none(problem.generator, len(latent)).maps
    return problem.distances(Candidates(latent, silent, image, torch.zeros_like(image)), DISTANCE)


def _mean_or_seed(start: Start, problem: Problem, i: int, label: Tensor | None, space: LatentSpace, restarts: int) -> Latent:
    """The mean, then random samples drawn towards it; or samples of the seed, seed + 1, …"""
    generator, samples = problem.generator, problem.samples
    if label is None and samples.c is not None:
        label = _nearest_class(problem, i, samples)
    c = None if label is None else label[None].to(samples.z)
    latents = []
    for r in range(restarts):
        if start.kind == "seed":
            z = z_from_seed((problem.seed if start.number is None else start.number) + r, generator.z_dim)
        else:
            z = torch.randn(1, generator.z_dim, generator=rng_from_seed(problem.seed, r, LATENT_STREAM))
        latent = Latent(z.to(samples.z), LatentSpace.Z, c)
        if space is not LatentSpace.Z:
            latent = latent.lower(generator, to=LatentSpace.W)
            if start.kind == "mean":
                mean = samples.mean if label is None else samples.w_of(label, len(samples.z))[0].mean(dim=0)
                psi = RESTART_PSI if r else 0.0
                latent = replace(latent, value=mean + psi * (latent.value - mean))
            latent = latent.lower(generator, to=space)
        latents.append(latent)
    return Latent.cat(latents)


def _nearest_class(problem: Problem, i: int, samples: WSamples) -> Tensor:
    """[c_dim], the class whose mean looks most like target i."""
    classes = torch.eye(problem.generator.c_dim).to(samples.z)
    few = max(FEWEST_SAMPLES, NUM_W // len(classes))
    means = torch.stack([samples.w_of(label, few)[0].mean(dim=0) for label in classes])
    return classes[_distance_of(problem, i, Latent(means, LatentSpace.W, classes)).argmin()]


def _given(inversion: Inversion, problem: Problem, i: int, count: int, restarts: int, space: LatentSpace) -> Latent:
    if len(inversion) not in (1, count):
        raise UsageError(f"the start has {len(inversion)} images, the targets are {count}; give one start, or one for each")
    if set(inversion.weight_deltas) - {BUFFER}:
        raise UsageError("the start changes the generator's weights, which a projection does not; start from one without")
    latent = inversion.latent[i if len(inversion) == count else 0].to(*place_of(problem.generator))
    if latent.space.depth > space.depth:
        raise LatentError(
            f"the start lies in the space {latent.space.value}, which is further down than {space.value}; "
            f"project with space={latent.space.value}, or start from the mean"
        )
    return latent.lower(problem.generator, to=space)[torch.zeros(restarts, dtype=torch.long)]
