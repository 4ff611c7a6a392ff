"""Walks through inversions: straight, on the sphere, along a spline, closed to a loop; and how far the picture moves on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import cos, pi, sin

import numpy as np
import torch
from torch import Tensor

from stylegan_core.errors import LatentError, UsageError
from stylegan_core.generator import Generator
from stylegan_core.inversion import Inversion
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.noise import Noise
from stylegan_core.packed_delta import PackedDelta, lerp_deltas

METHODS = ("linear", "slerp", "spline")
EPSILON = 1e-3  # of a segment, for local path lengths


@dataclass(frozen=True)
class Walk:
    """keys: inversions of one image each, passed in their order. method: linear, slerp (along great circles around the mean,
    lengths interpolated), spline (cubic, twice continuously differentiable). is_loop: back to the first.

    Keys of different spaces meet in the one furthest down. Noise maps are blended so that their variance stays, changed weights
    linearly; a key without them has the stored ones.
    """

    generator: Generator
    keys: tuple[Inversion, ...]
    method: str = "linear"
    is_loop: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"method {self.method!r}: one of {', '.join(METHODS)} is allowed")
        if len(self.keys) < 2 or any(len(key) != 1 for key in self.keys):
            raise UsageError(f"a walk of {len(self.keys)} stop(s): at least two inversions of one image each are needed")
        for key in self.keys:
            key.check(self.generator)

    @property
    def num_segments(self) -> int:
        return len(self.keys) if self.is_loop else len(self.keys) - 1

    def at(self, t: float) -> Inversion:
        """t: 0 is the first key, 1 the second, …, num_segments the end."""
        if not 0 <= t <= self.num_segments:
            raise UsageError(f"t {t}: 0 to {self.num_segments} is allowed")
        first = min(int(t), self.num_segments - 1)
        part = t - first
        latents, space = self._latents
        one, other = latents[first], latents[(first + 1) % len(latents)]
        if part in (0.0, 1.0):
            value = one if part == 0 else other
        elif self.method == "linear":
            value = torch.lerp(one, other, part)
        elif self.method == "slerp":
            value = slerp(one, other, part, space.centre(self.generator))
        else:
            value = self._splined(t)
        left, right = self.keys[first], self.keys[(first + 1) % len(self.keys)]
        c = None if left.latent.c is None or right.latent.c is None else torch.lerp(left.latent.c, right.latent.c, part)
        return replace(
            left if part < 1 else right,
            latent=Latent(value, space, None if c is None else c.to(value)),
            noise=self._noise(left, right, part),
            weight_deltas=_deltas(left, right, part),
        )

    def frames(self, per_segment: int) -> Iterator[tuple[float, Inversion]]:
        """(t, inversion): per_segment frames from every key to the next; the last key too, unless the walk is a loop."""
        if per_segment < 1:
            raise UsageError(f"{per_segment} frames per segment: a whole number from 1 is allowed")
        count = self.num_segments * per_segment
        for index in range(count if self.is_loop else count + 1):
            t = index / per_segment
            yield t, self.at(t)

    @torch.no_grad()
    def local_length(self, t: float, features: Callable[[Tensor], Sequence[Tensor]], *, epsilon: float = EPSILON) -> float:
        """d / ε² at t (SG Eq. 2): the perceptual distance of two pictures ε of a segment apart, over ε².

        features: images → maps whose summed squared difference is the distance, as `FeatureDistance.features` gives.
        """
        before = min(t, self.num_segments - epsilon)
        one, other = (features(self.at(x).render(self.generator).clamp(-1, 1)) for x in (before, before + epsilon))
        distance = sum(float((a - b).double().square().sum()) for a, b in zip(one, other, strict=True))
        return distance / epsilon**2

    @cached_property
    def _latents(self) -> tuple[list[Tensor], LatentSpace]:
        device, dtype = self.generator.w_avg.device, self.generator.w_avg.dtype
        space = max((key.latent.space for key in self.keys), key=lambda one: one.depth)
        with torch.no_grad():
            return [key.latent.to(device, dtype).lower(self.generator, to=space).value for key in self.keys], space

    def _splined(self, t: float) -> Tensor:
        latents, _ = self._latents
        value = torch.from_numpy(self._spline(t)).to(latents[0])
        return value.view_as(latents[0])

    @cached_property
    def _spline(self) -> Callable[[float], np.ndarray]:
        from scipy.interpolate import CubicSpline

        latents, _ = self._latents
        points = [value.double().cpu().numpy().reshape(-1) for value in latents]
        if self.is_loop:
            return CubicSpline(np.arange(len(points) + 1), np.stack([*points, points[0]]), bc_type="periodic")  # type: ignore[no-any-return]
        return CubicSpline(np.arange(len(points)), np.stack(points), bc_type="natural")  # type: ignore[no-any-return]

    def _noise(self, left: Inversion, right: Inversion, part: float) -> dict[str, Tensor]:
        if not left.noise and not right.noise:
            return {}
        stored = Noise.const(self.generator, 1).maps
        maps = [{name: key.noise.get(name, stored[name]).to(stored[name]) for name in stored} for key in (left, right)]
        if part in (0.0, 1.0):
            return maps[int(part)]
        a, b = cos(part * pi / 2), sin(part * pi / 2)
        return {
            name: maps[0][name] if torch.equal(maps[0][name], maps[1][name]) else a * maps[0][name] + b * maps[1][name] for name in stored
        }


def interpolate(
    inversions: Sequence[Inversion], *, generator: Generator, frames: int = 16, method: str = "linear", is_loop: bool = False
) -> list[Inversion]:
    """Every stop of a walk through these inversions: `frames` from each to the next. See `Walk`."""
    walk = Walk(generator, keys_of(inversions), method, is_loop)
    return [inversion for _, inversion in walk.frames(frames)]


def slerp(one: Tensor, other: Tensor, t: float, centre: Tensor) -> Tensor:
    """[1, …] each: along the great circle around the centre, the length interpolated; straight where the two point one way or apart.

    Of [1, num_ws, w_dim] every row goes its own way (Shoemake 1985).
    """
    a, b = one - centre, other - centre
    lengths = [x.norm(dim=-1, keepdim=True) for x in (a, b)]
    ua, ub = (x / length.clamp_min(1e-12) for x, length in zip((a, b), lengths))
    cosine = (ua * ub).sum(dim=-1, keepdim=True).clamp(-1, 1)
    angle = cosine.acos()
    sine = angle.sin()
    way = (((1 - t) * angle).sin() * ua + (t * angle).sin() * ub) / sine.clamp_min(1e-12)
    curved = centre + way * torch.lerp(lengths[0], lengths[1], t)
    return torch.where(sine > 1e-4, curved, torch.lerp(one, other, t))


def keys_of(inversions: Sequence[Inversion]) -> tuple[Inversion, ...]:
    """Every image of these inversions as a key of its own. Raises LatentError when they are of different models."""
    singles = tuple(inversion[i] for inversion in inversions for i in range(len(inversion)))
    models = {single.metadata["model_sha256"] for single in singles if isinstance(single.metadata.get("model_sha256"), str)}
    if len(models) > 1:
        raise LatentError(f"the inversions are of {len(models)} different models; a walk stays in one")
    return singles


def _deltas(left: Inversion, right: Inversion, part: float) -> dict[str, Tensor | PackedDelta]:
    names = sorted({*left.weight_deltas, *right.weight_deltas})
    return {name: lerp_deltas(left.weight_deltas.get(name), right.weight_deltas.get(name), part) for name in names}
