"""How a picture stands against what a StyleGAN3 makes, before any optimisation: rotation and motion of the generator's input.

Pictures of such a generator move with its input, so a moved sample is compared as a thumbnail that is moved back, without rendering.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from invert.projectors.base import Candidates, Problem
from invert.projectors.start import DISTANCE, NUM_W, SHORTLIST, Start
from stylegan_core.errors import UsageError
from stylegan_core.generator import Generator, place_of
from stylegan_core.input_transform import BUFFER, POSE, has_input_transform, moved, pose_from_delta, transform_of
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.losses.perceptual import shrink
from stylegan_core.noise import Noise

SIDE = 16  # of the thumbnails that are compared
ANGLES = (0.0, -0.3, 0.3, -0.6, 0.6)  # radians; the first pose of the grid is none
SHIFTS = (0.0, -0.1, 0.1, -0.2, 0.2)  # picture widths
LEAST_SEEN = 0.4  # share of a thumbnail that must be left after it was moved
FLAT = 0.02  # variance that keeps flat pictures from fitting everything


def check_pose(generator: Generator, start: Inversion | None, is_asked: bool) -> None:
    """Raises UsageError when a pose is asked for, or given, and cannot be had."""
    if is_asked and not has_input_transform(generator):
        raise UsageError("--transform: this generator has no input that could be moved; only StyleGAN3 has one")
    if start is not None and BUFFER in start.weight_deltas and not is_asked:
        raise UsageError("the start moves the generator's input; add --transform to go on from it")


@torch.no_grad()
def with_pose(problem: Problem, candidates: Candidates, start: Start) -> Candidates:
    """The candidates with a pose each. Starts from samples are searched anew, together with the pose; a given one keeps its own."""
    device, dtype = place_of(problem.generator)
    if start.kind == "given" and start.inversion is not None:
        held = start.inversion.weight_deltas.get(BUFFER, torch.zeros(len(start.inversion), POSE, POSE))
        rows = candidates.image if len(held) > 1 else torch.zeros_like(candidates.image)
        pose = pose_from_delta((held if isinstance(held, Tensor) else held.dense()).double())
        return replace(candidates, pose=pose[rows].to(device, dtype))
    candidates = replace(candidates, pose=torch.zeros(len(candidates), POSE, device=device, dtype=dtype))
    for number in candidates.image.unique(sorted=True):
        rows = (candidates.image == number).nonzero()[:, 0]
        own = candidates.rows(rows)
        wide = own.latent.space.depth <= LatentSpace.W.depth
        found = from_samples(problem, own, start.number) if start.kind == "nearest" and wide else from_own(problem, own)
        candidates = candidates.with_rows(rows, found)
    return candidates


def from_own(problem: Problem, own: Candidates) -> Candidates:
    """Each of one image's candidates in its best pose of the grid."""
    small = thumbnails_of(own.latent.render(problem.generator, noise=own.noise))
    poses = grid(small)
    order = distances(problem, int(own.image[0]), small, poses).min(dim=0).indices
    return replace(own, pose=poses[order])


def from_samples(problem: Problem, own: Candidates, num_samples: int | None) -> Candidates:
    """As many pairs of a sample and a pose as one image has candidates: ranked as thumbnails, the first ones by the whole distance."""
    samples, i = problem.samples, int(own.image[0])
    label = None if own.latent.c is None else own.latent.c[0]
    count = max(min(num_samples or NUM_W, len(samples.z)), min(len(own), len(samples.z)))
    small = thumbnails_of(samples.thumbnails(label, count))
    w, c = samples.w_of(label, count)
    poses = grid(small)
    ranked = distances(problem, i, small, poses).flatten().sort(stable=True).indices[: max(SHORTLIST, len(own))]
    pose, sample = poses[ranked // count], ranked % count
    image = torch.full((len(ranked),), i)
    chosen = Candidates(Latent(w[sample], LatentSpace.W, None if c is None else c[sample]), Noise.none(problem.generator, len(ranked)).maps,
                        image, torch.zeros_like(image), pose)
    best = problem.distances(chosen, DISTANCE).sort(stable=True).indices
    best = best[torch.arange(len(own), device=best.device) % len(best)]
    value = samples.z[sample[best]] if own.latent.space is LatentSpace.Z else chosen.latent.value[best]
    return replace(own, latent=replace(own.latent, value=value), pose=pose[best])


def grid(like: Tensor) -> Tensor:
    """[len(ANGLES) · len(SHIFTS)², 3], no motion first."""
    return torch.tensor(list(product(ANGLES, SHIFTS, SHIFTS)), device=like.device, dtype=like.dtype)


def thumbnails_of(images: Tensor) -> Tensor:
    """[N, C, H, W] → [N, C, SIDE, SIDE]."""
    images = shrink(images, 2 * SIDE)
    return F.interpolate(images, size=(SIDE, SIDE), mode="area" if images.shape[-1] >= SIDE else "bilinear")


def distances(problem: Problem, i: int, small: Tensor, poses: Tensor) -> Tensor:
    """[P, K]: mean square difference of target i, moved back from each pose, and each thumbnail, over what the target varies there."""
    target = thumbnails_of(problem.target[i : i + 1])
    weight = torch.ones_like(target[:, :1]) if problem.mask is None else thumbnails_of(problem.mask[i : i + 1])
    back = pose_from_delta(torch.linalg.inv(transform_of(poses)) - torch.eye(3, device=poses.device, dtype=poses.dtype))
    both, seen = moved(torch.cat([target, weight], dim=1).expand(len(poses), -1, -1, -1), back)
    picture, weight = both[:, :-1], both[:, -1:] * seen
    total = weight.sum(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)
    mean = (picture * weight).sum(dim=(2, 3), keepdim=True) / total
    channels = picture.shape[1]
    variance = ((picture - mean).square() * weight).sum(dim=(1, 2, 3)) / (channels * total.flatten())
    shown, weights, samples = (picture * weight).flatten(1), weight.expand_as(picture).flatten(1), small.flatten(1)
    squared = (picture.square() * weight).flatten(1).sum(dim=1, keepdim=True) - 2 * shown @ samples.t() + weights @ samples.square().t()
    values = squared.clamp_min(0) / (channels * total.flatten()[:, None]) / (variance[:, None] + FLAT)
    is_enough = seen.mean(dim=(1, 2, 3)) >= LEAST_SEEN
    return torch.where(is_enough[:, None], values, torch.full_like(values, float("inf")))
