"""Equivariance of a generator: how nearly its picture moves when its input does, as PSNR in dB (SG3 App. E).

EQ-T moves by whole pixels, EQ-T frac by any distance, EQ-R turns by any angle. The picture of the moved input is compared with the
moved picture where both are known; squared differences are pooled over all samples, and the range of values is 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.input_transform import BUFFER, delta_of, has_input_transform, moved
from stylegan_core.seeds import rng_from_seed, z_from_seed
from stylegan_core.weight_deltas import call_with

CONSTANT = "synthesis.b4.const"  # what is moved in a StyleGAN2, which has no other input
MAX_SHIFT = 1 / 8  # of the width
LOBES = 3  # of the Lanczos window of translations
REACH = 6  # samples, of the filter of rotations
OVERSAMPLING = 8  # of its table
NODES = 128  # of the integral that gives it
BEST = 1e-10  # smallest mean square, 100 dB
Compared = tuple[Tensor, Tensor]  # (squared difference [N, C, H, W], 1 where both are known [N, 1, H, W])


def eq_t(generator: Any, *, count: int = 64, seed: int = 1000, truncation_psi: float = 1.0) -> float:
    """Translation by whole pixels, up to MAX_SHIFT along each axis."""
    size = generator.img_resolution

    def compare(render: Callable[[Tensor], Tensor], picture: Tensor, rng: torch.Generator) -> Compared:
        pixels = ((2 * torch.rand(2, generator=rng) - 1) * MAX_SHIFT * size).round()
        right, down = (int(value) for value in pixels)
        reference, known = shifted(picture, right, down)
        image = render(torch.tensor([[0.0, right / size, down / size]]))
        return (image - reference).square(), known

    return _pooled(generator, compare, count, seed, truncation_psi)


def eq_t_frac(generator: Any, *, count: int = 64, seed: int = 1000, truncation_psi: float = 1.0) -> float:
    """Translation by any distance; the picture is moved by a windowed sinc."""

    def compare(render: Callable[[Tensor], Tensor], picture: Tensor, rng: torch.Generator) -> Compared:
        right, down = ((2 * torch.rand(2, generator=rng) - 1) * MAX_SHIFT).tolist()
        reference, known = translated(picture, right * picture.shape[-1], down * picture.shape[-2])
        return (render(torch.tensor([[0.0, right, down]])) - reference).square(), known

    return _pooled(generator, compare, count, seed, truncation_psi)


def eq_r(generator: Any, *, count: int = 64, seed: int = 1000, truncation_psi: float = 1.0) -> float:
    """Rotation by any angle; both pictures keep only the frequencies that both grids can hold."""

    def compare(render: Callable[[Tensor], Tensor], picture: Tensor, rng: torch.Generator) -> Compared:
        angle = float(2 * torch.rand(1, generator=rng) - 1) * math.pi
        reference, known = turned(picture, angle)
        image, inside = kept_by_turning(render(torch.tensor([[angle, 0.0, 0.0]])), angle)
        return (image - reference).square(), known * inside

    return _pooled(generator, compare, count, seed, truncation_psi)


@torch.no_grad()
def _pooled(generator: Any, compare: Callable[..., Compared], count: int, seed: int, truncation_psi: float) -> float:
    """PSNR of the squared differences of all samples (seeds seed, seed + 1, …) together."""
    if count < 1:
        raise UsageError(f"count {count}: one sample or more is needed")
    total, weight = 0.0, 0.0
    for number, ws in _samples(generator, count, seed, truncation_psi):
        picture = rendered_moved(generator, ws, None)
        squared, known = compare(lambda pose, ws=ws: rendered_moved(generator, ws, pose), picture, rng_from_seed(number, 1))
        total += float((squared.double() * known).sum())
        weight += float(known.double().sum()) * squared.shape[1]
    if weight == 0:
        raise UsageError("nothing of the pictures is left to compare; they are too small for this metric")
    return 10 * math.log10(4 / max(total / weight, BEST))


def _samples(generator: Any, count: int, seed: int, truncation_psi: float) -> Iterator[tuple[int, Tensor]]:
    for number in range(seed, seed + count):
        z = z_from_seed(number, generator.z_dim).to(generator.w_avg)
        c = torch.eye(generator.c_dim).to(z)[number % generator.c_dim][None] if generator.c_dim else None
        yield number, generator.mapping(z, c, truncation_psi=truncation_psi)


def rendered_moved(generator: Any, ws: Tensor, pose: Tensor | None) -> Tensor:
    """ws: [1, num_ws, w_dim] → picture whose input was moved by a pose [1, 3]; None = as it is.

    A StyleGAN2 has no input but its learned constant, which is resampled; its noise stays where it is.
    """
    if pose is None:
        return generator.synthesis(ws, noise_mode="const")
    if has_input_transform(generator):
        return call_with(generator, {BUFFER: delta_of(pose.to(ws))}, lambda moving: moving.synthesis(ws, noise_mode="const"))
    constant = dict(generator.named_parameters()).get(CONSTANT)
    if constant is None:
        raise UsageError("this generator has neither an input transform nor a learned constant that could be moved")
    padded = F.pad(constant[None], [constant.shape[-1]] * 4, mode="replicate")  # so that nothing unknown moves in
    scale = torch.tensor([1.0, 1 / 3, 1 / 3]).to(pose)
    size = constant.shape[-1]
    there = moved(padded, (pose * scale).to(padded))[0][0, :, size : 2 * size, size : 2 * size]
    return call_with(generator, {CONSTANT: there - constant}, lambda moving: moving.synthesis(ws, noise_mode="const"))


def shifted(x: Tensor, right: int, down: int) -> Compared:
    """x [N, C, H, W] moved by whole pixels, and where it is known."""
    height, width = x.shape[2:]
    y, known = torch.zeros_like(x), torch.zeros_like(x[:, :1])
    to_y, to_x = (slice(max(by, 0), size + min(by, 0)) for by, size in ((down, height), (right, width)))
    from_y, from_x = (slice(max(-by, 0), size + min(-by, 0)) for by, size in ((down, height), (right, width)))
    y[:, :, to_y, to_x] = x[:, :, from_y, from_x]
    known[:, :, to_y, to_x] = 1
    return y, known


def translated(x: Tensor, right: float, down: float) -> Compared:
    """x moved by any number of pixels: whole ones by shifting, the rest by a Lanczos-windowed sinc along each axis."""
    whole_x, whole_y = math.floor(right), math.floor(down)
    y, known = shifted(x, whole_x, whole_y)
    for axis, rest in ((3, right - whole_x), (2, down - whole_y)):
        place = torch.arange(-LOBES, LOBES, dtype=torch.float64) + rest
        taps = torch.sinc(place) * torch.sinc(place / LOBES)
        kernel = (taps / taps.sum()).to(x)
        kernel = kernel[:, None] if axis == 2 else kernel[None, :]
        pads = [0, 0, LOBES, LOBES - 1] if axis == 2 else [LOBES, LOBES - 1, 0, 0]
        y = correlated(F.pad(y, pads), kernel)
        known = (correlated(F.pad(known, pads), torch.ones_like(kernel)) > kernel.numel() - 0.5).to(x)
    return y, known


def turned(x: Tensor, angle: float) -> Compared:
    """x turned counter-clockwise about its centre, with the frequencies that both grids can hold, and where it is known."""
    height, width = x.shape[2:]
    kernel = turning_kernel(angle).to(x)
    down, right = (torch.arange(size, device=x.device, dtype=x.dtype) - (size - 1) / 2 for size in (height, width))
    c, s = math.cos(angle), math.sin(angle)
    source_x = c * right[None, :] - s * down[:, None] + (width - 1) / 2
    source_y = s * right[None, :] + c * down[:, None] + (height - 1) / 2
    first_x, first_y = source_x.floor().long(), source_y.floor().long()
    total, weights = torch.zeros_like(x), torch.zeros_like(source_x)
    for offset_y, offset_x in product(range(1 - REACH, REACH + 1), repeat=2):
        at_x, at_y = first_x + offset_x, first_y + offset_y
        weight = looked_up(kernel, source_x - at_x, source_y - at_y)
        total += weight * x[:, :, at_y.clamp(0, height - 1), at_x.clamp(0, width - 1)]
        weights += weight
    inside = (source_x >= REACH) & (source_x <= width - 1 - REACH) & (source_y >= REACH) & (source_y <= height - 1 - REACH)
    return total / weights, inside.to(x)[None, None].expand(len(x), -1, -1, -1)


def kept_by_turning(x: Tensor, angle: float) -> Compared:
    """x as it is, with the frequencies that `turned` by this angle leaves to a picture, and where it is known."""
    offset = torch.arange(-REACH, REACH + 1, device=x.device, dtype=x.dtype)
    c, s = math.cos(angle), math.sin(angle)
    kernel = looked_up(turning_kernel(angle).to(x), c * offset[None, :] - s * offset[:, None], s * offset[None, :] + c * offset[:, None])
    known = torch.zeros_like(x[:, :1])
    known[:, :, REACH:-REACH, REACH:-REACH] = 1
    return correlated(F.pad(x, [REACH] * 4), kernel / kernel.sum()), known


def turning_kernel(angle: float) -> Tensor:
    """Low-pass filter of the frequencies that a square grid and one turned by the angle both hold, [n, n], in 1 / OVERSAMPLING samples.

    The Fourier integral over the intersection of the two squares: exact along x, Gauss–Legendre along y. After SG3 App. E; the
    window is radial, sinc(r / REACH).
    """
    nodes, node_weights = np.polynomial.legendre.leggauss(NODES)
    fy, c, s = nodes / 2, math.cos(angle), math.sin(angle)
    low, high = np.full(NODES, -0.5), np.full(NODES, 0.5)
    for along, across in ((c, s), (-s, c)):  # |along · fx + across · fy| ≤ 1/2 is the turned square
        if abs(along) < 1e-9:
            high = np.where(np.abs(across * fy) <= 0.5 + 1e-9, high, low)
            continue
        ends = [(sign * 0.5 - across * fy) / along for sign in (-1, 1)]
        low, high = np.maximum(low, np.minimum(*ends)), np.minimum(high, np.maximum(*ends))
    span = np.maximum(high - low, 0)
    place = np.arange(-REACH * OVERSAMPLING, REACH * OVERSAMPLING + 1) / OVERSAMPLING
    x, y = place[None, :, None], place[:, None, None]
    f = (node_weights / 2 * span * np.sinc(x * span) * np.cos(np.pi * (2 * y * fy + x * (low + high)))).sum(axis=2)
    r = np.hypot(x, y)[:, :, 0] / REACH
    return torch.from_numpy(f * np.where(r < 1, np.sinc(r), 0))


def looked_up(kernel: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The kernel at places x, y [h, w] in samples, 0 beyond its reach."""
    half = kernel.shape[0] / 2
    grid = torch.stack([x, y], dim=2) * (OVERSAMPLING / half)
    return F.grid_sample(kernel[None, None], grid[None], mode="bicubic", align_corners=False)[0, 0]


def correlated(x: Tensor, kernel: Tensor) -> Tensor:
    """Every channel with the same kernel [h, w], without padding."""
    channels = x.shape[1]
    return F.conv2d(x, kernel.expand(channels, 1, *kernel.shape).contiguous(), groups=channels)
