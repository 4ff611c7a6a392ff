"""What `invert metrics` prints of a generator: how far its samples are from data, beside what data are from data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stylegan_core.data.images import ImageData, portraits
from stylegan_core.errors import UsageError
from stylegan_core.features import Features
from stylegan_core.generator import Generator
from stylegan_core.metrics.coverage import BINS, PAIR_BINS, marginal_variation, pair_variation
from stylegan_core.metrics.detectors import Detector, judge_detector
from stylegan_core.metrics.observed import Observed, own_share
from stylegan_core.metrics.observing import Wanted, observe_detected
from stylegan_core.metrics.path_length import Distance
from stylegan_core.metrics.probe import Counted, Probe, latents_of
from stylegan_core.metrics.registry import (
    ATTRIBUTES,
    CLASSES,
    DEFAULTS,
    GENERATOR,
    INCEPTION,
    SAMPLES,
    SETS,
    SIMILARITY,
    VECTORS,
    Metric,
    metrics_of_a_generator,
)
from stylegan_core.metrics.statistics_cache import StatisticsCache, identity_of_portraits
from stylegan_core.provenance import model_sha256
from stylegan_core.seeds import rng_from_seed

FIRST_SEED = 1000  # of samples, and the seed of the fresh portraits
BATCH = 64


@dataclass(frozen=True)
class Looking:
    """Who looks. judge: attributes and labels. detector: whose features are compared; None = the judge's.

    distance: of path lengths; None = the judge's. cache: of what is seen in data; None = nothing is kept.
    """

    judge: Features
    detector: Detector | None = None
    distance: Distance | None = None
    cache: StatisticsCache | None = None


def measure_generator(
    generator: Generator,
    judge: Features | Looking,
    *,
    names: Sequence[str] = DEFAULTS,
    count: int = 5000,
    data: ImageData | None = None,  # None = fresh portraits that nothing was trained on
    truncation_psi: float = 1.0,
    seed: int = FIRST_SEED,
    callback: Counted | None = None,
) -> dict[str, Any]:
    """JSON-ready figures of `count` samples (seeds seed, seed + 1, …, random noise) against `count` real pictures.

    names: of the registry. Every figure of samples stands beside its floor, the same figure of `count` other real pictures.
    'metrics': name → {samples, floor}; 'generator': name → {value, measured_in, …}; 'attributes': name → {samples, floor},
    total variation of marginals; 'pairs': the same of "a+b". A callback that returns False stops everything with a UsageError.
    """
    looking = judge if isinstance(judge, Looking) else Looking(judge)
    detector = looking.detector or judge_detector(looking.judge)
    chosen = metrics_of_a_generator(names)
    check(chosen, detector, count)
    start = time.monotonic()
    figures: dict[str, Any] = {
        "model_sha256": model_sha256(generator),  # type: ignore[arg-type]
        "judge": looking.judge.name,
        "judge_sha256": model_sha256(looking.judge.network),
        "detector": detector.name,
        "count": count,
        "truncation_psi": truncation_psi,
        "seed": seed,
    }
    compared = [metric for metric in chosen if metric.compares in (SETS, SAMPLES)]
    if compared:
        figures |= compare_with_data(generator, looking, detector, compared, count=count, data=data, seed=seed,
                                     truncation_psi=truncation_psi, callback=callback)  # fmt: skip
    own = [metric for metric in chosen if metric.compares == GENERATOR]
    if own:
        distance = looking.distance or Distance(looking.judge.name, looking.judge.distance)
        probe = Probe(generator, distance, looking.judge, count, seed, callback)
        figures["generator"] = {metric.name: _rounded_entries(metric.function(probe)) for metric in own}
    return {**figures, "seconds": round(time.monotonic() - start, 1)}


def check(chosen: Sequence[Metric], detector: Detector, count: int) -> None:
    """Raises UsageError, before any work, for metrics that cannot be had."""
    if count < 2:
        raise UsageError(f"count {count}: two pictures or more are needed")
    for metric in chosen:
        if INCEPTION in metric.needs and not detector.is_inception:
            other = {"fid": "frechet", "kid": "kernel", "is": "class-score"}[metric.name]
            raise UsageError(f"{metric.name} is a figure of an Inception network, and {detector.name} is none: ask for {other}, or give "
                             "--detector inception")  # fmt: skip
        if CLASSES in metric.needs and not detector.has_classes:
            raise UsageError(f"{metric.name} needs classes, and {detector.name} tells none; leave it out or choose another --detector")


def compare_with_data(
    generator: Generator, looking: Looking, detector: Detector, chosen: Sequence[Metric], *, count: int, data: ImageData | None,
    truncation_psi: float, seed: int, callback: Counted | None,
) -> dict[str, Any]:  # fmt: skip
    """The part of the report that looks at samples and at data."""
    needs = {need for metric in chosen for need in metric.needs}
    wanted = Wanted(detector, looking.judge if ATTRIBUTES in needs else None, vectors=VECTORS in needs,
                    similarity=SIMILARITY in needs, classes=CLASSES in needs)  # fmt: skip
    real = portraits(2 * count, looking.judge.img_resolution, seed=seed) if data is None else data
    if len(real) < 2 * count:
        raise UsageError(f"{real.name} has {len(real)} pictures; {count} samples need {2 * count}; lower --count")
    cache = looking.cache
    if cache is not None and data is None:
        cache = StatisticsCache(identity_of_portraits(seed, looking.judge.img_resolution), cache.folder)

    def seen(first: int, last: int, what: str) -> Observed:
        path = None if cache is None else cache.path(detector=detector.sha256, first=first, last=last, needs=wanted.kept())
        held = None if cache is None or path is None else cache.load(path)
        if held is None:
            held = observe_detected(wanted, pictures(real, *own_share(first, last)), (what, last - first), callback)
            if cache is not None and path is not None and detector.sha256:
                cache.store(path, held)
        elif callback is not None:
            callback(what, last - first, last - first)
        return held

    own_seeds = own_share(seed, seed + count)
    batches = sampled(generator, own_seeds[1] - own_seeds[0], truncation_psi, own_seeds[0])
    sides = {"samples": observe_detected(wanted, batches, ("samples", count), callback)}
    reference = seen(0, count, "data")
    sides["floor"] = seen(count, 2 * count, "held-out data")
    figures: dict[str, Any] = {"data": real.name, "metrics": {}}
    for metric in chosen:
        arguments = (reference,) if metric.compares == SETS else ()
        figures["metrics"][metric.name] = {side: _rounded(metric.function(seen_, *arguments)) for side, seen_ in sides.items()}
    if ATTRIBUTES in needs:
        figures["attributes"] = beside(sides, reference, marginal_variation)
        figures["pairs"] = beside(sides, reference, pair_variation)
        figures["bins"] = {"attributes": BINS, "pairs": PAIR_BINS}
    return figures


def beside(
    sides: dict[str, Observed], reference: Observed, variation: Callable[..., Any]
) -> dict[str, dict[str, float]]:
    """Attribute, or "one+other", → side → total variation, the worst of the samples first."""
    columns = {
        side: variation(observation.attributes, reference.attributes, binary=reference.binary)
        for side, observation in sides.items()
    }
    rows = {
        key if isinstance(key, str) else "+".join(key): {
            side: _rounded(column[key]) for side, column in columns.items()
        }
        for key in columns["samples"]
    }
    return dict(sorted(rows.items(), key=lambda row: -row[1]["samples"]))


def observe(
    judge: Features, batches: Iterator[Tensor], work: tuple[str, int], callback: Counted | None = None
) -> Observed:
    """The judge looks at batches [n, C, R, R] in [-1, 1]. work: (what it is, how many pictures), for the callback."""
    return observe_detected(Wanted(judge_detector(judge), judge), batches, work, callback)


def sampled(generator: Generator, count: int, truncation_psi: float, seed: int) -> Iterator[Tensor]:
    """Samples of seeds seed, seed + 1, … with random noise of the same seeds, as 8-bit pictures would be seen."""
    for first in range(seed, seed + count, BATCH):
        seeds = range(first, min(first + BATCH, seed + count))
        z, c = latents_of(generator, seeds)
        ws = generator.mapping(z, c, truncation_psi=truncation_psi)
        images = generator.synthesis(ws, noise_mode="random", rng=[rng_from_seed(each) for each in seeds])
        yield rounded_to_8_bits(images)


def pictures(data: ImageData, first: int, last: int) -> Iterator[Tensor]:
    """Pictures first … last - 1 of a data set."""
    for start in range(first, last, BATCH):
        images_u8 = data.images_u8(range(start, min(start + BATCH, last)))
        yield torch.from_numpy(images_u8).float() / 127.5 - 1


def rounded_to_8_bits(images: Tensor) -> Tensor:
    """images: [N, C, H, W] → the same after being saved and loaded: data are 8-bit pictures too."""
    return (images * 127.5 + 127.5).round().clamp(0, 255) / 127.5 - 1


def _rounded(value: float) -> float:
    return round(float(value), 5)


def _rounded_entries(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: _rounded(value) if isinstance(value, float) else value for key, value in entry.items()}
