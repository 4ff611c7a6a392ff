"""Did a checkpoint from outside load right? A few measurements that a wrongly read file fails, in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stylegan_core.seeds import rng_from_seed, zs_from_seeds

if TYPE_CHECKING:
    from stylegan_core.generator import Generator

NUM_Z = 4096
NUM_IMAGES = 16
MAX_W_AVG_DISTANCE = 0.5  # of the spread of w; a right file has about 0.02 and lags a little more after short training
MAX_CLIPPED = 0.25  # share of values beyond [-1.1, 1.1]
MIN_CONTRAST = 0.02  # standard deviation inside a picture, of 2
MIN_SPREAD = 1e-3  # of w, against its size
MIN_VARIETY = 0.02  # standard deviation between pictures, of 2


@dataclass(frozen=True)
class Finding:
    """One measurement: its value, whether it is as it should be, and what it means."""

    name: str
    value: float
    is_good: bool
    words: str


@dataclass(frozen=True)
class CheckResult:
    """findings: one per measurement. images: [N, C, H, W] samples for a person to look at."""

    findings: list[Finding]
    images: Tensor

    @property
    def is_good(self) -> bool:
        """Whether every measurement is as it should be."""
        return all(finding.is_good for finding in self.findings)


@torch.no_grad()
def check_generator(generator: Generator, discriminator: Any | None = None) -> CheckResult:
    """discriminator: the one it was trained with, where the file has it; None = that check is left out."""
    labels = _labels(generator, NUM_Z)
    device = generator.w_avg.device
    zs = torch.randn(NUM_Z, generator.z_dim, generator=rng_from_seed(0)).to(device)
    w = torch.cat([generator.mapping.to_w(z, c) for z, c in zip(zs.split(512), _split(labels, len(zs)))])
    c = _labels(generator, NUM_IMAGES)
    z = zs_from_seeds(range(NUM_IMAGES), generator.z_dim).to(device)
    images = torch.cat([generator(z[i : i + 1], None if c is None else c[i : i + 1]) for i in range(NUM_IMAGES)])
    findings = [_check_spread(w), _check_w_avg(generator, w), *_check_images(images)]
    size = (generator.img_channels, generator.img_resolution)
    fits = discriminator is not None and (discriminator.img_channels, discriminator.img_resolution) == size
    if fits and torch.isfinite(images).all():
        findings.append(_check_with(discriminator, images, c))
    return CheckResult(findings, images.float().cpu())


def _check_spread(w: Tensor) -> Finding:
    size = w.square().sum(dim=1).mean().sqrt().clamp(min=1e-12)
    spread = (w.std(dim=0).square().sum().sqrt() / size).item()
    return _finding("spread of w", spread, spread > MIN_SPREAD, f"w varies with z by {spread:.2f} of its size",
                    "it hardly depends on z; the mapping network was read wrongly")  # fmt: skip


def _check_w_avg(generator: Generator, w: Tensor) -> Finding:
    spread = w.std(dim=0).square().sum().sqrt().clamp(min=1e-12)
    distance = ((w.mean(dim=0) - generator.w_avg).square().sum().sqrt() / spread).item()
    good = distance < MAX_W_AVG_DISTANCE
    words = f"w_avg lies {distance:.3f} spreads from the mean of {len(w)} mapped z, " + (
        "as it should" if good else "too far: the mapping network or w_avg was read wrongly; truncation will look wrong"
    )
    return Finding("w_avg", distance, good, words)


def _check_images(images: Tensor) -> list[Finding]:
    if not torch.isfinite(images).all():
        return [Finding("finite", 0.0, False, "samples hold values that are not finite: the weights are damaged")]
    clipped = (images.abs() > 1.1).float().mean().item()
    contrast = images.flatten(1).std(dim=1).mean().item()
    variety = images.std(dim=0).mean().item()
    return [
        _finding("pixel range", clipped, clipped < MAX_CLIPPED, f"{100 * clipped:.1f} % of the pixels leave [-1, 1]",
                 "far too many; the layers do not fit together"),
        _finding("contrast", contrast, contrast > MIN_CONTRAST, f"pictures have a contrast of {contrast:.2f}",
                 "they are flat; the synthesis network was read wrongly or never trained"),
        _finding("variety", variety, variety > MIN_VARIETY, f"pictures differ from each other by {variety:.2f}",
                 "they are all alike; the mapping network has no effect"),
    ]  # fmt: skip


def _finding(name: str, value: float, is_good: bool, words: str, problem: str) -> Finding:
    return Finding(name, value, is_good, words if is_good else f"{words}: {problem}")


def _check_with(discriminator: Any, images: Tensor, c: Tensor | None) -> Finding:
    """Own samples against the same pixels in disorder: a discriminator that fits finds the first more real."""
    order = torch.randperm(images.shape[2] * images.shape[3], generator=rng_from_seed(0)).to(images.device)
    shuffled = images.flatten(2)[:, :, order].view_as(images)
    margin = (discriminator(images, c) - discriminator(shuffled, c)).mean().item()
    words = f"the discriminator finds samples more real than shuffled pixels by {margin:.2f}"
    return _finding("discriminator", margin, margin > 0, words, "it does not know these pictures")


def _labels(generator: Generator, count: int) -> Tensor | None:
    """Classes in turn, one-hot [count, c_dim]."""
    if generator.c_dim == 0:
        return None
    return torch.eye(generator.c_dim, device=generator.w_avg.device)[torch.arange(count) % generator.c_dim]


def _split(labels: Tensor | None, count: int) -> Any:
    return [None] * (-(-count // 512)) if labels is None else labels.split(512)
