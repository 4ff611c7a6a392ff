"""What `invert metrics` prints of a generator: how far its samples are from data, beside what data are from data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from stylegan_core.data.images import ImageData, portraits
from stylegan_core.errors import UsageError
from stylegan_core.features import Features
from stylegan_core.generator import Generator
from stylegan_core.metrics.coverage import BINS, PAIR_BINS, marginal_variation, pair_variation
from stylegan_core.metrics.registry import GENERATOR, METRICS, SETS, Observed, metric
from stylegan_core.provenance import model_sha256
from stylegan_core.seeds import rng_from_seed, zs_from_seeds

FIRST_SEED = 1000  # of samples, and the seed of the fresh portraits
BATCH = 64

Counted = Callable[[str, int, int], bool | None]  # (what is being looked at, done, count); False stops


def measure_generator(
    generator: Generator,
    judge: Features,
    *,
    count: int = 5000,
    data: ImageData | None = None,  # None = fresh portraits that nothing was trained on
    truncation_psi: float = 1.0,
    seed: int = FIRST_SEED,
    callback: Counted | None = None,
) -> dict[str, Any]:
    """JSON-ready figures of `count` samples (seeds seed, seed + 1, …, random noise) against `count` real pictures.

    Every figure of samples stands beside its floor, the same figure of `count` other real pictures. 'metrics': name →
    {samples, floor}; 'attributes': name → {samples, floor}, total variation of marginals; 'pairs': the same of "a+b".
    A callback that returns False stops everything with a UsageError.
    """
    if count < 2:
        raise UsageError(f"count {count}: two pictures or more are needed")
    real = data or portraits(2 * count, judge.img_resolution, seed=seed)
    if len(real) < 2 * count:
        raise UsageError(f"{real.name} has {len(real)} pictures; {count} samples need {2 * count}; lower --count")
    start = time.monotonic()
    observed = {
        "samples": observe(judge, sampled(generator, count, truncation_psi, seed), ("samples", count), callback),
        "data": observe(judge, pictures(real, 0, count), ("data", count), callback),
        "floor": observe(judge, pictures(real, count, 2 * count), ("held-out data", count), callback),
    }
    reference = observed["data"]
    sides = {name: observed[name] for name in ("samples", "floor")}
    set_metrics = {name: metric for name, metric in METRICS.items() if metric.compares == SETS}
    return {
        "model_sha256": model_sha256(generator),  # type: ignore[arg-type]
        "judge": judge.name,
        "judge_sha256": model_sha256(judge.network),
        "data": real.name,
        "count": count,
        "truncation_psi": truncation_psi,
        "seed": seed,
        "metrics": {
            name: {side: _rounded(metric.function(observation, reference)) for side, observation in sides.items()}
            for name, metric in set_metrics.items()
        },
        "attributes": beside(sides, reference, marginal_variation),
        "pairs": beside(sides, reference, pair_variation),
        "bins": {"attributes": BINS, "pairs": PAIR_BINS},
        "seconds": round(time.monotonic() - start, 1),
    }


def measure_alone(
    generator: Generator,
    names: Sequence[str],
    *,
    count: int = 64,
    truncation_psi: float = 1.0,
    seed: int = FIRST_SEED,
    callback: Counted | None = None,
) -> dict[str, Any]:
    """JSON-ready figures of metrics that look at a generator and at no data: 'metrics': name → {samples}.

    Raises UsageError for a metric of another kind.
    """
    start, values = time.monotonic(), {}
    chosen = [metric(name) for name in names]
    other = [each.name for each in chosen if each.compares != GENERATOR]
    if other:
        alone = ", ".join(name for name, each in METRICS.items() if each.compares == GENERATOR)
        raise UsageError(f"the metric {other[0]} compares with data, so it is not asked for by name; these are: {alone}")
    for done, each in enumerate(chosen):
        values[each.name] = {"samples": _rounded(each.function(generator, count=count, seed=seed, truncation_psi=truncation_psi))}
        if callback is not None and callback("metrics", done + 1, len(chosen)) is False:
            raise UsageError(f"stopped after {done + 1} of {len(chosen)} metrics")
    facts = {"model_sha256": model_sha256(generator), "count": count, "truncation_psi": truncation_psi, "seed": seed}  # type: ignore[arg-type]
    return {**facts, "metrics": values, "seconds": round(time.monotonic() - start, 1)}


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
    """Looks at batches [n, C, R, R] in [-1, 1]. work: (what it is, how many pictures), for the callback."""
    pooled, logits = [], []
    done, device = 0, next(judge.parameters()).device
    with torch.no_grad():
        for batch in batches:
            vectors = judge.pooled(batch.to(device))
            pooled.append(vectors.cpu())
            logits.append(judge.network.attributes(vectors).cpu())
            done += len(batch)
            if callback is not None and callback(work[0], done, work[1]) is False:
                raise UsageError(f"stopped after {done} of {work[1]} {work[0]}")
    values = judge.network.squashed(torch.cat(logits))
    names = judge.attribute_names
    return Observed(torch.cat(pooled), {name: values[:, index] for index, name in enumerate(names)}, judge.binary_names)


def sampled(generator: Generator, count: int, truncation_psi: float, seed: int) -> Iterator[Tensor]:
    """Samples of seeds seed, seed + 1, … with random noise of the same seeds, as 8-bit pictures would be seen."""
    device = generator.w_avg.device
    for first in range(seed, seed + count, BATCH):
        seeds = range(first, min(first + BATCH, seed + count))
        z = zs_from_seeds(seeds, generator.z_dim).to(device)
        ws = generator.mapping(z, truncation_psi=truncation_psi)
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
