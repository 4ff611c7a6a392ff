"""Every metric by name. A new one is a function in a file of its own and one row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from stylegan_core.errors import UsageError
from stylegan_core.metrics.coverage import marginal_variation, pair_variation
from stylegan_core.metrics.equivariance import eq_r, eq_t, eq_t_frac
from stylegan_core.metrics.frechet import frechet_distance
from stylegan_core.metrics.kernel import kernel_distance
from stylegan_core.metrics.moments import Moments
from stylegan_core.metrics.reconstruction import ms_ssim, psnr, ssim

PICTURES, SETS, GENERATOR = "pictures", "sets", "generator"  # what a metric compares, or looks at


@dataclass(frozen=True)
class Observed:
    """What portraits-judge (or another network) sees in a set of pictures.

    pooled: [N, P]. attributes: name → [N]. binary: those of the attributes that are probabilities.
    """

    pooled: Tensor
    attributes: Mapping[str, Tensor]
    binary: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pooled)


@dataclass(frozen=True)
class Metric:
    """What is computed, and what it is computed of.

    compares: PICTURES = function(target_u8, images_u8) → [N] of uint8 [N, H, W, C] each; SETS = function(samples, data)
    → a number, of two `Observed`; GENERATOR = function(generator, count=…, seed=…, truncation_psi=…) → a number.
    """

    name: str
    compares: str
    function: Callable[..., Any]
    is_higher_better: bool
    title: str


def frechet(samples: Observed, data: Observed) -> float:
    """Fréchet distance of the pooled vectors."""
    return frechet_distance(Moments.of(samples.pooled), Moments.of(data.pooled))


def kernel(samples: Observed, data: Observed) -> float:
    """Kernel distance of the pooled vectors; it has no bias, so the floor may lie slightly below 0."""
    return kernel_distance(samples.pooled, data.pooled)[0]


def coverage(samples: Observed, data: Observed) -> float:
    """The largest total variation of an attribute's marginal."""
    return max(marginal_variation(samples.attributes, data.attributes, binary=data.binary).values())


def pair_coverage(samples: Observed, data: Observed) -> float:
    """The largest total variation of two attributes' joint histogram."""
    return max(pair_variation(samples.attributes, data.attributes, binary=data.binary).values())


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("psnr", PICTURES, psnr, True, "peak signal-to-noise ratio in dB, 8 bits"),
        Metric("ssim", PICTURES, ssim, True, "structural similarity"),
        Metric("ms_ssim", PICTURES, ms_ssim, True, "multi-scale structural similarity (three scales below 176 px)"),
        Metric("frechet", SETS, frechet, False, "Fréchet distance in the judge's features"),
        Metric("kernel", SETS, kernel, False, "kernel distance in the judge's features"),
        Metric("coverage", SETS, coverage, False, "total variation of attribute marginals, the largest"),
        Metric("eq_t", GENERATOR, eq_t, True, "equivariance to translation by whole pixels (EQ-T), PSNR in dB"),
        Metric("eq_t_frac", GENERATOR, eq_t_frac, True, "equivariance to translation by any distance (EQ-T frac), PSNR in dB"),
        Metric("eq_r", GENERATOR, eq_r, True, "equivariance to rotation (EQ-R), PSNR in dB"),
        Metric("pair_coverage", SETS, pair_coverage, False, "total variation of pairs of attributes, the largest"),
    )
}


def metric(name: str) -> Metric:
    """The metric of a name. Raises UsageError that lists the names."""
    if name not in METRICS:
        raise UsageError(f"metric {name!r}: one of {', '.join(METRICS)} is allowed")
    return METRICS[name]
