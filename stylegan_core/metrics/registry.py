"""Every metric by name. A new one is a function in a file of its own and one row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from stylegan_core.errors import UsageError
from stylegan_core.metrics.class_score import class_score
from stylegan_core.metrics.coverage import marginal_variation, pair_variation
from stylegan_core.metrics.diversity import mean_similarity
from stylegan_core.metrics.equivariance import eq_r, eq_t, eq_t_frac
from stylegan_core.metrics.frechet import frechet_distance
from stylegan_core.metrics.kernel import kernel_distance
from stylegan_core.metrics.observed import Observed
from stylegan_core.metrics.path_length import SAMPLINGS, SPACES
from stylegan_core.metrics.precision_recall import inside
from stylegan_core.metrics.probe import measure_contribution, measure_equivariance, measure_path_length, measure_separability
from stylegan_core.metrics.reconstruction import ms_ssim, psnr, ssim

PICTURES, SETS, SAMPLES, GENERATOR = "pictures", "sets", "samples", "generator"  # what a metric is computed of
MOMENTS, VECTORS, ATTRIBUTES, CLASSES, SIMILARITY, INCEPTION = "moments", "vectors", "attributes", "classes", "similarity", "inception"


@dataclass(frozen=True)
class Metric:
    """What is computed, and what it is computed of.

    compares: PICTURES = function(target_u8, images_u8) → [N] of uint8 [N, H, W, C] each; SETS = function(samples, data)
    → a number, of two `Observed`; SAMPLES = function(samples) → a number; GENERATOR = function(probe) → a dictionary with
    'value' and 'measured_in'. needs: what must be seen in a set, of MOMENTS, VECTORS, ATTRIBUTES, CLASSES, SIMILARITY, and
    INCEPTION where only that network's figure has the name.
    """

    name: str
    compares: str
    function: Callable[..., Any]
    is_higher_better: bool
    title: str
    needs: tuple[str, ...] = ()


def frechet(samples: Observed, data: Observed) -> float:
    """Fréchet distance of the vectors."""
    return frechet_distance(samples.gathered_moments(), data.gathered_moments())


def kernel(samples: Observed, data: Observed) -> float:
    """Kernel distance of the vectors; it has no bias, so the floor may lie slightly below 0."""
    return kernel_distance(samples.vectors(), data.vectors())[0]


def precision(samples: Observed, data: Observed) -> float:
    """Share of samples inside the manifold of the data."""
    return inside(samples.vectors(), data.vectors())


def recall(samples: Observed, data: Observed) -> float:
    """Share of the data inside the manifold of the samples."""
    return inside(data.vectors(), samples.vectors())


def coverage(samples: Observed, data: Observed) -> float:
    """The largest total variation of an attribute's marginal."""
    return max(marginal_variation(samples.attributes, data.attributes, binary=data.binary).values())


def pair_coverage(samples: Observed, data: Observed) -> float:
    """The largest total variation of two attributes' joint histogram."""
    return max(pair_variation(samples.attributes, data.attributes, binary=data.binary).values())


def score(samples: Observed) -> float:
    """Mean score over the splits."""
    if samples.classes is None:
        raise UsageError("the network that looks tells no classes")
    return class_score(samples.classes)[0]


def similarity(samples: Observed) -> float:
    """Mean MS-SSIM of pairs of pictures."""
    return mean_similarity(samples.similarity)


def path_length_rows() -> list[Metric]:
    """ppl-z-full, ppl-z-end, ppl-w-full, ppl-w-end, and the same with -crop."""
    places = {"full": "anywhere on the way", "end": "at its start"}
    return [
        Metric(f"ppl-{space}-{sampling}{'-crop' if crop else ''}", GENERATOR,
               partial(measure_path_length, space=space, sampling=sampling, crop=crop), False,
               f"perceptual path length in {space.upper()}, {places[sampling]}" + (", around the face" if crop else ""))
        for crop in (False, True) for space in SPACES for sampling in SAMPLINGS
    ]  # fmt: skip


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("psnr", PICTURES, psnr, True, "peak signal-to-noise ratio in dB, 8 bits"),
        Metric("ssim", PICTURES, ssim, True, "structural similarity"),
        Metric("ms_ssim", PICTURES, ms_ssim, True, "multi-scale structural similarity (three scales below 176 px)"),
        Metric("frechet", SETS, frechet, False, "Fréchet distance in the features of what looks", (MOMENTS,)),
        Metric("kernel", SETS, kernel, False, "kernel distance in the features of what looks", (VECTORS,)),
        Metric("precision", SETS, precision, True, "share of samples inside the manifold of the data", (VECTORS,)),
        Metric("recall", SETS, recall, True, "share of the data inside the manifold of the samples", (VECTORS,)),
        Metric("coverage", SETS, coverage, False, "total variation of attribute marginals, the largest", (ATTRIBUTES,)),
        Metric("pair_coverage", SETS, pair_coverage, False, "total variation of pairs of attributes, the largest", (ATTRIBUTES,)),
        Metric("fid", SETS, frechet, False, "Fréchet distance in Inception's features", (MOMENTS, INCEPTION)),
        Metric("kid", SETS, kernel, False, "kernel distance in Inception's features", (VECTORS, INCEPTION)),
        Metric("is", SAMPLES, score, True, "Inception score", (CLASSES, INCEPTION)),
        Metric("class-score", SAMPLES, score, True, "the Inception score's formula in the classes of what looks", (CLASSES,)),
        Metric("ms-ssim-diversity", SAMPLES, similarity, False, "MS-SSIM of pairs of samples, low where they differ", (SIMILARITY,)),
        Metric("separability-z", GENERATOR, partial(measure_separability, space="z"), False, "linear separability of Z"),
        Metric("separability-w", GENERATOR, partial(measure_separability, space="w"), False, "linear separability of W"),
        Metric("resolution-contribution", GENERATOR, measure_contribution, True, "share of every resolution in the picture"),
        *path_length_rows(),
        Metric("eq-t", GENERATOR, partial(measure_equivariance, function=eq_t), True, "equivariance to moves by whole pixels (EQ-T)"),
        Metric("eq-t-frac", GENERATOR, partial(measure_equivariance, function=eq_t_frac), True, "equivariance to any move (EQ-T frac)"),
        Metric("eq-r", GENERATOR, partial(measure_equivariance, function=eq_r), True, "equivariance to rotation (EQ-R)"),
    )
}
ALIASES: Mapping[str, str] = {
    "ppl-z": "ppl-z-full", "ppl-w": "ppl-w-full", "ppl2-wend": "ppl-w-end", "inception-score": "is", "pr": "precision",
    "ms-ssim": "ms_ssim", "pair-coverage": "pair_coverage",
}  # fmt: skip
DEFAULTS = ("frechet", "kernel", "precision", "recall", "coverage", "pair_coverage")  # of a generator


def metric(name: str) -> Metric:
    """The metric of a name. Raises UsageError that lists the names."""
    chosen = name if name in METRICS else ALIASES.get(name.replace("_", "-"), name.replace("_", "-"))
    if chosen not in METRICS:
        raise UsageError(f"metric {name!r}: one of {', '.join(METRICS)} is allowed")
    return METRICS[chosen]


def metrics_of_a_generator(names: Sequence[str]) -> list[Metric]:
    """The metrics of these names, each once. Raises UsageError for one that compares two pictures."""
    found = {}
    for name in names:
        chosen = metric(name)
        if chosen.compares == PICTURES:
            raise UsageError(f"metric {name!r} compares two pictures: invert metrics A B")
        found[chosen.name] = chosen
    return list(found.values())
