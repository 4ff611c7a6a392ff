"""A picture into a generator in four stages: from several starts in W, W, noise and W, noise and W+.

All stages minimise ‖difference‖² / spread² + ‖latent‖² + ‖noise‖², the negative logarithm of how likely picture, latent and
noise are together when the generator made the picture, so that what the latent or the noise must explain has its price.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from invert.attribution.channel import GREY, Channel
from invert.attribution.groundwork import Groundwork, as_thumbnails
from invert.attribution.minimise import minimise
from stylegan_core.generator import Generator
from stylegan_core.latent import Latent, LatentSpace
from stylegan_core.losses.pixel import multi_scale_square
from stylegan_core.noise import Noise

LEAST_EFFECT = 1e-2  # of a noise value on a picture, squared, in grey levels, below which its map stays
ROW_PIXELS = 1 << 16  # of renders that run together on a CPU: what its caches hold


@dataclass(frozen=True)
class Effort:
    """Steps of the stages, and spreads in [-1, 1] of what a stage forgives per value. starts: go first_steps each; the best `kept`
    of them go on with search_steps.
    """

    starts: int = 10
    first_steps: int = 5
    kept: int = 3
    search_steps: int = 9
    w_steps: int = 40
    noise_steps: int = 30
    plus_steps: int = 20
    search_spread: float = 12 * GREY
    w_spread: float = 5 * GREY

    @property
    def num_renders(self) -> int:
        """Forward and backward passes for one picture, about."""
        search = self.starts * (self.first_steps + 1) + self.kept * (self.search_steps + 1)
        return 22 + search + self.w_steps + self.noise_steps + self.plus_steps + 3


@dataclass(frozen=True)
class Stage:
    """One problem with M rows. channel: of the rows. base: map → [M, 1, h, w], where noise starts."""

    ground: Groundwork
    channel: Channel
    base: dict[str, Tensor]

    def render(self, v: Tensor, noise: dict[str, Tensor]) -> Tensor:
        """v: [M, w_dim] or [M, num_ws, w_dim] white → [M, C, H, W]; noise: departure from the base."""
        value = self.ground.prior.unwhiten(v)
        latent = Latent(value, LatentSpace.W if value.ndim == 2 else LatentSpace.W_PLUS)
        maps = {name: base + noise[name] if name in noise else base for name, base in self.base.items()}
        return latent.render(self.ground.generator, noise=maps)

    def take(self, rows: Tensor) -> Stage:
        """Those of these rows."""
        here = rows.to(self.channel.target.device)
        return replace(self, channel=self.channel.take(rows), base={name: value[here] for name, value in self.base.items()})


def coarse(channel: Channel, images: Tensor, spread: float) -> Tensor:
    """[M]: ½ ‖difference‖² / spread² over all scales alike, scaled to the number of values that are compared."""
    mean = multi_scale_square(channel.shown(images), channel.target * channel.mask, channel.mask)
    return channel.num_values * mean / (2 * spread**2)


def fine(channel: Channel, images: Tensor) -> Tensor:
    """[M]: ½ ‖whitened difference‖²."""
    return channel.whitened(images).square().sum(dim=(1, 2, 3)) / 2


@dataclass(frozen=True)
class InW:
    """Of M rows after steps in W. v: [M, w_dim] white w. value: [M]. curve: [steps + 1, M], mean squares in grey levels."""

    v: Tensor
    value: Tensor
    curve: Tensor


@dataclass(frozen=True)
class Search:
    """Of N pictures. ends: [N, starts, w_dim] white w; values: [N, starts]; curve: [steps + 1, N], of the best start."""

    ends: Tensor
    values: Tensor
    curve: Tensor

    @property
    def v(self) -> Tensor:
        """[N, w_dim]: the best end of each."""
        return self.ends[torch.arange(len(self.ends)), self.values.argmin(dim=1)]

    def best(self, count: int) -> Tensor:
        """[N, count, w_dim]: the best ends of each, the best one first."""
        order = self.values.argsort(dim=1, stable=True)[:, :count]
        return self.ends.gather(1, order[:, :, None].expand(-1, -1, self.ends.shape[2]))


def search(channel: Channel, ground: Groundwork, starts: Tensor, num_steps: int, spread: float) -> Search:
    """In W, without noise. starts: [N, S, w_dim] white w."""
    count, num_starts = starts.shape[:2]
    image = torch.arange(count).repeat_interleave(num_starts)
    silent = Noise.none(ground.generator, 1).maps
    stage = Stage(ground, channel.take(image), _expanded(silent, len(image)))
    found = _run_w(stage, starts.flatten(0, 1), num_steps, spread)
    values = found.value.view(count, -1)
    best = torch.arange(count, device=values.device) * num_starts + values.argmin(dim=1)
    return Search(found.v.view(count, num_starts, -1), values, found.curve[:, best])


def guessed(channel: Channel, ground: Groundwork, num_nearest: int = 0) -> Tensor:
    """[N, 1 + num_nearest, w_dim] white w: the regression's guess, and the samples that look most alike."""
    thumbnails = as_thumbnails_of(channel, ground)
    guess = ground.guess(thumbnails)[:, None]
    return torch.cat([guess, ground.nearest(thumbnails, num_nearest)], dim=1) if num_nearest else guess


@dataclass(frozen=True)
class Fit:
    """Of N pictures. v: [N, w_dim] white w. is_const: [N], whether noise started at the stored maps. noise: map → [N, 1, h, w],
    its departure from there. plus: [N, num_ws, w_dim] white rows of W+; plus_noise: the same with it. bare, full, wide: renders
    [N, C, H, W] after W, after noise, after W+. value, wide_value: [N], what was minimised, after noise and after W+. curve:
    [steps, N], mean squared difference over all scales in grey levels, during the stages in W.
    """

    searched: Search
    v: Tensor
    is_const: Tensor
    noise: dict[str, Tensor]
    plus: Tensor
    plus_noise: dict[str, Tensor]
    bare: Tensor
    full: Tensor
    wide: Tensor
    value: Tensor
    wide_value: Tensor
    curve: Tensor


def run_w(channel: Channel, ground: Groundwork, v: Tensor, is_const: Tensor, num_steps: int, spread: float) -> InW:
    """Steps in W with the noise that is stored, or with none. v: [N, w_dim]; is_const: [N]."""
    return _run_w(Stage(ground, channel, first_noise(ground, is_const)), v, num_steps, spread)


def first_noise(ground: Groundwork, is_const: Tensor) -> dict[str, Tensor]:
    """map → [N, 1, h, w]: the stored maps, or zeros."""
    stored = Noise.const(ground.generator, len(is_const)).maps
    return {name: value * is_const[:, None, None, None] for name, value in stored.items()}


def run_noise(channel: Channel, ground: Groundwork, v: Tensor, is_const: Tensor, effort: Effort, curve: Tensor, searched: Search) -> Fit:
    """The stages with noise. curve: of the stages in W."""
    base = first_noise(ground, is_const)
    stage = Stage(ground, channel, base)
    with torch.no_grad():
        bare = stage.render(v, {})
    v, noise, value = _run_noise(stage, v, _zeros(base), effort.noise_steps)
    plus = v[:, None].repeat(1, ground.generator.num_ws, 1)
    plus, plus_noise, wide_value = _run_noise(stage, plus, noise, effort.plus_steps)
    with torch.no_grad():
        full, wide = stage.render(v, noise), stage.render(plus, plus_noise)
    return Fit(searched, v, is_const, noise, plus, plus_noise, bare, full, wide, value, wide_value, curve)


def as_thumbnails_of(channel: Channel, ground: Groundwork) -> Tensor:
    """[N, 3, 32, 32] of the pictures where they lie in the generator's frame; completed where they do not."""
    back = channel.rows.transpose(1, 2)[:, None] @ (channel.target * channel.mask) @ channel.columns[:, None]
    seen = channel.rows.transpose(1, 2)[:, None] @ channel.mask @ channel.columns[:, None]
    small, weight = as_thumbnails(back).cpu().float(), as_thumbnails(seen).cpu().float()
    share = weight / weight.amax(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    return ground.frame_prior.completed(small / weight.clamp_min(1e-3), (share > 0.6).float())


def _run_w(stage: Stage, v: Tensor, num_steps: int, spread: float) -> InW:
    """Steps in W, bent by the model's usual curvature."""
    ground = stage.ground
    bend = (ground.curvature / spread**2 + 1).rsqrt()

    def value_of(rows: Stage, y: Tensor) -> tuple[Tensor, Tensor]:
        moved = (y * bend) @ ground.directions.t()
        return coarse(rows.channel, rows.render(moved, {}), spread), moved.square().sum(dim=1) / 2

    found = minimise(_by_parts(stage, value_of), (v @ ground.directions) / bend, num_steps)
    moved = (found.x * bend) @ ground.directions.t()
    return InW(moved, found.value, found.curve * (2 * (spread / GREY) ** 2 / stage.channel.num_values))


def _run_noise(stage: Stage, v: Tensor, noise: dict[str, Tensor], num_steps: int) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """(v, noise, value) after steps of both; v: [M, w_dim] or [M, num_ws, w_dim]."""
    ground, num_rows = stage.ground, 1 if v.ndim == 2 else v.shape[1]
    sharpness = 1 / GREY**2  # of the cosines of a picture that was only rounded
    bend = (ground.curvature * sharpness / num_rows + 1).rsqrt()
    used = [name for name in noise if ground.noise[name] * sharpness > LEAST_EFFECT]
    scales = {name: (ground.noise[name] * sharpness + 1) ** -0.5 for name in used}
    shapes = {name: noise[name].shape[1:] for name in used}

    def split(y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        parts = y.split([v[0].numel(), *(shapes[name].numel() for name in used)], dim=1)
        moved = (parts[0].view(len(y), *v.shape[1:]) * bend) @ ground.directions.t()
        return moved, {name: part.view(len(y), *shapes[name]) * scales[name] for name, part in zip(used, parts[1:])}

    def value_of(part: Stage, y: Tensor) -> tuple[Tensor, Tensor]:
        moved, maps = split(y)
        price = moved.square().flatten(1).sum(dim=1) / num_rows
        for value in maps.values():
            price = price + value.square().sum(dim=(1, 2, 3))
        return fine(part.channel, part.render(moved, maps)), price / 2

    start = torch.cat([((v @ ground.directions) / bend).flatten(1), *(noise[name].flatten(1) / scales[name] for name in used)], dim=1)
    found = minimise(_by_parts(stage, value_of), start, num_steps)
    moved, maps = split(found.x)
    return moved, {**noise, **maps}, found.value


def _by_parts(stage: Stage, value_of: Callable[[Stage, Tensor], tuple[Tensor, Tensor]]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """x → (value, gradient), a few rows at a time."""
    height, width = stage.channel.target.shape[2:]
    step = max(1, ROW_PIXELS // (height * width)) if stage.channel.target.device.type == "cpu" else 1 << 30

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        values, gradients = [], []
        for rows in torch.arange(len(x)).split(step):
            part = stage.take(rows)
            with torch.enable_grad():
                y = x[rows.to(x.device)].detach().requires_grad_()
                value = torch.stack(value_of(part, y)).sum(dim=0)
                gradients.append(torch.autograd.grad(value.sum(), y)[0])
            values.append(value.detach())
        return torch.cat(values), torch.cat(gradients)

    return function


def pace(generator: Generator) -> float:
    """Seconds of one forward and backward pass of a picture in a batch."""
    height, width = generator.img_shape
    count = max(1, min(8, ROW_PIXELS // (height * width)))
    latest = 0.0
    for _ in range(2):
        started = time.monotonic()
        with torch.enable_grad():
            w = generator.w_avg.detach().expand(count, -1).clone().requires_grad_()
            images = Latent(w, LatentSpace.W).render(generator, noise_mode="none")
            torch.autograd.grad(images.square().sum(), w)[0].sum().item()
        latest = (time.monotonic() - started) / count
    return latest


def _expanded(maps: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    return {name: value.expand(count, -1, -1, -1) for name, value in maps.items()}


def _zeros(maps: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.zeros_like(value) for name, value in maps.items()}
