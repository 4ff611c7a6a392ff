"""Whether a network that came from outside was loaded right, in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

NUM_LATENTS = 4096
NUM_IMAGES = 16
BATCH = 4


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. text: a sentence with the numbers; is_good: False when something is off."""

    name: str
    is_good: bool
    text: str

    def __str__(self) -> str:
        return self.text


def check_generator(generator: Any, discriminator: Any = None, *, seed: int = 0) -> list[Finding]:
    """Looks at a generator by its own samples, with random noise off.

    The average w lies at the mean of the mapping; w depends on z; pixels fill [-1, 1] without leaving it; samples differ;
    where there is a discriminator of the same size, it prefers samples to the same pixels shuffled.
    """
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(NUM_LATENTS, generator.z_dim, generator=rng)
    labels = torch.arange(NUM_LATENTS) % max(1, generator.c_dim)
    c = torch.nn.functional.one_hot(labels, generator.c_dim).float() if generator.c_dim else None
    with torch.no_grad():
        w = torch.cat([
            generator.mapping.to_w(z[start : start + 512], None if c is None else c[start : start + 512])
            for start in range(0, NUM_LATENTS, 512)
        ])
        images = torch.cat([
            generator(z[start : start + BATCH], None if c is None else c[start : start + BATCH]).float()
            for start in range(0, NUM_IMAGES, BATCH)
        ])
        findings = [*_latents(generator, w), *_pixels(images)]
        if discriminator is not None:
            findings += _opinion(discriminator, images, c, rng)
    return findings


def _latents(generator: Any, w: Tensor) -> list[Finding]:
    mean, spread = w.mean(dim=0), float((w - w.mean(dim=0)).square().sum(dim=1).mean().sqrt())
    size = float(mean.norm())
    findings = [
        Finding(
            "spread of w",
            spread > 1e-3 * (size + 1e-12),
            f"w has the size {size:.3g} on average and spreads by {spread:.3g} around it"
            + ("" if spread > 1e-3 * (size + 1e-12) else "; it hardly depends on z, so the mapping network is broken"),
        )
    ]
    w_avg = getattr(generator.mapping, "w_avg", None)
    if w_avg is None:
        return [*findings, Finding("average w", True, "there is no average w in this network, so it cannot truncate")]
    ratio = float((w_avg - mean).norm()) / max(spread, 1e-12)
    text = f"the stored average w lies {ratio:.2f} spreads from the mean of {NUM_LATENTS} samples"
    hint = "" if ratio < 0.5 else "; expected under 0.5: it belongs to other weights, so truncation will look wrong"
    return [*findings, Finding("average w", ratio < 0.5, text + hint)]


def _pixels(images: Tensor) -> list[Finding]:
    finite = bool(torch.isfinite(images).all())
    if not finite:
        return [Finding("pixels", False, "samples hold NaN or infinity")]
    outside = float((images.abs() > 1.5).float().mean())
    deviation, mean = float(images.std()), float(images.mean())
    text = f"pixels of {len(images)} samples: mean {mean:.2f}, deviation {deviation:.2f}, {100 * outside:.1f} % beyond ±1.5"
    is_good = outside < 0.1 and 0.1 < deviation < 1.2 and abs(mean) < 0.9
    hint = "" if is_good else "; pictures have a deviation of 0.2 to 0.9 inside ±1: weights or their scale are wrong"
    variety = float(images.std(dim=0).mean())
    differ = variety > 0.02
    return [
        Finding("pixels", is_good, text + hint),
        Finding(
            "variety",
            differ,
            f"a pixel deviates by {variety:.3f} from sample to sample" + ("" if differ else "; all samples look the same"),
        ),
    ]


def _opinion(discriminator: Any, images: Tensor, c: Tensor | None, rng: torch.Generator) -> list[Finding]:
    if tuple(images.shape[1:]) != (discriminator.img_channels, discriminator.img_resolution, discriminator.img_resolution):
        return [Finding("discriminator", True, "the discriminator takes pictures of another size, so it was not asked")]
    labels = None if c is None or not discriminator.c_dim else c[: len(images)]
    order = torch.randperm(images[0, 0].numel(), generator=rng)
    shuffled = images.flatten(2)[:, :, order].reshape(images.shape)
    on_samples, on_shuffled = (float(discriminator(x, labels).mean()) for x in (images, shuffled))
    is_good = on_samples > on_shuffled
    text = f"the discriminator gives samples {on_samples:.2f} and the same pixels shuffled {on_shuffled:.2f}"
    hint = "" if is_good else "; it should prefer samples: the two do not belong together, or one was loaded wrong"
    return [Finding("discriminator", is_good, text + hint)]
